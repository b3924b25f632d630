"""`evcore check`: lints the frames in log files."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from evcore.cli.common import usage
from evcore.cli.simulate import VersionChoice

if TYPE_CHECKING:
    from rich.progress import Progress

    from evcore.check import Options, Report, Source

__all__ = ["check"]

#: Smaller files are done before a bar is worth looking at.
_LONG_BYTES = 32 * 1024 * 1024
#: Columns where the output is no terminal.
_COLUMNS = 200


class FailOn(StrEnum):
    none = "none"
    frame = "frame"
    violation = "violation"


def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="Logs; .gz is unpacked, - is standard input.")],
    version: Annotated[
        VersionChoice | None, typer.Option(help="OCPP version; found out for each station when left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON document instead of tables.")] = False,
    max_findings: Annotated[
        int, typer.Option(metavar="N", min=1, help="Kinds of findings that are shown, the most frequent first.")
    ] = 50,
    values: Annotated[
        bool, typer.Option("--values", help="Show the first offending value; logs hold tokens of drivers.")
    ] = False,
    formats: Annotated[
        bool, typer.Option("--formats/--no-formats", help="Judge the formats date-time and uri.")
    ] = True,
    fail_on: Annotated[FailOn, typer.Option(help="What ends in exit status 1.")] = FailOn.violation,
    open_calls: Annotated[
        int, typer.Option(metavar="N", min=1, max=10_000_000, help="Calls without answer that are remembered.")
    ] = 10_000,
    max_frame: Annotated[int, typer.Option(metavar="BYTES", min=1, max=1 << 30, help="Largest frame.")] = 1_048_576,
) -> None:
    """Lint the frames in JSON lines and logs: what breaks the schemas, by action, place and keyword.

    Exit status: 0 nothing found, 1 something found, 2 called wrongly or a file could not be read.
    """
    from evcore.check import Options
    from evcore.limits import Limits

    options = Options(
        version=None if version is None else f"ocpp{version.value}",
        formats=formats,
        values=values,
        open_calls=open_calls,
        limits=Limits(frame_bytes=max_frame),
    )
    try:
        report = _lint(files, options)
    except ImportError as error:
        usage(str(error))
    if as_json:
        typer.echo(json.dumps(report.document(max_findings), indent=2))
    else:
        _print(report, max_findings)
    if report.skipped:
        raise typer.Exit(2)
    found = report.bad_frames + (report.counts["violations"] if fail_on is FailOn.violation else 0)
    if found and fail_on is not FailOn.none:
        raise typer.Exit(1)


def _lint(files: list[str], options: Options) -> Report:
    from evcore.check import Report, Source, Unreadable, lint

    report = Report()
    for name in files:
        try:
            with Source(name) as source, _bar(source.size) as progress:
                report.add(lint(source, options, _advance(progress, source)))
        except Unreadable as error:
            report.skipped.append(str(error))
            typer.echo(f"evcore: {error}", err=True)
            continue
        counts = report.logs[-1].counts
        if not counts["bytes"]:
            typer.echo(f"evcore: {source.name} is empty", err=True)
        elif not counts["frames"]:
            typer.echo(f"evcore: {source.name} holds no frames", err=True)
    return report


def _bar(size: int | None) -> AbstractContextManager[Progress | None]:
    """A progress bar for long files, where somebody sees it."""
    if size is None or size < _LONG_BYTES or not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    progress.add_task("", total=size)
    return progress


def _advance(progress: Progress | None, source: Source) -> Callable[[], object]:
    if progress is None:
        return lambda: None
    task = progress.task_ids[0]
    progress.update(task, description=source.name)
    return lambda: progress.update(task, completed=source.position())


def _print(report: Report, most: int) -> None:
    from rich.console import Console

    from evcore.check import screen

    console = Console(width=None if sys.stdout.isatty() else _COLUMNS, highlight=False, soft_wrap=False)
    for line in screen.lines(report):
        console.print(line, markup=False, soft_wrap=True)
    for table in screen.tables(report, most):
        console.print()
        console.print(table)
    if report.logs:
        console.print()
        console.print(screen.verdict(report), markup=False)
