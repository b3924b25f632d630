"""What is no frame, and what may be answered: docs/codec.md §4, row by row, in each version."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evcore import FrameError
from evcore.schema import VERSIONS

MALFORMED = {"ocpp1.6": "FormationViolation", "ocpp2.0.1": "FormatViolation", "ocpp2.1": "FormatViolation"}
MISFRAMED = {"ocpp1.6": "FormationViolation", "ocpp2.0.1": "RpcFrameworkError", "ocpp2.1": "RpcFrameworkError"}
DEEP = b"[" * 64 + b"]" * 64

# Who is answered, and with which id: "old" is 1.6.
NOBODY: dict[str, Any] = {}
NAMED_IN_ALL = dict.fromkeys(VERSIONS, (4, "id"))
NAMED_IN_2X = {"ocpp2.0.1": (4, "id"), "ocpp2.1": (4, "id")}
NAMELESS = {"ocpp2.0.1": (4, "-1"), "ocpp2.1": (4, "-1")}
AS_RESULT = {"ocpp2.1": (5, "id")}

UNREADABLE = [
    (b'[2,"id","Heartbeat",{]', "json", NAMED_IN_ALL, "id"),
    (b' [ 2 , "id" ,', "json", NAMED_IN_ALL, "id"),
    (b'[02,"id",{}]', "json", NAMED_IN_ALL, "id"),
    (b'[2,"id",' + DEEP, "limit", NAMED_IN_ALL, "id"),
    (b'[2,"id","\xff",{}]', "utf-8", NAMED_IN_ALL, "id"),
    (b'[3,"id",{]', "json", AS_RESULT, "id"),
    (b'[4,"id","x"', "json", NOBODY, "id"),
    (b'[4,"id","x",]', "json", NOBODY, "id"),
    (b'[9,"id",]', "json", NOBODY, "id"),
    (b'[3,"i\\u0064",{]', "json", NOBODY, None),
    (b'[6,"id"', "json", NOBODY, None),
    (b'[2,"i\\u0064",{]', "json", NAMELESS, None),
    (b'[2,"\xc3\xa4",{]', "json", NAMELESS, None),
    (b'[2,"id"', "json", NAMELESS, None),
    (b'[2,"' + b"x" * 256 + b'",', "json", NAMELESS, None),
    (b'[2.0,"id",', "json", NAMELESS, None),
    (b'[1234,"id",', "json", NAMELESS, None),
    (b" " * 1020 + b'[2,"id",', "json", NAMELESS, None),
    (b"{", "json", NAMELESS, None),
    (b"\xef\xbb\xbf[]", "json", NAMELESS, None),
    (b"pong", "json", NAMELESS, None),
]
MISSHAPEN = [
    (b"{}", "frame is not a JSON array", NAMELESS, None),
    (b'"id"', "frame is not a JSON array", NAMELESS, None),
    (b"[]", "frame is an empty array", NAMELESS, None),
    (b'["2","id"]', "message type is not an integer", NAMED_IN_2X, "id"),
    (b'[2.0,"id"]', "message type is not an integer", NAMED_IN_2X, "id"),
    (b"[true]", "message type is not an integer", NAMELESS, None),
    (b'[2,"id",{}]', "CALL must have 4 elements, has 3", NAMED_IN_ALL, "id"),
    (b"[2]", "CALL must have 4 elements, has 1", NAMELESS, None),
    (b'[2,7,"Heartbeat",{}]', "message id is not a string of 1 to 36 characters", NAMELESS, None),
    (b'[2,"","Heartbeat",{}]', "message id is not a string of 1 to 36 characters", NAMELESS, None),
    (b'[2,"id",7,{}]', "action is not a string", NAMED_IN_ALL, "id"),
    (b'[3,"id"]', "CALLRESULT must have 3 elements, has 2", AS_RESULT, "id"),
    (b"[3,7,{}]", "message id is not a string of 1 to 36 characters", NOBODY, None),
    (b'[4,"id","x"]', "CALLERROR must have 4 or 5 elements, has 3", NOBODY, "id"),
    (b'[4,"id",7,"",{}]', "error code is not a string", NOBODY, "id"),
    (b'[4,"id","x",7,{}]', "error description is not a string", NOBODY, "id"),
    (b'[4,"id","x","",[]]', "error details are not an object", NOBODY, "id"),
]


def refused(codec: Any, frame: bytes) -> FrameError:
    for form in (frame, memoryview(frame)):
        with pytest.raises(FrameError) as caught:
            codec.decode(form)
    return caught.value


def answer(error: FrameError) -> Any:
    """(kind, id) of the reply, whose other parts repeat the error."""
    if error.reply is None:
        return None
    kind, answered_id, *rest = json.loads(error.reply)
    assert rest == [error.code, str(error), {}]
    return kind, answered_id


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("frame", "reason", "answered", "id"), UNREADABLE)
def test_unreadable(make_codec: Any, version: str, frame: bytes, reason: str, answered: Any, id: Any) -> None:
    error = refused(make_codec(version), frame)
    assert (error.reason, error.message_id) == (reason, id)
    assert error.code == (MALFORMED if id else MISFRAMED)[version]
    assert answer(error) == answered.get(version)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("frame", "sentence", "answered", "id"), MISSHAPEN)
def test_misshapen(make_codec: Any, version: str, frame: bytes, sentence: str, answered: Any, id: Any) -> None:
    error = refused(make_codec(version), frame)
    assert (error.reason, str(error), error.message_id) == ("frame", sentence, id)
    assert (error.code, error.offset) == (MISFRAMED[version], None)
    assert answer(error) == answered.get(version)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("frame", [b"", b" \t\r\n", "", "\n"])
def test_empty(make_codec: Any, version: str, frame: Any) -> None:
    with pytest.raises(FrameError, match=r"^frame is empty$") as caught:
        make_codec(version).decode(frame)
    assert (caught.value.reason, caught.value.code, caught.value.reply) == ("empty", MISFRAMED[version], None)


@pytest.mark.parametrize("setting", ["spec", "answer", "ignore"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("frame", "answered_id"), [(b'[9,"id",1]', "id"), (b"[9]", "-1"), (b'[9,""]', "-1")])
def test_unknown_kinds(make_codec: Any, version: str, setting: Any, frame: bytes, answered_id: str) -> None:
    """2.0.1 asks for an answer (§4.4), 2.1 no longer does, 1.6 never did (§4.1.3)."""
    error = refused(make_codec(version, unknown_kind=setting), frame)
    assert (error.reason, str(error)) == ("kind", f"message type 9 is not one of {version}'s")
    assert error.code == ("FormationViolation" if version == "ocpp1.6" else "MessageTypeNotSupported")
    answers = version != "ocpp1.6" and (setting == "answer" or (setting == "spec" and version == "ocpp2.0.1"))
    assert answer(error) == ((4, answered_id) if answers else None)


@pytest.mark.parametrize("version", ["ocpp1.6", "ocpp2.0.1"])
@pytest.mark.parametrize("kind", [5, 6])
def test_kinds_of_a_later_version(make_codec: Any, version: str, kind: int) -> None:
    assert refused(make_codec(version), b'[%d,"id","x",{}]' % kind).reason == "kind"


@pytest.mark.parametrize(
    ("number", "shown"),
    [("-2", " -2"), ("-0", " -0"), ("123456789", " 123456789"), ("1234567890", ""), ("9" * 100, "")],
)
def test_odd_kinds(make_codec: Any, number: str, shown: str) -> None:
    error = refused(make_codec("ocpp1.6"), f'[{number},"id"]'.encode())
    assert str(error) == f"message type{shown} is not one of ocpp1.6's"


@pytest.mark.parametrize(
    ("frame", "offset"),
    [
        ('[2,"id","ä\ud800",{}]', 11),
        ("\udfff", 0),
        (b'[2,"id","\xc3\xa4\xff",{}]', 11),
        (b"\xed\xa0\x80", 0),
        (b"[1\xc3", 2),
    ],
)
def test_not_utf8(make_codec: Any, frame: Any, offset: int) -> None:
    with pytest.raises(FrameError, match=f"^frame is not UTF-8 at byte {offset}$") as caught:
        make_codec("ocpp2.1").decode(frame)
    assert (caught.value.reason, caught.value.offset) == ("utf-8", offset)


def test_offsets_count_bytes(make_codec: Any) -> None:
    error = refused(make_codec("ocpp2.1"), '[2,"é","é",'.encode() + DEEP)
    assert str(error) == f"frame is nested deeper than 64 levels at byte {13 + 63}"
    assert error.offset == 13 + 63


def test_an_id_is_sent_back_as_json(make_codec: Any) -> None:
    error = refused(make_codec("ocpp1.6"), '[2,"\\"ä\\n\\u0001"]'.encode())
    assert error.message_id == '"ä\n\x01'
    assert error.reply is not None
    assert error.reply.startswith('[4,"\\"ä\\n\\u0001",'.encode())
