"""Messages between the supervisor and one worker, over a pair of connected sockets.

Comes in and goes out: JSON arrays whose first item is the kind, each behind its length as four bytes, big-endian. Both
ends are programs of this package and trust each other; a message longer than `MAX_MESSAGE` is a bug and ends the
channel.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any, Final, cast

__all__ = ["Channel"]

MAX_MESSAGE: Final = 64 * 1024 * 1024
_HEAD: Final = 4


class Channel(asyncio.Protocol):
    """One end. `heard(message)` is called for each message, `ended()` once when the other side is gone."""

    def __init__(self, heard: Callable[[list[Any]], None], ended: Callable[[], None]) -> None:
        self._heard = heard
        self._ended = ended
        self._buffer = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    @classmethod
    async def over(cls, end: socket.socket, heard: Callable[[list[Any]], None], ended: Callable[[], None]) -> Channel:
        """The channel over a connected socket, which it owns from now on."""
        end.setblocking(False)
        _, channel = await asyncio.get_running_loop().create_unix_connection(lambda: cls(heard, ended), sock=end)
        return channel

    def send(self, *message: Any) -> None:
        """Sends a message; one to a side that is gone is dropped."""
        if self._transport is None or self._transport.is_closing():
            return
        body = json.dumps(message, separators=(",", ":")).encode()
        self._transport.write(len(body).to_bytes(_HEAD, "big") + body)

    def close(self) -> None:
        """Closes when what was sent is written; `ended` follows."""
        if self._transport is not None:
            self._transport.close()

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= _HEAD:
            size = int.from_bytes(buffer[start : start + _HEAD], "big")
            if size > MAX_MESSAGE:
                raise ValueError(f"a message of {size} bytes between supervisor and worker")
            end = start + _HEAD + size
            if len(buffer) < end:
                break
            message = json.loads(buffer[start + _HEAD : end])
            start = end
            self._heard(message)
        del buffer[:start]

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._ended()
