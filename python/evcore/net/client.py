"""The client: a station's connection to a CSMS."""

from __future__ import annotations

import asyncio
from typing import TypeVar
from urllib.parse import quote

from evcore.dispatch import Table
from evcore.endpoint import Endpoint
from evcore.net.connection import Connection, Observer
from evcore.net.engine import Engine

__all__ = ["connect"]

C = TypeVar("C")


async def connect(
    engine: Engine,
    url: str,
    identity: str,
    endpoint: Endpoint,
    table: Table[C],
    context: C,
    observer: Observer,
    *,
    max_frame: int = 1024 * 1024,
) -> Connection[C]:
    """Connects the station `identity` to the CSMS whose endpoint URL is `url` (without the identity).

    The version is the endpoint's. Raises ConnectError. Own CALLs time out while the connection is open.
    """
    ticking: list[asyncio.Task[None]] = []

    async def tick() -> None:
        while True:
            await asyncio.sleep(1.0)
            connection.tick()

    def closed(_: Connection[C]) -> None:
        ticking[0].cancel()

    connection = Connection(endpoint, table, context, observer, on_closed=closed)
    ticking.append(asyncio.create_task(tick()))
    try:
        await engine.connect(
            f"{url.rstrip('/')}/{quote(identity, safe='')}", (endpoint.version,), connection, max_frame=max_frame
        )
    except BaseException:
        ticking[0].cancel()
        raise
    return connection
