"""``python -m benches``: run the benches, print the tables, keep the figures."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benches import bus, check, decode, encode, log, machine, process, report, route
from benches.measure import FULL, QUICK, Effort, Record
from benches.plan import Job

HERE: Final = Path(__file__).parent
LATEST: Final = HERE / "out" / "latest.json"
BENCHES: Final[dict[str, Callable[[Effort], Iterator[Job]]]] = {
    "decode": decode.jobs,
    "variants": decode.variant_jobs,
    "refuse": decode.refusal_jobs,
    "encode": encode.jobs,
    "check": check.jobs,
    "log": log.jobs,
    "route": route.jobs,
    "bus": bus.jobs,
    "route-million": route.million_jobs,
    "import": process.import_jobs,
    "memory": process.memory_jobs,
}
ON_DEMAND: Final = {"route-million"}
"""Takes minutes and gigabytes: only with ``--only``."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benches", description=__doc__)
    parser.add_argument("--only", action="append", choices=BENCHES, help="run this bench alone; may be repeated")
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run: every answer checked, no figure worth reading"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument(
        "--markdown",
        type=Path,
        nargs="?",
        const=HERE / "README.md",
        metavar="FILE",
        help="measure nothing: paste the tables of the last `--json` run (benches/out/latest.json, or the file given "
        "with --json) between the `bench:` markers of FILE (benches/README.md)",
    )
    options = parser.parse_args(arguments)
    if options.markdown:
        return _paste(options.json or LATEST, options.markdown)

    document = run(
        options.only or [name for name in BENCHES if name not in ON_DEMAND], QUICK if options.quick else FULL
    )
    console = Console(width=None if sys.stdout.isatty() else 200)
    for table in reversed(report.tables(document)):
        console.print(report.rich_table(table))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
        console.print(f"figures written to {options.json}")
    return 0


def run(names: list[str], effort: Effort) -> report.Document:
    """Run the benches of these names, with a progress bar on standard error."""
    pinned = machine.pin()
    jobs = [job for name in names for job in BENCHES[name](effort)]
    records: list[Record] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Drawn by hand: a thread that redraws the bar would wake up inside somebody's slice.
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as progress:
        task = progress.add_task("", total=len(jobs))
        for job in jobs:
            progress.update(task, description=job.label, refresh=True)
            records += job.work()
            progress.advance(task)
    return report.Document(
        when=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=machine.machine(pinned),
        versions=machine.versions(),
        effort={"rounds": effort.rounds, "slice_ns": effort.slice_ns},
        records=records,
    )


def _paste(source: Path, target: Path) -> int:
    if not source.exists():
        print(f"{source} is not there: `python -m benches --json {source}` writes it", file=sys.stderr)
        return 1
    done = report.paste(json.loads(source.read_text("utf-8")), target)
    print(f"{target}: {', '.join(done) or 'no marker'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
