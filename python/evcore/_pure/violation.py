"""Collecting violations: where the judgement stands, what it finds there, and what of it may be told to the peer.

In: findings, in document order. Out: `Violation` tuples with the version's codes. Refused: more than the limit.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

from evcore._pure.version import Version
from evcore.errors import Violation

__all__ = ["TYPE_NAMES", "Enough", "Here", "LiveLimits", "Report", "describe", "describe_further", "type_name"]

Here: TypeAlias = Any
"""Where a container stands: (where its own container stands, its name or index there); the payload: (None, None)."""


class LiveLimits(NamedTuple):
    """What Python objects may hold: `depth` and `number_chars` as in `evcore.Limits`."""

    depth: int
    number_chars: int


TYPE_NAMES: Final[dict[type, str]] = {
    tuple: "object",
    list: "array",
    str: "string",
    int: "integer",
    bool: "boolean",
    type(None): "null",
}


def type_name(node: Any) -> str:
    """JSON's name for the type of a node."""
    return TYPE_NAMES.get(type(node), "number")


class Enough(Exception):
    """The report of a walk over Python objects is full: nobody wants the value any more, and the walk might not end."""


class Report:
    """The violations of one payload; for a walk over Python objects (see `live`) also where the walk is."""

    __slots__ = ("_limit", "_version", "found", "level", "live", "loose")

    def __init__(self, version: Version, limit: int, live: LiveLimits | None = None) -> None:
        self._version = version
        self._limit = limit
        self.found: list[Violation] = []
        self.live = live
        """What Python objects may hold; None for nodes, which were read under their limits."""
        self.level = 1
        """How deep the walk is: the frame's own array is level 1."""
        self.loose = False
        """Whether any spelling of a property's name will do: inside a dataclass instance."""

    def add(self, keyword: str, parent: Here, key: Any, expected: Any, message: str) -> None:
        """Notes a violation at `key` in `parent`."""
        if len(self.found) >= self._limit:
            if self.live is not None:
                raise Enough
            return
        pointer = _pointer(parent, key)
        # A payload that is no object at all is a matter of form, not of a field's type.
        code = self._version.malformed if keyword == "type" and not pointer else self._version.keywords[keyword]
        self.found.append(Violation(code, pointer, keyword, expected, message))


def _pointer(parent: Here, key: Any) -> str:
    """RFC 6901."""
    steps: list[str] = []
    while parent is not None:
        steps.append(f"/{key}" if type(key) is int else "/" + key.replace("~", "~0").replace("/", "~1"))
        parent, key = parent
    return "".join(reversed(steps))


def describe(violation: Violation, safe: str) -> str:
    """The sentence for a reply. `safe` is the part of the pointer that names nothing of the peer's."""
    subject = safe or "payload"
    if safe == violation.pointer:
        return f"{subject} {violation.message}"
    what = "member" if violation.keyword in ("additionalProperties", "uniqueKeys") else "value"
    return f"{subject} holds a {what} that {violation.message}"


def describe_further(violation: Violation) -> str:
    """The sentence for a reply about a vendor's schema: it names no more than the place in OCPP's own."""
    first = "/".join(violation.pointer.split("/")[:2])
    return f"{first or 'payload'} holds a value that breaks its vendor's schema"
