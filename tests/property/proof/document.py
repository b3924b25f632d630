"""JSON documents that keep what a parsed value forgets: how a number is written, members given twice, the style of
the text.

A document is made of dict, list, str, int, bool, None, and of `Number` (a literal as text) and `Members` (an object
with repeated names). `write` gives its text, `value` what stdlib `json` reads from it, `replaced` an edited copy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

Step: TypeAlias = str | int
Path: TypeAlias = tuple[Step, ...]

SPACES = ("", "", "", " ", "\n", "\t", "\r\n", "  ")
SHORT = {'"': '\\"', "\\": "\\\\", "/": "\\/", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


@dataclass(frozen=True, slots=True)
class Number:
    """A number exactly as written, e.g. ``3e2``."""

    text: str


@dataclass(frozen=True, slots=True)
class Members:
    """An object whose member names may repeat."""

    items: tuple[tuple[str, Any], ...]


class Style:
    """A way of writing the same document: spaces between tokens, escapes within strings. Seeded, hence repeatable."""

    def __init__(self, rng: Random, *, spaces: bool = True, escapes: float = 0.2) -> None:
        self._rng = rng
        self._spaces = spaces
        self._escapes = escapes

    def space(self) -> str:
        return self._rng.choice(SPACES) if self._spaces else ""

    def string(self, text: str) -> str:
        return '"' + "".join(map(self._character, text)) + '"'

    def _character(self, c: str) -> str:
        if c in '"\\' or c < " " or self._rng.random() < self._escapes:
            if c in SHORT and self._rng.random() < 0.5:
                return SHORT[c]
            units = c.encode("utf-16-be")
            case = self._rng.choice(("04x", "04X"))
            return "".join(f"\\u{int.from_bytes(units[i : i + 2]):{case}}" for i in range(0, len(units), 2))
        return c


class _Compact(Style):
    def __init__(self) -> None:
        super().__init__(Random(0), spaces=False, escapes=0)

    def string(self, text: str) -> str:
        return json.dumps(text, ensure_ascii=False)


COMPACT = _Compact()


def write(document: Any, style: Style = COMPACT) -> str:
    """The document's JSON text."""
    out: list[str] = []
    _write(document, style, out.append)
    return "".join(out)


def _write(node: Any, style: Style, put: Callable[[str], None]) -> None:
    if isinstance(node, dict | Members):
        put("{" + style.space())
        for index, (name, child) in enumerate(members(node)):
            put(("," + style.space() if index else "") + style.string(name) + style.space() + ":" + style.space())
            _write(child, style, put)
            put(style.space())
        put("}")
    elif isinstance(node, list):
        put("[" + style.space())
        for index, child in enumerate(node):
            if index:
                put("," + style.space())
            _write(child, style, put)
            put(style.space())
        put("]")
    elif isinstance(node, Number):
        put(node.text)
    elif isinstance(node, str):
        put(style.string(node))
    else:
        put(json.dumps(node))


def members(node: Any) -> Iterator[tuple[str, Any]]:
    """The members of an object node, repeated ones included."""
    return iter(node.items if isinstance(node, Members) else node.items())


def value(document: Any) -> Any:
    """What stdlib `json` reads from the document's text (of repeated members the last)."""
    if isinstance(document, dict | Members):
        return {name: value(child) for name, child in members(document)}
    if isinstance(document, list):
        return [value(child) for child in document]
    if isinstance(document, Number):
        return json.loads(document.text)
    return document


def at(document: Any, path: Path) -> Any:
    """The node at `path`."""
    for step in path:
        document = document[step]
    return document


def replaced(document: Any, path: Path, node: Any) -> Any:
    """A copy of the document with `node` at `path`; what does not lie on the path is shared."""
    if not path:
        return node
    step, *rest = path
    copy: Any = dict(document) if isinstance(document, dict) else list(document)
    copy[step] = replaced(document[step], tuple(rest), node)
    return copy


def pointer(path: Path) -> str:
    """RFC 6901 text of a path."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def same(one: Any, other: Any) -> bool:
    """Equal in value, type, sign of zero and order of members, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return repr(one) == repr(other)
    return bool(one == other)
