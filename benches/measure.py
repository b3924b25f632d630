"""The clock: interleaved rounds of several contenders in one process, each answer checked before it is timed.

In: contenders and the argument they are called with. Out: `Timing` per contender, in nanoseconds and as a ratio to
the first one. Every round gives each contender one slice of time, so the machine's moods reach all alike; the order
is drawn anew, and a tenth of a slice is run before the clock starts, so nobody pays for the caches its neighbour left
behind. The result of a call is dropped inside the loop: freeing it
is part of the price, and so is the call from Python.
"""

from __future__ import annotations

import gc
import json
import random
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from statistics import median
from time import get_clock_info, perf_counter_ns, thread_time_ns
from typing import Any, Final, TypedDict


class WrongAnswer(AssertionError):
    """A contender gives another answer than stdlib json, or lets an invalid frame pass that it claims to judge."""


@dataclass(frozen=True)
class Contender:
    """One way to do the job."""

    name: str
    call: Callable[[Any], Any]
    """What is timed."""
    takes: Callable[[Any], Any] = lambda argument: argument
    """Makes the argument of `call` from the one all get; not timed."""
    judges: str = "no"
    """What of the schema it judges, in the words of the table: ``no``, ``yes``, or what is left out."""
    answer: Callable[[Any], Any] = lambda result: result
    """Turns a result into the value to compare with the truth; not timed."""
    refuses: tuple[type[BaseException], ...] = ()
    """What a judging contender raises on an invalid frame."""
    ordered: bool = True
    """Members come in document order; False where a type's order takes its place."""


class Record(TypedDict):
    """One measured cell; what the JSON file is made of."""

    bench: str
    case: str
    """Frame, version or package the cell is about."""
    variant: str
    contender: str
    judges: str
    gc: bool
    unit: str
    best: float
    median: float
    ratio: float
    """Median over the rounds of (this / the reference in the same round): a machine that slows down for a while slows
    both."""
    best_ratio: float
    """Best over the reference's best."""


@dataclass(frozen=True)
class Timing:
    """What one contender took per call, by round."""

    samples: dict[int, float]

    @property
    def best(self) -> float:
        return min(self.samples.values())

    @property
    def median(self) -> float:
        return median(self.samples.values())

    def over(self, reference: Timing) -> float:
        """Median of the ratios to `reference`, each within one round."""
        return median(sample / reference.samples[turn] for turn, sample in self.samples.items())


@dataclass(frozen=True)
class Effort:
    """How long to look: `rounds` slices of `slice_ns` for every contender."""

    rounds: int
    slice_ns: int


FULL: Final = Effort(rounds=200, slice_ns=300_000)
QUICK: Final = Effort(rounds=2, slice_ns=20_000)

# CPU time of this thread, where the clock is fine enough: what another process takes of the CPU is not counted.
_now: Final = thread_time_ns if get_clock_info("thread_time").resolution < 1e-6 else perf_counter_ns


def same(left: Any, right: Any, ordered: bool = True) -> bool:
    """Equal in value, type and (unless `ordered` is False) order of members: 1, 1.0 and True are three things."""
    return json.dumps(left, sort_keys=not ordered) == json.dumps(right, sort_keys=not ordered)


def check_answer(contender: Contender, argument: Any, truth: Any) -> None:
    """Raise WrongAnswer unless `contender` makes `truth` of `argument`."""
    got = contender.answer(contender.call(contender.takes(argument)))
    if not same(got, truth, contender.ordered):
        raise WrongAnswer(f"{contender.name} answers {str(got)[:200]!r} instead of {str(truth)[:200]!r}")


def check_refusal(contender: Contender, argument: Any) -> None:
    """Raise WrongAnswer unless `contender` refuses `argument` in the way it says."""
    argument = contender.takes(argument)
    try:
        contender.call(argument)
    except contender.refuses:
        return
    raise WrongAnswer(f"{contender.name} says it judges and lets an invalid frame pass: {str(argument)[:200]!r}")


def refusing(contender: Contender) -> Contender:
    """The same contender expecting to be refused and dropping the error, as a server does after answering."""
    call, expected = contender.call, contender.refuses

    def refused(argument: Any) -> None:
        # contextlib.suppress would be timed too.
        try:
            call(argument)
        except expected:
            return

    return replace(contender, call=refused)


def chosen(contenders: Sequence[Contender], only: Container[str] | None) -> list[Contender]:
    """The reference (the first) and those named in `only`; all of them when it is None."""
    reference, *others = contenders
    return [reference, *(contender for contender in others if only is None or contender.name in only)]


def race(contenders: Sequence[Contender], argument: Any, effort: Effort, collect: bool = True) -> list[Timing]:
    """Time `contenders` on `argument` in interleaved rounds; `collect`: with the cyclic garbage collector on."""
    runners = [_Runner(contender.call, contender.takes(argument), effort) for contender in contenders]
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    try:
        (gc.enable if collect else gc.disable)()
        order, dice = list(runners), random.Random(effort.rounds)
        for turn in range(effort.rounds):
            dice.shuffle(order)
            for runner in order:
                runner.run(turn)
    finally:
        (gc.enable if was_enabled else gc.disable)()
        gc.unfreeze()
    return [Timing(runner.samples) for runner in runners]


class _Runner:
    """One contender in its race: how many calls fill a slice, and in which rounds it takes part."""

    def __init__(self, call: Callable[[Any], Any], argument: Any, effort: Effort) -> None:
        self.call = call
        self.argument = argument
        once = min(self._spend(1) for _ in range(3))
        self.times = max(1, round(effort.slice_ns / max(once, 1.0)))
        # A call longer than its slice sits out rounds, down to twenty samples.
        self.stride = max(1, min(round(once / effort.slice_ns), effort.rounds // 20))
        self.samples: dict[int, float] = {}

    def run(self, turn: int) -> None:
        if turn % self.stride:
            return
        # Whoever ran before has left the caches full of its own.
        self._spend(self.times // 10)
        self.samples[turn] = self._spend(self.times)

    def _spend(self, times: int) -> float:
        call, argument = self.call, self.argument
        start = _now()
        for _ in repeat(None, times):
            call(argument)
        return (_now() - start) / max(1, times)


def records(
    bench: str, case: str, variant: str, contenders: Sequence[Contender], timings: Sequence[Timing], collect: bool
) -> list[Record]:
    """The cells of one race; the first contender is the reference of the ratios."""
    reference = timings[0]
    return [
        Record(
            bench=bench,
            case=case,
            variant=variant,
            contender=contender.name,
            judges=contender.judges,
            gc=collect,
            unit="ns",
            best=timing.best,
            median=timing.median,
            ratio=timing.over(reference),
            best_ratio=timing.best / reference.best,
        )
        for contender, timing in zip(contenders, timings, strict=True)
    ]
