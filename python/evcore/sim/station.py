"""A simulated station: what it is, its boot, its heartbeat, what limits its connectors.

In: the word of its connection (see `line`), orders of the CSMS. Out: CALLs of one version (through its dialect),
answers to orders. What happens at its connectors is in `visit`, what the CSMS may order in `orders_v16` and
`orders_v2`, its time in `pace`, what it must not lose in `delivery`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from evcore.endpoint import Boot
from evcore.message import Call
from evcore.sim import visit
from evcore.sim.codec import Written
from evcore.sim.connector import Charge, Connector
from evcore.sim.delivery import Delivering
from evcore.sim.profiles import Charging, Profile, Profiles, Supply
from evcore.sim.rng import Rng
from evcore.sim.settings import Settings
from evcore.sim.strand import Strand

if TYPE_CHECKING:
    from evcore.sim.dialect import Dialect
    from evcore.sim.fleet import Fleet
    from evcore.sim.scenario import Model

__all__ = ["Order", "Station"]

log = logging.getLogger("evcore.sim")

#: What an order of the CSMS is answered with: a CALLRESULT's payload.
Order = Callable[["Station", Any], Mapping[str, Any]]

#: Seconds until a station asks again whose BootNotification was declined without an interval, or not answered.
_BOOT_AGAIN: Final = 60.0

_NOTHING: Final = Written(b"{}")


class Station(Delivering):
    """One station of a fleet."""

    __slots__ = (
        "_beating", "_booting", "boot_reason", "connectors", "firmware", "heartbeat_interval", "jobs", "leaving",
        "list_version", "local_list", "measurands", "model", "profiles", "rng", "sample_interval", "settings",
        "supply", "visits",
    )  # fmt: skip

    def __init__(
        self,
        fleet: Fleet,
        identity: str,
        dialect: Dialect,
        model: Model,
        quirks: tuple[str, ...],
        seed: int,
        number: int,
    ) -> None:
        super().__init__(fleet, identity, dialect, quirks, seed, number)
        self.model = model
        self.rng = Rng(seed, f"{identity}/life")
        self.supply = (
            Supply(1000 * model.power, 0, model.voltage)
            if model.current == "DC"
            else Supply(1000 * model.power, model.phases, 230.0)
        )
        self.settings = Settings()
        self.connectors = tuple(
            Connector(number + 1, float(self.rng.below(9_000_000))) for number in range(model.connectors)
        )
        self.firmware = model.firmware
        self.heartbeat_interval = model.heartbeat_interval
        if model.sample_interval != 60:
            self.settings.put("MeterValueSampleInterval", str(round(model.sample_interval)))
        self._read_sampling()
        if model.connectors != 1:
            self.settings.put("NumberOfConnectors", str(model.connectors))
        self.profiles: Profiles | None = None
        self.local_list: dict[str, str] | None = None
        self.list_version = 0
        self.jobs: dict[str, Strand] | None = None
        self.visits = 0
        self.leaving = False
        self.boot_reason = "PowerUp"
        """A 2.x BootReason."""
        self._booting: Strand | None = None
        self._beating = -1

    def leave(self) -> None:
        """For good."""
        self.leaving = True
        self.epoch += 1
        self.drop(rudely=False)
        self.fleet.left(self)

    def restart(self, reason: str, seconds: float) -> None:
        """Goes down and comes up again after so many seconds: connection, profiles of transactions and all that was
        under way are gone, what is stored stays.
        """
        self.epoch += 1
        for connector in self.connectors:
            visit.abandon(self, connector)
        self.drop(rudely=False)
        if not (self.has("Q92") and self.was_accepted):
            self.boot = Boot()
        self.say("restarts")
        self.boot_reason = reason
        self.push(seconds, Station.connect)

    def settle(self) -> None:
        """The simulation is over for it: what is under way is left as it stands, what it owes the CSMS is delivered."""
        self.epoch += 1
        if self._booting is not None:
            self._booting.end()
        if self.outbox and self.was_accepted and self.wire is None:
            self.push(0.0, Station.connect)

    def _cut(self) -> None:
        if self._booting is not None and self._booting is not self.running:
            self._booting.end()
        self._booting = None
        super()._cut()

    def _online(self) -> None:
        if self.wire is None:
            return
        if self.boot.status == "accepted":
            self.spawn(self._resync())
        else:
            self._booting = self.spawn(self._boot())

    async def _boot(self) -> None:
        """BootNotification until it is accepted (1.6 section 4.2, 2.x B01 to B03)."""
        while True:
            answer = await self.call("BootNotification", self.dialect.boot(self))
            if self.wire is None:
                return
            if answer is None:
                self.declined = True
                await self.sleep(_BOOT_AGAIN)
                continue
            status, interval = answer.payload["status"], answer.payload["interval"]
            self.say("boot: {}, interval {} s", status, interval)
            if status == "Accepted":
                break
            self.declined = True
            await self.sleep(interval if interval > 0 else _BOOT_AGAIN)
        self.accepted(interval)
        await self._resync()

    def accepted(self, interval: int) -> None:
        """The CSMS has accepted it, and said how often it wants a heartbeat."""
        if interval > 0:
            self.heartbeat_interval = float(interval)
            if interval != 300:
                self.settings.put("HeartbeatInterval", str(interval))
        if not self.was_accepted:
            self.was_accepted = True
            self.fleet.tally.booted += 1
        self._booting = None

    def pull_boot(self, *, again: bool) -> None:
        """A trigger: boots now, also before the interval is over. `again`: although it is accepted."""
        if self._booting is not None:
            self.wake(self._booting)
        elif again:
            self.boot_reason = "Triggered"
            self._booting = self.spawn(self._boot())

    async def _resync(self) -> None:
        """What a CSMS that has just accepted it or lost sight of it must know; then life begins or goes on."""
        self.drain()
        if self.fleet.ending:
            return
        for connector in self.connectors:
            await self.dialect.report(self, connector)
        if self._beating != self.epoch:
            self._beating = self.epoch
            self.push(self.beat_interval, Station._beat)
            visit.begin(self)

    @property
    def beat_interval(self) -> float:
        """In seconds; 0 would be a heartbeat without a pause, which nobody means."""
        return max(1.0, self.heartbeat_interval)

    def _beat(self) -> None:
        if self.online:
            self._order("Heartbeat", _NOTHING, None)
        self.push(self.beat_interval, Station._beat)

    # -- orders -------------------------------------------------------------------------------------------------------

    def _obey(self, call: Call) -> None:
        endpoint = self.endpoint
        assert endpoint is not None
        tally = self.fleet.tally
        tally.orders += 1
        self._catch_up()
        order = self.dialect.orders.get(call.action)
        code: Literal["NotSupported", "InternalError"] = "NotSupported"
        if order is not None:
            try:
                endpoint.answer(call, order(self, call.payload), self.fleet.time())
            except Exception:
                log.exception("%s: %s cannot be obeyed", self, call.action)
                tally.broken += 1
                code = "InternalError"
            else:
                return
        endpoint.refuse(call, code, "this action is not supported here" if order is None else "")

    # -- what profiles allow ------------------------------------------------------------------------------------------

    def charging(self, charge: Charge | None) -> Charging | None:
        if charge is None:
            return None
        return Charging(self.dialect.transaction_id(charge), self.fleet.clock.unix(charge.since))

    def limit(self, connector: Connector) -> float:
        """W the connector may give now."""
        if self.profiles is None:
            return self.supply.power
        sharing = sum(each.charge is not None for each in self.connectors)
        limit = self.profiles.limit(
            connector.number, self.fleet.clock.unix(self.now), self.charging(connector.charge), self.supply, sharing
        )
        return self.supply.power if limit is None else min(limit, self.supply.power)

    def limit_changes(self, connector: Connector) -> float:
        """Seconds until that may be another one."""
        if self.profiles is None:
            return float("inf")
        now = self.fleet.clock.unix(self.now)
        return self.profiles.next_change(now, self.charging(connector.charge)) - now

    def install(self, number: int, raw: Mapping[str, Any]) -> str | None:
        """A charging profile for a connector, or with number 0 the station. Why it is not taken, or None."""
        if not 0 <= number <= len(self.connectors):
            return "no such connector"
        charge = self.connectors[number - 1].charge if number else None
        try:
            profile = Profile(raw, number, self.fleet.clock.unix(self.now))
        except (ValueError, OverflowError) as error:
            return str(error)
        if self.profiles is None:
            self.profiles = Profiles()
        refused = self.profiles.install(profile, self.charging(charge))
        if refused is None:
            self.limits_changed()
        return refused

    def configured(self, key: str) -> None:
        """A setting has changed."""
        if key == "HeartbeatInterval":
            self.heartbeat_interval = float(self.settings.whole(key))
        elif key.startswith("MeterValue"):
            self._read_sampling()
            # Whoever sleeps until the next sample looks again.
            self.limits_changed()

    def _read_sampling(self) -> None:
        self.sample_interval = float(self.settings.whole("MeterValueSampleInterval"))
        self.measurands = self.settings.text("MeterValuesSampledData")

    def limits_changed(self) -> None:
        """Profiles came or went: charges look at their limits again."""
        for connector in self.connectors:
            if connector.charge is not None:
                self.wake(connector.visit)
