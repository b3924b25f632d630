"""The small interface between connections and a WebSocket library.

An engine listens or connects, does the opening handshake, reassembles text messages and answers pings. It asks `decide`
before the upgrade and tells a `Sink` what happens; the sink writes through a `Wire`. All callbacks come from the event
loop's thread. An engine ends a connection by itself for these reasons only: broken WebSocket framing (1002), a binary
message (1003), a message beyond the limit (1009), an upgrade not finished in time, a peer that reads nothing any more.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias, cast

__all__ = [
    "ENGINES",
    "Accept",
    "ConnectError",
    "Decide",
    "Engine",
    "EngineName",
    "Listener",
    "Refuse",
    "Sink",
    "Upgrade",
    "Wire",
    "load",
]

EngineName: TypeAlias = Literal["picows", "websockets"]
ENGINES: Final[tuple[EngineName, ...]] = ("picows", "websockets")

#: Seconds a peer may take for its upgrade request, and for its half of the closing handshake.
HANDSHAKE_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 2.0
#: Seconds a peer may leave what was sent to it unread before it is cut off.
STALL_SECONDS: Final = 60.0


log = logging.getLogger("evcore.engine")


class ConnectError(ConnectionError):
    """The server could not be reached or refused the upgrade; the text is a sentence for people."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A station's upgrade request: raw path, subprotocols in its order of preference."""

    path: str
    subprotocols: tuple[str, ...]


class Wire(Protocol):
    """The writing half of an open connection. Nothing of it raises on a connection that is gone."""

    @property
    def peer(self) -> str:
        """Address and port of the other side, for logs."""
        ...

    def send(self, frame: bytes) -> None:
        """Sends one text message."""

    def close(self, code: int, reason: str = "") -> None:
        """Starts the closing handshake; the transport is cut when the peer does not take part in it in time."""

    def abort(self) -> None:
        """Cuts the transport at once."""


class Sink(Protocol):
    """What an engine tells about one connection: `opened` once, `frame` for each text message, `closed` once, in this
    order.
    """

    def opened(self, wire: Wire) -> None: ...

    def frame(self, frame: bytes) -> None: ...

    def closed(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Accept:
    """Upgrade; answer with this subprotocol, or with none."""

    subprotocol: str | None
    sink: Sink


@dataclass(frozen=True, slots=True)
class Refuse:
    """Do not upgrade: HTTP status and a sentence as the body."""

    status: int
    reason: str


Decide: TypeAlias = Callable[[Upgrade], Accept | Refuse]


class Listener(Protocol):
    """A listening socket."""

    @property
    def port(self) -> int: ...

    def close(self) -> None:
        """Stops listening; open connections stay."""


class Engine(Protocol):
    async def listen(self, host: str, port: int, decide: Decide, *, max_frame: int) -> Listener:
        """Listens; port 0 takes a free one. Raises OSError."""
        ...

    async def connect(self, url: str, subprotocols: tuple[str, ...], sink: Sink, *, max_frame: int) -> None:
        """Connects as a client that insists on one of `subprotocols`; `sink.opened` has run on return. Raises
        ConnectError.
        """


def load(name: EngineName) -> Engine:
    """The engine of this name. Raises ImportError when its library is not installed."""
    return cast(Engine, importlib.import_module(f"evcore.net.engine_{name}").ENGINE)


class Brake:
    """Back-pressure of one connection: while the peer does not read, nothing is read of it, so nothing piles up for it.

    `pause` and `resume` are what a transport tells its protocol about its write buffer.
    """

    __slots__ = ("_timer", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None

    def pause(self) -> None:
        if self._timer is None and not self._transport.is_closing():
            self._transport.pause_reading()
            self._timer = asyncio.get_running_loop().call_later(STALL_SECONDS, self._cut)

    def resume(self) -> None:
        if self.release() and not self._transport.is_closing():
            self._transport.resume_reading()

    def release(self) -> bool:
        """Forgets the timer; tells whether there was one. To be called when the connection is over."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        return timer is not None

    def _cut(self) -> None:
        log.warning("%s is cut off: it has read nothing for %g s", address(self._transport), STALL_SECONDS)
        self._transport.abort()


def address(transport: asyncio.BaseTransport) -> str:
    """The other side of a socket as `host:port`, `unknown` where it has none."""
    peer = transport.get_extra_info("peername")
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "unknown"


def offered(values: list[str]) -> tuple[str, ...]:
    """The tokens of all Sec-WebSocket-Protocol headers, in order."""
    return tuple(token for value in values for part in value.split(",") if (token := part.strip(" \t")))
