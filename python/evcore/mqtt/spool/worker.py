"""The thread that does the spool's disk work: whatever waits becomes one transaction.

In: orders from the loop, numbers of entries that are released or done. Out: News for the loop, one for each
transaction. Refused: orders that the disk does not take, each with its SpoolError; the thread goes on. Releases and
what is done are kept and tried again until they are written.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any, Final, Literal, TypeAlias

from evcore.mqtt.spool.clock import Clock, Reading
from evcore.mqtt.spool.entry import SpoolOptions
from evcore.mqtt.spool.errors import SpoolClosed, SpoolError, SpoolFull, SpoolNoRoom, explain
from evcore.mqtt.spool.inbox import forget
from evcore.mqtt.spool.rows import Held, Put
from evcore.mqtt.spool.store import Gone, Store

__all__ = ["Look", "News", "Order", "Owed", "Worker", "settle"]

log = logging.getLogger("evcore.mqtt.spool")

#: Seconds between looks at what is old, and at space to give back.
_SWEEP: Final = 1.0
#: Entries that are deleted in one transaction.
_DONE: Final = 10_000


@dataclass(slots=True, eq=False)
class Order:
    """`run` is called in the thread; what it returns or raises (SpoolError) is the future's. `put` instead of `run`:
    a message. `reads`: outside a transaction. `size`: bytes that wait for the disk.
    """

    future: asyncio.Future[Any]
    run: Callable[[Store], Any] | None = None
    put: Put | None = None
    reads: bool = False
    size: int = 0


@dataclass(slots=True, eq=False)
class Owed:
    """A release, or (`seq` None) the end of all; kept until it is written."""

    future: asyncio.Future[None]
    seq: int | None


@dataclass(frozen=True, slots=True)
class Look:
    """What the loop's side lacks: entries above `after` (None: none are missing), `most` more that may be sent."""

    after: int | None
    bytes: int
    most: int


@dataclass(slots=True)
class News:
    """What one transaction changed, in the order in which the loop has to take it in."""

    stored: list[Held] = field(default_factory=list)
    gone: list[Gone] = field(default_factory=list)
    paid: list[Owed] = field(default_factory=list)
    #: What a Look found: entries in order, up to which number there are no others; None: it was not read.
    read: list[Held] = field(default_factory=list)
    read_to: int | None = None
    looked: bool = False
    answers: list[tuple[Order, Any]] = field(default_factory=list)
    #: Classes of results that a finished command had no room for.
    refused: list[str] = field(default_factory=list)
    #: Last one that may go to the broker, first one in the file and its time.
    sent: int = 0
    lowest: tuple[int, float] | None = None
    transactions: int = 0
    trouble: SpoolError | None = None


Item: TypeAlias = Order | Look | Literal["done", "owed", "stop"]


class Worker:
    """`tell` is called in the loop. `hungry` is the loop's to set: all there is was sent, so what is put may be
    sent.
    """

    def __init__(
        self,
        options: SpoolOptions,
        clock: Callable[[Reading | None], Clock],
        tell: Callable[[News], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.hungry = False
        self._options = options
        self._clock = clock
        self._tell = tell
        self._loop = loop
        self._queue: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._done_in: deque[tuple[int, int]] = deque()
        self._owed_in: deque[Owed] = deque()
        self._done: dict[int, int] = {}
        self._owed: list[Owed] = []
        self._trouble: SpoolError | None = None
        # The trouble is that of orders, not of what is owed.
        self._refusing = False
        self._low = False
        self._again = 0.0
        self._sweep = 0.0
        self._opened: asyncio.Future[Store] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._thread = threading.Thread(target=self._run, name="evcore-spool", daemon=True)

    async def start(self) -> Store:
        """The store is the thread's; only its values of the moment are for the caller. Raises SpoolError."""
        self._thread.start()
        try:
            return await asyncio.shield(self._opened)
        except asyncio.CancelledError:
            # Or the file would stay locked.
            self._queue.put("stop")
            raise

    async def stop(self) -> None:
        """What waits is written first. Nothing may be ordered afterwards."""
        self._queue.put("stop")
        await asyncio.shield(self._ended)
        self._thread.join()

    def order(self, order: Order | Look) -> None:
        self._queue.put(order)

    def owe(self, owed: Owed) -> None:
        self._owed_in.append(owed)
        self._queue.put("owed")

    def done(self, seq: int, size: int) -> None:
        first = not self._done_in
        self._done_in.append((seq, size))
        if first:
            self._queue.put("done")

    # From here on in the thread.

    def _run(self) -> None:
        try:
            store = Store(self._options, self._clock)
        except Exception as error:  # noqa: BLE001 - it is the caller's of `start`
            self._call(_fail, self._opened, error)
            return
        self._call(_answer, self._opened, store)
        stopping = False
        while not stopping:
            batch, stopping = self._collect()
            news = News()
            try:
                self._work(store, batch, news, last=stopping)
            except Exception as error:
                log.exception("the spool's thread met an error of its own and goes on")
                wrong = SpoolError(f"{self._options.path} is not written: {error}")
                answered = {order for order, _ in news.answers}
                orders = (order for order in batch if isinstance(order, Order) and order not in answered)
                news.answers.extend((order, wrong) for order in orders)
                news.looked = True
            self._finish(store, news)
        for owed in self._owed:
            self._call(_fail, owed.future, SpoolClosed(f"{self._options.path} was closed"))
        store.file.close()
        self._call(_answer, self._ended, None)

    def _collect(self) -> tuple[list[Order | Look], bool]:
        """What waits, up to the bounds of a transaction; nothing when it is time to look after other things."""
        patience = min(_SWEEP, self._options.retry)
        # What is left of the last transaction goes on at once, unless the disk takes nothing.
        left = self._done and self._trouble is None
        deadline = time.monotonic() + (self._options.done_delay if left else patience)
        batch: list[Order | Look] = []
        size = 0
        while True:
            try:
                item = (
                    self._queue.get_nowait()
                    if batch
                    else self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
                )
            except queue.Empty:
                return batch, False
            if item == "stop":
                return batch, True
            if item == "done":
                deadline = min(deadline, time.monotonic() + self._options.done_delay)
            elif item == "owed":
                deadline = 0.0
            elif isinstance(item, (Order, Look)):
                batch.append(item)
                size += item.size if isinstance(item, Order) else 0
                if len(batch) >= self._options.batch or size >= self._options.memory // 8:
                    return batch, False

    def _work(self, store: Store, batch: list[Order | Look], news: News, *, last: bool) -> None:
        while self._done_in:
            seq, size = self._done_in.popleft()
            self._done[seq] = size
        while self._owed_in:
            self._owed.append(self._owed_in.popleft())
        writes = [item for item in batch if isinstance(item, Order) and not item.reads]
        coming = sum(order.size for order in writes if order.put is not None)
        if coming and (low := self._low_disk(store, coming)) is not None:
            self._troubled(low, refusing=True)
            news.answers.extend((order, low) for order in writes if order.put is not None)
            writes = [order for order in writes if order.put is None]
        looks = [item for item in batch if isinstance(item, Look)]
        now = time.monotonic()
        sweep = now >= self._sweep
        marks = any(look.most for look in looks)
        if writes or marks or (now >= self._again and (self._owed or self._done or sweep)) or last:
            error = self._attempt(store, writes, looks, news, sweep=sweep)
            if isinstance(error, SpoolNoRoom) and store.file.make_room():
                error = self._attempt(store, writes, looks, news, sweep=sweep)
            if error is not None and (writes or marks):
                news.answers.extend((order, error) for order in writes)
                # These are small and may fit where the others do not.
                self._attempt(store, [], [], news, sweep=False)
        for look in looks:
            news.looked = True
            if look.after is not None:
                self._read(store, look, news)
        for order in batch:
            if isinstance(order, Order) and order.reads and order.run is not None:
                news.answers.append((order, self._result(store, order)))
        if sweep and not batch and self._trouble is None:
            self._tidy(store)

    def _low_disk(self, store: Store, coming: int) -> SpoolNoRoom | None:
        """Why so many bytes cannot be put: the disk is nearly full, and they do not fit into the file as it is."""
        free = store.file.free()
        if free >= self._options.reserve:
            self._low = False
            return None
        if not self._low:
            # While it is possible: afterwards nothing that is to be noted makes the file grow.
            self._low = True
            store.file.make_room()
        # Rows of some KiB waste up to a third of their pages; the rest is for what else a transaction touches.
        if store.file.spare() >= coming * 3 // 2 + self._options.memory // 32:
            return None
        return SpoolNoRoom(
            f"{self._options.path} takes nothing more: {free} bytes are free on its disk, and {self._options.reserve} "
            "are kept for sending what is there; make room on it"
        )

    def _attempt(
        self, store: Store, writes: list[Order], looks: list[Look], news: News, *, sweep: bool
    ) -> SpoolError | None:
        """One transaction, or what kept it from being one; then nothing has changed."""
        owed = self._owed
        # Not all at once after a long while without room: the transaction would need much room itself.
        done = dict(islice(self._done.items(), _DONE))
        most = max((look.most for look in looks), default=0)
        answers: list[tuple[Order, Any]] = []
        try:
            with store.transaction(durable=bool(writes or owed or most)) as changes:
                if done:
                    store.done(done)
                for renewing, group in groupby(owed, key=lambda item: item.seq is None):
                    if renewing:
                        store.renew()
                    else:
                        store.release(item.seq for item in group if item.seq is not None)
                coming = sum(order.size for order in writes if order.put is not None)
                for order in writes:
                    answers.append((order, self._result(store, order, coming)))
                    coming -= order.size if order.put is not None else 0
                if self.hungry and changes.stored:
                    store.send_all()
                    # Until the loop has sent these, too: a connection that has ended asks for nothing more.
                    self.hungry = False
                elif most:
                    store.send(most)
                if sweep:
                    store.age()
                    forget(store)
                    self._sweep = time.monotonic() + _SWEEP
        except SpoolError as error:
            self._again = time.monotonic() + self._options.retry
            self._troubled(error, refusing=any(order.put is not None for order in writes))
            return error
        self._owed = []
        for seq in done:
            del self._done[seq]
        news.answers.extend(answers)
        news.stored.extend(changes.stored)
        news.gone.extend(changes.gone)
        news.refused.extend(changes.refused)
        news.paid.extend(owed)
        news.transactions += 1
        if self._trouble is not None and (changes.stored if self._refusing else writes or owed or most):
            log.warning("%s is written again", self._options.path)
            self._trouble = None
        return None

    def _result(self, store: Store, order: Order, coming: int = 0) -> Any:
        """What the order's future gets: SpoolFull and what a reading raises are its own, all else is everybody's."""
        try:
            if order.put is not None:
                return store.put((order.put,), coming)
            if order.run is not None:
                store.flush()
                return order.run(store)
        except SpoolFull as error:
            return error
        except (sqlite3.Error, ValueError) as error:
            if not order.reads:
                raise
            return explain(self._options.path, "read", error) if isinstance(error, sqlite3.Error) else error
        return None

    def _read(self, store: Store, look: Look, news: News) -> None:
        if look.after is None:
            return
        try:
            read, damaged, complete = store.read(look.after, look.bytes)
        except sqlite3.Error as error:
            self._troubled(explain(self._options.path, "read", error), refusing=False)
            return
        if damaged:
            log.error("%s has damaged messages (%d); they are dropped", self._options.path, len(damaged))
            try:
                with store.transaction(durable=False) as changes:
                    store.drop_damaged(damaged)
            except SpoolError as error:
                self._troubled(error, refusing=False)
                return
            news.gone.extend(changes.gone)
        last = max([held.entry.seq for held in read[-1:]] + [gone.seq for gone in damaged[-1:]], default=look.after)
        news.read, news.read_to = read, store.seq if complete else last

    def _tidy(self, store: Store) -> None:
        try:
            while self._queue.empty() and store.file.tidy():
                pass
        except SpoolError as error:
            self._troubled(error, refusing=False)

    def _troubled(self, error: SpoolError, *, refusing: bool) -> None:
        if self._trouble is None or type(self._trouble) is not type(error):
            log.error("%s", error)
        self._trouble = error
        self._refusing = refusing

    def _finish(self, store: Store, news: News) -> None:
        news.sent, news.trouble = store.sent, self._trouble
        try:
            news.lowest = store.lowest()
        except sqlite3.Error as error:
            self._troubled(explain(self._options.path, "read", error), refusing=False)
        self._call(self._tell, news)

    def _call(self, function: Callable[..., None], *values: Any) -> None:
        # Nobody is left to tell when the loop is closed.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *values)


def _answer(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    """A result that nobody awaits does no harm: the error counts as seen."""
    if not future.done():
        future.set_exception(error)
        future.exception()


def settle(future: asyncio.Future[Any], result: Any) -> None:
    """`result`: a value, or the exception that came instead."""
    if isinstance(result, BaseException):
        _fail(future, result)
    else:
        _answer(future, result)
