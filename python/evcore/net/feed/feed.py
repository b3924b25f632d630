"""A server's end: takes the events of its bus to the hub of the bridge, and orders from there to its stations.

Comes in: events of the bus it is attached to, orders of the hub. Goes out: events, each numbered; what their publisher
waits for is done when the hub has acknowledged them, and raises NotKept when it cannot keep them. A hub that says
nothing for `wait` seconds cannot keep them either: those of class billing raise, others are dropped and counted.
Telemetry is sent while the hub reads as fast as it is written to, else dropped and counted.

Bounded: events that wait for the hub in number and bytes, orders in number. A hub that is away is tried again, later
each time; what it has not acknowledged is sent to it again, then the values that the bus retains.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import re
from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, time
from typing import Any, Final

from evcore.bus import BY_NAME, KINDS, Bus, Detach, Event, Kind, NotKept
from evcore.bus.orders import Orders, Outcome
from evcore.net.backoff import BackOff, Retry
from evcore.net.channel import Channel, encode
from evcore.net.feed.protocol import VERSION, order_from, outcome_json

__all__ = ["Feed", "FeedOptions"]

log = logging.getLogger("evcore.feed")

#: Retained values in one message, and messages given to the socket at once.
_SLICE: Final = 200
_BATCH: Final = 64
#: Telemetry that may wait for the next turn of the loop.
_NEWS: Final = 1000
#: Between two lines about events that are not kept.
_REPORT_SECONDS: Final = 10.0
#: Time for the hub's first words.
_WELCOME_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedOptions:
    """`wait`: seconds after which an event that the hub has not acknowledged is given up; while the hub has been away
    for longer, that is done at once. `waiting`, `waiting_bytes`: events that may wait for the hub. `orders`:
    orders at work at the same time. `back_off`: between two attempts to connect.
    """

    wait: float = 10.0
    waiting: int = 20_000
    waiting_bytes: int = 32 * 1024 * 1024
    orders: int = 1000
    back_off: BackOff = field(default_factory=lambda: BackOff(0.1, 5, 0.2))


class _Waiting:
    """An event that the hub has not acknowledged yet."""

    __slots__ = ("deadline", "done", "frame", "must", "retained")

    def __init__(
        self, frame: bytes, deadline: float, done: asyncio.Future[None], must: bool, retained: str | None
    ) -> None:
        self.frame = frame
        self.deadline = deadline
        self.done = done
        #: Its publisher is to know if it was not kept.
        self.must = must
        #: Its topic, where the bus keeps the last value.
        self.retained = retained


class Feed:
    """`path`: the hub's socket. `orders`: who carries them out. `name`: of this process, for the hub's log."""

    def __init__(self, path: Path, bus: Bus, orders: Orders, *, name: str, options: FeedOptions | None = None) -> None:
        self._path = path
        self._bus = bus
        self._orders = orders
        self._name = name
        self._options = options or FeedOptions()
        self._numbers = itertools.count(1)
        # In the order of their deadlines, which are equally far off for all.
        self._waiting: dict[int, _Waiting] = {}
        self._bytes = 0
        self._idle = asyncio.Event()
        self._idle.set()
        # For this connection: numbers of events, and telemetry as it is sent.
        self._unsent: deque[int | bytes] = deque()
        self._pumping = False
        # The connection, and the same once the hub has let this feed in.
        self._link: Channel | None = None
        self._channel: Channel | None = None
        self._ended = asyncio.Event()
        self._heard_at = 0.0
        self._away_since: float | None = 0.0
        self._complained = False
        self._timer: asyncio.TimerHandle | None = None
        # Topics whose retained value the hub learns, or has learnt, from an event: not from the state it is told.
        self._fresh: set[str] | None = None
        self._stated = asyncio.Event()
        self._state: asyncio.Task[None] | None = None
        self._missed = False
        self._attached: dict[str, Detach] = {}
        # What the hub wants to hear of; before it has said so, everything that must be kept.
        self._classes = {kind.name: kind.qos_class for kind in KINDS.values() if kind.qos_class != "telemetry"}
        self._runner: asyncio.Task[None] | None = None
        self._carrying: set[asyncio.Task[None]] = set()
        #: Events sent (again, too) and acknowledged; telemetry dropped; other events given up, or that the hub could
        #: not keep.
        self.sent = 0
        self.kept = 0
        self.dropped = 0
        self.not_kept = 0
        self._next_report = 0.0

    @property
    def is_connected(self) -> bool:
        """Whether a hub hears what is published now."""
        return self._channel is not None

    @property
    def waiting(self) -> int:
        """Events the hub has not acknowledged yet."""
        return len(self._waiting)

    def start(self) -> None:
        """Attaches to the bus and begins to look for the hub."""
        self._away_since = asyncio.get_running_loop().time()
        self._attach()
        self._runner = asyncio.create_task(self._run())

    async def stop(self, seconds: float) -> None:
        """Waits at most `seconds` for the hub to acknowledge what it has been sent and for orders at work; then leaves
        the bus and the hub.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                if self._carrying:
                    await asyncio.wait(self._carrying)
                await self._idle.wait()
        for detach in self._attached.values():
            detach()
        self._attached.clear()
        tasks = [task for task in (self._runner, self._state, *self._carrying) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._timer is not None:
            self._timer.cancel()
        for number in list(self._waiting):
            self._give_up(number, "the server ends, and the bridge has not acknowledged the event")

    # -- events -------------------------------------------------------------------------------------------------------

    def _attach(self) -> None:
        """Takes what is wanted and nothing else: nobody builds events in vain."""
        filters = dict.fromkeys(_filter(BY_NAME[name]) for name in self._classes)
        for each in [each for each in self._attached if each not in filters]:
            self._attached.pop(each)()
        for each in filters:
            if each not in self._attached:
                self._attached[each] = self._bus.attach(each, self._take)

    def _take(self, event: Event) -> Awaitable[None] | None:
        retained = event.topic if event.kind.retain else None
        if retained is not None and self._fresh is not None:
            self._fresh.add(retained)
        qos_class = self._classes.get(event.kind.name, event.kind.qos_class)
        if qos_class == "telemetry":
            channel = self._channel
            if channel is None or channel.is_full or len(self._unsent) >= _NEWS:
                self.dropped += 1
            else:
                self._queue(encode("news", event.json()))
            return None
        return self._keep(event, qos_class == "billing", retained)

    def _keep(self, event: Event, must: bool, retained: str | None) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        now, options = loop.time(), self._options
        done: asyncio.Future[None] = loop.create_future()
        # Whoever published it need not wait for it.
        done.add_done_callback(_retrieved)
        if self._away_since is not None and now >= self._away_since + options.wait:
            self._end(done, must, f"the bridge at {self._path} is away")
            return done
        if len(self._waiting) >= options.waiting or self._bytes >= options.waiting_bytes:
            self._missed = self._missed or retained is not None
            self._end(done, must, f"{len(self._waiting)} events wait for the bridge at {self._path} already")
            return done
        number = next(self._numbers)
        frame = encode("event", number, monotonic(), event.json())
        self._waiting[number] = _Waiting(frame, now + options.wait, done, must, retained)
        self._bytes += len(frame)
        self._idle.clear()
        if self._timer is None:
            self._timer = loop.call_at(now + options.wait, self._expire)
        if self._channel is not None:
            self._queue(number)
        return done

    def _end(self, done: asyncio.Future[None], must: bool, sentence: str) -> None:
        """An event that is not kept, or not known to be: a bill's publisher hears of it, others need not."""
        self.not_kept += 1
        now = asyncio.get_running_loop().time()
        if now >= self._next_report:
            self._next_report = now + _REPORT_SECONDS
            log.warning("events are not kept (%d by now): %s", self.not_kept, sentence)
        if done.done():
            return
        if must:
            done.set_exception(NotKept(sentence))
        else:
            done.set_result(None)

    def _queue(self, item: int | bytes) -> None:
        self._unsent.append(item)
        if not self._pumping:
            # What one turn of the loop brings is one write.
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        channel, unsent = self._channel, self._unsent
        while channel is not None and unsent and not channel.is_full:
            frames = []
            for _ in range(min(_BATCH, len(unsent))):
                item = unsent.popleft()
                if isinstance(item, bytes):
                    frames.append(item)
                elif (waiting := self._waiting.get(item)) is not None:
                    frames.append(waiting.frame)
            self.sent += len(frames)
            channel.write(frames)
        if self._missed and channel is not None and not unsent and self._state is None:
            self._tell_state(channel)

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        if self._channel is not None and loop.time() - self._heard_at >= self._options.wait:
            # It is there and does nothing: what follows fails at once, not each after its own wait.
            log.warning("the bridge at %s says nothing; the connection is closed", self._path)
            self._channel.abort()
        for number, waiting in list(itertools.islice(self._waiting.items(), 1000)):
            if waiting.deadline > loop.time():
                break
            self._missed = self._missed or waiting.retained is not None
            self._give_up(number, f"the bridge at {self._path} has not acknowledged the event")
        if self._waiting:
            first = next(iter(self._waiting.values()))
            self._timer = loop.call_at(first.deadline, self._expire)

    def _give_up(self, number: int, sentence: str) -> None:
        waiting = self._forget(number)
        if waiting is not None:
            self._end(waiting.done, waiting.must, sentence)

    def _forget(self, number: int) -> _Waiting | None:
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            self._bytes -= len(waiting.frame)
            if not self._waiting:
                self._idle.set()
        return waiting

    # -- the connection -----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        retry = Retry(self._options.back_off)
        while True:
            if await self._visit():
                retry.reset()
            await asyncio.sleep(retry.wait())

    async def _visit(self) -> bool:
        """One connection. Returns whether the hub let this feed in."""
        loop = asyncio.get_running_loop()
        self._ended.clear()
        try:
            _, channel = await loop.create_unix_connection(
                lambda: Channel(self._heard, self._ended.set, self._pump), str(self._path)
            )
        except OSError as error:
            self._complain(f"cannot be reached: {error.strerror or error}")
            return False
        self._link = channel
        self._heard_at = loop.time()
        channel.send("hello", VERSION, self._name)
        patience = loop.call_later(_WELCOME_SECONDS, lambda: None if self.is_connected else channel.abort())
        try:
            await self._ended.wait()
        finally:
            patience.cancel()
            channel.close()
        return self._lose()

    def _lose(self) -> bool:
        """The connection is over. Returns whether the hub had let this feed in."""
        was_in = self._channel is not None
        self._link = self._channel = None
        self.dropped += sum(isinstance(item, bytes) for item in self._unsent)
        self._unsent.clear()
        if self._state is not None:
            self._state.cancel()
            self._state = None
        self._fresh = None
        if was_in:
            self._away_since = asyncio.get_running_loop().time()
            self._complain("is gone")
        else:
            self._complain("has not let this server in")
        return was_in

    def _complain(self, what: str) -> None:
        if not self._complained:
            self._complained = True
            log.warning("the bridge at %s %s; it is tried again and again", self._path, what)

    def _heard(self, message: list[Any]) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        if (link := self._link) is None:
            return
        try:
            self._obey(link, message)
        except (TypeError, ValueError, KeyError):
            log.exception("the bridge at %s said something that is not understood", self._path)
            link.abort()

    def _obey(self, link: Channel, message: list[Any]) -> None:
        kind, *rest = message
        if kind == "kept":
            for number in rest[0]:
                waiting = self._forget(number)
                if waiting is not None:
                    self.kept += 1
                    if not waiting.done.done():
                        waiting.done.set_result(None)
        elif kind == "lost":
            number, sentence = rest
            waiting = self._forget(number)
            if waiting is not None:
                self._end(waiting.done, True, str(sentence))
        elif kind == "order":
            self._order(link, *rest)
        elif kind == "stated":
            self._stated.set()
        elif kind == "welcome":
            version, kinds = rest
            if version != VERSION:
                raise ValueError(f"the bridge speaks version {version} of the feed's protocol, this server {VERSION}")
            self._welcome(link, {str(name): str(each) for name, each in dict(kinds).items() if name in BY_NAME})
        elif kind == "refused":
            log.error("the bridge at %s refuses this server: %s", self._path, rest[0])
            self._complained = True

    def _welcome(self, link: Channel, classes: dict[str, str]) -> None:
        self._channel = link
        self._away_since = None
        self._complained = False
        log.info("connected to the bridge at %s", self._path)
        self._classes = classes
        self._attach()
        # What is sent again has its whole time again: given up now it might come twice, from the station once more.
        deadline = asyncio.get_running_loop().time() + self._options.wait
        for waiting in self._waiting.values():
            waiting.deadline = deadline
        self._unsent.extend(self._waiting)
        self._tell_state(link)
        self._pump()

    # -- the state ----------------------------------------------------------------------------------------------------

    def _tell_state(self, link: Channel) -> None:
        self._missed = False
        self._state = asyncio.create_task(self._tell(link))

    async def _tell(self, link: Channel) -> None:
        """Tells what the bus retains. What is on the way as an event is newer, or will come in its turn."""
        fresh = {each.retained for each in self._waiting.values() if each.retained is not None}
        self._fresh = fresh
        try:
            values = [event for event in self._bus.last("#") if _filter(event.kind) in self._attached]
            for start in range(0, len(values), _SLICE):
                some = [event for event in values[start : start + _SLICE] if event.topic not in fresh]
                passed = time() - monotonic()
                told = [(event.time - passed, event.json()) for event in some]
                if told:
                    self._stated.clear()
                    link.send("state", told)
                    await self._stated.wait()
        finally:
            if self._link is link:
                self._fresh = self._state = None

    # -- orders -------------------------------------------------------------------------------------------------------

    def _order(self, link: Channel, number: int, values: dict[str, Any]) -> None:
        order = order_from(values)
        if len(self._carrying) >= self._options.orders:
            outcome = Outcome(
                status="refused", code="busy", message=f"{len(self._carrying)} orders are at work already"
            )
            link.send("outcome", number, outcome_json(outcome))
            return

        async def carry_out() -> None:
            outcome = await self._orders.carry_out(order)
            link.send("outcome", number, outcome_json(outcome))

        task = asyncio.create_task(carry_out())
        self._carrying.add(task)
        task.add_done_callback(self._carried)

    def _carried(self, task: asyncio.Task[None]) -> None:
        self._carrying.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an order of the bridge failed", exc_info=error)


def _filter(kind: Kind) -> str:
    """All topics of this kind."""
    return re.sub(r"{[^}]*}", "+", kind.topic)


def _retrieved(done: asyncio.Future[None]) -> None:
    if not done.cancelled():
        done.exception()
