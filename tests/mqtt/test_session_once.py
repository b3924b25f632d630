"""Exactly once at QoS 2, over lost connections and over kill -9 of the program: with a broker that writes everything
down and keeps to the letter of the standard, and with Mosquitto.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from evcore.mqtt.broker.outflow import identifier
from evcore.mqtt.message import Message
from tests.mqtt.brokers import Mosquitto
from tests.mqtt.fake_broker import PUBLISH, PUBREL, FakeBroker, Verdict
from tests.mqtt.memory_outbox import MemoryOutbox
from tests.mqtt.observer import Observer
from tests.mqtt.sessions import PATIENCE, options, running, until
from tests.mqtt.test_session import numbered

ROOT = Path(__file__).resolve().parents[2]

both = pytest.mark.parametrize("version", ["5", "3.1.1"])


def check_the_books(broker: FakeBroker, numbers: range) -> None:
    """What the standard asks of a sender at QoS 2 (§4.3.3), read from what the broker saw."""
    assert not broker.faults
    assert sorted(map(int, broker.delivered)) == list(numbers), "each one once"
    assert broker.in_flight_most <= 20
    seen: dict[int, bytes] = {}
    for one in broker.publishes:
        if one.dup:
            assert seen.get(one.mid, one.payload) == one.payload, "a repetition has its first packet identifier"
        else:
            assert seen.get(one.mid) != one.payload or one.connection == 1, "a repetition says so"
        seen[one.mid] = one.payload
    rest: set[int] = set()
    for kind, mid in broker.log:
        if kind == PUBLISH:
            assert mid not in rest, "PUBLISH after PUBREL: the broker has forgotten the first one"
        elif kind == PUBREL:
            rest.add(mid)


@both
async def test_over_lost_connections(version: str) -> None:
    """The connection is cut again and again: before the broker has a message, after it, after PUBREL, in between."""
    outbox = MemoryOutbox(delay=0.0005)
    outbox.put(*numbered(400, 2))
    rng = random.Random(7)
    words: list[Verdict] = [0, "close", "cut"]
    async with FakeBroker() as broker:
        broker.verdict = lambda _: rng.choices(words, [30, 1, 1])[0]
        broker.cut_at_pubrel = lambda: rng.random() < 0.05
        given = options(broker.url, version=version, early_ends=0, backoff_first=0.001, backoff_most=0.002)
        async with running(given, outbox) as session:
            while outbox.items:
                await asyncio.sleep(rng.uniform(0.0, 0.004))
                broker.cut()
        check_the_books(broker, range(400))
        assert session.counts.connects > 20 and not session.counts.dropped
        assert len([one for one in broker.publishes if one.dup]) > 20, "nothing was repeated"


@both
@pytest.mark.parametrize("renewed", [False, True])
async def test_what_was_released_is_never_published_again(version: str, renewed: bool) -> None:
    """PUBREL alone, as long as the broker keeps the session; all anew when it does not."""
    outbox = MemoryOutbox()
    outbox.put(*numbered(3, 2))
    async with FakeBroker() as broker:
        broker.mute_pubcomp = True
        given = options(broker.url, version=version)
        async with running(given, outbox, flush=0):
            await until(lambda: [kind for kind, _ in broker.log].count(PUBREL) == 3)
        assert all(item.released for item in outbox.items.values()) and len(outbox.items) == 3
        broker.mute_pubcomp = False
        published = len(broker.publishes)
        if renewed:
            broker.sessions.clear()
        async with running(given, outbox):
            await until(lambda: not outbox.items)
        again = broker.publishes[published:]
        if renewed:
            assert [(one.payload, one.dup) for one in again] == [(b"0", False), (b"1", False), (b"2", False)]
        else:
            assert not again
            assert [mid for kind, mid in broker.log if kind == PUBREL] == [identifier(seq) for seq in (1, 2, 3)] * 2


async def test_pubrel_waits_for_the_disk() -> None:
    outbox = MemoryOutbox(delay=60.0)
    outbox.put(*numbered(3, 2))
    async with FakeBroker() as broker, running(options(broker.url), outbox, flush=0):
        await until(lambda: len(broker.publishes) == 3)
        await asyncio.sleep(0.05)
        assert PUBREL not in [kind for kind, _ in broker.log]


async def test_packet_identifiers_come_round() -> None:
    """Over the 60,000th message; the first one is unfinished all the time, and the last ones wait for it."""
    outbox = MemoryOutbox()
    async with FakeBroker() as broker, running(options(broker.url, window=1000), outbox) as session:
        stuck = {b"first"}
        broker.verdict = lambda one: "silence" if one.payload in stuck else 0
        outbox.put(Message("n", b"first", 1))
        outbox._seq = 59_990
        outbox.put(*numbered(30, 1))
        await until(lambda: len(broker.delivered) == 10)
        await asyncio.sleep(0.02)
        assert len(broker.delivered) == 10 and session.counts.connects == 1
        stuck.clear()
        broker.cut()
        await until(lambda: not outbox.items)
    assert broker.delivered == [*(b"%d" % number for number in range(10)), b"first"] + [
        b"%d" % number for number in range(10, 30)
    ]
    assert {one.mid for one in broker.publishes} <= set(range(1, 60_001))
    assert not broker.faults


@contextlib.asynccontextmanager
async def program(
    path: Path, url: str, version: str, qos: int, count: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "python")])}
    arguments = (str(path), url, version, str(qos), str(count))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.mqtt.killed_session",
        *arguments,
        env=environment,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), PATIENCE) == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def killed_again_and_again(
    tmp_path: Path, url: str, version: str, qos: int, count: int, arrived: Callable[[], int], kills: int
) -> None:
    """Kills the program each time some more have arrived; at last lets it finish."""
    for turn in range(kills):
        async with program(tmp_path / "spool.db", url, version, qos, count) as process:
            await until(lambda turn=turn: arrived() > turn * (count // (kills + 1)) + turn % 7)
            process.kill()
            await process.wait()
    async with program(tmp_path / "spool.db", url, version, qos, count) as process:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), PATIENCE) == b"empty\n"


@both
async def test_over_kill_9_with_a_strict_broker(tmp_path: Path, version: str) -> None:
    async with FakeBroker() as broker:
        await killed_again_and_again(tmp_path, broker.url, version, 2, 1500, lambda: len(broker.delivered), kills=4)
        check_the_books(broker, range(1500))
        assert [int(payload) for payload in broker.delivered] == list(range(1500)), "in order"


@both
async def test_over_kill_9_with_mosquitto(tmp_path: Path, mosquitto: Mosquitto, version: str) -> None:
    async with Observer(mosquitto, "n", qos=0) as observer:
        await killed_again_and_again(tmp_path, mosquitto.url, version, 2, 1500, lambda: len(observer.seen), kills=4)
        await observer.count(1500)
    assert [int(one.payload) for one in observer.seen] == list(range(1500))


async def test_at_least_once_over_kill_9(tmp_path: Path) -> None:
    """QoS 1: nothing is missing, and what comes twice is no more than a window for each kill."""
    async with FakeBroker() as broker:
        await killed_again_and_again(tmp_path, broker.url, "5", 1, 1500, lambda: len(broker.delivered), kills=3)
        assert set(map(int, broker.delivered)) == set(range(1500))
        assert not broker.faults
