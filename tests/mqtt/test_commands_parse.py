"""Bodies of commands against any bytes: a command whose parts are what they should be, or Malformed; nothing else."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evcore.bus.orders import Outcome
from evcore.mqtt.commands.command import (
    MAX_CORRELATION,
    MAX_DEPTH,
    MAX_ID,
    MAX_REPLY,
    Command,
    Malformed,
    Reading,
    key,
    parse,
    parse_call,
)
from evcore.mqtt.commands.results import frame, result

READING = Reading(bytes=4096, lifetime=60.0, longest=3600.0, timeout=120.0)
NOW = 1_800_000_000.0


def read(body: Any, **more: Any) -> Command:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse(text, "CP1", READING, NOW, **more)


def read_call(body: Any, **more: Any) -> Command:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_call(text, "CP1", READING, NOW, **more)


def body(**changed: Any) -> dict[str, Any]:
    return {"id": "a", "action": "Reset", "payload": {"type": "Soft"}, **changed}


def attempt(reader: Callable[[], Command]) -> Command | Malformed:
    try:
        return reader()
    except Malformed as error:
        return error


# Any bytes

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
members = st.dictionaries(
    st.sampled_from(["id", "action", "payload", "expires", "ttl", "timeout", "reply", "retain", "Id", ""]),
    json_values | st.sampled_from(["a", "Reset", 5, 0.5, "2027-01-15T08:00:00Z", {}, "chargers/CP1/result"]),
)
documents = st.one_of(json_values, members, st.tuples(st.just(2), json_values, json_values, json_values).map(list))
bodies = st.one_of(st.binary(max_size=200), documents.map(lambda value: json.dumps(value).encode()))


@settings(max_examples=600, deadline=None)
@given(
    bodies,
    st.none() | st.integers(0, 2**32 - 1),
    st.none() | st.text(max_size=40),
    st.none() | st.binary(max_size=2 * MAX_CORRELATION),
)
@example(b"[" * 4000, None, None, None)
@example(b'{"a":' * 600 + b"1" + b"}" * 600, None, None, None)
@example(b'{"id":"a","action":"Reset","ttl":' + b"9" * 3000 + b"}", None, None, None)
@example(b'{"id":"a","action":"Reset","payload":{"x":' + b"9" * 3900 + b"}}", None, None, None)
@example(b'{"id":"a","action":"Reset","ttl":1e400}', None, None, None)
@example(b'{"id":"a","action":"Reset","ttl":NaN}', None, None, None)
@example(b'{"id":"\\ud800","action":"Reset"}', None, None, None)
@example(b'{"id":"a","action":"Reset","reply":"\\ud800"}', None, None, None)
@example(b'\xef\xbb\xbf{"id":"a","action":"Reset"}', None, None, None)
@example(b"", 0, "", b"")
def test_a_command_or_malformed(text: bytes, expiry: int | None, reply: str | None, correlation: bytes | None) -> None:
    for reader in (
        lambda: parse(text, "CP1", READING, NOW, expiry=expiry, reply=reply, correlation=correlation),
        lambda: parse_call(text, "CP1", READING, NOW, expiry=expiry, correlation=correlation),
    ):
        command = attempt(reader)
        # What is repeated in the answer is bounded, and harmless in a log.
        assert command.id is None or re.fullmatch(r"[!-~]{1,256}", command.id)
        assert command.action is None or re.fullmatch(r"[A-Za-z0-9]{1,64}", command.action)
        if isinstance(command, Malformed):
            assert len(str(command)) < 120
            assert str(command).isascii()
            continue
        assert type(command.payload) is dict
        assert math.isfinite(command.expires)
        assert command.expires <= NOW + READING.longest
        assert command.timeout is None or 0 < command.timeout <= READING.timeout
        assert command.correlation == correlation
        assert command.reply is None or len(command.reply.encode("utf-8", "surrogatepass")) <= MAX_REPLY
        assert Command.read(command.write()) == command


def test_a_command_is_read_as_it_was_meant() -> None:
    assert read(body(ttl=5, timeout=3.5, reply="answers/me")) == Command(
        id="a",
        station="CP1",
        action="Reset",
        payload={"type": "Soft"},
        expires=NOW + 5,
        timeout=3.5,
        reply="answers/me",
    )
    assert read({"id": "a", "action": "ClearCache"}).payload == {}
    assert read_call([2, "a", "Reset", {"type": "Soft"}]) == Command(
        id="a", station="CP1", action="Reset", payload={"type": "Soft"}, expires=NOW + 60, raw=True
    )


@settings(max_examples=200, deadline=None)
@given(st.datetimes(datetime(1971, 1, 2), datetime(9999, 1, 1)), st.integers(-1439, 1439))  # noqa: DTZ001
def test_times_are_rfc_3339(moment: datetime, minutes: int) -> None:
    moment = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    reading = Reading(bytes=4096, lifetime=60.0, longest=1e12, timeout=1.0)
    for text in (moment.isoformat(), moment.isoformat().replace("T", "t"), moment.astimezone(UTC).isoformat()):
        text = json.dumps(body(expires=text.replace("+00:00", "z")))
        assert parse(text.encode(), "CP1", reading, NOW).expires == pytest.approx(moment.timestamp())


@pytest.mark.parametrize(
    "wrong",
    [
        *("", "now", "2026-11-20", "2026-11-20T12:00:00", "2026-11-20 12:00:00Z", "20261120T120000Z", 1_800_000_000),
        *("2026-02-30T12:00:00Z", "2026-11-20T12:00:00.Z", "2026-11-20T12:00:00+0100", "2026-11-20T25:00:00Z", None),
    ],
)
def test_other_times_are_not(wrong: Any) -> None:
    with pytest.raises(Malformed, match="RFC 3339"):
        read(body(expires=wrong))


def test_the_earliest_end_counts() -> None:
    def after(seconds: float) -> str:
        return datetime.fromtimestamp(NOW + seconds, UTC).isoformat()

    assert read(body()).expires == NOW + 60
    assert read(body(), expiry=7).expires == NOW + 7
    assert read(body(ttl=5), expiry=7).expires == NOW + 5
    assert read(body(ttl=5, expires=after(3)), expiry=7).expires == NOW + 3
    assert read(body(ttl=5, expires=after(3)), expiry=0).expires == NOW
    assert read(body(expires=after(-3))).expires == NOW - 3
    assert read(body(expires=after(1e6))).expires == NOW + 3600
    assert read_call([2, "a", "Reset", {}], expiry=9000).expires == NOW + 3600


def test_where_the_result_goes() -> None:
    assert read(body(reply="b"), reply="a").reply == "a"
    assert read(body(reply="b")).reply == "b"
    with pytest.raises(Malformed, match="more than 1024 bytes"):
        read(body(reply="é" * 513))


def test_correlation_data_stands_for_an_id() -> None:
    without = {"action": "Reset"}
    assert read(without, correlation=b"\x00\xff").id == "00ff"
    assert read(without, correlation=b"\x00" * MAX_CORRELATION).id == "00" * MAX_CORRELATION
    assert read(body(), correlation=b"\x00\xff").id == "a"
    for missing in (None, b""):
        with pytest.raises(Malformed, match="needs an id"):
            read(without, correlation=missing)
    with pytest.raises(Malformed, match="correlation data"):
        read(body(), correlation=b"\x00" * (MAX_CORRELATION + 1))


MALFORMED = {
    "not JSON": b"{",
    "not JSON at all": b"Reset",
    "not UTF-8": b'{"id":"\xff"}',
    "no object": [1],
    "a name twice": b'{"id":"a","id":"b","action":"Reset"}',
    "a name twice within": b'{"id":"a","action":"Reset","payload":{"type":"Soft","type":"Hard"}}',
    "too long": b'{"id":"a","action":"Reset","payload":{}}' + b" " * 4096,
    "too deep": b'{"id":"a","action":"Reset","payload":{"x":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}}",
    "no finite number": b'{"id":"a","action":"Reset","payload":{"x":Infinity}}',
    "no id": {"action": "Reset"},
    "an empty id": body(id=""),
    "an id that is a number": body(id=1),
    "an id that is null": body(id=None),
    "a long id": body(id="x" * (MAX_ID + 1)),
    "an id with a space": body(id="a b"),
    "an id with a line end": body(id="a\n"),
    "an id that is not ASCII": body(id="é"),
    "no action": {"id": "a"},
    "an action that is a number": body(action=2),
    "an action that is no name": body(action="Re set"),
    "a long action": body(action="R" * 65),
    "a payload that is a list": body(payload=[]),
    "a payload that is null": body(payload=None),
    "a name nobody knows": body(priority=1),
    "ttl as text": body(ttl="5"),
    "ttl true": body(ttl=True),
    "ttl 0": body(ttl=0),
    "ttl below 0": body(ttl=-1),
    "timeout 0": body(timeout=0),
    "timeout too long": body(timeout=121),
    "timeout null": body(timeout=None),
    "reply as number": body(reply=1),
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_malformed(text: Any) -> None:
    with pytest.raises(Malformed):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        *({}, [], [2], [2, "a", "Reset"], [2, "a", "Reset", {}, {}], [3, "a", {}], [2.0, "a", "Reset", {}]),
        *([True, "a", "Reset", {}], [2, 1, "Reset", {}], [2, "", "Reset", {}], [2, "x" * 37, "Reset", {}]),
        *([2, "a", "", {}], [2, "a", 1, {}], [2, "a", "Reset", []], [2, "a", "Reset", None], b'[2,"a","Reset",{}'),
    ],
    ids=repr,
)
def test_no_call_frame(text: Any) -> None:
    with pytest.raises(Malformed):
        read_call(text)


def test_the_deepest_body_that_is_taken() -> None:
    levels = MAX_DEPTH - 2
    taken = b'{"id":"a","action":"Reset","payload":{"x":' + b"[" * levels + b"]" * levels + b"}}"
    assert read(taken).action == "Reset"


identities = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=8) | st.sampled_from(
    ["a", "a b", "b", "call", "call a b"]
)
ids = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8) | st.sampled_from(
    ["a", "call", "command"]
)
names = st.tuples(ids, identities, st.booleans())


@given(names, names)
def test_commands_that_differ_have_keys_that_differ(one: Any, other: Any) -> None:
    assert (key(one[0], one[1], raw=one[2]) == key(other[0], other[1], raw=other[2])) == (one == other)


# Results


def test_a_result_says_what_there_is_to_say() -> None:
    outcome = Outcome(status="rejected", code="Rejected", payload={"status": "Rejected"})
    assert result("CP1", "a", "Reset", outcome, NOW) == {
        "id": "a",
        "station": "CP1",
        "action": "Reset",
        "status": "rejected",
        "code": "Rejected",
        "payload": {"status": "Rejected"},
        "time": "2027-01-15T08:00:00.000Z",
    }
    refused = Outcome(status="refused", code="malformed", message="no", violations=("/type must be string",))
    assert result("CP1", None, None, refused, NOW) == {
        "station": "CP1",
        "status": "refused",
        "code": "malformed",
        "message": "no",
        "violations": ["/type must be string"],
        "time": "2027-01-15T08:00:00.000Z",
    }


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome(status="accepted", payload={"status": "Accepted"}), [3, "a", {"status": "Accepted"}]),
        (Outcome(status="accepted"), [3, "a", {}]),
        (Outcome(status="rejected", code="Unknown", payload={"status": "Unknown"}), [3, "a", {"status": "Unknown"}]),
        (Outcome(status="error", code="NotImplemented", message="x"), [4, "a", "NotImplemented", "x", {}]),
        (Outcome(status="error", code="invalid"), [4, "a", "GenericError", "", {}]),
        (Outcome(status="timeout", message="x"), [4, "a", "GenericError", "x", {}]),
        (Outcome(status="unknown", message="x"), [4, "a", "GenericError", "x", {}]),
        (Outcome(status="refused", code="not-allowed"), [4, "a", "SecurityError", "", {}]),
        (Outcome(status="refused", code="unsupported-action"), [4, "a", "NotSupported", "", {}]),
        (Outcome(status="refused", code="invalid-payload"), [4, "a", "PropertyConstraintViolation", "", {}]),
        (Outcome(status="refused", code="busy"), [4, "a", "GenericError", "", {}]),
    ],
)
@pytest.mark.parametrize("version", ["ocpp1.6", "ocpp2.0.1", "ocpp2.1"])
def test_a_result_as_a_frame(outcome: Outcome, expected: list[Any], version: str) -> None:
    from evcore import Codec

    told = frame(result("CP1", "a", "ClearCache", outcome, NOW))
    assert told == expected
    decoded = Codec(version).decode(json.dumps(told), "ClearCache", judge=False)
    assert decoded.id == "a"


def test_a_frame_without_an_id() -> None:
    refused = Outcome(status="refused", code="malformed", message="x")
    assert frame(result("CP1", None, None, refused, NOW)) == [4, "-1", "ProtocolError", "x", {}]
