"""A CSMS on evcore's public interface, as its users write one: a table with async handlers, and the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benches.server.peers.python.common import INTERVAL, VERSIONS, Options, now, run
from evcore import Codec
from evcore.dispatch import Table
from evcore.endpoint import Endpoint
from evcore.net.connection import Connection
from evcore.net.engine import ListenOptions, load
from evcore.net.server import Link, Server, ServerOptions
from evcore.net.tls import KeyPair, ServerTls

table: Table[str] = Table()


@table.on("BootNotification")
async def boot(station: str, payload: Any) -> dict[str, Any]:
    return {"status": "Accepted", "currentTime": now(), "interval": INTERVAL}


@table.on("Heartbeat")
async def heartbeat(station: str, payload: Any) -> dict[str, Any]:
    return {"currentTime": now()}


@table.on("StatusNotification", "MeterValues", "TransactionEvent")
async def acknowledge(station: str, payload: Any) -> dict[str, Any]:
    return {}


class Stations:
    """Every station is welcome; its identity is all the context its handlers get."""

    def __init__(self) -> None:
        self._codecs = {version: Codec(version) for version in VERSIONS}

    def knows(self, identity: str) -> bool:
        return True

    def link(self, identity: str, version: str) -> Link[str]:
        return Link(Endpoint(self._codecs[version]), table, identity)

    def connected(self, connection: Connection[str]) -> None:
        pass

    def disconnected(self, connection: Connection[str]) -> None:
        pass


async def serve(options: Options) -> int:
    tls = None
    if options.certificate is not None:
        authority = None if options.authority is None else Path(options.authority)
        pair = KeyPair(Path(options.certificate), None if options.key is None else Path(options.key))
        tls = ServerTls([pair], client_ca=authority)
    server = Server(Stations(), load(options.engine), ServerOptions(port=0, listen=ListenOptions(tls=tls)))
    await server.start()
    return server.port


if __name__ == "__main__":
    run(serve)
