"""The server: one port, stations of all versions, the newest connection of an identity wins.

The application says who is known and brings tables, contexts and observers; the server brings handshake, registry and
shutdown. Each connection has an epoch, so that the late end of a replaced connection does not remove its successor.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

from evcore.dispatch import Table
from evcore.endpoint import Endpoint
from evcore.net.connection import Connection, Observer
from evcore.net.engine import Accept, Engine, Listener, ListenOptions, Refuse, Upgrade, Wire
from evcore.net.handshake import SUBPROTOCOLS, choose, identity

__all__ = ["Application", "Link", "Server", "ServerOptions"]

log = logging.getLogger("evcore.server")

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """`mismatch`: what a station gets that offers no subprotocol of ours. `assume`: the version of one that offers none
    at all.

    `max_frame`: bytes of the largest message; the connection is closed with 1009 beyond it.
    """

    host: str = "127.0.0.1"
    port: int = 9000
    mismatch: Literal["reject", "close"] = "reject"
    assume: Literal["ocpp1.6"] | None = None
    max_frame: int = 1024 * 1024


class Link(NamedTuple, Generic[C]):
    """What an application gives a new connection."""

    endpoint: Endpoint
    table: Table[C]
    context: C
    observer: Observer


class Application(Protocol[C]):
    def knows(self, identity: str) -> bool:
        """Whether this identity may connect; others get HTTP 404."""
        ...

    def link(self, identity: str, version: str) -> Link[C]:
        """Parts for a new connection of a known station; called when it is open."""
        ...

    def connected(self, connection: Connection[C]) -> None:
        """The connection is open and the identity's current one."""

    def disconnected(self, connection: Connection[C]) -> None:
        """The identity's current connection is over; not called for a replaced one."""


class _Current(NamedTuple, Generic[C]):
    epoch: int
    connection: Connection[C]


class _Reception(Generic[C]):
    """The sink of one upgrade: becomes a connection once it is open, so that refused upgrades cost nothing."""

    __slots__ = ("_admit", "_connection")

    def __init__(self, admit: Callable[[], Connection[C]]) -> None:
        self._admit = admit
        self._connection: Connection[C] | None = None

    def opened(self, wire: Wire) -> None:
        self._connection = self._admit()
        self._connection.opened(wire)

    def frame(self, frame: bytes) -> None:
        if self._connection is not None:
            self._connection.frame(frame)

    def heard(self) -> None:
        """Any sign of life; deadlines are the endpoint's."""

    def closed(self) -> None:
        if self._connection is not None:
            self._connection.closed()


class _Turned:
    """The sink of a station that is upgraded only to be told that no version fits."""

    def opened(self, wire: Wire) -> None:
        wire.close(1002, f"no common subprotocol, this server speaks {', '.join(SUBPROTOCOLS)}")

    def frame(self, frame: bytes) -> None:
        """Nothing is read from it."""

    def heard(self) -> None:
        """Nothing is read from it."""

    def closed(self) -> None:
        """Nothing was kept of it."""


class Server(Generic[C]):
    def __init__(self, application: Application[C], engine: Engine, options: ServerOptions) -> None:
        self._application = application
        self._engine = engine
        self._options = options
        self._current: dict[str, _Current[C]] = {}
        self._open: set[Connection[C]] = set()
        self._epochs = itertools.count(1)
        self._listener: Listener | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def port(self) -> int:
        """The port in use; differs from the option where that is 0."""
        return self._options.port if self._listener is None else self._listener.port

    def connection(self, identity: str) -> Connection[C] | None:
        """The current connection of a station."""
        current = self._current.get(identity)
        return None if current is None else current.connection

    async def start(self) -> None:
        """Listens. Raises OSError."""
        options = self._options
        self._listener = await self._engine.listen(
            options.host, options.port, self._decide, ListenOptions(max_frame=options.max_frame)
        )
        self._ticker = asyncio.create_task(self._tick())

    async def stop(self, seconds: float = 5.0) -> None:
        """Stops listening, tells every station 1001, and returns when all are gone, after `seconds` at the latest."""
        self._stopping = True
        if self._listener is not None:
            self._listener.close()
        if self._ticker is not None:
            self._ticker.cancel()
        going = list(self._open)
        for connection in going:
            connection.close(1001, "the server is shutting down")
        if going:
            ends = [asyncio.ensure_future(connection.ended()) for connection in going]
            _, late = await asyncio.wait(ends, timeout=seconds)
            for end in late:
                end.cancel()

    def _decide(self, upgrade: Upgrade) -> Accept | Refuse:
        if self._stopping:
            return Refuse(503, "the server is shutting down")
        name = identity(upgrade.path)
        if isinstance(name, Refuse):
            log.info("refused an upgrade with HTTP %d: %s", name.status, name.reason)
            return name
        if not self._application.knows(name):
            log.info("%s: refused with HTTP 404, not a known station", name)
            return Refuse(404, "this station is not known here")
        chosen = choose(upgrade.subprotocols, self._options.assume)
        if chosen is not None:
            version, echo = chosen
            return Accept(echo, _Reception(lambda: self._admit(name, version)))
        reason = f"no common subprotocol: this server speaks {', '.join(SUBPROTOCOLS)}"
        if not upgrade.subprotocols:
            reason = f"the header Sec-WebSocket-Protocol is missing: this server speaks {', '.join(SUBPROTOCOLS)}"
        if self._options.mismatch == "close":
            log.info("%s: upgraded and closed, %s", name, reason)
            return Accept(None, _Turned())
        log.info("%s: refused with HTTP 400, %s", name, reason)
        return Refuse(400, reason)

    def _admit(self, name: str, version: str) -> Connection[C]:
        epoch = next(self._epochs)
        link = self._application.link(name, version)

        def opened(connection: Connection[C]) -> None:
            old = self._current.get(name)
            self._current[name] = _Current(epoch, connection)
            self._open.add(connection)
            if old is not None:
                log.info("%s: replaces its connection from %s", name, old.connection.peer)
                old.connection.close(1000, "replaced by a new connection of the same station")
            self._application.connected(connection)

        def closed(connection: Connection[C]) -> None:
            self._open.discard(connection)
            current = self._current.get(name)
            if current is not None and current.epoch == epoch:
                del self._current[name]
                self._application.disconnected(connection)

        return Connection(link.endpoint, link.table, link.context, link.observer, on_opened=opened, on_closed=closed)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            for connection in list(self._open):
                connection.tick()
