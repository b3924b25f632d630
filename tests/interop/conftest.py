"""Peers, built once a session, and evcore's two roles beside them.

The programs are built into `cache/`; a tool that is missing, or a build that fails, fails the tests that need it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from evcore import Codec
from evcore.dispatch import Table
from evcore.endpoint import Endpoint, Event, Fault, Stray
from evcore.net.client import connect
from evcore.net.connection import Connection
from evcore.net.engine import Engine, EngineName, load
from evcore.net.server import Link, Server, ServerOptions
from tests.integration.conftest import cli, engine, serving, until
from tests.interop.peers import Ocpp, Peer, Program

__all__ = ["cli", "engine", "serving", "until"]

HERE = Path(__file__).parent
CACHE = HERE / "cache"

#: Pairings: who, in which versions. ocpp-go 0.19 knows no 2.1.
PAIRS = [
    *(("ocpp", version) for version in ("ocpp1.6", "ocpp2.0.1", "ocpp2.1")),
    *(("ocpp-go", version) for version in ("ocpp1.6", "ocpp2.0.1")),
    *(("ocpp-rpc", version) for version in ("ocpp1.6", "ocpp2.0.1", "ocpp2.1")),
]


def _run(needs: str, *command: str, cwd: Path) -> None:
    """A step of a build. `needs`: what to install where its program is missing."""
    if shutil.which(command[0]) is None:
        pytest.fail(f"{command[0]} was not found: the interoperability tests need {needs}", pytrace=False)
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)} failed in {cwd.name}:\n{done.stdout}{done.stderr}", pytrace=False)


@contextlib.contextmanager
def _building() -> Any:
    """One build at a time, over all sessions on this checkout."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_stale(product: Path, *sources: Path) -> bool:
    return not product.exists() or any(source.stat().st_mtime > product.stat().st_mtime for source in sources)


@pytest.fixture(scope="session")
def go_peer() -> tuple[str, ...]:
    """The command of the peer on ocpp-go."""
    program = CACHE / "go-peer"
    with _building():
        if _is_stale(program, *(HERE / "go").iterdir()):
            _run("Go 1.22 or newer", "go", "build", "-o", str(program), ".", cwd=HERE / "go")
    return (str(program),)


@pytest.fixture(scope="session")
def node_peer() -> tuple[str, ...]:
    """The command of the peer on ocpp-rpc."""
    folder = CACHE / "node"
    with _building():
        sources = [HERE / "node" / name for name in ("package.json", "package-lock.json", ".npmrc", "peer.js")]
        if _is_stale(folder / "installed", *sources):
            folder.mkdir(exist_ok=True)
            for source in sources:
                shutil.copy(source, folder)
            _run("Node.js 18 or newer with npm", "npm", "ci", "--ignore-scripts", "--loglevel=error", cwd=folder)
            (folder / "installed").touch()
    if shutil.which("node") is None:
        pytest.fail("node was not found: the interoperability tests need Node.js 18 or newer", pytrace=False)
    return ("node", str(folder / "peer.js"))


@pytest.fixture(params=PAIRS, ids=lambda pair: " ".join(pair))
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Name of the peer, version."""
    named: tuple[str, str] = request.param
    return named


@pytest.fixture
def version(pair: tuple[str, str]) -> str:
    return pair[1]


@pytest.fixture
def strict(pair: tuple[str, str]) -> bool:
    """Whether the peer judges messages too. ocpp-rpc 2.2.1 looks for the schemas of 2.1 under names they do not have
    and would refuse every message.
    """
    return pair != ("ocpp-rpc", "ocpp2.1")


@pytest.fixture
async def make_peer(
    pair: tuple[str, str], request: pytest.FixtureRequest
) -> AsyncIterator[Callable[[], Awaitable[Peer]]]:
    """Starts peers of the pairing."""
    started: list[Peer] = []

    async def make() -> Peer:
        peer: Peer
        if pair[0] == "ocpp":
            peer = Ocpp()
        else:
            command = request.getfixturevalue({"ocpp-go": "go_peer", "ocpp-rpc": "node_peer"}[pair[0]])
            peer = await Program.start(*command)
        started.append(peer)
        return peer

    # Built outside the loop's time-outs.
    if pair[0] != "ocpp":
        request.getfixturevalue({"ocpp-go": "go_peer", "ocpp-rpc": "node_peer"}[pair[0]])
    try:
        yield make
    finally:
        for peer in started:
            await peer.end()


@pytest.fixture
async def peer(make_peer: Callable[[], Awaitable[Peer]]) -> Peer:
    return await make_peer()


@dataclass(eq=False)
class Side:
    """The context of evcore's handlers in either role, and what its endpoint complained of."""

    identity: str
    asked: list[tuple[str, Any]] = field(default_factory=list)
    faults: list[Event] = field(default_factory=list)
    connection: Connection[Side] | None = None
    connections: int = 0

    def __str__(self) -> str:
        return self.identity

    def happened(self, event: Event) -> None:
        if isinstance(event, (Fault, Stray)):
            self.faults.append(event)

    def answered(self, call: Any, seconds: float, refused: bool) -> None:
        """Handlers and events say enough."""

    async def call(self, action: str, payload: Mapping[str, Any], timeout: float | None = None) -> Mapping[str, Any]:
        assert self.connection is not None
        return await self.connection.call(action, payload, timeout=timeout)


def table_of(answers: Mapping[str, Any]) -> Table[Side]:
    """Handlers that note what they were asked and answer what the test says; a callable is asked itself."""
    table: Table[Side] = Table()
    for action, answer in answers.items():

        def handler(side: Side, payload: Any, action: str = action, answer: Any = answer) -> Any:
            side.asked.append((action, dict(payload)))
            return answer(side, payload) if callable(answer) else answer

        table.on(action)(handler)
    return table


class Central:
    """The smallest CSMS: implements `evcore.net.server.Application` over a table of answers."""

    def __init__(self, answers: Mapping[str, Mapping[str, Any]]) -> None:
        self._tables = {version: table_of(given) for version, given in answers.items()}
        self.sides: dict[str, Side] = {}
        self.url = ""

    def knows(self, identity: str) -> bool:
        return True

    def link(self, identity: str, version: str) -> Link[Side]:
        side = self.sides.setdefault(identity, Side(identity))
        return Link(Endpoint(Codec(version)), self._tables[version], side, side)

    def connected(self, connection: Connection[Side]) -> None:
        connection.context.connection = connection
        connection.context.connections += 1

    def disconnected(self, connection: Connection[Side]) -> None:
        connection.context.connection = None


@pytest.fixture
def central(engine: Any) -> Callable[..., AbstractAsyncContextManager[Central]]:
    """evcore as a server with handlers of the test: `central({version: {action: answer}})`."""

    @contextlib.asynccontextmanager
    async def run(answers: Mapping[str, Mapping[str, Any]]) -> AsyncIterator[Central]:
        application = Central(answers)
        server = Server(application, load(engine), ServerOptions(port=0))
        await server.start()
        application.url = f"ws://127.0.0.1:{server.port}"
        try:
            yield application
        finally:
            await server.stop()

    return run


class Offering:
    """An engine whose upgrade requests have these headers, and offer permessage-deflate or not."""

    def __init__(self, engine: Engine, headers: Mapping[str, str], deflate: bool) -> None:
        self._engine = engine
        self._headers = headers
        self._deflate = deflate
        self.listen = engine.listen

    async def connect(self, url: str, subprotocols: tuple[str, ...], sink: Any, **more: Any) -> None:
        await self._engine.connect(
            url, subprotocols, sink, **{**more, "headers": self._headers, "deflate": self._deflate}
        )


@pytest.fixture
def station() -> Callable[..., AbstractAsyncContextManager[Side]]:
    """evcore as a station: `station(url, version, answers)`, with a password, offering permessage-deflate, if asked."""

    @contextlib.asynccontextmanager
    async def run(
        url: str,
        version: str,
        answers: Mapping[str, Any],
        identity: str = "CP1",
        *,
        engine: EngineName = "picows",
        password: str | None = None,
        deflate: bool = False,
    ) -> AsyncIterator[Side]:
        side = Side(identity)
        headers = {}
        if password is not None:
            headers["Authorization"] = f"Basic {base64.b64encode(f'{identity}:{password}'.encode()).decode()}"
        offering = Offering(load(engine), headers, deflate)
        endpoint = Endpoint(Codec(version), call_timeout=20)
        connection = await connect(offering, url, identity, endpoint, table_of(answers), side, side)
        side.connection = connection
        try:
            yield side
        finally:
            connection.close(1000)
            async with asyncio.timeout(10):
                await connection.ended()

    return run
