"""Ten thousand stations over one connection: every transaction arrives once, every station's state is retained, and a
broker that is away in the middle of it changes neither.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from evcore.bus import Bus
from evcore.bus.bodies import StationOnline, TransactionStarted
from evcore.bus.orders import Order, Outcome
from evcore.mqtt.bridge import Bridge, BridgeOptions
from evcore.mqtt.broker.address import Address
from evcore.mqtt.broker.session import SessionOptions
from evcore.mqtt.publisher.options import PublishOptions
from evcore.mqtt.spool import SpoolOptions
from tests.mqtt.brokers import Mosquitto
from tests.mqtt.observer import Observer

STATIONS = 10_000


class Nobody:
    async def carry_out(self, order: Order) -> Outcome:
        return Outcome(status="refused", code="unknown-station")


async def all_of(kept: list[Awaitable[None] | None]) -> None:
    """Waits until each is durable."""
    await asyncio.gather(*(one for one in kept if one is not None))


async def test_ten_thousand_stations_share_a_connection(
    broker_factory: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = broker_factory(quiet=True, max_inflight=1000, max_queued=0)
    bus = Bus()
    options = BridgeOptions(
        session=SessionOptions(
            addresses=(Address.parse(broker.url),), identifier="many", backoff_first=0.1, backoff_most=0.3
        ),
        spool=SpoolOptions(path=tmp_path / "spool.db"),
        publish=PublishOptions(node="n1"),
    )
    bridge = Bridge(bus, Nobody(), options)
    names = [f"CP{number:05d}" for number in range(STATIONS)]
    async with Observer(broker, "chargers/+/events", persistent=True) as observer:
        await bridge.start()
        try:
            for start in range(0, STATIONS, 500):
                kept: list[Awaitable[None] | None] = []
                for name in names[start : start + 500]:
                    kept.append(bus.publish(StationOnline(station=name, version="ocpp1.6")))
                    kept.append(bus.publish(TransactionStarted(station=name, transaction="1", evse=1, sequence=0)))
                await all_of(kept)
                if start == STATIONS // 2:
                    await asyncio.to_thread(broker.stop)
                if start == STATIONS // 2 + 1000:
                    await asyncio.to_thread(broker.start)
            async with asyncio.timeout(60):
                while bridge.spool.backlog.messages:  # noqa: ASYNC110 - it is emptied by another task
                    await asyncio.sleep(0.02)
            await observer.count(STATIONS)
            started = Counter(json.loads(seen.payload)["station"] for seen in list(observer.seen))
            assert started == Counter(names)
            async with Observer(broker, "chargers/+/status", qos=1) as late:
                await late.count(STATIONS)
                retained = {seen.topic.split("/")[1]: seen.json()["online"] for seen in list(late.seen)}
            assert retained == dict.fromkeys(names, True)
        finally:
            await bridge.stop()
