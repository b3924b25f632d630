"""A simulated station: boot, plug-in, authorization, a charge with meter values, unplug.

Comes in: a connection, a seed, a speed. Goes out: OCPP messages of one version (through a dialect) and lines that say
what happens. Orders of the CSMS (remote start and stop, reset, availability) set wishes here, which the scenario obeys
at its next step.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from evcore.endpoint import EndpointError
from evcore.net.connection import CallFailed, Connection
from evcore.sim.charge import Car, Reading
from evcore.sim.device import Device

if TYPE_CHECKING:
    from evcore.sim.dialect import Dialect

__all__ = ["BootRefused", "Clock", "SimulatedStation", "Tally"]

#: Boots a CSMS may decline before the station gives up.
MAX_BOOTS: Final = 5


class BootRefused(Exception):
    """The CSMS did not accept the station."""


class Clock:
    """Simulated time: starts now, runs `speed` times as fast."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._start = datetime.now(UTC)
        self._began = perf_counter()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=(perf_counter() - self._began) * self._speed)

    def text(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def real(self, seconds: float) -> float:
        """Seconds to wait in reality."""
        return seconds / self._speed


@dataclass(slots=True)
class Tally:
    """What a run came to. Energies in Wh, times in real seconds."""

    charges: int = 0
    energy: float = 0.0
    calls: int = 0
    failed: int = 0
    answered: int = 0
    slowest: float = 0.0
    waited: float = 0.0


@dataclass(slots=True)
class Wishes:
    """What the CSMS asked for and the scenario has not done yet."""

    start: Mapping[str, Any] | None = None
    stop: bool = False
    reset: str | None = None


@dataclass(slots=True)
class Charge:
    """The transaction under way. `seq`: the next sequence number (2.x)."""

    id: str
    car: Car
    begun: float
    seq: int = 0
    token: Mapping[str, Any] = field(default_factory=dict)
    remote: int | None = None


class SimulatedStation:
    """State and scenario of one station with one EVSE and one connector."""

    def __init__(
        self, identity: str, dialect: Dialect, *, seed: int | None, speed: float, say: Callable[[str], None]
    ) -> None:
        self.identity = identity
        self.rng = random.Random(seed)
        self.clock = Clock(speed)
        self.device = Device()
        self.tally = Tally()
        self.wishes = Wishes()
        self.charge: Charge | None = None
        self.status = ""
        self.operative = True
        self.register = float(self.rng.randrange(10_000, 9_000_000))
        self.connection: Connection[SimulatedStation] | None = None
        self.dialect = dialect
        self._say = say
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def __str__(self) -> str:
        return self.identity

    def say(self, sentence: str) -> None:
        self._say(f"{self.clock.now():%H:%M:%S} {self.identity} {sentence}")

    async def call(self, action: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """A CALL to the CSMS. Raises CallFailed."""
        assert self.connection is not None
        self.tally.calls += 1
        began = perf_counter()
        try:
            answer = await self.connection.call(action, payload)
        except EndpointError as error:
            self.tally.failed += 1
            raise CallFailed(action, "lost", str(error)) from None
        except CallFailed as error:
            self.tally.failed += 1
            self.say(f"got no answer to {error}")
            raise
        took = perf_counter() - began
        self.tally.answered += 1
        self.tally.waited += took
        self.tally.slowest = max(self.tally.slowest, took)
        return answer

    def later(self, work: Callable[[], Any]) -> None:
        """Does something after the CALL at hand has been answered."""

        async def do() -> None:
            try:
                await work()
            except CallFailed:
                # Said and counted by `call`; nobody waits for the outcome.
                return

        task = asyncio.get_running_loop().create_task(do())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def wish(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self.wishes, name, value)
        self._changed.set()

    # -- scenario -----------------------------------------------------------------------------------------------------

    async def run(self, *, loop: bool) -> None:
        """One charge, or one after the other. Raises CallFailed, BootRefused."""
        beating: asyncio.Task[None] | None = None
        try:
            await self._boot("PowerUp")
            beating = asyncio.create_task(self._beat())
            while True:
                await self._set_status("Available" if self.operative else "Unavailable")
                if loop:
                    await self._wait(self.rng.uniform(30, 240))
                if not await self._reboot() and self.operative:
                    await self._visit()
                    await self._reboot()
                if not loop:
                    await self._set_status("Available")
                    return
        finally:
            for task in (*self._tasks, *([] if beating is None else [beating])):
                task.cancel()

    async def _boot(self, reason: str) -> None:
        for _ in range(MAX_BOOTS):
            self.status = ""
            answer = await self.dialect.boot(self, reason)
            interval = int(answer["interval"])
            self.say(f"boot: {answer['status']}, heartbeat every {interval} s")
            if answer["status"] == "Accepted":
                setting = self.device.key("HeartbeatInterval")
                if interval > 0 and setting is not None:
                    setting.value = str(interval)
                return
            await asyncio.sleep(self.clock.real(max(interval, 1)))
        raise BootRefused(f"the CSMS did not accept {self.identity} in {MAX_BOOTS} boots")

    async def _reboot(self) -> bool:
        kind, self.wishes.reset = self.wishes.reset, None
        if kind is None:
            return False
        self.say(f"resets ({kind})")
        await asyncio.sleep(self.clock.real(10))
        await self._boot("RemoteReset")
        return True

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.clock.real(max(1, self.device.seconds("HeartbeatInterval"))))
            try:
                await self.call("Heartbeat", {})
            except CallFailed:
                # Said and counted by `call`; the next one may fare better.
                continue

    async def _wait(self, seconds: float) -> float:
        """Lets simulated time pass and returns how much did; a wish of the CSMS ends the wait."""
        self._changed.clear()
        began = self.clock.now()
        try:
            async with asyncio.timeout(self.clock.real(seconds)):
                await self._changed.wait()
        except TimeoutError:
            return seconds
        return min(seconds, (self.clock.now() - began).total_seconds())

    async def _set_status(self, status: str) -> None:
        name = self.dialect.connector_status(status)
        if name != self.status:
            self.status = name
            await self.dialect.send_status(self)
            self.say(f"connector 1 is {name}")

    async def _visit(self) -> None:
        """A car comes, charges and goes."""
        dialect = self.dialect
        car = Car(self.rng, self.register)
        self.wishes.stop = False
        await self._set_status("Preparing")
        self.say(f"a car plugs in, {car.read().soc:.0f} % full, wants {car.target:.0f} %")
        await self._wait(self.rng.uniform(5, 20))
        remote, self.wishes.start = self.wishes.start, None
        token = dialect.token(self) if remote is None else remote["token"]
        if remote is None and not await dialect.authorize(self, token):
            self.say("the token is refused, the car leaves")
            return
        charge = self.charge = await dialect.start(self, car, token, None if remote is None else remote.get("id"))
        self.say(f"transaction {charge.id} begins at {charge.begun:.0f} Wh")
        await self._set_status("Charging")
        reason = await self._charge(charge)
        car.stop()
        register = car.read().register
        await dialect.stop(self, charge, reason)
        self.charge = None
        energy = register - charge.begun
        self.say(f"transaction {charge.id} ends ({reason}) at {register:.0f} Wh: {energy / 1000:.2f} kWh")
        self.register = register
        self.tally.charges += 1
        self.tally.energy += energy
        await self._set_status("Finishing")
        await self._wait(self.rng.uniform(5, 20))
        self.say("the car unplugs")

    async def _charge(self, charge: Charge) -> str:
        """Charges until the car is done or the CSMS says so; returns why it ended."""
        while True:
            step = max(1, self.device.seconds("MeterValueSampleInterval"))
            charge.car.charge(await self._wait(step))
            if self.wishes.stop:
                self.wishes.stop = False
                return "Remote"
            if self.wishes.reset is not None:
                return "Reset"
            reading: Reading = charge.car.read()
            if charge.car.full:
                return "EVDisconnected" if self.rng.random() < 0.3 else "Local"
            await self.dialect.sample(self, charge, "Sample.Periodic")
            self.say(f"{reading.power / 1000:.1f} kW, {reading.soc:.0f} %, {reading.register:.0f} Wh")
