"""Frames in log files: found, judged, counted.

In: the bytes of a log in chunks of any size. Out: counts, findings (equal ones once, with their number and the line of
the first), makers. Refused: nothing; lines and frames beyond their limits are findings, and whatever is remembered
(calls without answer, stations, makers, kinds of findings) has a bound.

    chunk -> line -> frame text and its origin -> FrameReader, Program -> counts, pairs, findings

A log does not say which version its stations speak, and a server's log holds stations of all. So each station is judged
by the version that has taken most of those of its frames that not all versions take.

docs/check.md says what counts as a frame in a line, how a line names its station, and how its version is found.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from evcore._pure.document import Node
from evcore._pure.frame import CALL, CALLERROR, CALLRESULT, CALLRESULTERROR, SEND, Frame, FrameReader
from evcore._pure.line import IN, OUT, Balance, Origin, begin, origin_of, says_cut, unescape
from evcore._pure.schema import Program
from evcore._pure.version import VERSIONS
from evcore._pure.writer import write
from evcore.errors import FrameError, Violation

__all__ = ["Linter"]

_BOOT: Final = "BootNotification"
#: Frames of evidence that settle a station's version.
_SETTLED: Final = 4
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
    list[tuple[str, int | None, str, str, str, str, str, str, int, int, str | None]],
    list[tuple[str, str, int, int, int]],
    list[tuple[str, int]],
]


class _Finding(NamedTuple):
    """What findings are told apart by. `usage`: call, result, send, or frame for what is none."""

    version: str
    maker: int | None
    usage: str
    action: str
    pointer: str
    keyword: str
    code: str
    message: str


class _Book:
    """A version: its reader, its actions, their programs as far as they were asked for."""

    def __init__(
        self,
        name: str,
        programs: Mapping[str, tuple[str, ...]],
        load: Callable[[str, str, str], Program],
        limits: tuple[int, int, int, int, int, int, int],
    ) -> None:
        self.name = name
        self.version = VERSIONS[name]
        self.actions = {use: frozenset(names) for use, names in programs.items()}
        self.reader = FrameReader(self.version, limits, False)
        self._load = load
        self._violations = limits[6]
        self._programs: dict[tuple[str, str], Program] = {}

    def judge(self, usage: str, action: str, node: Node) -> list[Violation]:
        """What is wrong with a payload."""
        if action not in self.actions[usage]:
            return [Violation("NotImplemented", "", "action", None, f"is not an action of {self.name}")]
        program = self._programs.get((usage, action))
        if program is None:
            program = self._programs.setdefault((usage, action), self._load(self.name, usage, action))
        return program.judge(node, self._violations)[1]


class _Verdict(NamedTuple):
    """What a version says to a frame, or to what is none. `action`: of a CALLRESULT its CALL's; empty: not known."""

    frame: Frame | None
    error: FrameError | None
    usage: str
    action: str
    node: Node
    violations: list[Violation]

    @property
    def good(self) -> bool:
        return self.error is None and not self.violations

    @property
    def is_boot(self) -> bool:
        return self.usage == "call" and self.action == _BOOT


class _Station:
    """What is remembered of a station: frames that speak for each version, and who made it."""

    def __init__(self, versions: int) -> None:
        self.scores = (0,) * versions
        self.maker: int | None = None


class _Held:
    """A frame whose JSON goes on in the next line."""

    def __init__(self, text: bytes, balance: Balance, line: int, origin: Origin) -> None:
        self.text = bytearray(text)
        self.balance = balance
        self.line = line
        self.origin = origin


class Linter:
    """Reads one log. A frame and its answer meet by message id, station and direction."""

    def __init__(
        self,
        programs: Mapping[str, Mapping[str, tuple[str, ...]]],
        load: Callable[[str, str, str], Program],
        *,
        limits: tuple[int, int, int, int, int, int, int],
        line_bytes: int,
        open_calls: int,
        findings: int,
        values: bool,
    ) -> None:
        """`programs`: version -> kind -> actions, of equals the first version is preferred; `load`: version, kind,
        action -> program; `limits` as for a codec. `line_bytes`: longer lines are not read; `open_calls`: calls without
        answer that are remembered; `findings`: different ones that are kept; `values`: findings show the first
        offending value. ValueError for no version or more than three.
        """
        if not 1 <= len(programs) <= 3:
            raise ValueError(f"a linter has 1 to 3 versions, not {len(programs)}")
        self._books = [_Book(version, actions, load, limits) for version, actions in programs.items()]
        self._frame_bytes = limits[0]
        self._line_bytes, self._open_calls, self._most, self._values = line_bytes, open_calls, findings, values
        self._pending, self._skipping = bytearray(), False
        self._held: _Held | None = None
        self._line, self._finished = 0, False
        self._open: OrderedDict[tuple[bytes, int, str], str] = OrderedDict()
        self._counts = dict.fromkeys(_COUNTS, 0)
        self._findings: dict[_Finding, tuple[int, int, str | None]] = {}
        self._stations: dict[bytes, _Station] = {}
        self._scores = [0] * len(self._books)
        self._spoken = [0] * len(self._books)
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
        """The log ends here: the findings, the makers, the frames of each version."""
        if not self._finished:
            self._finished = True
            if self._pending or self._skipping:
                self._end_of_line()
            self._release()
        findings = [(*finding, *seen) for finding, seen in self._findings.items()]
        stations = Counter(station.maker for station in self._stations.values())
        makers = [
            (vendor, model, stations[index], frames, bad)
            for index, ((vendor, model), (frames, bad)) in enumerate(zip(self._makers, self._tallies))
        ]
        return findings, makers, [(book.name, frames) for book, frames in zip(self._books, self._spoken)]

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
            version = self._best((0,))
            code = self._books[version].version.misframed
            self._unframed(version, None, self._line, "limit", code, f"line is longer than {self._line_bytes} bytes")
            return
        start, level = begin(line)
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
        balance = Balance()
        end = balance.end(line, start)
        origin = origin_of(line, start, end)
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
        text, end = unescape(line, start)
        if level == 2:
            text, _ = unescape(text, 0)
        frame_end = Balance().end(text)
        if frame_end is None and says_cut(line, end):
            self._counts["cut"] += 1
            return
        self._judge(text[:frame_end], origin_of(line, start, end), self._line)

    # Frames

    def _judge(self, text: bytes, origin: Origin, line: int) -> None:
        station = origin.station
        version, verdict = self._judged(text, origin)
        frame, error = verdict.frame, verdict.error
        if error is not None:
            maker = self._count("bad_frames", version, station)
            if maker is not None:
                self._tallies[maker][1] += 1
            # Where in the frame it was noticed differs from frame to frame.
            sentence = str(error) if error.offset is None else str(error).rpartition(" at byte ")[0]
            self._unframed(version, maker, line, error.reason, error.code, sentence)
        if frame is None:
            return
        self._meet(frame, origin)
        if verdict.is_boot:
            self._boot(version, station, frame.node)
        maker = self._count(_COUNTED[frame.kind], version, station)
        if not verdict.violations:
            return
        self._counts["violating"] += 1
        self._counts["violations"] += len(verdict.violations)
        if maker is not None:
            self._tallies[maker][1] += 1
        for violation in verdict.violations:
            finding = _Finding(
                self._books[version].name,
                maker,
                verdict.usage,
                _shortened(verdict.action, _ACTION_CHARS),
                _shortened(_pattern(violation.pointer), _POINTER_CHARS),
                violation.keyword,
                violation.code,
                violation.message,
            )
            self._add(finding, line, _scalar(verdict.node, violation.pointer) if self._values else None)

    def _judged(self, text: bytes, origin: Origin) -> tuple[int, _Verdict]:
        """The verdict of the station's version, which this frame may change."""
        every = range(len(self._books))
        known = self._stations.get(origin.station)
        scores = (0,) * len(every) if known is None else known.scores
        settled = max(scores) >= _SETTLED
        best = self._best(scores)
        verdicts = {best: self._verdict(best, text, origin)}
        if len(every) == 1 or (settled and verdicts[best].good):
            return best, verdicts[best]
        # A new station is judged by all versions. A known one only where its version refuses, by those that are as
        # likely; but a BootNotification is a new beginning: the station may have been updated.
        anew = settled and verdicts[best].is_boot
        for other in every:
            if other != best and (not settled or anew or scores[other] == scores[best]):
                verdicts[other] = self._verdict(other, text, origin)
        goods = [other in verdicts and verdicts[other].good for other in every]
        if any(goods) and (settled or not all(goods)):
            scores = tuple((0 if anew else score) + good for score, good in zip(scores, goods))
            self._learn(origin.station, scores)
        if any(scores):
            best = self._best(scores)
        else:
            # Nobody takes it, and nothing is known of the station: the version it comes nearest to.
            best = min(
                every,
                key=lambda other: (verdicts[other].error is not None, len(verdicts[other].violations), other != best),
            )
        return best, verdicts[best]

    def _best(self, scores: tuple[int, ...]) -> int:
        """The version a station is judged by, of equals the first; without evidence of its own, as the others."""
        evidence = scores if any(scores) else self._scores
        return evidence.index(max(evidence))

    def _learn(self, station: bytes, scores: tuple[int, ...]) -> None:
        """Keeps the evidence of a station's version after it has changed."""
        self._scores[self._best(scores)] += 1
        if (known := self._station(station)) is not None:
            known.scores = scores

    def _station(self, station: bytes) -> _Station | None:
        """A station to be changed; None where there are too many."""
        if len(self._stations) >= _STATIONS and station not in self._stations:
            return None
        return self._stations.setdefault(station, _Station(len(self._books)))

    def _verdict(self, version: int, text: bytes, origin: Origin) -> _Verdict:
        """What one version says to a frame."""
        book = self._books[version]
        try:
            frame = book.reader.read(text)
        except FrameError as error:
            return _Verdict(None, error, "", "", (), [])
        usage = _USES.get(frame.kind)
        node: Node = () if frame.node is None else frame.node
        if usage is None:
            return _Verdict(frame, None, "", "", node, [])
        action = frame.name or ""
        if usage == "result":
            action = self._open.get(_call_key(frame, origin), "")
            if action not in book.actions[usage]:
                return _Verdict(frame, None, usage, "", node, [])
        return _Verdict(frame, None, usage, action, node, book.judge(usage, action, node))

    def _meet(self, frame: Frame, origin: Origin) -> None:
        """Remembers a call, or forgets the one that is answered."""
        key = _call_key(frame, origin)
        if frame.kind == CALL:
            self._open.pop(key, None)
            self._open[key] = frame.name or ""
            if len(self._open) > self._open_calls:
                self._open.popitem(last=False)
        elif frame.kind in (CALLRESULT, CALLERROR):
            known = self._open.pop(key, None)
            self._counts["unpaired"] += known is None and frame.kind == CALLRESULT

    # Counting

    def _count(self, what: str, version: int, station: bytes) -> int | None:
        """Counts a frame, also for the station's maker, which it returns."""
        self._counts["frames"] += 1
        self._counts[what] += 1
        self._spoken[version] += 1
        known = self._stations.get(station)
        if known is None or known.maker is None:
            return None
        self._tallies[known.maker][0] += 1
        return known.maker

    def _boot(self, version: int, station: bytes, node: Node) -> None:
        """A BootNotification says who made the station."""
        names = ("vendorName", "model")
        if self._books[version].name == "ocpp1.6":
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
        if (known := self._station(station)) is not None:
            known.maker = self._makers.index(maker)

    def _unframed(self, version: int, maker: int | None, line: int, keyword: str, code: str, message: str) -> None:
        name = self._books[version].name
        self._add(_Finding(name, maker, "frame", "", "", keyword, code, message), line, None)

    def _add(self, finding: _Finding, line: int, value: str | None) -> None:
        seen = self._findings.get(finding)
        if seen is not None:
            self._findings[finding] = (seen[0] + 1, *seen[1:])
        elif len(self._findings) < self._most:
            self._findings[finding] = (1, line, value)
        else:
            self._counts["further"] += 1


def _call_key(frame: Frame, origin: Origin) -> tuple[bytes, int, str]:
    """What a CALL and its answer have in common; the answer goes the other way."""
    way = origin.direction
    return origin.station, way if frame.kind == CALL else {IN: OUT, OUT: IN}.get(way, way), frame.id


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
