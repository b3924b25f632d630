"""A server whose handlers call stations back and take their time: `python -m tests.hostile.central ENGINE`.

A station asks with DataTransfer: `messageId` is what it wants (`call`: be called; `sleep`: wait), `data` for how many
seconds at most. The answer's data says how that ended: `answered`, or the code of the failure.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any, cast

from evcore import Codec
from evcore.dispatch import Table
from evcore.endpoint import Endpoint, Event
from evcore.net.connection import CallFailed, Connection
from evcore.net.engine import EngineName, load
from evcore.net.server import Link, Server, ServerOptions


class Station:
    """A station's context and observer."""

    def __init__(self, identity: str) -> None:
        self._identity = identity
        self.connection: Connection[Station] | None = None

    def __str__(self) -> str:
        return self._identity

    def received(self, frame: bytes) -> None:
        """Nothing is kept."""

    def sent(self, frame: bytes) -> None:
        """Nothing is kept."""

    def happened(self, event: Event) -> None:
        """Nothing is kept."""

    def answered(self, call: Any, seconds: float, refused: bool) -> None:
        """Nothing is kept."""


table: Table[Station] = Table()


@table.on("BootNotification")
def boot(station: Station, payload: Any) -> Any:
    return {"status": "Accepted", "currentTime": "2026-03-01T10:00:00Z", "interval": 300}


@table.on("Heartbeat")
def heartbeat(station: Station, payload: Any) -> Any:
    return {"currentTime": "2026-03-01T10:00:00Z"}


@table.on("MeterValues")
def meter_values(station: Station, payload: Any) -> Any:
    return {}


@table.on("StartTransaction")
def start_transaction(station: Station, payload: Any) -> Any:
    return {"transactionId": 1, "idTagInfo": {"status": "Accepted"}}


@table.on("Authorize")
def authorize(station: Station, payload: Any) -> Any:
    return {"idTokenInfo": {"status": "Accepted"}}


@table.on("DataTransfer")
async def data_transfer(station: Station, payload: Any) -> Any:
    seconds = float(payload["data"])
    outcome = "slept"
    if payload["messageId"] == "sleep":
        await asyncio.sleep(seconds)
    else:
        assert station.connection is not None
        try:
            await station.connection.call("ClearCache", {}, timeout=seconds)
            outcome = "answered"
        except CallFailed as failure:
            outcome = failure.code
    return {"status": "Accepted", "data": outcome}


class Central:
    """Implements `evcore.net.server.Application`."""

    def __init__(self) -> None:
        self._codecs = {version: Codec(version) for version in ("ocpp1.6", "ocpp2.0.1", "ocpp2.1")}

    def knows(self, identity: str) -> bool:
        return True

    def link(self, identity: str, version: str) -> Link[Station]:
        station = Station(identity)
        return Link(Endpoint(self._codecs[version]), table, station, station)

    def connected(self, connection: Connection[Station]) -> None:
        connection.context.connection = connection

    def disconnected(self, connection: Connection[Station]) -> None:
        connection.context.connection = None


async def main(engine: str) -> None:
    server = Server(Central(), load(cast(EngineName, engine)), ServerOptions(port=0))
    await server.start()
    print(f"listening on ws://127.0.0.1:{server.port}", flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
