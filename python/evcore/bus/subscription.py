"""Subscriptions: the queue between the bus and one who reads at their own pace.

In: events from the bus. Out: the same in the order of publishing, read by `async for` or `get`. Refused: more than
`limit` events that wait, as the policy says; nobody else notices.

- `drop_oldest`: the oldest that waits gives way to the newest.
- `conflate`: a newer event of a topic takes the place of the one that waits, so that what is read is the last of each
  topic, in the order in which the topics came up since they were last read. Of more topics than `limit` the oldest
  gives way.
- `block`: what does not fit in stays with its publisher, who waits for room. The bus keeps nothing for a publisher who
  does not wait: that event is lost to this subscription, and counted.

One loop, one thread. Several tasks may read one subscription: each event goes to one of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias

from evcore.bus.event import Event

__all__ = ["POLICIES", "Closed", "Policy", "Subscription", "Ticket"]

log = logging.getLogger("evcore.bus")

Policy: TypeAlias = Literal["block", "drop_oldest", "conflate"]


class Closed(Exception):
    """The subscription is closed and everything that waited has been read."""


class Ticket:
    """An event that did not fit into a queue, in the hands of its publisher."""

    __slots__ = ("_waiters", "event")

    def __init__(self, event: Event) -> None:
        self.event: Event | None = event
        self._waiters: list[asyncio.Future[None]] | None = []

    def settle(self) -> None:
        """It was taken, or the subscriber is gone: its publisher need not wait any more."""
        waiters, self._waiters = self._waiters or (), None
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def withdraw(self) -> None:
        """Nobody waits for it. May be called by a finaliser in any thread, so it only leaves a mark."""
        self.event = None

    def wait(self) -> Generator[Any, None, None]:
        """Until it is settled; the event stays with its publisher when this is cancelled."""
        if self._waiters is not None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                yield from waiter
            finally:
                if self._waiters is not None:
                    self._waiters.remove(waiter)


class _Queue:
    """What the bus holds of a subscription; `take` is all it calls."""

    __slots__ = ("closed", "dropped", "limit", "name", "readers", "replay")

    def __init__(self, name: str, limit: int, replay: Iterable[Event]) -> None:
        self.name = name
        self.limit = limit
        self.dropped = 0
        self.closed = False
        self.readers: deque[asyncio.Future[None]] = deque()
        # Retained values; they are in memory anyway and do not count.
        self.replay = deque(replay)

    def take(self, event: Event) -> Ticket | None:
        raise NotImplementedError

    def pop(self) -> Event | None:
        raise NotImplementedError

    def waiting(self) -> int:
        raise NotImplementedError

    def close(self) -> None:
        self.closed = True
        readers, self.readers = self.readers, deque()
        for reader in readers:
            if not reader.done():
                reader.set_result(None)

    def wake(self) -> None:
        """Wakes one reader."""
        while self.readers:
            reader = self.readers.popleft()
            if not reader.done():
                reader.set_result(None)
                return

    def lose(self, count: int = 1) -> None:
        if not self.dropped:
            log.warning("A subscription of %s is behind by %d events: from now on it loses some", self.name, self.limit)
        self.dropped += count


class _Dropping(_Queue):
    __slots__ = ("_events",)

    def __init__(self, name: str, limit: int, replay: Iterable[Event]) -> None:
        super().__init__(name, limit, replay)
        self._events: deque[Event] = deque(maxlen=limit)

    def take(self, event: Event) -> None:
        events = self._events
        if len(events) == self.limit:
            self.lose()
        events.append(event)
        if self.readers:
            self.wake()

    def pop(self) -> Event | None:
        return self._events.popleft() if self._events else None

    def waiting(self) -> int:
        return len(self._events)


class _Conflating(_Queue):
    __slots__ = ("_latest", "_topics")

    def __init__(self, name: str, limit: int, replay: Iterable[Event]) -> None:
        super().__init__(name, limit, replay)
        # A dict alone would know the order too, but finds its first key by walking past all that were removed.
        self._topics: deque[str] = deque()
        self._latest: dict[str, Event] = {}

    def take(self, event: Event) -> None:
        topic = event.topic
        if topic not in self._latest:
            if len(self._topics) >= self.limit:
                del self._latest[self._topics.popleft()]
                self.lose()
            self._topics.append(topic)
        self._latest[topic] = event
        if self.readers:
            self.wake()

    def pop(self) -> Event | None:
        return self._latest.pop(self._topics.popleft()) if self._topics else None

    def waiting(self) -> int:
        return len(self._topics)


class _Blocking(_Queue):
    __slots__ = ("_events", "_late", "_sweep")

    def __init__(self, name: str, limit: int, replay: Iterable[Event]) -> None:
        super().__init__(name, limit, replay)
        self._events: deque[Event] = deque()
        # Not empty only while `_events` is full.
        self._late: deque[Ticket] = deque()
        self._sweep = 16

    def take(self, event: Event) -> Ticket | None:
        if len(self._events) >= self.limit:
            return self._hold(event)
        self._events.append(event)
        if self.readers:
            self.wake()
        return None

    def _hold(self, event: Event) -> Ticket:
        if len(self._late) >= self._sweep:
            self.sweep()
        ticket = Ticket(event)
        self._late.append(ticket)
        return ticket

    def sweep(self) -> None:
        """Removes what nobody waits for any more."""
        waited = deque(ticket for ticket in self._late if ticket.event is not None)
        if gone := len(self._late) - len(waited):
            self.lose(gone)
        self._late = waited
        self._sweep = 2 * len(waited) + 16

    def pop(self) -> Event | None:
        if not self._events:
            return None
        event = self._events.popleft()
        while self._late:
            ticket = self._late.popleft()
            if ticket.event is None:
                self.lose()
                continue
            self._events.append(ticket.event)
            ticket.settle()
            # Another reader may have come while there was nothing.
            if self.readers:
                self.wake()
            break
        return event

    def waiting(self) -> int:
        return len(self._events)

    def close(self) -> None:
        super().close()
        late, self._late = self._late, deque()
        for ticket in late:
            ticket.settle()


POLICIES: Final[dict[str, type[_Queue]]] = {"block": _Blocking, "drop_oldest": _Dropping, "conflate": _Conflating}


class Subscription:
    """Events as they were published, for one reader at their own pace.

        async with bus.subscribe("stations/+/connection") as events:
            async for event in events: ...

    It ends with `close`, at the end of the `async with`, or when nobody holds it any more. Nothing comes in from then
    on; what waits can still be read, and then the loop over it ends.
    """

    __slots__ = ("_leave", "_queue", "policy")

    def __init__(self, queue: _Queue, policy: Policy, leave: Callable[[], None]) -> None:
        self._queue = queue
        self._leave = leave
        self.policy: Policy = policy

    @property
    def waiting(self) -> int:
        """Events that can be read at once, retained values included."""
        return len(self._queue.replay) + self._queue.waiting()

    @property
    def dropped(self) -> int:
        """Events this subscription lost; what `conflate` replaced by a newer one is not lost."""
        queue = self._queue
        if isinstance(queue, _Blocking):
            queue.sweep()
        return queue.dropped

    @property
    def closed(self) -> bool:
        return self._queue.closed

    def close(self) -> None:
        """Ends it; publishers who wait for room in it go on. May be called any number of times."""
        if not self._queue.closed:
            self._leave()
            self._queue.close()

    async def get(self) -> Event:
        """The next event; waits for it. Raises Closed when there will be none. Cancelling it loses no event."""
        queue = self._queue
        while True:
            event = queue.replay.popleft() if queue.replay else queue.pop()
            if event is not None:
                return event
            if queue.closed:
                raise Closed
            reader = asyncio.get_running_loop().create_future()
            queue.readers.append(reader)
            try:
                await reader
            except BaseException:
                if reader.done() and not reader.cancelled():
                    # It was this one's turn already: the next reader's then.
                    queue.wake()
                else:
                    reader.cancel()
                    queue.readers.remove(reader)
                raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        try:
            return await self.get()
        except Closed:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{self.waiting} waiting"
        return f"<Subscription of {self._queue.name}, {self.policy}: {state}>"
