"""A bare echo on websockets: no compression, everything else as the library has it."""

from __future__ import annotations

from contextlib import suppress

from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as listen
from websockets.exceptions import ConnectionClosed

from benches.server.peers.python.common import BACKLOG, VERSIONS, Options, context, run


async def echo(connection: ServerConnection) -> None:
    with suppress(ConnectionClosed):
        async for message in connection:
            await connection.send(message)


async def serve(options: Options) -> int:
    server = await listen(
        echo,
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
