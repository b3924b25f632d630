"""Runs simulated stations against a CSMS."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from evcore import Codec
from evcore.endpoint import Endpoint, Event, Fault, Memory
from evcore.net.client import connect
from evcore.net.connection import CallFailed
from evcore.net.engine import ConnectError, Engine
from evcore.sim.dialect import Dialect
from evcore.sim.station import BootRefused, SimulatedStation, Tally
from evcore.sim.v2 import V21, V201
from evcore.sim.v16 import V16

__all__ = ["VERSIONS", "Plan", "simulate", "simulate_fleet"]

log = logging.getLogger("evcore.sim")

VERSIONS: Final[dict[str, type[Dialect]]] = {"1.6": V16, "2.0.1": V201, "2.1": V21}

#: Seconds until a station that lost its connection tries again.
RECONNECT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One station: endpoint URL of the CSMS without the identity, identity, OCPP version without the word ocpp."""

    url: str
    identity: str
    version: str
    seed: int | None = None
    speed: float = 60.0
    loop: bool = False


class _Quiet:
    """The station's observer: counts nothing, reports what it could not understand."""

    def __init__(self, station: SimulatedStation) -> None:
        self._station = station

    def received(self, frame: bytes) -> None:
        """The scenario says what matters."""

    def sent(self, frame: bytes) -> None:
        """The scenario says what matters."""

    def happened(self, event: Event) -> None:
        if isinstance(event, Fault):
            self._station.say(f"got a message it cannot accept: {event.error}")


async def simulate(plan: Plan, engine: Engine, say: Callable[[str], None]) -> Tally:
    """Connects, plays the scenario, disconnects. Raises ConnectError, CallFailed, BootRefused.

    `say` gets a line for each thing that happens.
    """
    dialect = VERSIONS[plan.version]()
    station = SimulatedStation(plan.identity, dialect, seed=plan.seed, speed=plan.speed, say=say)
    endpoint = Endpoint(Codec(dialect.version), memory=Memory())
    connection = await connect(engine, plan.url, plan.identity, endpoint, dialect.table, station, _Quiet(station))
    station.connection = connection
    station.say(f"is connected to {plan.url}, {dialect.version}")
    running = asyncio.ensure_future(station.run(loop=plan.loop))
    ended = asyncio.ensure_future(connection.ended())
    try:
        await asyncio.wait((running, ended), return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            raise ConnectError(f"the CSMS closed the connection of {plan.identity}")
        running.result()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        connection.close(1000)
        await asyncio.wait((ended,), timeout=3)
        ended.cancel()
    return station.tally


async def simulate_fleet(count: int, url: str, engine: Engine, *, speed: float) -> None:
    """`count` stations of the three versions in turn, for ever; each reconnects when it loses its connection."""

    async def live(number: int) -> None:
        version = tuple(VERSIONS)[number % len(VERSIONS)]
        plan = Plan(url, fleet_identity(number), version, seed=number, speed=speed, loop=True)
        while True:
            try:
                await simulate(plan, engine, log.debug)
            except (ConnectError, CallFailed, BootRefused) as error:
                log.info("%s: %s", plan.identity, error)
            await asyncio.sleep(RECONNECT_SECONDS)

    async with asyncio.TaskGroup() as fleet:
        for number in range(count):
            fleet.create_task(live(number))


def fleet_identity(number: int) -> str:
    """The identity of the n-th simulated station, counted from 0."""
    return f"SIM-{number + 1:03d}"
