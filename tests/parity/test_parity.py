"""Native against pure: the same value, error, code, pointer, sentence, reply and bytes for the same input.

Inputs: valid payloads of every schema and their mutations, every frame the rules tell apart, the JSON corpus, hostile
frames.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from evcore import Limits, SchemaError
from json_corpus import CASES, families
from proof.backends import AVAILABLE, make, messages
from proof.document import Style, value, write
from proof.frames import frames, unreadable_frames
from proof.generate import Mode
from proof.inventory import FOLDERS, FRAME_KIND, Entry, entries
from proof.mutate import bases, mutations, sampled
from proof.observe import observed
from proof.scramble import scrambled
from proof.sizes import SIZES

pytestmark = [
    pytest.mark.skipif("native" not in AVAILABLE, reason="the native module is not built"),
    pytest.mark.skipif(os.environ.get("EVCORE_BACKEND") == "pure", reason="runs with the native backend's tests"),
]


def tolerate(message: Any, violations: Any) -> bool:
    """A policy that lets through whatever has a readable payload, but for missing properties."""
    return all(violation.keyword != "required" for violation in violations)


OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"lazy": True},
    {"names": "snake"},
    {"formats": False},
    {"lazy": True, "names": "snake"},
    {"policy": tolerate},
    {"policy": tolerate, "names": "snake"},
    {"policy": tolerate, "lazy": True},
)


def agree(
    version: str, frame: Any, action: str | None = None, *, judge: bool = True, options: dict[str, Any] | None = None
) -> Any:
    """Both backends' answer to a frame; a difference fails with the frame."""
    native, pure = (
        observed(make(backend, version, **(options or {})).decode, frame, action, judge)
        for backend in ("native", "pure")
    )
    assert native == pure, f"{version} {options} action={action} judge={judge}: {frame!r:.3000}"
    return native


def documents(entry: Entry, rng: Random) -> Iterator[Any]:
    """Valid payloads and a sample of their mutations (nightly: all of them)."""
    whole_floats = entry.version != "ocpp1.6"
    for mode, base in bases(entry.inlined, rng, whole_floats=whole_floats, randoms=SIZES.randoms):
        if mode is Mode.LONGEST and rng.random() > SIZES.longest_share:
            continue
        yield base
        most = SIZES.longest if mode is Mode.LONGEST else SIZES.mutations
        made = (
            mutations(entry.inlined, base, rng, whole_floats=whole_floats)
            if most is None
            else sampled(entry.inlined, base, rng, most, whole_floats=whole_floats)
        )
        yield from (mutation.document for mutation in made)


def text_of(entry: Entry, document: Any, rng: Random) -> bytes:
    action = "" if entry.kind == "result" else f'"{entry.action}",'
    return f'[{FRAME_KIND[entry.kind]},"id",{action}{write(document, Style(rng, escapes=0.05))}]'.encode()


@pytest.mark.parametrize("version", FOLDERS)
def test_payloads(version: str) -> None:
    """decode under every option, check, and encode of the decoded value."""
    cases = 0
    for entry in entries():
        if entry.version != version:
            continue
        rng = Random(f"parity {entry}")
        action = entry.action if entry.kind == "result" else None
        for document in documents(entry, rng):
            cases += 1
            frame = text_of(entry, document, rng)
            agree(version, frame, action)
            agree(version, frame.decode(), action, judge=rng.random() < 0.9, options=rng.choice(OPTIONS))
            plain = value(document)
            native, pure = (
                observed(make(b, version).check, entry.action, plain, entry.kind) for b in ("native", "pure")
            )
            assert native == pure, frame
            encode(version, entry, plain, judge=rng.random() < 0.8)
    print(version, cases, "cases, native and pure agree")
    assert cases > 500


def encode(version: str, entry: Entry, payload: Any, *, judge: bool, **options: Any) -> Any:
    """Both backends' bytes of a message made by hand."""
    answers = []
    for backend in ("native", "pure"):
        codec = make(backend, version, **options)
        made = messages(backend)
        message = (
            made.CallResult("id", payload, entry.action)
            if entry.kind == "result"
            else (made.Send if entry.kind == "send" else made.Call)("id", entry.action, payload)
        )
        answers.append(observed(codec.encode, message, None, judge))
    assert answers[0] == answers[1], f"{entry}: {payload!r:.3000}"
    return answers[0]


@pytest.mark.parametrize("version", FOLDERS)
def test_frame_rules(version: str) -> None:
    for text in frames():
        for action in (None, "StatusNotification", "Heartbeat"):
            agree(version, text, action)
        agree(version, text.encode(), judge=False)
        agree(version, text, options={"lazy": True, "unknown_kind": "answer"})
    for frame, _ in unreadable_frames():
        agree(version, frame)


@pytest.mark.parametrize("version", FOLDERS)
def test_json(version: str) -> None:
    """The corpus as whole frame, payload, typed and untyped value; in 1.6 `data` is a string."""
    for text in (*(case.text for case in CASES), *families()):
        agree(version, text)
        agree(version, b'[2,"1","DataTransfer",' + text + b"]", judge=False)
        agree(version, b'[2,"1","DataTransfer",{"vendorId":"v","data":' + text + b"}]")


@pytest.mark.parametrize("version", FOLDERS)
def test_hostile_frames(version: str) -> None:
    rng = Random(f"hostile {version}")
    seeds = seed_frames(version, rng)
    for frame in scrambled(seeds, rng, SIZES.scrambled):
        action = rng.choice((None, "GetVariables", "Heartbeat", "BootNotification", "GetConfiguration"))
        if action in ("GetVariables", "GetConfiguration") and (action == "GetConfiguration") != (version == "ocpp1.6"):
            action = None
        answer = agree(version, frame, action, judge=rng.random() < 0.9, options=rng.choice(OPTIONS))
        assert answer[0] != "ValueError" and answer[0] != "TypeError", frame


def seed_frames(version: str, rng: Random) -> list[bytes]:
    """One valid frame per message, and errors of both kinds."""
    found = [
        text_of(entry, document, rng)
        for entry in entries()
        if entry.version == version
        for mode, document in bases(entry.inlined, rng, whole_floats=version != "ocpp1.6", randoms=1)
        if mode is Mode.RANDOM
    ]
    return [*found, b'[4,"id","GenericError","what",{"a":[1,2.5]}]', b'[5,"id","FormatViolation","",{}]']


@pytest.mark.parametrize("version", FOLDERS)
def test_limits(version: str) -> None:
    """Frames against limits of every size, tiny ones included: the same limit, sentence, byte and answer."""
    rng = Random(f"limits {version}")
    seeds = [frame for frame in seed_frames(version, rng) if len(frame) < 4000]
    settings = [
        Limits(**{name: rng.choice([value for value in values if allowed(name, value)])})
        for name, values in (
            ("frame_bytes", (64, 200, 1000)),
            ("depth", (2, 3, 4, 6)),
            ("id_chars", (1, 2, 5)),
            ("string_bytes", (1, 5, 12, 20, 40, 100)),
            ("number_chars", (1, 2, 3, 8)),
            ("items", (1, 2, 3, 4, 5, 8)),
            ("violations", (1, 2, 3)),
        )
        if any(allowed(name, value) for value in values)
        for _ in range(4)
    ]
    for frame in (*seeds, *scrambled(seeds, rng, SIZES.scrambled // 10)):
        limits = rng.choice(settings)
        agree(version, frame, options={"limits": limits, "lazy": rng.random() < 0.3}, judge=rng.random() < 0.8)


def allowed(name: str, value: int) -> bool:
    """Whether `Limits` takes the value at all."""
    try:
        Limits(**{name: value})
    except ValueError:
        return False
    return True


SCHEMAS: tuple[Any, ...] = (
    {}, {"type": "object"}, {"type": "nothing"}, {"type": ["string", "null"]}, {"minLength": 1},
    {"type": "string", "minLength": 1}, True, [], 5, None,
    {"type": "string", "pattern": "a"}, {"type": "string", "format": "email"}, {"type": "string", "enum": [1]},
    {"type": "string", "enum": []}, {"enum": ["a"]},
    {"type": "string", "maxLength": -1}, {"type": "string", "maxLength": 2.0}, {"type": "string", "maxLength": "2"},
    {"type": "number", "multipleOf": 0.1},
    {"type": "number", "multipleOf": 0.5}, {"type": "number", "multipleOf": 1}, {"type": "number", "multipleOf": 0},
    {"type": "integer", "multipleOf": 0.01},
    {"type": "number", "minimum": "0"}, {"type": "array"}, {"type": "array", "items": {}},
    {"type": "array", "items": [{}]}, {"type": "array", "minItems": -1, "items": {}},
    {"type": "object", "additionalProperties": True}, {"type": "object", "additionalProperties": {}},
    {"type": "object", "additionalProperties": False},
    {"type": "object", "required": ["a"]}, {"type": "object", "properties": {"a": {}}, "required": ["a", "b"]},
    {"type": "object", "required": "a"}, {"type": "object", "properties": []},
    {"type": "object", "properties": {"a": {"$ref": "#/definitions/A"}}},
    {"type": "object", "properties": {"a": {"$ref": "other.json"}}},
    {"definitions": {"A": {"$ref": "#/definitions/A"}}, "type": "object",
        "properties": {"a": {"$ref": "#/definitions/A"}}},
    {"definitions": {"A": {"type": "array", "items": {"$ref": "#/definitions/A"}}}, "type": "object",
        "properties": {"a": {"$ref": "#/definitions/A"}}},
    {"definitions": {"A/b~c": {"type": "string"}}, "type": "object",
        "properties": {"a": {"$ref": "#/definitions/A~1b~0c"}}},
    *({"type": "object", "properties": {f"p{i}": {"type": "integer"} for i in range(n)},
        "additionalProperties": False} for n in (1, 62, 63, 64, 65)),
    {"$schema": "x", "id": 1, "title": 2, "description": 3, "$comment": 4, "default": 5, "examples": 6,
        "javaType": 7, "comment": 8, "type": "null"},
    {"type": "boolean", "maxLength": 3}, {"type": "object", "anyOf": []}, {"type": "integer", "exclusiveMinimum": 3},
    {"const": 1},
)  # fmt: skip
SAMPLES: tuple[Any, ...] = (
    None,
    True,
    1,
    1.0,
    1.5,
    0.35,
    "",
    "abc",
    "a@b",
    [],
    [1],
    [[]],
    {},
    {"a": 1},
    {"a": "x"},
    {"a": [[]]},
    {"p0": 1, "p61": "x", "p62": "x", "p63": "x"},
)


@pytest.mark.parametrize("schema", SCHEMAS, ids=[repr(schema)[:60] for schema in SCHEMAS])
def test_schemas(schema: Any) -> None:
    """A schema of the user's: both compile it and judge alike, or both refuse it."""
    text = json.dumps(schema).encode()
    compiled = []
    for backend in ("native", "pure"):
        try:
            compiled.append(messages(backend).Program(text, version="ocpp2.0.1"))
        except SchemaError:
            compiled.append(None)
    native, pure = compiled
    assert (native is None) == (pure is None), "one compiles what the other refuses"
    if native is not None:
        for sample in SAMPLES:
            assert observed(native.check, sample) == observed(pure.check, sample), sample
