"""The spool against a model made of dicts: random operations, with closings and sudden ends between them.

What a sudden end leaves is what the files hold at that moment: they are copied while the spool is open. The model knows
exactly what gives way for what; only what was done just before a sudden end may come back.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from evcore.mqtt.message import Message
from evcore.mqtt.spool import Spool, SpoolFull, SpoolOptions, mid
from evcore.mqtt.spool.rows import RANKS, encode

MOST = 2_500
CLASSES = st.sampled_from(sorted(RANKS))
TEXTS = st.text(st.characters(), max_size=12)
MESSAGES = st.builds(
    Message,
    topic=TEXTS,
    payload=st.binary(max_size=40) | st.binary(min_size=500, max_size=900),
    qos=st.sampled_from([1, 2]),
    retain=st.booleans(),
    content_type=st.none() | TEXTS,
    response_topic=st.none() | TEXTS,
    correlation=st.none() | st.binary(max_size=8),
    user=st.lists(st.tuples(TEXTS, TEXTS), max_size=2).map(tuple),
)
IDS = st.sampled_from(["a", "b", "c", "\ud800", ""])


@dataclass
class Kept:
    message: Message
    qos_class: str
    size: int
    released: bool = False


class SpoolMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="spool-"))
        self.lives = 0
        self.kept: dict[int, Kept] = {}
        self.given: list[int] = []
        self.just_done: dict[int, Kept] = {}
        self.highest = 0
        self.dropped = 0
        self.commands: dict[str, tuple[bool, str | None]] = {}
        self.notes: dict[str, str] = {}

    def run(self, awaitable: Any) -> Any:
        async def settled() -> Any:
            result = await asyncio.wait_for(awaitable, 20) if awaitable is not None else None
            while self.spool._looking:  # noqa: ASYNC110 - it has an event only for `fetch`
                await asyncio.sleep(0)
            return result

        return self.runner.run(settled())

    @initialize()
    def start(self) -> None:
        self.open()
        self.name = self.spool.name

    def open(self) -> None:
        async def opened() -> Spool:
            options = SpoolOptions(
                path=self.folder / str(self.lives) / "spool.db",
                max_bytes=MOST,
                memory=3_000,
                batch=3,
                durability="normal",
            )
            options.path.parent.mkdir(exist_ok=True)
            return await Spool.open(options)

        self.spool = self.runner.run(opened())
        self.dropped = 0
        self.given = []
        self.run(None)

    @rule(message=MESSAGES, qos_class=CLASSES)
    def put(self, message: Message, qos_class: str) -> None:
        size = encode(message, qos_class, "i").size
        need = sum(kept.size for kept in self.kept.values()) + size - MOST
        yielding = [
            seq
            for rank in range(min(RANKS[qos_class], 1) + 1)
            for seq, kept in self.kept.items()
            if RANKS[kept.qos_class] == rank and seq > self.spool._sent
        ]
        going: list[int] = []
        while need > 0 and yielding:
            going.append(yielding.pop(0))
            need -= self.kept[going[-1]].size

        async def put() -> None:
            await self.spool.put(message, qos_class=qos_class, id="i")

        try:
            self.run(put())
        except SpoolFull:
            assert need > 0
            return
        assert need <= 0
        for seq in going:
            del self.kept[seq]
        self.dropped += len(going)
        self.highest = self.spool._seq
        assert self.highest not in self.kept
        assert self.highest > max(self.kept, default=0)
        self.kept[self.highest] = Kept(message, qos_class, size)

    @rule(most=st.integers(1, 5))
    def take(self, most: int) -> None:
        last = self.given[-1] if self.given else 0
        entries = self.run(self.spool.fetch(last, most))
        expected = [seq for seq in self.kept if seq > last][: len(entries)]
        assert [entry.seq for entry in entries] == expected
        assert bool(entries) == any(seq > last for seq in self.kept)
        for entry in entries:
            kept = self.kept[entry.seq]
            assert (entry.message, entry.released) == (kept.message, kept.released)
            assert entry.mid == mid(entry.seq)
        self.given += expected

    @rule()
    def take_again(self) -> None:
        """What was given out and is not done is given out again, in order, at once."""
        in_hand = [seq for seq in self.given if seq in self.kept]
        entries = self.spool.waiting(0, len(in_hand))
        assert [entry.seq for entry in entries] == in_hand[: len(entries)]
        assert len(entries) == len(in_hand)
        self.run(None)

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        seq = data.draw(st.sampled_from(self.given))
        self.run(self.spool.released(seq))
        if seq in self.kept:
            self.kept[seq].released = True

    @rule()
    def renew(self) -> None:
        async def renew() -> None:
            await self.spool.renew()

        self.run(renew())
        for kept in self.kept.values():
            kept.released = False

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        seq = data.draw(st.sampled_from(self.given))
        self.spool.done(seq)
        if seq in self.kept:
            self.just_done[seq] = self.kept.pop(seq)

    @rule(id=IDS, body=st.binary(max_size=20))
    def journal(self, id: str, body: bytes) -> None:
        async def journal() -> str:
            return await self.spool.journal(id, "t", body)

        assert self.run(journal()) == ("known" if id in self.commands else "new")
        self.commands.setdefault(id, (False, None))

    @precondition(lambda self: self.commands)
    @rule(data=st.data(), finish=st.booleans())
    def advance(self, data: st.DataObject, finish: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.commands)))
        _, outcome = self.commands[name]

        async def advance() -> None:
            await self.spool.started(name)
            if finish:
                assert await self.spool.finish(name, "\udfff" + name) is (outcome is None)

        self.run(advance())
        self.commands[name] = (True, "\udfff" + name if finish and outcome is None else outcome)

    @rule(key=TEXTS, value=st.none() | TEXTS)
    def note(self, key: str, value: str | None) -> None:
        async def note() -> None:
            await self.spool.note(key, value)

        self.run(note())
        if value is None:
            self.notes.pop(key, None)
        else:
            self.notes[key] = value

    @rule(prefix=st.text(max_size=1))
    def read(self, prefix: str) -> None:
        async def read() -> None:
            expected = {key: value for key, value in self.notes.items() if key.startswith(prefix)}
            assert await self.spool.notes(prefix) == expected
            unfinished = {command.id: command.started for command in await self.spool.unfinished()}
            assert unfinished == {name: begun for name, (begun, outcome) in self.commands.items() if outcome is None}
            for name, (_, outcome) in self.commands.items():
                assert await self.spool.outcome(name) == outcome

        self.run(read())

    @rule()
    def close_and_open(self) -> None:
        self.runner.run(self.spool.close())
        self.compare(exact=True)
        self.open()
        assert self.spool.name == self.name

    @rule()
    def end_suddenly(self) -> None:
        before = self.folder / str(self.lives)
        self.lives += 1
        shutil.copytree(before, self.folder / str(self.lives))
        self.runner.run(self.spool.close())
        self.compare(exact=False)
        self.open()
        assert self.spool.name == self.name

    def compare(self, *, exact: bool) -> None:
        path = self.folder / str(self.lives) / "spool.db"
        database = sqlite3.connect(path)
        rows = dict(database.execute("SELECT seq, released FROM entry ORDER BY seq").fetchall())
        assert database.execute("SELECT seq FROM state").fetchone()[0] == self.highest
        database.close()
        assert path.stat().st_mode & 0o777 == 0o600
        for seq in list(self.just_done):
            if not exact and seq in rows:
                self.kept[seq] = self.just_done[seq]
        self.kept = dict(sorted(self.kept.items()))
        self.just_done = {}
        assert rows == {seq: int(kept.released) for seq, kept in self.kept.items()}

    @invariant()
    def the_backlog_is_right(self) -> None:
        if not hasattr(self, "spool"):
            return
        sizes = [kept.size for kept in self.kept.values()]
        backlog = self.spool.backlog
        assert (backlog.messages, backlog.bytes) == (len(sizes), sum(sizes))
        assert backlog.bytes <= MOST
        assert self.spool.counts.dropped.total() == self.dropped
        # The memory's bound, and what was given out or is just read.
        assert (
            self.spool._memory.bytes
            <= 3_000 + sum(self.kept[seq].size for seq in self.given if seq in self.kept) + 1_500
        )

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.runner.run(self.spool.close())
        self.runner.close()
        shutil.rmtree(self.folder)


TestSpool = SpoolMachine.TestCase
TestSpool.settings = settings(
    max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
