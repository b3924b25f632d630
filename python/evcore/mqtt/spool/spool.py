"""The spool, as the event loop has it: an outbox, an inbox and notes, all in one file and none of it blocking.

In: messages, commands and notes; what the broker has. Out: awaitables that are done when it is on the disk; the
messages to be sent, in order. Refused: what there is no room for (SpoolFull), what the disk does not take (SpoolError),
messages that are none (ValueError).
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Self, TypeVar

from evcore.mqtt.broker.options import Entry as Waiting
from evcore.mqtt.message import Message
from evcore.mqtt.spool import inbox
from evcore.mqtt.spool.clock import Clock, Reading
from evcore.mqtt.spool.entry import MIDS, Backlog, Command, SpoolOptions
from evcore.mqtt.spool.errors import SpoolClosed, SpoolError, SpoolFull
from evcore.mqtt.spool.memory import Memory
from evcore.mqtt.spool.rows import Held, encode, packed
from evcore.mqtt.spool.store import Gone, Store
from evcore.mqtt.spool.worker import Look, News, Order, Owed, Worker, settle

__all__ = ["Spool", "SpoolCounts"]

log = logging.getLogger("evcore.mqtt.spool")

_T = TypeVar("_T")

#: Entries that are made ready for sending at a time; what is ready is not dropped any more.
_READY: Final = 256
_KEY: Final = 1_024
_VALUE: Final = 65_536


@dataclass(slots=True)
class SpoolCounts:
    """Since the spool was opened, by class. `refused`: a put failed, whoever put it knows; `dropped`: taken, and gone
    before it was sent. Reasons: "full", "slow" (too much waits for the disk), "disk" refuse; "full", "age", "expired",
    "damaged" drop.
    """

    put: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    transactions: int = 0


class Spool:
    """Made by `open`; used in that event loop only. A result that nobody awaits does no harm."""

    #: Called whenever `waiting` may have more to give.
    on_put: Callable[[], None] | None

    def __init__(self, options: SpoolOptions, clock: Callable[[Reading | None], Clock]) -> None:
        self.options = options
        self.counts = SpoolCounts()
        self.on_put = None
        #: The last error of the disk, until it is written again.
        self.trouble: SpoolError | None = None
        self._loop = asyncio.get_running_loop()
        self._worker = Worker(options, clock, self._tell, self._loop)
        self._memory = Memory()
        self._name = ""
        self._messages = self._bytes = 0
        # Last number in the file; up to which it was read; up to which it may be sent; first one and its time.
        self._seq = self._loaded = self._sent = 0
        self._lowest: tuple[int, float] | None = None
        self._pending = 0
        self._looking = False
        self._looked = asyncio.Event()
        self._closed = False
        self._warned: dict[tuple[str, str], float] = {}

    @classmethod
    async def open(cls, options: SpoolOptions, *, clock: Callable[[Reading | None], Clock] = Clock) -> Self:
        """Makes the file if it is not there; its folder must be. Raises SpoolLocked, SpoolForeign (of another program
        or release), SpoolDamaged, SpoolUnwritable, SpoolNoRoom.
        """
        spool = cls(options, clock)
        store = await spool._worker.start()
        spool._begin(store)
        return spool

    async def close(self) -> None:
        """What waits is written first. Afterwards everything raises SpoolClosed."""
        if not self._closed:
            self._closed = True
            await self._worker.stop()

    @property
    def name(self) -> str:
        """Random, made once with the file: what makes the default client identifier one of its own."""
        return self._name

    @property
    def backlog(self) -> Backlog:
        if not self._messages:
            return Backlog()
        first = self._memory.first()
        since = first.time if first is not None else self._lowest[1] if self._lowest is not None else self._clock.now()
        return Backlog(self._messages, self._bytes, max(0.0, self._clock.now() - since))

    # The outbox.

    def put(self, message: Message, *, qos_class: str, id: str) -> Awaitable[None]:
        """Done when the message is on the disk. Lower classes give way to higher ones, older to younger ones:
        telemetry, then status and command, never billing. Raises SpoolFull if none may, another SpoolError if the disk
        does not take it; then it is not sent. ValueError (at once): an unknown class, or QoS 0.
        """
        put = encode(message, qos_class, id)
        return self._order(Order(self._loop.create_future(), put=put, size=put.size))

    def waiting(self, after: int, most: int) -> list[Waiting]:
        """Up to `most` entries above `after` (0: from the first one that is not done), in order. Never blocks: what is
        on the disk only is read in the background, and `on_put` called when it is here. What was given out stays until
        `done`; it is not dropped for room or age. Two entries given out never share a packet identifier: none is 60,000
        above one that is still in the file. Of a message with an expiry, what is left of it.
        """
        given: list[Waiting] = []
        last, capped = after, False
        bound = self._lowest[0] + MIDS if self._lowest is not None else math.inf
        for held in self._memory.above(after):
            last = held.entry.seq
            if last >= bound:
                capped = True
                break
            if len(given) >= most or last > self._sent:
                break
            given.append(held.entry if held.expires is None else self._shortened(held, held.expires))
        self._look_ahead(given[-1].seq if given else after, most, short=len(given) < most and not capped)
        return given

    async def fetch(self, after: int, most: int) -> list[Waiting]:
        """`waiting`, but waits for the disk; empty only if there is none to give. Raises SpoolError."""
        while not (given := self.waiting(after, most)) and self._looking:
            self._looked.clear()
            await self._looked.wait()
            if self._closed:
                raise self._is_closed()
            if self.trouble is not None and not self._memory_has(after):
                raise self.trouble
        return given

    def released(self, seq: int) -> Awaitable[None]:
        """PUBREC came. Done when that is on the disk: only then may PUBREL go out. A disk that takes nothing is waited
        for; raises SpoolClosed if the spool is closed meanwhile.
        """
        future = self._future()
        if not self._closed:
            if self._memory.get(seq) is None:
                future.set_result(None)
            else:
                self._worker.owe(Owed(future, seq))
        return future

    def renew(self) -> Awaitable[None]:
        """The broker has forgotten the session: no entry counts as released any more. Done when that is on the disk."""
        future = self._future()
        if not self._closed:
            self._worker.owe(Owed(future, None))
        return future

    def done(self, seq: int) -> None:
        """PUBACK or PUBCOMP came: the entry goes. Written with other things, not waited for: lost in a kill, it costs
        one more transmission under the same packet identifier. Unknown and repeated numbers do nothing.
        """
        held = self._memory.remove(seq)
        if held is not None and not self._closed:
            self._messages -= 1
            self._bytes -= held.size
            self.counts.done[held.qos_class] += 1
            self._worker.done(seq, held.size)

    # Commands from the broker, by their ids.

    def journal(self, id: str, topic: str, body: bytes) -> Awaitable[Literal["new", "known"]]:
        """On the disk when done; "known": that id is there already. Raises SpoolFull if commands without an outcome
        fill `commands_bytes`.
        """
        values = (packed(id), packed(topic), bytes(body))
        return self._run(lambda store: inbox.journal(store, *values), sum(map(len, values)))

    def started(self, id: str) -> Awaitable[None]:
        """On the disk when done: from now on the command may have been carried out."""
        name = packed(id)
        return self._run(lambda store: inbox.started(store, name), len(name))

    def finish(
        self, id: str, outcome: str, messages: Sequence[Message] = (), *, qos_class: str = "command"
    ) -> Awaitable[bool]:
        """The outcome, and the messages (QoS 1 or 2) that tell it, in one transaction. False: the outcome is on the
        disk, but the messages had no room and were refused, or the command had an outcome before, which stays.
        """
        name, text = packed(id), packed(outcome)
        puts = [encode(message, qos_class, id) for message in messages]
        size = len(name) + len(text) + sum(put.size for put in puts)
        return self._run(lambda store: inbox.finish(store, name, text, puts), size)

    def outcome(self, id: str) -> Awaitable[str | None]:
        """None: unknown, or not finished."""
        name = packed(id)
        return self._run(lambda store: inbox.outcome(store, name), reads=True)

    def unfinished(self) -> Awaitable[list[Command]]:
        """Commands without an outcome, in the order in which they came."""
        return self._run(inbox.unfinished, reads=True)

    # Small facts.

    def note(self, key: str, value: str | None) -> Awaitable[None]:
        """Done when it is on the disk; None removes it. Raises ValueError (at once) above 1,024 characters of key or
        65,536 of value.
        """
        if len(key) > _KEY or len(value or "") > _VALUE:
            raise ValueError(f"a note has up to {_KEY} characters of key and {_VALUE} of value")
        name = packed(key)
        return self._run(lambda store: inbox.note(store, name, value), len(name) + len(value or ""))

    def notes(self, prefix: str = "") -> Awaitable[Mapping[str, str]]:
        """All whose key begins with `prefix`, by key."""
        name = packed(prefix)
        return self._run(lambda store: inbox.notes(store, name), reads=True)

    def settled(self) -> Awaitable[None]:
        """Done when everything put before is on the disk, or has failed. Raises SpoolError if the disk fails."""
        return self._run(lambda store: None)

    # Inside.

    def _begin(self, store: Store) -> None:
        self._name, self._clock = store.name, store.clock
        self._messages, self._bytes = store.totals.messages, store.totals.bytes
        self._seq, self._sent, self._lowest = store.seq, store.sent, store.first
        if not self._messages:
            self._loaded = self._seq
        else:
            self._look(0, read=True)

    def _future(self) -> asyncio.Future[Any]:
        future = self._loop.create_future()
        if self._closed:
            settle(future, self._is_closed())
        return future

    def _is_closed(self) -> SpoolClosed:
        return SpoolClosed(f"{self.options.path} was closed")

    def _run(self, run: Callable[[Store], _T], size: int = 0, *, reads: bool = False) -> Awaitable[_T]:
        return self._order(Order(self._loop.create_future(), run, reads=reads, size=size))

    def _order(self, order: Order) -> asyncio.Future[Any]:
        if self._closed:
            settle(order.future, self._is_closed())
        elif self._pending and self._pending + order.size > self.options.memory and not order.reads:
            error = SpoolFull(
                f"{self.options.path}: {self._pending} bytes wait for the disk, {self.options.memory} are allowed; "
                "the disk is too slow for what comes, or fails"
            )
            self._refused(order, "slow", error)
        else:
            self._pending += order.size
            self._worker.order(order)
        return order.future

    def _shortened(self, held: Held, expires: float) -> Waiting:
        left = max(1, math.ceil(expires - self._clock.now()))
        return replace(held.entry, message=replace(held.entry.message, expiry=left))

    def _memory_has(self, after: int) -> bool:
        return next(self._memory.above(after), None) is not None

    def _look_ahead(self, last: int, most: int, *, short: bool) -> None:
        """Has the next entries read and made ready before they are asked for."""
        on_disk = self._loaded < self._seq
        unready = max(self._memory.last(), self._seq if on_disk else 0) > self._sent
        self._worker.hungry = short and not on_disk and not unready
        if self._looking or self._closed:
            return
        # As many again as were asked for should be ready, and half the memory full.
        ready = 0
        for held in self._memory.above(last):
            if held.entry.seq > self._sent or ready >= most:
                break
            ready += 1
        wants_more = unready and ready < most
        # What was given out may fill the memory: the next one is read all the same.
        read = on_disk and (self._memory.bytes < self.options.memory // 2 or not self._memory_has(last))
        if wants_more or read:
            self._look(max(most, _READY) if wants_more else 0, read=read)

    def _look(self, most: int, *, read: bool) -> None:
        self._looking = True
        room = min(self.options.memory - self._memory.bytes, self.options.memory // 4)
        self._worker.order(Look(self._loaded if read else None, max(1, room), most))

    def _tell(self, news: News) -> None:
        """What the thread did, in its order."""
        more = self._sent < news.sent or self._lowest != news.lowest
        self._sent, self._lowest, self.trouble = news.sent, news.lowest, news.trouble
        self.counts.transactions += news.transactions
        for held in news.stored:
            self._store(held)
        more = more or bool(news.stored)
        # Read after the transaction, so without what went in it.
        for held in news.read:
            self._memory.add(held)
        if news.read_to is not None:
            self._loaded, more = news.read_to, True
        for gone in news.gone:
            self._drop(gone)
        for qos_class in news.refused:
            self.counts.refused[qos_class, "full"] += 1
        for owed in news.paid:
            self._pay(owed)
        for order, result in news.answers:
            self._pending -= order.size
            self._answer(order, result)
        if news.looked:
            self._looking = False
            self._looked.set()
            if news.trouble is not None:
                self._loop.call_later(self.options.retry, self._wake)
        if more:
            self._wake()

    def _wake(self) -> None:
        if self.on_put is not None and not self._closed:
            self.on_put()

    def _store(self, held: Held) -> None:
        self._messages += 1
        self._bytes += held.size
        self.counts.put[held.qos_class] += 1
        # In memory only without a gap before it.
        if self._loaded == self._seq and (not self._memory or self._memory.bytes + held.size <= self.options.memory):
            self._memory.add(held)
            self._loaded = held.entry.seq
        self._seq = held.entry.seq

    def _drop(self, gone: Gone) -> None:
        self._memory.remove(gone.seq)
        self._messages -= 1
        self._bytes -= gone.size
        self.counts.dropped[gone.qos_class, gone.reason] += 1
        self._warn(gone.qos_class, gone.reason)

    def _pay(self, owed: Owed) -> None:
        changed = list(self._memory.released()) if owed.seq is None else [self._memory.get(owed.seq)]
        for held in changed:
            if held is not None:
                held.entry = replace(held.entry, released=owed.seq is not None)
        settle(owed.future, None)

    def _answer(self, order: Order, result: Any) -> None:
        if isinstance(result, SpoolError):
            self._refused(order, "full" if isinstance(result, SpoolFull) else "disk", result)
        else:
            settle(order.future, result)

    def _refused(self, order: Order, reason: str, error: SpoolError) -> None:
        if order.put is not None:
            self.counts.refused[order.put.qos_class, reason] += 1
        settle(order.future, error)

    def _warn(self, qos_class: str, reason: str) -> None:
        """At once, then once a minute."""
        now = self._loop.time()
        if now >= self._warned.get((qos_class, reason), -math.inf):
            self._warned[qos_class, reason] = now + 60.0
            count = self.counts.dropped[qos_class, reason]
            log.warning(
                "%s: messages of class %s were dropped (%s), %d up to now", self.options.path, qos_class, reason, count
            )
