"""The spool: order, bounds, age, memory, files of others. What disks do to it is in test_spool_faults.py."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from evcore.mqtt.message import Message
from evcore.mqtt.spool import MIDS, Spool, SpoolClosed, SpoolFull, SpoolLocked, SpoolOptions
from evcore.mqtt.spool.clock import Clock, Reading
from evcore.mqtt.spool.rows import encode

Open = Callable[..., Any]


@pytest.fixture
async def spools(tmp_path: Path) -> AsyncIterator[Open]:
    opened: list[Spool] = []

    async def open_(*, clock: Callable[[Reading | None], Clock] = Clock, **values: Any) -> Spool:
        spool = await Spool.open(SpoolOptions(path=tmp_path / "spool.db", **values), clock=clock)
        opened.append(spool)
        return spool

    yield open_
    for spool in opened:
        await spool.close()


def message(text: object = "x", *, qos: int = 2, **values: Any) -> Message:
    return Message(topic=f"t/{text}", payload=str(text).encode(), qos=qos, **values)


async def put(spool: Spool, *names: object, qos_class: str = "billing", **values: Any) -> None:
    await asyncio.gather(*(spool.put(message(name, **values), qos_class=qos_class, id=str(name)) for name in names))


async def everything(spool: Spool, most: int = 20) -> list[str]:
    """What is there, sent and acknowledged in windows as a broker would."""
    topics: list[str] = []
    after = 0
    while entries := await asyncio.wait_for(spool.fetch(after, most), 20):
        for entry in entries:
            topics.append(entry.message.topic)
            spool.done(entry.seq)
        after = entries[-1].seq
    return topics


SIZE = encode(message("000"), "billing", "000").size
NAMES = [f"{number:03}" for number in range(200)]


async def test_a_stop_and_a_start_keep_the_order(spools: Open) -> None:
    spool = await spools()
    await put(spool, *NAMES[:50])
    await spool.close()
    spool = await spools()
    await put(spool, *NAMES[50:])
    assert spool.backlog.messages == 200
    assert await everything(spool) == [f"t/{name}" for name in NAMES]
    assert spool.backlog.messages == 0
    assert spool.backlog.bytes == 0


async def test_numbers_are_not_used_again(spools: Open) -> None:
    spool = await spools()
    await put(spool, "a", "b")
    last = (await spool.fetch(0, 9))[-1].seq
    await everything(spool)
    await spool.close()
    spool = await spools()
    assert spool.backlog.messages == 0
    await put(spool, "c")
    (entry,) = await spool.fetch(0, 9)
    assert entry.seq > last


async def test_released_and_renewed_outlive_the_process(spools: Open) -> None:
    spool = await spools()
    await put(spool, "a", "b", "c")
    entries = await spool.fetch(0, 3)
    await spool.released(entries[1].seq)
    await spool.close()
    spool = await spools()
    assert [entry.released for entry in await spool.fetch(0, 3)] == [False, True, False]
    await spool.renew()
    assert [entry.released for entry in spool.waiting(0, 3)] == [False, False, False]
    await spool.close()
    spool = await spools()
    assert [entry.released for entry in await spool.fetch(0, 3)] == [False, False, False]


async def test_beyond_the_memory_is_read_back_in_order(spools: Open) -> None:
    spool = await spools(memory=20 * SIZE)
    for start in range(0, 200, 10):
        await put(spool, *NAMES[start : start + 10])
    assert len(spool._memory) <= 21
    assert await everything(spool) == [f"t/{name}" for name in NAMES]


async def test_what_is_put_while_the_rest_is_read_comes_last(spools: Open) -> None:
    spool = await spools(memory=10 * SIZE)
    for name in NAMES[:50]:
        await put(spool, name)

    async def putting() -> None:
        for name in NAMES[50:]:
            await put(spool, name)

    running = asyncio.create_task(putting())
    topics: list[str] = []
    while not running.done() or spool.backlog.messages:
        topics += await everything(spool, 3)
        await asyncio.sleep(0)
    await running
    assert topics == [f"t/{name}" for name in NAMES]


async def test_a_reader_is_woken(spools: Open) -> None:
    """Nobody asks again by himself: `on_put` alone says when there is more, over the end of the memory as well."""
    spool = await spools(memory=10 * SIZE)
    woken = asyncio.Event()
    spool.on_put = woken.set
    topics: list[str] = []

    async def read() -> None:
        after = 0
        while len(topics) < 200:
            entries = spool.waiting(after, 5)
            if not entries:
                await woken.wait()
                woken.clear()
                continue
            for entry in entries:
                topics.append(entry.message.topic)
                spool.done(entry.seq)
            after = entries[-1].seq

    reading = asyncio.create_task(read())
    for start in range(0, 200, 5):
        await put(spool, *NAMES[start : start + 5])
        if start % 40 == 0:
            await asyncio.sleep(0.02)
    await asyncio.wait_for(reading, 30)
    assert topics == [f"t/{name}" for name in NAMES]


async def test_no_two_in_flight_share_a_packet_identifier(spools: Open) -> None:
    """One message stays without an answer while all identifiers go by."""
    spool = await spools(durability="normal")
    await put(spool, *range(MIDS + 10))
    in_flight: dict[int, int] = {}
    after = 0
    while entries := await spool.fetch(after, 1_000):
        for entry in entries:
            assert entry.mid not in in_flight
            in_flight[entry.mid] = entry.seq
        for entry in entries:
            if entry.seq != 1:
                del in_flight[entry.mid]
                spool.done(entry.seq)
        after = entries[-1].seq
    assert after == MIDS
    spool.done(1)
    del in_flight[2]
    woken = asyncio.Event()
    spool.on_put = woken.set
    while not (entries := spool.waiting(after, 1_000)):
        await asyncio.wait_for(woken.wait(), 20)
        woken.clear()
    assert entries[0].mid == 2


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (["telemetry", "status", "command"], "billing", ["status", "command", "billing"]),
        (["status", "command", "telemetry"], "billing", ["status", "command", "billing"]),
        (["command", "status", "billing"], "status", ["status", "billing", "status"]),
        (["status", "command", "telemetry"], "telemetry", ["status", "command", "telemetry"]),
        (["billing", "status", "billing"], "billing", ["billing", "billing", "billing"]),
    ],
)
async def test_lower_and_older_ones_give_way(spools: Open, first: list[str], second: str, expected: list[str]) -> None:
    spool = await spools(max_bytes=3 * SIZE)
    for number, qos_class in enumerate([*first, second]):
        await put(spool, f"00{number}", qos_class=qos_class)
    kept = [int(topic[-1]) for topic in await everything(spool)]
    assert [[*first, second][number] for number in kept] == expected
    assert kept[-1] == 3
    assert sorted(kept) == kept
    assert spool.counts.dropped.total() == 1


@pytest.mark.parametrize("qos_class", ["status", "command", "telemetry", "billing"])
async def test_billing_never_gives_way(spools: Open, qos_class: str, caplog: pytest.LogCaptureFixture) -> None:
    spool = await spools(max_bytes=3 * SIZE)
    await put(spool, "000", "001", "002")
    with pytest.raises(SpoolFull, match="raise the bound"):
        await put(spool, "003", qos_class=qos_class)
    assert spool.counts.refused == {(qos_class, "full"): 1}
    assert await everything(spool) == ["t/000", "t/001", "t/002"]
    await put(spool, "004")


async def test_a_batch_beyond_the_bound_drops_its_own_oldest(spools: Open) -> None:
    spool = await spools(max_bytes=10 * SIZE)
    await put(spool, *NAMES, qos_class="status")
    assert spool.backlog.messages == 10
    assert spool.counts.dropped == {("status", "full"): 190}
    assert await everything(spool) == [f"t/{name}" for name in NAMES[190:]]


async def test_what_was_given_out_does_not_give_way(spools: Open) -> None:
    """Its packet identifier is in use at the broker, which would take the next message under it for a repetition."""
    spool = await spools(max_bytes=3 * SIZE, max_age=0.0)
    await put(spool, "000", "001", qos_class="status")
    assert len(await spool.fetch(0, 2)) == 2
    await spool.close()
    spool = await spools(max_bytes=3 * SIZE)
    await put(spool, "002", qos_class="telemetry")
    await put(spool, "003")
    with pytest.raises(SpoolFull):
        await put(spool, "004")
    assert await everything(spool) == ["t/000", "t/001", "t/003"]


async def test_a_connection_that_ended_does_not_protect_what_comes_after(spools: Open) -> None:
    spool = await spools(max_bytes=10 * SIZE)
    await put(spool, "000", qos_class="status")
    # It has all, and asks for more; then it is gone.
    assert len(await spool.fetch(0, 20)) == 1
    assert spool.waiting(1, 20) == []
    for name in NAMES[1:50]:
        await put(spool, name, qos_class="status")
    kept = await everything(spool)
    assert kept[0] == "t/000"
    assert kept[-8:] == [f"t/{name}" for name in NAMES[42:50]]


async def test_larger_than_the_spool(spools: Open) -> None:
    spool = await spools(max_bytes=1_000)
    await put(spool, "a", qos_class="status")
    with pytest.raises(SpoolFull):
        await spool.put(Message("t", bytes(1_001), qos=1), qos_class="billing", id="b")
    assert await everything(spool) == ["t/a"]


async def test_a_disk_that_lags_does_not_fill_the_memory(spools: Open) -> None:
    spool = await spools(memory=10 * SIZE)
    puts = [asyncio.ensure_future(spool.put(message(name), qos_class="billing", id=name)) for name in NAMES]
    results = await asyncio.gather(*puts, return_exceptions=True)
    refused = [result for result in results if isinstance(result, SpoolFull)]
    assert refused
    assert "wait for the disk" in str(refused[0])
    assert spool.counts.refused == {("billing", "slow"): len(refused)}
    kept = [f"t/{name}" for name, result in zip(NAMES, results) if result is None]
    assert await everything(spool) == kept


class Clocks:
    """Clocks of a machine that are set by hand."""

    def __init__(self, wall: float = 1_800_000_000.0, steady: float = 1_000.0, boot: str = "first") -> None:
        self.wall, self.steady, self.boot = wall, steady, boot

    def __call__(self, last: Reading | None) -> Clock:
        return Clock(last, wall=lambda: self.wall, steady=lambda: self.steady, boot=lambda: self.boot)

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


async def dropped(spool: Spool, count: int) -> None:
    async with asyncio.timeout(20):
        while spool.counts.dropped.total() < count:  # noqa: ASYNC110 - the sweep is the thread's
            await asyncio.sleep(0.01)


async def test_what_is_too_old_is_dropped(spools: Open) -> None:
    clocks = Clocks()
    spool = await spools(clock=clocks, max_age=60)
    await put(spool, "a", qos_class="billing")
    clocks.pass_(40)
    await put(spool, "b", qos_class="status")
    assert spool.backlog.oldest == 40.0
    clocks.pass_(21)
    await dropped(spool, 1)
    assert spool.counts.dropped == {("billing", "age"): 1}
    assert spool.backlog.oldest == 21.0
    assert await everything(spool) == ["t/b"]


async def test_a_message_of_its_own_expiry_is_dropped(spools: Open) -> None:
    clocks = Clocks()
    spool = await spools(clock=clocks)
    await put(spool, "a", expiry=10)
    await put(spool, "b", expiry=100)
    clocks.pass_(40)
    await dropped(spool, 1)
    (entry,) = await spool.fetch(0, 9)
    assert (entry.message.topic, entry.message.expiry) == ("t/b", 60)
    # It is in flight: it stays, and the broker is told that little is left.
    clocks.pass_(100)
    await put(spool, "c")
    assert spool.waiting(0, 1)[0].message.expiry == 1


async def restart(spools: Open, spool: Spool, clocks: Clocks) -> Spool:
    await spool.close()
    spool = await spools(clock=clocks, max_age=60)
    await put(spool, "young")
    await asyncio.sleep(0)
    await spool.close()
    return await spools(clock=clocks, max_age=60)


@pytest.mark.parametrize("jump", [-1e9, 1e9, 1e5])
async def test_the_wall_clock_jumps(spools: Open, jump: float) -> None:
    """NTP sets the clock, while the process runs or between two runs of it: no message grows older by that."""
    clocks = Clocks()
    spool = await spools(clock=clocks, max_age=60)
    await put(spool, "a")
    clocks.wall += jump
    spool = await restart(spools, spool, clocks)
    assert await everything(spool) == ["t/a", "t/young"]
    clocks.pass_(30)
    await put(spool, "b")
    clocks.wall -= jump
    spool = await restart(spools, spool, clocks)
    assert await everything(spool) == ["t/b", "t/young"]


@pytest.mark.parametrize(
    ("before", "after", "left"),
    [
        (1_800_000_000.0, 1_800_000_010.0, ["t/a", "t/young"]),
        (1_800_000_000.0, 1_800_000_100.0, ["t/young"]),
        (1_800_000_000.0, 1_700_000_000.0, ["t/a", "t/young"]),
        (1_800_000_000.0, 100.0, ["t/a", "t/young"]),
        (100.0, 1_800_000_000.0, ["t/a", "t/young"]),
    ],
)
async def test_the_machine_restarts(spools: Open, before: float, after: float, left: list[str]) -> None:
    """Only the wall clock is left, and counts if it was set at both ends and did not run backwards."""
    clocks = Clocks(wall=before, steady=5_000.0)
    spool = await spools(clock=clocks, max_age=60)
    await put(spool, "a")
    clocks.wall, clocks.steady, clocks.boot = after, 3.0, "second"
    spool = await restart(spools, spool, clocks)
    assert await everything(spool) == left


async def test_any_bytes(spools: Open) -> None:
    odd = Message(
        topic="\ud800/\0/#\uffff", payload=bytes(range(256)), qos=1, retain=True, expiry=2**32 - 1,
        content_type="\0\udfff", response_topic="", correlation=b"\xff\0", user=(("", "\ud800"), ("", "")),
    )  # fmt: skip
    spool = await spools()
    await spool.put(odd, qos_class="status", id="\udc80")
    await spool.close()
    spool = await spools()
    (entry,) = await spool.fetch(0, 1)
    assert entry.message == odd
    assert entry.id == "\udc80"


@pytest.mark.parametrize(("qos_class", "qos"), [("status", 0), ("status", 3), ("news", 1)])
async def test_what_is_no_message_of_the_outbox(spools: Open, qos_class: str, qos: int) -> None:
    spool = await spools()
    with pytest.raises(ValueError):
        spool.put(message("x", qos=qos), qos_class=qos_class, id="x")
    assert spool.backlog.messages == 0


async def test_results_nobody_awaits_do_no_harm(spools: Open) -> None:
    spool = await spools(max_bytes=1)
    spool.put(message(), qos_class="billing", id="x")
    cancelled = asyncio.ensure_future(spool.note("a", "b"))
    cancelled.cancel()
    assert await spool.notes() == {"a": "b"}
    await spool.close()
    spool.put(message(), qos_class="billing", id="x")
    spool.released(1)
    spool.done(1)
    with pytest.raises(SpoolClosed, match="was closed"):
        await spool.journal("a", "t", b"")


async def test_a_command_is_known_by_its_id(spools: Open) -> None:
    spool = await spools()
    assert await spool.journal("a", "t/a", b"1") == "new"
    assert await spool.journal("b", "t/b", b"2") == "new"
    assert await spool.journal("a", "t/c", b"3") == "known"
    await spool.started("b")
    await spool.close()
    spool = await spools()
    left = [(command.id, command.topic, command.body, command.started) for command in await spool.unfinished()]
    assert left == [("a", "t/a", b"1", False), ("b", "t/b", b"2", True)]
    assert await spool.finish("b", '{"status":"accepted"}', [message("result", qos=1)]) is True
    assert await spool.finish("b", '{"status":"error"}', [message("second", qos=1)]) is False
    await spool.close()
    spool = await spools()
    assert await spool.outcome("b") == '{"status":"accepted"}'
    assert await spool.outcome("a") is None
    assert await spool.journal("b", "t", b"") == "known"
    assert [command.id for command in await spool.unfinished()] == ["a"]
    assert await everything(spool) == ["t/result"]


async def test_an_outcome_stays_when_its_messages_have_no_room(spools: Open) -> None:
    spool = await spools(max_bytes=SIZE)
    await put(spool, "000")
    await spool.journal("a", "t", b"")
    assert await spool.finish("a", "{}", [message("000")]) is False
    assert await spool.outcome("a") == "{}"
    assert spool.counts.refused == {("command", "full"): 1}


async def test_finished_commands_are_forgotten_in_time(spools: Open) -> None:
    clocks = Clocks()
    spool = await spools(clock=clocks, commands_kept=60)
    for name in "ab":
        await spool.journal(name, "t", b"")
    await spool.finish("a", "{}")
    clocks.pass_(30)
    await spool.close()
    spool = await spools(clock=clocks, commands_kept=60)
    clocks.pass_(29)
    await asyncio.sleep(1.2)  # longer than a sweep
    assert await spool.outcome("a") == "{}"
    clocks.pass_(2)
    async with asyncio.timeout(20):
        while await spool.outcome("a") is not None:  # noqa: ASYNC110 - the sweep is the thread's
            await asyncio.sleep(0.01)
    assert await spool.journal("a", "t", b"") == "new"
    assert await spool.journal("b", "t", b"") == "known"


async def test_commands_are_bounded(spools: Open) -> None:
    """Finished ones are forgotten, oldest first, for new ones; those that wait never."""
    spool = await spools(commands_bytes=1_000)
    for name in "abcdef":
        assert await spool.journal(name, "t", b"") == "new"
    assert await spool.journal("g", "t", b"") == "new"
    with pytest.raises(SpoolFull, match="commands"):
        await spool.journal("h", "t", b"")
    for name in "cab":
        await spool.finish(name, "{}")
    assert await spool.journal("z", "t", b"") == "new"
    assert await spool.outcome("c") is None
    assert [command.id for command in await spool.unfinished()][:3] == ["d", "e", "f"]


async def test_nobody_waits_for_the_opening(spools: Open, tmp_path: Path) -> None:
    """Given up, the file is not locked for ever."""
    opening = asyncio.create_task(Spool.open(SpoolOptions(path=tmp_path / "spool.db")))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with asyncio.timeout(20):
        while True:
            try:
                await spools()
                break
            except SpoolLocked:
                await asyncio.sleep(0.01)


async def test_notes(spools: Open) -> None:
    spool = await spools()
    for key in ("online/b", "online/a", "onlinf", "online", "\ud800"):
        await spool.note(key, key)
    await spool.note("online/b", None)
    await spool.close()
    spool = await spools()
    assert list(await spool.notes("online")) == ["online", "online/a"]
    assert list(await spool.notes()) == ["online", "online/a", "onlinf", "\ud800"]
    with pytest.raises(ValueError):
        spool.note("k" * 1_025, "")


async def test_a_name_of_its_own(spools: Open, tmp_path: Path) -> None:
    spool = await spools()
    other = await Spool.open(SpoolOptions(path=tmp_path / "other.db"))
    await other.close()
    name = spool.name
    await spool.close()
    assert (await spools()).name == name != other.name


async def test_for_the_owner_alone(spools: Open, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        spool = await spools()
        await put(spool, "a")
        files = (tmp_path / "spool.db", tmp_path / "spool.db-wal")
        assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]
        await spool.close()
        (tmp_path / "spool.db").chmod(0o644)
        await spools()
        assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]
    finally:
        os.umask(before)


async def test_the_file_is_as_large_as_what_waits(spools: Open, tmp_path: Path) -> None:
    """A backlog of 40 MB comes and goes: the room is given back, and the log stays small all the time."""
    spool = await spools(durability="normal")
    large = Message("t", bytes(20_000), qos=1)
    logs = []
    for _ in range(20):
        await asyncio.gather(*(spool.put(large, qos_class="billing", id="x") for _ in range(100)))
        logs.append((tmp_path / "spool.db-wal").stat().st_size)
    full = (tmp_path / "spool.db").stat().st_size + logs[-1]
    assert full < 1.4 * spool.backlog.bytes
    assert len(await everything(spool)) == 2_000
    async with asyncio.timeout(30):
        while (tmp_path / "spool.db").stat().st_size > 8_000_000:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    logs.append((tmp_path / "spool.db-wal").stat().st_size)
    # Two transactions of the largest kind, and what stays.
    assert max(logs) < 2 * 4 * 1024**2 + 8 * 1024**2


async def test_group_commit(spools: Open) -> None:
    spool = await spools(batch=100)
    await put(spool, *NAMES)
    assert spool.counts.transactions < 50


async def test_losses_are_said_once_a_while(spools: Open, caplog: pytest.LogCaptureFixture) -> None:
    spool = await spools(max_bytes=2 * SIZE)
    with caplog.at_level(logging.WARNING, "evcore.mqtt.spool"):
        for name in NAMES:
            await put(spool, name, qos_class="status")
    assert spool.counts.dropped == {("status", "full"): 198}
    assert len(caplog.records) == 1
    assert "status" in caplog.text
    assert "t/0" not in caplog.text


@pytest.mark.parametrize(
    "values", [{"durability": "none"}, {"max_bytes": 0}, {"max_age": -1}, {"batch": 0}, {"memory": 0}, {"retry": 0}]
)
def test_settings_out_of_range(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        SpoolOptions(path=Path("x"), **values)


async def test_a_damaged_row_is_dropped_and_counted(spools: Open, tmp_path: Path) -> None:
    spool = await spools()
    await put(spool, "a", "b", "c")
    await spool.close()
    database = sqlite3.connect(tmp_path / "spool.db")
    database.execute("UPDATE entry SET payload = x'00' WHERE seq = 2")
    database.commit()
    database.close()
    spool = await spools()
    assert await everything(spool) == ["t/a", "t/c"]
    assert spool.counts.dropped == {("billing", "damaged"): 1}
    assert spool.backlog.messages == 0
    assert spool.backlog.bytes == 0
