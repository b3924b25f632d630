"""One log through the backend's linter.

In: a `Source`, `Options`. Out: a `Log`. Refused, as `Unreadable`: what the source refuses.

A log does not say which OCPP version it is of. So its beginning is judged by all of them, and the one with the fewest
bad frames judges the rest; where several are as good, the oldest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from evcore import _backend
from evcore.check.report import Log
from evcore.check.source import Source
from evcore.limits import Limits
from evcore.schema import VERSIONS, Kind, actions, program

if TYPE_CHECKING:
    from evcore._backend import module

__all__ = ["Options", "lint", "linter_for"]

#: Frames that decide about the version.
_GUESS_FRAMES: Final = 1000
#: A frame takes this much more room at most in a line, where it stands in a string in a string and holds quotes.
_LINE_FACTOR: Final = 4


@dataclass(frozen=True)
class Options:
    """How a log is linted."""

    version: str | None = None
    """``ocpp1.6``, ``ocpp2.0.1``, ``ocpp2.1``; None: guessed."""
    formats: bool = True
    """``date-time`` and ``uri`` are judged."""
    values: bool = False
    """Findings show the first offending value: logs hold tokens of drivers."""
    open_calls: int = 10_000
    """Calls without answer that are remembered."""
    findings: int = 10_000
    """Different findings that are kept of one log."""
    limits: Limits = field(default_factory=Limits)
    backend: Any = _backend.module
    """`evcore._native` or `evcore._pure`."""


def lint(source: Source, options: Options, advanced: Callable[[], object] = lambda: None) -> Log:
    """Lints one log; calls `advanced` after each chunk. Raises Unreadable."""
    start = time.perf_counter()
    versions = VERSIONS if options.version is None else (options.version,)
    linters = {version: linter_for(version, options) for version in versions}
    for chunk in source:
        for linter in linters.values():
            linter.feed(chunk)
        if len(linters) > 1 and max(linter.counts["frames"] for linter in linters.values()) >= _GUESS_FRAMES:
            version = _best(linters)
            linters = {version: linters[version]}
        advanced()
    reports = {version: linter.finish() for version, linter in linters.items()}
    version = _best(linters)
    findings, makers = reports[version]
    counts = linters[version].counts
    return Log(source.name, version, options.version is None, counts, time.perf_counter() - start, findings, makers)


def linter_for(version: str, options: Options) -> module.Linter:
    """The backend's linter with the schemas of a version, compiled on first use."""

    def load(kind: str, action: str) -> Any:
        return program(version, cast(Kind, kind), action, formats=options.formats, backend=options.backend)

    known: dict[str, tuple[str, ...]] = {str(kind): names for kind, names in actions(version).items()}
    if version != "ocpp1.6":
        # Signed messages (OCPP-J 2.x §7), as in `Codec`.
        known = {kind: (*names, *(f"{name}-Signed" for name in names)) for kind, names in known.items()}
    linter: module.Linter = options.backend.Linter(
        version,
        known,
        load,
        limits=options.limits,
        line_bytes=options.limits.frame_bytes * _LINE_FACTOR,
        open_calls=options.open_calls,
        findings=options.findings,
        values=options.values,
    )
    return linter


def _best(linters: dict[str, module.Linter]) -> str:
    """The version whose rules the log breaks least; of equals the first."""

    def bad(version: str) -> int:
        counts = linters[version].counts
        return counts["bad_frames"] + counts["violating"]

    return min(linters, key=bad)
