"""Reading payloads that may break their schema.

Billing messages are delivered with their violations (evcore.policy), so a handler must expect any JSON where a field is
due. These readers give the value when it has the type asked for, else None or an empty value, and never raise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["decimal", "flag", "group", "items", "printable", "short", "text", "whole"]


def text(payload: Any, name: str) -> str | None:
    value = payload.get(name) if isinstance(payload, Mapping) else None
    return value if isinstance(value, str) else None


def whole(payload: Any, name: str) -> int | None:
    value = payload.get(name) if isinstance(payload, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def decimal(value: Any) -> float | None:
    """A finite number, or one written as text (1.6 meter values), as a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if number - number == 0 else None


def flag(payload: Any, name: str) -> bool:
    """Whether it is there and true."""
    return isinstance(payload, Mapping) and payload.get(name) is True


def short(payload: Any, name: str, limit: int = 64) -> str | None:
    """A text made fit to be passed on, at most about `limit` characters of it."""
    value = text(payload, name)
    return None if value is None else printable(value, limit)


def group(payload: Any, name: str) -> Mapping[str, Any]:
    value = payload.get(name) if isinstance(payload, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def items(payload: Any, name: str) -> Iterator[Mapping[str, Any]]:
    """The objects of an array; a single object stands for an array of one (seen in the field)."""
    value = payload.get(name) if isinstance(payload, Mapping) else None
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, Mapping):
            yield item


def printable(value: object, limit: int = 160) -> str:
    """Text of a peer made fit for a log line or a table: no control characters, bounded."""
    cut = str(value)[: limit + 1]
    shown = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in cut[:limit])
    return shown + ("…" if len(cut) > limit else "")
