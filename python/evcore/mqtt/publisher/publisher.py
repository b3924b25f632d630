"""From the bus to the broker: hands over what events become, and says when it is kept.

In: events of the bus. Out: messages of QoS 0 to the connection, of QoS 1 and 2 to the spool; to the bus, what to wait
for: done when the spool has them on the disk. Refused, by what is waited for failing: an event of class billing that
the spool cannot keep. Other messages that cannot be kept are dropped, counted, and said in the log.

While the broker is away telemetry is dropped, except that the last value of each retained topic is sent when it is
back. A broker that has forgotten the session may have forgotten retained messages as well, and gets all of them again;
so does one that was not told of a state because the spool was full.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from time import monotonic, time
from typing import Any, Final, Protocol

from evcore.bus import Bus
from evcore.bus.bodies import RawFrame, StationOffline, StationOnline
from evcore.bus.event import KINDS, Event
from evcore.mqtt.message import Message, Received
from evcore.mqtt.publisher.availability import NOTE
from evcore.mqtt.publisher.discovery import Discovery
from evcore.mqtt.publisher.heartbeat import beat
from evcore.mqtt.publisher.messages import Messages, Outgoing
from evcore.mqtt.publisher.options import PublishOptions
from evcore.mqtt.publisher.pace import Pace
from evcore.mqtt.publisher.sites import Sites
from evcore.mqtt.spool import Backlog, Notes, SpoolError
from evcore.mqtt.topics import Topics

__all__ = ["Keeper", "PublishCounts", "Publisher", "Sender"]

log = logging.getLogger("evcore.mqtt")

#: Seconds between two lines about messages that were dropped.
REPORT_SECONDS: Final = 10.0

#: Seconds after which what the spool or the socket did not take is tried again.
RETRY_SECONDS: Final = 1.0

#: Seconds for which news of stations gather: a station that comes says many things at once.
LULL_SECONDS: Final = 0.2

#: Times a value that waits is refused before it is given up: one that no broker takes must not stay for ever.
TRIES: Final = 60

#: Messages that a long list has under way to the disk.
_LOT: Final = 256


class SenderState(Protocol):
    @property
    def connected(self) -> bool: ...


class Sender(Protocol):
    """What is needed of the session."""

    @property
    def state(self) -> SenderState: ...

    def send(self, message: Message) -> bool: ...

    def subscribe(self, filter: str, qos: int = 1) -> None: ...


class KeeperCounts(Protocol):
    @property
    def dropped(self) -> Mapping[tuple[str, str], int]:
        """Messages that were taken and are gone, by class and reason."""
        ...


class Keeper(Notes, Protocol):
    """What is needed of the spool."""

    @property
    def backlog(self) -> Backlog: ...

    @property
    def counts(self) -> KeeperCounts: ...

    def put(self, message: Message, *, qos_class: str, id: str) -> Awaitable[None]: ...


@dataclass(slots=True)
class PublishCounts:
    """Messages since the start. `handed_over` and `dropped` by QoS class: dropped are telemetry without a broker, and
    what the spool could not keep. `replaced`: values that a newer one of their topic overtook while the broker was
    away. `waiting`: values that wait for it now. `again`: messages published once more. `unfit`: events that JSON
    cannot say.
    """

    handed_over: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    replaced: int = 0
    waiting: int = 0
    again: int = 0
    unfit: int = 0


class Publisher:
    """Publishes the events of `bus` by `options`. `attach` before the session runs, `detach` before it stops."""

    def __init__(
        self,
        bus: Bus,
        spool: Keeper,
        session: Sender,
        options: PublishOptions,
        *,
        clock: Callable[[], float] = time,
    ) -> None:
        self.options = options
        self.counts = PublishCounts()
        self._bus = bus
        self._spool = spool
        self._session = session
        self._messages = Messages(options, news=self._news, clock=clock)
        self._pace = Pace(options.pace)
        self._discovery = Discovery(
            options, self._messages.topics, self._messages.chargers, spool, self._keep, self._pace
        )
        self._sites = Sites(bus, options, clock=clock)
        self._waiting: dict[str, Outgoing] = {}
        # What went into the socket lately, oldest first, with the time.
        self._recent: dict[str, tuple[float, Outgoing]] = {}
        self._missed = 0
        self._all_again = False
        self._connects = 0
        # Two, because everything once more takes minutes where there are many stations.
        self._wake = asyncio.Event()
        self._wake_values = asyncio.Event()
        self._detach: list[Callable[[], None]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._next_report = 0.0
        self._unreported = 0

    @property
    def topics(self) -> Topics:
        return self._messages.topics

    @property
    def stations(self) -> int:
        """Stations that are online."""
        return sum(charger.online for charger in self._messages.chargers.values())

    # -- life ----------------------------------------------------------------------------------------------------------

    async def attach(self) -> None:
        """Publishes from now on; what the bus has kept comes first. Raises SpoolError if the notes cannot be read."""
        before = {key.removeprefix(NOTE): version for key, version in (await self._spool.notes(NOTE)).items()}
        await self._discovery.start()
        for event in self._bus.last("stations/#"):
            self._messages.of(event)
        for station, charger in self._messages.chargers.items():
            if charger.online:
                self._spool.note(NOTE + station, charger.version)
        self._all_again = bool(self._bus.last("#"))
        self._sites.attach()
        self._detach = [self._bus.attach(one, self.take) for one in self._filters()]
        if self.options.discovery:
            self._session.subscribe(self._discovery.birth_topic, 1)
        work: list[Callable[[], Coroutine[Any, Any, None]]] = [self._catch_up, self._watch, self._work, self._sites.run]
        if before:
            work.append(partial(self._settle, before))
        if self.options.heartbeat_interval:
            work.append(self._beat)
        self._tasks = [asyncio.create_task(_surviving(one)) for one in work]
        self._wake.set()

    async def detach(self) -> None:
        """Publishes no more, and says of every station that is online that it is not: nobody here would tell when it
        goes. Done when the spool has that.
        """
        for leave in (*self._detach, self._sites.detach):
            leave()
        self._detach = []
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        online = {name: one.version for name, one in self._messages.chargers.items() if one.online}
        await self._call_offline(online, paced=False)

    def _filters(self) -> Iterable[str]:
        raw = self.options.raw in ("out", "both")
        topics = [kind.topic for kind in KINDS.values() if raw or kind.body is not RawFrame]
        return dict.fromkeys(re.sub(r"\{\w+\}", "+", topic) for topic in topics)

    async def _beat(self) -> None:
        await beat(
            self._bus,
            self.options.node,
            self.options.heartbeat_interval,
            stations=lambda: self.stations,
            backlog=lambda: self._spool.backlog.messages + len(self._waiting),
        )

    # -- what the connection says --------------------------------------------------------------------------------------

    def connected(self, resumed: bool = False) -> None:
        """A connection to the broker is there. `resumed`: the broker still knew the session (session present)."""
        self._connects += 1
        # Whatever was put before the first connection still waits in the spool.
        if not resumed and self._connects > 1:
            self._all_again = True
        if not resumed:
            self._discovery.renew()
        newest = max((at for at, _ in self._recent.values()), default=0.0)
        for topic, (at, outgoing) in self._recent.items():
            if at < newest - self.options.values_recent:
                continue
            if topic not in self._waiting and len(self._waiting) < self.options.values_waiting:
                self._waiting[topic] = outgoing
        self._recent.clear()
        self.counts.waiting = len(self._waiting)
        self._wake.set()
        self._wake_values.set()

    def received(self, message: Received) -> bool:
        """Whether a message from the broker is meant for this side: Home Assistant's birth is."""
        if not self.options.discovery or message.topic != self._discovery.birth_topic:
            return False
        if message.payload == b"online" and not message.retain:
            self._discovery.renew()
            self._all_again = True
            self._wake.set()
        message.ack()
        return True

    def forget(self, station: str) -> None:
        """The station is removed for good: takes back everything that is retained of it."""
        self._hand_over(self._messages.forget(station), "")
        self._spool.note(NOTE + station, None)
        self._sites.forget(station)
        self._discovery.forget(station)
        self._wake.set()

    # -- events --------------------------------------------------------------------------------------------------------

    def take(self, event: Event) -> Awaitable[None] | None:
        """The sink of the bus."""
        body = event.body
        if type(body) is StationOnline:
            # Before the message: what the broker may have been told must be known after a crash.
            self._spool.note(NOTE + body.station, body.version)
        waits = self._hand_over(self._written(event), event.id)
        if type(body) is StationOffline:
            self._spool.note(NOTE + body.station, None)
        return waits

    def _written(self, event: Event) -> list[Outgoing]:
        """Nothing for an event that JSON cannot say: sent again it would be the same."""
        try:
            return self._messages.of(event)
        except (ValueError, TypeError, RecursionError) as error:
            self.counts.unfit += 1
            self._report(f"an event of the kind {event.kind.name} cannot be written as JSON: {error}")
            return []

    def _hand_over(self, outgoing: Iterable[Outgoing], id: str) -> asyncio.Future[None] | None:
        """What to wait for fails if a message of class billing could not be kept, and never otherwise."""
        kept: _Kept | None = None
        handed_over = self.counts.handed_over
        for one in outgoing:
            message, qos_class = one
            if not message.qos:
                self._send(one)
                continue
            handed_over[qos_class] = handed_over.get(qos_class, 0) + 1
            kept = kept or _Kept(self)
            try:
                kept.add(self._spool.put(message, qos_class=qos_class, id=id), qos_class)
            except (OSError, ValueError) as error:
                kept.lost(error, qos_class)
        return None if kept is None else kept.future()

    def _send(self, outgoing: Outgoing) -> None:
        message, qos_class = outgoing
        counts, waiting = self.counts, self._waiting
        if self._sent(outgoing):
            if waiting and waiting.pop(message.topic, None) is not None:
                counts.replaced += 1
        elif message.retain and (message.topic in waiting or len(waiting) < self.options.values_waiting):
            counts.replaced += message.topic in waiting
            if not waiting:
                self._wake_values.set()
            waiting[message.topic] = outgoing
        else:
            self._dropped(qos_class)
        counts.waiting = len(waiting)

    def _sent(self, outgoing: Outgoing) -> bool:
        message, qos_class = outgoing
        if not self._session.send(message):
            return False
        self.counts.handed_over[qos_class] = self.counts.handed_over.get(qos_class, 0) + 1
        if message.retain and self.options.values_recent:
            now, recent = monotonic(), self._recent
            recent.pop(message.topic, None)
            recent[message.topic] = now, outgoing
            # Two for one, so that a flood is forgotten in time.
            for _ in range(2):
                oldest = next(iter(recent))
                if recent[oldest][0] < now - self.options.values_recent or len(recent) > self.options.values_waiting:
                    del recent[oldest]
        return True

    def lost(self, qos_class: str, error: BaseException) -> None:
        """A message could not be kept."""
        self._missed += 1
        self._dropped(qos_class)
        self._report(f"a message of class {qos_class} could not be kept: {error}")

    def _dropped(self, qos_class: str) -> None:
        self.counts.dropped[qos_class] = self.counts.dropped.get(qos_class, 0) + 1

    def _report(self, sentence: str) -> None:
        now = monotonic()
        if now < self._next_report:
            self._unreported += 1
            return
        more = f" (and {self._unreported} more not reported)" if self._unreported else ""
        log.error("%s%s", sentence, more)
        self._next_report, self._unreported = now + REPORT_SECONDS, 0

    def _news(self, station: str) -> None:
        if self.options.discovery:
            self._discovery.touch(station)
            self._wake.set()

    async def _keep(self, outgoing: Outgoing) -> None:
        """Raises SpoolError."""
        await self._spool.put(outgoing.message, qos_class=outgoing.qos_class, id="")

    # -- what takes its time -------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                if self._discovery.due:
                    await asyncio.sleep(LULL_SECONDS)
                    await self._discovery.round()
                if self._all_again:
                    await self._publish_again()
            except OSError as error:
                self.lost("status", error)
                _later(self._wake)

    async def _watch(self) -> None:
        """States that gave way in the spool, or did not get into it, are published again when it is empty."""
        known = 0
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            # What expired was meant to be gone.
            dropped = sum(number for (_, reason), number in self._spool.counts.dropped.items() if reason != "expired")
            if dropped + self._missed != known and not self._spool.backlog.messages:
                known = dropped + self._missed
                self._all_again = True
                self._wake.set()

    async def _catch_up(self) -> None:
        """Sends the values the broker was not told while it was away, the last one of each topic."""
        waiting, pace = self._waiting, Pace(self.options.pace)
        refused: Counter[str] = Counter()
        while True:
            await self._wake_values.wait()
            self._wake_values.clear()
            while waiting:
                topic, outgoing = next(iter(waiting.items()))
                del waiting[topic]
                if self._sent(outgoing):
                    self.counts.waiting = len(waiting)
                    await pace.turn()
                    continue
                if self._session.state.connected:
                    # The others come first then: it may be this one that is not taken.
                    refused[topic] += 1
                    _later(self._wake_values)
                if refused[topic] < TRIES:
                    waiting[topic] = outgoing
                else:
                    self._dropped(outgoing.qos_class)
                break
            else:
                refused.clear()
            self.counts.waiting = len(waiting)

    async def _publish_again(self) -> None:
        """Everything that is retained."""
        self._all_again = False
        try:
            for station in list(self._messages.chargers):
                await self._hand_over_again(self._messages.again(station))
            for kept in ("devices/#", "sites/#"):
                for event in self._bus.last(kept):
                    await self._hand_over_again(self._written(event))
        except OSError:
            self._all_again = True
            raise

    async def _hand_over_again(self, outgoing: list[Outgoing]) -> None:
        self.counts.again += len(outgoing)
        kept = self._hand_over(outgoing, "")
        if kept is not None:
            await kept
        await self._pace.turn(len(outgoing))

    async def _settle(self, before: dict[str, str]) -> None:
        """After a restart: stations that were called online and did not come back are called offline."""
        await asyncio.sleep(self.options.grace)
        await self._call_offline(before, paced=True)

    async def _call_offline(self, stations: dict[str, str], *, paced: bool) -> None:
        waits: list[asyncio.Future[None]] = []
        chargers = self._messages.chargers
        for station, version in stations.items():
            charger = chargers.get(station)
            if paced and charger is not None and charger.online:
                continue
            outgoing = self._messages.offline(station, version)
            kept = self._hand_over(outgoing, "")
            self._spool.note(NOTE + station, None)
            if kept is not None:
                waits.append(kept)
            if paced:
                await self._pace.turn(len(outgoing))
            if len(waits) >= _LOT:
                await asyncio.gather(*waits, return_exceptions=True)
                waits.clear()
        await asyncio.gather(*waits, return_exceptions=True)


class _Kept:
    """Joins the puts of one event. Failures of class billing are the event's; others are only counted."""

    __slots__ = ("_error", "_future", "_left", "_publisher")

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left = 0
        self._error: BaseException | None = None

    def add(self, put: Awaitable[None], qos_class: str) -> None:
        self._left += 1
        future = asyncio.ensure_future(put)
        future.add_done_callback(lambda ended: self._ended(ended, qos_class))

    def lost(self, error: BaseException, qos_class: str) -> None:
        self._publisher.lost(qos_class, error)
        if qos_class == "billing":
            self._error = error

    def future(self) -> asyncio.Future[None]:
        if not self._left:
            self._settle()
        return self._future

    def _ended(self, put: asyncio.Future[None], qos_class: str) -> None:
        error = SpoolError("the spool gave up") if put.cancelled() else put.exception()
        if error is not None:
            self.lost(error, qos_class)
        self._left -= 1
        if not self._left:
            self._settle()

    def _settle(self) -> None:
        if self._future.done():
            return
        if self._error is None:
            self._future.set_result(None)
        else:
            self._future.set_exception(self._error)
            # Nobody may be waiting for it, and it has been said in the log.
            self._future.exception()


def _later(wake: asyncio.Event) -> None:
    asyncio.get_running_loop().call_later(RETRY_SECONDS, wake.set)


async def _surviving(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """A task that ends by mistake says so."""
    try:
        await work()
    except Exception:
        log.exception("A task of the publisher ended")
