"""Starting the servers that are measured, and reading what they have used.

In: a `Peer`, which says how to start one. Out: a `Server`, whose processor time and resident memory can be read. Peers
in Go and Node are built when their parts are missing; where a tool for that is missing `Unavailable` says which.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

ROOT: Final = Path(__file__).parents[2]
PEERS: Final = Path(__file__).parent / "peers"
GO: Final = PEERS / "go" / "bin" / "server"
NODE: Final = PEERS / "node"
_START_SECONDS: Final = 30.0


class Unavailable(RuntimeError):
    """A peer cannot be built or started here; the message says what is missing."""


@dataclass(frozen=True)
class Peer:
    """One server. `echo`: it sends back what it gets. `build`: what must be built before, ``go`` or ``node``."""

    name: str
    command: tuple[str, ...]
    echo: bool = False
    judges: str = "yes"
    build: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    pinned: bool = True
    """Kept on the servers' CPU; False: it may use every one."""
    collects: bool = False
    """Collects its garbage on SIGUSR1."""


def python_peer(name: str, module: str, *arguments: str, echo: bool = False, judges: str = "yes") -> Peer:
    command = (sys.executable, "-m", f"benches.server.peers.python.{module}", *arguments)
    return Peer(name, command, echo, judges, collects=True)


EVCORE_PICOWS: Final = "evcore on picows"
EVCORE_WEBSOCKETS: Final = "evcore on websockets"
PICOWS: Final = "bare echo, picows"
WEBSOCKETS: Final = "bare echo, websockets"
OCPP: Final = "ocpp + websockets"
OCPP_GO: Final = "ocpp-go, one processor"
OCPP_GO_ALL: Final = "ocpp-go, all processors"
OCPP_RPC: Final = "ocpp-rpc, strict"
SERVE: Final = "evcore serve"

PYTHON_PEERS: Final = (
    python_peer(PICOWS, "picows_echo", echo=True, judges="no"),
    python_peer(EVCORE_PICOWS, "evcore_server", "--engine", "picows"),
    python_peer(WEBSOCKETS, "websockets_echo", echo=True, judges="no"),
    python_peer(EVCORE_WEBSOCKETS, "evcore_server", "--engine", "websockets"),
    python_peer(OCPP, "ocpp_server"),
)
GC_OFF_PEERS: Final = tuple(
    replace(peer, name=f"{peer.name}, collector off", command=(*peer.command, "--no-gc")) for peer in PYTHON_PEERS
)
"""The same without Python's cyclic garbage collector."""
HOLDING_PEERS: Final = tuple(peer for peer in PYTHON_PEERS if peer.name != OCPP)
"""Those whose connections are weighed."""
OTHER_PEERS: Final = (
    Peer(OCPP_GO, (str(GO),), judges="in part", build="go", environment={"GOMAXPROCS": "1"}),
    Peer(OCPP_GO_ALL, (str(GO),), judges="in part", build="go", pinned=False),
    Peer(OCPP_RPC, ("node", str(NODE / "server.js")), build="node"),
)


def serve_peer(workers: int) -> Peer:
    """The command line's server as it comes, in `workers` processes on one port."""
    given = f"-m evcore serve --port 0 --http-port none --table off --log-level error --workers {workers}"
    return Peer(SERVE, (sys.executable, *given.split()))


class Server:
    """A running peer; ends with its `with` block. Raises Unavailable when it does not start."""

    def __init__(self, peer: Peer, *arguments: str, cpu: int | None = None) -> None:
        if peer.build is not None:
            build(peer.build)
        self.peer = peer
        environment = {**os.environ, **peer.environment}
        paths = (str(ROOT / "python"), environment.get("PYTHONPATH", ""))
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        try:
            self._process = subprocess.Popen(
                [*peer.command, *arguments],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                preexec_fn=None if cpu is None or not peer.pinned else lambda: os.sched_setaffinity(0, {cpu}),
            )
        except OSError as error:
            raise Unavailable(f"{peer.name}: {peer.command[0]} cannot be started: {error.strerror}") from error
        self.pid = self._process.pid
        try:
            self.ports = self._ports()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _ports(self) -> dict[str, int]:
        assert self._process.stdout is not None
        # Not select: by the time of the last peers, the client has more than 1,024 connections open.
        waiting = select.poll()
        waiting.register(self._process.stdout, select.POLLIN)
        line = self._process.stdout.readline() if waiting.poll(_START_SECONDS * 1000) else b""
        if not line:
            self._process.terminate()
            status = self._process.wait()
            raise Unavailable(f"{self.peer.name}: did not say where it listens, its status is {status}")
        if found := re.match(rb"listening on ws://.*:(\d+)", line):
            return dict.fromkeys(("ocpp1.6", "ocpp2.0.1"), int(found[1]))
        ports: dict[str, int] = json.loads(line)
        return ports

    def pids(self) -> list[int]:
        """The process and the workers it has started, and theirs."""
        found = [self.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        return found

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def cpu_seconds(self) -> float:
        """Processor time so far, user and system, of all threads of the process and its workers; to the nanosecond."""
        return sum(map(cpu_seconds, self.pids()))

    def collect(self) -> None:
        """Make the process collect its garbage, where it obeys; to be waited for."""
        if self.peer.collects:
            os.kill(self.pid, signal.SIGUSR1)

    def resident(self) -> int:
        """Resident memory in bytes, its workers' included."""
        return sum(map(_resident, self.pids()))


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far."""
    # The clock of another process, as clock_getcpuclockid(3) makes it: Python has no name for that call.
    return time.clock_gettime((~pid << 3) | 2)


def _resident(pid: int) -> int:
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def build(kind: str) -> None:
    """Build the Go or the Node peer where it is not built yet. Raises Unavailable."""
    if kind == "go":
        sources = [PEERS / "go" / name for name in ("main.go", "go.mod", "go.sum")]
        if not GO.exists() or GO.stat().st_mtime < max(path.stat().st_mtime for path in sources):
            _run("go", "https://go.dev/dl", ["build", "-trimpath", "-o", str(GO), "."], PEERS / "go")
    elif not (NODE / "node_modules" / "ocpp-rpc").is_dir():
        _run("npm", "https://nodejs.org", ["ci", "--no-fund", "--no-audit"], NODE)


def _run(tool: str, home: str, arguments: list[str], folder: Path) -> None:
    found = shutil.which(tool)
    if found is None:
        raise Unavailable(f"the peer in {folder.relative_to(ROOT)} needs `{tool}`, which was not found: {home}")
    print(f"building {folder.relative_to(ROOT)}", file=sys.stderr)
    done = subprocess.run([found, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"`{tool} {arguments[0]}` failed in {folder.relative_to(ROOT)}: {done.stderr.strip()[-800:]}")


@contextmanager
def apart() -> Iterator[int]:
    """Keeps this process, the client, on its first CPU for the `with` block; gives the last one, for the servers.

    They are the same where there is but one.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield max(before)
    finally:
        os.sched_setaffinity(0, before)
