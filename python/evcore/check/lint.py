"""One log through the backend's linter.

In: a `Source`, `Options`. Out: a `Log`. Refused, as `Unreadable`: what the source refuses.
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

#: A frame takes this much more room at most in a line, where it stands in a string in a string and holds quotes.
_LINE_FACTOR: Final = 4


@dataclass(frozen=True)
class Options:
    """How a log is linted."""

    version: str | None = None
    """``ocpp1.6``, ``ocpp2.0.1``, ``ocpp2.1``; None: found out for each station."""
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
    linter = linter_for(options)
    for chunk in source:
        linter.feed(chunk)
        advanced()
    findings, makers, versions = linter.finish()
    seconds = time.perf_counter() - start
    return Log(source.name, dict(versions), options.version is None, linter.counts, seconds, findings, makers)


def linter_for(options: Options) -> module.Linter:
    """The backend's linter with the schemas of the versions, each compiled on first use."""

    def load(version: str, kind: str, action: str) -> Any:
        return program(version, cast(Kind, kind), action, formats=options.formats, backend=options.backend)

    linter: module.Linter = options.backend.Linter(
        {version: _actions(version) for version in (VERSIONS if options.version is None else (options.version,))},
        load,
        limits=options.limits,
        line_bytes=options.limits.frame_bytes * _LINE_FACTOR,
        open_calls=options.open_calls,
        findings=options.findings,
        values=options.values,
    )
    return linter


def _actions(version: str) -> dict[str, tuple[str, ...]]:
    known: dict[str, tuple[str, ...]] = {str(kind): names for kind, names in actions(version).items()}
    if version == "ocpp1.6":
        return known
    # Signed messages (OCPP-J 2.x §7), as in `Codec`.
    return {kind: (*names, *(f"{name}-Signed" for name in names)) for kind, names in known.items()}
