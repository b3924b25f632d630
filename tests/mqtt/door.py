"""Doors between a client and a broker, that a test can hold shut, slam or open by half.

`Door` passes TCP on and can stall, reset, half-close, refuse, or cut after so many bytes. `WebSocketDoor` speaks MQTT
over WebSocket in front of a broker that cannot (Debian builds Mosquitto without it).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Coroutine
from typing import Any, Literal, Self

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.mqtt.brokers import free_port

Direction = Literal["up", "down"]


class Door:
    """A TCP proxy on a free port before `target`; `up` is towards the broker, `down` back to the client.

    Ends are passed on as they are: FIN as FIN, RST as RST, and what came before them is delivered. passed: bytes that
    went through, by direction, over all connections. opened: connections let in so far.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = free_port()
        self.opened = 0
        self.passed: dict[Direction, int] = {"up": 0, "down": 0}
        self._flow: dict[Direction, asyncio.Event] = {"up": asyncio.Event(), "down": asyncio.Event()}
        self._allowed: dict[Direction, int | None] = {"up": None, "down": None}
        self._pairs: dict[asyncio.Task[None], tuple[socket.socket, socket.socket]] = {}
        self._halved: set[socket.socket] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: socket.socket | None = None
        for event in self._flow.values():
            event.set()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.shut()

    async def open(self) -> None:
        """Lets clients in (again)."""
        if self._server is None:
            self._server = socket.create_server(("127.0.0.1", self.port))
            self._server.setblocking(False)
            self._begin(self._let_in(self._server))

    async def shut(self) -> None:
        """Resets what is open and refuses what comes."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()
            self._server = None

    def stall(self, *directions: Direction) -> None:
        """Nothing passes any more, and nobody is told. Without arguments: both ways."""
        for direction in directions or ("up", "down"):
            self._flow[direction].clear()

    def flow(self) -> None:
        """Ends a stall."""
        for event in self._flow.values():
            event.set()

    def reset(self) -> None:
        """RST on both sides of every connection; what was on its way is gone."""
        for task in list(self._pairs):
            task.cancel()

    def half_close(self) -> None:
        """FIN towards the client; what it still sends goes on to the broker."""
        for client, _ in self._pairs.values():
            self._halved.add(client)
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)

    def cut_after(self, direction: Direction, size: int) -> None:
        """Lets `size` more bytes pass in this direction, then resets everything, once."""
        self._allowed[direction] = size

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _let_in(self, server: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(server)
            self._begin(self._serve(client))

    async def _serve(self, client: socket.socket) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        broker = socket.socket()
        pair = (client, broker)
        for end in pair:
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await loop.sock_connect(broker, ("127.0.0.1", self.target))
            self.opened += 1
            self._pairs[task] = pair
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass("up", client, broker))
                both.create_task(self._pass("down", broker, client))
        except* OSError:
            _hard(pair)
        except* asyncio.CancelledError:
            _hard(pair)  # `reset` or `shut`, who are the only ones to wait for this task
        finally:
            self._pairs.pop(task, None)
            self._halved.discard(client)
            for end in pair:
                end.close()

    async def _pass(self, direction: Direction, source: socket.socket, target: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while chunk := await loop.sock_recv(source, 1 << 16):
            await self._flow[direction].wait()
            if target in self._halved:
                continue
            allowed = self._allowed[direction]
            if allowed is not None:
                cut = len(chunk) >= allowed
                chunk = chunk[:allowed]
                self._allowed[direction] = None if cut else allowed - len(chunk)
                if cut:
                    self.passed[direction] += len(chunk)
                    await loop.sock_sendall(target, chunk)
                    self.reset()
                    return
            self.passed[direction] += len(chunk)
            await loop.sock_sendall(target, chunk)
        await self._flow[direction].wait()
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def _hard(pair: tuple[socket.socket, socket.socket]) -> None:
    """Their close will be an RST."""
    for end in pair:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class WebSocketDoor:
    """MQTT over WebSocket on a free port, path /mqtt, passed on to the TCP port `target`."""

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self.target = target
        self.port = free_port()
        self.paths: list[str] = []
        self._tls = tls

    @property
    def url(self) -> str:
        return f"{'wss' if self._tls else 'ws'}://127.0.0.1:{self.port}/mqtt"

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._enter, "127.0.0.1", self.port, subprotocols=["mqtt"], ssl=self._tls, compression=None
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _enter(self, web: ServerConnection) -> None:
        assert web.request is not None
        self.paths.append(web.request.path)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.target)

        async def down() -> None:
            while chunk := await reader.read(1 << 16):
                await web.send(chunk)
            await web.close()

        back = asyncio.create_task(down())
        try:
            async for message in web:
                assert isinstance(message, bytes), "MQTT is binary"
                writer.write(message)
                await writer.drain()
        except (ConnectionClosed, OSError):
            pass
        finally:
            back.cancel()
            writer.transport.abort()
            await asyncio.gather(back, return_exceptions=True)
