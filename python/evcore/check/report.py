"""What a lint found, of one log and of all.

In: the reports of the backend's linter. Out: totals, findings over all logs in order of their number, makers, and all
of it as a JSON document. Refused: nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

__all__ = ["SCHEMA", "Finding", "Log", "Maker", "Report"]

SCHEMA: Final = 1
"""The number of the JSON document's make: it changes when a key changes its meaning or goes."""


class Maker(NamedTuple):
    """Vendor and model, as BootNotifications name them."""

    vendor: str
    model: str


@dataclass
class MakerCounts:
    """The stations of a maker, their frames, and the bad ones among these."""

    stations: int = 0
    frames: int = 0
    bad: int = 0


class _Key(NamedTuple):
    """What findings of several logs are told apart by."""

    version: str
    kind: str
    action: str
    pointer: str
    keyword: str
    code: str
    message: str


@dataclass
class Finding:
    """One kind of finding over all logs, and where it was seen first."""

    version: str
    kind: str
    """``call``, ``result``, ``send``; ``frame`` for what is no frame."""
    action: str
    pointer: str
    """JSON Pointer, array indices as ``*``."""
    keyword: str
    """The violation's keyword; of what is no frame: ``limit``, ``utf-8``, ``json``, ``frame``, ``kind``."""
    code: str
    message: str
    file: str
    line: int
    value: str | None
    """The value there as JSON; None where it was not asked for or is a container."""
    count: int = 0
    makers: Counter[Maker] = field(default_factory=Counter)


@dataclass
class Log:
    """What was read of one log, and the linter's report."""

    name: str
    versions: dict[str, int]
    """Version -> frames that were judged by it."""
    guessed: bool
    """Whether the log had to tell."""
    counts: dict[str, int]
    seconds: float
    findings: list[tuple[str, int | None, str, str, str, str, str, str, int, int, str | None]]
    makers: list[tuple[str, str, int, int, int]]


class Report:
    """All logs together."""

    def __init__(self) -> None:
        self.logs: list[Log] = []
        self.skipped: list[str] = []
        """Sentences about the logs that could not be read."""
        self.counts: Counter[str] = Counter()
        self.seconds = 0.0
        self.makers: dict[Maker, MakerCounts] = {}
        self._findings: dict[_Key, Finding] = {}

    def add(self, log: Log) -> None:
        """Takes in one log."""
        self.logs.append(log)
        self.counts.update(log.counts)
        self.seconds += log.seconds
        makers = [Maker(vendor, model) for vendor, model, *_ in log.makers]
        for maker, (_, _, stations, frames, bad) in zip(makers, log.makers):
            counts = self.makers.setdefault(maker, MakerCounts())
            counts.stations += stations
            counts.frames += frames
            counts.bad += bad
        # In the order of the log, so that of findings that differ in their maker alone the first one is the example.
        for version, index, kind, action, pointer, keyword, code, message, count, line, value in sorted(
            log.findings, key=lambda finding: (finding[9], finding[2:8])
        ):
            key = _Key(version, kind, action, pointer, keyword, code, message)
            finding = self._findings.get(key)
            if finding is None:
                finding = self._findings[key] = Finding(*key, log.name, line, value)
            finding.count += count
            if index is not None:
                finding.makers[makers[index]] += count

    @property
    def findings(self) -> list[Finding]:
        """The most frequent first."""
        return sorted(self._findings.values(), key=lambda finding: -finding.count)

    @property
    def megabytes_per_second(self) -> float:
        return self.counts["bytes"] / self.seconds / 1e6 if self.seconds else 0.0

    @property
    def bad_frames(self) -> int:
        """Texts that are no frame, and lines too long to be read."""
        return self.counts["bad_frames"] + self.counts["long_lines"]

    def document(self, most: int) -> dict[str, Any]:
        """For machines: docs/check.md, section JSON. At most `most` kinds of findings."""
        findings = self.findings
        return {
            "schema": SCHEMA,
            "counts": dict(self.counts),
            "seconds": round(self.seconds, 6),
            "files": [
                {
                    "file": log.name,
                    "versions": {version: frames for version, frames in log.versions.items() if frames},
                    "guessed": log.guessed,
                    "seconds": round(log.seconds, 6),
                    "counts": log.counts,
                }
                for log in self.logs
            ],
            "skipped": self.skipped,
            "findings": [_finding(finding) for finding in findings[:most]],
            "findings_left_out": max(0, len(findings) - most),
            "makers": [
                {**maker._asdict(), "stations": counts.stations, "frames": counts.frames, "bad": counts.bad}
                for maker, counts in sorted(self.makers.items(), key=lambda item: (-item[1].bad, item[0]))
            ],
        }


def _finding(finding: Finding) -> dict[str, Any]:
    example = {"file": finding.file, "line": finding.line}
    return {
        "version": finding.version,
        "kind": finding.kind,
        "action": finding.action or None,
        "pointer": finding.pointer,
        "keyword": finding.keyword,
        "code": finding.code,
        "message": finding.message,
        "count": finding.count,
        "example": example if finding.value is None else {**example, "value": finding.value},
        "makers": [{**maker._asdict(), "count": count} for maker, count in finding.makers.most_common()],
    }
