"""Raw connections: bytes as a test wants them, ended as a test wants it. They come from 127.0.0.2."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import ssl
import struct
import zlib
from typing import Any, Final

__all__ = ["ACTIONS", "Raw", "call", "deflated", "frame", "request"]

_KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
CONTINUATION = 0

#: How a connection may end without a word.
ACTIONS: Final = ("FIN", "RST")


def request(identity: str, version: str = "ocpp1.6", *more: str) -> bytes:
    """An upgrade request; `more` are header lines."""
    lines = (
        f"GET /{identity} HTTP/1.1",
        "Host: x",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {_KEY}",
        f"Sec-WebSocket-Protocol: {version}",
        *more,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def frame(
    payload: bytes | str,
    opcode: int = TEXT,
    *,
    fin: bool = True,
    rsv1: bool = False,
    masked: bool = True,
    size: int = -1,
) -> bytes:
    """A frame of a client, the mask being zero. `size`: the length it claims, where that is not the payload's."""
    body = payload.encode() if isinstance(payload, str) else payload
    size = len(body) if size < 0 else size
    head = bytes([fin << 7 | rsv1 << 6 | opcode])
    mask = masked << 7
    if size < 126:
        head += bytes([mask | size])
    elif size < 65536:
        head += bytes([mask | 126]) + struct.pack(">H", size)
    else:
        head += bytes([mask | 127]) + struct.pack(">Q", size)
    return head + (b"\0\0\0\0" if masked else b"") + body


def call(message_id: str, action: str = "Heartbeat", payload: Any = None) -> bytes:
    return frame(json.dumps([2, message_id, action, {} if payload is None else payload]))


def deflated(payload: bytes) -> bytes:
    """A payload as permessage-deflate has it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


class Raw:
    """A TCP connection to the victim."""

    left: Final[set[Raw]] = set()
    """Those that have not ended."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.left.add(self)

    @classmethod
    async def open(cls, port: int, *, small: bool = False, tls: ssl.SSLContext | None = None) -> Raw:
        """`small`: with small buffers, so that the peer of one that does not read notices soon."""
        plain = socket.socket()
        if small:
            for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                plain.setsockopt(socket.SOL_SOCKET, buffer, 16384)
        plain.setblocking(False)
        plain.bind(("127.0.0.2", 0))
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", port))
        name = None if tls is None else "localhost"
        return cls(*await asyncio.open_connection(sock=plain, limit=1 << 20, ssl=tls, server_hostname=name))

    @classmethod
    async def upgraded(
        cls, port: int, identity: str = "BAD", version: str = "ocpp1.6", *more: str, small: bool = False
    ) -> Raw:
        raw = await cls.open(port, small=small)
        raw.send(request(identity, version, *more))
        head = await raw.head()
        assert head.startswith("HTTP/1.1 101"), head
        return raw

    async def head(self) -> str:
        """The head of an HTTP answer."""
        async with asyncio.timeout(60):
            return (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def flush(self) -> None:
        """Waits until the victim takes more; an end of the connection is none of ours."""
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    def no_more(self) -> None:
        """Closes this side's half, where the victim has not been faster."""
        with contextlib.suppress(OSError):
            self.writer.write_eof()

    async def frame(self) -> tuple[int, bytes] | None:
        """Opcode and payload of the next frame, None at the end."""
        try:
            async with asyncio.timeout(60):
                first, second = await self.reader.readexactly(2)
                size = second & 127
                if size == 126:
                    size = struct.unpack(">H", await self.reader.readexactly(2))[0]
                elif size == 127:
                    size = struct.unpack(">Q", await self.reader.readexactly(8))[0]
                return first & 15, await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def answer(self) -> Any:
        """The next text message as JSON."""
        got = await self.frame()
        assert got is not None, "the connection was ended"
        assert got[0] == TEXT, got
        return json.loads(got[1])

    async def ask(self, message_id: str, action: str = "Heartbeat", payload: Any = None) -> Any:
        self.send(call(message_id, action, payload))
        return await self.answer()

    async def over(self) -> int | None:
        """Reads until the victim closes; returns the close code, None where it has just gone."""
        while (got := await self.frame()) is not None:
            if got[0] == CLOSE:
                code: int = struct.unpack(">H", got[1][:2])[0] if got[1] else 1005
                return code
        return None

    async def drained(self) -> None:
        """Reads until the end, whatever it is."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(60):
                while await self.reader.read(65536):
                    continue

    async def end(self, how: str = "RST") -> None:
        """FIN: no more comes; RST: the connection is broken."""
        self.left.discard(self)
        if how == "RST":
            plain: socket.socket = self.writer.get_extra_info("socket")
            # The victim may have been faster.
            if plain.fileno() >= 0:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        else:
            self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


def noise(size: int) -> bytes:
    return os.urandom(size)
