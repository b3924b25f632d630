"""A central system of evcore's own parts whose handlers hand every message on, whatever the way to the broker is.

In: a port, and what to do with a message. Out: a server that answers a station's CALL when that has been done, or with
InternalError when it fails. Every station is welcome.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from evcore import Codec
from evcore.dispatch import Table
from evcore.endpoint import Endpoint
from evcore.net.connection import Connection
from evcore.net.engine import load
from evcore.net.server import Link, Server, ServerOptions

__all__ = ["Tell", "front", "until_told_to_end"]

#: (station, action, payload): returns when the message is where it shall be.
Tell = Callable[[str, str, Any], Awaitable[None]]

_VERSIONS: Final = ("ocpp1.6", "ocpp2.0.1", "ocpp2.1")


class _Stations:
    def __init__(self, tell: Tell) -> None:
        self._codecs: dict[str, Codec] = {version: Codec(version) for version in _VERSIONS}  # type: ignore[arg-type]
        self._table = _table(tell)

    def knows(self, identity: str) -> bool:
        return True

    def link(self, identity: str, version: str) -> Link[str]:
        return Link(Endpoint(self._codecs[version]), self._table, identity)

    def connected(self, connection: Connection[str]) -> None:
        pass

    def disconnected(self, connection: Connection[str]) -> None:
        pass


def _table(tell: Tell) -> Table[str]:
    table: Table[str] = Table()

    @table.on("BootNotification")
    async def boot(station: str, payload: Any) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"status": "Accepted", "currentTime": now, "interval": 3600}

    def on(action: str) -> None:
        @table.on(action)
        async def handle(station: str, payload: Any) -> dict[str, Any]:
            await tell(station, action, payload)
            return {}

    for action in ("StatusNotification", "MeterValues", "TransactionEvent"):
        on(action)
    return table


async def front(port: int, tell: Tell) -> Server[str]:
    """Starts the server on 127.0.0.1; `port` 0 takes a free one."""
    server: Server[str] = Server(_Stations(tell), load("picows"), ServerOptions(host="127.0.0.1", port=port))
    await server.start()
    return server


async def until_told_to_end() -> None:
    """Returns at SIGTERM or SIGINT."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()
