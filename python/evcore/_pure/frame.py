"""Bytes to frames: the OCPP-J array and nothing of its payload's meaning.

In: one WebSocket message, as bytes or str. Out: a `Frame`. Refused, as FrameError with the answer that may be sent:
what is too large, empty, not UTF-8, not JSON, not an array of the right make (docs/codec.md §2, steps 1 to 7; §4).
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from evcore._pure.document import Element, Node, TextReader, Unreadable, plain
from evcore._pure.version import Version
from evcore._pure.writer import refusal
from evcore.errors import FrameError

__all__ = ["CALL", "CALLERROR", "CALLRESULT", "CALLRESULTERROR", "NAMES", "SEND", "Frame", "FrameReader"]

CALL: Final = 2
CALLRESULT: Final = 3
CALLERROR: Final = 4
CALLRESULTERROR: Final = 5
SEND: Final = 6

NAMES: Final = {
    CALL: "CALL",
    CALLRESULT: "CALLRESULT",
    CALLERROR: "CALLERROR",
    CALLRESULTERROR: "CALLRESULTERROR",
    SEND: "SEND",
}
_LENGTHS: Final = {CALL: (4,), CALLRESULT: (3,), CALLERROR: (4, 5), CALLRESULTERROR: (4, 5), SEND: (4,)}

# Stands in for an id that cannot be read (OCPP-J 2.0.1 §4.2.3).
_NO_ID: Final = "-1"
# Without a readable id, whatever the version.
_NEVER_ANSWERED: Final = (CALLRESULT, CALLERROR, CALLRESULTERROR, SEND)
_ID_CHARS: Final = 255

_HEAD_BYTES: Final = 1024
_HEAD_KIND: Final = re.compile(rb"[ \t\r\n]*+\[[ \t\r\n]*+([0-9]{1,3})[ \t\r\n]*+,")
_HEAD: Final = re.compile(_HEAD_KIND.pattern + rb'[ \t\r\n]*+"([ !#-\[\]-~]{1,255})"[ \t\r\n]*+,')


class Frame(NamedTuple):
    """A frame, its payload a node (details: a dict). `name`: action or error code; `raw`: the payload's bytes."""

    kind: int
    id: str
    name: str | None
    description: str
    node: Node
    raw: bytes | None


class FrameReader:
    """Reads the frames of one version under limits."""

    def __init__(self, version: Version, limits: tuple[int, ...], answer_unknown_kind: bool) -> None:
        self._frame_bytes, depth, self._id_chars, string_bytes, number_chars, items, _ = limits
        self._version = version
        self._answer_unknown_kind = answer_unknown_kind
        self._text_reader = TextReader(depth, string_bytes, number_chars, items)

    def read(self, data: Any) -> Frame:
        """Raises FrameError, and TypeError for what is neither bytes, bytearray, memoryview nor str."""
        text = self._text(data)
        try:
            elements = self._text_reader.elements(text)
        except Unreadable as unreadable:
            offset = len(text[: unreadable.at].encode())
            sentence = f"{unreadable.sentence} at byte {offset}"
            raise self._unreadable(unreadable.reason, sentence, text[:_HEAD_BYTES].encode(), offset) from None
        return self._frame(text, elements)

    # Steps 1 to 3: size, emptiness, UTF-8

    def _text(self, data: Any) -> str:
        if isinstance(data, str):
            # Each character takes at least a byte: no need to encode what is too large already.
            if len(data) > self._frame_bytes or (
                len(data) * 4 > self._frame_bytes and len(data.encode("utf-8", "surrogatepass")) > self._frame_bytes
            ):
                raise self._too_large(data[:_HEAD_BYTES].encode("utf-8", "surrogatepass"))
            if not data.strip(" \t\r\n"):
                raise self._empty()
            try:
                data.encode()
            except UnicodeEncodeError as error:
                head = data[:_HEAD_BYTES].encode("utf-8", "surrogatepass")
                raise self._not_utf8(len(data[: error.start].encode()), head) from None
            return str(data)
        if isinstance(data, memoryview):
            if data.nbytes > self._frame_bytes:
                raise self._too_large(data.cast("B")[:_HEAD_BYTES].tobytes() if data.c_contiguous else data.tobytes())
            data = data.tobytes()
        elif not isinstance(data, bytes | bytearray):
            raise TypeError(f"a frame is bytes, bytearray, memoryview or str, not {type(data).__name__}")
        if len(data) > self._frame_bytes:
            raise self._too_large(bytes(data[:_HEAD_BYTES]))
        if not data.strip(b" \t\r\n"):
            raise self._empty()
        try:
            return str(data, "utf-8")
        except UnicodeDecodeError as error:
            raise self._not_utf8(error.start, bytes(data[:_HEAD_BYTES])) from None

    def _too_large(self, head: bytes) -> FrameError:
        return self._unreadable("limit", f"frame is larger than {self._frame_bytes} bytes", head, None)

    def _empty(self) -> FrameError:
        return FrameError("frame is empty", self._version.misframed, "empty", None, None, None)

    def _not_utf8(self, offset: int, head: bytes) -> FrameError:
        return self._unreadable("utf-8", f"frame is not UTF-8 at byte {offset}", head, offset)

    def _unreadable(self, reason: str, sentence: str, start: bytes, offset: int | None) -> FrameError:
        """A frame that cannot be parsed is answered from its first bytes, where kind and id can still be made out."""
        version = self._version
        head = _HEAD.match(start[:_HEAD_BYTES])
        if head is not None:
            message_id = head[2].decode("ascii")
            answer = _answer_to(int(head[1]), version)
            reply = None if answer is None else refusal(answer, message_id, version.malformed, sentence)
            return FrameError(sentence, version.malformed, reason, message_id, reply, offset)
        kind = _HEAD_KIND.match(start[:_HEAD_BYTES])
        reply = None
        if version.answers_unreadable and (kind is None or int(kind[1]) not in _NEVER_ANSWERED):
            reply = refusal(CALLERROR, _NO_ID, version.misframed, sentence)
        return FrameError(sentence, version.misframed, reason, None, reply, offset)

    # Steps 5 to 7: array, kind, elements

    def _frame(self, text: str, elements: list[Element] | None) -> Frame:
        version = self._version
        if not elements:
            sentence = "frame is not a JSON array" if elements is None else "frame is an empty array"
            raise self._misframed(None, None, sentence)
        kind = elements[0].node
        known_id = elements[1].node if len(elements) > 1 else None
        if not isinstance(known_id, str) or not 1 <= len(known_id) <= _ID_CHARS:
            known_id = None
        if type(kind) is not int:
            raise self._misframed(None, known_id, "message type is not an integer")
        if kind not in version.kinds:
            number = text[elements[0].start : elements[0].end]
            number = f" {number}" if len(number) <= 9 else ""
            sentence = f"message type{number} is not one of {version.name}'s"
            reply = None
            if self._answer_unknown_kind:
                reply = refusal(CALLERROR, known_id or _NO_ID, version.unknown_kind, sentence)
            raise FrameError(sentence, version.unknown_kind, "kind", known_id, reply, None)

        lengths = _LENGTHS[kind]
        if len(elements) not in lengths:
            due = " or ".join(map(str, lengths))
            raise self._misframed(kind, known_id, f"{NAMES[kind]} must have {due} elements, has {len(elements)}")
        if known_id is None or len(known_id) > self._id_chars:
            raise self._misframed(kind, known_id, f"message id is not a string of 1 to {self._id_chars} characters")
        if kind in (CALLERROR, CALLRESULTERROR):
            return self._error_frame(kind, known_id, text, elements)
        name = None if kind == CALLRESULT else elements[2].node
        if kind != CALLRESULT and not isinstance(name, str):
            raise self._misframed(kind, known_id, "action is not a string")
        return Frame(kind, known_id, name, "", elements[-1].node, _bytes_of(text, elements[-1]))

    def _error_frame(self, kind: int, id: str, text: str, elements: list[Element]) -> Frame:
        code, description = elements[2].node, elements[3].node
        if not isinstance(code, str):
            raise self._misframed(kind, id, "error code is not a string")
        if description is None:
            description = ""
        if not isinstance(description, str):
            raise self._misframed(kind, id, "error description is not a string")
        details: Any = {}
        raw = None
        if len(elements) == 5:
            raw = _bytes_of(text, elements[4])
            details = plain(elements[4].node)
            if details is None:
                details = {}
            elif isinstance(details, str):
                details = {"text": details}
            elif not isinstance(details, dict):
                raise self._misframed(kind, id, "error details are not an object")
        return Frame(kind, id, self._version.respell(code), description, details, raw)

    def _misframed(self, kind: int | None, known_id: str | None, sentence: str) -> FrameError:
        """JSON that is no frame. `kind` None: it is not known what it was meant to be."""
        version = self._version
        answer: int | None = None
        answered_id = known_id
        if kind in (None, CALL):
            # 1.6 has no way to answer a frame whose id, or whose being a CALL, is in doubt.
            if version.answers_unreadable:
                answer, answered_id = CALLERROR, known_id or _NO_ID
            elif kind == CALL and known_id:
                answer = CALLERROR
        elif kind == CALLRESULT and known_id and CALLRESULTERROR in version.kinds:
            answer = CALLRESULTERROR
        reply = None
        if answer is not None and answered_id is not None:
            reply = refusal(answer, answered_id, version.misframed, sentence)
        return FrameError(sentence, version.misframed, "frame", known_id, reply, None)


def _answer_to(kind: int, version: Version) -> int | None:
    """The message type that refuses a frame of this type; None where nothing may."""
    if kind == CALL:
        return CALLERROR
    return CALLRESULTERROR if kind == CALLRESULT and CALLRESULTERROR in version.kinds else None


def _bytes_of(text: str, element: Element) -> bytes:
    return text[element.start : element.end].encode()
