"""What a site draws: registers that are reset, told late, told twice, or two for one energy."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evcore.bus import Bus
from evcore.bus import bodies as b
from evcore.mqtt.publisher.options import PublishOptions
from evcore.mqtt.publisher.sites import Sites

REGISTER = "Energy.Active.Import.Register"
POWER = "Power.Active.Import"
#: 2026-11-20T12:00:00Z
NOW = 1_795_176_000.0


class Site:
    """One site of all stations that begin with A, another of A1 alone."""

    def __init__(self, **changes: Any) -> None:
        self.now = 0.0
        self.bus = Bus()
        settings = {"sites": {"all": ("A*", "a1"), "first": ("A1",)}, "heartbeat_interval": 0, **changes}
        self.sites = Sites(self.bus, PublishOptions(node="n", **settings), clock=lambda: NOW, steady=lambda: self.now)
        self.sites.attach()

    def energy(self, site: str = "all") -> float:
        return self.read(site).energy

    def power(self, site: str = "all") -> float | None:
        return self.read(site).power

    def read(self, site: str = "all") -> b.SiteEnergy:
        return next(body for body in self.sites.energies() if body.site == site)

    def online(self, station: str = "A1") -> None:
        self.bus.publish(b.StationOnline(station=station, version="ocpp1.6"))

    def offline(self, station: str = "A1") -> None:
        self.bus.publish(b.StationOffline(station=station, version="ocpp1.6"))

    def register(self, value: float, at: str | None = None, *, station: str = "A1", evse: int = 1) -> None:
        self._sample(REGISTER, value, at, station, evse)

    def draw(self, value: float, *, station: str = "A1", evse: int = 1) -> None:
        self._sample(POWER, value, None, station, evse)

    def _sample(self, quantity: str, value: float, at: str | None, station: str, evse: int) -> None:
        sample = b.Sample(quantity=quantity, value=value, unit="", time=at)
        self.bus.publish(b.Readings(station=station, evse=evse, samples=(sample,)))

    def start(self, meter: float | None = None, *, station: str = "A1", evse: int = 1) -> None:
        self.bus.publish(b.TransactionStarted(station=station, transaction="1", evse=evse, meter=meter))

    def end(self, meter: float | None = None, *, station: str = "A1", evse: int = 1) -> None:
        self.bus.publish(b.TransactionEnded(station=station, transaction="1", evse=evse, meter=meter))


def test_energy_is_what_registers_rose_by() -> None:
    site = Site()
    assert site.read() == b.SiteEnergy(
        site="all", power=None, energy=0, stations=0, charging=0, since="2026-11-20T12:00:00.000Z"
    )
    site.register(1000.0)
    assert site.energy() == 0.0
    site.register(1500.0)
    site.register(1500.0)
    site.register(10.0, evse=2)
    site.register(20.0, evse=2)
    site.register(0.0, station="A2")
    site.register(5.0, station="A2")
    site.register(0.0, station="B1")
    site.register(999.0, station="B1")
    assert (site.energy(), site.energy("first")) == (515.0, 510.0)


def test_a_register_that_was_reset() -> None:
    site = Site()
    for value in (1000.0, 1100.0, 0.0, 50.0):
        site.register(value)
    assert site.energy() == 150.0


def test_readings_told_late_and_twice() -> None:
    site = Site()
    for at, value in (("10:00", 1000.0), ("10:10", 1100.0), ("10:05", 1050.0), ("10:10", 1100.0), ("10:20", 1200.0)):
        site.register(value, f"2026-11-20T{at}:00Z")
    assert site.energy() == 200.0


@pytest.mark.parametrize(
    "at", ["2031-01-01T00:00:00Z", "yesterday", "", "2026-11-20T99:00:00Z", "9999-12-31T23:59:59-23:59"]
)
def test_times_that_are_not_believed(at: str) -> None:
    """A clock that was in the future once does not make everything after it late."""
    site = Site()
    site.register(1000.0, at)
    site.register(1100.0, "2026-11-20T10:00:00+01:00")
    site.register(1200.0, "2026-11-20T10:00:00")
    assert site.energy() == 200.0


def test_two_registers_for_one_energy() -> None:
    """Bills with the meter's life, samples from 0 in each charge: neither is the other's reset."""
    site = Site()
    site.start(5000.0)
    for value in (0.0, 100.0, 200.0):
        site.register(value)
    site.end(5200.0)
    assert site.energy() == 200.0


def test_bills_alone() -> None:
    site = Site()
    site.start(5000.0)
    site.end(5300.0)
    site.start(5300.0)
    site.end(5400.0)
    assert site.energy() == 400.0


def test_the_stations_own_register_counts_until_an_evse_has_one() -> None:
    site = Site()
    site.register(0.0, evse=0)
    site.register(100.0, evse=0)
    assert site.energy() == 100.0
    site.register(1000.0, evse=1)
    site.register(1050.0, evse=1)
    site.register(150.0, evse=0)
    assert site.energy() == 150.0


def test_power() -> None:
    site = Site(site_stale=100.0)
    site.draw(5.0)
    assert site.power() is None, "it is not online"
    site.online()
    site.online("A2")
    site.draw(1000.0)
    site.draw(500.0, evse=2)
    site.draw(9999.0, evse=0)
    site.draw(300.0, station="A2", evse=0)
    assert (site.power(), site.power("first")) == (1800.0, 1500.0)
    site.offline("A2")
    assert site.power() == 1500.0
    site.end(evse=2)
    assert site.power() == 1000.0
    site.now = 101.0
    assert site.power() == 0.0, "what was drawn is old; what was not is still not drawn"
    site.offline()
    assert site.power() is None


def test_stations_and_charges() -> None:
    site = Site()

    def counted() -> tuple[int, int]:
        body = site.read()
        return body.stations, body.charging

    site.online()
    site.online("A2")
    site.start()
    site.start(station="A2", evse=2)
    assert counted() == (2, 2)
    site.bus.publish(b.ConnectorStatus(station="A1", evse=1, connector=1, status="SuspendedEV"))
    assert counted() == (2, 1)
    site.bus.publish(b.ConnectorStatus(station="A1", evse=1, connector=1, status="Charging"))
    site.bus.publish(b.ConnectorStatus(station="A2", evse=2, connector=1, status="Occupied"))
    assert counted() == (2, 2)
    site.bus.publish(b.TransactionUpdated(station="A2", transaction="1", evse=2, state="SuspendedEVSE"))
    assert counted() == (2, 1)
    site.end()
    assert counted() == (2, 0)
    site.bus.publish(b.TransactionUpdated(station="A2", transaction="1", evse=2, state="Charging"))
    site.offline("A2")
    assert counted() == (1, 0)


def test_a_removed_station_takes_no_energy_away() -> None:
    site = Site()
    site.register(0.0)
    site.register(70.0)
    site.sites.forget("A1")
    assert (site.energy(), site.energy("first")) == (70.0, 70.0)
    site.register(100.0)
    site.register(101.0)
    assert site.energy() == 71.0


def test_bounds() -> None:
    site = Site(most_stations=2, most_connectors=2)
    for station in ("A1", "A2", "A3"):
        site.online(station)
        for evse in (1, 2, 3):
            site.register(0.0, station=station, evse=evse)
            site.register(1.0, station=station, evse=evse)
    assert (site.energy(), site.read().stations) == (4.0, 2)


async def test_published_at_intervals() -> None:
    site = Site(site_interval=0.01)
    seen: list[Any] = []
    site.bus.attach("sites/+/energy", seen.append)
    task = asyncio.create_task(site.sites.run())
    async with asyncio.timeout(20):
        while len(seen) < 4:  # noqa: ASYNC110 - the task is at work
            await asyncio.sleep(0.01)
    task.cancel()
    assert [event.body.site for event in seen[:4]] == ["all", "first"] * 2
    site.sites.detach()
    site.online()
    assert site.read().stations == 0
