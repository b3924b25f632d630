"""A session with a real Mosquitto, in both versions: what goes out, what comes in, and what happens when the broker
goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from evcore.errors import TopicError
from evcore.mqtt.broker.session import Session
from evcore.mqtt.message import Message, Received
from tests.mqtt.brokers import Mosquitto
from tests.mqtt.door import Door, WebSocketDoor
from tests.mqtt.memory_outbox import MemoryOutbox
from tests.mqtt.observer import Login, Observer, fetch, publish
from tests.mqtt.sessions import options, running, until

VERSIONS = ["5", "3.1.1"]
Make = Callable[..., Mosquitto]

pytestmark = pytest.mark.parametrize("version", VERSIONS)


def numbered(count: int, qos: int, start: int = 0) -> list[Message]:
    return [Message("n", b"%d" % number, qos) for number in range(start, start + count)]


@pytest.mark.parametrize("qos", [1, 2])
async def test_the_outbox_goes_out_in_order_and_is_emptied(mosquitto: Mosquitto, version: str, qos: int) -> None:
    outbox = MemoryOutbox()
    outbox.put(*numbered(300, qos))
    async with (
        Observer(mosquitto, "n") as observer,
        running(options(mosquitto.url, version=version), outbox) as session,
    ):
        outbox.put(*numbered(300, qos, start=300))
        seen = await observer.count(600)
        await until(lambda: not outbox.items)
    assert [int(one.payload) for one in seen] == list(range(600))
    assert {one.qos for one in seen} == {qos}
    assert outbox.finished == list(range(1, 601))
    assert session.counts.acked[qos] == 600 and session.counts.repeated == 0 and not session.counts.dropped


async def test_qos_0_goes_now_or_never(mosquitto: Mosquitto, version: str) -> None:
    session = Session(options(mosquitto.url, version=version), MemoryOutbox())
    assert not session.send(Message("n", b"early"))
    async with Observer(mosquitto, "n") as observer, running(session.options, MemoryOutbox()) as session:
        assert session.send(Message("n", b"now"))
        await observer.count(1)
    assert not session.send(Message("n", b"late"))
    assert [one.payload for one in observer.seen] == [b"now"]
    assert session.counts.dropped == {"offline": 1}


async def test_what_a_message_carries_arrives(mosquitto: Mosquitto, version: str) -> None:
    message = Message(
        "full",
        b"{}",
        1,
        retain=True,
        expiry=600,
        content_type="application/json",
        response_topic="answers/ü",
        correlation=b"\0\1\2",
        user=(("a", "1"), ("a", "2")),
    )
    got: list[Received] = []
    outbox = MemoryOutbox()
    async with running(options(mosquitto.url, version=version), outbox, filters=("full",), received=got.append):
        outbox.put(message)
        await until(lambda: got)
    kept = await fetch(mosquitto, "full")
    assert (kept.payload, kept.qos) == (b"{}", 1)
    if version == "5":
        assert kept.properties["ContentType"] == "application/json"
        assert kept.properties["ResponseTopic"] == "answers/ü"
        assert kept.properties["CorrelationData"] == "000102"
        assert [tuple(pair) for pair in kept.properties["UserProperty"]] == [("a", "1"), ("a", "2")]
        assert 0 < kept.properties["MessageExpiryInterval"] <= 600
        back = got[0]
        assert (back.content_type, back.response_topic, back.correlation) == (
            "application/json",
            "answers/ü",
            b"\0\1\2",
        )
        assert back.user == message.user and back.expiry == 600
    else:
        assert got[0].content_type is None and got[0].user == ()


async def test_will_birth_and_farewell(mosquitto: Mosquitto, version: str) -> None:
    def said(word: bytes) -> Message:
        return Message("bridge", word, 1, retain=True)

    given = options(
        mosquitto.url, version=version, will=said(b"lost"), birth=said(b"here"), farewell=said(b"gone"), keepalive=5
    )
    async with Observer(mosquitto, "bridge") as observer:
        async with running(given, MemoryOutbox()):
            await observer.count(1)
        await observer.count(2)
        session = Session(given, MemoryOutbox())
        task = asyncio.create_task(session.run())
        await observer.count(3)
        task.cancel()  # no DISCONNECT: as if it had been killed
        await asyncio.gather(task, return_exceptions=True)
        await observer.count(4)
    assert [one.payload for one in observer.seen] == [b"here", b"gone", b"here", b"lost"]
    assert (await fetch(mosquitto, "bridge")).payload == b"lost"


async def test_what_comes_in_is_the_receivers_to_acknowledge(mosquitto: Mosquitto, version: str) -> None:
    """What was not acknowledged comes again with the next connection, what was does not."""
    given = options(mosquitto.url, version=version)
    got: list[Received] = []
    outbox = MemoryOutbox()
    async with running(given, outbox, filters=("in/+",), received=got.append):
        for number in range(5):
            await publish(mosquitto, f"in/{number}", b"x", qos=2)
        await until(lambda: len(got) == 5)
        assert {one.qos for one in got} == {1}, "QoS 2 is subscribed to as QoS 1"
        got[1].ack()
        got[3].ack()
        got[3].ack()
        await publish(mosquitto, "in/last", b"x", qos=0)
        await until(lambda: len(got) == 6)
        got[5].ack()
    again: list[Received] = []
    async with running(given, outbox, filters=("in/+",), received=lambda one: (again.append(one), one.ack())[0]):
        await until(lambda: len(again) == 3)
        got[0].ack()  # of a connection that is gone: nothing happens
        await publish(mosquitto, "in/more", b"x", qos=1)
        await until(lambda: len(again) == 4)
    assert [one.topic for one in again] == ["in/0", "in/2", "in/4", "in/more"]
    assert [one.dup for one in again] == [True, True, True, False]


async def test_what_came_while_away_is_delivered(mosquitto: Mosquitto, version: str) -> None:
    given, outbox, got = options(mosquitto.url, version=version), MemoryOutbox(), list[bytes]()

    def take(one: Received) -> None:
        got.append(one.payload)
        one.ack()

    async with running(given, outbox, filters=("in",), received=take):
        pass
    for number in range(3):
        await publish(mosquitto, "in", b"%d" % number)
    async with running(given, outbox, filters=("in",), received=take):
        await until(lambda: got == [b"0", b"1", b"2"])


async def test_subscriptions_change_while_connected_and_while_away(mosquitto: Mosquitto, version: str) -> None:
    given, outbox, got = options(mosquitto.url, version=version), MemoryOutbox(), list[str]()

    def take(one: Received) -> None:
        got.append(one.topic)
        one.ack()

    async with running(given, outbox, filters=("a", "b"), received=take) as session:
        session.subscribe("c")
        session.unsubscribe("a")
        session.unsubscribe("never")
        with pytest.raises(TopicError):
            session.subscribe("a/#/b")
        await until(lambda: session._held == {"b": 1, "c": 1})
        mosquitto.stop()
        await until(lambda: not session.state.connected)
        session.unsubscribe("b")
        session.subscribe("d")
        mosquitto.start()
        await until(lambda: session.state.connected)
        for topic in "abcd":
            await publish(mosquitto, topic, b"x")
        await until(lambda: "d" in got)
    assert got == ["c", "d"]


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_broker_that_goes_in_the_middle_of_a_stream(mosquitto: Mosquitto, version: str, end: str) -> None:
    """Three times. Nothing is missing, and at QoS 2 nothing comes twice where the broker keeps its sessions: stopped,
    not killed. The witness has QoS 0, so that no repetition is the broker's, and is back before we are let in.
    """
    outbox = MemoryOutbox(delay=0.001)
    async with (
        Door(mosquitto.port) as door,
        Observer(mosquitto, "n", qos=0) as observer,
        running(options(door.url, version=version, doubt=False), outbox) as session,
    ):
        for turn in range(3):
            outbox.put(*numbered(400, 2, start=turn * 400))
            await until(lambda turn=turn: len(outbox.finished) > turn * 400 + 60)
            getattr(mosquitto, end)()
            await door.shut()
            await until(lambda: not session.state.connected)
            assert session.state.error
            mosquitto.start()
            await until(lambda turn=turn: observer.connects == turn + 2)
            await publish(mosquitto, "n", b"-1")
            await observer.until(lambda seen, turn=turn: [one.payload for one in seen].count(b"-1") > turn)
            await door.open()
            await until(lambda: not outbox.items)
        await observer.until(lambda seen: {int(one.payload) for one in seen} >= set(range(1200)))
        numbers = [int(one.payload) for one in observer.seen if one.payload != b"-1"]
    if end == "stop":
        assert numbers == list(range(1200))
    assert outbox.renewals == (4 if end == "kill" else 1), "a killed broker has forgotten the session"
    assert session.counts.connects == 4 and not session.counts.takeovers and not session.counts.dropped


async def test_another_address_is_taken_when_one_fails(broker_factory: Make, version: str) -> None:
    first, second, dead = broker_factory(), broker_factory(), broker_factory(start=False)
    outbox = MemoryOutbox()
    given = options(dead.url, first.url, second.url, version=version)
    async with running(given, outbox) as session:
        assert session.state.address == first.url
        first.kill()
        outbox.put(*numbered(10, 1))
        await until(lambda: not outbox.items)
        assert session.state.address == second.url
        assert session.state.error is None
    assert session.counts.connects == 2 and session.counts.failures >= 1


async def test_over_websocket(mosquitto: Mosquitto, version: str) -> None:
    got: list[bytes] = []
    outbox = MemoryOutbox()
    large = bytes(range(256)) * 1024
    async with WebSocketDoor(mosquitto.port) as door:
        given = options(door.url, version=version, receive_bytes=1 << 20)
        async with running(given, outbox, filters=("n",), received=lambda one: (got.append(one.payload), one.ack())[0]):
            outbox.put(*numbered(100, 2), Message("n", large, 2))
            await until(lambda: len(got) == 101)
        assert door.paths == ["/mqtt"] * 2, "one to make room for the session, one for the session"
    assert got == [b"%d" % number for number in range(100)] + [large]


async def test_user_password_and_token(broker_factory: Make, version: str) -> None:
    broker = broker_factory(users={"evcore": "secret", "other": "another"})
    port = broker.port
    async with running(options(f"mqtt://evcore:secret@127.0.0.1:{port}", version=version), MemoryOutbox()):
        pass
    async with running(options(broker.url, version=version, username="other", password="another"), MemoryOutbox()):
        pass
    tokens = iter(["wrong", "secret", "secret", "secret"])
    asked: list[str] = []

    async def token() -> str:
        asked.append(next(tokens))
        return asked[-1]

    given = options(f"mqtt://evcore@127.0.0.1:{port}", version=version, token=token)
    async with running(given, MemoryOutbox()) as session:
        assert asked == ["wrong", "secret", "secret"], "a fresh one for every connection"
        assert session.counts.failures == 1


async def test_the_window_is_what_both_sides_allow(broker_factory: Make, version: str) -> None:
    """Mosquitto ends the connection of who has more in flight than it allows."""
    broker = broker_factory(max_inflight=7 if version == "5" else 10)
    outbox = MemoryOutbox(delay=0.01)
    async with running(options(broker.url, version=version, window=500), outbox) as session:
        outbox.put(*numbered(300, 2))
        await until(lambda: not outbox.items)
    assert session.counts.connects == 1 and session.counts.repeated == 0
    assert session._out._window == (7 if version == "5" else 10)


async def test_a_message_too_large_for_the_broker_does_not_stop_the_others(broker_factory: Make, version: str) -> None:
    """MQTT 5 tells its limit; a broker of 3.1.1 ends the connection, time and again."""
    broker = broker_factory(extra=("max_packet_size 2000",))
    outbox = MemoryOutbox()
    outbox.put(Message("n", b"0", 1), Message("n", bytes(5000), 1), *numbered(30, 1, start=1))
    given = options(broker.url, version=version)
    async with Observer(broker, "n", login=Login(version)) as observer, running(given, outbox) as session:
        await until(lambda: not outbox.items)
        await observer.until(lambda seen: {one.payload for one in seen} >= {b"%d" % number for number in range(31)})
        assert session.counts.dropped == {"too-large" if version == "5" else "poison": 1}
        outbox.put(*numbered(30, 1, start=31))
        await observer.until(lambda seen: {one.payload for one in seen} == {b"%d" % number for number in range(61)})


async def test_refusals_of_mosquitto(broker_factory: Make, version: str, tmp_path: Any, caplog: Any) -> None:
    """An ACL: MQTT 5 tells, 3.1.1 swallows the message; a refused subscription shows in the state."""
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite allowed/#\n", "ascii")
    broker = broker_factory(extra=(f"acl_file {rules}",))
    outbox = MemoryOutbox()
    async with running(options(broker.url, version=version), outbox, filters=("$SYS/broker/none/#",)) as session:
        outbox.put(Message("forbidden/x", b"1", 1), Message("forbidden/x", b"1", 2), Message("allowed/x", b"1", 1))
        await until(lambda: not outbox.items)
        if version == "5":
            assert session.counts.dropped == {"refused": 2}
            assert "not authorised" in caplog.text
        else:
            assert not session.counts.dropped
        assert session.counts.acked[1] >= 1
