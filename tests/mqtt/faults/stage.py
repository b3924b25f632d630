"""A stage: a broker, a door before it, a subject behind the door, stations that talk to it, a witness at the broker.

In: a fault (what to do while the stream runs), a QoS, a subject. Out: the figures of the run, and what everybody said.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.mqtt.brokers import Mosquitto, MosquittoOptions
from tests.mqtt.door import Door
from tests.mqtt.faults.books import Books, Figures
from tests.mqtt.faults.stations import Stream
from tests.mqtt.faults.subjects import Kind, Setup, Subject, make
from tests.mqtt.observer import Login, Observer

Fault = Callable[["Stage"], Coroutine[Any, Any, None]]


class Listener(NamedTuple):
    port: int


#: A broker as docs/mqtt.md recommends it, with room for a witness that is away.
KEEPING = MosquittoOptions(autosave=True, max_inflight=1000, max_queued=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """`stations` send `messages` each, `pause` seconds apart; a fault holds for `outage` seconds, and is repeated
    `rounds` times where that makes sense. `patience`: seconds until what has not come is called lost (a subject that
    shows signs of life is given more). `longest`: seconds until a stream that does not end is a failure.
    """

    stations: int = 4
    messages: int = 60
    pause: float = 0.005
    outage: float = 0.5
    rounds: int = 2
    patience: float = 30.0
    longest: float = 60.0


@dataclass
class Stage:
    effort: Effort
    broker: Mosquitto
    door: Door
    subject: Subject
    observer: Observer
    setup: Setup
    kind: Kind
    books: Books = field(default_factory=Books)
    #: Further subjects that a fault has started; they end with the stage.
    others: list[Subject] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.effort.stations * self.effort.messages

    async def progress(self, share: float) -> None:
        """Waits until this share of the messages has been acknowledged."""
        async with asyncio.timeout(self.effort.longest):
            while len(self.books.acknowledged) < share * self.total:  # noqa: ASYNC110 - streams are many
                await asyncio.sleep(0.002)

    async def watched(self, connects: int) -> None:
        """Waits until the witness is in for the `connects`th time."""
        await self.observer.until(lambda _: self.observer.connects >= connects)

    async def kill_broker(self) -> None:
        await asyncio.to_thread(self.broker.kill)

    async def stop_broker(self) -> None:
        await asyncio.to_thread(self.broker.stop)

    async def start_broker(self) -> None:
        """... and waits until the witness is back."""
        before = self.observer.connects
        await asyncio.to_thread(self.broker.start)
        await self.watched(before + 1)

    async def kill_subject(self) -> None:
        await asyncio.to_thread(self.subject.kill)

    async def start_subject(self) -> None:
        await asyncio.to_thread(self.subject.start)

    async def another_subject(self, name: str) -> Subject:
        """One more, with the same settings and files of its own."""
        other = make(self.kind, name, self.subject.folder.parent / name, self.setup)
        self.others.append(other)
        await asyncio.to_thread(other.start)
        return other

    def said(self) -> str:
        """The last words of subject and broker, for a failure."""
        return f"the subject:\n{self.subject.said()[-3000:]}\nthe broker:\n{self.broker.said()[-2000:]}"


@contextlib.asynccontextmanager
async def staged(
    folder: Path,
    kind: Kind,
    qos: int,
    effort: Effort,
    *,
    broker: MosquittoOptions = KEEPING,
    version: str = "5",
    witness: int = 1,
    setup: Callable[[Setup], Setup] = lambda setup: setup,
    login: Login | None = None,
    direct: bool = False,
) -> AsyncIterator[Stage]:
    """Everything is up; nothing has been sent. `witness`: the QoS of its subscription. `begin=False`: the subject is
    not started.
    """
    server = Mosquitto(folder / "broker", broker)
    server.start()
    stage = None
    try:
        watched = Observer(Listener(server.plain_port), "#", qos=witness, persistent=True, login=login)
        async with Door(server.port) as door, watched as observer:
            given = setup(Setup(addresses=[server.url if direct else door.url], qos=qos, version=version))
            subject = make(kind, kind, folder / kind, given)
            stage = Stage(effort, server, door, subject, observer, given, kind)
            await stage.start_subject()
            yield stage
    finally:
        for process in () if stage is None else (stage.subject, *stage.others):
            await asyncio.to_thread(process.kill)
        await asyncio.to_thread(server.kill)


async def play(stage: Stage, fault: Fault) -> Figures:
    """The stream and the fault together; then everybody has time to bring what is left."""
    effort = stage.effort
    try:
        async with asyncio.timeout(effort.longest), asyncio.TaskGroup() as group:
            for index in range(effort.stations):
                stream = Stream(f"CP{index}", stage.subject.port, stage.books, effort.messages, effort.pause)
                group.create_task(stream.run())
            group.create_task(fault(stage))
    except TimeoutError:
        answered = f"{len(stage.books.acknowledged)} of {len(stage.books.sent)} messages were answered"
        raise AssertionError(f"after {effort.longest:g} s, {answered}\n{stage.said()}") from None
    await settle(stage.books, stage.observer, effort.patience)
    return stage.books.close(stage.observer.seen)


async def settle(books: Books, observer: Observer, patience: float) -> None:
    """Until nothing that was acknowledged is missing, or no more of it has come for `patience` seconds; then a moment
    more, for duplicates.
    """
    known, end = -1, time.monotonic() + patience
    while (missing := len(books.missing(observer.seen))) and time.monotonic() < end:
        if missing != known:
            known, end = missing, time.monotonic() + patience
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)
