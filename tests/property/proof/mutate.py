"""Single-field mutations: a valid document in, documents that differ in one place out.

Every schema keyword is broken once at every place it holds, and its bound is touched from the allowed side as well;
what a mutation means (valid or not, which violations) is for the oracles to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple

from proof.document import Members, Number, Path, pointer, replaced
from proof.generate import Maker, Mode

UNTYPED: dict[str, Any] = {}
ASTRAL = "\U0001f50c"
BAD_DATE_TIMES = (
    "",
    "2026-01-02",
    "2026-01-02T03:04:05",
    "2026-01-02 03:04:05Z",
    "2026-01-02T03:04Z",
    "2026-01-02T03:04:05.Z",
    "2026-01-02T03:04:05+02",
    "2026-01-02T03:04:05+24:00",
    "2026-01-02T03:04:05-00:60",
    "2026-02-29T03:04:05Z",
    "2026-00-10T03:04:05Z",
    "2026-13-10T03:04:05Z",
    "2026-01-32T03:04:05Z",
    "2026-01-02T24:00:00Z",
    "2026-01-02T03:60:00Z",
    "2026-01-02T03:04:61Z",
    "2026-01-02T03:04:60Z",
    "2026-01-02T23:59:60+01:00",
    "2026-01-02T03:04:05Z ",
    " 2026-01-02T03:04:05Z",
    "２026-01-02T03:04:05Z",
    "2026-1-2T03:04:05Z",
    "20260102T030405Z",
    "+2026-01-02T03:04:05Z",
    "-026-01-02T03:04:05Z",
    "2026-01-02T03:04:05,5Z",
    "2026-01-02T03:04:05Z\n",
    "1767323045",
)
BAD_URIS = (
    "",
    "no-scheme",
    "//host/x",
    "1a:b",
    "http://[::1",
    "http://a b/",
    "a:%zz",
    "a:<>",
    "http://h:8a/",
    "ä:b",
    "http://é/",
    "a:\\",
    "-:a",
    "a:\n",
)


class Mutation(NamedTuple):
    """One edited document, and in words what was done where."""

    what: str
    document: Any


def mutations(schema: dict[str, Any], document: Any, rng: Random, *, whole_floats: bool) -> Iterator[Mutation]:
    """Every single-field mutation of a valid document, in document order.

    Where one definition stands at several places of a document, the first is mutated; `sampled` goes everywhere.
    """
    maker = Maker(rng, whole_floats=whole_floats)
    met: set[int] = set()
    for path, node, place in _places(schema, document, ()):
        if id(place) in met:
            continue
        met.add(id(place))
        for what, new in _edits(place, node, rng, maker, level=len(path) + 2):
            yield Mutation(f"{pointer(path) or 'payload'}: {what}", replaced(document, path, new))


def sampled(
    schema: dict[str, Any], document: Any, rng: Random, count: int, *, whole_floats: bool
) -> Iterator[Mutation]:
    """`count` mutations: each at a place chosen at random, of a kind chosen at random."""
    maker = Maker(rng, whole_floats=whole_floats)
    for path, node, place in rng.choices(list(_places(schema, document, ())), k=count):
        what, new = rng.choice(list(_edits(place, node, rng, maker, level=len(path) + 2)))
        yield Mutation(f"{pointer(path) or 'payload'}: {what}", replaced(document, path, new))


def _places(schema: dict[str, Any], node: Any, path: Path) -> Iterator[tuple[Path, Any, dict[str, Any]]]:
    yield path, node, schema
    if isinstance(node, dict) and schema.get("type") == "object":
        for name, child in node.items():
            yield from _places(schema.get("properties", {}).get(name, UNTYPED), child, (*path, name))
    elif isinstance(node, list) and schema.get("type") == "array":
        for index, child in enumerate(node):
            yield from _places(schema["items"], child, (*path, index))


def _edits(schema: dict[str, Any], node: Any, rng: Random, maker: Maker, level: int) -> Iterator[tuple[str, Any]]:
    kind = schema.get("type")
    for name, value in (
        ("null", None),
        ("boolean", rng.random() < 0.5),
        ("integer", 7),
        ("number", Number("7.5")),
        ("string", "7"),
        ("array", [{"a": 1}]),
        ("object", {"a": [1]}),
    ):
        if name != kind or kind is None:
            yield f"made {name}", value
    if kind == "object":
        yield from _object_edits(schema, node, rng, maker, level)
    elif kind == "array":
        yield from _array_edits(schema, node)
    elif kind == "string":
        yield from _string_edits(schema, node)
    elif kind in ("integer", "number"):
        yield from _number_edits(schema, kind)
    elif kind is None:
        yield "repeated member in an untyped part", Members((("a", 1), ("b", Members((("", 1), ("", 2)))), ("a", 1)))


def _object_edits(
    schema: dict[str, Any], node: dict[str, Any], rng: Random, maker: Maker, level: int
) -> Iterator[tuple[str, Any]]:
    for name in schema.get("required", ()):
        yield f"without {name}", {k: v for k, v in node.items() if k != name}
    yield "emptied", {}
    extra = rng.choice(("extra", "", "a/b~c", ASTRAL, 'quo"te', "x" * 300, "connectorid", "ID"))
    yield "extra member first", {extra: None, **node}
    yield "extra member last", {**node, extra: maker.anything(level + 1, 8)}
    yield (
        "extra member with repeated members",
        {**node, extra: Members((("k", 1), ("k", [Members((("z", 0), ("z", 0)))])))},
    )
    for name in schema.get("properties", ()):
        if name not in node:
            yield f"optional {name} as null", {**node, name: None}
    items = tuple(node.items())
    for index, (name, value) in enumerate(items):
        yield f"{name} repeated at once", Members((*items[: index + 1], (name, value), *items[index + 1 :]))
        yield f"{name} repeated at the end, wrong", Members((*items, (name, [])))
        yield f"{name} repeated, the first one wrong", Members(((name, {"a": None}), *items))
        yield f"{name} in other case", {(k.swapcase() if k == name else k): v for k, v in node.items()}
    yield "unknown member repeated", Members((*items, ("extra", 1), ("extra", 2), ("extra", 3)))
    if len(items) > 1:
        yield "members reversed", dict(reversed(items))


def _array_edits(schema: dict[str, Any], node: list[Any]) -> Iterator[tuple[str, Any]]:
    yield "emptied", []
    if node:
        most = schema.get("maxItems")
        if most is not None:
            yield "as many items as allowed", [node[0]] * most
            yield "one item too many", [node[0]] * (most + 1)
        yield "null item at the end", [*node, None]
        yield "item wrapped", [*node[:-1], [None]]


def _string_edits(schema: dict[str, Any], node: str) -> Iterator[tuple[str, Any]]:
    if "enum" in schema:
        first = schema["enum"][0]
        for wrong in (
            "",
            first + " ",
            first[:-1],
            first.swapcase(),
            first + "\x00",
            "Unknown" + ASTRAL,
            max(schema["enum"], key=len) + "x" * 40,
        ):
            yield "wrong enum", wrong
        for member in schema["enum"]:
            yield "enum member", member
    if "format" in schema:
        for bad in BAD_DATE_TIMES if schema["format"] == "date-time" else BAD_URIS:
            yield f"bad {schema['format']} {bad!r}", bad
    if "enum" not in schema and "format" not in schema:
        most = schema.get("maxLength")
        if most is not None:
            yield "one too long", (node + "x" * (most + 1))[: most + 1]
            yield "one too long, astral", ASTRAL * (most + 1) if most < 600 else "x" * most + ASTRAL
            yield "as long as allowed, astral", ASTRAL * most if most < 600 else ASTRAL + "é" * (most - 1)
            yield "as long as allowed, escapes", '"' * most
        yield "empty", ""
        yield "control characters", "\x00\x1f\x7f"


def _number_edits(schema: dict[str, Any], kind: str) -> Iterator[tuple[str, Any]]:
    for text in (
        "300.0",
        "3e2",
        "3E+2",
        "0.5",
        "15e-1",
        "150e-1",
        "-0",
        "-0.0",
        "0e5",
        "9" * 100,
        "8.1",
        "6.25",
        "1e-3",
        "1e300",
    ):
        yield f"written {text}", Number(text)
    yield "boolean for number", True
    for bound, sign in (("minimum", -1), ("maximum", 1)):
        if bound in schema:
            limit = Decimal(str(schema[bound]))
            for step in ("1", "0.5", "1e-9", "1e30"):
                yield f"beyond {bound} by {step}", Number(str(limit + sign * Decimal(step)).replace("E+", "e"))
            yield f"at {bound}", Number(str(limit))
            yield f"inside {bound}", Number(str(limit - sign))
    if "multipleOf" in schema:
        for text in (
            "0.05",
            "0.1",
            "0.10",
            "0.100000000000000000001",
            "1e-1",
            "1E-2",
            "199.9",
            "-8.1",
            "8.05e1",
            "0.7",
            "1.1e300",
            "5e-324",
        ):
            yield f"written {text}", Number(text)


def bases(
    schema: dict[str, Any], rng: Random, *, whole_floats: bool, randoms: int
) -> Iterator[tuple[Mode, dict[str, Any]]]:
    """Valid documents to start from: minimal, full, at the bounds, and some random ones."""
    maker = Maker(rng, whole_floats=whole_floats)
    for mode in (Mode.MINIMAL, Mode.FULL, Mode.LONGEST, *[Mode.RANDOM] * randoms):
        yield mode, maker.payload(schema, mode)
