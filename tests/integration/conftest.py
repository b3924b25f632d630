"""A CSMS on a loopback socket, and clients nobody here wrote.

`serving(engine=..., **options)` runs the server inside the test; `cli` runs the real command line as a process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from websockets.asyncio.client import ClientConnection, connect

import evcore
from evcore.bus import Bus
from evcore.csms.application import Csms, CsmsOptions
from evcore.csms.station import Station
from evcore.net.auth import Authenticator
from evcore.net.engine import ENGINES, EngineName, ListenOptions, load
from evcore.net.handshake import HandshakeOptions
from evcore.net.limits import Limits
from evcore.net.message_log import MessageLog
from evcore.net.server import Server, ServerOptions

#: Most tests are about something else than the boot gate, and send what they want to see answered.
UNGATED = CsmsOptions(gate={"ocpp1.6": "off", "ocpp2.0.1": "off", "ocpp2.1": "off"})


@dataclass
class Serving:
    """A running server. `url` is the endpoint URL, without an identity."""

    server: Server[Station]
    csms: Csms
    url: str

    @contextlib.asynccontextmanager
    async def station(self, version: str = "ocpp1.6", identity: str = "CP1") -> AsyncIterator[RawStation]:
        async with connect(f"{self.url}/{identity}", subprotocols=[version], max_size=None) as socket:
            yield RawStation(socket)


@dataclass
class RawStation:
    """A client that sends whatever it is told to."""

    socket: ClientConnection

    async def ask(self, frame: Any) -> Any:
        """Sends a frame (a list is written as JSON) and returns the answer as JSON."""
        await self.socket.send(frame if isinstance(frame, str) else json.dumps(frame))
        return await self.answer()

    async def answer(self) -> Any:
        async with asyncio.timeout(10):
            return json.loads(await self.socket.recv())

    async def is_usable(self) -> bool:
        """Whether the next answer on this connection is that to a Heartbeat."""
        kind, message_id, payload = await self.ask([2, "probe", "Heartbeat", {}])
        return kind == 3 and message_id == "probe" and "currentTime" in payload


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineName:
    name: EngineName = request.param
    return name


@pytest.fixture
def serving() -> Callable[..., AbstractAsyncContextManager[Serving]]:
    @contextlib.asynccontextmanager
    async def run(
        engine: EngineName = "picows",
        *,
        known: set[str] | None = None,
        message_log: MessageLog | None = None,
        csms: CsmsOptions | None = None,
        listen: ListenOptions | None = None,
        handshake: HandshakeOptions | None = None,
        authenticator: Authenticator | None = None,
        limits: Limits | None = None,
        max_frame: int = 1024 * 1024,
        mismatch: Literal["reject", "close"] = "reject",
        assume: Literal["ocpp1.6"] | None = None,
        bus: Bus | None = None,
        **options: Any,
    ) -> AsyncIterator[Serving]:
        application = Csms(known=known, options=csms or UNGATED, message_log=message_log, bus=bus)
        settings = ServerOptions(
            port=0,
            listen=listen or ListenOptions(max_frame=max_frame),
            handshake=handshake or HandshakeOptions(mismatch=mismatch, assume=assume),
            **options,
        )
        server = Server(application, load(engine), settings, authenticator=authenticator, limits=limits)
        await server.start()
        try:
            yield Serving(server, application, f"ws://127.0.0.1:{server.port}")
        finally:
            await server.stop()

    return run


class Process:
    """A run of `python -m evcore`."""

    def __init__(self, arguments: tuple[str, ...], cwd: Path, environment: dict[str, str]) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("EVCORE_")}
        if backend := os.environ.get("EVCORE_BACKEND"):
            inherited["EVCORE_BACKEND"] = backend
        self.process = subprocess.Popen(
            [sys.executable, "-m", "evcore", *arguments],
            cwd=cwd,
            env={**inherited, "PYTHONPATH": str(Path(evcore.__file__).parents[1]), "COLUMNS": "120", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def listening(self) -> str:
        """Waits for the line that says the server is ready and returns its URL."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line.startswith("listening on ws://"), line or self.end()
        return line.removeprefix("listening on ")

    def end(self, number: signal.Signals | None = None) -> tuple[int, str, str]:
        """Sends a signal, if any, and waits: exit status, stdout, stderr."""
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts the command line in an empty folder; what still runs at the end of the test is killed."""
    started: list[Process] = []

    def start(*arguments: str, cwd: Path = tmp_path, **environment: str) -> Process:
        process = Process(arguments, cwd, environment)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.process.poll() is None:
            process.process.kill()
        process.process.communicate()


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Waits for something the server does on its own."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - the condition is not ours to signal
                await asyncio.sleep(0.01)

    return wait
