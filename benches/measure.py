"""The clock: interleaved rounds of several contenders in one process, each answer checked before it is timed.

In: contenders and the argument they are called with. Out: `Timing` per contender, in nanoseconds and as a ratio to
the first one. Every round gives each contender one slice of time, so the machine's moods reach all alike; the order
rotates, so nobody always runs after the same neighbour. The result of a call is dropped inside the loop: freeing it
is part of the price, and so is the call from Python.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from statistics import median
from time import perf_counter_ns
from typing import Any, TypedDict


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
    samples: tuple[float, ...]

    @property
    def best(self) -> float:
        return min(self.samples)

    @property
    def median(self) -> float:
        return median(self.samples)


@dataclass(frozen=True)
class Effort:
    """How long to look: `rounds` slices of `slice_ns` for every contender."""

    rounds: int
    slice_ns: int


FULL = Effort(rounds=40, slice_ns=1_500_000)
QUICK = Effort(rounds=2, slice_ns=20_000)


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
    runners = [(contender.call, contender.takes(argument)) for contender in contenders]
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    try:
        (gc.enable if collect else gc.disable)()
        times = [_times_per_slice(call, own, effort.slice_ns) for call, own in runners]
        samples: list[list[float]] = [[] for _ in runners]
        for turn in range(effort.rounds):
            for place in range(len(runners)):
                index = (place + turn) % len(runners)
                samples[index].append(_spend(*runners[index], times[index]))
    finally:
        (gc.enable if was_enabled else gc.disable)()
        gc.unfreeze()
    return [Timing(tuple(found)) for found in samples]


def _spend(call: Callable[[Any], Any], argument: Any, times: int) -> float:
    start = perf_counter_ns()
    for _ in repeat(None, times):
        call(argument)
    return (perf_counter_ns() - start) / times


def _times_per_slice(call: Callable[[Any], Any], argument: Any, slice_ns: int) -> int:
    once = min(_spend(call, argument, 1) for _ in range(3))
    return max(1, round(slice_ns / max(once, 1.0)))


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
            ratio=median(a / b for a, b in zip(timing.samples, reference.samples, strict=True)),
            best_ratio=timing.best / reference.best,
        )
        for contender, timing in zip(contenders, timings, strict=True)
    ]
