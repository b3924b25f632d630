"""A session with a broker that does what it should not: stalls, refuses, cuts, says nothing, says nonsense."""

from __future__ import annotations

import asyncio
import logging
import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from evcore.mqtt.broker.session import Session, SessionOptions
from evcore.mqtt.message import Message, Received
from tests.mqtt.brokers import Mosquitto, free_port
from tests.mqtt.fake_broker import CONNACK, PUBACK, PUBLISH, PUBREC, PUBREL, SUBACK, FakeBroker, Publish, packet, text
from tests.mqtt.memory_outbox import MemoryOutbox
from tests.mqtt.sessions import options, running, until
from tests.mqtt.test_session import numbered

both = pytest.mark.parametrize("version", ["5", "3.1.1"])


async def failing(given: SessionOptions, sentence: str, caplog: pytest.LogCaptureFixture) -> Session:
    """Runs until the state says `sentence`; it is in the log, once, and there is no traceback."""
    async with running(given, MemoryOutbox(), wait=False) as session:
        await until(lambda: session.state.error is not None and sentence in session.state.error, str(session.state))
        await until(lambda: session.counts.failures + session.counts.connects >= 3)
    told = [record for record in caplog.records if sentence in record.getMessage()]
    assert sum(record.levelno >= logging.WARNING for record in told) == 1
    assert not any(record.exc_info for record in caplog.records)
    return session


# Refusals


@pytest.mark.parametrize(
    ("version", "code", "sentence"),
    [
        ("5", 0x84, "does not speak MQTT 5: set version 3.1.1"),
        ("5", 1, "does not speak MQTT 5: set version 3.1.1"),
        ("5", 0x85, "does not take the client identifier 'evcore-test'"),
        ("5", 0x86, "does not take this user name or password"),
        ("5", 0x87, "the user name, the password or the rights are wrong"),
        ("5", 0x88, "is not available"),
        ("5", 0x9D, "has moved to another server"),
        ("5", 0xFE, "no MQTT"),
        ("3.1.1", 2, "does not take the client identifier 'evcore-test'"),
        ("3.1.1", 3, "is not available"),
        ("3.1.1", 4, "does not take this user name or password"),
        ("3.1.1", 5, "the user name, the password or the rights are wrong"),
        ("3.1.1", 1, "does it speak MQTT 3.1.1?"),
    ],
)
async def test_a_refusal_becomes_one_sentence(
    version: str, code: int, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakeBroker() as broker:
        broker.connack = code
        await failing(options(broker.url, version=version, password="geheim", username="u"), sentence, caplog)
        assert "geheim" not in caplog.text
        await until(lambda: not broker.connections, "a socket is left open")


@both
async def test_a_wrong_password_at_mosquitto(
    broker_factory: Callable[..., Mosquitto], version: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = broker_factory(users={"evcore": "secret"})
    given = options(f"mqtt://evcore:wrong-one@127.0.0.1:{broker.port}", version=version)
    session = await failing(given, "the user name, the password or the rights are wrong", caplog)
    assert "wrong-one" not in caplog.text + repr(session.state) + repr(session.options)


async def test_a_token_that_cannot_be_had(caplog: pytest.LogCaptureFixture) -> None:
    def token() -> str:
        raise OSError("https://idp/?client_secret=geheim")

    given = options(f"mqtt://127.0.0.1:{free_port()}", token=token)
    await failing(given, "the token could not be had: OSError", caplog)
    assert "geheim" not in caplog.text


async def test_nobody_listens_and_nobody_knows_the_name(caplog: pytest.LogCaptureFixture) -> None:
    await failing(options(f"mqtt://127.0.0.1:{free_port()}"), "nobody listens there", caplog)
    await failing(options("mqtt://no-such-host.invalid:1883"), "the name cannot be resolved", caplog)


@pytest.mark.parametrize("scheme", ["mqtt", "mqtts", "ws", "wss"])
async def test_a_broker_that_says_nothing_is_left_in_time(scheme: str, caplog: pytest.LogCaptureFixture) -> None:
    """No thread and no socket stays behind; the loop goes on."""
    async with FakeBroker() as broker:
        broker.silent = True
        given = options(f"{scheme}://127.0.0.1:{broker.port}", connect_timeout=0.1)
        threads = threading.active_count()
        async with running(given, MemoryOutbox(), wait=False) as session:
            await until(lambda: session.counts.failures >= 5)
            assert session.state.error is not None and "within 0.1 s" in session.state.error
            assert broker.connections <= 1
        await until(lambda: not broker.connections, "a socket is left open")
        assert threading.active_count() <= threads + 6, "the pool of the loop has no more"


async def test_stopping_while_connecting_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeBroker() as broker:
        broker.silent = True
        async with running(options(broker.url, connect_timeout=60.0), MemoryOutbox(), wait=False):
            await until(lambda: broker.connections)
        await until(lambda: not broker.connections)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x20\xff\xff\xff\xff\xff",
        packet(PUBLISH, text("a") + b"\0x"),
        packet(CONNACK, b"\0"),
        packet(CONNACK, b"\0\0\xff\xff\xff\xff"),
        packet(SUBACK, b"\0\1\0\0"),
        b"\0\0",
        b"\xf0\0",
    ],
)
@both
async def test_nonsense_instead_of_connack(raw: bytes, version: str, caplog: pytest.LogCaptureFixture) -> None:
    async with FakeBroker() as broker:
        broker.hello = lambda _: raw
        async with running(options(broker.url, version=version), MemoryOutbox(), wait=False) as session:
            await until(lambda: session.counts.failures >= 3)
            assert not session.state.connected
        assert not any(record.exc_info for record in caplog.records)


NONSENSE = [
    packet(PUBLISH, b"\0"),
    packet(PUBLISH, b"\xff\xffa"),
    packet(PUBLISH, text("a/+") + b"\0"),
    packet(PUBLISH, b"\0\2\xff\xfe\0"),
    packet(PUBLISH, text("a") + b"\0\0\0", 2),
    packet(PUBLISH, text("a") + b"\0\1\0", 6),
    packet(PUBLISH, text("a") + b"\x05\x02\0\0"),
    packet(PUBLISH, text("a") + b"\x01\x7f"),
    packet(PUBACK, b"\0"),
    packet(SUBACK, b""),
    packet(CONNACK, b"\0\0\0"),
    b"\xc0\0\xf0\0",
    b"\x30\xff\xff\xff\xff\x01",
    packet(PUBREL, b"\0\1\0\0\0\0\0", 2) * 3 + b"\0\0",
]


@pytest.mark.parametrize("raw", NONSENSE)
@both
async def test_nonsense_while_connected(raw: bytes, version: str, caplog: pytest.LogCaptureFixture) -> None:
    """The connection ends or goes on, the program goes on; what waits is sent."""
    outbox = MemoryOutbox()
    async with FakeBroker() as broker, running(options(broker.url, version=version), outbox) as session:
        broker.write(raw)
        await asyncio.sleep(0.02)
        outbox.put(*numbered(3, 1))
        await until(lambda: not outbox.items)
        assert session.counts.connects <= 2
    assert not any(record.exc_info for record in caplog.records)


@both
async def test_acknowledgements_nobody_asked_for(version: str) -> None:
    outbox = MemoryOutbox()
    async with FakeBroker() as broker, running(options(broker.url, version=version), outbox) as session:
        for kind in (4, 5, 7):
            for mid in (1, 2, 3, 65_000):
                broker.write(packet(kind, struct.pack("!H", mid)))
        outbox.put(*numbered(3, 2))
        await until(lambda: not outbox.items)
        assert broker.delivered == [b"0", b"1", b"2"]
        assert session.counts.acked == [0, 0, 3] and session.counts.connects == 1


# Inbound


@both
async def test_an_oversize_message_is_read_past(version: str) -> None:
    """Acknowledged, so that it does not come again; what is behind it arrives; nothing of it is kept."""
    got: list[Received] = []
    given = options("mqtt://127.0.0.1:1", version=version, receive_bytes=2000)
    async with FakeBroker() as broker:
        given = options(broker.url, version=version, receive_bytes=2000)
        async with running(given, MemoryOutbox(), received=got.append) as session:
            five = version == "5"
            broker.publish("big", bytes(3_000_000), qos=1, mid=7, five=five)
            broker.publish("small", b"x", qos=1, mid=8, five=five)
            broker.publish("big", bytes(2001), five=five)
            broker.publish("small", b"y", five=five)
            await until(lambda: len(got) == 2)
            assert (PUBACK, 7, 0) in broker.acks
            assert session.counts.oversize == 2
            if five:
                assert b"\x27" + struct.pack("!I", 2000) in broker.hellos[-1].properties, "Maximum Packet Size"


@both
async def test_qos_2_from_an_older_subscription_does_not_stop_the_broker(version: str) -> None:
    got: list[Received] = []
    async with (
        FakeBroker() as broker,
        running(options(broker.url, version=version), MemoryOutbox(), received=got.append) as session,
    ):
        broker.publish("a", b"x", qos=2, mid=9, five=version == "5")
        await until(lambda: got)
        assert not broker.acks, "not before the receiver says so"
        got[0].ack()
        await until(lambda: [kind for kind, _, _ in broker.acks] == [PUBREC, 7])
        assert session.counts.received == [0, 0, 1]


async def test_a_receiver_that_fails_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Received) -> None:
        raise RuntimeError("a fault of the program")

    async with FakeBroker() as broker, running(options(broker.url), MemoryOutbox(), received=fail) as session:
        broker.publish("a", b"x", qos=1, mid=9)
        await until(lambda: session.counts.received[1])
        await asyncio.sleep(0.02)
        assert session.state.connected and not broker.acks
    assert "a fault of the program" in caplog.text


async def test_a_refused_subscription_shows(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeBroker() as broker:
        broker.suback = lambda name, qos: 0x87 if name == "no" else qos
        async with running(options(broker.url), MemoryOutbox(), filters=("yes", "no")) as session:
            assert session.state.refused == (("no", "we are not authorised"),)
            assert broker.subscribed == [("yes", 0x11), ("no", 0x11)], "QoS 1, retained messages with new ones only"
            session.subscribe("two", 2)
            await until(lambda: broker.subscribed[2:] == [("two", 0x11)])
            broker.cut()
            await until(lambda: session.counts.connects == 2)
            assert broker.subscribed[3:] == [("yes", 0x11), ("no", 0x11), ("two", 0x11)]
            broker.suback = lambda _, qos: qos
            broker.cut()
            await until(lambda: session.counts.connects == 3)
            assert session.state.refused == ()
    assert caplog.text.count("refuses the subscription to no") == 1


@both
async def test_a_suback_that_says_too_little_or_too_much(version: str) -> None:
    async with FakeBroker() as broker:
        given = options(broker.url, version=version)
        async with running(given, MemoryOutbox(), wait=False, filters=("a", "b")) as session:
            broker.mute_suback = True
            await until(lambda: broker.subscribed)
            mid = struct.pack("!H", broker.suback_mid) + (b"\0" if version == "5" else b"")
            broker.write(packet(SUBACK, mid + b"\1"))
            await until(lambda: session.state.connected)
            assert session.state.refused == (("b", "it does not say why"),)
            broker.write(packet(SUBACK, mid + b"\1\1\1"))
            await asyncio.sleep(0.02)
            assert len(broker.subscribed) == 2 and session.state.connected


# Outbound


@both
async def test_a_broker_that_acknowledges_nothing_is_left(version: str) -> None:
    outbox = MemoryOutbox()
    outbox.put(*numbered(5, 1))
    async with FakeBroker() as deaf, FakeBroker() as broker:
        deaf.verdict = lambda _: "silence"
        given = options(deaf.url, broker.url, version=version, ack_timeout=0.2)
        async with running(given, outbox) as session:
            await until(lambda: not outbox.items)
            assert len(deaf.publishes) == 5 and broker.delivered == [b"0", b"1", b"2", b"3", b"4"]
            assert session.counts.repeated == 0, "another broker has seen none of them"


async def test_a_broker_that_answers_no_ping_is_left(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeBroker() as broker:
        broker.answer_pings = False
        async with running(options(broker.url, keepalive=1), MemoryOutbox()) as session:
            await until(lambda: session.counts.connects == 2)
    assert "has been silent for 1 s" in caplog.text


async def test_a_socket_that_is_behind_drops_telemetry_and_nothing_else(mosquitto: Mosquitto) -> None:
    outbox = MemoryOutbox()
    async with running(options(mosquitto.url, telemetry_waiting=100_000), outbox) as session:
        mosquitto.freeze()
        try:
            sent = 0
            while session.send(Message("t", bytes(10_000))):
                sent += 1
                await asyncio.sleep(0)
            outbox.put(*numbered(5, 1))
            await asyncio.sleep(0)
            link = session._link
            assert link is not None and link.behind < 150_000
            assert session.counts.dropped == {"behind": 1} and sent > 10
        finally:
            mosquitto.thaw()
        await until(lambda: not outbox.items)
        assert session.send(Message("t", b"x"))


@pytest.mark.parametrize("qos", [1, 2])
async def test_reason_codes_of_puback_and_pubrec(qos: int, caplog: pytest.LogCaptureFixture) -> None:
    """0x10 is a success, 0x87 for good, 0x97 for now; the others pass meanwhile."""
    outbox = MemoryOutbox()
    tries: dict[bytes, int] = {}

    def verdict(one: Publish) -> int:
        tries[one.payload] = tries.get(one.payload, 0) + 1
        assert not one.dup, "a refused identifier is free: nothing is repeated"
        return {b"1": 0x10, b"2": 0x87, b"3": 0x97 if tries[one.payload] < 3 else 0, b"4": 0x99}.get(one.payload, 0)

    async with FakeBroker() as broker:
        broker.verdict = verdict  # type: ignore[assignment]
        async with running(options(broker.url), outbox) as session:
            outbox.put(*numbered(40, qos))
            await until(lambda: not outbox.items)
            assert tries[b"3"] == 3 and tries[b"2"] == tries[b"4"] == 1
            assert session.counts.dropped == {"refused": 2} and session.counts.acked[qos] == 38
    assert sorted(map(int, broker.delivered)) == [number for number in range(40) if number not in (2, 4)]
    assert broker.delivered.index(b"3") == 37, "it went to the end, and kept nobody waiting"
    assert not broker.faults
    assert "because we are not authorised" in caplog.text and "because of the format" in caplog.text


async def test_a_quota_that_stays_exceeded_drops_after_as_many_attempts_as_set() -> None:
    outbox = MemoryOutbox()
    async with FakeBroker() as broker:
        broker.verdict = lambda one: 0x97 if one.payload == b"1" else 0
        async with running(options(broker.url, refusals=4), outbox) as session:
            outbox.put(*numbered(3, 1))
            await until(lambda: not outbox.items)
            assert [one.payload for one in broker.publishes].count(b"1") == 4
            assert session.counts.dropped == {"refused": 1}


async def test_a_broker_that_offers_less_gets_less(caplog: pytest.LogCaptureFixture) -> None:
    """Maximum QoS 1, no retained messages, 300 bytes, Receive Maximum 3."""
    outbox = MemoryOutbox()
    outbox.put(Message("a", b"0", 2, retain=True), Message("a", bytes(400), 1), *numbered(20, 2, start=1))
    async with FakeBroker() as broker:
        broker.connack_properties = b"\x24\x01\x25\x00\x27\0\0\x01\x2c\x21\0\x03"
        async with running(options(broker.url), outbox) as session:
            await until(lambda: not outbox.items)
            assert {(one.qos, one.retain) for one in broker.publishes} == {(1, False)}
            assert broker.delivered == [b"%d" % number for number in range(21)]
            assert broker.in_flight_most <= 3
            assert session.counts.dropped == {"too-large": 1} and session.counts.altered == 21
    assert caplog.text.count("the broker does not offer what messages ask for") <= 2


async def test_a_broker_without_qos_1_gets_all_at_qos_0() -> None:
    outbox = MemoryOutbox()
    outbox.put(*numbered(12_000, 1))
    async with FakeBroker() as broker:
        broker.connack_properties = b"\x24\0"
        given = options(broker.url, birth=Message("birth", b"b", 1), farewell=Message("farewell", b"f", 2))
        async with running(given, outbox) as session:
            assert len(broker.publishes) < 12_000, "not all of it in one turn of the loop"
            await until(lambda: not outbox.items)
            assert session.send(Message("n", b"t", 2))
        await until(lambda: len(broker.publishes) == 12_003)
    assert {one.qos for one in broker.publishes} == {0} and not broker.faults


async def test_messages_that_mqtt_forbids_are_dropped(caplog: pytest.LogCaptureFixture) -> None:
    outbox = MemoryOutbox()
    wrong = ["", "a/+", "#", "a\0b", "x" * 65_536, "\ud800"]
    outbox.put(*(Message(topic, b"x", 1) for topic in wrong), Message("a", b"x", 1, expiry=-1), *numbered(2, 1))
    async with FakeBroker() as broker, running(options(broker.url), outbox) as session:
        await until(lambda: not outbox.items)
        assert broker.delivered == [b"0", b"1"]
        assert session.counts.dropped == {"invalid": 7}
        assert not session.send(Message("a/#", b"x"))


@both
@pytest.mark.parametrize("qos", [1, 2])
async def test_a_poison_message_is_found_and_dropped_and_no_other(
    version: str, qos: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker ends the connection whenever it comes; the others arrive, whatever came of them before."""
    outbox = MemoryOutbox()
    outbox.put(*numbered(60, qos))
    async with FakeBroker() as broker:
        broker.verdict = lambda one: "close" if one.payload in (b"0", b"30", b"31") else 0
        async with running(options(broker.url, version=version), outbox) as session:
            await until(lambda: not outbox.items)
            assert session.counts.dropped == {"poison": 3}
    assert set(map(int, broker.delivered)) == set(range(60)) - {0, 30, 31}
    assert "ends the connection whenever it comes" in caplog.text


async def test_a_broker_that_takes_nothing_at_all_costs_no_message() -> None:
    """All of them end the connection: it is the broker. They are kept, and go out when it is well."""
    outbox = MemoryOutbox()
    outbox.put(*numbered(30, 1))
    async with FakeBroker() as broker:
        broker.verdict = lambda _: "close"
        async with running(options(broker.url), outbox) as session:
            await until(lambda: session.counts.connects >= 15)
            assert not session.counts.dropped
            broker.verdict = lambda _: 0
            await until(lambda: not outbox.items)
            assert not session.counts.dropped
    assert set(map(int, broker.delivered)) == set(range(30))


async def test_the_last_message_alone_is_never_called_poison() -> None:
    """It stops nobody; when another one comes and passes, it is."""
    outbox = MemoryOutbox()
    outbox.put(*numbered(1, 1))
    async with FakeBroker() as broker:
        broker.verdict = lambda one: "close" if one.payload == b"0" else 0
        async with running(options(broker.url), outbox) as session:
            await until(lambda: session.counts.connects >= 10)
            assert not session.counts.dropped
            outbox.put(*numbered(3, 1, start=1))
            await until(lambda: not outbox.items)
            assert session.counts.dropped == {"poison": 1}


# Two of the same name


@both
async def test_two_clients_of_one_identifier_do_not_ping_pong(
    mosquitto: Mosquitto, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    """They are told, counted, and slow down; every message of both arrives."""
    ours, theirs = MemoryOutbox(), MemoryOutbox()
    given = options(mosquitto.url, version=version, backoff_first=0.05, backoff_most=1.0)
    async with running(given, ours) as first, running(given, theirs, wait=False) as second:
        await until(lambda: first.counts.takeovers and second.counts.takeovers)
        ours.put(*(Message("ours", b"%d" % number, 2) for number in range(500)))
        theirs.put(*(Message("theirs", b"%d" % number, 2) for number in range(500)))
        await until(lambda: not ours.items and not theirs.items)
        for session in (first, second):
            assert session.counts.connects < 100, "at full speed it would be thousands"
    assert "another client may use the identifier 'evcore-test'" in caplog.text, (
        "Mosquitto ends the connection silently"
    )


async def test_after_a_take_over_nothing_is_lost_or_mixed_up(caplog: pytest.LogCaptureFixture) -> None:
    """A strict broker, and two spools under one identifier. Each leaves packet identifiers of QoS 2 open at the broker:
    who goes on with the session of the other one loses the messages that have them.
    """
    ours, theirs = MemoryOutbox(), MemoryOutbox()
    async with FakeBroker() as broker:
        broker.verdict = lambda _: "mute"
        given = options(broker.url, backoff_first=0.3, backoff_most=0.4)
        async with running(given, ours, flush=0) as first:
            ours.put(*(Message("ours", b"a%d" % number, 2) for number in range(10)))
            await until(lambda: len(broker.delivered) == 10)
            async with running(options(broker.url, backoff_first=60.0), theirs, flush=0):
                await until(lambda: first.counts.takeovers == 1)
                assert "another client with the identifier 'evcore-test' has taken the session over" in caplog.text
                theirs.put(*(Message("theirs", b"b%d" % number, 2) for number in range(20)))
                await until(
                    lambda: (
                        {one for one in broker.delivered if one[:1] == b"b"}
                        == {m.message.payload for m in theirs.items.values()}
                    )
                )
            assert len(theirs.items) == 20
            broker.verdict = lambda _: 0
            ours.put(*(Message("ours", b"a%d" % number, 2) for number in range(10, 20)))
            await until(lambda: not ours.items)
        assert {b"a%d" % number for number in range(20)} <= set(broker.delivered)
        async with running(given, theirs):
            await until(lambda: not theirs.items)


async def test_the_back_off_grows_until_a_connection_was_stable(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []

    class Recorder:
        def uniform(self, low: float, high: float) -> float:
            drawn.append(high)
            return low

        def shuffle(self, _: Any) -> None: ...

    async with FakeBroker() as broker:
        given = options(broker.url, backoff_first=1.0, backoff_most=8.0, stable_after=0.3, shuffle=True)
        session = Session(given, MemoryOutbox(), rng=Recorder())  # type: ignore[arg-type]
        task = asyncio.create_task(session.run())
        for turn in range(6):
            await until(lambda turn=turn: session.counts.connects == turn + 1)
            if turn == 4:
                await asyncio.sleep(0.4)
            broker.cut()
            await until(lambda turn=turn: len(drawn) == turn + 1)
        await session.stop(0)
        await task
    assert drawn[:6] == [1.0, 2.0, 4.0, 8.0, 1.0, 2.0]


@both
async def test_a_session_starts_clean_where_it_is_not_known_to_be_ours(version: str) -> None:
    """Once with a new spool and with a new identifier; what the spool has noted is enough for the next process."""
    outbox = MemoryOutbox()
    async with FakeBroker() as broker:
        given = options(broker.url, version=version)
        for identifier, clean in (("a", [True, False]), ("a", [False]), ("b", [True, False]), ("b", [False])):
            broker.hellos.clear()
            async with running(replace(given, identifier=identifier), outbox):
                assert [hello.clean for hello in broker.hellos] == clean
        outbox.facts.clear()
        broker.hellos.clear()
        async with running(replace(given, identifier="b"), outbox):
            assert [hello.clean for hello in broker.hellos] == [True, False]
        for note in ("", "[]", "{}", '{"identifier": "b"}', '{"identifier": "b", "here": 1, "stale": []}'):
            outbox.facts = dict.fromkeys(outbox.facts, note)
            broker.hellos.clear()
            async with running(replace(given, identifier="b"), outbox):
                assert [hello.clean for hello in broker.hellos] == [True, False]


async def test_a_session_left_at_another_address_is_not_taken_up_again() -> None:
    """Two brokers that are no cluster. The first one still holds identifiers of ours when we come back, long after."""
    outbox = MemoryOutbox()
    async with FakeBroker() as first, FakeBroker() as second:
        given = options(first.url, second.url)
        async with running(given, outbox, flush=0) as session:
            first.mute_pubcomp = True
            outbox.put(*numbered(3, 2))
            await until(lambda: len(first.publishes) == 3)
            first.sessions["evcore-test"].held.update({5, 6})  # as if PUBREL had never arrived
            first.mute_pubcomp = False
            first.cut()
            await until(lambda: not outbox.items and session.state.address == second.url)
            second.cut()
            await until(lambda: session.state.address == first.url)
            outbox.put(*numbered(10, 2, start=3))
            await until(lambda: not outbox.items)
    assert set(map(int, first.delivered + second.delivered)) == set(range(13))


def test_options_that_make_no_sense() -> None:
    for wrong in (
        {"version": "4"},
        {"identifier": ""},
        {"identifier": "a\0"},
        {"keepalive": 0},
        {"window": 0},
        {"window": 60_001},
        {"receive_maximum": 0},
        {"backoff_first": 0.0},
        {"connect_timeout": float("inf")},
        {"will": Message("a/#", b"")},
        {"birth": Message("a", b"", expiry=1 << 40)},
        {"farewell": Message("", b"")},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            options("mqtt://h", **wrong)
    with pytest.raises(ValueError, match="address"):
        options()
