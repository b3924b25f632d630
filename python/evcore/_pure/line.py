"""One line of a log: where a frame stands in it, where that ends, which station it belongs to.

In: a line. Out: a frame's text, an `Origin`. Refused: nothing; a line without a frame has none. docs/check.md has the
rules.
"""

from __future__ import annotations

import json
import re
from typing import Final, NamedTuple

__all__ = ["IN", "OUT", "Balance", "Origin", "begin", "origin_of", "says_cut", "unescape"]

# Where a frame begins: a message type, a comma and a quote. One or three backslashes escape the quote of a frame that
# stands in a string, or in a string in a string.
_HEAD: Final = re.compile(rb'\[[ \t]*+[2-6][ \t]*+,[ \t]*+(|\\|\\\\\\)"')
_LEVELS: Final = {b"": 0, b"\\": 1, b"\\\\\\": 2}
# A line that would be a frame if its first elements were right.
_ODD: Final = re.compile(rb'(?:\xef\xbb\xbf)?[ \t]*+(?=\[[ \t]*+"?[0-9]{1,3}+"?[ \t]*+,)')

# The inside of a JSON string, as far as it is good: no surrogate without its partner.
_INSIDE: Final = re.compile(
    rb'(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4}'
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+"
)
_ESCAPES: Final = re.compile(rb"\\[^u]|(?:\\u....)+")
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|["\[\]{}]', re.DOTALL)


def _member(names: bytes) -> re.Pattern[bytes]:
    """A member of a JSON object, which may itself stand in a string: quotes with or without backslashes."""
    return re.compile(rb'"(?=(?:%b)\\*+"[ \t]*+:[ \t]*+\\*+"([^"\\\x00-\x1f]{1,192}+)\\*+")' % names)


_STATION: Final = _member(
    b"station|stationId|station_id|chargePointId|charge_point_id|chargeBoxId|charge_box_id|chargerId|charger_id|identity"
    b"|cpId|cp_id|clientId|client_id"
)
_DIRECTION: Final = _member(b"direction|dir")
_CHARGE_BOX: Final = re.compile(rb'chargeBoxId=([^ ,;\]"\\]*+)')
_CUT: Final = re.compile(rb'"cut":[ \t]*+(true)?')

IN: Final = 1
OUT: Final = 2
_UNKNOWN: Final = 0
_NAME_BYTES: Final = 192
_TAIL_BYTES: Final = 256
_VERB_BYTES: Final = 32


class Origin(NamedTuple):
    """Whose frame it is: the station's name (empty: the line names none), and which way the frame went."""

    station: bytes
    direction: int


class Balance:
    """Counts brackets outside of strings."""

    def __init__(self) -> None:
        self._depth = 0
        self.in_string = False

    def end(self, text: bytes, start: int = 0) -> int | None:
        """Where the array ends that begins at `start` (or began in an earlier text); None when it does not."""
        for token in _TOKEN.finditer(text, start):
            bracket = token[0]
            if bracket in (b"[", b"{"):
                self._depth += 1
            elif bracket in (b"]", b"}"):
                self._depth -= 1
                if self._depth <= 0:
                    return token.end()
            elif bracket == b'"':
                self.in_string = True
                return None
        return None


def begin(line: bytes) -> tuple[int | None, int]:
    """Where the first frame of a line begins, and in how many JSON strings it stands."""
    head = _HEAD.search(line)
    return (_odd(line), 0) if head is None else (head.start(), _LEVELS[head[1]])


def says_cut(line: bytes, at: int) -> bool:
    """Whether a JSON line says behind its frame that the frame was cut: `"cut": true`."""
    cut = _CUT.search(line, at)
    return cut is not None and cut[1] is not None


def _odd(line: bytes) -> int | None:
    """A line that is nothing but an array with a number first."""
    found = _ODD.match(line)
    return found.end() if found is not None and line.rstrip(b" \t\r").endswith(b"]") else None


def unescape(text: bytes, start: int) -> tuple[bytes, int]:
    """What the rest of a JSON string stands for, as far as it is good, and where it ends."""
    found = _INSIDE.match(text, start)
    assert found is not None
    inside: bytes = found[0]
    if b"\\" in inside:
        inside = _ESCAPES.sub(lambda escapes: json.loads(b'"%b"' % escapes[0]).encode(), inside)
    return inside, found.end()


def origin_of(line: bytes, start: int, end: int | None) -> Origin:
    """The origin of the frame from `start` to `end`, from what stands around it."""
    before = line[:start]
    station, direction = b"", _UNKNOWN
    if before.lstrip(b" \t").startswith(b"{"):
        for text in (before, b"" if end is None else line[end:]):
            if not station and (named := _STATION.search(text)) is not None:
                station = named[1]
            if direction == _UNKNOWN:
                direction = next(filter(None, (_way(found[1]) for found in _DIRECTION.finditer(text))), _UNKNOWN)
    if not station:
        station, said = _words(before[-_TAIL_BYTES:])
        direction = direction or said
    return Origin(station, direction)


def _way(word: bytes) -> int:
    word = word.lower()
    if word.startswith((b"in", b"rec")):
        return IN
    return OUT if word.startswith((b"out", b"sen")) else _UNKNOWN


def _words(text: bytes) -> tuple[bytes, int]:
    """The origin in words: `CP1: receive message`, `CP1: send`, `… from CP1:`, `[chargeBoxId=CP1, …] Received:`."""
    text = text.rstrip(b" \"'\\")
    before, direction = text, _UNKNOWN
    if text.endswith(b"receive message"):
        before, direction = text[: -len(b"receive message")], IN
    elif text.endswith(b" send"):
        before, direction = text[: -len(b" send")], OUT
    before = before.rstrip(b" ")
    before = before[:-1] if before.endswith(b":") else b""
    name_start = max(before.rfind(mark) for mark in (b" ", b":", b'"')) + 1
    introduction, name = before[:name_start].rstrip(b" "), before[name_start:]
    station, said = b"", direction
    if said == _UNKNOWN:
        verb = text[-_VERB_BYTES:].lower()
        if b"receiv" in verb or b"recv" in verb:
            direction = IN
        elif b"send" in verb or b"sent" in verb:
            direction = OUT
    if (boxed := _CHARGE_BOX.search(text)) is not None:
        station = boxed[1]
    elif said != _UNKNOWN:
        station = name
    else:
        for word, way in ((b" from", IN), (b" to", OUT), (b" for", direction)):
            if introduction.endswith(word):
                station, direction = name, way
    return station if len(station) <= _NAME_BYTES else b"", direction
