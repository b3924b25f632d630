"""Python objects to nodes, for what is sent: the same judgement, in the same order, with the same words.

In: dict, list, tuple, str, bool, int, float, Decimal, datetime, Enum, None, dataclass instances. Out: what is to be
written, with wire names. Refused, as violations: what has no JSON form, and what is nested too deeply.

An object is turned into a node when the walk reaches it, one level at a time, so that a structure that holds itself
ends at the depth limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Final, NamedTuple

from evcore._pure.document import Node, Real
from evcore._pure.number import is_integer_literal
from evcore._pure.schema import Compiler, Judge, Schema
from evcore._pure.version import Version
from evcore._pure.violation import Here, LiveLimits, Report, type_name

__all__ = ["LiveCompiler", "view"]


class Members(list[tuple[Any, Any]]):
    """The members of a dict or dataclass instance: keys as they are, values not yet looked at."""

    __slots__ = ("loose",)
    loose: bool
    """A dataclass instance: here and below, any spelling of a property's name will do."""

    def __init__(self, members: Iterable[tuple[Any, Any]], loose: bool) -> None:
        super().__init__(members)
        self.loose = loose


class Odd(NamedTuple):
    """A Python object that has no JSON form: what it is called, and what to say where its type would fit."""

    name: str
    fits: tuple[str, ...]
    keyword: str
    expected: str | None
    message: str


_LONE_SURROGATE: Final = Odd("string", ("string",), "utf-8", None, "holds a lone surrogate")
_NO_OFFSET: Final = Odd("string", ("string",), "format", "date-time", "is not a valid date-time")


def _no_number(name: str) -> Odd:
    return Odd(name, ("integer", "number"), "type", "number", f"must be number, is {name}")


_NOT_FINITE: Final = _no_number("non-finite number")
_TOO_LONG: Final = _no_number("number that is too long")


def view(value: Any, limits: LiveLimits) -> Node:
    """The node of a Python object, its members and items still Python objects."""
    look = _VIEWS.get(type(value))
    if look is None:
        if isinstance(value, Enum):
            return view(value.value, limits)
        is_dataclass = hasattr(type(value), "__dataclass_fields__")
        look = _view_dataclass if is_dataclass else _view_stranger
        look = next((look for kind, look in _VIEWS.items() if isinstance(value, kind)), look)
    return look(value, limits)


def _view_simple(value: Any, _: LiveLimits) -> Node:
    return value


def _view_str(value: str, _: LiveLimits | None = None) -> Node:
    try:
        value.encode()
    except UnicodeEncodeError:
        return _LONE_SURROGATE
    return str.__str__(value)


def _view_int(value: int, limits: LiveLimits) -> Node:
    # A digit has more than three bits: what passes here is short enough for Python to write out.
    if value.bit_length() > 4 * limits.number_chars or len(int.__repr__(value)) > limits.number_chars:
        return _TOO_LONG
    return int(value)


def _view_float(value: float, _: LiveLimits) -> Node:
    if not math.isfinite(value):
        return _NOT_FINITE
    mantissa, e, exponent = float.__repr__(value).partition("e")
    return Real(f"{mantissa}e{int(exponent)}" if e else mantissa)


def _view_decimal(value: Decimal, limits: LiveLimits) -> Node:
    if not value.is_finite():
        return _NOT_FINITE
    text = str(value).replace("E+", "e")
    if len(text) > limits.number_chars:
        return _TOO_LONG
    number = Real(text)
    # As on the wire: only what is written as an integer may be beyond the doubles.
    return number if math.isfinite(number) or is_integer_literal(text) else _NOT_FINITE


def _view_datetime(value: datetime, _: LiveLimits) -> Node:
    if value.utcoffset() is None:
        return _NO_OFFSET
    try:
        utc = value.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        return _NO_OFFSET
    return utc.isoformat(timespec="milliseconds" if utc.microsecond else "seconds") + "Z"


def _view_dict(value: dict[Any, Any], _: LiveLimits) -> Node:
    return Members(value.items(), loose=False)


def _view_list(value: Iterable[Any], _: LiveLimits) -> Node:
    return list(value)


def _view_dataclass(value: Any, _: LiveLimits) -> Node:
    from dataclasses import fields  # imported long ago by whoever made the class

    named = ((field.name, getattr(value, field.name)) for field in fields(value))
    return Members(((name, member) for name, member in named if member is not None), loose=True)


def _view_stranger(value: Any, _: LiveLimits) -> Node:
    name = type(value).__name__
    return Odd(name, (), "type", "JSON value", f"must be JSON value, is {name}")


_VIEWS: Final[dict[type, Callable[[Any, LiveLimits], Node]]] = {
    str: _view_str,
    bool: _view_simple,
    int: _view_int,
    float: _view_float,
    type(None): _view_simple,
    dict: _view_dict,
    list: _view_list,
    tuple: _view_list,
    datetime: _view_datetime,
    Decimal: _view_decimal,
}


def _walk(judge: Judge) -> Judge:
    """Looks at a Python object, one level deeper where it is a container, and has its node judged."""

    def judge_live(value: Any, parent: Here, key: Any, report: Report) -> Any:
        assert report.live is not None
        node = view(value, report.live)
        kind = type(node)
        if kind is not Members and kind is not list:
            return judge(node, parent, key, report)
        depth = report.live.depth
        if report.level >= depth:
            report.add("depth", parent, key, depth, f"is nested deeper than {depth} levels")
            return None
        loose = report.loose
        report.level += 1
        report.loose = loose or (kind is Members and node.loose)
        built = judge(node, parent, key, report)
        report.level -= 1
        report.loose = loose
        return built

    return judge_live


def _name(key: Any, parent: Here, at: Any, report: Report) -> str | None:
    """A member's name; None, and a violation of the object, for a key that cannot be one."""
    name = _view_str(key) if isinstance(key, str) else None
    if type(name) is str:
        return name
    report.add("type", parent, at, "string", "must have keys of type string")
    return None


def _anything(node: Node, parent: Here, key: Any, report: Report) -> Any:
    """Builds what no schema speaks about."""
    kind = type(node)
    if kind is Odd:
        report.add(node.keyword, parent, key, node.expected, node.message)
        return None
    here = (parent, key)
    if kind is list:
        return [anything(item, here, index, report) for index, item in enumerate(node)]
    if kind is Members:
        named = ((_name(raw, parent, key, report), value) for raw, value in node)
        return {name: anything(value, here, name, report) for name, value in named if name is not None}
    return node


anything: Final = _walk(_anything)


class LiveCompiler(Compiler):
    """Compiles one schema for Python objects. Their values are written by their text: a `Real` stays one."""

    anything = staticmethod(anything)

    @staticmethod
    def finish(number: Real) -> Real:
        return number

    def __init__(
        self,
        document: Schema,
        version: Version,
        formats: bool,
        names: Mapping[str, str],
        aliases: Mapping[str, tuple[str, ...]],
    ) -> None:
        super().__init__(document, version, formats, names)
        self._aliases = aliases

    def mismatch(self, node: Node, due: str, parent: Here, key: Any, report: Report) -> Any:
        """A value of the wrong type, or of one that JSON does not have."""
        kind = type(node)
        if kind is Odd and due in node.fits:
            return _anything(node, parent, key, report)
        if kind is Members:
            found = "object"
        elif kind is Odd:
            found = node.name
        else:
            found = "integer" if kind is Real and is_integer_literal(node.text) else type_name(node)
        report.add("type", parent, key, due, f"must be {due}, is {found}")
        return None if kind is Odd else _anything(node, parent, key, report)

    def typed(self, schema: Schema, at: str) -> Judge:
        return _walk(super().typed(schema, at))

    def object(self, members: dict[str, Judge], required: tuple[str, ...], closed: bool) -> Judge:
        mismatch = self.mismatch
        exact = {self._names.get(wire, wire): wire for wire in members}
        others = {name: wire for name, wires in self._aliases.items() for wire in wires if wire in members}
        any_spelling = others | exact | {wire: wire for wire in members}

        def judge(node: Node, parent: Here, key: Any, report: Report) -> Any:
            if type(node) is not Members:
                return mismatch(node, "object", parent, key, report)
            here = (parent, key)
            spellings = any_spelling if report.loose else exact
            seen: set[str] = set()
            built: dict[str, Any] = {}
            for raw, value in node:
                name = _name(raw, parent, key, report)
                if name is None:
                    continue
                wire = spellings.get(name)
                if wire is not None:
                    if wire in seen:
                        report.add("uniqueKeys", here, wire, None, "is given more than once")
                    seen.add(wire)
                    built[wire] = members[wire](value, here, wire, report)
                    continue
                if closed:
                    report.add("additionalProperties", here, name, None, "is not a property of this object")
                elif name not in members:
                    seen.add(name)
                built[name] = anything(value, here, name, report)
            for name in required:
                if name not in seen:
                    report.add("required", parent, key, name, f"lacks the required property {name}")
            return built

        return judge
