"""Messages between two processes of this package, over a connected Unix socket.

Comes in and goes out: JSON arrays whose first item is the kind, each behind its length as four bytes, big-endian. Both
ends are programs of this package and trust each other; what is no such array, or longer than `MAX_MESSAGE`, is a bug or
a stranger and ends the channel with a line in the log.

A side that does not read is not written to without end: `is_full` says so, and `drained` is called when there is room
again. Nothing is dropped here: what a full channel means is its user's to decide.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

__all__ = ["MAX_MESSAGE", "Channel", "encode"]

log = logging.getLogger("evcore.channel")

MAX_MESSAGE: Final = 64 * 1024 * 1024
#: Bytes that wait for the other side from which on the channel is full.
_HIGH: Final = 256 * 1024
_HEAD: Final = 4


def encode(*message: Any) -> bytes:
    """A message as it crosses the socket."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return len(body).to_bytes(_HEAD, "big") + body


class Channel(asyncio.Protocol):
    """One end. `heard(message)` is called for each message, `ended()` once when the other side is gone, `drained()`
    when a channel that was full has room again.
    """

    def __init__(
        self,
        heard: Callable[[list[Any]], None],
        ended: Callable[[], None],
        drained: Callable[[], None] | None = None,
    ) -> None:
        self._heard = heard
        self._ended = ended
        self._drained = drained
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self.is_full = False

    @classmethod
    async def over(cls, end: socket.socket, heard: Callable[[list[Any]], None], ended: Callable[[], None]) -> Channel:
        """The channel over a connected socket, which it owns from now on."""
        end.setblocking(False)
        _, channel = await asyncio.get_running_loop().create_unix_connection(lambda: cls(heard, ended), sock=end)
        return channel

    @property
    def is_open(self) -> bool:
        """Whether what is sent now has a chance to arrive."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, *message: Any) -> None:
        """Sends a message; one to a side that is gone is dropped."""
        self.write((encode(*message),))

    def write(self, messages: Iterable[bytes]) -> None:
        """Sends messages that `encode` made."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(messages))

    def pause(self) -> None:
        """Reads no more until `resume`; the other side finds its channel full after a while."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Reads on."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        """Closes when what was sent is written; `ended` follows."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Closes at once; `ended` follows."""
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_HIGH)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= _HEAD:
            size = int.from_bytes(buffer[start : start + _HEAD], "big")
            end = start + _HEAD + size
            if size <= MAX_MESSAGE and len(buffer) < end:
                break
            message = None
            if size <= MAX_MESSAGE:
                try:
                    message = json.loads(buffer[start + _HEAD : end])
                except (ValueError, RecursionError):
                    log.debug("what came over a channel is not JSON", exc_info=True)
            if not isinstance(message, list) or not message:
                log.error("the other end of a channel sent what is no message; the channel is closed")
                buffer.clear()
                self.abort()
                return
            start = end
            self._heard(message)
            if not self.is_open:
                # Whoever heard it wants no more.
                buffer.clear()
                return
        del buffer[:start]

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        if self._drained is not None:
            self._drained()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._ended()
