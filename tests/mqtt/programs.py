"""`evcore serve` and `evcore bridge` as processes of a test, and stations at them.

In: arguments. Out: what they say, line by line, and how they end. All end with the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

import evcore
from tests.mqtt.stations import BOOT, Answer, RawStation, answering

PATIENCE = 60.0


class Program:
    """A run of `python -m evcore`. `said`: all lines of both streams, as they come."""

    def __init__(self, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("EVCORE_")}
        if backend := os.environ.get("EVCORE_BACKEND"):
            inherited["EVCORE_BACKEND"] = backend
        path = os.pathsep.join([str(folder), str(Path(evcore.__file__).parents[1])])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "evcore", *arguments],
            cwd=folder,
            env={**inherited, "PYTHONPATH": path, "COLUMNS": "200", **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.rstrip("\n"))

    @property
    def text(self) -> str:
        return "\n".join(self.said)

    async def says(self, part: str, count: int = 1) -> str:
        """Waits for a line with this in it, the `count`th of them."""
        end = time.monotonic() + PATIENCE
        while len(found := [line for line in self.said if part in line]) < count:
            assert time.monotonic() < end, f"{part!r} was not said:\n{self.text}"
            assert self.process.poll() is None or self._thread.is_alive(), f"it ended:\n{self.text}"
            await asyncio.sleep(0.01)
        return found[count - 1]

    async def url(self) -> str:
        """Where a server listens, once it does."""
        return (await self.says("listening on ")).partition("listening on ")[2]

    async def metrics(self) -> dict[str, float]:
        """By name, with the labels as they stand there."""
        where = (await self.says("metrics on ")).partition("metrics on ")[2]

        def get() -> str:
            with urllib.request.urlopen(where, timeout=20) as answer:
                return answer.read().decode()

        lines = [line for line in (await asyncio.to_thread(get)).splitlines() if line.startswith("evcore_")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    async def until_metric(self, name: str, value: float) -> None:
        end = time.monotonic() + PATIENCE
        while (found := await self.metrics()).get(name) != value:
            assert time.monotonic() < end, f"{name} is {found.get(name)}, not {value}"
            await asyncio.sleep(0.05)

    async def end(self, number: signal.Signals | None = signal.SIGTERM) -> int:
        """Sends a signal and waits; the exit status."""
        if number is not None:
            self.process.send_signal(number)
        status = await asyncio.to_thread(self.process.wait, PATIENCE)
        await asyncio.to_thread(self._thread.join, PATIENCE)
        assert "Traceback" not in self.text, self.text
        return status

    def kill(self) -> None:
        """SIGKILL, to it and the workers it may have."""
        self.process.kill()
        self.process.wait()
        self._thread.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def workers(self) -> list[int]:
        """Process ids of the workers of a server."""
        pid = self.process.pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.asynccontextmanager
async def station(
    url: str, identity: str = "CP1", version: str = "ocpp1.6", answer: Answer | Mapping[str, Any] | None = None
) -> AsyncIterator[RawStation]:
    """A station that has booted."""
    async with connect(f"{url}/{identity}", subprotocols=[version], max_size=None) as socket:
        made = RawStation(socket, answer if callable(answer) else answering(answer or {}))
        work = asyncio.create_task(made.work())
        try:
            assert (await made.ask("BootNotification", BOOT[version]))[0] == 3
            yield made
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
