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
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias, cast

from evcore.net.tls import ServerTls

__all__ = [
    "ENGINES",
    "Accept",
    "ConnectError",
    "Decide",
    "Door",
    "Engine",
    "EngineName",
    "ListenOptions",
    "Listener",
    "Refuse",
    "Sink",
    "Upgrade",
    "Wire",
    "load",
]

EngineName: TypeAlias = Literal["picows", "websockets"]
ENGINES: Final[tuple[EngineName, ...]] = ("picows", "websockets")

#: Seconds a server may take for its answer to our upgrade request, and any peer for its half of the closing handshake.
HANDSHAKE_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 2.0

log = logging.getLogger("evcore.engine")


class ConnectError(ConnectionError):
    """The server could not be reached or refused the upgrade; the text is a sentence for people."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A station's upgrade request, before anything is answered.

    `path` is raw, `subprotocols` stand in the station's order of preference, `authorization` is the value of the header
    of this name as bytes (OCPP keys are binary), `address` the peer's IP address, `secure` whether it came over TLS,
    and `certificate` the peer's verified certificate as `ssl.SSLSocket.getpeercert` gives it.
    """

    path: str
    subprotocols: tuple[str, ...]
    authorization: bytes | None = None
    address: str = ""
    secure: bool = False
    certificate: Mapping[str, Any] | None = None


class Wire(Protocol):
    """The writing half of an open connection. Nothing of it raises on a connection that is gone."""

    @property
    def peer(self) -> str:
        """Address and port of the other side, for logs."""
        ...

    def send(self, frame: bytes) -> None:
        """Sends one text message."""

    def ping(self) -> None:
        """Sends a ping; the pong comes back as `Sink.heard`."""

    def close(self, code: int, reason: str = "") -> None:
        """Starts the closing handshake; the transport is cut when the peer does not take part in it in time."""

    def abort(self) -> None:
        """Cuts the transport at once."""


class Sink(Protocol):
    """What an engine tells about one connection: `opened` once, then `frame` for each text message and `heard` for each
    other sign of life (a ping, a pong, a part of a message), and `closed` exactly once, last.
    """

    def opened(self, wire: Wire) -> None: ...

    def frame(self, frame: bytes) -> None: ...

    def heard(self) -> None: ...

    def closed(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Accept:
    """Upgrade; answer with this subprotocol, or with none.

    `deflate`: permessage-deflate (RFC 7692) may be agreed on when the peer offers it.
    """

    subprotocol: str | None
    sink: Sink
    deflate: bool = False


@dataclass(frozen=True, slots=True)
class Refuse:
    """Do not upgrade: HTTP status, a sentence as the body, and headers such as WWW-Authenticate or Retry-After."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = ()


Decide: TypeAlias = Callable[[Upgrade], Accept | Refuse]


class Door(Protocol):
    """Asked when a TCP connection is accepted, before a byte is read from it."""

    def enter(self, address: str) -> bool:
        """Whether a connection from this IP address may go on to TLS and its upgrade request; it is cut otherwise."""
        ...

    def leave(self, address: str) -> None:
        """The handshake of a connection that entered is over, well or not."""


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """How to listen, and the bounds of each connection.

    `max_frame`: bytes of the largest message, compressed or not, `max_parts`: the frames it may come in; the connection
    is closed with 1009 and 1008 beyond them. `handshake_seconds`: time from the TCP accept to the end of the upgrade
    request. `max_waiting`: bytes that may wait for a peer that does not read, `stall_seconds`: how long they may; it is
    cut off beyond either. `receive_buffer`: bytes the kernel keeps of what a peer sends before it is read (SO_RCVBUF),
    also how much is read at once, and what a burst leaves allocated. `deflate_window`: base-2 logarithm of the window
    permessage-deflate uses, 9 to 15; `deflate_least`: bytes of the smallest message that is compressed.
    """

    max_frame: int = 1024 * 1024
    tls: ServerTls | None = None
    reuse_port: bool = False
    backlog: int = 4096
    handshake_seconds: float = 10.0
    max_waiting: int = 1024 * 1024
    stall_seconds: float = 60.0
    door: Door | None = None
    max_parts: int = 1024
    deflate_window: int = 11
    deflate_least: int = 512
    receive_buffer: int = 64 * 1024


class Listener(Protocol):
    """A listening socket."""

    @property
    def port(self) -> int: ...

    def close(self) -> None:
        """Stops listening; open connections stay."""


class Engine(Protocol):
    async def listen(self, host: str, port: int, decide: Decide, options: ListenOptions) -> Listener:
        """Listens; port 0 takes a free one. Raises OSError."""
        ...

    async def connect(
        self,
        url: str,
        subprotocols: tuple[str, ...],
        sink: Sink,
        *,
        max_frame: int,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        deflate: bool = False,
        agreed: Callable[[str], None] | None = None,
    ) -> None:
        """Connects as a client that insists on one of `subprotocols`; `sink.opened` has run on return.

        `headers` go into the upgrade request, `tls` is for wss URLs (default: the system's CAs), `deflate` offers
        permessage-deflate. `agreed` is told the server's choice before `sink.opened`. Raises ConnectError.
        """


def load(name: EngineName) -> Engine:
    """The engine of this name. Raises ImportError when its library is not installed."""
    return cast(Engine, importlib.import_module(f"evcore.net.engine_{name}").ENGINE)


class Brake:
    """Back-pressure of one connection: while the peer does not read, nothing is read of it, so nothing piles up for it.

    Made when a transport says that its write buffer is full; `release` is to be called when the connection is over.
    """

    __slots__ = ("_options", "_timer", "_transport")

    def __init__(self, transport: asyncio.Transport, options: ListenOptions) -> None:
        self._transport = transport
        self._options = options
        self._timer = asyncio.get_running_loop().call_later(options.stall_seconds, self._stalled)
        transport.pause_reading()

    def check(self) -> None:
        """To be called when something was sent: cuts the connection when too much waits for the peer."""
        waiting = self._transport.get_write_buffer_size()
        if waiting > self._options.max_waiting:
            self._cut(f"{waiting} bytes wait for it, {self._options.max_waiting} may")

    def resume(self) -> None:
        self.release()
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def release(self) -> None:
        self._timer.cancel()

    def _stalled(self) -> None:
        self._cut(f"it has not read what was sent to it for {self._options.stall_seconds:g} s")

    def _cut(self, reason: str) -> None:
        self.release()
        if not self._transport.is_closing():
            log.warning("%s is cut off: %s", address(self._transport), reason)
        self._transport.abort()


def limit_waiting(transport: asyncio.Transport, options: ListenOptions) -> None:
    """Makes a transport tell of a full write buffer before more than `max_waiting` bytes are in it."""
    if options.max_waiting < transport.get_write_buffer_limits()[1]:
        transport.set_write_buffer_limits(high=options.max_waiting)


def said(error: BaseException) -> str:
    """What an error says, its name if it says nothing."""
    return str(error) or type(error).__name__


def raw(values: list[str]) -> bytes | None:
    """A header that may stand once, as the bytes that were sent: the libraries decode them in one way or the other."""
    return values[0].encode("latin-1", "surrogateescape") if len(values) == 1 else None


def address(transport: asyncio.BaseTransport) -> str:
    """The other side of a socket as `host:port`, `unknown` where it has none."""
    peer = transport.get_extra_info("peername")
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "unknown"


def offered(values: list[str]) -> tuple[str, ...]:
    """The tokens of all Sec-WebSocket-Protocol headers, in order."""
    return tuple(token for value in values for part in value.split(",") if (token := part.strip(" \t")))
