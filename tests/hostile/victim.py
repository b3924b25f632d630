"""A server process under attack, and a well-behaved station that must be served all the while.

`Victim` runs a command that prints `listening on URL` and watches its memory, its file descriptors and its log from the
outside. `Witness` is a thread with stations of two versions that check every answer they get.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

import evcore

__all__ = ["PATIENCE", "Victim", "Witness"]

#: Seconds after which something that does not happen fails the test.
PATIENCE: Final = 60.0

_ROOT: Final = Path(__file__).parents[2]
_TIME: Final = "2026-03-01T10:00:00Z"


class Victim:
    """A server in a process of its own; `options` are its environment, `tls` is for those who connect to it."""

    def __init__(
        self, arguments: tuple[str, ...], folder: Path, options: dict[str, str], tls: ssl.SSLContext | None = None
    ) -> None:
        self.tls = tls
        kept = {name: value for name, value in os.environ.items() if not name.startswith("EVCORE_")}
        if backend := os.environ.get("EVCORE_BACKEND"):
            kept["EVCORE_BACKEND"] = backend
        path = os.pathsep.join((str(Path(evcore.__file__).parents[1]), str(_ROOT)))
        self._log = folder / "log.txt"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=folder,
                env={**kept, "PYTHONPATH": path, **options},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line.startswith("listening on ws"):
            self.end()
            raise AssertionError(line or self.log())
        self.url = line.removeprefix("listening on ")
        self.port = int(self.url.rpartition(":")[2])

    def log(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def _status(self, name: str) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith(name))
        return int(line.split()[1]) * 1024

    def memory(self) -> int:
        """Resident bytes."""
        return self._status("VmRSS")

    def peak(self) -> int:
        """Most resident bytes since `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def files(self) -> int:
        """Open file descriptors, hence connections."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))  # noqa: PTH208 - entries vanish while they are counted

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for something the server does on its own."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - nobody signals what another process does
                await asyncio.sleep(0.05)

    def end(self) -> tuple[int, str]:
        """SIGTERM; returns exit status and log."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            return -9, self.log()
        return self.process.returncode, self.log()


class Witness(threading.Thread):
    """Stations of 1.6 and 2.0.1 that talk without pause. `rounds` counts; `wrong` is the first thing not right."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(daemon=True)
        self._tls = tls
        self._url = url
        self._resting = threading.Event()
        self.rounds = {"ocpp1.6": 0, "ocpp2.0.1": 0}
        self.codes: list[int | None] = []
        self.wrong: str | None = None
        self.slowest = 0.0

    def run(self) -> None:
        try:
            asyncio.run(self._run())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what the test is to say
            self.wrong = self.wrong or repr(error)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for version in self.rounds:
                group.create_task(self._live(version))

    async def _live(self, version: str) -> None:
        numbers = itertools.count(1)
        async with connect(f"{self._url}/WITNESS-{version}", subprotocols=[version], ssl=self._tls) as socket:
            try:
                await _say(socket, next(numbers), *_boot(version))
                while not self._resting.is_set():
                    began = time.perf_counter()
                    for action, payload, members in _round(version):
                        answer = await _say(socket, next(numbers), action, payload)
                        if set(answer) != members:
                            raise AssertionError(f"{version} {action}: {answer}")
                    self.slowest = max(self.slowest, time.perf_counter() - began)
                    self.rounds[version] += 1
                    await asyncio.sleep(0.01)
                await socket.wait_closed()
            except ConnectionClosed:
                if not self._resting.is_set():
                    self.wrong = f"{version}: closed with {socket.close_code} {socket.close_reason}"
            self.codes.append(socket.close_code)

    def served(self, rounds: int = 5) -> None:
        """Waits until each station has been through so many more rounds."""
        goal = {version: done + rounds for version, done in self.rounds.items()}
        end = time.monotonic() + PATIENCE
        while any(self.rounds[version] < due for version, due in goal.items()):
            assert self.wrong is None, self.wrong
            assert time.monotonic() < end, f"the witness is not served any more: {self.rounds}, {goal} is due"
            time.sleep(0.02)
        assert self.wrong is None, self.wrong

    def rest(self) -> None:
        """No more messages; the connections stay until the server closes them."""
        self._resting.set()
        self.served(0)


def _boot(version: str) -> tuple[str, dict[str, Any]]:
    if version == "ocpp1.6":
        return "BootNotification", {"chargePointModel": "M", "chargePointVendor": "V"}
    return "BootNotification", {"reason": "PowerUp", "chargingStation": {"model": "M", "vendorName": "V"}}


def _round(version: str) -> list[tuple[str, dict[str, Any], set[str]]]:
    """Calls, and the members their answers have."""
    if version == "ocpp1.6":
        sample = {"timestamp": _TIME, "sampledValue": [{"value": "604.2", "measurand": "Power.Active.Import"}]}
        start = {"connectorId": 1, "idTag": "A", "meterStart": 1, "timestamp": _TIME}
        return [
            ("Heartbeat", {}, {"currentTime"}),
            ("MeterValues", {"connectorId": 1, "meterValue": [sample] * 4}, set()),
            ("StartTransaction", start, {"transactionId", "idTagInfo"}),
        ]
    sample = {"timestamp": _TIME, "sampledValue": [{"value": 604.2, "measurand": "Power.Active.Import"}]}
    return [
        ("Heartbeat", {}, {"currentTime"}),
        ("MeterValues", {"evseId": 1, "meterValue": [sample] * 4}, set()),
        ("Authorize", {"idToken": {"idToken": "A", "type": "ISO14443"}}, {"idTokenInfo"}),
    ]


async def _say(socket: ClientConnection, number: int, action: str, payload: dict[str, Any]) -> dict[str, Any]:
    await socket.send(json.dumps([2, str(number), action, payload]))
    async with asyncio.timeout(PATIENCE):
        kind, message_id, answer = json.loads(await socket.recv())
    if (kind, message_id) != (3, str(number)):
        raise AssertionError(f"{action}: {kind} {message_id} {answer}")
    result: dict[str, Any] = answer
    return result
