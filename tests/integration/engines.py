"""What the tests of the engines share: a sink that writes down what it is told, a door that counts, raw clients."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from evcore.net.engine import Accept, ListenOptions, Refuse, Upgrade, Wire, load


class Notes:
    """A sink that echoes, and notes what happens in order."""

    def __init__(self, echo: bool = True) -> None:
        self.echo = echo
        self.wire: Wire | None = None
        self.frames: list[bytes] = []
        self.happened: list[str] = []

    def opened(self, wire: Wire) -> None:
        self.wire = wire
        self.happened.append("opened")

    def frame(self, frame: bytes) -> None:
        self.frames.append(frame)
        self.happened.append("frame")
        if self.echo and self.wire is not None:
            self.wire.send(frame)

    def heard(self) -> None:
        self.happened.append("heard")

    def closed(self) -> None:
        self.happened.append("closed")


class CountingDoor:
    def __init__(self, open_: bool = True) -> None:
        self.open = open_
        self.entered: list[str] = []
        self.left: list[str] = []

    def enter(self, address: str) -> bool:
        if self.open:
            self.entered.append(address)
        return self.open

    def leave(self, address: str) -> None:
        self.left.append(address)


class Listening:
    """An engine that listens: the upgrades it was asked about, the sinks it has opened."""

    def __init__(self, decide: Callable[[Upgrade], Accept | Refuse] | None, deflate: bool) -> None:
        self.upgrades: list[Upgrade] = []
        self.sinks: list[Notes] = []
        self.port = 0
        self._decide = decide
        self._deflate = deflate

    def decide(self, upgrade: Upgrade) -> Accept | Refuse:
        self.upgrades.append(upgrade)
        if self._decide is not None:
            return self._decide(upgrade)
        self.sinks.append(Notes())
        return Accept("ocpp1.6", self.sinks[-1], self._deflate)

    def url(self, scheme: str = "ws", path: str = "/CP1") -> str:
        return f"{scheme}://localhost:{self.port}{path}"


@contextlib.asynccontextmanager
async def listening(
    engine: Any,
    decide: Callable[[Upgrade], Accept | Refuse] | None = None,
    *,
    deflate: bool = False,
    **options: Any,
) -> AsyncIterator[Listening]:
    state = Listening(decide, deflate)
    listener = await load(engine).listen("127.0.0.1", 0, state.decide, ListenOptions(**options))
    state.port = listener.port
    try:
        yield state
    finally:
        listener.close()
        for sink in state.sinks:
            if sink.wire is not None:
                sink.wire.abort()
        await asyncio.sleep(0.01)


def request(*extra: str, path: str = "/CP1") -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol: ocpp1.6",
        *extra,
        "",
        "",
    ]
    return "\r\n".join(lines).encode("latin-1")


def frame(opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0, length: int | None = None) -> bytes:
    """A client's frame; `length` is what its header says."""
    size = len(payload) if length is None else length
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65536:
        head += struct.pack("!BH", 0x80 | 126, size)
    else:
        head += struct.pack("!BQ", 0x80 | 127, size)
    return head + bytes(4) + payload


@contextlib.asynccontextmanager
async def raw(
    port: int, *extra: str, **options: Any
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """An upgraded connection without a library."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **options)
    try:
        writer.write(request(*extra))
        async with asyncio.timeout(10):
            answer = await reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in answer.partition(b"\r\n")[0] + b" ", answer
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def close_code(reader: asyncio.StreamReader) -> int:
    """The code of the close frame that ends the connection; other frames before it are passed over."""
    async with asyncio.timeout(10):
        while True:
            first, size = await reader.readexactly(2)
            if size == 126:
                size = struct.unpack("!H", await reader.readexactly(2))[0]
            elif size == 127:
                size = struct.unpack("!Q", await reader.readexactly(8))[0]
            payload = await reader.readexactly(size)
            if first & 15 == 8:
                return int(struct.unpack("!H", payload[:2])[0])


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
