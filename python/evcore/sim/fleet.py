"""Many simulated stations on one event loop: who they are, when they connect, when it is over.

In: a plan (URL, scenario, seed, speed, credentials) and an engine. Out: messages, a tally. The same plan gives the same
stations, each with the same messages, whatever the number of processes it is divided between.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from evcore.net.engine import ConnectError, Engine
from evcore.net.tls import KeyPair, TlsError, client_context
from evcore.sim import jobs
from evcore.sim.clock import Clock
from evcore.sim.codec import StationCodec
from evcore.sim.dialect import Dialect
from evcore.sim.line import Line
from evcore.sim.loop import SOURCE
from evcore.sim.quirks import QUIRKS
from evcore.sim.rng import Rng
from evcore.sim.scenario import Model, Scenario
from evcore.sim.station import Station
from evcore.sim.stats import Tally
from evcore.sim.timers import Timers
from evcore.sim.v2 import V21, V201
from evcore.sim.v16 import V16

__all__ = ["VERSIONS", "Credentials", "Fleet", "FleetPlan"]

log = logging.getLogger("evcore.sim")

VERSIONS: Final[dict[str, type[Dialect]]] = {"1.6": V16, "2.0.1": V201, "2.1": V21}

#: Connection attempts under way at once; more of them only time out together.
_CONNECTING: Final = 128
#: Largest message taken from a CSMS.
_MAX_FRAME: Final = 1024 * 1024
#: Connections closed between two turns of the event loop, at the end.
_CLOSING: Final = 200
#: Real seconds for the closing handshakes.
_CLOSE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """How a station shows who it is. In each text `{identity}` and `{number}` stand for the station's own.

    `password`: of HTTP Basic. `key`: the same as hexadecimal digits, sent as the bytes they stand for (1.6
    AuthorizationKey). `ca`: PEM file of the authorities that may have signed the CSMS's certificate. `certificate` and
    `private_key`: PEM files of the station's own.
    """

    password: str | None = None
    key: str | None = None
    ca: str | None = None
    certificate: str | None = None
    private_key: str | None = None

    def headers(self, identity: str, number: int) -> Mapping[str, str] | None:
        """The Authorization header, or None. Raises ValueError for a key that is not hexadecimal."""
        if self.key is not None:
            secret = bytes.fromhex(self.key.format(identity=identity, number=number))
        elif self.password is not None:
            secret = self.password.format(identity=identity, number=number).encode()
        else:
            return None
        return {"Authorization": "Basic " + base64.b64encode(identity.encode() + b":" + secret).decode()}

    @property
    def is_personal(self) -> bool:
        """Whether each station has a certificate of its own."""
        return any(name is not None and "{" in name for name in (self.certificate, self.private_key))

    def context(self, identity: str = "", number: int = 0) -> ssl.SSLContext:
        """What a TLS connection is made with. Raises TlsError for files that are no good."""
        pair = None
        if self.certificate is not None:
            private = self.private_key or self.certificate
            pair = KeyPair(
                Path(self.certificate.format(identity=identity, number=number)),
                Path(private.format(identity=identity, number=number)),
            )
        return client_context(ca=None if self.ca is None else Path(self.ca), pair=pair)


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """`url`: endpoint URL of the CSMS, without an identity. `version`: 1.6, 2.0.1, 2.1, or `mixed`. `stations`: how
    many in all; this fleet has those with the numbers `first`, `first` + `step`, …. `identity`: with `{number}`,
    counted from 1, in it. `speed` and `duration` (simulated seconds; infinity: for ever) stand above the scenario's.
    `start`: Unix time the stations' clocks begin with. `sources`: own addresses to connect from, in turn, on a
    loop of `evcore.sim.loop`. `quirks`: for
    all stations, besides the scenario's. `once`: the first connection that fails or is lost ends it all.
    """

    url: str
    scenario: Scenario
    version: str = "mixed"
    stations: int = 1
    first: int = 0
    step: int = 1
    identity: str = "SIM-{number:06d}"
    seed: int = 0
    speed: float | None = None
    duration: float | None = None
    ramp_up: float | None = None
    start: float | None = None
    sources: tuple[str, ...] = ()
    quirks: tuple[str, ...] = ()
    credentials: Credentials = field(default_factory=Credentials)
    once: bool = False


class Fleet:
    """Made inside the running loop; `run` once. `say` gets a line for whatever happens, for a few stations only."""

    def __init__(self, plan: FleetPlan, engine: Engine, say: Callable[[str], None] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._plan = plan
        self._engine = engine
        self.time = time.perf_counter
        self.url = plan.url
        self.say = say
        self.seed = plan.seed
        self.scenario = plan.scenario
        self.clock = Clock(plan.speed or plan.scenario.speed, self.time(), plan.start or float(int(time.time())))
        #: Distinguishes message ids of this run from those of others; they begin with `prefix`.
        self.run_number = int(self.clock.start)
        self.prefix = f"{self.run_number:x}-"
        self.timers = Timers(self.clock, self._loop, self.time)
        self.tally = Tally()
        self.ending = False
        self.codecs = {name: StationCodec(dialect.subprotocol, lazy=True) for name, dialect in VERSIONS.items()}
        self._dialects = {name: dialect() for name, dialect in VERSIONS.items()}
        self._queue: deque[Line] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = self._loop.create_future()
        self._left = 0
        self._tls = (
            plan.credentials.context() if plan.url.startswith("wss:") and not plan.credentials.is_personal else None
        )
        ramp_up = plan.ramp_up or plan.scenario.ramp_up
        self.stations: list[Station] = []
        for number in range(plan.first, plan.stations, plan.step):
            station = self._make(number)
            self.stations.append(station)
            self.timers.push(number / ramp_up * self.clock.speed, station, Fleet._start, 0)

    def _make(self, number: int) -> Station:
        plan, scenario = self._plan, self.scenario
        identity = plan.identity.format(number=number + 1)
        rng = Rng(plan.seed, f"{identity}/kind")
        model: Model = rng.weighted(scenario.models, [each.share for each in scenario.models])
        version = plan.version
        if version == "mixed":
            version = rng.weighted(tuple(scenario.versions), tuple(scenario.versions.values()))
        quirks = [*plan.quirks, *model.quirks]
        if rng.random() < scenario.quirks.share:
            fitting = [name for name in scenario.quirks.names or QUIRKS if version in QUIRKS[name].versions]
            quirks.extend(fitting.pop(rng.below(len(fitting))) for _ in range(min(scenario.quirks.each, len(fitting))))
        fit = tuple(sorted({name for name in quirks if version in QUIRKS[name].versions}))
        return Station(self, identity, self._dialects[version], model, fit, plan.seed, number)

    @staticmethod
    def _start(station: Station) -> None:
        station.fleet.tally.stations += 1
        station.since = float("inf")
        station.connect()

    # -- connections --------------------------------------------------------------------------------------------------

    def connect(self, station: Line) -> None:
        """Connects a station as soon as it is its turn; it hears `opened` or `refused`."""
        self._queue.append(station)
        self._pump()

    def _pump(self) -> None:
        while self._queue and len(self._tasks) < _CONNECTING:
            task = self._loop.create_task(self._connect(self._queue.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._connected)

    def _connected(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._pump()

    async def _connect(self, station: Line) -> None:
        plan, number = self._plan, station.number
        if plan.sources:
            # A task has a context of its own, so this is for this connection alone.
            SOURCE.set(plan.sources[number % len(plan.sources)])
        if station.since == float("inf"):
            station.since = self.time()
        slashes = "///" if station.has("Q85") else "/"
        try:
            tls = self._tls
            if plan.credentials.is_personal:
                tls = plan.credentials.context(station.identity, number + 1)
            await self._engine.connect(
                f"{plan.url.rstrip('/')}{slashes}{quote(station.identity, safe='')}",
                (station.dialect.subprotocol,),
                station,
                max_frame=_MAX_FRAME,
                headers=plan.credentials.headers(station.identity, number + 1),
                tls=tls,
            )
        except (ConnectError, TlsError, OSError, ValueError) as error:
            if plan.once:
                self._fail(ConnectError(str(error)))
            station.refused(str(error))

    def lost(self, station: Line) -> bool:
        """A connection ended without the station wanting it; whether it is to come back."""
        if self._plan.once:
            self._fail(ConnectError(f"the CSMS closed the connection of {station}"))
        return not self.ending and not self._plan.once

    def _fail(self, error: Exception) -> None:
        if not self._over.done():
            self._over.set_exception(error)

    def left(self, station: Station) -> None:
        """A station is gone for good."""
        self._left += 1
        if self._left == len(self.stations) and not self._over.done():
            self._over.set_result(None)

    def stop(self) -> None:
        """Ends the run early, as if its time were over."""
        self.timers.until = min(self.timers.until, self.timers.now())
        if not self._over.done():
            self._over.set_exception(TimeoutError())

    # -- the run ------------------------------------------------------------------------------------------------------

    async def run(self) -> Tally:
        """Plays the scenario to its end. Raises ConnectError where the plan says `once`."""
        duration = self._plan.duration or self.scenario.duration or float("inf")
        self.timers.until = duration
        self.timers.start()
        sweeping = self._loop.create_task(self._sweep())
        try:
            seconds = duration / self.clock.speed
            async with asyncio.timeout(None if seconds == float("inf") else seconds):
                await asyncio.shield(self._over)
        except TimeoutError:
            await self._catch_up()
            await self._finish()
        finally:
            self.ending = True
            await self._close()
            self.timers.stop()
            for task in (sweeping, *self._tasks):
                task.cancel()
            await asyncio.gather(sweeping, *self._tasks, return_exceptions=True)
        return self.tally

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            now = self.time()
            for station in self.stations:
                station.tick(now)

    async def _catch_up(self) -> None:
        """Stations whose clocks are behind, because the CSMS is slower than they are, reach the end as well."""
        grace = self.time() + self.scenario.network.message_timeout
        while self.time() < grace and not (self.timers.is_done and not any(each.busy for each in self.stations)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def _finish(self) -> None:
        """The time is over: what happens at the stations ends, what they owe the CSMS is still delivered."""
        self.ending = True
        self.timers.until = float("inf")
        self._queue.clear()
        over = self.time()
        for station in self.stations:
            station.settle()
            jobs.abandon_all(station)
        with_grace = self.time() + self.scenario.network.message_timeout + 5.0
        while self.time() < with_grace and any(station.owes for station in self.stations):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        self.tally.connecting = sum(self._is_connecting(station, over) for station in self.stations)

    def _is_connecting(self, station: Station, now: float) -> bool:
        """Whether it was on its way in, no longer than an answer may take, and nobody held it up."""
        if station.since is None or station.was_accepted or station.declined:
            return False
        return now - station.since <= self.scenario.network.message_timeout

    async def _close(self) -> None:
        for count, station in enumerate(self.stations):
            station.drop(rudely=False)
            if count % _CLOSING == 0:
                await asyncio.sleep(0)
        end = self.time() + _CLOSE_SECONDS
        while self.tally.connected > 0 and self.time() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
