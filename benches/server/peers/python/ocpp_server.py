"""The package `ocpp` on websockets, as its own documentation puts the two together; its validation is on."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ocpp.routing import on
from ocpp.v16 import ChargePoint as Station16
from ocpp.v16 import call_result as result16
from ocpp.v201 import ChargePoint as Station201
from ocpp.v201 import call_result as result201
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as listen
from websockets.exceptions import ConnectionClosed

from benches.server.peers.python.common import BACKLOG, INTERVAL, VERSIONS, Options, context, now, run


class V16(Station16):  # type: ignore[misc]
    @on("BootNotification")
    async def boot(self, **_: Any) -> result16.BootNotification:
        return result16.BootNotification(current_time=now(), interval=INTERVAL, status="Accepted")

    @on("Heartbeat")
    async def heartbeat(self, **_: Any) -> result16.Heartbeat:
        return result16.Heartbeat(current_time=now())

    @on("StatusNotification")
    async def status(self, **_: Any) -> result16.StatusNotification:
        return result16.StatusNotification()

    @on("MeterValues")
    async def meter(self, **_: Any) -> result16.MeterValues:
        return result16.MeterValues()


class V201(Station201):  # type: ignore[misc]
    @on("BootNotification")
    async def boot(self, **_: Any) -> result201.BootNotification:
        return result201.BootNotification(current_time=now(), interval=INTERVAL, status="Accepted")

    @on("TransactionEvent")
    async def transaction(self, **_: Any) -> result201.TransactionEvent:
        return result201.TransactionEvent()


async def accept(connection: ServerConnection) -> None:
    identity = connection.request.path.strip("/") if connection.request is not None else ""
    station = V16 if connection.subprotocol == "ocpp1.6" else V201
    with suppress(ConnectionClosed):
        await station(identity, connection).start()


async def serve(options: Options) -> int:
    server = await listen(
        accept,
        "127.0.0.1",
        0,
        subprotocols=list(VERSIONS),
        compression=None,
        ssl=context(options),
        backlog=BACKLOG,
    )
    await server.start_serving()
    return int(next(iter(server.sockets)).getsockname()[1])


if __name__ == "__main__":
    run(serve)
