"""Frames by rule: docs/codec.md §2 (steps 5 to 9) and §4 as a model over parsed JSON, and the frames to try it on.

In: a version and a frame's text. Out: an `Outcome`, which is either a message (class and fields, unjudged) or an
error with everything it carries. It knows no schema: payloads here are `{}`, null or not objects.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from proof.contract import canonical, type_name
from proof.inventory import entries

NAMES = {2: "CALL", 3: "CALLRESULT", 4: "CALLERROR", 5: "CALLRESULTERROR", 6: "SEND"}
CLASSES = {2: "Call", 3: "CallResult", 4: "CallError", 5: "CallResultError", 6: "Send"}
KINDS = {"ocpp1.6": (2, 3, 4), "ocpp2.0.1": (2, 3, 4), "ocpp2.1": (2, 3, 4, 5, 6)}
SPELLINGS = {
    "ocpp1.6": {
        "FormatViolation": "FormationViolation",
        "OccurrenceConstraintViolation": "OccurenceConstraintViolation",
    },
    "ocpp2.0.1": {
        "FormationViolation": "FormatViolation",
        "OccurenceConstraintViolation": "OccurrenceConstraintViolation",
    },
}
SPELLINGS["ocpp2.1"] = SPELLINGS["ocpp2.0.1"]

HEAD = re.compile(rb'^[ \t\r\n]*\[[ \t\r\n]*([0-9]{1,3})[ \t\r\n]*,[ \t\r\n]*"([ !#-\[\]-~]{1,255})"[ \t\r\n]*,')
HEAD_KIND = re.compile(rb"^[ \t\r\n]*\[[ \t\r\n]*([0-9]{1,3})[ \t\r\n]*,")


class Outcome(NamedTuple):
    """What decoding must yield: `name` is a message class, ``FrameError`` or ``PayloadError``; `data` its visible
    parts.
    """

    name: str
    data: tuple[Any, ...]


def known(value: Any) -> str | None:
    """The id when it may be answered to."""
    return value if isinstance(value, str) and 1 <= len(value) <= 255 else None


def actions(version: str, kind: str) -> frozenset[str]:
    """This version's actions of a kind."""
    return frozenset(e.action for e in entries() if e.version == version and e.kind == kind)


def _framework(version: str) -> str:
    return "FormationViolation" if version == "ocpp1.6" else "RpcFrameworkError"


def _format(version: str) -> str:
    return "FormationViolation" if version == "ocpp1.6" else "FormatViolation"


def frame_error(
    version: str, reason: str, code: str, sentence: str, message_id: str | None, to: tuple[int, str] | None
) -> Outcome:
    """A FrameError's code, reason, message_id, sentence, reply; `to`: kind and id of the answer."""
    reply = canonical([to[0], to[1], code, sentence[:255], {}]) if to else None
    return Outcome("FrameError", (code, reason, message_id, sentence, reply))


def unreadable(version: str, frame: bytes, reason: str, sentence: str) -> Outcome:
    """The rows `limit`, `utf-8`, `json` of §4: nothing but the head can be read."""
    start = frame[:1024]
    if head := HEAD.match(start):
        kind, message_id = int(head[1]), head[2].decode()
        answer = {2: 4, 3: 5 if version == "ocpp2.1" else None}.get(kind)
        return frame_error(
            version, reason, _format(version), sentence, message_id, (answer, message_id) if answer else None
        )
    silent = version == "ocpp1.6" or ((kind_only := HEAD_KIND.match(start)) and int(kind_only[1]) in (3, 4, 5, 6))
    return frame_error(version, reason, _framework(version), sentence, None, None if silent else (4, "-1"))


def outcome(version: str, text: str, action: str | None = None) -> Outcome:
    """What a readable JSON text is as a frame of this version; `action` as given to decode."""
    frame = json.loads(text)
    code = _framework(version)
    minus_one = None if version == "ocpp1.6" else (4, "-1")
    if not isinstance(frame, list) or not frame:
        sentence = "frame is an empty array" if frame == [] else "frame is not a JSON array"
        return frame_error(version, "frame", code, sentence, None, minus_one)
    kind = frame[0]
    message_id = known(frame[1]) if len(frame) > 1 else None
    or_minus_one = None if version == "ocpp1.6" else (4, message_id or "-1")
    if type(kind) is not int:
        return frame_error(version, "frame", code, "message type is not an integer", message_id, or_minus_one)
    if kind not in KINDS[version]:
        subject = f"message type {kind}" if len(str(kind)) <= 9 else "message type"
        code = "FormationViolation" if version == "ocpp1.6" else "MessageTypeNotSupported"
        answer = or_minus_one if version == "ocpp2.0.1" else None
        return frame_error(version, "kind", code, f"{subject} is not one of {version}'s", message_id, answer)
    if sentence := _malformed(kind, frame):
        answer = None
        if kind == 2:
            answer = (4, message_id) if message_id else minus_one
        elif kind == 3 and version == "ocpp2.1" and message_id:
            answer = (5, message_id)
        return frame_error(version, "frame", code, sentence, message_id, answer)
    return _message(version, kind, frame, action)


def _malformed(kind: int, frame: list[Any]) -> str | None:
    lengths = {2: (4,), 3: (3,), 4: (4, 5), 5: (4, 5), 6: (4,)}[kind]
    if len(frame) not in lengths:
        return f"{NAMES[kind]} must have {' or '.join(map(str, lengths))} elements, has {len(frame)}"
    if not isinstance(frame[1], str) or not 1 <= len(frame[1]) <= 36:
        return "message id is not a string of 1 to 36 characters"
    if kind in (2, 6):
        return None if isinstance(frame[2], str) else "action is not a string"
    if kind in (4, 5):
        if not isinstance(frame[2], str):
            return "error code is not a string"
        if not isinstance(frame[3], str | None):
            return "error description is not a string"
        if len(frame) == 5 and not isinstance(frame[4], dict | str | None):
            return "error details are not an object"
    return None


def _message(version: str, kind: int, frame: list[Any], action: str | None) -> Outcome:
    if kind in (4, 5):
        details = frame[4] if len(frame) == 5 else None
        details = {"text": details} if isinstance(details, str) else details or {}
        return Outcome(CLASSES[kind], (frame[1], SPELLINGS[version].get(frame[2], frame[2]), frame[3] or "", details))
    payload = {} if frame[-1] is None else frame[-1]
    if kind == 3:
        if action is None or isinstance(payload, dict):
            return Outcome("CallResult", (frame[1], payload, action))
        return _payload_error(version, kind, frame[1], payload)
    known_actions = actions(version, "send" if kind == 6 else "call")
    signed = version != "ocpp1.6" and frame[2].removesuffix("-Signed") in known_actions
    if frame[2] not in known_actions and not signed:
        return _payload_error(version, kind, frame[1], None)
    if not isinstance(payload, dict):
        return _payload_error(version, kind, frame[1], payload)
    return Outcome(CLASSES[kind], (frame[1], frame[2], payload))


def _payload_error(version: str, kind: int, message_id: str, payload: Any) -> Outcome:
    """A payload that is not an object, or (payload None) an action this version does not have."""
    if payload is not None:
        code, keyword, text = _format(version), "type", f"must be object, is {type_name(payload)}"
    else:
        code, keyword, text = "NotImplemented", "action", f"is not an action of {version}"
    answer = {2: 4, 3: 5 if version == "ocpp2.1" else None}.get(kind)
    reply = canonical([answer, message_id, code, f"payload {text}", {}]) if answer else None
    return Outcome("PayloadError", (code, (("", keyword, text),), reply))


IDS = (
    '"1"',
    '""',
    '"-1"',
    json.dumps("i" * 36),
    json.dumps("i" * 37),
    json.dumps("i" * 255),
    json.dumps("i" * 256),
    "1",
    "null",
    "[]",
    '"\\u00e9 \U0001f600\\""',
)
ACTIONS = (
    '"Heartbeat"',
    '"heartbeat"',
    '"Nonsense"',
    '""',
    '"Heartbeat-Signed"',
    '"Nonsense-Signed"',
    '"NotifyPeriodicEventStream-Signed"',
    "5",
    "null",
    "{}",
)
PAYLOADS = ("{}", "null", "[]", '"x"', "5", "5.5", "true")
ERROR_FIELDS = (
    ('"GenericError"', '"what"', '{"a":1}'),
    ('"FormationViolation"', '""', "{}"),
    ('"FormatViolation"', "null", "null"),
    ('"OccurenceConstraintViolation"', '"x"', '"text"'),
    ('"OccurrenceConstraintViolation"', '"x"', '""'),
    ('"Vendor\\u00e9"', json.dumps("d" * 300), "[]"),
    ('""', '"x"', "5"),
    ('"GenericError"', "5", "{}"),
    ('"GenericError"', "{}", "{}"),
    ("5", '"x"', "{}"),
    ("null", "null", "null"),
)
KIND_TEXTS = (
    "0",
    "1",
    "7",
    "9",
    "-2",
    "123456789",
    "1234567890",
    "12345678901234567890",
    "2.0",
    "2e0",
    '"2"',
    "true",
    "null",
    "[]",
    "{}",
)


def frames() -> Iterator[str]:
    """Every combination of kind, arity, id, action, payload and error fields that the rules tell apart."""
    yield from ("[]", "{}", "null", "true", "5", "5.5", '"x"', '{"a":[2]}', "[[]]", "[{}]", "[null]")
    for kind in KIND_TEXTS:
        for tail in ("", ',"1"', ',"1","Heartbeat",{}', ",1", ',""', "," + json.dumps("i" * 256), ",{}", ',"1",{}'):
            yield f"[{kind}{tail}]"
    for kind in "23456":
        fields = ['"1"', '"Heartbeat"', "{}", "{}", "{}", "{}"]
        for arity in range(7):
            for message_id in IDS if arity else ("",):
                yield "[" + ",".join([kind, *([message_id, *fields[1:]] if arity else [])][: arity + 1]) + "]"
    for kind, message_id, action, payload in itertools.product("26", IDS[:4], ACTIONS, PAYLOADS):
        yield f"[{kind},{message_id},{action},{payload}]"
    for message_id, payload in itertools.product(IDS, PAYLOADS):
        yield f"[3,{message_id},{payload}]"
    for kind, message_id, fields_of in itertools.product("45", (IDS[0], IDS[1], IDS[4], IDS[7]), ERROR_FIELDS):
        yield f"[{kind},{message_id},{','.join(fields_of)}]"
        yield f"[{kind},{message_id},{','.join(fields_of[:2])}]"
    yield '[6,"1","NotifyPeriodicEventStream",[]]'
    yield '[2,"1","NotifyPeriodicEventStream",{}]'


def unreadable_frames() -> Iterator[tuple[bytes, str]]:
    """(bytes, reason): frames broken behind every kind of head."""
    ids = (
        b'"1"',
        b'""',
        b'"-1"',
        b'"' + b"i" * 255 + b'"',
        b'"' + b"i" * 256 + b'"',
        b'"\\u0041"',
        '"é"'.encode(),
        b'"a b[~!"',
        b"1",
        b'"a\tb"',
    )
    kinds = (b"2", b"3", b"4", b"5", b"6", b"9", b"0", b"999", b"1000", b"002", b"-2", b"2.0", b'"2"')
    starts = (b"[", b" \t\r\n[ ", b"[\x0b")
    broken = (
        (b'"Heartbeat",{x}]', "json"),
        (b'"Heart\xff",{}]', "utf-8"),
        (b'"Heartbeat",' + b"[" * 70 + b"]" * 70 + b"]", "limit"),
    )
    for start, kind, message_id, (rest, reason) in itertools.product(starts, kinds, ids, broken):
        head = start + kind + b" , " + message_id + b",\n"
        yield head + rest, "json" if reason == "limit" and not _is_json(head + b"0]") else reason
    for text in (
        b"\xff",
        b"[",
        b"[2",
        b"[2,",
        b'[2,"1"',
        b'[2,"1",',
        b'[3,"1"',
        b"[4",
        b"[4,",
        b"[5,",
        b"[6,x",
        b"nonsense",
        b"pong",
        b'{"a":}',
        b'[2,"1"]]',
    ):
        yield text, "utf-8" if b"\xff" in text else "json"
    late = b"[" + b" " * 1030 + b'2,"1","Heartbeat",x]'
    yield late, "json"
    yield b"[2" + b" " * 1000 + b',"' + b"i" * 30 + b'","Heartbeat",x]', "json"


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
