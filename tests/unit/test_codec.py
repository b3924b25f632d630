"""The codec: settings, what decode gives, what encode writes and refuses, what check says (docs/codec.md)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest

import evcore
from evcore import FrameError, Limits, PayloadError
from evcore.schema import VERSIONS

BOOT = {"chargePointVendor": "v", "chargePointModel": "m"}


# Settings


@pytest.mark.parametrize("version", VERSIONS)
def test_defaults(make_codec: Any, version: str) -> None:
    codec = make_codec(version)
    assert codec.version == version
    assert repr(codec) == f"Codec({version!r})"
    assert type(codec).__mro__[1:3] == evcore.Codec.__mro__[1:2] + type(codec).__mro__[2:3]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"version": "1.6"}, r"version must be one of ocpp1\.6, ocpp2\.0\.1, ocpp2\.1, not '1\.6'"),
        ({"version": None}, "version must be one of"),
        ({"names": "camel"}, "names must be 'wire' or 'snake', not 'camel'"),
        ({"unknown_kind": True}, "unknown_kind must be 'spec', 'answer' or 'ignore', not True"),
        ({"limits": (1, 2, 3)}, r"limits must be an evcore\.Limits, not tuple"),
        ({"policy": "strict"}, r"policy must be an evcore\.Policy, not str"),
    ],
)
def test_settings_that_do_not_exist(make_codec: Any, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}"):
        make_codec(**{"version": "ocpp1.6", **options})


def test_options_have_names(make_codec: Any) -> None:
    with pytest.raises(TypeError):
        make_codec("ocpp1.6", "snake")
    with pytest.raises(TypeError):
        make_codec("ocpp1.6", strict=True)


# Incoming


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, bytes.decode])
def test_all_kinds_of_text(make_codec: Any, backend: Any, make: Any) -> None:
    frame = make('[2, "ä", "DataTransfer", {"vendorId": "é😀"} ]'.encode())
    message = make_codec("ocpp1.6").decode(frame)
    assert message == backend.Call("ä", "DataTransfer", {"vendorId": "é😀"})
    assert message.raw == '{"vendorId": "é😀"}'.encode()


def test_a_strided_memoryview(make_codec: Any) -> None:
    frame = b"".join(bytes([byte, 0]) for byte in b'[2,"1","Heartbeat",{}]')
    assert make_codec("ocpp1.6").decode(memoryview(frame)[::2]).action == "Heartbeat"


@pytest.mark.parametrize("frame", [None, 1, ["x"], {"a": 1}, object()])
def test_no_text(make_codec: Any, frame: Any) -> None:
    with pytest.raises(TypeError):
        make_codec("ocpp1.6").decode(frame)


def test_what_is_received_later_changed(make_codec: Any) -> None:
    """A buffer may be used again at once; a lazy payload must not notice."""
    for lazy in (False, True):
        frame = bytearray(b'[2,"1","Authorize",{"idTag":"abc"}]')
        message = make_codec("ocpp1.6", lazy=lazy).decode(frame)
        frame[:] = b"x" * len(frame)
        assert message.payload == {"idTag": "abc"}
        assert message.raw == b'{"idTag":"abc"}'


def test_values(make_codec: Any) -> None:
    data = (
        '{"i":9007199254740993,"n":-0,"f":-0.0,"e":1e2,"b":'
        + "9" * 100
        + ',"s":"\\u00e9\\ud83d\\ude00\\n","l":[true,null]}'
    )
    message = make_codec("ocpp2.1").decode(f'[2,"1","DataTransfer",{{"vendorId":"v","data":{data}}}]')
    value = message.payload["data"]
    assert repr(value) == repr(
        {"i": 9007199254740993, "n": 0, "f": -0.0, "e": 100.0, "b": 10**100 - 1, "s": "é😀\n", "l": [True, None]}
    )
    assert {type(member) for member in value.values()} == {int, float, str, list}


@pytest.mark.parametrize("lazy", [False, True])
def test_results(make_codec: Any, backend: Any, lazy: bool) -> None:
    codec = make_codec("ocpp1.6", lazy=lazy)
    unjudged = codec.decode(b'[3,"1",{"status":1}]')
    assert (unjudged, unjudged.action) == (backend.CallResult("1", {"status": 1}), None)
    judged = codec.decode(b'[3,"1",{"status":"Accepted"}]', action="ClearCache")
    assert (judged.payload, judged.action) == ({"status": "Accepted"}, "ClearCache")
    with pytest.raises(PayloadError) as caught:
        codec.decode(b'[3,"1",{"status":1}]', action="ClearCache")
    assert (caught.value.message.action, caught.value.reply) == ("ClearCache", None)
    with pytest.raises(ValueError, match=r"'Nothing' is not an action of ocpp1\.6"):
        codec.decode(b'[3,"1",{}]', action="Nothing")


@pytest.mark.parametrize("payload", ["[1]", "5", '"x"', '{"idTag":1,"idTag":2}', "null"])
def test_unjudged(make_codec: Any, payload: str) -> None:
    codec = make_codec("ocpp1.6", names="snake")
    for action in ("Authorize", "Nothing"):
        message = codec.decode(f'[2,"1","{action}",{payload}]', judge=False)
        assert message.payload == (json.loads(payload) if payload != "null" else {})
        assert (message.raw, message.violations) == (payload.encode(), ())


def test_null_is_an_empty_object(make_codec: Any) -> None:
    codec = make_codec("ocpp1.6")
    message = codec.decode(b'[2,"1","Heartbeat",null]')
    assert (message.payload, message.raw) == ({}, b"null")
    with pytest.raises(PayloadError, match="lacks the required property idTag"):
        codec.decode(b'[2,"1","Authorize",null]')


@pytest.mark.parametrize(
    ("frame", "details", "raw"),
    [
        (b'[4,"1","OccurrenceConstraintViolation","d"]', {}, None),
        (b'[4,"1","OccurrenceConstraintViolation","d",null]', {}, b"null"),
        (b'[4,"1","OccurrenceConstraintViolation","d",{"a":[1.5]}]', {"a": [1.5]}, b'{"a":[1.5]}'),
        (b'[4,"1","OccurrenceConstraintViolation","d", "SQL" ]', {"text": "SQL"}, b'"SQL"'),
    ],
)
def test_errors(make_codec: Any, frame: bytes, details: Any, raw: Any) -> None:
    message = make_codec("ocpp1.6").decode(frame)
    assert (message.code, message.description) == ("OccurenceConstraintViolation", "d")
    assert (message.details, message.raw) == (details, raw)


def test_signed_messages(make_codec: Any) -> None:
    frame = b'[2,"1","Heartbeat-Signed",{"payload":"x","signatures":[]}]'
    assert make_codec("ocpp2.0.1").decode(frame).payload["payload"] == "x"
    for version, action in (("ocpp1.6", b"Heartbeat-Signed"), ("ocpp2.1", b"Nothing-Signed"), ("ocpp2.1", b"-Signed")):
        with pytest.raises(PayloadError) as caught:
            make_codec(version).decode(b'[2,"1","' + action + b'",{}]')
        assert caught.value.code == "NotImplemented"


def test_actions_belong_to_a_kind(make_codec: Any, backend: Any) -> None:
    codec = make_codec("ocpp2.1")
    for frame in (b'[2,"1","NotifyPeriodicEventStream",{}]', b'[6,"1","Heartbeat",{}]'):
        with pytest.raises(PayloadError) as caught:
            codec.decode(frame)
        assert caught.value.code == "NotImplemented"
        assert (caught.value.reply is None) == frame.startswith(b"[6")
    stream = {"id": 1, "pending": 0, "basetime": "2026-01-01T00:00:00Z", "data": [{"t": 1, "v": "x"}]}
    message = backend.Send("1", "NotifyPeriodicEventStream", stream)
    assert codec.decode(codec.encode(message)) == message
    assert codec.check("NotifyPeriodicEventStream", stream, "send") == []


def test_replies_hold_nothing_of_the_peer(make_codec: Any) -> None:
    frame = (
        b'[2,"1","BootNotification",{"reason":"PowerUp","chargingStation":{"model":"m","vendorName":"v",'
        b'"customData":{"vendorId":"v","secret":[{"secret":1,"secret":2}]}}}]'
    )
    with pytest.raises(PayloadError) as caught:
        make_codec("ocpp2.1").decode(frame)
    assert caught.value.violations[0].pointer == "/chargingStation/customData/secret/0/secret"
    sentence = "/chargingStation/customData holds a member that is given more than once"
    assert caught.value.reply == f'[4,"1","FormatViolation","{sentence}",{{}}]'.encode()


def test_limits_hold(make_codec: Any) -> None:
    codec = make_codec("ocpp1.6", limits=Limits(frame_bytes=40, id_chars=2, violations=1))
    assert codec.decode(b'[2,"12","Heartbeat",{}]').id == "12"
    with pytest.raises(FrameError, match="message id is not a string of 1 to 2 characters"):
        codec.decode(b'[2,"123","Heartbeat",{}]')
    with pytest.raises(FrameError, match="frame is larger than 40 bytes"):
        codec.decode('[2,"1","DataTransfer",{"vendorId":"ää"}]')
    with pytest.raises(PayloadError) as caught:
        codec.decode(b'[2,"1","Authorize",{"a":1,"b":2}]')
    assert len(caught.value.violations) == 1


# Outgoing


class Status(Enum):
    ACCEPTED = "Accepted"


@pytest.mark.parametrize("version", VERSIONS)
def test_written_and_read_again(make_codec: Any, backend: Any, version: str) -> None:
    codec = make_codec(version)
    messages = [
        backend.Call("ä-1", "Heartbeat", {}),
        backend.CallResult("2", {"currentTime": "2026-01-01T00:00:00Z"}),
        backend.CallError("3", "GenericError", 'a "quote"', {"a": [1, 2.5, None]}),
    ]
    if version == "ocpp2.1":
        messages.append(backend.CallResultError("4", "RpcFrameworkError"))
    for message in messages:
        assert codec.decode(codec.encode(message, action="Heartbeat"), action="Heartbeat") == message


def test_bytes(make_codec: Any, backend: Any) -> None:
    codec = make_codec("ocpp1.6")
    moment = datetime(2026, 1, 2, 3, 4, 5, 6789, tzinfo=UTC)
    payload = {"currentTime": moment, "interval": Decimal(300), "status": Status.ACCEPTED}
    written = b'[3,"1",{"currentTime":"2026-01-02T03:04:05.006Z","interval":300,"status":"Accepted"}]'
    assert codec.encode(backend.CallResult("1", payload), action="BootNotification") == written
    assert codec.encode(backend.CallResult("1", payload, "BootNotification")) == written
    data = '"\\/\b\f\n\r\t\x00\x1f\x7fé\u2028😀'
    written = '[2,"1","DataTransfer",{"vendorId":"v","data":"\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\x7fé\u2028😀"}]'
    assert codec.encode(backend.Call("1", "DataTransfer", {"vendorId": "v", "data": data})) == written.encode()


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.1, "0.1"),
        (-0.0, "-0.0"),
        (300.0, "300.0"),
        (1e16, "1e16"),
        (1e-5, "1e-5"),
        (1.5e300, "1.5e300"),
        (123456789.125, "123456789.125"),
        (Decimal("1.10"), "1.10"),
        (Decimal("3E+2"), "3e2"),
        (Decimal("1E-7"), "1E-7"),
        (Decimal("-0"), "-0"),
        (10**100, "1" + "0" * 100),
        (True, "true"),
        (None, "null"),
    ],
)
def test_numbers(make_codec: Any, backend: Any, number: Any, text: str) -> None:
    message = backend.Call("1", "DataTransfer", {"vendorId": "v", "data": [number]})
    written = f'[2,"1","DataTransfer",{{"vendorId":"v","data":[{text}]}}]'.encode()
    assert make_codec("ocpp2.0.1").encode(message) == written


def test_judged_before_it_is_written(make_codec: Any, backend: Any) -> None:
    codec = make_codec("ocpp1.6")
    message = backend.Call("1", "Authorize", {"idTag": 5})
    with pytest.raises(PayloadError) as caught:
        codec.encode(message)
    assert (caught.value.message, caught.value.reply) == (message, None)
    assert list(caught.value.violations) == codec.check("Authorize", {"idTag": 5})
    assert codec.encode(message, judge=False) == b'[2,"1","Authorize",{"idTag":5}]'
    with pytest.raises(PayloadError, match="must be object, is null"):
        codec.encode(backend.Call("1", "Heartbeat", None))
    for bad, action in ((backend.Call("1", "Nothing", {}), None), (backend.CallResult("1", {}), "Nothing")):
        with pytest.raises(PayloadError) as caught:
            codec.encode(bad, action=action)
        assert caught.value.code == "NotImplemented"


def test_unjudged_is_still_json(make_codec: Any, backend: Any) -> None:
    codec = make_codec("ocpp1.6", names="snake")
    assert (
        codec.encode(backend.Call("1", "Nothing", {"id_tag": [1]}), judge=False) == b'[2,"1","Nothing",{"id_tag":[1]}]'
    )
    assert codec.encode(backend.CallResult("1", [None]), judge=False) == b'[3,"1",[null]]'
    with pytest.raises(PayloadError) as caught:
        codec.encode(backend.CallResult("1", {"a": float("nan")}), judge=False)
    assert caught.value.violations[0].pointer == "/a"


def test_snake_names(make_codec: Any, backend: Any) -> None:
    codec = make_codec("ocpp1.6", names="snake")
    payload = {"charge_point_vendor": "v", "charge_point_model": "m"}
    frame = b'[2,"1","BootNotification",{"chargePointVendor":"v","chargePointModel":"m"}]'
    assert codec.encode(backend.Call("1", "BootNotification", payload)) == frame
    assert codec.decode(frame).payload == payload
    assert codec.decode(frame).raw == frame[26:-1]
    assert [v.pointer for v in codec.check("BootNotification", {**payload, "firmware_version": 1})] == [
        "/firmwareVersion"
    ]
    assert {v.keyword for v in codec.check("BootNotification", BOOT)} == {"additionalProperties", "required"}


@pytest.mark.parametrize("version", VERSIONS)
def test_error_codes_are_spelled_as_the_version_does(make_codec: Any, backend: Any, version: str) -> None:
    codec = make_codec(version)
    pairs = [
        ("FormationViolation", "FormatViolation"),
        ("OccurenceConstraintViolation", "OccurrenceConstraintViolation"),
    ]
    for pair in pairs:
        own = pair[0] if version == "ocpp1.6" else pair[1]
        for code in pair:
            assert codec.encode(backend.CallError("1", code)) == f'[4,"1","{own}","",{{}}]'.encode()
            assert codec.decode(f'[4,"1","{code}","",{{}}]').code == own
    if version == "ocpp1.6":
        with pytest.raises(ValueError, match=r"'RpcFrameworkError' is not one of ocpp1\.6's"):
            codec.encode(backend.CallError("1", "RpcFrameworkError"))
    assert codec.decode('[4,"1","Odd","",{}]').code == "Odd"


def test_error_fields(make_codec: Any, backend: Any) -> None:
    codec = make_codec("ocpp1.6")
    written = codec.encode(backend.CallError("1", "GenericError", "é" * 300))
    assert written == f'[4,"1","GenericError","{"é" * 255}",{{}}]'.encode()
    for details, found in (([1], "must be object, is array"), ({"a": {1}}, "must be JSON value, is set")):
        with pytest.raises(PayloadError, match=found):
            codec.encode(backend.CallError("1", "GenericError", "", details))


@pytest.mark.parametrize("id", ["", "x" * 37])
def test_ids(make_codec: Any, backend: Any, id: Any) -> None:
    for message in (backend.Call(id, "Heartbeat", {}), backend.CallError(id, "GenericError")):
        with pytest.raises(ValueError, match="message id must be a str of 1 to 36 characters"):
            make_codec("ocpp1.6").encode(message)


def test_refusals_of_encode(make_codec: Any, backend: Any) -> None:
    codec = make_codec("ocpp2.0.1")
    with pytest.raises(ValueError, match="action"):
        codec.encode(backend.CallResult("1", {}))
    for message in (backend.Send("1", "NotifyPeriodicEventStream", {}), backend.CallResultError("1", "GenericError")):
        with pytest.raises(ValueError, match=rf"{message.kind} is not one of ocpp2\.0\.1's"):
            codec.encode(message)
    for other in (None, [2, "1", "Heartbeat", {}], b"[]", {"id": "1"}):
        with pytest.raises(TypeError):
            codec.encode(other)
    with pytest.raises(ValueError, match="'Odd' is not one of"):
        codec.encode(backend.CallError("1", "Odd"))


def test_check(make_codec: Any) -> None:
    codec = make_codec("ocpp1.6")
    assert codec.check("BootNotification", BOOT) == []
    result = {"status": "Accepted", "currentTime": "2026-01-01T00:00:00Z", "interval": 1}
    assert (
        codec.check("BootNotification", result, "result")
        == codec.check("BootNotification", result, kind="result")
        == []
    )
    assert [v.keyword for v in codec.check("BootNotification", result)][:1] == ["additionalProperties"]
    for action, kind in (("Nothing", "call"), ("Heartbeat", "send"), ("", "result")):
        [violation] = codec.check(action, {}, kind)
        assert violation == ("NotImplemented", "", "action", None, "is not an action of ocpp1.6")
    with pytest.raises(ValueError, match="kind must be"):
        codec.check("Heartbeat", {}, "request")
