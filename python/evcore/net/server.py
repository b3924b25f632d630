"""The server: one port, stations of all versions, the newest connection of an identity wins.

The application says who is known and brings tables, contexts and observers; the server brings handshake, registry,
liveness and shutdown. Each connection has an epoch, so that the late end of a replaced connection does not remove its
successor. One sweep looks after all connections of the loop, a slice at a time: deadlines, silence, pings. There is no
task and no timer per connection.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from evcore.dispatch import Table
from evcore.endpoint import Endpoint
from evcore.net.auth import Authenticator
from evcore.net.connection import Connection, Host, Observer, Tap
from evcore.net.engine import Accept, Engine, Listener, ListenOptions, Refuse, Upgrade, Wire
from evcore.net.handshake import SUBPROTOCOLS, Admitted, Handshake, HandshakeOptions, TurnAway
from evcore.net.limits import Limits

__all__ = ["Application", "Link", "Server", "ServerOptions"]

log = logging.getLogger("evcore.server")

C = TypeVar("C")

#: Slices of a sweep: 50,000 stations looked after at once would be a pause that others notice.
_SLICES: Final = 10
_SWEEP_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """`listen` bounds each connection, `handshake` says who gets in. `deflate`: versions permessage-deflate is agreed
    on with, when the station offers it (a CSMS must be able to in 2.x; 1.6 advises against it).

    `ping_interval`: seconds of silence after which a station is asked for a sign of life, `idle_timeout`: after which
    its connection is cut; 0 for never. Any frame is a sign of life. Many stations never answer a ping (which is why it
    is off by default), and some are silent for a whole heartbeat interval: the time-out should be three of those.

    `stop_code`: 1001, or 1012 when the server is about to be back. `stop_spread`: seconds over which the stations are
    let go, so that they do not come back all at once; `stop_seconds`: longest wait for handlers and closing handshakes
    after that.
    """

    host: str = "127.0.0.1"
    port: int = 9000
    listen: ListenOptions = field(default_factory=ListenOptions)
    handshake: HandshakeOptions = field(default_factory=HandshakeOptions)
    deflate: frozenset[str] = frozenset({"ocpp2.0.1", "ocpp2.1"})
    ping_interval: float = 0.0
    idle_timeout: float = 900.0
    stop_code: int = 1001
    stop_spread: float = 0.0
    stop_seconds: float = 5.0


class Link(NamedTuple, Generic[C]):
    """What an application gives a new connection. `tap` sees raw frames; most connections do without."""

    endpoint: Endpoint
    table: Table[C]
    context: C
    observer: Observer | None = None
    tap: Tap | None = None


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


class _Reception(Generic[C]):
    """The sink of one upgrade: becomes a connection once it is open, so that refused upgrades cost nothing."""

    __slots__ = ("_admit", "_name", "_sink", "_version")

    def __init__(self, admit: Callable[[str, str], Connection[C]], name: str, version: str) -> None:
        self._admit = admit
        self._name = name
        self._version = version
        self._sink: Connection[C] | None = None

    def opened(self, wire: Wire) -> None:
        connection = self._sink = self._admit(self._name, self._version)
        connection.opened(wire)

    def frame(self, frame: bytes) -> None:
        if self._sink is not None:
            self._sink.frame(frame)

    def heard(self) -> None:
        if self._sink is not None:
            self._sink.heard()

    def closed(self) -> None:
        if self._sink is not None:
            self._sink.closed()


class _Turned:
    """The sink of a station that is upgraded only to be told why it is not wanted."""

    __slots__ = ("_reason",)

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def opened(self, wire: Wire) -> None:
        wire.close(1002, self._reason)

    def frame(self, frame: bytes) -> None:
        """Nothing is read from it."""

    def heard(self) -> None:
        """It is on its way out."""

    def closed(self) -> None:
        """Nothing was kept of it."""


class _Registry(Host[C]):
    """All open connections, and which of them is the current one of its station."""

    def __init__(self, application: Application[C]) -> None:
        super().__init__()
        self._application = application
        self.current: dict[str, Connection[C]] = {}
        # In the order they opened: the sweep takes slices of it.
        self.all: dict[Connection[C], None] = {}
        self.by_version = dict.fromkeys(SUBPROTOCOLS, 0)
        self.replaced = 0

    def opened(self, connection: Connection[C]) -> None:
        name = connection.name
        old = self.current.get(name)
        self.current[name] = connection
        self.all[connection] = None
        self.by_version[connection.version] += 1
        if old is not None:
            self.replaced += 1
            log.info("%s: replaces its connection from %s", name, old.peer)
            old.close(1000, "replaced by a new connection of the same station")
        self._application.connected(connection)

    def closed(self, connection: Connection[C]) -> None:
        if connection in self.all:
            del self.all[connection]
            self.by_version[connection.version] -= 1
        current = self.current.get(connection.name)
        if current is not None and current.epoch == connection.epoch:
            del self.current[connection.name]
            self._application.disconnected(connection)


class Server(Generic[C]):
    """Stations of an application on one engine. `authenticator` and `limits`: none unless given."""

    def __init__(
        self,
        application: Application[C],
        engine: Engine,
        options: ServerOptions | None = None,
        *,
        authenticator: Authenticator | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._application = application
        self._engine = engine
        self._options = options or ServerOptions()
        self._limits = limits
        self.handshake = Handshake(self._options.handshake, application.knows, authenticator, limits)
        self._epochs = itertools.count(1)
        self._registry: _Registry[C] | None = None
        self._listener: Listener | None = None
        self._port = self._options.port
        self._sweeper: asyncio.Task[None] | None = None
        #: Connections cut because nothing was heard of them for `idle_timeout`.
        self.silent = 0

    @property
    def port(self) -> int:
        """The port in use; differs from the option where that is 0."""
        return self._port

    @property
    def connections(self) -> dict[str, int]:
        """How many connections are open, by version."""
        return dict.fromkeys(SUBPROTOCOLS, 0) if self._registry is None else dict(self._registry.by_version)

    @property
    def replaced(self) -> int:
        """Connections that gave way to a newer one of the same station."""
        return 0 if self._registry is None else self._registry.replaced

    def connection(self, identity: str) -> Connection[C] | None:
        """The current connection of a station."""
        return None if self._registry is None else self._registry.current.get(identity)

    def __iter__(self) -> Iterator[Connection[C]]:
        """The open connections; a copy is needed where they may open or close meanwhile."""
        return iter(() if self._registry is None else self._registry.all)

    async def start(self) -> None:
        """Listens. Raises OSError."""
        options = self._options
        listen = options.listen
        if self._limits is not None and listen.door is None:
            listen = replace(listen, door=self._limits.door(monotonic))
        self._registry = _Registry(self._application)
        self._listener = await self._engine.listen(options.host, options.port, self._decide, listen)
        self._port = self._listener.port
        self._sweeper = asyncio.create_task(self._sweep(self._registry))

    async def stop(self) -> None:
        """Stops listening and lets the stations go, each when the CALLs it sent are answered; returns when all are
        gone, or when the time for it is over.
        """
        options = self._options
        self.handshake.stop()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        going = list(self)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number, connection in enumerate(going):
            pause = began + options.stop_spread * number / len(going) - loop.time()
            if pause > 0.05:
                await asyncio.sleep(pause)
            connection.leave(options.stop_code, "the server is shutting down")
        try:
            async with asyncio.timeout(options.stop_seconds):
                for connection in going:
                    if connection.is_open:
                        await connection.ended()
        except TimeoutError:
            for connection in list(self):
                connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)

    def _decide(self, upgrade: Upgrade) -> Accept | Refuse:
        verdict = self.handshake.decide(upgrade, monotonic())
        if isinstance(verdict, Refuse):
            return verdict
        if isinstance(verdict, TurnAway):
            return Accept(None, _Turned(verdict.reason))
        return self._accept(verdict)

    def _accept(self, admitted: Admitted) -> Accept:
        sink = _Reception(self._admit, admitted.identity, admitted.version)
        return Accept(admitted.subprotocol, sink, admitted.version in self._options.deflate)

    def _admit(self, name: str, version: str) -> Connection[C]:
        assert self._registry is not None
        link = self._application.link(name, version)
        return Connection(
            link.endpoint,
            link.table,
            link.context,
            host=self._registry,
            observer=link.observer,
            tap=link.tap,
            name=name,
            epoch=next(self._epochs),
        )

    async def _sweep(self, registry: _Registry[C]) -> None:
        ping = self._options.ping_interval or math.inf
        idle = self._options.idle_timeout or math.inf
        quiet = min(ping, idle)
        tls = self._options.listen.tls
        while True:
            if tls is not None:
                tls.refresh()
            connections = list(registry.all)
            size = -(-len(connections) // _SLICES)
            for number in range(_SLICES):
                await asyncio.sleep(_SWEEP_SECONDS / _SLICES)
                now = monotonic()
                for connection in connections[number * size : (number + 1) * size]:
                    connection.tick(now)
                    silence = now - connection.heard_at
                    if silence > quiet and connection.is_open:
                        if silence > idle:
                            self.silent += 1
                            log.info("%s: cut off, nothing was heard of it for %.0f s", connection.name, silence)
                            connection.abort()
                        elif silence % ping < 1.5 * _SWEEP_SECONDS:
                            connection.ping()
