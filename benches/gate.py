"""The performance gate: ``python -m benches.gate``. Exit status 0: passed; 1: failed, and the table says
what and by how much.

Two layers, because each is blind where the other sees:

1. Instruction counts (callgrind) of decode, lazy decode and encode of every frame, against ``baseline.json``. A count
   more than 3 % above its baseline fails; one more than 3 % below it asks for ``--rebaseline``. The baseline belongs
   to one toolchain; on another one the counts are divided by orjson's counts of the same run and these ratios are
   compared with the baseline's, with 10 % of margin, since compilers differ.
2. The bars of the benches, as ratios of times within one run, with 8 % of margin and three tries: a bar fails when no
   try keeps it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

from rich import box
from rich.console import Console
from rich.table import Table

from benches import decode, encode, machine, ours, peers, process
from benches.bars import Verdict, verdicts
from benches.counts import CountsUnavailable, instructions, toolchain
from benches.measure import Effort, Record
from benches.report import figure

BASELINE: Final = Path(__file__).parent / "baseline.json"
COUNT_MARGIN: Final = 0.03
RATIO_MARGIN: Final = 0.10
BAR_MARGIN: Final = 0.08
TRIES: Final = 3
_EFFORT: Final = Effort(rounds=100, slice_ns=300_000)


class Baseline(TypedDict):
    """``baseline.json``."""

    toolchain: dict[str, str]
    instructions: dict[str, int]


@dataclass(frozen=True)
class Finding:
    """One line of the gate's table."""

    what: str
    allowed: str
    found: str
    verdict: str
    failed: bool


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benches.gate", description="evcore's performance gate")
    parser.add_argument("--only", choices=("counts", "bars"), help="one of the two layers")
    parser.add_argument("--rebaseline", action="store_true", help=f"count, and make that the new {BASELINE.name}")
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 160)
    if machine.native_module() is None:
        console.print("evcore's native module is not built, so there is nothing to gate: `make build` builds it.")
        return 1
    if options.rebaseline:
        return _rebaseline(console)
    findings: list[Finding] = []
    if options.only != "bars":
        findings += _counts(console)
    if options.only != "counts":
        findings += _bars(console)
    _print(console, findings)
    return int(any(finding.failed for finding in findings))


def _rebaseline(console: Console) -> int:
    try:
        counts = instructions()
    except CountsUnavailable as error:
        console.print(str(error))
        return 1
    BASELINE.write_text(json.dumps(Baseline(toolchain=toolchain(), instructions=counts), indent=1) + "\n", "utf-8")
    console.print(f"{BASELINE.name} now holds {len(counts)} counts.")
    return 0


def _counts(console: Console) -> list[Finding]:
    if not BASELINE.exists():
        sentence = f"there is no {BASELINE.name}: --rebaseline makes it"
        return [Finding("instruction counts", "", sentence, "failed", failed=True)]
    baseline: Baseline = json.loads(BASELINE.read_text("utf-8"))
    try:
        counts = instructions()
    except CountsUnavailable as error:
        return [Finding("instruction counts", "", str(error), "failed", failed=True)]
    here = toolchain()
    other = [
        f"{name}: {here[name]}, baseline {had}" for name, had in baseline["toolchain"].items() if here[name] != had
    ]
    if other:
        console.print(
            "The baseline was counted with another toolchain, so counts are compared as shares of orjson's in the same "
            f"run. {'; '.join(other)}"
        )
    return list(compare(baseline["instructions"], counts, same_toolchain=not other))


def compare(baseline: dict[str, int], counts: dict[str, int], same_toolchain: bool) -> Iterator[Finding]:
    """One finding per case of ours; orjson's own counts are no subject of the gate."""
    margin = COUNT_MARGIN if same_toolchain else RATIO_MARGIN
    for name in dict.fromkeys([*baseline, *counts]):
        if name.endswith(f", {peers.ORJSON}"):
            continue
        if name not in baseline or name not in counts:
            lost = "baseline" if name not in baseline else "this run"
            yield Finding(name, "", f"not in {lost}", "failed: --rebaseline if that is meant", failed=True)
            continue
        had, has = float(baseline[name]), float(counts[name])
        change = has / had - 1
        if not same_toolchain:
            reference = f"{name.partition(',')[0]}, {peers.ORJSON}"
            had, has = had / baseline[reference], has / counts[reference]
            change = has / had - 1
        verdict = "ok"
        if change > margin:
            verdict = f"failed by {change - margin:.1%}"
        elif change < -margin:
            verdict = "better: --rebaseline"
        unit = "" if same_toolchain else " × orjson"
        allowed = f"{_count(had)}{unit} ± {margin:.0%}"
        yield Finding(name, allowed, f"{_count(has)}{unit} ({change:+.1%})", verdict, failed=change > margin)


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3f}"


def _bars(console: Console) -> list[Finding]:
    console.print(f"Ratios: {machine.pin()}.")
    best: dict[str, Verdict] = {}
    for _ in range(TRIES):
        for verdict in verdicts(_measure()):
            kept = best.get(verdict.bar.what)
            if kept is None or (verdict.figure > kept.figure) is verdict.bar.at_least:
                best[verdict.bar.what] = verdict
        if all(verdict.met(BAR_MARGIN) for verdict in best.values()):
            break
    return [_bar_finding(verdict) for verdict in best.values()]


def _measure() -> list[Record]:
    wanted = {ours.DECODE, ours.LAZY, peers.OCPP}
    records: list[Record] = []
    for job in decode.jobs(_EFFORT, collect=(True,), only=wanted):
        records += job.work()
    for job in encode.jobs(_EFFORT, collect=(True,), only={ours.ENCODE}):
        records += job.work()
    return records + process.imports(rounds=10)


def _bar_finding(verdict: Verdict) -> Finding:
    bar, unit = verdict.bar, verdict.bar.unit
    sign, limit = ("≥", bar.bound * (1 - BAR_MARGIN)) if bar.at_least else ("≤", bar.bound * (1 + BAR_MARGIN))
    failed = not verdict.met(BAR_MARGIN)
    word = "ok" if verdict.met() else "ok, within the margin"
    if failed:
        word = f"failed by {abs(verdict.figure / limit - 1):.1%}"
    allowed = f"{sign} {bar.bound:g}{unit} (margin: {limit:.3g})"
    return Finding(bar.what, allowed, f"{figure(verdict.figure, 3)}{unit} on {verdict.case}", word, failed)


def _print(console: Console, findings: list[Finding]) -> None:
    table = Table(box=box.SIMPLE)
    for name in ("what", "allowed", "found", ""):
        table.add_column(name)
    for finding in findings:
        style = "red" if finding.failed else None
        table.add_row(finding.what, finding.allowed, finding.found, finding.verdict, style=style)
    console.print(table)
    failed = sum(finding.failed for finding in findings)
    console.print(f"gate: {failed} of {len(findings)} failed" if failed else f"gate: all {len(findings)} passed")


if __name__ == "__main__":
    sys.exit(main())
