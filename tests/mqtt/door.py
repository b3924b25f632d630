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
from typing import Literal, Self

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.mqtt.brokers import free_port

Direction = Literal["up", "down"]


class Door:
    """A TCP proxy on a free port before `target`; `up` is towards the broker, `down` back to the client.

    passed: bytes that went through, by direction, over all connections. opened: connections let in so far.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = free_port()
        self.opened = 0
        self.passed: dict[Direction, int] = {"up": 0, "down": 0}
        self._flow: dict[Direction, asyncio.Event] = {"up": asyncio.Event(), "down": asyncio.Event()}
        self._allowed: dict[Direction, int | None] = {"up": None, "down": None}
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._halved: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
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
            self._server = await asyncio.start_server(self._enter, "127.0.0.1", self.port, limit=1 << 16)

    async def shut(self) -> None:
        """Resets what is open and refuses what comes."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

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
        for pair in list(self._pairs):
            for writer in pair:
                raw = writer.get_extra_info("socket")
                if raw is not None and raw.fileno() >= 0:
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()

    def half_close(self) -> None:
        """FIN towards the client; what it still sends goes on to the broker."""
        for client, _ in list(self._pairs):
            self._halved.add(client)
            with contextlib.suppress(OSError):
                client.write_eof()

    def cut_after(self, direction: Direction, size: int) -> None:
        """Lets `size` more bytes pass in this direction, then resets everything, once."""
        self._allowed[direction] = size

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target, limit=1 << 16)
        except OSError:
            writer.transport.abort()
            self._tasks.discard(task)
            return
        self.opened += 1
        pair = (writer, up_writer)
        self._pairs.add(pair)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass("up", reader, up_writer))
                both.create_task(self._pass("down", up_reader, writer))
        except* OSError:
            pass
        except* asyncio.CancelledError:
            pass  # the door is being shut, and nobody waits for this task but `shut`
        finally:
            self._pairs.discard(pair)
            self._halved.discard(writer)
            self._tasks.discard(task)
            for end in pair:
                end.transport.abort()

    async def _pass(self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1 << 16):
            await self._flow[direction].wait()
            if writer in self._halved:
                continue
            allowed = self._allowed[direction]
            if allowed is not None:
                cut = len(chunk) >= allowed
                chunk = chunk[:allowed]
                self._allowed[direction] = None if cut else allowed - len(chunk)
                writer.write(chunk)
                if cut:
                    self.passed[direction] += len(chunk)
                    await asyncio.sleep(0.02)  # the bytes that were let through arrive before the reset does
                    self.reset()
                    return
            else:
                writer.write(chunk)
            self.passed[direction] += len(chunk)
            await writer.drain()
        await self._flow[direction].wait()
        if writer.can_write_eof():
            writer.write_eof()


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
