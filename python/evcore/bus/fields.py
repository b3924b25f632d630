"""What the fields of a body class are: names, JSON types, descriptions, defaults.

In: a class of `evcore.bus.bodies`. Out: its fields, and the check of a JSON value against each; the schemas are drawn
from the same. Refused: with EventError, a value of another type, in words that hold nothing of it.

JSON numbers are finite; integers are those every JSON reader keeps (RFC 7493 section 2.2: up to 2**53 - 1), and 5.0 is
one; text has no lone surrogates, which UTF-8 cannot carry.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Final, Literal, NamedTuple, TypeAlias, Union, get_args, get_origin

from evcore.bus.bodies import Sample

__all__ = ["DEPTH", "SAFE", "EventError", "Field", "fields", "read"]

#: The largest integer every JSON reader keeps.
SAFE: Final = 2**53 - 1
#: Levels of arrays and objects in a payload.
DEPTH: Final = 64

_Check: TypeAlias = Callable[[Any], Any]


class EventError(ValueError):
    """What was read is no event; the text is a sentence without anything of what was read."""


class Field(NamedTuple):
    """A field of a body."""

    name: str
    hint: Any
    """Its type, without None."""
    description: str
    required: bool
    default: Any
    """What holds where it is not there; None where it must be."""
    check: _Check
    """The value as the class wants it; raises _Wrong."""


class _Wrong(Exception):
    """Says what a value must be."""


_KNOWN: Final[dict[type, tuple[Field, ...]]] = {}


def fields(body: type) -> tuple[Field, ...]:
    """The fields of a body class, in its order."""
    try:
        return _KNOWN[body]
    except KeyError:
        return _KNOWN.setdefault(body, _fields(body))


def _fields(body: type) -> tuple[Field, ...]:
    hints = typing.get_type_hints(body, include_extras=True)
    found = []
    for field in dataclasses.fields(body):
        annotated = hints[field.name]
        hint, description = get_args(annotated)[:2]
        required = field.default is dataclasses.MISSING
        hint = _without_none(hint)
        default = None if required else field.default
        found.append(Field(field.name, hint, description, required, default, _check(hint)))
    return tuple(found)


def read(body: type, values: Mapping[str, Any], known: frozenset[str] = frozenset()) -> Any:
    """A body from JSON values; `known` may be there besides. Raises EventError."""
    arguments = {}
    found = len(known)
    for field in fields(body):
        if field.name in values:
            try:
                arguments[field.name] = field.check(values[field.name])
            except _Wrong as wrong:
                raise EventError(f"the field {field.name} must be {wrong}") from None
            found += 1
        elif field.required:
            raise EventError(f"the field {field.name} is missing")
    if found != len(values):
        raise EventError("there is a field that this kind of event does not have")
    return body(**arguments)


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        return Union[tuple(part for part in get_args(hint) if part is not type(None))]  # noqa: UP007
    return hint


def _check(hint: Any) -> _Check:
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return _one_of(parts)
    if origin is tuple:
        return _items(_check(parts[0]))
    if origin is Union:
        return _scalar
    raise TypeError(f"no body may have a field of type {hint}")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not _is_unicode(value):
        raise _Wrong("text")
    return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _number(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            pass
        else:
            if isfinite(number):
                return number
    raise _Wrong("a finite number")


def _integer(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and -SAFE <= value <= SAFE:
        return value
    raise _Wrong("an integer")


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Wrong("true or false")
    return value


def _scalar(value: Any) -> float | int | str | bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and -SAFE <= value <= SAFE:
        return value
    return _text(value) if isinstance(value, str) else _number(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _Wrong("an object")
    _plain(value, DEPTH)
    return value


def _plain(value: Any, depth: int) -> None:
    """Raises _Wrong for what could not be written as JSON again."""
    if not depth:
        raise _Wrong(f"an object of at most {DEPTH} levels")
    if isinstance(value, dict):
        for name, item in value.items():
            _text(name)
            _plain(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _plain(item, depth - 1)
    elif isinstance(value, str):
        _text(value)
    elif isinstance(value, (int, float)):
        _number(float(value) if isinstance(value, bool) else value)
    elif value is not None:
        raise _Wrong("an object of JSON values")


def _sample(value: Any) -> Sample:
    if not isinstance(value, dict):
        raise _Wrong("an array of objects")
    try:
        sample = read(Sample, value)
    except EventError as error:
        raise _Wrong(f"an array of samples; in one, {error}") from None
    assert isinstance(sample, Sample)
    return sample


def _one_of(choices: tuple[str, ...]) -> _Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise _Wrong(" or ".join(choices))
        return value

    return check


def _items(check: _Check) -> _Check:
    def every(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _Wrong("an array")
        return tuple(map(check, value))

    return every


_PLAIN: Final[dict[Any, _Check]] = {
    str: _text,
    float: _number,
    int: _integer,
    bool: _flag,
    Mapping[str, Any]: _mapping,
    Sample: _sample,
}
