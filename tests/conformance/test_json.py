"""Reading JSON: accept and reject what stdlib `json` and `orjson` accept and reject, with equal values, at every
place of a frame.

Each text of `json_corpus` is put in as the whole frame, as a payload, as an untyped value inside a judged payload
(2.0.1 `DataTransfer.data`, a customData member), and where it is a string also as a typed value and a member name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from evcore import FrameError, PayloadError
from json_corpus import ACCEPTED, CASES, DECISIONS, OPEN, REFUSED, Case, families
from proof.backends import BACKENDS, make
from proof.document import same

ORJSON_DIFFERS = {
    "integers beyond 64 bits": "orjson reads them as floats",
    "-0": "orjson reads minus zero as a float, stdlib and evcore as the int 0",
}


class _Refused(ValueError):
    pass


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _Refused("beyond a double")
    return number


def _constant(text: str) -> Any:
    raise _Refused(text)


def _has_lone_surrogate(value: Any) -> bool:
    if isinstance(value, str):
        return any("\ud800" <= c <= "\udfff" for c in value)
    if isinstance(value, dict):
        return any(map(_has_lone_surrogate, value)) or any(map(_has_lone_surrogate, value.values()))
    return isinstance(value, list) and any(map(_has_lone_surrogate, value))


def reference(text: bytes) -> tuple[str | None, Any]:
    """What strict stdlib `json` makes of the bytes: (None, value), or (FrameError reason, None)."""
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        return "utf-8", None
    if not decoded.strip(" \t\r\n"):
        return "empty", None
    try:
        value = json.loads(decoded, parse_constant=_constant, parse_float=_finite)
    except ValueError:
        return "json", None
    return ("json", None) if _has_lone_surrogate(value) else (None, value)


def repeats(text: bytes) -> bool:
    """Whether some object in the text names a member twice."""
    found = False

    def hook(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        found |= len({name for name, _ in pairs}) < len(pairs)
        return dict(pairs)

    json.loads(text, object_pairs_hook=hook)
    return found


def verdict(case: Case) -> str | None:
    """The FrameError reason due for the text itself, None where it is JSON."""
    if case.verdict == "i":
        return DECISIONS[case.name][0]
    reason, _ = reference(case.text)
    assert (reason is None) == (case.verdict == "y"), "the corpus' own label"
    return reason


def _refusal(codec: Any, frame: bytes, **options: Any) -> str | None:
    try:
        codec.decode(frame, **options)
    except FrameError as error:
        return error.reason
    except PayloadError:
        return None
    return None


def test_corpus_decides_every_open_case() -> None:
    assert {case.name for case in OPEN} == set(DECISIONS)
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
class TestCorpus:
    def test_as_the_whole_frame(self, backend: str, case: Case) -> None:
        due = verdict(case)
        got = _refusal(make(backend, "ocpp1.6"), case.text)
        assert got == due if due else got in ("frame", "kind")

    def test_as_a_payload(self, backend: str, case: Case) -> None:
        codec = make(backend, "ocpp2.0.1")
        frame = b'[2,"id","DataTransfer",' + case.text + b"]"
        due = verdict(case)
        if due == "empty" or (due is None and case.name.startswith("depth_6") and _depth(case) > 63):
            due = "json" if due else "limit"
        if due is None:
            message = codec.decode(frame, judge=False)
            value = json.loads(case.text)
            assert same(message.payload, {} if value is None else value)
            assert message.raw == case.text.strip(b" \t\r\n")
        elif case.verdict == "i" or reference(frame)[0]:
            assert _refusal(codec, frame, judge=False) == due

    def test_as_an_untyped_value(self, backend: str, case: Case) -> None:
        codec = make(backend, "ocpp2.0.1")
        due = verdict(case)
        for frame, path in (
            (b'[2,"id","DataTransfer",{"vendorId":"v","data":' + case.text + b"}]", ("data",)),
            (b'[2,"id","Heartbeat",{"customData":{"vendorId":"v","x":' + case.text + b"}}]", ("customData", "x")),
        ):
            if due is not None:
                assert _refusal(codec, frame) == ("json" if due == "empty" else due)
            elif repeats(case.text):
                with pytest.raises(PayloadError) as caught:
                    codec.decode(frame)
                assert {v.keyword for v in caught.value.violations} == {"uniqueKeys"}
            else:
                value = codec.decode(frame).payload
                for step in path:
                    value = value[step]
                assert same(value, json.loads(case.text))


def _depth(case: Case) -> int:
    return 1 + max(case.text.count(b"["), case.text.count(b"{"))


STRINGS = [
    case
    for case in CASES
    if case.text.startswith(b'"') and not case.name.startswith(("string_at_limit", "string_over"))
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", STRINGS, ids=lambda case: case.name)
def test_as_a_typed_string_and_a_member_name(backend: str, case: Case) -> None:
    codec = make(backend, "ocpp2.0.1")
    due = verdict(case)
    typed = b'[2,"id","DataTransfer",{"vendorId":' + case.text + b"}]"
    named = b'[2,"id","DataTransfer",{"vendorId":"v","data":{' + case.text + b":1}}]"
    if due is None:
        text = json.loads(case.text)
        assert codec.decode(named).payload["data"] == {text: 1}
        if len(text) <= 255:
            assert codec.decode(typed).payload == {"vendorId": text}
        else:
            with pytest.raises(PayloadError, match="is longer than 255 characters"):
                codec.decode(typed)
    else:
        assert _refusal(codec, typed) == due
        if reference(named)[0]:
            assert _refusal(codec, named) == due


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_spelling_of_numbers_escapes_and_bytes(backend: str) -> None:
    """Some 4,800 texts by rule; each alone and as an untyped value, against stdlib."""
    codec = make(backend, "ocpp2.0.1")
    read = refused = 0
    for text in families():
        frame = b'[2,"id","DataTransfer",{"vendorId":"v","data":' + text + b"}]"
        due, value = reference(frame)
        if due is None and len(value) == 4 and set(value[3]) == {"vendorId", "data"}:
            assert same(codec.decode(frame).payload, value[3]), frame
            read += 1
        elif due is not None:
            assert _refusal(codec, frame) == due, frame
            refused += 1
        due, value = reference(text)
        got = _refusal(codec, text)
        assert got == due if due else got in ("frame", "kind"), text
    assert read > 500 and refused > 2000


def test_reference_agrees_with_orjson() -> None:
    """The two oracles read alike, so that agreeing with one is agreeing with both; `ORJSON_DIFFERS` has the
    exceptions.
    """

    def numbers(value: Any) -> Iterator[Any]:
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                yield from numbers(item)
        else:
            yield value

    differing = set()
    for text in (*(c.text for c in (*ACCEPTED, *REFUSED)), *families()):
        due, value = reference(text)
        try:
            other = orjson.loads(text)
        except orjson.JSONDecodeError:
            assert due is not None, text
            continue
        assert due is None, text
        if not same(value, other):
            for one, two in zip(numbers(value), numbers(other), strict=True):
                if not same(one, two):
                    assert isinstance(one, int) and (one == 0 or abs(one) >= 2**63), text
                    differing.add("-0" if one == 0 else "integers beyond 64 bits")
    assert differing <= set(ORJSON_DIFFERS)
