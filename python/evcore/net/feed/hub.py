"""The bridge's end: hears the feeds of all server processes and passes their events to the bus of this one.

Comes in: events and the state of each feed, over a Unix socket that only this user may open; orders of whoever holds
the hub. Goes out: events to the bus, acknowledged when what the bus says of them is done; orders to the process that
has the station; StationOffline for the stations of a process that vanished.

An event that comes again (its acknowledgement was lost with a connection) is kept once: ids are remembered, so many of
them. A feed whose events are kept more slowly than it sends is not read. Refused are feeds of another version, and more
of them than `feeds`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any, Final

from evcore.bus import KINDS, Bus, Event, EventError
from evcore.bus.bodies import StationOffline, StationOnline
from evcore.bus.event import topic_of
from evcore.bus.orders import Order, Outcome
from evcore.net.channel import Channel, encode
from evcore.net.feed.listening import Bound, HubError, Listening, bind
from evcore.net.feed.protocol import VERSION, order_json, outcome_from

__all__ = ["Hub", "HubError", "HubOptions"]

log = logging.getLogger("evcore.feed")

#: Time for a feed's first words.
_HELLO_SECONDS: Final = 5.0
#: Stations of a vanished process that are published at once.
_SLICE: Final = 200
#: Where a station is not, or not any more.
_AWAY: Final = ("offline", "unknown-station")
#: Beyond the time an order gives its station: for the way there and back.
_GRACE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HubOptions:
    """`feeds`: server processes at the same time. `pending`: events of one of them that are being kept before it is not
    read any more. `remembered`: ids of events kept that are known at least. `orders`: at work at the same time.
    `order_seconds`: what an order has to get its turn that never expires, and one without a timeout for its answer.
    """

    feeds: int = 256
    pending: int = 10_000
    remembered: int = 100_000
    orders: int = 10_000
    order_seconds: float = 300.0


class _Remembered:
    """Ids of events that were kept: the last `most` at least, twice as many at most."""

    __slots__ = ("_most", "_new", "_old")

    def __init__(self, most: int) -> None:
        self._most = most
        self._new: set[str] = set()
        self._old: set[str] = set()

    def __contains__(self, id: str) -> bool:
        return id in self._new or id in self._old

    def add(self, id: str) -> None:
        self._new.add(id)
        if len(self._new) >= self._most:
            self._old, self._new = self._new, set()


class _Peer:
    """A feed's connection."""

    __slots__ = ("acks", "channel", "is_in", "is_paused", "name", "orders", "pending", "stating", "stations")

    def __init__(self) -> None:
        self.channel: Channel
        self.name = "?"
        self.is_in = False
        self.is_paused = False
        self.pending = 0
        self.acks: list[int] = []
        self.orders: dict[int, asyncio.Future[Outcome]] = {}
        self.stations: set[str] = set()
        self.stating: asyncio.Task[None] | None = None


class _Home:
    """Where a station is, since which moment, speaking what."""

    __slots__ = ("peer", "since", "version")

    def __init__(self, peer: _Peer, since: float, version: str) -> None:
        self.peer = peer
        self.since = since
        self.version = version


class Hub:
    """Implements `evcore.bus.orders.Orders` for the stations of all feeds. `path`: the socket it listens on.
    `classes`: QoS classes of kinds by their names, where they are not the kinds' own; telemetry may be dropped on the
    way, and a station is answered with an error if what it said of class billing cannot be kept.
    """

    def __init__(
        self, path: Path, bus: Bus, options: HubOptions | None = None, *, classes: Mapping[str, str] | None = None
    ) -> None:
        self._path = path
        self._bus = bus
        self._classes = classes or {}
        self._options = options or HubOptions()
        self._bound: Bound | None = None
        self._listening: Listening | None = None
        self._peers: set[_Peer] = set()
        self._homes: dict[str, _Home] = {}
        self._kept = _Remembered(self._options.remembered)
        # Events that are being kept: who waits for the acknowledgement now.
        self._keeping: dict[str, tuple[_Peer, int]] = {}
        self._numbers = itertools.count(1)
        self._ordered = 0
        self._holding = False
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._quiet = asyncio.Event()
        #: Events passed on, come again, of no consequence any more, and not understood.
        self.passed = 0
        self.repeated = 0
        self.stale = 0
        self.unread = 0

    @property
    def feeds(self) -> int:
        """Server processes that are connected."""
        return sum(peer.is_in for peer in self._peers)

    @property
    def stations(self) -> int:
        """Stations that are online."""
        return len(self._homes)

    def bind(self) -> None:
        """Takes the socket; feeds that connect are let in by `start`. Raises HubError with a sentence."""
        self._bound = bind(self._path)

    async def start(self) -> None:
        """Lets feeds in. Raises HubError with a sentence, unless `bind` was called before."""
        if self._bound is None:
            self.bind()
        assert self._bound is not None
        self._listening = await self._bound.listen(self._admit)

    def hold(self) -> None:
        """Takes no more events, because the bus is about to lose those who keep them: what comes now is not
        acknowledged, and comes again to whoever listens next. Orders are carried out as before.
        """
        self._holding = True

    async def stop(self, seconds: float = 2.0) -> None:
        """Lets the feeds go, once the events taken from them are kept, at most `seconds` later."""
        self.hold()
        self._stopping = True
        if self._listening is not None:
            self._listening.close()
        elif self._bound is not None:
            self._bound.close()
        self._bound = self._listening = None
        if self._keeping:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._quiet.wait()
        for peer in list(self._peers):
            self._acknowledge(peer)
            peer.channel.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- orders -------------------------------------------------------------------------------------------------------

    async def carry_out(self, order: Order) -> Outcome:
        peer: _Peer | None = None
        outcome: Outcome | None = None
        while True:
            home = self._homes.get(order.station)
            if home is None or home.peer is peer:
                return self._nowhere(order.station) if outcome is None else outcome
            peer = home.peer
            outcome = await self._send(peer, order)
            if outcome.status != "refused" or outcome.code not in _AWAY:
                return outcome
            # It may have moved in this very moment: then there is another one to ask.

    async def _send(self, peer: _Peer, order: Order) -> Outcome:
        if self._ordered >= self._options.orders:
            return Outcome(status="refused", code="busy", message=f"{self._ordered} orders are at work already")
        number = next(self._numbers)
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        try:
            frame = encode("order", number, order_json(order))
        except (TypeError, ValueError, RecursionError):
            return Outcome(status="refused", code="malformed", message="the payload cannot be written as JSON")
        peer.orders[number] = outcome
        self._ordered += 1
        try:
            async with asyncio.timeout(self._patience(order)):
                peer.channel.write((frame,))
                return await outcome
        except TimeoutError:
            return Outcome(status="unknown", message="the server that has the station did not say what became of it")
        finally:
            self._ordered -= 1
            peer.orders.pop(number, None)

    def _patience(self, order: Order) -> float:
        """Until it is its turn, for its answer, and for the way."""
        most = self._options.order_seconds
        turn = most if order.expires is None else max(0.0, order.expires - time())
        return turn + (most if order.timeout is None else order.timeout) + _GRACE_SECONDS

    def _nowhere(self, station: str) -> Outcome:
        if self._last(topic_of(StationOffline(station=station, version=""))) is not None:
            return Outcome(status="refused", code="offline", message="the station is not connected")
        return Outcome(status="refused", code="unknown-station", message="no station of this name was ever connected")

    # -- connections --------------------------------------------------------------------------------------------------

    def _admit(self) -> Channel:
        """A new connection; it is a feed's when it has said so."""
        peer = _Peer()
        peer.channel = Channel(lambda message: self._heard(peer, message), lambda: self._lost(peer))
        self._peers.add(peer)
        asyncio.get_running_loop().call_later(_HELLO_SECONDS, lambda: None if peer.is_in else peer.channel.abort())
        return peer.channel

    def _heard(self, peer: _Peer, message: list[Any]) -> None:
        try:
            if peer.is_in:
                self._follow(peer, message)
            else:
                self._hello(peer, message)
        except (TypeError, ValueError, KeyError, AttributeError):
            log.exception("%s said something that is not understood; its connection is closed", peer.name)
            peer.channel.abort()

    def _hello(self, peer: _Peer, message: list[Any]) -> None:
        kind, version, name = message[:3]
        if kind != "hello":
            raise ValueError("its first message is no hello")
        sentence = None
        if version != VERSION:
            sentence = (
                f"the server speaks version {version} of the feed's protocol, this bridge version {VERSION}: "
                "run the same evcore on both sides"
            )
        elif self.feeds >= self._options.feeds:
            sentence = f"{self.feeds} servers are connected already"
        elif self._holding:
            sentence = "the bridge is about to end"
        if sentence is not None:
            log.error("a server is not let in: %s", sentence)
            peer.channel.send("refused", sentence)
            peer.channel.close()
            return
        peer.name, peer.is_in = str(name), True
        log.info("%s is connected", peer.name)
        classes = {kind: self._classes.get(kind.name, kind.qos_class) for kind in KINDS.values()}
        wanted = {kind.name: one for kind, one in classes.items() if one != "telemetry" or self._bus.wants(kind)}
        peer.channel.send("welcome", VERSION, wanted)

    def _follow(self, peer: _Peer, message: list[Any]) -> None:
        kind, *rest = message
        if kind == "outcome":
            number, values = rest
            asked = peer.orders.get(number)
            if asked is not None and not asked.done():
                asked.set_result(outcome_from(values))
        elif self._holding:
            return
        elif kind == "event":
            self._event(peer, *rest)
        elif kind == "news":
            self._news(rest[0])
        elif kind == "state":
            self._state(peer, rest[0])

    def _lost(self, peer: _Peer) -> None:
        self._peers.discard(peer)
        if not peer.is_in:
            return
        if peer.stating is not None:
            peer.stating.cancel()
        for asked in peer.orders.values():
            if not asked.done():
                asked.set_result(
                    Outcome(status="unknown", message="the server that had the station ended before it had an answer")
                )
        gone = {name: self._homes.pop(name).version for name in peer.stations}
        log.info("%s is gone, and %d stations with it", peer.name, len(gone))
        if gone and not self._holding:
            self._run(self._gone(gone))

    async def _gone(self, versions: dict[str, str]) -> None:
        """Says that these stations are offline, but for those that have come back elsewhere by then."""
        names = iter(versions.items())
        while some := list(itertools.islice(names, _SLICE)):
            told = [
                self._bus.publish(StationOffline(station=name, version=version))
                for name, version in some
                if name not in self._homes
            ]
            await _all(told)

    # -- events -------------------------------------------------------------------------------------------------------

    def _event(self, peer: _Peer, number: int, moment: float, values: dict[str, Any]) -> None:
        try:
            event = Event.parse(values)
        except EventError as error:
            log.debug("%s sent an event that is none: %s", peer.name, error)
            self.unread += 1
            peer.channel.send("lost", number, f"the bridge does not understand the event: {error}")
            return
        if event.id in self._kept:
            self.repeated += 1
            self._ack(peer, number)
        elif event.id in self._keeping:
            self.repeated += 1
            self._keeping[event.id] = peer, number
        elif not self._place(peer, event, moment):
            self.stale += 1
            self._ack(peer, number)
        else:
            self.passed += 1
            self._keep(peer, number, event)

    def _keep(self, peer: _Peer, number: int, event: Event) -> None:
        keeping = self._bus.forward(event)
        if keeping is None:
            self._kept.add(event.id)
            self._ack(peer, number)
            return
        self._keeping[event.id] = peer, number
        self._quiet.clear()
        peer.pending += 1
        if peer.pending >= self._options.pending and not peer.is_paused:
            peer.is_paused = True
            peer.channel.pause()
        asyncio.ensure_future(keeping).add_done_callback(lambda done: self._done(peer, event.id, done))

    def _done(self, origin: _Peer, id: str, done: asyncio.Future[None]) -> None:
        peer, number = self._keeping.pop(id)
        if not self._keeping:
            self._quiet.set()
        origin.pending -= 1
        if origin.is_paused and origin.pending <= self._options.pending // 2:
            origin.is_paused = False
            if not self._stopping:
                origin.channel.resume()
        error = None if done.cancelled() else done.exception()
        if done.cancelled() or error is not None:
            peer.channel.send("lost", number, str(error or "the bridge ends"))
        else:
            self._kept.add(id)
            self._ack(peer, number)

    def _ack(self, peer: _Peer, number: int) -> None:
        if not peer.acks:
            # What one turn of the loop brings is one message.
            asyncio.get_running_loop().call_soon(self._acknowledge, peer)
        peer.acks.append(number)

    def _acknowledge(self, peer: _Peer) -> None:
        if peer.acks:
            peer.channel.send("kept", peer.acks)
            peer.acks = []

    def _news(self, values: dict[str, Any]) -> None:
        try:
            event = Event.parse(values)
        except EventError as error:
            log.debug("a server sent an event that is none: %s", error)
            self.unread += 1
            return
        self.passed += 1
        self._bus.forward(event)

    def _place(self, peer: _Peer, event: Event, moment: float) -> bool:
        """Notes where a station is. False: what the event says of that is over, the station is elsewhere by now."""
        body = event.body
        if not isinstance(body, (StationOnline, StationOffline)):
            return True
        home = self._homes.get(body.station)
        if isinstance(body, StationOnline):
            if home is not None and home.peer is not peer:
                if moment < home.since:
                    return False
                home.peer.stations.discard(body.station)
            self._homes[body.station] = _Home(peer, moment, body.version)
            peer.stations.add(body.station)
            return True
        if home is None:
            return True
        if home.peer is not peer:
            return False
        del self._homes[body.station]
        peer.stations.discard(body.station)
        return True

    # -- the state of a feed that has connected -----------------------------------------------------------------------

    def _state(self, peer: _Peer, many: list[tuple[float, dict[str, Any]]]) -> None:
        if peer.stating is not None and not peer.stating.done():
            raise ValueError("a second state before the first is dealt with")
        told = [awaitable for moment, values in many if (awaitable := self._retained(peer, moment, values)) is not None]

        async def finish() -> None:
            await _all(told)
            peer.channel.send("stated")

        peer.stating = self._run(finish())

    def _retained(self, peer: _Peer, moment: float, values: dict[str, Any]) -> Awaitable[None] | None:
        """A value that the bus of a feed retains: of consequence where the bus here has no newer one."""
        try:
            event = Event.parse(values)
        except EventError as error:
            log.debug("%s retains an event that is none: %s", peer.name, error)
            self.unread += 1
            return None
        if not self._place(peer, event, moment):
            self.stale += 1
            return None
        last = self._last(event.topic)
        if isinstance(event.body, StationOnline) and last is not None and isinstance(last.body, StationOffline):
            if event.id in self._kept or event.id < last.id:
                # It was said to be offline when the connection of this feed broke, and is not.
                self.passed += 1
                return self._bus.publish(event.body)
        elif last is not None and last.id >= event.id:
            self.stale += 1
            return None
        self.passed += 1
        return self._bus.forward(event)

    def _last(self, topic: str) -> Event | None:
        # A topic with braces in it is a filter that more topics match.
        return next((event for event in self._bus.last(topic) if event.topic == topic), None)

    def _run(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _all(told: Sequence[Awaitable[None] | None]) -> None:
    """Waits for the bus; what it could not keep it has said."""
    await asyncio.gather(*(each for each in told if each is not None), return_exceptions=True)
