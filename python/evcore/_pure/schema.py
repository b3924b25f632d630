"""JSON Schema to closures: one for each schema, which judges a node and builds its value in the same step.

In: schema text with OCPP's keywords. Out: a `Program`. Refused, as SchemaError: every other keyword, because what is
not judged must not look as if it were; and recursion (docs/codec.md §3).

A closure has the signature `judge(node, parent, key, report) -> value`: the node stands at `key` in `parent` (see
`violation.Here`), what is wrong goes to the report, and the value comes back either way: a policy may want the message.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn, Self, TypeAlias

from evcore._pure.document import Node, Real
from evcore._pure.format import FORMATS
from evcore._pure.number import decimal_places, double, is_integer_literal, is_whole, plain
from evcore._pure.version import VERSIONS, Version
from evcore._pure.violation import Enough, Here, LiveLimits, Report, type_name
from evcore.errors import SchemaError, Violation

__all__ = ["Compiler", "Judge", "Program", "anything"]

Judge: TypeAlias = Callable[[Node, Here, Any, Report], Any]
Schema: TypeAlias = dict[str, Any]

_ANNOTATIONS: Final = frozenset(
    ("$schema", "id", "$id", "title", "description", "comment", "$comment", "javaType", "default", "examples")
)
_ASSERTIONS: Final = frozenset(
    (
        *("type", "properties", "required", "additionalProperties", "enum", "maxLength", "items", "additionalItems"),
        *("minItems", "maxItems", "minimum", "maximum", "multipleOf", "format"),
    )
)
_MAX_PROPERTIES: Final = 63
_MAX_PLACES: Final = 15
_MAX_BOUND: Final = 2**53
_NUMBER_CHARS: Final = 128


# Judging


def anything(node: Node, parent: Here, key: Any, report: Report) -> Any:
    """Builds what no schema speaks about; only names that are given twice are noted."""
    kind = type(node)
    if kind is tuple:
        here = (parent, key)
        repeated = len(dict(node)) < len(node)
        built: dict[str, Any] = {}
        for name, value in node:
            if repeated and name in built:
                report.add("uniqueKeys", here, name, None, "is given more than once")
            built[name] = anything(value, here, name, report)
        return built
    if kind is list:
        here = (parent, key)
        return [anything(item, here, index, report) for index, item in enumerate(node)]
    return float(node) if kind is Real else node


class Compiler:
    """Compiles one schema for nodes that were read from text. (`live.LiveCompiler`: for Python objects.)"""

    anything: staticmethod[[Node, Here, Any, Report], Any] = staticmethod(anything)

    @staticmethod
    def finish(number: Real) -> float:
        """What becomes of a number that is not written as an integer."""
        return float(number)

    def __init__(self, document: Schema, version: Version, formats: bool, names: Mapping[str, str]) -> None:
        self._document = document
        self._version = version
        self._formats = formats
        self._names = names
        self._definitions: dict[str, Judge] = {}
        self._open_references: set[str] = set()

    def mismatch(self, node: Node, due: str, parent: Here, key: Any, report: Report) -> Any:
        """A value of the wrong type: judged no further, but built."""
        report.add("type", parent, key, due, f"must be {due}, is {type_name(node)}")
        return anything(node, parent, key, report)

    def compile(self, schema: Any, at: str = "") -> Judge:
        """The closure for the schema that stands at the JSON Pointer `at`."""
        if not isinstance(schema, dict):
            _refuse(at, "a schema must be an object")
        if "$ref" in schema:
            return self._reference(schema, at)
        for keyword in schema:
            if keyword not in _ASSERTIONS and keyword not in _ANNOTATIONS and (keyword != "definitions" or at):
                _refuse(at, f"keyword {keyword!r} is not supported")
        if "type" in schema:
            return self.typed(schema, at)
        for keyword in schema:
            if keyword in _ASSERTIONS:
                _refuse(at, f"keyword {keyword!r} without 'type' beside it is not supported")
        return self.anything

    def typed(self, schema: Schema, at: str) -> Judge:
        """The closure for a schema that names a type."""
        compilers = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._number,
            "number": self._number,
            "boolean": self._simple,
            "null": self._simple,
        }
        due = schema["type"]
        if not isinstance(due, str) or due not in compilers:
            _refuse(at, f"keyword 'type' must be one of {', '.join(compilers)}")
        return compilers[due](schema, at)

    def _reference(self, schema: Schema, at: str) -> Judge:
        for keyword in schema:
            if keyword != "$ref" and keyword not in _ANNOTATIONS:
                _refuse(at, f"keyword {keyword!r} beside '$ref' has no effect and is not supported")
        target, prefix = schema["$ref"], "#/definitions/"
        if not isinstance(target, str) or not target.startswith(prefix) or set(target[len(prefix) :]) & set("/~%"):
            _refuse(at, "keyword '$ref' must be '#/definitions/<name>'")
        name = target[len(prefix) :]
        if name not in self._definitions:
            definitions = self._document.get("definitions")
            if not isinstance(definitions, dict) or name not in definitions:
                _refuse(at, f"keyword '$ref' names {name!r}, which is not in definitions")
            if name in self._open_references:
                _refuse(at, f"keyword '$ref' to {name!r} runs in a circle: recursive schemas are not supported")
            self._open_references.add(name)
            self._definitions[name] = self.compile(definitions[name], f"/definitions/{name}")
            self._open_references.discard(name)
        return self._definitions[name]

    def _simple(self, schema: Schema, at: str) -> Judge:
        mismatch, due = self.mismatch, schema["type"]
        kind: type = bool if due == "boolean" else type(None)

        def judge(node: Node, parent: Here, key: Any, report: Report) -> Any:
            if type(node) is not kind:
                return mismatch(node, due, parent, key, report)
            return node

        return judge

    def _string(self, schema: Schema, at: str) -> Judge:
        mismatch = self.mismatch
        longest = _count(schema, "maxLength", at)
        allowed = _strings(schema, "enum", at)
        named = schema.get("format")
        if named is not None and named not in FORMATS:
            _refuse(at, f"keyword 'format' must be one of {', '.join(FORMATS)}")
        has_format = FORMATS[named] if named is not None and self._formats else None

        def judge(node: Node, parent: Here, key: Any, report: Report) -> Any:
            if type(node) is not str:
                return mismatch(node, "string", parent, key, report)
            if allowed is not None and node not in allowed:
                report.add("enum", parent, key, allowed, f"is not one of the {len(allowed)} allowed values")
            if longest is not None and len(node) > longest:
                report.add("maxLength", parent, key, longest, f"is longer than {longest} characters")
            if has_format is not None and not has_format(node):
                report.add("format", parent, key, named, f"is not a valid {named}")
            return node

        return judge

    def _number(self, schema: Schema, at: str) -> Judge:
        mismatch, finish, due = self.mismatch, self.finish, schema["type"]
        lowest, highest = _bound(schema, "minimum", at), _bound(schema, "maximum", at)
        step = _bound(schema, "multipleOf", at)
        places = None if step is None else _places(step, at)
        is_integer = is_whole if self._version.fractions else is_integer_literal

        def judge(node: Node, parent: Here, key: Any, report: Report) -> Any:
            written_as_integer = type(node) is int
            if not written_as_integer and (type(node) is not Real or (due == "integer" and not is_integer(node.text))):
                return mismatch(node, due, parent, key, report)
            if lowest is not None and double(node) < lowest:
                report.add("minimum", parent, key, lowest, f"is below {plain(lowest)}")
            if highest is not None and double(node) > highest:
                report.add("maximum", parent, key, highest, f"is above {plain(highest)}")
            if places is not None and not written_as_integer and decimal_places(node.text) > places:
                report.add("multipleOf", parent, key, step, f"is not a multiple of {plain(step or 0)}")
            return node if written_as_integer else finish(node)

        return judge

    def _array(self, schema: Schema, at: str) -> Judge:
        mismatch = self.mismatch
        judge_item = self.compile(schema["items"], f"{at}/items") if "items" in schema else self.anything
        fewest, most = _count(schema, "minItems", at), _count(schema, "maxItems", at)

        def judge(node: Node, parent: Here, key: Any, report: Report) -> Any:
            if type(node) is not list:
                return mismatch(node, "array", parent, key, report)
            here = (parent, key)
            built = [judge_item(item, here, index, report) for index, item in enumerate(node)]
            if fewest is not None and len(built) < fewest:
                report.add("minItems", parent, key, fewest, f"has fewer than {fewest} items")
            if most is not None and len(built) > most:
                report.add("maxItems", parent, key, most, f"has more than {most} items")
            return built

        return judge

    def _object(self, schema: Schema, at: str) -> Judge:
        properties = schema.get("properties", {})
        if not isinstance(properties, dict) or len(properties) > _MAX_PROPERTIES:
            _refuse(at, f"keyword 'properties' must be an object of at most {_MAX_PROPERTIES} members")
        if schema.get("additionalProperties", False) is not False:
            _refuse(at, "keyword 'additionalProperties' other than false is not supported")
        members = {name: self.compile(part, f"{at}/properties/{name}") for name, part in properties.items()}
        return self.object(members, _strings(schema, "required", at) or (), "additionalProperties" in schema)

    def object(self, members: dict[str, Judge], required: tuple[str, ...], closed: bool) -> Judge:
        """The closure for an object with these properties."""
        mismatch = self.mismatch
        known = {name: (self._names.get(name, name), judge) for name, judge in members.items()}

        def judge(node: Node, parent: Here, key: Any, report: Report) -> Any:
            if type(node) is not tuple:
                return mismatch(node, "object", parent, key, report)
            here = (parent, key)
            names = dict(node)
            repeated = len(names) < len(node)
            seen: set[str] = set()
            built: dict[str, Any] = {}
            for name, value in node:
                if repeated:
                    if name in seen:
                        report.add("uniqueKeys", here, name, None, "is given more than once")
                    seen.add(name)
                member = known.get(name)
                if member is not None:
                    python_name, judge_member = member
                    built[python_name] = judge_member(value, here, name, report)
                    continue
                if closed:
                    report.add("additionalProperties", here, name, None, "is not a property of this object")
                built[name] = anything(value, here, name, report)
            for name in required:
                if name not in names:
                    report.add("required", parent, key, name, f"lacks the required property {name}")
            return built

        return judge


# Reading keywords


def _refuse(at: str, what: str) -> NoReturn:
    raise SchemaError(f"{at or 'schema'}: {what}")


def _count(schema: Schema, keyword: str, at: str) -> int | None:
    value = schema.get(keyword)
    if value is None:
        return None
    if type(value) not in (int, float) or value != int(value) or value < 0:
        _refuse(at, f"keyword {keyword!r} must be a whole number, not negative")
    return int(value)


def _bound(schema: Schema, keyword: str, at: str) -> int | float | None:
    value = schema.get(keyword)
    if value is None:
        return None
    if type(value) not in (int, float) or not abs(value) <= _MAX_BOUND:
        _refuse(at, f"keyword {keyword!r} must be a number between -2^53 and 2^53")
    return int(value) if value == int(value) else value


def _places(step: float, at: str) -> int:
    for places in range(_MAX_PLACES + 1):
        if step == float(f"1e-{places}"):
            return places
    _refuse(at, "keyword 'multipleOf' must be 1, 0.1, 0.01 …")


def _strings(schema: Schema, keyword: str, at: str) -> tuple[str, ...] | None:
    values = schema.get(keyword)
    if values is None:
        return None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        _refuse(at, f"keyword {keyword!r} must be a list of strings")
    return tuple(values)


class Program:
    """A compiled schema. Immutable, shareable between codecs and threads."""

    version: Version
    _document: Any
    _formats: bool
    _names: Mapping[str, str]
    _aliases: Mapping[str, tuple[str, ...]]
    _judge: Judge
    _live: Judge | None

    def __new__(
        cls,
        schema: bytes,
        *,
        version: str,
        snake: Mapping[str, str] | None = None,
        aliases: Mapping[str, tuple[str, ...]] | None = None,
        formats: bool = True,
    ) -> Self:
        """`snake`: wire property name -> name of its key in Python; None: wire names. `aliases`: other name of a
        dataclass field -> the wire names it may stand for, of which an object has one. Raises SchemaError.
        """
        try:
            document = json.loads(schema)
        except (ValueError, RecursionError) as error:
            raise SchemaError(f"schema is not JSON: {error}") from None
        self = super().__new__(cls)
        self.version = VERSIONS[version]
        self._document = document
        self._formats = formats
        self._names = snake or {}
        self._aliases = aliases or {}
        self._judge = Compiler(document, self.version, formats, self._names).compile(document)
        self._live = None
        return self

    def judge(self, node: Node, violations: int) -> tuple[Any, list[Violation]]:
        """The Python value of a node read from text, and what is wrong with it."""
        report = Report(self.version, violations)
        return self._judge(node, None, None, report), report.found

    def convert(self, value: Any, *, depth: int, violations: int, number_chars: int) -> tuple[Any, list[Violation]]:
        """What to write for a Python object, and what is wrong with it. The value is worth nothing if something is."""
        if self._live is None:
            from evcore._pure.live import LiveCompiler  # only those who send need it

            compiler = LiveCompiler(self._document, self.version, self._formats, self._names, self._aliases)
            self._live = compiler.compile(self._document)
        report = Report(self.version, violations, LiveLimits(depth, number_chars))
        try:
            return self._live(value, None, None, report), report.found
        except Enough:
            return None, report.found

    def check(self, value: Any, *, depth: int = 64, violations: int = 100) -> list[Violation]:
        """All violations of a Python object, in the order in which it holds them."""
        return self.convert(value, depth=depth, violations=violations, number_chars=_NUMBER_CHARS)[1]

    def safe(self, pointer: str, node: Node) -> str:
        """The part of a violation's pointer that names nothing of the peer's: up to the first name no schema has.

        `node` is the document: it tells an index from a name that looks like one.
        """
        schema: Any = self._document
        kept = ""
        for step in pointer.split("/")[1:]:
            schema = self._resolved(schema)
            if type(node) is list:
                node, schema = node[int(step)], schema.get("items", {})
            elif type(node) is tuple:
                name = step.replace("~1", "/").replace("~0", "~")
                properties = schema.get("properties", {}) if schema.get("type") == "object" else {}
                if name not in properties:
                    break
                # Of a repeated name the first one is meant: the second one would have been the first violation itself.
                node, schema = next(value for key, value in node if key == name), properties[name]
            else:
                break
            kept += f"/{step}"
        return kept

    def _resolved(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            schema = self._document["definitions"][schema["$ref"].rpartition("/")[2]]
        return schema
