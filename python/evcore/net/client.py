"""The client: a station's connection to a CSMS."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TypeVar
from urllib.parse import quote

from evcore.dispatch import Table
from evcore.endpoint import Endpoint
from evcore.net.connection import Connection, Host, Observer
from evcore.net.engine import Engine

__all__ = ["connect"]

C = TypeVar("C")


class _Ticking(Host[C]):
    """Looks after the deadlines of one connection while it is open."""

    def __init__(self) -> None:
        super().__init__()
        self._task: asyncio.Task[None] | None = None

    def opened(self, connection: Connection[C]) -> None:
        self._task = self.loop.create_task(self._tick(connection))

    def closed(self, connection: Connection[C]) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _tick(self, connection: Connection[C]) -> None:
        while True:
            await asyncio.sleep(1.0)
            connection.tick(monotonic())


async def connect(
    engine: Engine,
    url: str,
    identity: str,
    endpoint: Endpoint,
    table: Table[C],
    context: C,
    observer: Observer | None = None,
    *,
    max_frame: int = 1024 * 1024,
) -> Connection[C]:
    """Connects the station `identity` to the CSMS whose endpoint URL is `url` (without the identity).

    The version is the endpoint's. Raises ConnectError. Own CALLs time out while the connection is open.
    """
    connection = Connection(endpoint, table, context, host=_Ticking(), observer=observer, name=identity)
    await engine.connect(
        f"{url.rstrip('/')}/{quote(identity, safe='')}", (endpoint.version,), connection, max_frame=max_frame
    )
    return connection
