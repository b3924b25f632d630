"""Frames in log files: found, judged, counted.

In: the bytes of a log in chunks of any size. Out: counts, findings (equal ones once, with their number and the line of
the first), makers. Refused: nothing; lines and frames beyond their limits are findings, and whatever is remembered
(calls without answer, stations, makers, kinds of findings) has a bound.

    chunk -> line -> frame text and its origin -> FrameReader, Program -> counts, pairs, findings

docs/check.md says what counts as a frame in a line and how a line names its station.
"""

from __future__ import annotations

import json
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from evcore._pure.document import Node
from evcore._pure.frame import CALL, CALLERROR, CALLRESULT, CALLRESULTERROR, SEND, Frame, FrameReader
from evcore._pure.schema import Program
from evcore._pure.version import VERSIONS
from evcore._pure.writer import write
from evcore.errors import FrameError, Violation

__all__ = ["Linter"]

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

_UNKNOWN, _IN, _OUT = 0, 1, 2
_NAME_BYTES: Final = 192
_TAIL_BYTES: Final = 256
_VERB_BYTES: Final = 32
_ACTION_CHARS: Final = 64
_POINTER_CHARS: Final = 200
_MAKER_CHARS: Final = 50
_VALUE_CHARS: Final = 80
_STATIONS: Final = 100_000
_MAKERS: Final = 1_000

_USES: Final = {CALL: "call", CALLRESULT: "result", SEND: "send"}
_COUNTED: Final = {CALL: "calls", CALLRESULT: "results", CALLERROR: "errors", CALLRESULTERROR: "errors", SEND: "sends"}
_COUNTS: Final = (
    *("bytes", "lines", "long_lines", "frames", "calls", "results", "errors", "sends", "unpaired", "bad_frames"),
    *("violating", "violations", "cut", "further"),
)

_Report: TypeAlias = tuple[
    list[tuple[int | None, str, str, str, str, str, str, int, int, str | None]], list[tuple[str, str, int, int, int]]
]


class _Origin(NamedTuple):
    """Whose frame it is: the station's name (empty: the line names none), and which way the frame went."""

    station: bytes
    direction: int


class _Finding(NamedTuple):
    """What findings are told apart by. `usage`: call, result, send, or frame for what is none."""

    maker: int | None
    usage: str
    action: str
    pointer: str
    keyword: str
    code: str
    message: str


class _Balance:
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
                self._depth = max(0, self._depth - 1)
                if not self._depth:
                    return token.end()
            elif bracket == b'"':
                self.in_string = True
                return None
        return None


class _Held:
    """A frame whose JSON goes on in the next line."""

    def __init__(self, text: bytes, balance: _Balance, line: int, origin: _Origin) -> None:
        self.text = bytearray(text)
        self.balance = balance
        self.line = line
        self.origin = origin


class Linter:
    """Reads one log. A frame and its answer meet by message id, station and direction."""

    def __init__(
        self,
        version: str,
        programs: Mapping[str, tuple[str, ...]],
        load: Callable[[str, str], Program],
        *,
        limits: tuple[int, int, int, int, int, int, int],
        line_bytes: int,
        open_calls: int,
        findings: int,
        values: bool,
    ) -> None:
        """`programs`, `load` and `limits` as for a codec. `line_bytes`: longer lines are not read; `open_calls`: calls
        without answer that are remembered; `findings`: different ones that are kept; `values`: findings show the first
        offending value.
        """
        self._version = VERSIONS[version]
        self._actions = {use: frozenset(names) for use, names in programs.items()}
        self._load = load
        self._programs: dict[tuple[str, str], Program] = {}
        self._reader = FrameReader(self._version, limits, False)
        self._frame_bytes, self._violations = limits[0], limits[6]
        self._line_bytes, self._open_calls, self._most, self._values = line_bytes, open_calls, findings, values
        self._pending, self._skipping = bytearray(), False
        self._held: _Held | None = None
        self._line, self._finished = 0, False
        self._open: OrderedDict[tuple[bytes, int, str], str] = OrderedDict()
        self._counts = dict.fromkeys(_COUNTS, 0)
        self._findings: dict[_Finding, tuple[int, int, str | None]] = {}
        self._stations: dict[bytes, int] = {}
        self._makers: list[tuple[str, str]] = []
        # Frames of each maker, and the bad ones among them.
        self._tallies: list[list[int]] = []

    @property
    def counts(self) -> dict[str, int]:
        """The counts so far."""
        return dict(self._counts)

    def feed(self, chunk: bytes) -> None:
        """Reads on. Lines and frames may be torn anywhere between chunks."""
        if self._finished:
            raise RuntimeError("the log has ended")
        self._counts["bytes"] += len(chunk)
        *lines, rest = chunk.split(b"\n")
        for part in lines:
            self._keep(part)
            self._end_of_line()
        self._keep(rest)

    def finish(self) -> _Report:
        """The log ends here: the findings and the makers."""
        if not self._finished:
            self._finished = True
            if self._pending or self._skipping:
                self._end_of_line()
            self._release()
        findings = [(*finding, *seen) for finding, seen in self._findings.items()]
        stations = Counter(self._stations.values())
        makers = [
            (vendor, model, stations[index], frames, bad)
            for index, ((vendor, model), (frames, bad)) in enumerate(zip(self._makers, self._tallies))
        ]
        return findings, makers

    # Lines

    def _keep(self, part: bytes) -> None:
        """Keeps a part of a line until the rest of it comes."""
        if self._skipping or len(self._pending) + len(part) > self._line_bytes:
            self._skipping = True
            self._pending.clear()
        else:
            self._pending += part

    def _end_of_line(self) -> None:
        self._line += 1
        self._counts["lines"] += 1
        line = bytes(self._pending)
        self._pending.clear()
        if self._skipping:
            self._skipping = False
            self._release()
            self._counts["long_lines"] += 1
            self._unframed(
                None, self._line, "limit", self._version.misframed, f"line is longer than {self._line_bytes} bytes"
            )
            return
        head = _HEAD.search(line)
        start, level = (head.start(), _LEVELS[head[1]]) if head is not None else (_odd(line), 0)
        if self._held is not None and start is None:
            self._goes_on(self._held, line)
            return
        self._release()
        if start is None:
            return
        if level:
            self._escaped(line, start, level)
        else:
            self._plain(line, start)

    def _plain(self, line: bytes, start: int) -> None:
        """A frame as it is on the wire."""
        balance = _Balance()
        end = balance.end(line, start)
        origin = _origin(line, start, end)
        if end is None and not balance.in_string and len(line) - start <= self._frame_bytes:
            self._held = _Held(line[start:], balance, self._line, origin)
        else:
            self._judge(line[start:end], origin, self._line)

    def _goes_on(self, held: _Held, line: bytes) -> None:
        """A line without a frame after one whose frame was not at its end."""
        end = held.balance.end(line)
        held.text += b"\n" + line[:end]
        if end is not None or held.balance.in_string or len(held.text) > self._frame_bytes:
            self._release()

    def _release(self) -> None:
        """Judges the frame that was held back, as far as it came."""
        held, self._held = self._held, None
        if held is not None:
            self._judge(bytes(held.text), held.origin, held.line)

    def _escaped(self, line: bytes, start: int, level: int) -> None:
        """A frame inside a JSON string, or inside one inside another."""
        text, end = _unescape(line, start)
        if level == 2:
            text, _ = _unescape(text, 0)
        frame_end = _Balance().end(text)
        if frame_end is None and (cut := _CUT.search(line, end)) is not None and cut[1]:
            self._counts["cut"] += 1
            return
        self._judge(text[:frame_end], _origin(line, start, end), self._line)

    # Frames

    def _judge(self, text: bytes, origin: _Origin, line: int) -> None:
        station = origin.station
        try:
            frame = self._reader.read(text)
        except FrameError as error:
            maker = self._count("bad_frames", station)
            if maker is not None:
                self._tallies[maker][1] += 1
            # Where in the frame it was noticed differs from frame to frame.
            sentence = str(error) if error.offset is None else str(error).rpartition(" at byte ")[0]
            self._unframed(maker, line, error.reason, error.code, sentence)
            return
        action = self._meet(frame, origin)
        if frame.kind == CALL and action == "BootNotification":
            self._boot(station, frame.node)
        maker = self._count(_COUNTED[frame.kind], station)
        usage = _USES.get(frame.kind)
        if usage is None or action is None or (usage == "result" and action not in self._actions[usage]):
            return
        node: Node = () if frame.node is None else frame.node
        violations = self._judged(usage, action, node)
        if not violations:
            return
        self._counts["violating"] += 1
        self._counts["violations"] += len(violations)
        if maker is not None:
            self._tallies[maker][1] += 1
        for violation in violations:
            finding = _Finding(
                maker,
                usage,
                _shortened(action, _ACTION_CHARS),
                _shortened(_pattern(violation.pointer), _POINTER_CHARS),
                violation.keyword,
                violation.code,
                violation.message,
            )
            self._add(finding, line, _scalar(node, violation.pointer) if self._values else None)

    def _meet(self, frame: Frame, origin: _Origin) -> str | None:
        """The action of a frame, which a CALLRESULT has from its CALL; remembers calls, forgets those answered."""
        direction = origin.direction
        if frame.kind == CALL:
            key = (origin.station, direction, frame.id)
            action = frame.name or ""
            self._open.pop(key, None)
            self._open[key] = action
            if len(self._open) > self._open_calls:
                self._open.popitem(last=False)
            return action
        if frame.kind in (CALLRESULT, CALLERROR):
            # The call went the other way.
            known = self._open.pop((origin.station, {_IN: _OUT, _OUT: _IN}.get(direction, direction), frame.id), None)
            self._counts["unpaired"] += known is None and frame.kind == CALLRESULT
            return known
        return frame.name

    def _judged(self, usage: str, action: str, node: Node) -> list[Violation]:
        if action not in self._actions[usage]:
            return [Violation("NotImplemented", "", "action", None, f"is not an action of {self._version.name}")]
        program = self._programs.get((usage, action))
        if program is None:
            program = self._programs.setdefault((usage, action), self._load(usage, action))
        return program.judge(node, self._violations)[1]

    # Counting

    def _count(self, what: str, station: bytes) -> int | None:
        """Counts a frame, also for the station's maker, which it returns."""
        self._counts["frames"] += 1
        self._counts[what] += 1
        maker = self._stations.get(station)
        if maker is not None:
            self._tallies[maker][0] += 1
        return maker

    def _boot(self, station: bytes, node: Node) -> None:
        """A BootNotification says who made the station."""
        names = ("vendorName", "model")
        if self._version.name == "ocpp1.6":
            names = ("chargePointVendor", "chargePointModel")
        else:
            node = _named(node, "chargingStation")
        vendor, model = (_named(node, name) for name in names)
        maker = (
            _shortened(vendor, _MAKER_CHARS) if isinstance(vendor, str) else "",
            _shortened(model, _MAKER_CHARS) if isinstance(model, str) else "",
        )
        if maker == ("", ""):
            return
        if maker not in self._makers:
            if len(self._makers) >= _MAKERS:
                return
            self._makers.append(maker)
            self._tallies.append([0, 0])
        if len(self._stations) < _STATIONS or station in self._stations:
            self._stations[station] = self._makers.index(maker)

    def _unframed(self, maker: int | None, line: int, keyword: str, code: str, message: str) -> None:
        self._add(_Finding(maker, "frame", "", "", keyword, code, message), line, None)

    def _add(self, finding: _Finding, line: int, value: str | None) -> None:
        seen = self._findings.get(finding)
        if seen is not None:
            self._findings[finding] = (seen[0] + 1, *seen[1:])
        elif len(self._findings) < self._most:
            self._findings[finding] = (1, line, value)
        else:
            self._counts["further"] += 1


# Lines: where a frame stands, whose it is


def _odd(line: bytes) -> int | None:
    """A line that is nothing but an array with a number first."""
    found = _ODD.match(line)
    return found.end() if found is not None and line.rstrip(b" \t\r").endswith(b"]") else None


def _unescape(text: bytes, start: int) -> tuple[bytes, int]:
    """What the rest of a JSON string stands for, as far as it is good, and where it ends."""
    found = _INSIDE.match(text, start)
    assert found is not None
    inside: bytes = found[0]
    if b"\\" in inside:
        inside = _ESCAPES.sub(lambda escapes: json.loads(b'"%b"' % escapes[0]).encode(), inside)
    return inside, found.end()


def _origin(line: bytes, start: int, end: int | None) -> _Origin:
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
    return _Origin(station, direction)


def _way(word: bytes) -> int:
    word = word.lower()
    if word.startswith((b"in", b"rec")):
        return _IN
    return _OUT if word.startswith((b"out", b"sen")) else _UNKNOWN


def _words(text: bytes) -> tuple[bytes, int]:
    """The origin in words: `CP1: receive message`, `CP1: send`, `… from CP1:`, `[chargeBoxId=CP1, …] Received:`."""
    text = text.rstrip(b" \"'\\")
    before, direction = text, _UNKNOWN
    if text.endswith(b"receive message"):
        before, direction = text[: -len(b"receive message")], _IN
    elif text.endswith(b" send"):
        before, direction = text[: -len(b" send")], _OUT
    before = before.rstrip(b" ")
    before = before[:-1] if before.endswith(b":") else b""
    name_start = max(before.rfind(mark) for mark in (b" ", b":", b'"')) + 1
    introduction, name = before[:name_start].rstrip(b" "), before[name_start:]
    station, said = b"", direction
    if said == _UNKNOWN:
        verb = text[-_VERB_BYTES:].lower()
        if b"receiv" in verb or b"recv" in verb:
            direction = _IN
        elif b"send" in verb or b"sent" in verb:
            direction = _OUT
    if (boxed := _CHARGE_BOX.search(text)) is not None:
        station = boxed[1]
    elif said != _UNKNOWN:
        station = name
    else:
        for word, way in ((b" from", _IN), (b" to", _OUT), (b" for", direction)):
            if introduction.endswith(word):
                station, direction = name, way
    return station if len(station) <= _NAME_BYTES else b"", direction


# Values


def _pattern(pointer: str) -> str:
    """A pointer with its array indices folded."""
    return "/".join("*" if step.isascii() and step.isdigit() else step for step in pointer.split("/"))


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _named(node: Node, wanted: str) -> Any:
    """A member of an object; of a name given twice the first one."""
    return next((value for name, value in node if name == wanted), None) if type(node) is tuple else None


def _scalar(node: Node, pointer: str) -> str | None:
    """The value a pointer leads to, as JSON; None where it leads nowhere or to a container."""
    for step in pointer.split("/")[1:]:
        if type(node) is tuple:
            name = step.replace("~1", "/").replace("~0", "~")
            found = [value for key, value in node if key == name]
        else:
            found = node[int(step) :] if type(node) is list and step.isdigit() else []
        if not found:
            return None
        node = found[0]
    return None if type(node) in (list, tuple) else _shortened(write(node), _VALUE_CHARS)
