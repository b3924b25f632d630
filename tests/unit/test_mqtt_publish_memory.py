"""What the publisher remembers of a station, in bytes: ten thousand of them must not matter."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from typing import Any

import pytest

from evcore.bus import Bus
from evcore.bus import bodies as b
from evcore.mqtt.publisher.options import PublishOptions
from tests.mqtt.fakes import Rig

STATIONS = 300
QUANTITIES = ("Voltage", "Current.Import", "Power.Active.Import", "Energy.Active.Import.Register", "SoC")


def feed(bus: Bus) -> None:
    """Stations with two connectors, each in a charge and measured."""
    for number in range(STATIONS):
        name = f"CP{number:06}"
        bus.publish(b.StationOnline(station=name, version="ocpp1.6"))
        bus.publish(
            b.StationBooted(
                station=name, version="ocpp1.6", vendor="V", model="M", serial=f"SN{number}", status="Accepted"
            )
        )
        for evse in (1, 2):
            bus.publish(b.ConnectorStatus(station=name, evse=evse, connector=1, status="Charging"))
            bus.publish(b.TransactionStarted(station=name, transaction=f"{number}-{evse}", evse=evse))
            samples = tuple(b.Sample(quantity=one, value=230.5 + number + evse, unit="") for one in QUANTITIES)
            bus.publish(b.Readings(station=name, evse=evse, samples=samples))


async def grown(bus: Bus) -> int:
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    feed(bus)
    # What was waited for ends.
    await asyncio.sleep(0.01)
    gc.collect()
    return tracemalloc.get_traced_memory()[0] - before


@pytest.mark.parametrize(("mode", "most"), [("json", 1_000), ("both", 4_000)])
async def test_bytes_of_a_station(mode: Any, most: int) -> None:
    """Beyond what the bus keeps itself. Measured: 500 and 2,100."""
    # Without the values of the last minute, whose number is bounded for all stations together.
    rig = Rig(PublishOptions(node="n", mode=mode, heartbeat_interval=0, pace=1e6, values_recent=0))
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    rig.connection.send = lambda message: True  # type: ignore[method-assign]
    rig.disk.put = lambda message, **_: done  # type: ignore[assignment,method-assign]
    rig.disk.note = lambda key, value: done  # type: ignore[method-assign]
    async with rig:
        feed(Bus())
        tracemalloc.start()
        try:
            alone = Bus()
            of_the_bus = await grown(alone)
            both = await grown(rig.bus)
        finally:
            tracemalloc.stop()
    assert (both - of_the_bus) / STATIONS < most
