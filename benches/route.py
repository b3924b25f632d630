"""The router: topics to the values of the filters that match them, against other matchers; and the memory of filters.

In: filters of charging stations, four topics for each, and topics drawn at random. Out: microseconds a topic and bytes
a filter. Every contender's answers are compared with those of a comparison level by level before it is timed. A fast
contender goes through a thousand topics in one timed call, so that its memory is not all in the nearest cache; a loop
over all filters, which takes that long for one topic, goes through as many as it can.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from benches.backends import BACKENDS
from benches.measure import QUICK, Contender, Effort, Record, Timing, check_answer, race
from benches.plan import Job
from benches.process import run_python
from evcore.route import router_class

MATCH: Final = "evcore Router.match"
MANY: Final = "evcore Router.match_many"
PURE: Final = "evcore pure Router.match"
PAHO: Final = "paho MQTTMatcher"
AIOMQTT: Final = "aiomqtt Topic.matches, a loop"
REGEX: Final = "compiled regexes, a loop"

SIZES: Final = (10, 1_000, 100_000)
MILLION: Final = 1_000_000
KINDS: Final = ("status", "metrics", "events", "command")
WILD: Final = ("#", "+/#", "+/+/#", "+/+/+", "chargers/#", "chargers/+/#", "chargers/+/+")
TOPICS: Final = 1_000
LOOKS: Final = 20_000
"""How many filters a loop may look at in one timed call."""

# Fills a matcher in a fresh process and prints the bytes that are resident because of it.
_FILL: Final = """
import gc, os
from benches.route import filters
def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
{setup}
names = list(filters({size}))
before = resident()
for name in names:
    {work}
print(resident() - before)
"""
_FILLS: Final = {
    PAHO: ("from paho.mqtt.matcher import MQTTMatcher; kept = MQTTMatcher()", "kept[name] = None"),
    **{
        name: (
            f"from evcore import _{backend} as backend, route; kept = route.router_class(backend)()",
            "kept.add(name, None)",
        )
        for backend, name in (("native", MATCH), ("pure", PURE))
        if backend in BACKENDS
    },
}


def jobs(effort: Effort) -> Iterator[Job]:
    """Times by number of filters and kind of topic, and memory; a smoke run leaves the large one out."""
    for size in SIZES if effort.rounds > QUICK.rounds else SIZES[:-1]:
        yield from _jobs(size, effort)


def million_jobs(effort: Effort) -> Iterator[Job]:
    """The same with a million filters, for the two that are meant for so many."""
    yield from _jobs(MILLION, effort)


def filters(size: int) -> Iterator[str]:
    """The filters of this many topics."""
    return (f"chargers/CP{index // 4:06}/{KINDS[index % 4]}" for index in range(size))


def _jobs(size: int, effort: Effort) -> Iterator[Job]:
    for kind in ("hit", "miss", "overlapping"):
        yield Job(f"route {size:,} filters, {kind}", partial(_times, size, kind, effort))
    if size >= SIZES[-1]:
        yield Job(f"route {size:,} filters, memory", partial(_memory, size))


def _topics(size: int, kind: str) -> tuple[str, ...]:
    dice = random.Random(size)
    stations = -(-size // 4)
    first = stations if kind == "miss" else 0
    return tuple(
        f"chargers/CP{first + dice.randrange(stations):06}/{dice.choice(KINDS[: min(4, size)])}" for _ in range(TOPICS)
    )


def _fits(name: str, topic: str) -> bool:
    """Level by level; there are no ``$`` topics here."""
    wanted, levels = name.split("/"), topic.split("/")
    if wanted[-1] == "#":
        del wanted[-1]
        del levels[len(wanted) :]
    return len(wanted) == len(levels) and all(want in ("+", level) for want, level in zip(wanted, levels))


def _truth(size: int, kind: str, topics: Sequence[str]) -> list[list[str]]:
    known = set(filters(size))
    wild = WILD if kind == "overlapping" else ()
    return [sorted([name for name in wild if _fits(name, topic)] + [topic] * (topic in known)) for topic in topics]


class _Matcher(NamedTuple):
    """One way to match topics."""

    name: str
    call: Callable[[Any], Any]
    """One topic to its values; for `MANY` all topics."""
    takes: Callable[[str], Any] = str
    """Makes what `call` wants of a topic; not timed."""
    topics: int = TOPICS
    """How many topics it goes through in one timed call."""

    def contender(self, timed: bool) -> Contender:
        """Goes through its topics; `timed`: drops each result, as a program does that is through with a message."""
        call, name = self.call, self.name

        def run(topics: Sequence[Any]) -> list[Any]:
            return [call(topic) for topic in topics]

        def drop(topics: Sequence[Any]) -> None:
            for topic in topics:
                call(topic)

        def takes(topics: Sequence[str]) -> tuple[Any, ...]:
            return tuple(map(self.takes, topics[: self.topics]))

        whole = call if name == MANY else drop if timed else run
        return Contender(name, whole, takes, answer=lambda lists: [sorted(found) for found in lists])


def _matchers(names: Sequence[str]) -> list[_Matcher]:
    """All there are, the reference first, each with these filters."""
    found = []
    if find_spec("paho"):
        matcher = import_module("paho.mqtt.matcher").MQTTMatcher()
        for name in names:
            matcher[name] = name
        found.append(_Matcher(PAHO, lambda topic: list(matcher.iter_match(topic))))
    for backend in BACKENDS:
        if backend == "pure" and len(names) >= MILLION:
            continue
        router = router_class(import_module(f"evcore._{backend}"))()
        for name in names:
            router.add(name, name)
        if backend == "native":
            found += [_Matcher(MATCH, router.match), _Matcher(MANY, router.match_many)]
        else:
            found.append(_Matcher(PURE, router.match))
    if len(names) >= MILLION:
        return found
    few = max(1, min(TOPICS, LOOKS // len(names)))
    if find_spec("aiomqtt"):
        topic_class = import_module("aiomqtt").Topic
        loop = _Matcher(AIOMQTT, lambda topic: [name for name in names if topic.matches(name)], topic_class, few)
        found.append(loop)
    matches = [(_regex(name).fullmatch, name) for name in names]
    found.append(_Matcher(REGEX, lambda topic: [name for match, name in matches if match(topic)], topics=few))
    return found


@lru_cache(SIZES[-1] + len(WILD))
def _regex(name: str) -> re.Pattern[str]:
    """What one would write by hand."""
    levels = name.split("/")
    rest = levels[-1] == "#"
    text = "/".join("[^/]*" if level == "+" else re.escape(level) for level in levels[: len(levels) - rest])
    return re.compile((f"{text}(?:/.*)?" if text else ".*") if rest else text, re.DOTALL)


def _times(size: int, kind: str, effort: Effort) -> list[Record]:
    topics = _topics(size, kind)
    truth = _truth(size, kind, topics)
    names = [*filters(size), *(WILD if kind == "overlapping" else ())]
    matchers = _matchers(names)
    for matcher in matchers:
        check_answer(matcher.contender(timed=False), topics, truth[: matcher.topics])
    # Slices that hold several calls, for a call is a thousand topics.
    slices = Effort(max(2, effort.rounds // 4), effort.slice_ns * 20)
    raced = race([matcher.contender(timed=True) for matcher in matchers], topics, slices)
    timings = [
        Timing({turn: sample / matcher.topics / 1000 for turn, sample in timing.samples.items()})
        for timing, matcher in zip(raced, matchers)
    ]
    return [
        Record(
            bench="route",
            case=f"{size:,} filters, {kind}",
            variant="plain",
            contender=matcher.name,
            judges="",
            gc=True,
            unit="µs",
            best=timing.best,
            median=timing.median,
            ratio=timing.over(timings[0]),
            best_ratio=timing.best / timings[0].best,
        )
        for matcher, timing in zip(matchers, timings)
    ]


def _memory(size: int) -> list[Record]:
    """Nothing where there is no /proc to ask."""
    if not Path("/proc/self/statm").exists():
        return []
    found = []
    for name, (setup, work) in _FILLS.items():
        if (name == PAHO and not find_spec("paho")) or (name == PURE and size >= MILLION):
            continue
        figures = [int(run_python(_FILL.format(setup=setup, work=work, size=size))) / size for _ in range(2)]
        found.append(
            Record(
                bench="route",
                case=f"{size:,} filters, memory",
                variant="memory",
                contender=name,
                judges="",
                gc=True,
                unit="B",
                best=min(figures),
                median=median(figures),
                ratio=1.0,
                best_ratio=1.0,
            )
        )
    return found
