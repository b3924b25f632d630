"""The bus: what publishing an event costs, by how many listen, and what retained values weigh.

In: bodies of events, prepared beforehand, and subscribers. Out: microseconds an event, with the cyclic garbage
collector and without; bytes a retained topic. Everybody delivers to queues that are emptied after every two hundred
events, and what the queues hold is compared with what each subscriber must get before anything is timed.

The others put a pair of topic and body into `asyncio.Queue`s, found by `MQTTMatcher` or by going through all filters;
evcore makes an event with an id, a time and a checked topic, and counts what does not fit in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from re import compile as pattern
from re import escape
from statistics import median
from typing import Any, Final, NamedTuple, Protocol

from benches.backends import BACKENDS
from benches.measure import QUICK, Contender, Effort, Record, Timing, check_answer, race
from benches.plan import Job
from benches.process import run_python
from evcore.bus import Bus, Subscription
from evcore.bus.bodies import FirmwareProgress
from evcore.route import router_class

__all__ = ["jobs"]

NAMES: Final = {"native": "evcore Bus.publish", "pure": "evcore pure Bus.publish"}
SINKS: Final = "evcore Bus.publish, sinks"
PAHO: Final = "asyncio.Queue and paho MQTTMatcher"
LOOP: Final = "asyncio.Queue and regexes, a loop"

EVENTS: Final = 200
MANY: Final = 10_000
RETAINED: Final = 50_000

# Keeps the last values of so many topics in a fresh process and prints the bytes that are resident because of it.
_KEEP: Final = """
import gc, os
from evcore.bus import Bus
from evcore.bus.bodies import ConnectorStatus
def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
bus, kept = Bus(), {{}}
bus.publish(ConnectorStatus(station="", evse=0, connector=0, status=""))
before = resident()
for number in range({size}):
    station, connector = f"CP{{number // 4:06}}", number % 4
    {work}
print(resident() - before)
"""
_KEEPERS: Final = {
    "evcore Bus.publish": (
        "bus.publish(ConnectorStatus("
        "station=station, evse=connector, connector=1, status='Available', time='%s' % number))"
    ),
    "dict of topic to dict": (
        "kept[f'stations/{station}/connectors/{connector}/1'] = dict("
        "station=station, evse=connector, connector=1, status='Available', time='%s' % number)"
    ),
}


class _Case(NamedTuple):
    """Who subscribes: the filter of each, and which of them get an event of a station."""

    name: str
    filters: tuple[str, ...]
    hit: Callable[[int], Sequence[int]]


CASES: Final = (
    _Case("nobody listens", (), lambda _: ()),
    _Case("1 subscriber", ("#",), lambda _: (0,)),
    _Case("10 subscribers", ("#",) * 10, lambda _: range(10)),
    _Case(
        f"{MANY:,} subscribers, each of a station",
        tuple(f"stations/CP{number:05}/#" for number in range(MANY)),
        lambda station: (station,),
    ),
)


class _Bench(Protocol):
    """Something to publish with, and its queues."""

    def publish(self, body: Any) -> Any: ...

    def read(self, place: int) -> list[Any]:
        """Takes what one of its queues holds, as bodies."""

    def drop(self, place: int) -> None:
        """The same without looking."""


def jobs(effort: Effort) -> Iterator[Job]:
    """Times with the collector and without, a scan of what is retained, memory; a smoke run leaves the last two out."""
    for case in CASES:
        for collect in (True, False):
            yield Job(f"bus {case.name}", partial(_times, case, collect, effort))
    if effort.rounds > QUICK.rounds:
        yield Job("bus retained", partial(_retained, effort))
        yield Job("bus memory", _memory)


def _bodies() -> tuple[FirmwareProgress, ...]:
    step = MANY // EVENTS
    return tuple(FirmwareProgress(station=f"CP{number * step:05}", status=str(number)) for number in range(EVENTS))


class _OnBus:
    def __init__(self, backend: str, case: _Case) -> None:
        self.bus = Bus()
        self.bus._router = router_class(import_module(f"evcore._{backend}"))(share="refuse", overlaps="once")
        self.queues: list[Subscription] = [self.bus.subscribe(name, limit=2 * EVENTS) for name in case.filters]
        self.publish = self.bus.publish

    def read(self, place: int) -> list[Any]:
        async def all_of(events: Subscription) -> list[Any]:
            return [(await events.get()).body for _ in range(events.waiting)]

        return asyncio.run(all_of(self.queues[place]))

    def drop(self, place: int) -> None:
        self.queues[place]._queue._events.clear()  # type: ignore[attr-defined]


class _Sinks:
    def __init__(self, case: _Case) -> None:
        bus = Bus()
        self.lists: list[list[Any]] = [[] for _ in case.filters]
        for name, events in zip(case.filters, self.lists):
            bus.attach(name, events.append)
        self.publish = bus.publish

    def read(self, place: int) -> list[Any]:
        events, self.lists[place][:] = list(self.lists[place]), []
        return [event.body for event in events]

    def drop(self, place: int) -> None:
        self.lists[place].clear()


class _Queues:
    """`find`: a topic to the queues whose filters match."""

    def __init__(self, case: _Case, find: Callable[[_Case, list[asyncio.Queue[Any]]], Callable[[str], Any]]) -> None:
        self.queues: list[asyncio.Queue[Any]] = [asyncio.Queue(2 * EVENTS) for _ in case.filters]
        self.find = find(case, self.queues)

    def publish(self, body: Any) -> None:
        topic = f"stations/{body.station}/firmware"
        for queue in self.find(topic):
            queue.put_nowait((topic, body))

    def read(self, place: int) -> list[Any]:
        queue = self.queues[place]
        return [queue.get_nowait()[1] for _ in range(queue.qsize())]

    def drop(self, place: int) -> None:
        self.queues[place]._queue.clear()  # type: ignore[attr-defined]


def _paho(case: _Case, queues: list[asyncio.Queue[Any]]) -> Callable[[str], Any]:
    matcher = import_module("paho.mqtt.matcher").MQTTMatcher()
    under: dict[str, list[asyncio.Queue[Any]]] = {}
    for name, queue in zip(case.filters, queues):
        under.setdefault(name, []).append(queue)
    for name, found in under.items():
        matcher[name] = found
    return lambda topic: [queue for found in matcher.iter_match(topic) for queue in found]


def _loop(case: _Case, queues: list[asyncio.Queue[Any]]) -> Callable[[str], Any]:
    known = [
        (pattern(escape(name.removesuffix("/#")) + "(?:/.*)?" if name != "#" else ".*").fullmatch, queue)
        for name, queue in zip(case.filters, queues)
    ]
    return lambda topic: [queue for match, queue in known if match(topic)]


def _benches(case: _Case) -> dict[str, tuple[_Bench, int]]:
    """Each with how many events it publishes in one timed call; the first is the reference."""
    found: dict[str, tuple[_Bench, int]] = {}
    if find_spec("paho"):
        found[PAHO] = _Queues(case, _paho), EVENTS
    # Ten thousand comparisons an event.
    found[LOOP] = _Queues(case, _loop), EVENTS if len(case.filters) < MANY else 2
    for backend in BACKENDS:
        found[NAMES[backend]] = _OnBus(backend, case), EVENTS
    found[SINKS] = _Sinks(case), EVENTS
    return found


def _contender(name: str, bench: _Bench, events: int, case: _Case, timed: bool) -> Contender:
    stations = [int(body.station[2:]) for body in _bodies()[:events]]
    touched = sorted({place for station in stations for place in case.hit(station)})

    def run(bodies: Sequence[Any]) -> dict[str, list[str]]:
        for body in bodies:
            bench.publish(body)
        return {str(place): [body.status for body in bench.read(place)] for place in range(len(case.filters))}

    def drop(bodies: Sequence[Any]) -> None:
        for body in bodies:
            bench.publish(body)
        for place in touched:
            bench.drop(place)

    return Contender(name, drop if timed else run, lambda bodies: bodies[:events])


def _truth(case: _Case, bodies: Sequence[Any]) -> dict[str, list[str]]:
    truth: dict[str, list[str]] = {str(place): [] for place in range(len(case.filters))}
    for body in bodies:
        for place in case.hit(int(body.station[2:])):
            truth[str(place)].append(body.status)
    return truth


def _times(case: _Case, collect: bool, effort: Effort) -> list[Record]:
    bodies = _bodies()
    benches = _benches(case)
    for name, (bench, events) in benches.items():
        check_answer(_contender(name, bench, events, case, timed=False), bodies, _truth(case, bodies[:events]))
    contenders = [_contender(name, bench, events, case, timed=True) for name, (bench, events) in benches.items()]
    # Slices that hold several calls, for a call is two hundred events.
    slices = Effort(max(2, effort.rounds // 4), effort.slice_ns * 10)
    raced = race(contenders, bodies, slices, collect)
    timings = [
        Timing({turn: sample / events / 1000 for turn, sample in timing.samples.items()})
        for timing, (_, events) in zip(raced, benches.values())
    ]
    return [
        _record(case.name, name, "µs", timing.best, timing.median, collect, timing.over(timings[0]))
        for name, timing in zip(benches, timings)
    ]


def _retained(effort: Effort) -> list[Record]:
    """Keeping the last value, and asking for those of one station among all."""
    bodies = import_module("evcore.bus.bodies")
    bus = Bus()
    stations = [f"CP{number:06}" for number in range(RETAINED // 4)]
    states = [
        bodies.ConnectorStatus(station=station, evse=evse, connector=1, status="Available")
        for station in stations
        for evse in range(4)
    ]
    for body in states:
        bus.publish(body)
    some = states[:: len(states) // EVENTS]

    def keep(given: Sequence[Any]) -> None:
        for body in given:
            bus.publish(body)

    last = Contender("last", lambda _: [event.body.evse for event in bus.last("stations/CP000007/connectors/+/1")])
    check_answer(last, None, [0, 1, 2, 3])
    slices = Effort(max(2, effort.rounds // 4), effort.slice_ns * 10)
    kept = race([Contender("keep", keep)], some, slices)[0]
    asked = race([last], None, slices)[0]
    name = NAMES[BACKENDS[0]]
    return [
        _record(
            f"{RETAINED:,} retained, one renewed",
            name,
            "µs",
            kept.best / len(some) / 1000,
            kept.median / len(some) / 1000,
        ),
        _record(f"{RETAINED:,} retained, last of a station", name, "µs", asked.best / 1000, asked.median / 1000),
    ]


def _memory() -> list[Record]:
    """Nothing where there is no /proc to ask."""
    if not Path("/proc/self/statm").exists():
        return []
    found = []
    for name, work in _KEEPERS.items():
        figures = [int(run_python(_KEEP.format(size=RETAINED, work=work))) / RETAINED for _ in range(2)]
        found.append(_record(f"{RETAINED:,} retained, memory", name, "B", min(figures), median(figures)))
    return found


def _record(
    case: str, name: str, unit: str, best: float, middle: float, collect: bool = True, ratio: float = 1.0
) -> Record:
    return Record(
        bench="bus",
        case=case,
        variant="plain",
        contender=name,
        judges="",
        gc=collect,
        unit=unit,
        best=best,
        median=middle,
        ratio=ratio,
        best_ratio=ratio,
    )
