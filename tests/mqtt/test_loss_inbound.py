"""Commands under faults: each gets a result, none is carried out twice, whatever is killed and wherever."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mqtt.brokers import Mosquitto, Process
from tests.mqtt.door import Door
from tests.mqtt.faults.commander import PLACES
from tests.mqtt.faults.subjects import ROOT
from tests.mqtt.observer import Login, Observer, publish_many

COMMANDS = 9


class Commander:
    """The process of `commander`, which is begun again when it has died."""

    def __init__(self, folder: Path, broker: str, version: str = "5") -> None:
        self._folder = folder
        self._version = version
        self._broker = broker
        self.carried = folder / "carried"
        self._ready = folder / "ready"
        self._process: Process | None = None

    def start(self, die: str | None = None) -> None:
        """Returns when it is connected and has subscribed, or has died already."""
        self._ready.unlink(missing_ok=True)
        arguments = [
            *("-m", "tests.mqtt.faults.commander", "--broker", self._broker, "--version", self._version),
            *("--spool", str(self._folder / "spool.db"), "--carried", str(self.carried), "--ready", str(self._ready)),
            *(("--die", die) if die else ()),
        ]
        process = Process(
            "commander",
            [sys.executable, *arguments],
            self._folder,
            lambda: self._ready.exists() or not process.running,
            {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "python")))},
        )
        self._process = process
        process.start()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def said(self) -> str:
        return "" if self._process is None else self._process.said()

    def told(self) -> Counter[str]:
        """How often each command was carried out."""
        lines = self.carried.read_text().splitlines() if self.carried.exists() else []
        return Counter(line.split()[1] for line in lines)


@pytest.fixture
def commander(tmp_path: Path) -> Iterator[Callable[..., Commander]]:
    made: list[Commander] = []

    def make(broker: str, version: str = "5") -> Commander:
        made.append(Commander(tmp_path, broker, version))
        return made[-1]

    yield make
    for one in made:
        one.kill()


async def order(broker: Mosquitto, names: list[str], version: str = "5") -> None:
    """Commands for three stations; returns when the broker has acknowledged them."""
    messages = [
        (f"chargers/CP{index % 3}/command", f'{{"id": "{name}", "action": "ClearCache", "ttl": 600}}'.encode())
        for index, name in enumerate(names)
    ]
    await asyncio.to_thread(publish_many, broker, messages, qos=1, login=Login(version=version))


def results(observer: Observer) -> dict[str, set[str]]:
    """Of each command, the statuses it was answered with."""
    found: dict[str, set[str]] = {}
    for seen in list(observer.seen):
        body = seen.json()
        found.setdefault(body["id"], set()).add(body["status"])
    return found


async def all_answered(observer: Observer, names: list[str], commander: Commander) -> dict[str, set[str]]:
    with contextlib.suppress(AssertionError):
        await observer.until(lambda _: set(results(observer)) >= set(names))
    found = results(observer)
    assert set(found) == set(names), f"{set(names) - set(found)} had no result\n{commander.said()[-3000:]}"
    return found


@pytest.mark.parametrize(
    ("place", "version"), [*((place, "5") for place in PLACES), ("journaled", "3.1.1"), ("told", "3.1.1")]
)
async def test_killed_anywhere_nothing_is_lost_and_nothing_done_twice(
    broker_factory: Callable[..., Mosquitto], commander: Callable[..., Commander], place: str, version: str
) -> None:
    broker = broker_factory()
    subject = commander(broker.url, version)
    names = [f"c{index}" for index in range(COMMANDS)]
    async with Observer(broker, "chargers/+/result", qos=1) as observer:
        await asyncio.to_thread(subject.start, f"{place}:4")
        await order(broker, names, version)
        async with asyncio.timeout(20):
            while subject.running:  # noqa: ASYNC110 - a process
                await asyncio.sleep(0.01)
        await asyncio.to_thread(subject.start)
        found = await all_answered(observer, names, subject)
    told = subject.told()
    assert max(told.values()) == 1, f"carried out twice: {told}"
    doubtful = {name for name, statuses in found.items() if statuses != {"accepted"}}
    assert all(found[name] == {"unknown"} for name in doubtful), found
    # One command of each of the three stations may have been between its start and its end.
    assert len(doubtful) <= 3, found
    assert all(told[name] == 1 for name in set(names) - doubtful)


async def test_the_broker_is_killed_again_and_again(
    broker_factory: Callable[..., Mosquitto], commander: Callable[..., Commander]
) -> None:
    """A broker that keeps sessions sends what was not acknowledged again; the journal knows it."""
    broker = broker_factory(autosave=True, max_inflight=1000, max_queued=0)
    subject = commander(broker.url)
    names: list[str] = []
    async with Observer(broker, "chargers/+/result", qos=1, persistent=True) as observer:
        await asyncio.to_thread(subject.start)
        for turn in range(4):
            batch = [f"b{turn}-{index}" for index in range(12)]
            names += batch
            await order(broker, batch)
            # It acknowledges before it has written: what it loses then is nobody else's to keep.
            await asyncio.sleep(0.2)
            await asyncio.to_thread(broker.kill)
            await asyncio.to_thread(broker.start)
            await observer.until(lambda _, turn=turn: observer.connects == turn + 2)
        found = await all_answered(observer, names, subject)
    assert set(subject.told().values()) == {1}
    assert set(subject.told()) == set(names)
    assert all(statuses == {"accepted"} for statuses in found.values())


async def test_connections_break_at_every_byte_of_an_exchange(
    mosquitto: Mosquitto, commander: Callable[..., Commander]
) -> None:
    async with Door(mosquitto.port) as door, Observer(mosquitto, "chargers/+/result", qos=1) as observer:
        subject = commander(door.url)
        await asyncio.to_thread(subject.start)
        names: list[str] = []
        for turn in range(12):
            opened = door.opened
            # Towards the broker: PUBACKs of 4 bytes and the results; from it: the commands.
            door.cut_after("up" if turn % 2 else "down", 1 + 7 * turn)
            batch = [f"n{turn}-{index}" for index in range(5)]
            names += batch
            await order(mosquitto, batch)
            async with asyncio.timeout(20):
                while door.opened == opened:  # noqa: ASYNC110 - of another task
                    await asyncio.sleep(0.01)
        found = await all_answered(observer, names, subject)
    assert set(subject.told().values()) == {1}
    assert set(subject.told()) == set(names)
    assert all(statuses == {"accepted"} for statuses in found.values())


async def test_a_command_that_is_given_again_is_not_done_again(
    mosquitto: Mosquitto, commander: Callable[..., Commander]
) -> None:
    """At once, a moment later, and by another process with the same journal; each time the result is told again."""
    subject = commander(mosquitto.url)
    async with Observer(mosquitto, "chargers/+/result", qos=1) as observer:
        await asyncio.to_thread(subject.start)
        await order(mosquitto, ["same"])
        await observer.count(1)
        first = observer.seen[0].payload
        await order(mosquitto, ["same"])
        await observer.count(2)
        await asyncio.to_thread(subject.kill)
        await asyncio.to_thread(subject.start)
        await order(mosquitto, ["same"])
        await observer.count(3)
        assert {seen.payload for seen in observer.seen} == {first}
    assert subject.told() == {"same": 1}
