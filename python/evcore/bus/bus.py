"""The bus: who publishes hands over a body, and everyone whose filter matches its topic gets the event.

In: bodies (`publish`), events that were published in another process (`forward`), filters of those who listen. Out: the
events, to sinks at once and to subscriptions through their queues, in the order of publishing for each of them; the
last event of a topic, where its kind is kept. Refused: with TypeError what is no body, with TopicError what is no
filter.

A bus belongs to the thread of one event loop: from another one, `loop.call_soon_threadsafe(bus.publish, body)`. What a
sink publishes while an event is handed out is handed out after it, so that everybody sees the same order.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from itertools import islice
from time import time
from typing import Any, Final, TypeAlias

from evcore.bus.event import KINDS, Event, Kind, Stamp, topic_of
from evcore.bus.subscription import POLICIES, Policy, Subscription, Ticket
from evcore.errors import TopicError
from evcore.route import Router

__all__ = ["Bus", "BusError", "Detach", "NotKept", "Sink"]

log = logging.getLogger("evcore.bus")

Sink: TypeAlias = Callable[[Event], Awaitable[None] | None]
#: Ends what it was returned by; may be called any number of times.
Detach: TypeAlias = Callable[[], None]

#: Of the retained values, one in this many gives way at a time: finding the oldest one by one would cost more.
_SHARE: Final = 64


class BusError(Exception):
    """Something on the bus went wrong; the text is a sentence."""


class NotKept(BusError):
    """An event could not be kept by one who must keep it, or could not be handed out."""


class Bus:
    """Publishes events in one process.

    `retain`: whether the last event of each topic is kept, for the kinds that are. `most`: topics to keep it for; of
    more, those that came up first give way. `cascade`: events that sinks may publish while one is handed out, theirs
    included; more are refused, for then a sink answers itself.
    """

    def __init__(self, *, retain: bool = True, most: int = 1_000_000, cascade: int = 1000) -> None:
        if most < 1 or cascade < 0:
            raise ValueError("most must be at least 1, cascade at least 0")
        self._retain = retain
        self._most = most
        self._cascade = cascade
        self._router = Router(share="refuse", overlaps="once")
        self._stamp = Stamp()
        self._retained: dict[str, Event] = {}
        # By body class: who may be interested. 0 is nobody, and then nothing is built.
        self._listening = {kind.body: int(retain and kind.retain) for kind in KINDS.values()}
        self._handing = False
        self._pending: deque[tuple[Event, _Receipt]] = deque()
        self._cascaded = 0

    def publish(self, body: Any) -> Awaitable[None] | None:
        """Hands an event out; `body`: an instance of a class of `evcore.bus.bodies`.

        None: there is nothing to wait for. Otherwise what is awaited ends when every sink that keeps events has it and
        every `block` subscription took it, and raises NotKept if a sink could not keep it. Raises TypeError for what
        is no body, and nothing else.
        """
        listening = self._listening.get(type(body))
        if not listening:
            if listening is None:
                raise TypeError(f"{type(body).__name__} is no body of an event")
            return None
        try:
            topic = topic_of(body)
        except (TypeError, ValueError, AttributeError) as error:
            return _refused(KINDS[type(body)], error)
        return self.forward(Event(KINDS[type(body)], topic, body, *self._stamp.next(time())))

    def forward(self, event: Event) -> Awaitable[None] | None:
        """The same for an event that was published elsewhere: id and time stay."""
        if self._handing:
            return self._later(event)
        self._handing = True
        try:
            receipt = self._give(event, None)
            if self._pending:
                self._give_pending()
        finally:
            self._handing = False
        return receipt

    def attach(self, filter: str, sink: Sink) -> Detach:
        """Calls `sink` with every event that matches, within `publish`: it must not block. What it raises is logged; an
        awaitable it returns is waited for by whoever awaits the publication. Raises TopicError.
        """
        return self._listen((filter,), sink)

    def subscribe(
        self, *filters: str, limit: int = 1000, policy: Policy = "drop_oldest", retained: bool = False
    ) -> Subscription:
        """A queue of the events that match any of `filters`, each event once. `limit`: events that may wait; what
        happens to more of them is the `policy` (see `evcore.bus.subscription`). `retained`: begin with the retained
        values. Raises TopicError and ValueError.
        """
        if not filters:
            raise ValueError("a subscription needs a filter; '#' is everything")
        if limit < 1:
            raise ValueError(f"limit must be at least 1, not {limit}")
        if policy not in POLICIES:
            raise ValueError(f"policy must be {' or '.join(map(repr, POLICIES))}, not {policy!r}")
        queue = POLICIES[policy](", ".join(filters), limit, self._last(filters) if retained else ())
        return Subscription(queue, policy, self._listen(filters, queue.take))

    def wants(self, kind: Kind) -> bool:
        """Whether anybody listens to events of this kind, or the bus itself keeps them: cheap, so that nobody builds
        bodies in vain.
        """
        return self._listening[kind.body] > 0

    def last(self, filter: str) -> list[Event]:
        """The last event of each topic that matches, of the kinds that are kept; in the order in which the topics first
        came up. Looks at every topic that begins as the filter does. Raises TopicError.
        """
        return self._last((filter,))

    def forget(self, filter: str) -> int:
        """Drops the retained values of the topics that match; how many there were. Raises TopicError."""
        found = self._last((filter,))
        for event in found:
            del self._retained[event.topic]
        return len(found)

    @property
    def retained(self) -> int:
        """Topics whose last event is kept."""
        return len(self._retained)

    def _listen(self, filters: tuple[str, ...], take: Callable[[Event], Any]) -> Detach:
        listener = _Listener(self, take)
        try:
            for wanted in filters:
                self._router.add(wanted, listener)
                listener.filters.append(wanted)
                for kind in _kinds(wanted):
                    self._listening[kind.body] += 1
        except TopicError:
            listener.leave()
            raise
        return listener.leave

    def _last(self, filters: tuple[str, ...]) -> list[Event]:
        chosen = Router(share="refuse", overlaps="once")
        for wanted in filters:
            chosen.add(wanted, True)
        starts = tuple(map(_start, filters))
        if starts == filters:
            return [self._retained[topic] for topic in dict.fromkeys(filters) if topic in self._retained]
        topics = [topic for topic in self._retained if topic.startswith(starts)]
        return [self._retained[topic] for topic, found in zip(topics, chosen.match_many(topics)) if found]

    def _give_pending(self) -> None:
        while self._pending:
            self._give(*self._pending.popleft())
        self._cascaded = 0

    def _later(self, event: Event) -> Awaitable[None]:
        """An event that a sink published."""
        self._cascaded += 1
        if self._cascaded > self._cascade:
            return _refused(event.kind, BusError(f"sinks answered each other {self._cascade} times"))
        receipt = _Receipt(event.kind)
        self._pending.append((event, receipt))
        return receipt

    def _give(self, event: Event, receipt: _Receipt | None) -> _Receipt | None:
        try:
            # Not cached: a dict of topics would take half of the 0.13 µs, and grow with the stations.
            listeners = self._router.match(event.topic)
        except TopicError as error:
            return _refused(event.kind, error, receipt)
        if event.kind.retain and self._retain:
            self._keep(event)
        for listener in listeners:
            try:
                waits = listener.take(event)
                if waits is not None:
                    if receipt is None:
                        receipt = _Receipt(event.kind)
                    receipt.add(waits)
            except Exception:
                log.exception("A listener failed on an event of the kind %s", event.kind.name)
        return receipt

    def _keep(self, event: Event) -> None:
        retained = self._retained
        retained[event.topic] = event
        if len(retained) > self._most:
            for topic in list(islice(retained, self._most // _SHARE + 1)):
                del retained[topic]


class _Listener:
    """Who is called; one in the router for all of a subscription's filters."""

    __slots__ = ("_bus", "filters", "take")

    def __init__(self, bus: Bus, take: Callable[[Event], Any]) -> None:
        self._bus = bus
        self.take = take
        self.filters: list[str] = []

    def leave(self) -> None:
        # An event may be in the middle of being handed out, with this listener still to come.
        self.take = _nothing
        filters, self.filters = self.filters, []
        for left in filters:
            self._bus._router.remove(left, self)
            for kind in _kinds(left):
                self._bus._listening[kind.body] -= 1


def _nothing(event: Event) -> None:
    """What a listener that left does with an event."""


class _Receipt:
    """What a publication waits for. It holds the events that did not fit into a queue: without it they are lost."""

    __slots__ = ("_failure", "_kept", "_kind", "_tickets")

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._kept: list[asyncio.Future[Any]] = []
        self._tickets: list[Ticket] = []
        self._failure: Exception | None = None

    def add(self, waits: Any) -> None:
        if type(waits) is Ticket:
            self._tickets.append(waits)
            return
        future = asyncio.ensure_future(waits)
        if future is not waits:
            # The loop holds tasks but weakly, and nobody may be waiting for this one.
            _TASKS.add(future)
            future.add_done_callback(_TASKS.discard)
        future.add_done_callback(_look)
        self._kept.append(future)

    def fail(self, error: Exception) -> None:
        self._failure = error

    def __await__(self) -> Generator[Any, None, None]:
        for future in self._kept:
            if not future.done():
                yield from _settled(future)
            self._judge(future)
        if self._failure is not None:
            raise NotKept(f"An event of the kind {self._kind.name} was not published: {self._failure}")
        for ticket in self._tickets:
            yield from ticket.wait()

    def _judge(self, future: asyncio.Future[Any]) -> None:
        error = asyncio.CancelledError("given up") if future.cancelled() else future.exception()
        if error is not None:
            raise NotKept(f"An event of the kind {self._kind.name} could not be kept: {error}") from error

    def __del__(self) -> None:
        for ticket in self._tickets:
            ticket.withdraw()


_TASKS: Final[set[asyncio.Future[Any]]] = set()


def _look(future: asyncio.Future[Any]) -> None:
    """Keeps a failure nobody waits for out of the log: who must keep an event says so themselves."""
    if not future.cancelled():
        future.exception()


def _settled(future: asyncio.Future[Any]) -> Generator[Any, None, None]:
    """Waits for a future without cancelling it when the wait is cancelled: others may wait for it too."""
    waiter = asyncio.get_running_loop().create_future()

    def wake(_: object) -> None:
        if not waiter.done():
            waiter.set_result(None)

    future.add_done_callback(wake)
    try:
        yield from waiter
    finally:
        future.remove_done_callback(wake)


def _refused(kind: Kind, error: Exception, receipt: _Receipt | None = None) -> _Receipt:
    log.error("An event of the kind %s was not published: %s", kind.name, error)
    receipt = receipt or _Receipt(kind)
    receipt.fail(error)
    return receipt


_ANY: Final = "+"
_SPECIAL: Final = re.compile(r"/?[+#{}]")


def _start(filter: str) -> str:
    """What every topic begins with that the filter matches; `a/#` matches `a` as well."""
    found = _SPECIAL.search(filter)
    return filter[: found.start()] if found else filter


def _kinds(filter: str) -> list[Kind]:
    """The kinds that have a topic which the filter matches."""
    levels = [_ANY if level.startswith("{") and not level.startswith("{{") else level for level in filter.split("/")]
    return [kind for kind in KINDS.values() if _meet(levels, kind.topic.split("/"))]


def _meet(levels: list[str], template: list[str]) -> bool:
    for place, level in enumerate(levels):
        if level == "#":
            return True
        if place == len(template) or not (level in (_ANY, template[place]) or template[place].startswith("{")):
            return False
    return len(levels) == len(template)
