"""Ways to run simulated stations: one with lines for people, a few beside a server, many in several processes.

In: plans. Out: a tally. Raised: ConnectError where a single station finds no CSMS or loses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import multiprocessing
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import Any, Final

from evcore.net.engine import ConnectError, Engine, EngineName, load
from evcore.sim.fleet import VERSIONS, Credentials, Fleet, FleetPlan
from evcore.sim.scenario import Arrivals, Scenario
from evcore.sim.stats import Tally

__all__ = ["VERSIONS", "Plan", "fleet_identity", "play", "simulate", "simulate_fleet"]

log = logging.getLogger("evcore.sim")

#: One station for people to watch: a car comes soon, charges until it is done, and goes.
_ONE: Final = Scenario(name="one", duration=0, arrivals=Arrivals(within=(2.0, 20.0), visits=1))
_LOOP: Final = Scenario(name="loop", duration=1e9, arrivals=Arrivals(within=(30.0, 240.0), busy=1.0))

#: Objects made between two looks of the garbage collector while a fleet runs.
_YOUNG: Final = 50_000
#: Real seconds between two reports of a process to the one that shows them.
_REPORT_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Plan:
    """One station: endpoint URL of the CSMS without the identity, identity, OCPP version without the word ocpp."""

    url: str
    identity: str
    version: str
    seed: int | None = None
    speed: float = 60.0
    loop: bool = False
    start: float | None = None
    quirks: tuple[str, ...] = ()
    credentials: Credentials = field(default_factory=Credentials)
    sources: tuple[str, ...] = ()


async def simulate(plan: Plan, engine: Engine, say: Callable[[str], None]) -> Tally:
    """Connects, plays one charge (or one after the other, until cancelled), disconnects. Raises ConnectError.

    `say` gets a line for each thing that happens.
    """
    fleet_plan = FleetPlan(
        plan.url,
        _LOOP if plan.loop else _ONE,
        plan.version,
        identity=plan.identity.replace("{", "{{").replace("}", "}}"),
        seed=time.time_ns() if plan.seed is None else plan.seed,
        speed=plan.speed,
        start=plan.start,
        quirks=plan.quirks,
        credentials=plan.credentials,
        sources=plan.sources,
        once=True,
    )
    return await Fleet(fleet_plan, engine, say).run()


async def simulate_fleet(count: int, url: str, engine: Engine, *, speed: float) -> None:
    """`count` stations of the three versions in turn, for ever; each reconnects when it loses its connection."""
    say = log.debug if log.isEnabledFor(logging.DEBUG) else None
    async with asyncio.TaskGroup() as running:
        for index, version in enumerate(VERSIONS):
            plan = FleetPlan(
                url, _LOOP, version, count, index, len(VERSIONS), "SIM-{number:03d}", speed=speed, duration=float("inf")
            )
            if index < count:
                running.create_task(Fleet(plan, engine, say).run())


def fleet_identity(number: int) -> str:
    """The identity of the n-th station of `simulate_fleet`, counted from 0."""
    return f"SIM-{number + 1:03d}"


# -- many stations ----------------------------------------------------------------------------------------------------


async def play(
    plan: FleetPlan, engine: EngineName, processes: int, show: Callable[[Tally], None], stop: asyncio.Event
) -> Tally:
    """Runs a fleet in this process, or divided between several, until its end or until `stop` is set.

    `show` gets the tally several times a second. Raises ConnectError.
    """
    if processes > 1:
        return await asyncio.get_running_loop().run_in_executor(None, _divide, plan, engine, processes, show, stop)
    return await _run(plan, load(engine), show, stop)


async def _run(plan: FleetPlan, engine: Engine, show: Callable[[Tally], None], stop: asyncio.Event) -> Tally:
    fleet = Fleet(plan, engine)
    # What there is now stays until the end: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    thresholds = gc.get_threshold()
    # What a message leaves behind is free of cycles.
    gc.set_threshold(_YOUNG, *thresholds[1:])
    running = asyncio.ensure_future(fleet.run())
    stopping = asyncio.ensure_future(stop.wait())
    try:
        while not running.done() and not stop.is_set():
            await asyncio.wait((running, stopping), timeout=_REPORT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            show(fleet.tally)
        if not running.done():
            fleet.stop()
        return await running
    finally:
        stopping.cancel()
        running.cancel()
        await asyncio.gather(running, stopping, return_exceptions=True)
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        show(fleet.tally)


def _divide(
    plan: FleetPlan, engine: EngineName, processes: int, show: Callable[[Tally], None], stop: asyncio.Event
) -> Tally:
    context = multiprocessing.get_context("spawn")
    pipes: list[Connection] = []
    children = []
    for index in range(processes):
        ours, theirs = context.Pipe()
        part = replace(plan, first=index, step=processes, start=plan.start or float(int(time.time())))
        child = context.Process(target=_child, args=(part, engine, theirs), daemon=True)
        child.start()
        theirs.close()
        pipes.append(ours)
        children.append(child)
    tallies: dict[Connection, Tally] = {}
    waiting, stopped = set(pipes), False
    failure: str | None = None
    while waiting:
        for pipe in wait(list(waiting), timeout=_REPORT_SECONDS):
            assert isinstance(pipe, Connection)
            try:
                report: Any = pipe.recv()
            except (EOFError, ConnectionResetError):
                waiting.discard(pipe)
                continue
            if isinstance(report, str):
                failure = failure or report
            else:
                tallies[pipe] = report
        show(_sum(tallies))
        if stop.is_set() and not stopped:
            stopped = True
            for pipe in waiting:
                # One that ends by itself at this moment needs no telling.
                with contextlib.suppress(OSError):
                    pipe.send("stop")
    for child in children:
        child.join()
    if failure is None and any(child.exitcode for child in children):
        failure = "a simulating process ended by itself"
    if failure is not None:
        raise ConnectError(failure)
    return _sum(tallies)


def _sum(tallies: dict[Connection, Tally]) -> Tally:
    merged = Tally()
    for tally in tallies.values():
        merged.merge(tally)
    return merged


def _child(plan: FleetPlan, engine: EngineName, pipe: Connection) -> None:
    """A process of its own: a part of the fleet. Interrupts are for the parent, which passes them on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from evcore.sim.loop import runner

    async def main() -> None:
        stop = asyncio.Event()
        last = 0.0

        def show(tally: Tally) -> None:
            nonlocal last
            if pipe.poll():
                stop.set()
            if time.monotonic() - last > _REPORT_SECONDS:
                last = time.monotonic()
                pipe.send(tally)

        pipe.send(await _run(plan, load(engine), show, stop))

    try:
        with runner() as running:
            running.run(main())
    except (ConnectError, OSError) as error:
        pipe.send(str(error))
    finally:
        pipe.close()
