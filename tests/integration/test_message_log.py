"""The message log: what is in a line, what is never in one, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evcore.net.message_log import FRAME_CHARS, MASK, MessageLog, mask

SECRET = "S3CR3T-0815"

HIDDEN = [
    [2, "1", "Authorize", {"idTag": SECRET}],
    [2, "1", "StartTransaction", {"idTag": SECRET, "connectorId": 1}],
    [3, "1", {"idTagInfo": {"status": "Accepted", "parentIdTag": SECRET}}],
    [2, "1", "ChangeConfiguration", {"key": "AuthorizationKey", "value": SECRET}],
    [2, "1", "ChangeConfiguration", {"key": "authorizationkey", "value": SECRET}],
    [3, "1", {"configurationKey": [{"key": "AuthorizationKey", "readonly": False, "value": SECRET}]}],
    [2, "1", "Authorize", {"idToken": {"idToken": SECRET, "type": "ISO14443", "additionalInfo": []}}],
    [2, "1", "Authorize", {"idToken": {"idToken": "", "additionalInfo": [{"additionalIdToken": SECRET}]}}],
    [2, "1", "TransactionEvent", {"idTokenInfo": {"groupIdToken": {"idToken": SECRET}}}],
    [2, "1", "SetVariables", {"setVariableData": [
        {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"},
         "attributeValue": SECRET}]}],
    [2, "1", "NotifyReport", {"reportData": [
        {"variable": {"name": "BasicAuthPassword"}, "variableAttribute": [{"value": SECRET}]}]}],
    [2, "1", "SetNetworkProfile", {"connectionData": {"basicAuthPassword": SECRET}}],
    [2, "1", "SetNetworkProfile", {"connectionData": {"apn": {"apnPassword": SECRET, "simPin": SECRET}}}],
    [2, "1", "SetNetworkProfile", {"connectionData": {"vpn": {"password": SECRET, "key": SECRET}}}],
    [2, "1", "SendLocalList", {"localAuthorizationList": [{"idTag": SECRET}, {"idTag": SECRET}]}],
    [2, "1", "DataTransfer", {"vendorId": "v", "data": json.dumps({"idTag": SECRET})}],
    [2, "1", "DataTransfer", {"vendorId": "v", "data": [json.dumps([{"id_token": SECRET}])]}],
    [2, "1", "Authorize", {"idTag": [SECRET]} | {"idTag": SECRET}],
]  # fmt: skip


@pytest.mark.parametrize("frame", HIDDEN, ids=json.dumps)
def test_secrets_are_hidden(frame) -> None:
    for text in (json.dumps(frame), json.dumps(frame, separators=(",", ":")), json.dumps(frame, indent=2)):
        masked = mask(text)
        assert SECRET not in masked
        assert MASK in masked
        json.loads(masked)


@pytest.mark.parametrize("frame", HIDDEN, ids=json.dumps)
@pytest.mark.parametrize("damage", ["cut", "comma", "nul", "second"])
def test_secrets_are_hidden_in_what_is_no_json(frame, damage) -> None:
    text = json.dumps(frame)
    broken = {
        "cut": text[:-2],
        "comma": text.replace("[2,", "[,2,").replace("[3,", "[,3,"),
        "nul": text.replace(SECRET, SECRET + "\0"),
        "second": text + text,
    }[damage]
    assert SECRET not in mask(broken)


def test_escapes_hide_nothing() -> None:
    assert SECRET not in mask('[2,"1","Authorize",{"\\u0069dTag":"' + SECRET + '"}]')
    assert SECRET not in mask('[2,"1","Authorize",{"\\u0069dTag":"' + SECRET + '"]')
    assert SECRET not in mask('[2,"1","Authorize",{"idTag":' + SECRET + "}]")
    assert SECRET not in mask('[2,"1","Authorize",{"a":"b"c","idTag":"' + SECRET + '"}]')
    assert SECRET not in mask('[2,"1","Authorize",{"idTag":"x","idTag":"' + SECRET + '"}]')
    assert SECRET not in mask('[2,"1","Authorize",{"idTag":"' + SECRET + '","idTag":"x"}]')


# Not all of Unicode: hypothesis finds the secret names by itself.
WORDS = st.text('aK"\\ é1{[:', max_size=20)
LEAVES = st.none() | st.booleans() | st.integers() | WORDS


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(WORDS, inner)))
def test_frames_without_secrets_are_left_as_they_are(document) -> None:
    text = json.dumps([2, "1", "Action", document], ensure_ascii=False, indent=1)
    assert mask(text) == text


@given(st.text(alphabet='[]{},:"\\ \nidTagVALUEvaluekey019AuthorizationKey'))
def test_masking_any_text(text) -> None:
    assert isinstance(mask(f'{{"idTag":{text}'), str)


@pytest.mark.timeout(60)
def test_masking_hostile_text_ends() -> None:
    """Quadratic work would take minutes here, linear work takes a second or two."""
    for hostile in ('"idTag' + '\\"' * 400_000, '"idTag":' * 100_000, "idTag" + "[" * 500_000, '"a":"idTag' * 100_000):
        for _ in range(10):
            assert MASK in mask(hostile)


def test_lines(tmp_path: Path) -> None:
    log = MessageLog(tmp_path / "messages.jsonl")
    log.write("in", "CP ä", b'[2,"1","Heartbeat",{}]')
    log.write("out", "CP ä", b'[4,"1","X","\xff",{}]')
    log.write("in", "CP1", b"x" * (FRAME_CHARS + 1))
    log.close()
    log.write("in", "CP1", b"after the end")
    first, second, third = map(json.loads, (tmp_path / "messages.jsonl").read_text("utf-8").splitlines())
    assert first["time"].endswith("Z")
    assert (first["station"], first["direction"], first["frame"]) == ("CP ä", "in", '[2,"1","Heartbeat",{}]')
    assert second["direction"] == "out"
    assert (third["cut"], len(third["frame"])) == (True, FRAME_CHARS)
    assert (tmp_path / "messages.jsonl").stat().st_mode & 0o077 == 0


def test_size_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    log = MessageLog(path, max_bytes=5000)
    for number in range(200):
        log.write("in", "CP1", f'[2,"{number}","Heartbeat",{{}}]'.encode())
    log.close()
    old = tmp_path / "messages.jsonl.1"
    assert path.stat().st_size <= 5000
    assert old.stat().st_size <= 5000
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name, old.name]
    lines = (old.read_text() + path.read_text()).splitlines()
    numbers = [json.loads(json.loads(line)["frame"])[1] for line in lines]
    assert numbers == [str(number) for number in range(200 - len(numbers), 200)]


def test_an_existing_file_is_continued(tmp_path: Path) -> None:
    for _ in range(2):
        log = MessageLog(tmp_path / "m")
        log.write("in", "CP1", b"[]")
        log.close()
    assert len((tmp_path / "m").read_text().splitlines()) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_ends_the_log_with_one_sentence(caplog) -> None:
    log = MessageLog(Path("/dev/full"))
    for _ in range(3):
        log.write("in", "CP1", b"[]")
    assert caplog.text.count("the message log /dev/full ends here: No space left on device") == 1


async def test_on_the_server(serving, tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    log = MessageLog(path)
    async with serving(message_log=log) as server, server.station() as station:
        await station.ask([2, "1", "Authorize", {"idTag": SECRET}])
        await station.ask('[2,"2","Authorize",{"idTag":"' + SECRET + '",}]')
        assert await station.is_usable()
    log.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["direction"] for line in lines] == ["in", "out"] * 3
    assert {line["station"] for line in lines} == {"CP1"}
    assert SECRET not in path.read_text()
