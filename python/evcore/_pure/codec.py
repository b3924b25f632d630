"""The codec: frames in, messages out, and back.

In: what stands on the wire, or a message. Out: a message, or its bytes. Refused: FrameError for what is no frame,
PayloadError for what breaks its schema, each with its answer (docs/codec.md §2, steps 8 to 10; §4; §5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Self, TypeAlias

from evcore._pure.document import plain
from evcore._pure.frame import CALL, CALLERROR, CALLRESULT, CALLRESULTERROR, SEND, Frame, FrameReader
from evcore._pure.message import AnyMessage, Call, CallError, CallResult, CallResultError, Send
from evcore._pure.schema import Program
from evcore._pure.version import VERSIONS, Version
from evcore._pure.violation import describe, describe_further
from evcore._pure.writer import quote, refusal, write
from evcore.errors import PayloadError, Violation

__all__ = ["Codec"]

Data: TypeAlias = bytes | bytearray | memoryview | str

_SCHEMA_KINDS: Final = {CALL: "call", CALLRESULT: "result", SEND: "send"}
_DESCRIPTION_CHARS: Final = 255

# For what no schema of a version speaks about: error details, and what is written unjudged.
_OBJECT: Final = {name: Program(b'{"type":"object"}', version=name) for name in VERSIONS}
_ANYTHING: Final = {name: Program(b"{}", version=name) for name in VERSIONS}


class Codec:
    """The backend's codec; `evcore.Codec` derives from it and adds nothing to a decode call."""

    _version: Version
    _actions: dict[str, frozenset[str]]
    _load: Callable[[str, str], Program]
    _programs: dict[tuple[str, str], Program]
    _reader: FrameReader
    _limits: dict[str, int]
    _id_chars: int
    _most: int
    _tolerate: Callable[[Any, tuple[Violation, ...]], bool] | None
    further: Callable[[str, str, Any], list[Violation]] | None
    """Vendor schemas: (kind, action, payload with the codec's names) -> their violations."""

    def __new__(
        cls,
        version: str,
        programs: Mapping[str, tuple[str, ...]],
        load: Callable[[str, str], Program],
        *,
        lazy: bool,
        limits: tuple[int, int, int, int, int, int, int],
        answer_unknown_kind: bool,
        tolerate: Callable[[Any, tuple[Violation, ...]], bool] | None,
        further: Callable[[str, str, Any], list[Violation]] | None,
    ) -> Self:
        """`lazy` asks for nothing here: judging and building are one step."""
        self = super().__new__(cls)
        self._version = VERSIONS[version]
        self._actions = {kind: frozenset(actions) for kind, actions in programs.items()}
        self._load = load
        self._programs = {}
        self._reader = FrameReader(self._version, limits, answer_unknown_kind)
        self._limits = {"depth": limits[1], "number_chars": limits[4], "violations": limits[6]}
        self._id_chars, self._most = limits[2], limits[6]
        self._tolerate = tolerate
        self.further = further
        return self

    @property
    def version(self) -> str:
        """The WebSocket subprotocol: ``ocpp1.6``, ``ocpp2.0.1`` or ``ocpp2.1``."""
        return self._version.name

    def _program(self, kind: str, action: str) -> Program | None:
        """The program of an action; None where the version does not have it."""
        program = self._programs.get((kind, action))
        if program is None and action in self._actions.get(kind, ()):
            program = self._programs.setdefault((kind, action), self._load(kind, action))
        return program

    def _unknown(self) -> Violation:
        name = self._version.name
        return Violation("NotImplemented", "", "action", None, f"is not an action of {name}")

    # Incoming

    def decode(self, frame: Data, action: str | None = None, judge: bool = True) -> Any:
        """The message in a frame.

        `frame` is bytes, bytearray, memoryview or str. A CALLRESULT does not say what it answers: with `action` it is
        judged by that action's schema, without it is delivered unjudged. `judge=False` judges no payload.

        Raises FrameError and PayloadError, which carry their answer; ValueError for an `action` the version does not
        have; TypeError for a `frame` of another type (docs/codec.md §2).
        """
        asked = None
        if action is not None:
            asked = self._program("result", action)
            if asked is None:
                raise ValueError(f"action {action!r} is not an action of {self._version.name}")
        read = self._reader.read(frame)
        kind = read.kind
        if kind in (CALLERROR, CALLRESULTERROR):
            error = CallError if kind == CALLERROR else CallResultError
            return _received(error(read.id, read.name or "", read.description, read.node), read.raw)
        name = action if kind == CALLRESULT else read.name
        node = () if read.node is None else read.node
        if not judge or name is None:
            return _message(read, name, plain(node))
        program = asked if kind == CALLRESULT else self._program(_SCHEMA_KINDS[kind], name)
        if program is None:
            unknown = self._unknown()
            raise self._refused(_message(read, name, plain(node)), [unknown], describe(unknown, ""))
        payload, violations = program.judge(node, self._most)
        message = _message(read, name, payload)
        if violations:
            if type(node) is tuple and self._tolerates(message, violations):
                return message
            raise self._refused(message, violations, describe(violations[0], program.safe(violations[0].pointer, node)))
        if self.further is not None:
            violations = self.further(_SCHEMA_KINDS[kind], name, payload)
            if violations and not self._tolerates(message, violations):
                raise self._refused(message, violations, describe_further(violations[0]))
        return message

    def _tolerates(self, message: AnyMessage, violations: list[Violation]) -> bool:
        """Asks the policy; a message that is delivered all the same says what is wrong with it."""
        found = tuple(violations)
        if self._tolerate is None or not self._tolerate(message, found):
            return False
        message._violations = found
        return True

    def _refused(self, message: AnyMessage, violations: list[Violation], description: str) -> PayloadError:
        """The error with the answer that may be sent."""
        answer = None
        if message.kind == CALL:
            answer = CALLERROR
        elif message.kind == CALLRESULT and CALLRESULTERROR in self._version.kinds:
            answer = CALLRESULTERROR
        reply = None if answer is None else refusal(answer, message.id, violations[0].code, description)
        return PayloadError(message, tuple(violations), reply)

    # Outgoing

    def encode(self, message: Any, action: str | None = None, judge: bool = True) -> bytes:
        """A message as a frame: compact JSON, judged before it is written.

        A CallResult needs the action it answers, here or as its own. `judge=False` writes the payload as it is, keys
        included.

        Raises PayloadError (its reply is None); ValueError for an id, kind, error code that the version does not have,
        or a CallResult without action; TypeError for what is no message (docs/codec.md §5).
        """
        if not isinstance(message, AnyMessage):
            raise TypeError(f"a message is expected, not {type(message).__name__}")
        if message.kind not in self._version.kinds:
            raise ValueError(f"message type {message.kind} is not one of {self._version.name}'s")
        head = f"[{message.kind},{self._id(message.id)},"
        if isinstance(message, CallError | CallResultError):
            return self._encode_error(head, message)
        if isinstance(message, CallResult):
            name = message.action if action is None else action
            if name is None and judge:
                raise ValueError("a CallResult is judged by the action it answers: encode(message, action=...)")
        else:
            name = _text(message.action, "action")
            head += f"{quote(name)},"
        return f"{head}{self._payload(message, name if judge else None)}]".encode()

    def _id(self, value: str) -> str:
        if not 1 <= len(value) <= self._id_chars:
            raise ValueError(f"message id must be a str of 1 to {self._id_chars} characters")
        return quote(_text(value, "message id"))

    def _payload(self, message: Call | CallResult | Send, name: str | None) -> str:
        """The text of a payload; `name` None: unjudged."""
        if name is None:
            value, violations = _ANYTHING[self.version].convert(message.payload, **self._limits)
        else:
            kind = _SCHEMA_KINDS[message.kind]
            program = self._program(kind, name)
            if program is None:
                raise PayloadError(message, (self._unknown(),), None)
            value, violations = program.convert(message.payload, **self._limits)
            if not violations and self.further is not None:
                violations = self.further(kind, name, message.payload)
        if violations:
            raise PayloadError(message, tuple(violations), None)
        return write(value)

    def _encode_error(self, head: str, message: CallError | CallResultError) -> bytes:
        code = self._version.respell(_text(message.code, "error code"))
        if code not in self._version.codes:
            raise ValueError(f"error code {message.code!r} is not one of {self._version.name}'s")
        description = _text(message.description, "error description")[:_DESCRIPTION_CHARS]
        details, violations = _OBJECT[self.version].convert(message.details, **self._limits)
        if violations:
            raise PayloadError(message, tuple(violations), None)
        return f"{head}{quote(code)},{quote(description)},{write(details)}]".encode()

    def check(self, action: str, payload: Any, kind: Literal["call", "result", "send"] = "call") -> list[Violation]:
        """All violations of a payload, in the order in which it holds them; none for a good one.

        Raises ValueError for another `kind`.
        """
        if kind not in _SCHEMA_KINDS.values():
            raise ValueError(f"kind must be 'call', 'result' or 'send', not {kind!r}")
        program = self._program(kind, action)
        if program is None:
            return [self._unknown()]
        violations = program.convert(payload, **self._limits)[1]
        if not violations and self.further is not None:
            violations = self.further(kind, action, payload)
        return violations


def _text(value: str, what: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} holds a lone surrogate") from None
    return str.__str__(value)


def _received(message: AnyMessage, raw: bytes | None) -> AnyMessage:
    message._raw = raw
    return message


def _message(frame: Frame, name: str | None, payload: Any) -> AnyMessage:
    if frame.kind == CALLRESULT:
        return _received(CallResult(frame.id, payload, name), frame.raw)
    return _received((Call if frame.kind == CALL else Send)(frame.id, name or "", payload), frame.raw)
