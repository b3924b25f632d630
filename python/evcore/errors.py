"""What can go wrong with a message, as values and exceptions.

ValueError
 +-- FrameError     the bytes are not an OCPP-J frame
 +-- PayloadError   a frame whose payload breaks its schema
 +-- SchemaError    a schema that cannot be compiled (never raised for bytes from the wire)
 +-- TopicError     a text that is no MQTT topic or no MQTT filter

Both backends raise these classes; the rules for codes, sentences and replies stand in docs/codec.md,
those for topics in docs/router.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from evcore.message import Message

__all__ = ["FrameError", "PayloadError", "SchemaError", "TopicError", "Violation"]


class Violation(NamedTuple):
    """One broken rule: what, where, and how this OCPP version calls it."""

    code: str
    """OCPP error code in the spelling of the version, e.g. ``TypeConstraintViolation``."""
    pointer: str
    """RFC 6901 JSON Pointer into the payload, over wire names; ``""`` is the payload itself."""
    keyword: str
    """JSON Schema keyword, or ``uniqueKeys``, ``action``, ``depth``, ``utf-8``."""
    expected: Any
    """What the keyword asks for: type name, property name, tuple of enum values, number; None: nothing to name."""
    message: str
    """A short sentence without a subject and without anything the peer sent: ``must be integer, is string``."""

    def __str__(self) -> str:
        return f"{self.pointer or 'payload'} {self.message}"


class FrameError(ValueError):
    """Bytes that are not an OCPP-J frame of this version.

    ``reply`` is the answer to send back, or None when nothing may be sent. ``reason`` is one of ``limit``, ``empty``,
    ``utf-8``, ``json``, ``frame``, ``kind``; ``offset`` the byte it was noticed at, where there is one.
    """

    def __init__(
        self, sentence: str, code: str, reason: str, message_id: str | None, reply: bytes | None, offset: int | None
    ) -> None:
        super().__init__(sentence, code, reason, message_id, reply, offset)
        self.code = code
        self.reason = reason
        self.message_id = message_id
        self.reply = reply
        self.offset = offset

    def __str__(self) -> str:
        return str(self.args[0])


class PayloadError(ValueError):
    """A frame whose payload breaks its schema, or whose action this version does not have.

    ``message`` is the frame, its payload unjudged; ``violations`` are all of them in document order; ``code`` is the
    first one's. ``reply`` is the answer to send back, or None when nothing may be sent.
    """

    def __init__(self, message: Message, violations: tuple[Violation, ...], reply: bytes | None) -> None:
        super().__init__(message, violations, reply)
        self.message = message
        self.violations = violations
        self.reply = reply

    @property
    def code(self) -> str:
        return self.violations[0].code

    def __str__(self) -> str:
        more = len(self.violations) - 1
        return f"{self.code}: {self.violations[0]}" + (f" (and {more} more)" if more else "")


class SchemaError(ValueError):
    """A JSON schema that cannot be compiled: says which keyword, where, and what is supported."""


class TopicError(ValueError):
    """A text that is no MQTT topic, or no MQTT filter: says what is wrong, at which character, and what to do.

    ``reason`` is one of ``empty``, ``length``, ``utf-8``, ``character``, ``wildcard``, ``share``, ``levels``,
    ``capture``; ``at`` the index of the character it was noticed at, None where the whole text is meant.
    """

    def __init__(self, sentence: str, reason: str, at: int | None) -> None:
        super().__init__(sentence, reason, at)
        self.reason = reason
        self.at = at

    def __str__(self) -> str:
        return str(self.args[0])
