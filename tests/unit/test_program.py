"""Judgement, keyword by keyword (docs/codec.md §3): verdict, place, what was expected, and the words.

`judge` runs a schema over a value both ways: as it stands on the wire, inside a frame, and as a Python object. The two
must agree on everything but what only one of them can hold.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any

import pytest

from evcore import PayloadError, SchemaError, Violation

Judge = Callable[..., list[tuple[str, str, Any, str]]]


def brief(violations: Any) -> list[tuple[str, str, Any, str]]:
    assert all(type(violation) is Violation for violation in violations)
    return [(v.pointer, v.keyword, v.expected, v.message) for v in violations]


@pytest.fixture
def on_the_wire(backend: Any) -> Judge:
    """(schema of a member `v`, JSON text of its value) -> violations below /v, read from a frame."""

    def judge(schema: Any, text: str, version: str = "ocpp2.1", **options: Any) -> Any:
        whole = {"type": "object", "properties": {"v": schema}, "additionalProperties": False}
        if isinstance(schema, dict) and "definitions" in schema:
            whole["definitions"] = schema.pop("definitions")
        program = backend.Program(json.dumps(whole).encode(), version=version, **options)
        codec = backend.Codec(
            version,
            {"call": ("Test",), "result": (), "send": ()},
            lambda kind, action: program,
            lazy=False,
            limits=(1 << 20, 64, 36, 1 << 18, 640, 1 << 14, 100),
            answer_unknown_kind=False,
            tolerate=None,
            further=None,
        )
        try:
            assert codec.decode(f'[2,"1","Test",{{"v":{text}}}]').violations == ()
        except PayloadError as error:
            return brief(error.violations)
        return []

    return judge


@pytest.fixture
def judge(on_the_wire: Judge, make_program: Any) -> Judge:
    """As `on_the_wire`, and the same verdict about the same value as a Python object."""

    def both(schema: Any, text: str, version: str = "ocpp2.1", **options: Any) -> Any:
        whole = {"type": "object", "properties": {"v": dict(schema)}, "additionalProperties": False}
        if "definitions" in schema:
            whole["definitions"] = whole["properties"]["v"].pop("definitions")
        found = on_the_wire(dict(schema), text, version, **options)
        value = json.loads(text, parse_float=Decimal)
        assert brief(make_program(whole, version, **options).check({"v": value})) == found
        return found

    return both


VALUES = {
    "object": "{}",
    "array": "[]",
    "string": '""',
    "integer": "1",
    "number": "1.5",
    "boolean": "true",
    "null": "null",
}


@pytest.mark.parametrize("due", VALUES)
@pytest.mark.parametrize("found", VALUES)
def test_type(judge: Judge, due: str, found: str) -> None:
    fits = due == found or (due, found) == ("number", "integer")
    expected = [] if fits else [("/v", "type", due, f"must be {due}, is {found}")]
    assert judge({"type": due}, VALUES[found]) == expected


@pytest.mark.parametrize(("text", "whole"), [("300.0", True), ("3e2", True), ("30e-1", True), ("-0.0", True)])
@pytest.mark.parametrize("version", ["ocpp1.6", "ocpp2.0.1", "ocpp2.1"])
def test_whole_numbers_are_integers_in_2x(judge: Judge, version: str, text: str, whole: bool) -> None:
    expected = [] if whole and version != "ocpp1.6" else [("/v", "type", "integer", "must be integer, is number")]
    assert judge({"type": "integer"}, text, version) == expected


@pytest.mark.parametrize("text", ["1.5", "1e-1", "31e-1", "1.00000000000000000000001", "1e-400"])
@pytest.mark.parametrize("version", ["ocpp1.6", "ocpp2.1"])
def test_decimal_text_decides_what_is_whole(judge: Judge, version: str, text: str) -> None:
    assert judge({"type": "integer"}, text, version) == [("/v", "type", "integer", "must be integer, is number")]


def test_number_bounds(judge: Judge) -> None:
    schema = {"type": "number", "minimum": 0.0, "maximum": 100.5}
    for good in ("0", "-0", "0.0", "100.5", "100.50", "1e2"):
        assert judge(schema, good) == []
    assert judge(schema, "-1e-9") == [("/v", "minimum", 0, "is below 0")]
    assert judge(schema, "101") == [("/v", "maximum", 100.5, "is above 100.5")]
    assert judge(schema, "9" * 120) == [("/v", "maximum", 100.5, "is above 100.5")]
    assert judge(schema, "-" + "9" * 120) == [("/v", "minimum", 0, "is below 0")]


def test_whole_bounds_are_ints(on_the_wire: Judge) -> None:
    [violation] = on_the_wire({"type": "integer", "minimum": 1.0}, "0")
    assert (violation[2], type(violation[2])) == (1, int)
    [violation] = on_the_wire({"type": "number", "multipleOf": 0.1}, "0.01")
    assert (violation[2], type(violation[2])) == (0.1, float)


def test_bounds_compare_as_doubles(judge: Judge, on_the_wire: Judge) -> None:
    assert judge({"type": "integer", "maximum": 2**53}, str(2**53 + 1)) == []
    assert judge({"type": "integer", "minimum": 2**53}, str(2**53 - 1)) != []
    assert judge({"type": "integer", "minimum": -(2**53)}, str(-(2**53) - 1)) == []
    for sign, keyword in (("", "maximum"), ("-", "minimum")):
        found = on_the_wire({"type": "integer", "minimum": 0, "maximum": 1}, sign + "9" * 400)
        assert [entry[1] for entry in found] == [keyword]
    assert judge({"type": "integer", "maximum": 2**53 - 2}, str(2**53 - 1)) != []
    assert judge({"type": "number", "maximum": 0.1}, "0.1000000000000000000001") == []


@pytest.mark.parametrize(
    "text", ["8.1", "0", "-0.3", "16", "1e300", "100000000000000000000.1", "0.10", "62e-1", "0e-9"]
)
def test_multiple_of_a_tenth(judge: Judge, text: str) -> None:
    assert judge({"type": "number", "multipleOf": 0.1}, text) == []


@pytest.mark.parametrize("text", ["6.25", "0.01", "1e-2", "8.1000000000000001", "1e-99999"])
def test_no_multiple_of_a_tenth(judge: Judge, text: str) -> None:
    assert judge({"type": "number", "multipleOf": 0.1}, text) == [("/v", "multipleOf", 0.1, "is not a multiple of 0.1")]


def test_every_tenth_is_a_multiple(judge: Judge) -> None:
    """697 of these 2,000 are not, for those who divide doubles."""
    items = ",".join(f"{n // 10}.{n % 10}" for n in range(2000))
    assert judge({"type": "array", "items": {"type": "number", "multipleOf": 0.1}}, f"[{items}]") == []


def test_strings(judge: Judge) -> None:
    schema = {"type": "string", "maxLength": 3, "enum": ["abc", "ä😀x", "abcd"]}
    assert judge(schema, '"abc"') == judge(schema, '"ä😀x"') == judge(schema, '"\\u00e4\\ud83d\\ude00x"') == []
    assert judge(schema, '"abcd"') == [("/v", "maxLength", 3, "is longer than 3 characters")]
    assert judge(schema, '"ABCDE"') == [
        ("/v", "enum", ("abc", "ä😀x", "abcd"), "is not one of the 3 allowed values"),
        ("/v", "maxLength", 3, "is longer than 3 characters"),
    ]


def test_max_length_counts_code_points(judge: Judge) -> None:
    assert judge({"type": "string", "maxLength": 2}, '"😀😀"') == []
    assert judge({"type": "string", "maxLength": 2}, '"\\ud83d\\ude00\\ud83d\\ude00"') == []
    assert len(judge({"type": "string", "maxLength": 2}, '"e\u0301e"')) == 1
    assert judge({"type": "string", "maxLength": 0}, '""') == []


def test_arrays(judge: Judge) -> None:
    schema = {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2, "additionalItems": False}
    assert judge(schema, "[1,2]") == []
    assert judge(schema, "[]") == [("/v", "minItems", 1, "has fewer than 1 items")]
    assert judge(schema, '[1,"x",3]') == [
        ("/v/1", "type", "integer", "must be integer, is string"),
        ("/v", "maxItems", 2, "has more than 2 items"),
    ]
    assert judge({"type": "array"}, '[1,"x",{}]') == []


def test_objects_in_document_order(judge: Judge) -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "integer"},
            "b": {"type": "object", "properties": {"x": {}, "y": {}}, "required": ["y", "x"]},
            "c": {},
            "z": {},
        },
        "required": ["c", "a", "z"],
        "additionalProperties": False,
    }
    assert judge(schema, '{"c":null,"b":{"x":1},"q/~":{"d":1},"a":"1"}') == [
        ("/v/b", "required", "y", "lacks the required property y"),
        ("/v/q~1~0", "additionalProperties", None, "is not a property of this object"),
        ("/v/a", "type", "integer", "must be integer, is string"),
        ("/v", "required", "z", "lacks the required property z"),
    ]


def test_required_beside_the_properties(judge: Judge) -> None:
    """An open object may require what it does not describe."""
    schema = {"type": "object", "properties": {"a": {}}, "required": ["b", "a"]}
    assert judge(schema, '{"a":1,"b":1}') == []
    assert judge(schema, '{"a":1,"c":1}') == [("/v", "required", "b", "lacks the required property b")]


def test_object_without_properties(judge: Judge) -> None:
    assert judge({"type": "object", "additionalProperties": False}, "{}") == []
    assert len(judge({"type": "object", "additionalProperties": False}, '{"a":1}')) == 1
    assert judge({"type": "object"}, '{"a":{"b":[]}}') == []


def test_repeated_names(on_the_wire: Judge) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}
    twice = "is given more than once"
    assert on_the_wire(schema, '{"a":1,"\\u0061":"x","b":[{"c":1,"c":2}],"b":0}') == [
        ("/v/a", "uniqueKeys", None, twice),
        ("/v/a", "type", "integer", "must be integer, is string"),
        ("/v/b", "additionalProperties", None, "is not a property of this object"),
        ("/v/b/0/c", "uniqueKeys", None, twice),
        ("/v/b", "uniqueKeys", None, twice),
        ("/v/b", "additionalProperties", None, "is not a property of this object"),
    ]
    assert on_the_wire({}, '[{"a":{"x":1,"x":1,"x":1}}]') == [("/v/0/a/x", "uniqueKeys", None, twice)] * 2
    assert on_the_wire({"type": "string"}, '{"x":1,"x":2}') == [
        ("/v", "type", "string", "must be string, is object"),
        ("/v/x", "uniqueKeys", None, twice),
    ]


def test_references(judge: Judge) -> None:
    schema = {
        "$ref": "#/definitions/B",
        "description": "an annotation beside a reference",
        "definitions": {
            "A": {"type": "integer", "minimum": 1},
            "B": {"type": "object", "properties": {"a": {"$ref": "#/definitions/A"}}},
        },
    }
    assert judge(schema, '{"a":1}') == []
    assert judge(schema, '{"a":0}') == [("/v/a", "minimum", 1, "is below 1")]


DATE_TIMES = {
    "2026-11-20T12:00:00Z": True,
    "2026-11-20t12:00:00.123456789z": True,
    "2024-02-29T23:59:59+05:30": True,
    "2000-02-29T00:00:00-00:00": True,
    "0000-02-29T00:00:00+23:59": True,
    "2016-12-31T23:59:60Z": True,
    "2017-01-01T05:29:60+05:30": True,
    "2016-12-31T20:59:60.5-03:00": True,
    "2016-12-31T23:59:60+00:01": False,
    "2016-12-31T22:59:60Z": False,
    "2026-11-20 12:00:00Z": False,
    "2026-11-20T12:00:00": False,
    "2026-11-20T12:00:00.Z": False,
    "2026-11-20T12:00Z": False,
    "1900-02-29T00:00:00Z": False,
    "2026-04-31T00:00:00Z": False,
    "2026-13-01T00:00:00Z": False,
    "2026-00-01T00:00:00Z": False,
    "2026-01-00T00:00:00Z": False,
    "2026-01-01T24:00:00Z": False,
    "2026-01-01T00:60:00Z": False,
    "2026-01-01T00:00:61Z": False,
    "2026-01-01T00:00:00+24:00": False,
    "2026-01-01T00:00:00+05:60": False,
    "2026-01-01T00:00:00+0530": False,
    "2026-01-01T00:00:00Z\n": False,
    " 2026-01-01T00:00:00Z": False,
    "２026-01-01T00:00:00Z": False,
    "": False,
}
URIS = {
    "ftp://user:pw@host:21/a%20b;x=1/?q=/?#f?/": True,
    "http://[::1]:8080/": True,
    "http://[::ffff:192.0.2.1]": True,
    "http://[v1.x:y]/": True,
    "urn:a:b": True,
    "file:///var/x": True,
    "a+.-1:": True,
    "mailto:a@b": True,
    "http://h:/": True,
    "http://a@b@c/": False,
    "http://[::1%25eth0]/": False,
    "http://[::1": False,
    "http://[1:2]/": False,
    "http://h:x/": False,
    "http://h/a b": False,
    "http://h/%zz": False,
    "http://h/%2": False,
    "http://h/#a#b": False,
    "http://h/[": False,
    "http://ü/": False,
    "host/path": False,
    "1http://h": False,
    ":x": False,
    "": False,
}


@pytest.mark.parametrize(
    ("format", "text", "good"),
    [("date-time", *entry) for entry in DATE_TIMES.items()] + [("uri", *entry) for entry in URIS.items()],
)
def test_formats(judge: Judge, format: str, text: str, good: bool) -> None:
    schema = {"type": "string", "format": format}
    expected = [] if good else [("/v", "format", format, f"is not a valid {format}")]
    assert judge(schema, json.dumps(text)) == expected
    assert judge(schema, json.dumps(text), formats=False) == []


def test_codes_of_each_version(make_program: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer", "minimum": 1}, "b": {"type": "array", "minItems": 1}, "z": {}},
        "required": ["z"],
        "additionalProperties": False,
    }
    value = {"a": "x", "b": [], "q": 1}
    root = {"ocpp1.6": "FormationViolation", "ocpp2.0.1": "FormatViolation", "ocpp2.1": "FormatViolation"}
    for version, malformed in root.items():
        old = version == "ocpp1.6"
        program = make_program(schema, version)
        assert [violation.code for violation in program.check(value)] == [
            "TypeConstraintViolation",
            "OccurenceConstraintViolation" if old else "OccurrenceConstraintViolation",
            malformed,
            "ProtocolError" if old else "OccurrenceConstraintViolation",
        ]
        assert [v.code for v in program.check({"a": 0, "z": 1})] == ["PropertyConstraintViolation"]
        assert [v.code for v in program.check([])] == [malformed]


# Python objects


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Word(StrEnum):
    RED = "red"


PLAIN = [
    ("string", "red", "red"),
    ("string", Colour.RED, "red"),
    ("string", Word.RED, "red"),
    ("string", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
    ("integer", Level.LOW, 1),
    ("integer", Decimal(7), 7),
    ("number", Decimal("7.50"), 7.5),
    ("number", 1.5, 1.5),
    ("array", (1, 2), [1, 2]),
    ("object", {"a": 1}, {"a": 1}),
    ("null", None, None),
    ("boolean", False, False),
]


@pytest.mark.parametrize("due", VALUES)
@pytest.mark.parametrize(("kind", "value", "wire"), PLAIN)
def test_python_types(make_program: Any, due: str, kind: str, value: Any, wire: Any) -> None:
    """A Python object has the type of what it is written as."""
    expected = brief(make_program({"type": "object", "properties": {"v": {"type": due}}}).check({"v": wire}))
    assert brief(make_program({"type": "object", "properties": {"v": {"type": due}}}).check({"v": value})) == expected


@pytest.mark.parametrize("version", ["ocpp1.6", "ocpp2.1"])
def test_what_counts_as_an_integer(make_program: Any, version: str) -> None:
    program = make_program({"type": "array", "items": {"type": "integer"}}, version)
    always = [1, 10**100, Decimal(3), Decimal("-0"), Level.LOW]
    assert program.check(always) == []
    only_2x = [300.0, 1e16, Decimal("3E+2"), Decimal("3.0")]
    assert [v.pointer for v in program.check(only_2x)] == ([] if version == "ocpp2.1" else ["/0", "/1", "/2", "/3"])
    never = [0.5, Decimal("3.1"), True, "1"]
    assert len(program.check(never)) == 4


ODD = [
    (float("nan"), "type", "number", "must be number, is non-finite number"),
    (float("-inf"), "type", "number", "must be number, is non-finite number"),
    (Decimal("NaN"), "type", "number", "must be number, is non-finite number"),
    (Decimal("Infinity"), "type", "number", "must be number, is non-finite number"),
    (Decimal("1E+400"), "type", "number", "must be number, is non-finite number"),
    (10**128, "type", "number", "must be number, is number that is too long"),
    (10**5000, "type", "number", "must be number, is number that is too long"),
    (Decimal("0." + "1" * 127), "type", "number", "must be number, is number that is too long"),
    ("a\ud800", "utf-8", None, "holds a lone surrogate"),
    (datetime(2026, 1, 1), "format", "date-time", "is not a valid date-time"),  # noqa: DTZ001
    (datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))), "format", "date-time", "is not a valid date-time"),
    ({1}, "type", "JSON value", "must be JSON value, is set"),
    (b"x", "type", "JSON value", "must be JSON value, is bytes"),
    (date(2026, 1, 1), "type", "JSON value", "must be JSON value, is date"),
    (1j, "type", "JSON value", "must be JSON value, is complex"),
]


@pytest.mark.parametrize(
    ("value", "keyword", "expected", "message"),
    ODD,
    ids=[f"{type(entry[0]).__name__}-{n}" for n, entry in enumerate(ODD)],
)
def test_what_json_cannot_hold(make_program: Any, value: Any, keyword: str, expected: Any, message: str) -> None:
    finding = (keyword, expected, message)
    assert brief(make_program({}).check(value)) == [("", *finding)]
    assert brief(make_program({}).check([{"a": value}])) == [("/0/a", *finding)]
    own = {"number": ("number", "integer"), "utf-8": ("string",), "format": ("string",)}.get(expected or keyword, ())
    if keyword == "format":
        own = ("string",)
    for due in VALUES:
        [violation] = make_program({"type": "array", "items": {"type": due}}).check([value])
        if due in own:
            assert brief([violation]) == [("/0", *finding)]
        else:
            assert violation.keyword == "type"
            assert violation.message.startswith(f"must be {due}, is ")


def test_keys(make_program: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    no_name = ("", "type", "string", "must have keys of type string")
    assert brief(make_program(schema).check({1: "x", "a": "x", "\udc00": 2, Word.RED: 3})) == [
        no_name,
        ("/a", "type", "integer", "must be integer, is string"),
        no_name,
        ("/red", "additionalProperties", None, "is not a property of this object"),
    ]
    assert brief(make_program({}).check([{None: 1}])) == [("/0", *no_name[1:])]


def test_depth(make_program: Any) -> None:
    """The payload is level 2, as inside its frame."""

    def nested(levels: int) -> Any:
        value: Any = 1
        for _ in range(levels):
            value = [value]
        return value

    program = make_program({})
    assert program.check(nested(63)) == []
    [violation] = program.check(nested(64))
    assert violation[1:] == ("/0" * 63, "depth", 64, "is nested deeper than 64 levels")
    [violation] = program.check(nested(7), depth=5)
    assert violation[1:] == ("/0/0/0/0", "depth", 5, "is nested deeper than 5 levels")


def test_structures_that_hold_themselves_end(make_program: Any) -> None:
    loop: list[Any] = []
    loop.append(loop)
    [violation] = make_program({}).check(loop)
    assert violation.keyword == "depth"


def test_violations_are_counted(make_program: Any) -> None:
    program = make_program({"type": "array", "items": {"type": "string"}})
    assert len(program.check([1] * 300)) == 100
    assert len(program.check([1] * 300, violations=7)) == 7


def test_spellings(make_program: Any) -> None:
    """Dicts have the program's names; a dataclass, and dicts inside it, any spelling, but each property once."""
    from dataclasses import dataclass

    @dataclass
    class Datatype:
        id_tag: Any = None
        idTag: Any = None
        identity: Any = None
        sub: Any = None

    properties: dict[str, Any] = {"idTag": {"type": "integer"}, "a": {}}
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    schema = {"type": "object", "properties": {**properties, "sub": schema}, "additionalProperties": False}
    aliases = {"identity": ("other", "idTag"), "id_tag": ("idTag",)}
    unknown = "additionalProperties"
    for snake, good, bad in (({"idTag": "id_tag"}, "id_tag", "idTag"), (None, "idTag", "id_tag")):
        program = make_program(schema, snake=snake, aliases=aliases)
        assert program.check({good: 1, "sub": {good: 1}}) == []
        assert [(v.pointer, v.keyword) for v in program.check({bad: 1, "identity": 1})] == [
            (f"/{bad}", unknown),
            ("/identity", unknown),
        ]
        for field in ("id_tag", "idTag", "identity"):
            assert program.check(Datatype(**{field: 1})) == []
            assert program.check(Datatype(sub={field: 1})) == []
            assert [v.pointer for v in program.check(Datatype(**{field: "x"}))] == ["/idTag"]
        assert [(v.pointer, v.keyword) for v in program.check(Datatype(id_tag=1, identity=2))] == [
            ("/idTag", "uniqueKeys")
        ]


# Schemas that cannot be compiled

REFUSED = [
    ({"type": "string", "pattern": "x"}, "pattern"),
    ({"type": "string", "minLength": 1}, "minLength"),
    ({"anyOf": [{}]}, "anyOf"),
    ({"type": ["string", "null"]}, "type"),
    ({"type": "text"}, "type"),
    ({"enum": ["a"]}, "enum"),
    ({"type": "string", "enum": [1]}, "enum"),
    ({"type": "string", "format": "email"}, "format"),
    ({"type": "string", "maxLength": -1}, "maxLength"),
    ({"type": "array", "items": [{}]}, ""),
    ({"type": "number", "multipleOf": 0.5}, "multipleOf"),
    ({"type": "number", "minimum": "0"}, "minimum"),
    ({"type": "object", "additionalProperties": {"type": "string"}}, "additionalProperties"),
    ({"type": "object", "properties": {f"p{n}": {} for n in range(64)}}, ""),
    ({"$ref": "other.json"}, "$ref"),
    ({"$ref": "#/definitions/None"}, "$ref"),
    ({"$ref": "#/definitions/Loop"}, "$ref"),
    (True, ""),
]


@pytest.mark.parametrize(("part", "keyword"), REFUSED, ids=[json.dumps(part)[:40] for part, _ in REFUSED])
def test_refused_schemas_say_what_and_where(make_program: Any, part: Any, keyword: str) -> None:
    loop = {"Loop": {"type": "array", "items": {"$ref": "#/definitions/Loop"}}}
    make_program({"type": "object", "properties": {"v": {"type": "array", "items": {}}}, "definitions": loop})
    with pytest.raises(SchemaError) as caught:
        make_program({"type": "object", "properties": {"v": {"type": "array", "items": part}}, "definitions": loop})
    assert keyword in str(caught.value)
    assert "/properties/v" in str(caught.value) or "/definitions/Loop" in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b'"x"', b"\xff"])
def test_no_schema_at_all(backend: Any, text: bytes) -> None:
    with pytest.raises(SchemaError):
        backend.Program(text, version="ocpp2.1")


def test_annotations_are_read_past(make_program: Any) -> None:
    annotations = dict.fromkeys(
        ("$schema", "id", "$id", "title", "description", "comment", "$comment", "javaType"), "x"
    )
    schema = {**annotations, "type": "string", "default": "a", "examples": ["a"], "additionalProperties": False}
    assert make_program(schema).check("a") == []


def test_as_many_properties_as_there_may_be(make_program: Any) -> None:
    names = [f"p{n}" for n in range(63)]
    schema = {"type": "object", "properties": {name: {"type": "integer"} for name in names}, "required": names}
    program = make_program({**schema, "additionalProperties": False})
    assert program.check(dict.fromkeys(names, 1)) == []
    assert [v.expected for v in program.check(dict.fromkeys(names[:-1], 1))] == ["p62"]
