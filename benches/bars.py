"""The bars: what the figures of a run are held against. The table prints them, the gate enforces them with a margin.

In: the records of a run. Out: a `Verdict` per bar, its figure taken from the worst frame the bar is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from benches.measure import Record
from benches.ours import DECODE, ENCODE, IMPORT, LAZY
from benches.peers import OCPP
from benches.route import MATCH, PAHO


@dataclass(frozen=True)
class Bar:
    """One promise about a figure."""

    what: str
    bench: str
    contender: str
    bound: float
    cases: tuple[str, ...] = ()
    """Frames it is about; all of them when empty."""
    over: str | None = None
    """A contender: the figure is how many times faster than this one. None: the ratio to the bench's reference."""
    unit: str = "×"

    @property
    def at_least(self) -> bool:
        return self.over is not None


@dataclass(frozen=True)
class Verdict:
    bar: Bar
    figure: float
    case: str
    """Where the figure comes from: the worst of the bar's frames."""

    def met(self, margin: float = 0.0) -> bool:
        """Whether the figure keeps the bar, or misses it by no more than `margin` (a share of the bound)."""
        if self.bar.at_least:
            return self.figure >= self.bar.bound * (1 - margin)
        return self.figure <= self.bar.bound * (1 + margin)


ONE_OF_MANY: Final = ("100,000 filters, hit", "100,000 filters, miss")

BARS: Final = (
    Bar("decode and judge, against orjson.loads", "decode", DECODE, 0.70, ("MeterValues", "TransactionEvent")),
    Bar("decode and judge, every frame", "decode", DECODE, 1.0),
    Bar("judged, payload not built", "decode", LAZY, 0.30, ("MeterValues",)),
    Bar("judge and encode, against orjson.dumps, every frame", "encode", ENCODE, 1.3),
    Bar("times faster than ocpp", "decode", DECODE, 200, ("MeterValues", "TransactionEvent"), over=OCPP),
    Bar("a topic among 100,000 filters", "route", MATCH, 0.5, ONE_OF_MANY, unit=" µs"),
    Bar("the same, times faster than paho", "route", MATCH, 6, ONE_OF_MANY, over=PAHO),
    Bar("import evcore, over an empty Python", "import", IMPORT, 40, unit=" ms"),
)


def verdicts(records: Iterable[Record]) -> list[Verdict]:
    """The verdict on every bar that `records` have the figures for."""
    counted = [record for record in records if record["gc"] and record["variant"] == "plain"]
    found = []
    for bar in BARS:
        figures = _figures(bar, counted)
        if figures:
            worst = (min if bar.at_least else max)(figures)
            found.append(Verdict(bar, *worst))
    return found


def _figures(bar: Bar, records: Sequence[Record]) -> list[tuple[float, str]]:
    ours = {r["case"]: r for r in records if r["bench"] == bar.bench and r["contender"] == bar.contender}
    theirs = {r["case"]: r for r in records if r["bench"] == bar.bench and r["contender"] == bar.over}
    found = []
    for case, record in ours.items():
        if bar.cases and case not in bar.cases:
            continue
        if bar.unit in (" ms", " µs"):
            found.append((record["best"], case))
        elif bar.over is None:
            found.append((record["ratio"], case))
        elif case in theirs:
            found.append((theirs[case]["ratio"] / record["ratio"], case))
    return found
