"""A report for people: lines about the logs, a table of the findings, a table of the makers.

In: a `Report`. Out: what Rich prints. Refused: nothing; text of the peer's is shown with its control characters
escaped, so that a log cannot write to the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from evcore.check.report import Finding, Log, Report

__all__ = ["lines", "tables", "verdict"]

_KINDS = {"call": "", "result": " (result)", "send": " (send)"}


def lines(report: Report) -> Iterator[str]:
    """What was read, a line for each log; then all together, where there are several."""
    for log in report.logs:
        yield _visible(f"{log.name}: {_spoken(log)}{_read(log.counts, log.seconds)}")
    if len(report.logs) > 1:
        yield f"{len(report.logs)} logs: {_read(report.counts, report.seconds)}"


def verdict(report: Report) -> str:
    """One line: how bad it is."""
    counts = report.counts
    if not counts["violations"] and not report.bad_frames:
        return "nothing found" if counts["frames"] else "no frames found"
    found = [
        f"{counts['violations']:,} violations in {counts['violating']:,} of {counts['frames']:,} frames",
        f"{counts['bad_frames']:,} bad frames",
    ]
    if counts["long_lines"]:
        found.append(f"{counts['long_lines']:,} lines too long to be read")
    return ", ".join(found)


def tables(report: Report, most: int) -> Iterator[RenderableType]:
    """The findings, `most` kinds of them, and the makers; nothing where there are none."""
    findings = report.findings
    if findings:
        yield _findings(findings[:most], several=len({finding.version for finding in findings}) > 1)
    if len(findings) > most:
        yield Text(f"and {len(findings) - most:,} further kinds of findings (--max-findings)")
    if report.counts["further"]:
        yield Text(f"and {report.counts['further']:,} findings of kinds beyond those that are kept")
    if report.makers:
        yield _makers(report)


def _findings(findings: list[Finding], several: bool) -> Table:
    values = any(finding.value is not None for finding in findings)
    table = Table(title="Findings", title_justify="left")
    table.add_column("count", justify="right", no_wrap=True)
    for name in (*(("version",) if several else ()), "action", "where", "keyword", "what", "first seen"):
        table.add_column(name, overflow="fold")
    if values:
        table.add_column("value there", overflow="fold")
    for finding in findings:
        action = "(no frame)" if finding.kind == "frame" else finding.action + _KINDS[finding.kind]
        cells = [f"{finding.count:,}", *((finding.version,) if several else ()), action]
        cells += [finding.pointer, finding.keyword, finding.message, f"{finding.file}:{finding.line}"]
        cells += [finding.value or ""] if values else []
        table.add_row(*(Text(_visible(cell)) for cell in cells))
    return table


def _makers(report: Report) -> Table:
    table = Table(title="Makers", title_justify="left")
    for name in ("vendor", "model"):
        table.add_column(name, overflow="fold")
    for name in ("stations", "frames", "bad frames"):
        table.add_column(name, justify="right")
    table.add_column("most often", overflow="fold")
    findings = report.findings
    for maker, counts in sorted(report.makers.items(), key=lambda item: (-item[1].bad, item[0])):
        worst = max(findings, key=lambda finding: finding.makers[maker], default=None)
        often = ""
        if worst is not None and worst.makers[maker]:
            often = f"{worst.makers[maker]:,} × {worst.action} {worst.pointer or 'payload'} {worst.message}".replace(
                "  ", " "
            )
        cells = [*maker, f"{counts.stations:,}", f"{counts.frames:,}", f"{counts.bad:,}", often]
        table.add_row(*(Text(_visible(cell)) for cell in cells))
    return table


def _spoken(log: Log) -> str:
    frames = {version: count for version, count in log.versions.items() if count}
    names = frames if len(frames) == 1 else [f"{version} ({count:,} frames)" for version, count in frames.items()]
    return f"{', '.join(names)}{' by the look of it' if log.guessed else ''}; " if frames else ""


def _read(counts: dict[str, int], seconds: float) -> str:
    megabytes = counts["bytes"] / 1e6
    speed = f", {megabytes / seconds:,.0f} MB/s" if seconds else ""
    kinds = [f"{counts[name]:,} {name}" for name in ("calls", "results", "errors", "sends") if counts[name]]
    kinds += [f"{counts['bad_frames']:,} bad"] if counts["bad_frames"] else []
    said = f"{counts['lines']:,} lines, {counts['frames']:,} frames"
    said += f" ({', '.join(kinds)})" if kinds else ""
    if counts["unpaired"]:
        said += f", {counts['unpaired']:,} results without their call"
    if counts["cut"]:
        said += f", {counts['cut']:,} frames cut by the log"
    return f"{said}; {megabytes:,.1f} MB in {seconds:.2f} s{speed}"


def _visible(text: str) -> str:
    """Without control characters, bidirectional marks and lone surrogates: as their escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
