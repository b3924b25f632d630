"""The bus: who gets what, in which order, who waits for whom, and what is never held up by whom.

`tests/property/test_bus.py` compares whole histories with a model; here are the rules one by one.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
import threading
import weakref
from typing import Any

import pytest

from evcore import TopicError
from evcore.bus import KINDS, Bus, Closed, Event, NotKept, Subscription, level
from evcore.bus.bodies import (
    ConnectorStatus,
    FirmwareProgress,
    LogProgress,
    RawFrame,
    StationBooted,
    StationOffline,
    StationOnline,
    TransactionEnded,
)


def firmware(status: object = "x", station: str = "CP1") -> FirmwareProgress:
    return FirmwareProgress(station=station, status=str(status))


def online(station: str = "CP1") -> StationOnline:
    return StationOnline(station=station, version="ocpp1.6")


def status(connector: int, state: str = "Available") -> ConnectorStatus:
    return ConnectorStatus(station="CP1", evse=1, connector=connector, status=state)


async def read(events: Subscription) -> list[str]:
    """What waits, as the `status` of the bodies."""
    return [(await events.get()).body.status for _ in range(events.waiting)]


async def publish(bus: Bus, body: Any) -> None:
    waits = bus.publish(body)
    if waits is not None:
        await waits


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def alive() -> int:
    """Events in memory."""
    gc.collect()
    return sum(isinstance(thing, Event) for thing in gc.get_objects())


# Who gets what


async def test_every_match_once_and_nothing_else() -> None:
    bus = Bus()
    several = bus.subscribe("stations/CP1/#", "stations/{station}/firmware", "#")
    other = bus.subscribe("stations/CP2/firmware")
    assert bus.publish(firmware()) is None
    assert (several.waiting, other.waiting) == (1, 0)
    event = await several.get()
    assert (event.kind.name, event.topic, event.body) == ("firmware.progress", "stations/CP1/firmware", firmware())


async def test_forward_keeps_id_and_time() -> None:
    here, there = Bus(), Bus()
    here.attach("#", there.forward)
    first, second = here.subscribe("#"), there.subscribe("#")
    here.publish(online("CP 1"))
    event = await first.get()
    assert await second.get() == event == there.last("stations/CP%201/connection")[0]


def test_nobody_listens_nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    bus = Bus(retain=False)
    monkeypatch.setattr("evcore.bus.bus.topic_of", None)
    assert bus.publish(firmware()) is None
    assert bus.publish(online()) is None


def test_wants() -> None:
    bus = Bus()
    frame, boot, progress, log = (KINDS[body] for body in (RawFrame, StationBooted, FirmwareProgress, LogProgress))
    assert (bus.wants(boot), bus.wants(frame), bus.wants(progress)) == (True, False, False)
    leave = bus.attach("stations/CP7/+", print)
    assert (bus.wants(frame), bus.wants(progress), bus.wants(log)) == (False, True, True)
    frames = bus.subscribe("+/{x}/frames/in", "stations/+/firmware/#")
    leave()
    leave()
    assert (bus.wants(frame), bus.wants(progress), bus.wants(log)) == (True, True, False)
    frames.close()
    assert (bus.wants(frame), bus.wants(progress)) == (False, False)
    assert not Bus(retain=False).wants(boot)
    for nobody in ("stations", "stations/+", "stations/+/firmware/+", "$SYS/#", "other/#"):
        bus.attach(nobody, print)
        assert not any(map(bus.wants, (frame, progress, log))), nobody


@pytest.mark.parametrize(
    ("filters", "options", "error"),
    [
        ((), {}, ValueError),
        (("a",), {"limit": 0}, ValueError),
        (("a",), {"policy": "lose"}, ValueError),
        (("a", "b/#/c"), {}, TopicError),
        (("a", ""), {}, TopicError),
        (("$share/group/a",), {}, TopicError),
        (("stations/CP-{id}",), {}, TopicError),
    ],
)
def test_refused_subscriptions_leave_nothing(filters: Any, options: Any, error: type[Exception]) -> None:
    bus = Bus()
    with pytest.raises(error):
        bus.subscribe(*filters, **options)
    assert len(bus._router) == 0
    assert not bus.wants(KINDS[FirmwareProgress])


def test_refused_bodies_and_settings() -> None:
    with pytest.raises(TypeError):
        Bus().publish("a text")
    for wrong in ({"most": 0}, {"cascade": -1}):
        with pytest.raises(ValueError):
            Bus(**wrong)
    with pytest.raises(TopicError):
        Bus().last("a/#/b")


async def test_topic_too_long_is_refused_not_raised() -> None:
    bus = Bus()
    events = bus.subscribe("#")
    waits = bus.publish(firmware(station="x" * 70_000))
    assert waits is not None
    with pytest.raises(NotKept):
        await waits
    assert (events.waiting, bus.retained) == (0, 0)


# Policies


async def test_drop_oldest(caplog: pytest.LogCaptureFixture) -> None:
    bus = Bus()
    events = bus.subscribe("#", limit=3)
    for number in range(10):
        assert bus.publish(firmware(number)) is None
    assert (events.waiting, events.dropped) == (3, 7)
    assert await read(events) == ["7", "8", "9"]
    assert len(caplog.records) == 1, "the first loss is logged, the others counted"


async def test_conflate() -> None:
    bus = Bus()
    events = bus.subscribe("stations/+/connectors/#", limit=3, policy="conflate")
    for connector, state in ((1, "a"), (2, "b"), (1, "c"), (3, "d"), (2, "e")):
        bus.publish(status(connector, state))
    assert (events.waiting, events.dropped) == (3, 0)
    bus.publish(status(4, "f"))
    assert (events.waiting, events.dropped) == (3, 1)
    assert await read(events) == ["e", "d", "f"]
    bus.publish(status(1, "g"))
    assert await read(events) == ["g"]


async def test_block_holds_its_publisher_and_nobody_else() -> None:
    bus = Bus()
    slow = bus.subscribe("#", limit=1, policy="block")
    quick = bus.subscribe("#")
    publishers = [asyncio.create_task(publish(bus, firmware(number))) for number in range(4)]
    await turns()
    assert [task.done() for task in publishers] == [True, False, False, False]
    assert await read(quick) == ["0", "1", "2", "3"]
    for number in range(4):
        assert (await slow.get()).body.status == str(number)
        await turns()
        assert [task.done() for task in publishers].count(True) == min(number + 2, 4)
    assert (slow.waiting, slow.dropped) == (0, 0)


async def test_block_never_grows_for_publishers_who_do_not_wait() -> None:
    bus = Bus()
    events = bus.subscribe("#", limit=5, policy="block")
    before = alive()
    for number in range(1000):
        bus.publish(firmware(number))
    assert alive() - before <= 10
    assert len(events._queue._late) < 100
    assert await read(events) == ["0", "1", "2", "3", "4"]
    assert (events.waiting, events.dropped) == (0, 995), "also those that a read came across"
    bus.publish(firmware("again"))
    assert await read(events) == ["again"]


async def test_block_keeps_only_what_publishers_hold() -> None:
    """Those who stop waiting in the middle leave nothing behind either."""
    bus = Bus()
    events = bus.subscribe("#", limit=1, policy="block")
    before = alive()
    bus.publish(firmware("first"))
    waiting: list[asyncio.Task[None]] = []
    for number in range(300):
        waiting.append(asyncio.create_task(publish(bus, firmware(number))))
        await turns(1)
        if number % 100 != 0:
            waiting.pop().cancel()
            await turns(2)
    assert alive() - before <= 60
    assert events.dropped == 297
    assert [(await events.get()).body.status for _ in range(4)] == ["first", "0", "100", "200"]
    await asyncio.gather(*waiting)


async def test_a_subscriber_that_leaves_lets_publishers_go() -> None:
    bus = Bus()
    events = bus.subscribe("#", limit=1, policy="block")
    publishers = [asyncio.create_task(publish(bus, firmware(number))) for number in range(3)]
    await turns()
    events.close()
    events.close()
    await asyncio.gather(*publishers)
    assert bus.publish(firmware()) is None
    assert await read(events) == ["0"], "what it took can still be read"
    with pytest.raises(Closed):
        await events.get()


async def test_a_lost_subscription_lets_publishers_go() -> None:
    bus = Bus()
    events = bus.subscribe("#", limit=1, policy="block")
    publishers = [asyncio.create_task(publish(bus, firmware(number))) for number in range(3)]
    await turns()
    del events
    await asyncio.gather(*publishers)
    assert not bus.wants(KINDS[FirmwareProgress])


# Reading


async def test_reading_waits_and_ends() -> None:
    bus = Bus()
    seen: list[str] = []

    async def reader() -> None:
        async with events:
            async for event in events:
                note(event.body)

    def note(body: FirmwareProgress) -> None:
        seen.append(body.status)

    events = bus.subscribe("#")
    task = asyncio.create_task(reader())
    for number in range(3):
        await turns()
        bus.publish(firmware(number))
    await turns()
    assert seen == ["0", "1", "2"]
    bus.publish(firmware("last"))
    events.close()
    await task
    assert seen == ["0", "1", "2", "last"]
    assert events.closed


async def test_several_readers_share() -> None:
    bus = Bus()
    events = bus.subscribe("#", limit=1, policy="block")
    readers = [asyncio.create_task(events.get()) for _ in range(3)]
    await turns()
    await asyncio.gather(*(publish(bus, firmware(number)) for number in range(3)))
    assert sorted(event.body.status for event in await asyncio.gather(*readers)) == ["0", "1", "2"]


async def test_cancelled_readers_lose_nothing() -> None:
    bus = Bus()
    events = bus.subscribe("#")
    first, second = asyncio.create_task(events.get()), asyncio.create_task(events.get())
    await turns()
    bus.publish(firmware("kept"))
    # It is the first one's turn, and it is gone: the second one's then.
    first.cancel()
    await turns()
    assert second.done() and (await second).body.status == "kept"
    third = asyncio.create_task(events.get())
    await turns()
    third.cancel()
    await turns()
    bus.publish(firmware("next"))
    assert await read(events) == ["next"]


# Order, and changes in the middle of an event


async def test_what_a_sink_publishes_comes_after_for_everybody() -> None:
    bus = Bus()
    seen: list[str] = []
    answers: list[Any] = []

    def answer(event: Event) -> None:
        seen.append(f"sink {event.body.status}")
        if event.body.status in ("a", "b"):
            answers.append(bus.publish(firmware(event.body.status * 2)))
            answers.append(bus.publish(firmware(event.body.status * 3)))

    before = bus.subscribe("#")
    bus.attach("#", answer)
    bus.attach("#", lambda event: seen.append(f"later {event.body.status}"))
    after = bus.subscribe("#")
    bus.publish(firmware("a"))
    assert seen == ["sink a", "later a", "sink aa", "later aa", "sink aaa", "later aaa"]
    assert await read(before) == await read(after) == ["a", "aa", "aaa"]
    for waits in answers:
        await waits
    events = [bus.subscribe("#"), bus.subscribe("stations/#")]
    bus.publish(firmware("b"))
    ids = [[(await each.get()).id for _ in range(3)] for each in events]
    assert ids[0] == ids[1] == sorted(ids[0])


async def test_what_a_sink_published_is_waited_for() -> None:
    bus = Bus()
    slow = bus.subscribe("stations/+/log", limit=1, policy="block")
    bus.publish(LogProgress(station="CP1", status="first"))
    answers: list[Any] = []
    bus.attach("stations/+/firmware", lambda _: answers.append(bus.publish(LogProgress(station="CP1", status="x"))))
    assert bus.publish(firmware()) is None
    task = asyncio.ensure_future(answers.pop())
    await turns()
    assert not task.done()
    await slow.get()
    await task


async def test_sinks_that_answer_themselves_come_to_an_end(caplog: pytest.LogCaptureFixture) -> None:
    bus = Bus(cascade=20)
    seen: list[Any] = []
    leave = bus.attach("stations/+/firmware", lambda event: seen.append(bus.publish(firmware())))
    bus.publish(firmware())
    assert len(seen) == 21
    with pytest.raises(NotKept):
        await seen[-1]
    await seen[-2]
    assert len(caplog.records) == 1
    leave()
    bus.attach("stations/+/firmware", lambda event: seen.append(bus.publish(online())))
    bus.publish(firmware())
    await seen[-1]


async def test_coming_and_going_in_the_middle_of_an_event() -> None:
    bus = Bus()
    seen: list[str] = []
    new: list[Subscription] = []

    def change(event: Event) -> None:
        leave_self()
        leave_later()
        gone.close()
        new.append(bus.subscribe("#", retained=True))

    leave_self = bus.attach("#", change)
    leave_later = bus.attach("#", lambda event: seen.append("later"))
    gone = bus.subscribe("#")
    bus.publish(online())
    assert (seen, gone.waiting) == ([], 0)
    assert new[0].waiting == 1, "the retained value, and not the event again"
    bus.publish(StationOffline(station="CP1", version="ocpp1.6"))
    assert [(await new[0].get()).kind.name for _ in range(2)] == ["station.online", "station.offline"]
    assert len(new) == 1


# What publishing waits for


async def test_publishing_waits_for_sinks() -> None:
    bus = Bus()
    kept: list[asyncio.Future[None]] = []

    def sink(event: Event) -> asyncio.Future[None]:
        kept.append(asyncio.get_running_loop().create_future())
        return kept[-1]

    bus.attach("#", sink)
    bus.attach("#", sink)
    task = asyncio.create_task(publish(bus, firmware()))
    await turns()
    kept[1].set_result(None)
    await turns()
    assert not task.done()
    kept[0].set_result(None)
    await task


@pytest.mark.parametrize("how", ["at once", "later", "cancelled"])
async def test_not_kept(how: str) -> None:
    bus = Bus()
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    bus.attach("#", lambda event: future)
    if how == "at once":
        future.set_exception(OSError("the disk is full"))
    task = asyncio.create_task(publish(bus, TransactionEnded(station="CP1", transaction="1")))
    await turns()
    if how == "later":
        future.set_exception(OSError("the disk is full"))
    elif how == "cancelled":
        future.cancel()
    with pytest.raises(NotKept, match=r"transaction\.ended.* could not be kept: (the disk is full|given up)"):
        await task


async def test_not_kept_does_not_wait_for_a_slow_reader() -> None:
    bus = Bus()
    slow = bus.subscribe("#", limit=1, policy="block")
    bus.publish(firmware("first"))

    async def fail(event: Event) -> None:
        raise OSError("the disk is full")

    bus.attach("#", fail)
    with pytest.raises(NotKept):
        await publish(bus, firmware())
    assert slow.waiting == 1


async def test_a_result_nobody_awaits_does_no_harm() -> None:
    bus = Bus()
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
    done: list[str] = []

    async def fail(event: Event) -> None:
        await asyncio.sleep(0)
        done.append(event.body.status)
        raise OSError("the disk is full")

    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    bus.attach("#", fail)
    leave = bus.attach("#", lambda event: future)
    bus.publish(firmware("works on"))
    leave()
    gc.collect()
    future.set_exception(OSError("the disk is full"))
    future = asyncio.get_running_loop().create_future()
    await turns()
    gc.collect()
    assert (done, said) == (["works on"], [])


async def test_the_work_of_a_sink_goes_on_when_nobody_waits_for_it() -> None:
    """Nothing but the bus holds it: the loop's own references are weak."""
    bus = Bus()
    gates: list[weakref.ref[asyncio.Future[None]]] = []
    done: list[str] = []

    async def sink(event: Event) -> None:
        gate = asyncio.get_running_loop().create_future()
        gates.append(weakref.ref(gate))
        await gate
        done.append(event.body.status)

    bus.attach("#", sink)
    bus.publish(firmware())
    await turns()
    gc.collect()
    gate = gates[0]()
    assert gate is not None
    gate.set_result(None)
    await turns()
    assert done == ["x"]


async def test_cancelling_a_wait_cancels_nothing_else() -> None:
    bus = Bus()
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    bus.attach("#", lambda event: future)
    waits = bus.publish(firmware())
    assert waits is not None
    tasks = [asyncio.ensure_future(waits), asyncio.ensure_future(waits)]
    await turns()
    tasks[0].cancel()
    await turns()
    assert tasks[0].cancelled() and not future.cancelled() and not tasks[1].done()
    future.set_result(None)
    await tasks[1]
    await waits


async def test_a_listener_that_raises_touches_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    bus = Bus()

    def fail(event: Event) -> None:
        raise RuntimeError("secret 04A2B3")

    bus.attach("#", fail)
    events = bus.subscribe("#")
    with caplog.at_level(logging.ERROR, "evcore.bus"):
        assert bus.publish(firmware()) is None
    assert events.waiting == 1
    assert "firmware.progress" in caplog.records[0].getMessage()


# Retained values


async def test_the_last_of_each_topic_is_kept() -> None:
    bus = Bus()
    for body in (online(), status(1, "a"), online("CP2"), status(2, "b"), status(1, "c"), firmware()):
        bus.publish(body)
    bus.publish(StationOffline(station="CP1", version="ocpp1.6"))
    assert bus.retained == 4
    assert [event.kind.name for event in bus.last("stations/+/connection")] == ["station.offline", "station.online"]
    assert [event.body.status for event in bus.last("stations/CP1/connectors/#")] == ["c", "b"]
    assert [event.body.status for event in bus.last("stations/CP1/connectors/1/2")] == ["b"]
    assert bus.last("stations/CP1/firmware") == bus.last("stations/CP") == []
    assert len(bus.last("#")) == len(bus.last("{kind}/#")) == len(bus.last("stations/CP1/connection/#")) + 3 == 4

    events = bus.subscribe("stations/CP1/connectors/#", "stations/CP1/connection", limit=1, retained=True)
    assert (events.waiting, events.dropped) == (3, 0)
    bus.publish(status(1, "d"))
    bodies = [(await events.get()).body for _ in range(4)]
    assert bodies[1:] == [status(1, "c"), status(2, "b"), status(1, "d")]

    assert bus.forget("stations/CP1/connectors/#") == 2
    assert bus.forget("stations/CP1/connectors/#") == 0
    assert bus.retained == 2


async def test_a_topic_is_the_filter_of_itself_alone() -> None:
    """Whatever a station is called: who forgets one does not forget others."""
    bus = Bus()
    names = ["{station}", "a{b", "+", "#", "CP1", "%7Bstation%7D", "$share"]
    for name in names:
        bus.publish(online(name))
    for name in names:
        topic = f"stations/{level(name)}/connection"
        assert [event.body.station for event in bus.last(topic)] == [name]
        assert bus.forget(topic) == 1
    assert bus.retained == 0


async def test_retained_values_are_bounded() -> None:
    bus = Bus(most=100)
    for number in range(500):
        bus.publish(online(str(number)))
        assert bus.retained <= 100
    kept = [event.body.station for event in bus.last("#")]
    assert kept == [str(number) for number in range(500 - len(kept), 500)]
    assert len(kept) >= 97


def test_none_are_kept_where_none_are_wanted() -> None:
    bus = Bus(retain=False)
    bus.attach("#", lambda event: None)
    bus.publish(online())
    assert (bus.retained, bus.last("#")) == (0, [])


# Threads, imports


async def test_publishing_from_another_thread() -> None:
    bus = Bus()
    loop = asyncio.get_running_loop()
    events = bus.subscribe("#", limit=10_000)

    def work(name: int) -> None:
        for number in range(500):
            loop.call_soon_threadsafe(bus.publish, firmware(number, f"CP{name}"))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    seen: dict[str, list[str]] = {}
    for _ in range(2000):
        body = (await asyncio.wait_for(events.get(), 30)).body
        seen.setdefault(body.station, []).append(body.status)
    for thread in threads:
        thread.join()
    assert seen == {f"CP{name}": [str(number) for number in range(500)] for name in range(4)}


def test_the_base_install_has_no_bus_and_the_bus_needs_nothing_else() -> None:
    code = (
        "import sys, evcore; assert 'evcore.bus' not in sys.modules; before = set(sys.modules)\n"
        "import evcore.bus.schema\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new - set(sys.stdlib_module_names) - {'evcore', '__mp_main__'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
