"""Python objects to nodes, for what is sent: the same judgement, in the same order, with the same words.

In: dict, list, tuple, str, bool, int, float, Decimal, datetime, Enum, None, dataclass instances. Out: what is to be
written, with wire names. Refused, as violations: what has no JSON form, and what is nested too deeply.

An object is turned into a node when the walk reaches it, one level at a time, so that a structure that holds itself ends
at the depth limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, ClassVar, Final, NamedTuple

from evcore._pure.document import Node, Real
from evcore._pure.schema import Compiler, Judge, Schema
from evcore._pure.version import Version
from evcore._pure.violation import Here, Report, type_name

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
    """A Python object that has no JSON form: what to say about it."""

    counts_as: str
    """The type it would have, or its class's name."""
    keyword: str
    expected: str | None
    message: str


_LONE_SURROGATE: Final = Odd("string", "utf-8", None, "holds a lone surrogate")
_NO_OFFSET: Final = Odd("string", "format", "date-time", "is not a valid date-time")
_NOT_FINITE: Final = Odd("number", "type", "number", "must be number, is non-finite number")
_OVERSIZED: Final = Odd("number", "type", "number", "must be number, is oversized number")
_TOO_MANY_DIGITS: Final = 10**640


def view(value: Any) -> Node:
    """The node of a Python object, its members and items still Python objects."""
    look = _VIEWS.get(type(value))
    if look is not None:
        return look(value)
    if isinstance(value, Enum):
        return view(value.value)
    for kind, look in _VIEWS.items():
        if isinstance(value, kind):
            return look(value)
    if hasattr(type(value), "__dataclass_fields__"):
        from dataclasses import fields  # imported long ago by whoever made the class

        named = ((field.name, getattr(value, field.name)) for field in fields(value))
        return Members(((name, member) for name, member in named if member is not None), loose=True)
    name = type(value).__name__
    return Odd(name, "type", "JSON value", f"must be JSON value, is {name}")


def _view_str(value: str) -> Node:
    try:
        value.encode()
    except UnicodeEncodeError:
        return _LONE_SURROGATE
    return str.__str__(value)


def _view_int(value: int) -> Node:
    return int(value) if abs(value) < _TOO_MANY_DIGITS else _OVERSIZED


def _view_float(value: float) -> Node:
    if not math.isfinite(value):
        return _NOT_FINITE
    mantissa, e, exponent = float.__repr__(value).partition("e")
    return Real(f"{mantissa}e{int(exponent)}" if e else mantissa)


def _view_decimal(value: Decimal) -> Node:
    if not value.is_finite():
        return _NOT_FINITE
    text = str(value).replace("E+", "e").replace("E", "e")
    if len(text) > 640:
        return _OVERSIZED
    number = Real(text)
    # On the wire, too, only integer literals may leave the range of a double.
    return number if math.isfinite(number) or text.lstrip("-").isdigit() else _NOT_FINITE


def _view_datetime(value: datetime) -> Node:
    if value.utcoffset() is None:
        return _NO_OFFSET
    try:
        utc = value.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        return _NO_OFFSET
    return utc.isoformat(timespec="milliseconds" if utc.microsecond else "seconds") + "Z"


def _itself(value: Any) -> Node:
    return value


def _view_dict(value: dict[Any, Any]) -> Node:
    return Members(value.items(), loose=False)


_VIEWS: Final[dict[type, Callable[[Any], Node]]] = {
    str: _view_str,
    bool: _itself,
    int: _view_int,
    float: _view_float,
    type(None): _itself,
    dict: _view_dict,
    list: list,
    tuple: list,
    datetime: _view_datetime,
    Decimal: _view_decimal,
}


def _walk(judge: Judge) -> Judge:
    """Looks at a Python object, one level deeper where it is a container, and has its node judged."""

    def judge_live(value: Any, parent: Here, key: Any, report: Report) -> Any:
        node = view(value)
        kind = type(node)
        if kind is not Members and kind is not list:
            return judge(node, parent, key, report)
        levels = report.levels or 0
        if report.level >= levels:
            report.note("depth", parent, key, levels, f"is nested deeper than {levels} levels")
            return None
        loose = report.loose
        report.level += 1
        report.loose = loose or (kind is Members and node.loose)
        built = judge(node, parent, key, report)
        report.level -= 1
        report.loose = loose
        return built

    return judge_live


def _key(key: Any, parent: Here, at: Any, report: Report) -> str | None:
    """A member's name; None, and a violation of the object, for a key that cannot be one."""
    if not isinstance(key, str):
        report.note("type", parent, at, "string", "must have keys of type string")
        return None
    name = _view_str(key)
    if type(name) is Odd:
        report.note(name.keyword, parent, at, name.expected, name.message)
        return None
    return str(name)


def _anything(node: Node, parent: Here, key: Any, report: Report) -> Any:
    """Builds what no schema speaks about."""
    kind = type(node)
    here = (parent, key)
    if kind is Odd:
        report.note(node.keyword, parent, key, node.expected, node.message)
    elif kind is list:
        return [anything(item, here, index, report) for index, item in enumerate(node)]
    elif kind is Members:
        names = ((_key(key, *here, report), value) for key, value in node)
        return {name: anything(value, here, name, report) for name, value in names if name is not None}
    else:
        return node
    return None


anything: Final = _walk(_anything)


def _itself_real(number: Real) -> Real:
    return number


class LiveCompiler(Compiler):
    """Compiles one schema for Python objects. Their values are written by their text: a `Real` stays one."""

    anything: ClassVar[Judge] = staticmethod(anything)
    finish: ClassVar[Callable[[Real], Any]] = staticmethod(_itself_real)

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
        """A value of the wrong type. It is not walked: nothing will be written. (Unless the schema does not count.)"""
        kind = type(node)
        if kind is not Odd:
            found = "object" if kind is Members else type_name(node)
            report.add("type", parent, key, due, f"must be {due}, is {found}")
            return None if report.judging else _anything(node, parent, key, report)
        fits = node.counts_as == due or (node.counts_as == "number" and due == "integer")
        if fits or not report.judging:
            return _anything(node, parent, key, report)
        report.add("type", parent, key, due, f"must be {due}, is {node.counts_as}")
        return None

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
                name = _key(raw, parent, key, report)
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
                    if report.judging:
                        continue
                built[name] = anything(value, here, name, report)
            for name in required:
                if name not in seen:
                    report.add("required", parent, key, name, f"lacks the required property {name}")
            return built

        return judge
