"""From the bus of a server to that of the bridge, over a real socket: what is kept or dropped, who has a station."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import socket
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from evcore.bus import KINDS, Bus, Event, NotKept
from evcore.bus.bodies import (
    ConnectorStatus,
    DeviceReading,
    Fault,
    RawFrame,
    Readings,
    StationOffline,
    StationOnline,
    TransactionEnded,
)
from evcore.bus.orders import Order, Outcome
from evcore.net.backoff import BackOff
from evcore.net.channel import Channel, encode
from evcore.net.feed.feed import Feed, FeedOptions
from evcore.net.feed.hub import Hub, HubError, HubOptions
from evcore.net.feed.protocol import VERSION

QUICK = BackOff(0.01, 2, 0.01)


class Safe:
    """A sink that keeps what must be kept when the test says so, as a spool does."""

    def __init__(self, bus: Bus) -> None:
        self.seen: list[Event] = []
        self.kept: list[Event] = []
        self.holding = False
        self._waiting: list[tuple[Event, asyncio.Future[None]]] = []
        bus.attach("#", self.take)

    def take(self, event: Event) -> Awaitable[None] | None:
        self.seen.append(event)
        if event.kind.qos_class == "telemetry":
            return None
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((event, done))
        if not self.holding:
            asyncio.get_running_loop().call_soon(self.commit)
        return done

    def commit(self) -> None:
        waiting, self._waiting = self._waiting, []
        for event, done in waiting:
            self.kept.append(event)
            if not done.done():
                done.set_result(None)

    def fail(self, error: Exception) -> None:
        waiting, self._waiting = self._waiting, []
        for _, done in waiting:
            done.set_exception(error)

    def bodies(self, *types: type) -> list[Any]:
        return [event.body for event in self.seen if not types or isinstance(event.body, types)]


class Told:
    """Orders of a server, carried out by this test."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.outcome: Outcome | None = Outcome(status="accepted", payload={"status": "Accepted"})

    async def carry_out(self, order: Order) -> Outcome:
        self.orders.append(order)
        if self.outcome is None:
            await asyncio.Event().wait()
        assert self.outcome is not None
        return self.outcome


class Side:
    """A server process in miniature: bus, orders, feed."""

    def __init__(self, path: Path, name: str, **options: Any) -> None:
        self.bus = Bus()
        self.told = Told()
        self.feed = Feed(path, self.bus, self.told, name=name, options=FeedOptions(**{"back_off": QUICK, **options}))
        self.feed.start()

    def online(self, station: str) -> Awaitable[None] | None:
        return self.bus.publish(StationOnline(station=station, version="ocpp1.6"))

    def offline(self, station: str) -> Awaitable[None] | None:
        return self.bus.publish(StationOffline(station=station, version="ocpp1.6"))

    def vanish(self) -> None:
        """What the kernel does for a process that is killed."""
        self.feed._runner.cancel()
        self.feed._link.abort()


class Stage:
    """A hub and its bus, and servers that feed it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bus = Bus()
        self.safe = Safe(self.bus)
        self.hub: Hub
        self.sides: list[Side] = []

    async def listen(self, **options: Any) -> None:
        self.hub = Hub(self.path, self.bus, HubOptions(**options))
        await self.hub.start()

    async def crash(self) -> None:
        """The bridge is killed: connections end in the middle, nothing is acknowledged any more, memory is gone."""
        self.hub._stopping = True
        self.hub._listening.close()
        for peer in list(self.hub._peers):
            peer.acks.clear()
            peer.channel.abort()
        self.safe.holding, self.safe._waiting = False, []

    async def restart(self) -> None:
        self.bus = Bus()
        safe, self.safe = self.safe, Safe(self.bus)
        self.safe.kept = safe.kept
        await self.listen()

    async def side(self, name: str = "server", *, connected: bool = True, **options: Any) -> Side:
        made = Side(self.path, name, **options)
        self.sides.append(made)
        if connected:
            await eventually(lambda: made.feed.is_connected)
        return made


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.002)


async def within(awaitable: Awaitable[Any] | None) -> Any:
    assert awaitable is not None
    async with asyncio.timeout(20):
        return await awaitable


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path / "hub.sock")
    await made.listen()
    yield made
    for side in made.sides:
        await side.feed.stop(0)
    await made.hub.stop(0)


def ended(number: int) -> TransactionEnded:
    return TransactionEnded(station="CP1", transaction=str(number), energy=float(number))


def reset(station: str) -> Order:
    return Order(id="1", station=station, action="Reset", payload={}, source="test")


# Events


async def test_events_arrive_as_they_were(stage: Stage) -> None:
    """In order, with their ids and times; the publisher's wait ends when they are kept, not before."""
    side = await stage.side()
    mine: list[Event] = []
    side.bus.attach("#", lambda event: mine.append(event))
    stage.safe.holding = True
    waits = [asyncio.ensure_future(within(side.bus.publish(ended(number)))) for number in range(300)]
    await eventually(lambda: len(stage.safe.seen) == 300)
    assert not any(wait.done() for wait in waits)
    assert stage.safe.seen == mine
    assert side.feed.waiting == 300
    stage.safe.commit()
    await asyncio.gather(*waits)
    assert side.feed.waiting == 0
    assert (side.feed.kept, side.feed.not_kept, stage.hub.passed) == (300, 0, 300)


async def test_what_is_not_kept_is_said_to_the_publisher(stage: Stage) -> None:
    side = await stage.side()
    stage.safe.holding = True
    wait = asyncio.ensure_future(within(side.bus.publish(ended(1))))
    await eventually(lambda: len(stage.safe.seen) == 1)
    stage.safe.fail(OSError("the disk is full"))
    with pytest.raises(NotKept, match="the disk is full"):
        await wait
    # And the next try is kept: it was not taken for a repetition.
    stage.safe.holding = False
    await within(side.bus.publish(ended(1)))
    assert [event.body.transaction for event in stage.safe.kept] == ["1"]


async def test_a_publisher_that_does_not_wait_does_no_harm(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    side = await stage.side(wait=0.05)
    stage.safe.holding = True
    side.bus.publish(ended(1))
    wait = asyncio.ensure_future(side.bus.publish(ended(2)))
    await asyncio.sleep(0)
    wait.cancel()
    await eventually(lambda: side.feed.not_kept == 2)
    assert "never retrieved" not in caplog.text


async def test_telemetry_goes_by_and_is_dropped_while_nobody_hears_it(stage: Stage) -> None:
    side = await stage.side()
    reading = Readings(station="CP1", samples=())
    assert side.bus.publish(reading) is None
    await eventually(lambda: stage.safe.bodies() == [reading])
    await stage.crash()
    await eventually(lambda: not side.feed.is_connected)
    assert side.bus.publish(reading) is None
    assert side.feed.dropped == 1
    assert side.feed.waiting == 0


async def test_telemetry_that_nobody_wants_is_not_even_built(tmp_path: Path) -> None:
    """The hub says what its bus wants: a server need not make a copy of every frame in vain."""
    bus = Bus()
    bus.attach("stations/+/readings/+", lambda event: None)
    hub = Hub(tmp_path / "hub.sock", bus)
    await hub.start()
    side = Side(tmp_path / "hub.sock", "server")
    await eventually(lambda: side.feed.is_connected)
    assert side.bus.wants(KINDS[Readings])
    assert not side.bus.wants(KINDS[RawFrame])
    assert side.bus.wants(KINDS[TransactionEnded]), "what must be kept is always taken"
    await side.feed.stop(1)
    assert not side.bus.wants(KINDS[Readings])
    await hub.stop(0)


async def test_a_hub_that_is_behind_gets_no_telemetry(stage: Stage) -> None:
    """It does not read: telemetry is dropped, what must be kept waits and arrives."""
    side = await stage.side()
    for peer in stage.hub._peers:
        peer.channel.pause()
    frame = RawFrame(station="CP1", direction="in", frame="x" * 50_000)
    while not side.feed.dropped:
        side.bus.publish(frame)
        await asyncio.sleep(0)
    sent = side.feed.sent
    assert sent < 1000
    waits = [asyncio.ensure_future(within(side.bus.publish(ended(number)))) for number in range(500)]
    for peer in stage.hub._peers:
        peer.channel.resume()
    await asyncio.gather(*waits)
    assert [event.body for event in stage.safe.kept] == [ended(number) for number in range(500)]
    side.bus.publish(frame)
    await eventually(lambda: len(stage.safe.bodies(RawFrame)) > 0)


async def test_events_wait_for_a_hub_that_comes_later(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "hub.sock")
    side = await stage.side(connected=False)
    waits = [asyncio.ensure_future(within(side.bus.publish(ended(number)))) for number in range(200)]
    await asyncio.sleep(0)
    await stage.listen()
    await asyncio.gather(*waits)
    assert [event.body.transaction for event in stage.safe.kept] == [str(number) for number in range(200)]
    await side.feed.stop(1)
    await stage.hub.stop()


async def test_events_that_are_sent_again_have_their_whole_time_again(stage: Stage) -> None:
    """A bill that was given up just then would come from its station once more, under another id."""
    side = await stage.side()
    await stage.crash()
    await eventually(lambda: not side.feed.is_connected)
    wait = asyncio.ensure_future(within(side.bus.publish(ended(1))))
    await asyncio.sleep(0)
    (waiting,) = side.feed._waiting.values()
    before = waiting.deadline
    await stage.restart()
    stage.safe.holding = True
    await eventually(lambda: len(stage.safe.seen) == 1)
    assert waiting.deadline > before
    stage.safe.commit()
    await wait


async def test_the_wait_for_a_hub_has_an_end(tmp_path: Path) -> None:
    """First each event waits; when the hub has been away for that long, nothing waits any more."""
    side = Side(tmp_path / "nobody.sock", "server", wait=0.1)
    with pytest.raises(NotKept, match=r"the bridge at .*nobody\.sock has not acknowledged the event"):
        await within(side.bus.publish(ended(1)))
    receipt = asyncio.ensure_future(side.bus.publish(ended(2)))
    with pytest.raises(NotKept, match="is away"):
        await within(receipt)
    assert side.feed.waiting == 0
    assert side.feed.not_kept == 2
    await side.feed.stop(0)


async def test_only_a_bill_that_is_not_kept_is_its_publishers_matter(tmp_path: Path, caplog: Any) -> None:
    """A station must not be refused its boot because a bridge is away; what it is owed for is another thing."""
    side = Side(tmp_path / "nobody.sock", "server", wait=0.05)
    await within(side.online("CP1"))
    await within(side.bus.publish(Fault(station="CP1", code="GroundFailure")))
    with pytest.raises(NotKept):
        await within(side.bus.publish(ended(1)))
    assert side.feed.not_kept == 3
    assert caplog.text.count("events are not kept (1 by now): the bridge at ") == 1
    await side.feed.stop(0)


async def test_the_hub_says_what_must_be_kept(stage: Stage) -> None:
    """A kind may have another class there than its own: then it is kept, or dropped, or a bill."""
    await stage.hub.stop(0)
    classes = {"readings": "billing", "transaction.ended": "telemetry", "fault": "billing"}
    stage.hub = Hub(stage.path, stage.bus, classes=classes)
    await stage.hub.start()
    side = await stage.side(wait=0.2)
    stage.safe.holding = True
    await within(side.bus.publish(Readings(station="CP1", samples=())))
    assert side.bus.publish(ended(1)) is None
    fault = side.bus.publish(Fault(station="CP1", code="GroundFailure"))
    await eventually(lambda: len(stage.safe.seen) == 3)
    await stage.crash()
    with pytest.raises(NotKept):
        await within(fault)


async def test_events_that_wait_are_bounded(tmp_path: Path) -> None:
    side = Side(tmp_path / "nobody.sock", "server", waiting=10)
    waits = [asyncio.ensure_future(side.bus.publish(ended(number))) for number in range(15)]
    await asyncio.wait(waits[10:], timeout=20)
    assert [wait.done() for wait in waits] == [False] * 10 + [True] * 5
    with pytest.raises(NotKept, match="10 events wait for the bridge"):
        waits[10].result()
    await side.feed.stop(0)
    done = await asyncio.gather(*waits, return_exceptions=True)
    assert all(isinstance(each, NotKept) for each in done)
    small = Side(tmp_path / "nobody.sock", "server", waiting_bytes=1000)
    for number in range(50):
        small.bus.publish(ended(number))
    assert small.feed.waiting < 20
    await small.feed.stop(0)


# Connections that break


async def test_a_lost_acknowledgement_does_not_double_an_event(stage: Stage) -> None:
    side = await stage.side()
    stage.safe.holding = True
    waits = [asyncio.ensure_future(within(side.bus.publish(ended(number)))) for number in range(20)]
    await eventually(lambda: len(stage.safe.seen) == 20)
    first, *_ = stage.hub._peers
    # Half of them are kept, and the connection breaks before anything is said.
    half, stage.safe._waiting = stage.safe._waiting[:10], stage.safe._waiting[10:]
    for event, done in half:
        stage.safe.kept.append(event)
        done.set_result(None)
    await asyncio.sleep(0)
    first.acks.clear()
    first.channel.abort()
    await eventually(lambda: stage.hub.repeated == 20)
    assert all(wait.done() for wait in waits[:10]) or not any(wait.done() for wait in waits[10:])
    stage.safe.commit()
    await asyncio.gather(*waits)
    assert [event.body.transaction for event in stage.safe.kept] == [str(number) for number in range(20)]
    assert len(stage.safe.seen) == 20


async def test_a_hub_that_comes_back_gets_what_it_did_not_acknowledge(stage: Stage) -> None:
    side = await stage.side()
    await within(side.bus.publish(ended(0)))
    stage.safe.holding = True
    waits = [asyncio.ensure_future(within(side.bus.publish(ended(number)))) for number in range(1, 6)]
    await eventually(lambda: len(stage.safe.seen) == 6)
    await stage.crash()
    await eventually(lambda: not side.feed.is_connected)
    waits += [asyncio.ensure_future(within(side.bus.publish(ended(number)))) for number in range(6, 9)]
    await stage.restart()
    await asyncio.gather(*waits)
    assert [event.body.transaction for event in stage.safe.kept] == [str(number) for number in range(9)]


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_breaks_nothing_acknowledged_is_lost_and_nothing_comes_twice(stage: Stage, seed: int) -> None:
    """Two servers publish, connections break at any moment; each event whose publisher heard that it is kept is there
    once, those of one server in their order.
    """
    rng = random.Random(seed)
    sides = [await stage.side(f"server {number}") for number in range(2)]
    stage.safe.holding = True
    acknowledged: list[TransactionEnded] = []

    async def publish(name: str, side: Side) -> None:
        async def one(body: TransactionEnded) -> None:
            await within(side.bus.publish(body))
            acknowledged.append(body)

        going = []
        for number in range(150):
            going.append(asyncio.create_task(one(TransactionEnded(station=name, transaction=str(number)))))
            if rng.random() < 0.3:
                await asyncio.sleep(0)
        await asyncio.gather(*going)

    work = asyncio.gather(*(publish(f"CP{number}", side) for number, side in enumerate(sides)))
    while not work.done():
        await asyncio.sleep(rng.random() * 0.01)
        stage.safe.commit()
        if rng.random() < 0.3 and stage.hub._peers:
            peer = rng.choice(list(stage.hub._peers))
            if rng.random() < 0.5:
                peer.acks.clear()
            peer.channel.abort()
    await work
    for name in ("CP0", "CP1"):
        there = [event.body.transaction for event in stage.safe.kept if event.body.station == name]
        assert there == [str(number) for number in range(150)]
    assert len(acknowledged) == 300


async def test_a_slow_hub_is_not_written_to_without_end(stage: Stage) -> None:
    """It stops to read at its bound; all arrive in the end, in order."""
    await stage.hub.stop(0)
    await stage.listen(pending=50)
    side = await stage.side()
    stage.safe.holding = True
    body = TransactionEnded(station="CP1", transaction="x" * 20_000)
    waits = [asyncio.ensure_future(within(side.bus.publish(body))) for _ in range(1000)]
    await eventually(lambda: any(peer.is_paused for peer in stage.hub._peers) and side.feed._link.is_full)
    seen = len(stage.safe.seen)
    assert 50 <= seen < 200
    stage.safe.holding = False
    stage.safe.commit()
    await asyncio.gather(*waits)
    assert len(stage.safe.kept) == 1000


async def test_a_hub_that_says_nothing_is_as_good_as_away(tmp_path: Path) -> None:
    """It lets the server in and then does nothing: the connection is given up, and nothing waits any more."""
    path = tmp_path / "hub.sock"
    heard: list[Any] = []
    channels: list[Channel] = []

    def admit() -> Channel:
        def hear(message: list[Any]) -> None:
            heard.append(message)
            if message[0] == "hello" and len(channels) == 1:
                channel.send("welcome", VERSION, {"transaction.ended": "billing"})

        channel = Channel(hear, lambda: None)
        channels.append(channel)
        return channel

    server = await asyncio.get_running_loop().create_unix_server(admit, str(path))
    side = Side(path, "server", wait=0.2)
    await eventually(lambda: side.feed.is_connected)
    with pytest.raises(NotKept, match="has not acknowledged"):
        await within(side.bus.publish(ended(1)))
    await eventually(lambda: len(channels) > 1)
    await asyncio.sleep(0.25)
    assert not side.feed.is_connected
    receipt = asyncio.ensure_future(side.bus.publish(ended(2)))
    with pytest.raises(NotKept, match="is away"):
        await within(receipt)
    await side.feed.stop(0)
    server.close()


# The state


async def test_the_hub_learns_what_a_server_knows(stage: Stage) -> None:
    """Retained values are told on connect, once, and to a hub that knows nothing again."""
    side = await stage.side()
    await within(side.online("CP1"))
    await within(side.bus.publish(ConnectorStatus(station="CP1", evse=1, connector=1, status="Available")))
    side.bus.publish(DeviceReading(device="M", type="meter", instance="1", field="power", value=3))
    await eventually(lambda: len(stage.safe.seen) == 3)
    first = list(stage.safe.seen)
    for peer in stage.hub._peers:
        peer.channel.abort()
    await eventually(lambda: not side.feed.is_connected)
    await eventually(lambda: side.feed.is_connected)
    await eventually(lambda: stage.hub.stale >= 2)
    await stage.crash()
    await stage.restart()
    await eventually(lambda: len(stage.safe.seen) == 3)
    assert sorted(stage.safe.seen, key=lambda event: event.id) == first
    assert stage.hub.stations == 1


async def test_an_old_state_does_not_undo_a_newer_one(stage: Stage) -> None:
    """What happens while the hub is away is an event that waits; the state told beside it is never the older one."""
    side = await stage.side()

    def status(word: str) -> ConnectorStatus:
        return ConnectorStatus(station="CP1", evse=1, connector=1, status=word)

    await within(side.bus.publish(status("Available")))
    await stage.crash()
    await eventually(lambda: not side.feed.is_connected)
    waits = [asyncio.ensure_future(within(side.bus.publish(status(word)))) for word in ("Preparing", "Charging")]
    await asyncio.sleep(0)
    await stage.restart()
    await asyncio.gather(*waits)
    await eventually(lambda: side.feed._state is None)
    assert [body.status for body in stage.safe.bodies()] == ["Preparing", "Charging"]


async def test_states_that_were_given_up_are_told_later(tmp_path: Path) -> None:
    """The hub is away for too long: the event is not kept, but what holds now comes with the state."""
    stage = Stage(tmp_path / "hub.sock")
    side = await stage.side(connected=False, wait=0.05)
    await within(side.online("CP1"))
    assert side.feed.not_kept == 1
    for number in range(500):
        side.bus.publish(ConnectorStatus(station="CP1", evse=number, connector=1, status="Available"))
    await eventually(lambda: side.feed.waiting == 0)
    await stage.listen()
    await eventually(lambda: len(stage.safe.kept) == 501)
    assert stage.hub.stations == 1
    await side.feed.stop(1)
    await stage.hub.stop()


async def test_what_did_not_fit_is_told_when_there_is_room(stage: Stage) -> None:
    side = await stage.side(waiting=5)
    stage.safe.holding = True
    for number in range(10):
        side.bus.publish(ConnectorStatus(station="CP1", evse=number, connector=1, status="Available"))
    assert (side.feed.waiting, side.feed.not_kept) == (5, 5)
    stage.safe.holding = False
    await eventually(lambda: len({event.topic for event in stage.safe.seen}) == 10)
    assert len(stage.safe.seen) == 10


# Who has a station


async def test_orders_go_where_the_station_is(stage: Stage) -> None:
    one, two = await stage.side("one"), await stage.side("two")
    await within(one.online("CP1"))
    await within(two.online("CP2"))
    payload = {"type": "Hard"}
    order = Order(id="7", station="CP2", action="Reset", payload=payload, source="mqtt", timeout=5.0, expires=9e9)
    two.told.outcome = Outcome(status="rejected", code="Rejected", message="no", payload={"status": "Rejected"})
    assert await within(stage.hub.carry_out(order)) == two.told.outcome
    assert (one.told.orders, two.told.orders) == ([], [order])
    two.told.outcome = Outcome(status="refused", code="invalid-payload", violations=("/type is missing",))
    assert await within(stage.hub.carry_out(order)) == two.told.outcome
    # It moves: the one that had it before is late to say that it is gone.
    await within(one.online("CP2"))
    await within(two.offline("CP2"))
    assert (await within(stage.hub.carry_out(order))).status == "accepted"
    assert one.told.orders == [order]
    assert stage.safe.bodies(StationOffline) == [], "for it is online, elsewhere"
    await within(one.offline("CP2"))
    assert len(stage.safe.bodies(StationOffline)) == 1


async def test_an_older_arrival_does_not_take_a_station_away(stage: Stage) -> None:
    """A connection event that was held up comes after the one of the newer connection."""
    one = await stage.side("one")
    await stage.crash()
    await eventually(lambda: not one.feed.is_connected)
    late = asyncio.ensure_future(within(one.online("CP1")))
    await asyncio.sleep(0.005)
    one.feed._path = one.feed._path.with_name("elsewhere")
    await stage.restart()
    two = await stage.side("two")
    await within(two.online("CP1"))
    one.feed._path = stage.path
    await late
    assert [event.time for event in stage.safe.seen] == [stage.bus.last("stations/CP1/connection")[0].time]
    await within(stage.hub.carry_out(reset("CP1")))
    assert (len(one.told.orders), len(two.told.orders)) == (0, 1)


async def test_a_clock_that_is_set_back_does_not_take_a_station_away(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It moves just then: by the wall clock its newer connection is the older one."""
    one, two = await stage.side("one"), await stage.side("two")
    await within(one.online("CP1"))
    monkeypatch.setattr("evcore.bus.bus.time", lambda: time.time() - 3600)
    await within(two.online("CP1"))
    assert stage.safe.seen[0].time > stage.safe.seen[1].time + 3000
    await within(one.offline("CP1"))
    await within(stage.hub.carry_out(reset("CP1")))
    assert (len(one.told.orders), len(two.told.orders)) == (0, 1)
    assert stage.safe.bodies(StationOffline) == []


async def test_an_order_follows_a_station_that_moves(stage: Stage) -> None:
    """The one it was sent to has just given the station up; the other one has it by then."""
    one, two = await stage.side("one"), await stage.side("two")
    await within(one.online("CP1"))
    moved = asyncio.Event()

    async def gone(order: Order) -> Outcome:
        await moved.wait()
        return Outcome(status="refused", code="offline")

    one.told.carry_out = gone
    asked = asyncio.ensure_future(stage.hub.carry_out(reset("CP1")))
    await asyncio.sleep(0)
    await within(two.online("CP1"))
    moved.set()
    assert (await within(asked)).status == "accepted"
    assert len(two.told.orders) == 1
    two.told.outcome = Outcome(status="refused", code="offline", message="of its own")
    assert (await within(stage.hub.carry_out(reset("CP1")))).message == "of its own"


async def test_stations_of_a_server_that_vanished_are_offline(stage: Stage) -> None:
    one, two = await stage.side("one"), await stage.side("two")
    for number in range(450):
        one.online(f"CP{number}")
    await eventually(lambda: stage.hub.stations == 450)
    await within(two.online("CP7"))
    one.vanish()
    await eventually(lambda: len(stage.safe.bodies(StationOffline)) == 449)
    gone = {body.station for body in stage.safe.bodies(StationOffline)}
    assert gone == {f"CP{number}" for number in range(450)} - {"CP7"}
    assert all(body.version == "ocpp1.6" for body in stage.safe.bodies(StationOffline))
    outcome = await within(stage.hub.carry_out(reset("CP1")))
    assert (outcome.status, outcome.code) == ("refused", "offline")
    outcome = await within(stage.hub.carry_out(reset("CP-1")))
    assert (outcome.status, outcome.code) == ("refused", "unknown-station")
    assert (await within(stage.hub.carry_out(reset("CP7")))).status == ("accepted")


async def test_a_server_whose_connection_broke_still_has_its_stations(stage: Stage) -> None:
    """They were said to be offline; when it is back they are online, under an id of its own."""
    side = await stage.side()
    await within(side.online("CP1"))
    for peer in stage.hub._peers:
        peer.channel.abort()
    wanted = [StationOnline, StationOffline, StationOnline]
    await eventually(lambda: [type(body) for body in stage.safe.bodies()] == wanted)
    assert stage.hub.stations == 1
    assert len({event.id for event in stage.safe.seen}) == 3
    assert isinstance(stage.bus.last("stations/CP1/connection")[0].body, StationOnline)


async def test_the_fate_of_an_order_may_be_lost(stage: Stage) -> None:
    side = await stage.side()
    await within(side.online("CP1"))
    side.told.outcome = None
    order = reset("CP1")
    asked = [asyncio.ensure_future(stage.hub.carry_out(order)) for _ in range(3)]
    await eventually(lambda: len(side.told.orders) == 3)
    side.vanish()
    outcomes = await within(asyncio.gather(*asked))
    assert {outcome.status for outcome in outcomes} == {"unknown"}
    assert all("ended before" in outcome.message for outcome in outcomes)


async def test_orders_are_bounded_and_end(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evcore.net.feed.hub._GRACE_SECONDS", 0.05)
    await stage.hub.stop(0)
    await stage.listen(orders=2)
    side = await stage.side(orders=1)
    await within(side.online("CP1"))
    side.told.outcome = None
    slow = dataclasses.replace(reset("CP1"), timeout=0.05, expires=time.time())
    waiting = [asyncio.ensure_future(stage.hub.carry_out(slow)) for _ in range(2)]
    await asyncio.sleep(0)
    third = await within(stage.hub.carry_out(slow))
    assert (third.status, third.code) == ("refused", "busy")
    first, second = await within(asyncio.gather(*waiting))
    assert first.status == "unknown", "the server says nothing"
    assert (second.status, second.code) == ("refused", "busy"), "of the server: it carries out one at a time"
    worse = Order(id="1", station="CP1", action="Reset", payload={"x": object()}, source="t")
    assert (await within(stage.hub.carry_out(worse))).code == "malformed"
    cancelled = asyncio.ensure_future(stage.hub.carry_out(slow))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert stage.hub._ordered == 0


# Ends


async def test_a_server_that_ends_leaves_nothing_behind(stage: Stage) -> None:
    """What it published last is kept before it goes, and orders at work get their outcome."""
    side = await stage.side()
    await within(side.online("CP1"))
    stage.safe.holding = True
    last = asyncio.ensure_future(within(side.offline("CP1")))
    stopping = asyncio.create_task(side.feed.stop(20))
    await eventually(lambda: len(stage.safe.seen) == 2)
    assert not stopping.done()
    stage.safe.commit()
    await within(stopping)
    await last
    await eventually(lambda: stage.hub.feeds == 0)
    assert len(stage.safe.bodies(StationOffline)) == 1
    assert side.bus.publish(ended(1)) is None, "it has left the bus"


async def test_a_hub_that_ends_keeps_what_it_was_sent(stage: Stage) -> None:
    side = await stage.side()
    stage.safe.holding = True
    wait = asyncio.ensure_future(within(side.bus.publish(ended(1))))
    await eventually(lambda: len(stage.safe.seen) == 1)
    stopping = asyncio.create_task(stage.hub.stop(20))
    await asyncio.sleep(0)
    assert not stopping.done()
    stage.safe.commit()
    await within(stopping)
    await wait
    await eventually(lambda: not side.feed.is_connected)
    assert stage.safe.bodies(StationOffline) == []
    assert not stage.path.exists()


async def test_a_hub_that_holds_takes_no_more_events_and_still_gives_orders(stage: Stage) -> None:
    """The bus behind it is about to lose its spool: what is not acknowledged comes again to the next bridge."""
    side = await stage.side()
    await within(side.online("CP1"))
    stage.hub.hold()
    wait = asyncio.ensure_future(within(side.bus.publish(ended(1))))
    outcome = await within(stage.hub.carry_out(reset("CP1")))
    assert outcome.status == "accepted"
    assert not wait.done()
    assert len(stage.safe.seen) == 1
    await stage.hub.stop()
    await stage.restart()
    await wait
    assert len(stage.safe.bodies(TransactionEnded)) == 1


# Strangers and other versions


async def test_another_version_is_refused_with_a_sentence(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = await asyncio.open_unix_connection(str(stage.path))
    writer.write(encode("hello", VERSION + 1, "newer", "with something new"))
    said = (await asyncio.wait_for(reader.read(), 20)).decode()
    writer.close()
    sentence = f"the server speaks version {VERSION + 1} of the feed's protocol, this bridge version {VERSION}"
    assert '["refused","' in said
    assert sentence in said
    assert sentence in caplog.text
    assert stage.hub.feeds == 0


@pytest.mark.parametrize(
    "answer", [("welcome", VERSION + 1, {}), ("refused", "go away")], ids=["another version", "a refusal"]
)
async def test_a_bridge_that_does_not_fit_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, answer: tuple[Any, ...]
) -> None:
    tries = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        writer.write(encode(*answer))
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(serve, str(tmp_path / "hub.sock"))
    side = Side(tmp_path / "hub.sock", "server", wait=0.1)
    if answer[0] == "welcome":
        await eventually(lambda: tries > 2)
        assert f"speaks version {VERSION + 1} of the feed's protocol" in caplog.text
    else:
        await eventually(lambda: "refuses this server: go away" in caplog.text)
    assert not side.feed.is_connected
    await side.feed.stop(0)
    server.close()


@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        encode("event", 1, 0.0, {}),
        encode("hello"),
        encode({"a": 1}),
        encode("hello", VERSION, "x") + encode("event", "x"),
        encode("hello", VERSION, "x") + encode("state", 5),
        encode("hello", VERSION, "x") + encode("outcome", []),
    ],
)
async def test_a_stranger_ends_its_own_connection_alone(stage: Stage, first: bytes) -> None:
    side = await stage.side()
    reader, writer = await asyncio.open_unix_connection(str(stage.path))
    writer.write(first)
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), 20)
    writer.close()
    await within(side.bus.publish(ended(1)))
    assert stage.hub.feeds == 1


async def test_an_event_that_is_none_is_not_kept(stage: Stage) -> None:
    """The server is told, and the connection stays: another release may know kinds that this one does not."""
    reader, writer = await asyncio.open_unix_connection(str(stage.path))
    values = {"id": "x", "kind": "station.dreamt"}
    writer.write(encode("hello", VERSION, "x") + encode("news", values) + encode("state", [(0.0, values)]))
    writer.write(encode("event", 5, 0.0, values))
    said = b""
    async with asyncio.timeout(20):
        while b"lost" not in said or b"stated" not in said:
            said += await reader.read(10_000)
    assert b'["lost",5,"the bridge does not understand the event: ' in said
    assert stage.hub.feeds == 1
    assert stage.hub.unread == 3
    writer.close()


async def test_feeds_are_bounded(stage: Stage) -> None:
    await stage.hub.stop(0)
    await stage.listen(feeds=2)
    for _ in range(2):
        await stage.side()
    reader, writer = await asyncio.open_unix_connection(str(stage.path))
    writer.write(encode("hello", VERSION, "third"))
    assert b"2 servers are connected already" in await asyncio.wait_for(reader.read(), 20)
    writer.close()


# The socket


async def test_the_socket_is_the_users_alone(stage: Stage) -> None:
    assert stat.S_IMODE(stage.path.stat().st_mode) == 0o600


async def test_a_second_bridge_is_refused(stage: Stage) -> None:
    with pytest.raises(HubError, match=r"hub\.sock: another bridge does already; stop it or choose another path"):
        await Hub(stage.path, Bus()).start()
    side = await stage.side()
    await within(side.bus.publish(ended(1)))


async def test_the_socket_of_a_dead_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "hub.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.is_socket()
    hub = Hub(path, Bus())
    await hub.start()
    side = Side(path, "server")
    await eventually(lambda: side.feed.is_connected)
    await side.feed.stop(0)
    await hub.stop(0)
    assert not path.exists()


async def test_paths_that_cannot_be_listened_on(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for path, sentence in (
        (file, "something that is no socket lies there"),
        (tmp_path / "no" / "folder.sock", "there is no such folder"),
        (tmp_path / ("x" * 120), "the path is too long for a socket"),
    ):
        with pytest.raises(HubError, match=sentence):
            await Hub(path, Bus()).start()
    assert file.read_text() == "mine"


async def test_only_its_own_socket_is_removed(tmp_path: Path) -> None:
    """Somebody has removed it, and another bridge listens there now."""
    path = tmp_path / "hub.sock"
    first, second = Hub(path, Bus()), Hub(path, Bus())
    await first.start()
    path.unlink()
    await second.start()
    await first.stop(0)
    assert path.is_socket()
    await second.stop(0)
    assert not path.exists()
    await Hub(path, Bus()).stop(0)
    assert not path.exists()
