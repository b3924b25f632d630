"""kill -9 while commands are at work: at most once at the station, one result for each, whatever was being written."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tests.mqtt.brokers import PATIENCE, Mosquitto, free_port
from tests.mqtt.observer import Observer, Seen, publish_many

ROOT = Path(__file__).resolve().parents[2]

#: Where the process ends, and what may then be said of the command that was being written, and how often its station
#: had it.
ENDS = {
    ("journal", "before"): ("accepted", 1),
    ("journal", "after"): ("accepted", 1),
    ("started", "before"): ("accepted", 1),
    ("started", "after"): ("unknown", 0),
    ("finish", "before"): ("unknown", 1),
    ("finish", "after"): ("accepted", 1),
}


class Station:
    """Connects for ever, boots, answers every CALL, remembers them."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self.had: list[str] = []
        self._url = url
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            try:
                async with connect(f"{self._url}/{self.name}", subprotocols=["ocpp1.6"]) as socket:
                    payload = {"chargePointVendor": "V", "chargePointModel": "M"}
                    await socket.send(json.dumps([2, "boot", "BootNotification", payload]))
                    async for text in socket:
                        kind, name, *rest = json.loads(text)
                        if kind == 2:
                            self.had.append(rest[1]["data"])
                            await socket.send(json.dumps([3, name, {"status": "Accepted"}]))
            except (OSError, WebSocketException):
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def world(mosquitto: Mosquitto, tmp_path: Path, names: tuple[str, ...], version: str) -> AsyncIterator[World]:
    port = free_port()
    stations = [Station(f"ws://127.0.0.1:{port}", name) for name in names]
    options = {
        "url": mosquitto.url,
        "spool": str(tmp_path / "spool"),
        "port": port,
        "await": names,
        "version": version,
    }
    made = World(options, stations)
    try:
        yield made
    finally:
        for station in stations:
            station.task.cancel()
        for process in made.processes:
            if process.returncode is None:
                process.kill()
                await process.wait()


@dataclass
class World:
    options: dict[str, Any]
    stations: list[Station]
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def start(self, *end: Any) -> asyncio.subprocess.Process:
        """A process that has its subscriptions, or has ended by then."""
        options = {**self.options, "end": end or None}
        command = (sys.executable, "-m", "tests.mqtt.commanded", json.dumps(options))
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
        self.processes.append(process)
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            line = await process.stdout.readline()
        assert line in (b"ready\n", b"")
        return process

    def had(self) -> Counter[tuple[str, str]]:
        return Counter((station.name, data) for station in self.stations for data in station.had)


async def killed(process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(PATIENCE):
        assert await process.wait() == -9


def command(name: str, number: int) -> tuple[str, bytes]:
    payload = {"vendorId": "x", "data": f"{number}"}
    body = {"id": f"{number}", "action": "DataTransfer", "payload": payload}
    return f"chargers/{name}/command", json.dumps(body).encode()


def told(seen: list[Seen]) -> dict[tuple[str, str], set[bytes]]:
    found = defaultdict(set)
    for one in seen:
        found[one.json()["station"], one.json()["id"]].add(one.payload)
    return found


@pytest.mark.parametrize(("where", "when"), ENDS)
async def test_one_command(mosquitto: Mosquitto, tmp_path: Path, where: str, when: str) -> None:
    async with world(mosquitto, tmp_path, ("CP1",), "5") as it, Observer(mosquitto, "chargers/+/result") as observer:
        process = await it.start(where, when, 1)
        await asyncio.to_thread(publish_many, mosquitto, [command("CP1", 0)])
        await killed(process)
        process = await it.start()
        await observer.count(1)
        process.terminate()
        assert await process.wait() == 0
        (payload,) = told(observer.seen)["CP1", "0"]
        assert (json.loads(payload)["status"], it.had()["CP1", "0"]) == ENDS[where, when]


@pytest.mark.parametrize("where", ["journal", "started", "finish"])
async def test_many_commands_and_two_kills(mosquitto: Mosquitto, tmp_path: Path, where: str) -> None:
    """The second process ends at what the first one left, or soon after. The client says everything twice."""
    names = ("CP1", "CP2", "CP3")
    commands = [command(name, number) for number in range(4) for name in names]
    wanted = {(name, f"{number}") for name in names for number in range(4)}
    async with world(mosquitto, tmp_path, names, "3.1.1") as it, Observer(mosquitto, "chargers/+/result") as observer:
        for end in (4, 2):
            process = await it.start(where, "after", end)
            await asyncio.to_thread(publish_many, mosquitto, commands)
            await killed(process)
        process = await it.start()
        await observer.until(lambda seen: set(told(seen)) == wanted)
        process.terminate()
        assert await process.wait() == 0
        results = told(observer.seen)
        had = it.had()
        assert set(had.values()) == {1}, "carried out twice"
        for name, payloads in results.items():
            assert len(payloads) == 1, f"{name} has several results"
            status = json.loads(next(iter(payloads)))["status"]
            assert status == "unknown" or (status == "accepted" and had[name] == 1)
        lost = sum(b'"unknown"' in next(iter(payloads)) for payloads in results.values())
        # At each end one command of each station is at work at most.
        assert lost <= 2 * len(names)
        if where == "started":
            assert lost >= 1
