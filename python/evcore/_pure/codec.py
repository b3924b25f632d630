"""The codec: frames in, messages out, and back.

In: what stands on the wire, or a message. Out: a message, or its bytes. Refused: FrameError for what is no frame, PayloadError
for what breaks its schema, each with its answer (docs/codec.md §2, steps 8 to 10; §4; §5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Self, TypeAlias

from evcore._pure.document import Node, plain
from evcore._pure.frame import CALL, CALLERROR, CALLRESULT, CALLRESULTERROR, NAMES, SEND, Frame, FrameReader
from evcore._pure.message import Call, CallError, CallResult, CallResultError, Message, Send
from evcore._pure.schema import Program
from evcore._pure.version import VERSIONS
from evcore._pure.violation import describe
from evcore._pure.writer import quote, refusal, write
from evcore.errors import PayloadError, Violation

__all__ = ["Codec"]

Data: TypeAlias = bytes | bytearray | memoryview | str

# Judges what no schema of a version speaks about: error details, and what is written unjudged.
_OBJECT: Final = {name: Program(b'{"type":"object"}', version=name) for name in VERSIONS}
_DESCRIPTION_CHARS: Final = 255
_SCHEMA_KINDS: Final = {CALL: "call", CALLRESULT: "result", SEND: "send"}


class Codec:
    """The backend's codec; `evcore.Codec` derives from it and adds nothing to a decode call."""

    def __new__(
        cls,
        version: str,
        programs: Mapping[str, tuple[str, ...]],
        load: Callable[[str, str], Program],
        *,
        snake: bool,
        lazy: bool,
        limits: tuple[int, int, int, int, int, int, int],
        answer_unknown_kind: bool,
        tolerate: Callable[[Any, tuple[Violation, ...]], bool] | None,
        further: Callable[[str, str, Any], list[Violation]] | None,
    ) -> Self:
        """`snake` and `lazy` ask for nothing here: names are the programs', and judging and building are one step."""
        self = super().__new__(cls)
        self._version = VERSIONS[version]
        self._actions = {kind: frozenset(actions) for kind, actions in programs.items()}
        self._load = load
        self._programs: dict[tuple[str, str], Program] = {}
        self._reader = FrameReader(self._version, limits, answer_unknown_kind)
        self._depth, self._id_chars, self._violations = limits[1], limits[2], limits[6]
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
        """The message in a frame; see `evcore.Codec.decode`."""
        read = self._reader.read(frame)
        kind = read.kind
        if kind in (CALLERROR, CALLRESULTERROR):
            error = CallError if kind == CALLERROR else CallResultError
            return _received(error(read.id, read.name or "", read.description, read.node), read.raw)
        name = action if kind == CALLRESULT else read.name
        if not judge or name is None:
            return _message(read, name, {} if read.node is None else plain(read.node))
        program = self._program(_SCHEMA_KINDS[kind], name)
        if program is None:
            if kind == CALLRESULT:
                raise ValueError(f"{name!r} is not an action of {self._version.name}")
            message = _message(read, name, {} if read.node is None else plain(read.node))
            return self._broken(message, [self._unknown()], program, read.node)
        node = () if read.node is None else read.node
        payload, violations = program.judge(node, self._violations)
        message = _message(read, name, payload)
        if not violations and self.further is not None:
            violations = self.further(_SCHEMA_KINDS[kind], name, payload)[: self._violations]
        if violations:
            return self._broken(message, violations, program, node)
        return message

    def _broken(self, message: Message, violations: list[Violation], program: Program | None, node: Node) -> Message:
        """Hands the message out all the same where the policy says so; else raises PayloadError with the answer."""
        found = tuple(violations)
        if self._tolerate is not None and self._tolerate(message, found):
            message._violations = found
            return message
        answer = None
        if message.kind == CALL:
            answer = CALLERROR
        elif message.kind == CALLRESULT and CALLRESULTERROR in self._version.kinds:
            answer = CALLRESULTERROR
        reply = None
        if answer is not None:
            safe = "" if program is None else program.safe(found[0].pointer, node)
            reply = refusal(answer, message.id, found[0].code, describe(found[0], safe))
        raise PayloadError(message, found, reply)

    # Outgoing

    def encode(self, message: Any, action: str | None = None, judge: bool = True) -> bytes:
        """A message as a frame; see `evcore.Codec.encode`."""
        if not isinstance(message, Message):
            raise TypeError(
                f"a message is a Call, CallResult, CallError, CallResultError or Send, not {type(message).__name__}"
            )
        if message.kind not in self._version.kinds:
            raise ValueError(f"{self._version.name} has no {NAMES[message.kind]}")
        id = message.id
        if not isinstance(id, str) or not 1 <= len(id) <= self._id_chars or not _is_utf8(id):
            raise ValueError(f"message id must be a str of 1 to {self._id_chars} characters")
        if isinstance(message, CallError | CallResultError):
            return self._encode_error(message)
        if isinstance(message, CallResult):
            name = action or message.action
            if judge and name is None:
                raise ValueError("a CallResult needs the action it answers to be judged: encode(message, action=...)")
            text = self._payload(message, "result", name, judge)
            return f"[3,{quote(id)},{text}]".encode()
        assert isinstance(message, Call | Send)
        if not isinstance(message.action, str) or not _is_utf8(message.action):
            raise ValueError("action must be a str")
        text = self._payload(message, _SCHEMA_KINDS[message.kind], message.action, judge)
        return f"[{message.kind},{quote(id)},{quote(message.action)},{text}]".encode()

    def _payload(self, message: Call | CallResult | Send, kind: str, name: str | None, judge: bool) -> str:
        program = None if name is None else self._program(kind, name)
        if program is None and judge:
            if kind == "result":
                raise ValueError(f"{name!r} is not an action of {self._version.name}")
            raise PayloadError(message, (self._unknown(),), None)
        payload = {} if message.payload is None else message.payload
        value, violations = (program or _OBJECT[self.version]).convert(
            payload, depth=self._depth, violations=self._violations, judging=judge
        )
        if judge and not violations and self.further is not None:
            violations = self.further(kind, name or "", payload)[: self._violations]
        if violations:
            raise PayloadError(message, tuple(violations), None)
        return write(value)

    def _encode_error(self, message: CallError | CallResultError) -> bytes:
        code = self._version.respell(message.code) if isinstance(message.code, str) else message.code
        if code not in self._version.codes:
            raise ValueError(f"{message.code!r} is not an error code of {self._version.name}")
        description = message.description
        if not isinstance(description, str) or not _is_utf8(description):
            raise ValueError("error description must be a str")
        details, violations = _OBJECT[self.version].convert(
            message.details, depth=self._depth, violations=self._violations
        )
        if violations:
            raise PayloadError(message, tuple(violations), None)
        text = f"[{message.kind},{quote(message.id)},{quote(code)},{quote(description[:_DESCRIPTION_CHARS])},"
        return f"{text}{write(details)}]".encode()

    def check(self, action: str, payload: Any, kind: Literal["call", "result", "send"] = "call") -> list[Violation]:
        """All violations of a payload; see `evcore.Codec.check`."""
        if kind not in _SCHEMA_KINDS.values():
            raise ValueError(f"kind must be 'call', 'result' or 'send', not {kind!r}")
        program = self._program(kind, action)
        if program is None:
            return [self._unknown()]
        payload = {} if payload is None else payload
        violations = program.check(payload, depth=self._depth, violations=self._violations)
        if not violations and self.further is not None:
            violations = self.further(kind, action, payload)[: self._violations]
        return violations


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _received(message: Message, raw: bytes | None) -> Message:
    message._raw = raw
    return message


def _message(frame: Frame, name: str | None, payload: Any) -> Message:
    if frame.kind == CALLRESULT:
        return _received(CallResult(frame.id, payload, name), frame.raw)
    return _received((Call if frame.kind == CALL else Send)(frame.id, name or "", payload), frame.raw)
