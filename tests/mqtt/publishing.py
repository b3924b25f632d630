"""A bus, a publisher and the real parts below it, without a server; also as a process that can be killed.

In: a broker's port, a folder for the spool, settings. Out: `Publishing` with `bus` and `publisher`, running.

    python -m tests.mqtt.publishing PORT FOLDER     # two stations come online; says so, and stays until it is killed
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, Self

from evcore.bus import Bus
from evcore.bus.bodies import ConnectorStatus, StationOnline
from evcore.mqtt.broker.address import Address
from evcore.mqtt.broker.session import Session, SessionOptions
from evcore.mqtt.message import Received
from evcore.mqtt.publisher.availability import birth, farewell
from evcore.mqtt.publisher.options import PublishOptions
from evcore.mqtt.publisher.publisher import Publisher
from evcore.mqtt.spool import SpoolOptions
from evcore.mqtt.spool.spool import Spool


class Publishing:
    """`async with` starts and stops it in order. `changes` are settings of the publisher."""

    spool: Spool
    session: Session
    publisher: Publisher

    def __init__(self, port: int, folder: Path, *, version: Any = "5", bus: Bus | None = None, **changes: Any) -> None:
        self.bus = bus or Bus()
        self.options = PublishOptions(**{"node": "n1", "heartbeat_interval": 0, "pace": 100_000.0, **changes})
        self._folder = folder
        self._session = SessionOptions(
            addresses=(Address.parse(f"mqtt://127.0.0.1:{port}"),),
            identifier="publishing",
            version=version,
            keepalive=5,
            backoff_first=0.05,
            backoff_most=0.2,
            will=farewell(self.options),
            birth=birth(self.options),
            farewell=farewell(self.options),
        )

    async def __aenter__(self) -> Self:
        self._folder.mkdir(exist_ok=True)
        self.spool = await Spool.open(SpoolOptions(path=self._folder / "spool"))
        self.session = Session(self._session, self.spool, received=self._received, connected=self._connected)
        self.publisher = Publisher(self.bus, self.spool, self.session, self.options)
        await self.publisher.attach()
        self._running = asyncio.create_task(self.session.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.publisher.detach()
        await self.session.stop(5.0)
        await self._running
        await self.spool.close()

    async def connected(self, count: int = 1) -> None:
        """Until it has been connected so many times."""
        async with asyncio.timeout(20):
            while self.session.counts.connects < count or not self.session.state.connected:  # noqa: ASYNC110 - counted there
                await asyncio.sleep(0.01)

    async def settled(self) -> None:
        """Until the broker has all that is not telemetry."""
        async with asyncio.timeout(20):
            while self.spool.backlog.messages or not self.session.state.connected:  # noqa: ASYNC110 - counted there
                await asyncio.sleep(0.01)

    def _received(self, message: Received) -> None:
        assert self.publisher.received(message)

    def _connected(self) -> None:
        self.publisher.connected(self.session.state.resumed)


async def _main(port: int, folder: Path) -> None:
    async with Publishing(port, folder) as publishing:
        for station in ("CP1", "CP2"):
            publishing.bus.publish(StationOnline(station=station, version="ocpp1.6"))
            publishing.bus.publish(ConnectorStatus(station=station, evse=1, connector=1, status="Available"))
        await publishing.settled()
        print("settled", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), Path(sys.argv[2])))
