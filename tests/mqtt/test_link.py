"""What the link takes for granted of aiomqtt and paho, name by name, and what it makes of them: batches, both kinds of
event loop, nothing left behind.

The two libraries may change what is not public in any release. When one of the first tests fails, link.py has to be
read again; the others say what it must still do.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import re
import socket
import struct
import threading
import time
import warnings
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
import pytest
import uvloop
from paho.mqtt.enums import MQTTErrorCode

from evcore.mqtt.broker import link as module
from evcore.mqtt.broker.address import Address
from evcore.mqtt.broker.dial import Dialer, LinkError
from evcore.mqtt.broker.link import Granted, Link
from evcore.mqtt.broker.options import TlsOptions
from evcore.mqtt.broker.packet import Splitter, publish
from evcore.mqtt.broker.session import Session
from evcore.mqtt.message import Message, Received
from tests.mqtt.brokers import Mosquitto
from tests.mqtt.door import WebSocketDoor
from tests.mqtt.fake_broker import FakeBroker
from tests.mqtt.memory_outbox import MemoryOutbox
from tests.mqtt.sessions import options, running, until
from tests.mqtt.test_session import numbered

#: Every name behind an underscore that link.py uses of other people's objects.
PAHO = {"_create_socket", "_in_packet", "_mid_generate", "_packet_handle", "_sock_close"}
AIOMQTT = {"_client", "_client_connect"}


class Nobody:
    """Events that nobody hears."""

    def __init__(self) -> None:
        self.got: list[Received] = []

    def acknowledged(self, mid: int, code: int) -> None: ...
    def recorded(self, mid: int, code: int) -> None: ...
    def completed(self, mid: int, code: int) -> None: ...
    def received(self, message: Received) -> None:
        self.got.append(message)

    def passed_over(self, size: int) -> None: ...
    def settled(self) -> None: ...


async def client_of_aiomqtt() -> aiomqtt.Client:
    return aiomqtt.Client("h", identifier="i", logger=logging.getLogger("test"))


# What is taken for granted


def test_the_list_of_private_names_is_complete() -> None:
    source = Path(inspect.getsourcefile(module) or "").read_text("utf-8")
    found = {
        name
        for owner in ("paho", "self._paho", "client", "self._client", "rest")
        for name in re.findall(rf"(?<![\w.]){re.escape(owner)}\.(_[a-z]\w*)", source)
    }
    assert found == PAHO | AIOMQTT


async def test_the_private_names_are_there_and_are_what_they_were() -> None:
    one = await client_of_aiomqtt()
    assert isinstance(one._client, paho.Client)
    assert not inspect.iscoroutinefunction(one._client_connect)
    assert inspect.signature(one._client_connect).parameters == {}
    arguments = {
        "_create_socket": [],
        "_mid_generate": [],
        "_packet_handle": [],
        "_sock_close": [],
    }
    for name, expected in arguments.items():
        assert list(inspect.signature(getattr(one._client, name)).parameters) == expected, name
    assert set(one._client._in_packet) >= {"command", "packet", "remaining_length", "pos"}


class Tape:
    """What a link gives paho for a socket, reduced to that."""

    def __init__(self) -> None:
        self.sent = b""
        self.closed = False

    def send(self, data: bytes) -> int:
        self.sent += data
        return len(data)

    def recv(self, _size: int) -> bytes:
        raise AssertionError("paho is not to read")

    def close(self) -> None:
        self.closed = True

    def fileno(self) -> int:
        return -1

    def setblocking(self, _flag: bool) -> None: ...


def on_tape(one: aiomqtt.Client) -> tuple[paho.Client, Tape]:
    """paho, prepared as the link does."""
    tape, client = Tape(), one._client
    client.on_socket_open = client.on_socket_close = None
    client.on_socket_register_write = client.on_socket_unregister_write = None
    client._create_socket = lambda: tape  # type: ignore[method-assign,assignment,return-value]
    client._mid_generate = lambda: 60_001  # type: ignore[method-assign]
    return client, tape


def put(client: paho.Client, header: int, body: bytes) -> MQTTErrorCode:
    rest = client._in_packet
    rest["command"], rest["packet"] = header, bytearray(body)
    rest["remaining_length"], rest["pos"] = len(body), 0
    return client._packet_handle()


@pytest.mark.parametrize("version", [5, 4])
async def test_paho_writes_at_once_and_handles_what_is_put_before_it(version: int) -> None:
    """A method or a field that is replaced on the object must be the one that paho itself uses."""
    five, told = version == 5, list[Any]()
    one = aiomqtt.Client("h", identifier="i", protocol=aiomqtt.ProtocolVersion(version), logger=logging.getLogger("t"))
    client, tape = on_tape(one)
    client.on_connect = lambda *given: told.append(("connect", given[2].session_present, given[3].value))
    client.on_subscribe = lambda *given: told.append(("subscribe", given[2], [one.value for one in given[3]]))
    client.on_disconnect = lambda *given: told.append(("disconnect", given[3].value))
    one._client_connect()
    assert tape.sent[:1] == b"\x10" and not client.want_write()
    assert put(client, 0x20, b"\1\0" + b"\0" * five) == MQTTErrorCode.MQTT_ERR_SUCCESS
    assert client.subscribe("a") == (MQTTErrorCode.MQTT_ERR_SUCCESS, 60_001)
    assert b"\xea\x61" in tape.sent
    assert put(client, 0x90, b"\xea\x61" + b"\0" * five + b"\x80") == MQTTErrorCode.MQTT_ERR_SUCCESS
    assert put(client, 0xD0, b"") == MQTTErrorCode.MQTT_ERR_SUCCESS
    assert client.disconnect() == MQTTErrorCode.MQTT_ERR_SUCCESS
    assert tape.sent[-2:-1] == b"\xe0" and tape.closed and client.socket() is None
    assert told == [("connect", True, 0), ("subscribe", 60_001, [0x80]), ("disconnect", 0)]
    client._sock_close()


async def test_paho_ends_a_connection_whose_pings_are_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(paho, "time_func", lambda: now[0])
    client, tape = on_tape(await client_of_aiomqtt())
    client.on_connect = client.on_disconnect = None
    client.connect("h", keepalive=10)
    put(client, 0x20, b"\0\0")
    now[0] += 10
    assert client.loop_misc() == MQTTErrorCode.MQTT_ERR_SUCCESS and tape.sent[-2:] == b"\xc0\0"
    now[0] += 10
    assert client.loop_misc() != MQTTErrorCode.MQTT_ERR_SUCCESS and tape.closed


async def test_the_callbacks_can_be_wrapped() -> None:
    one = (await client_of_aiomqtt())._client
    assert callable(one.on_connect) and callable(one.on_disconnect)
    names = list(inspect.signature(one.on_connect).parameters)
    assert names == ["client", "userdata", "flags", "reason_code", "properties"]


def test_the_connection_is_waited_for_in_the_way_that_is_relied_on() -> None:
    """`__aenter__` calls `_client_connect` in a thread and then waits for CONNACK; `__aexit__` sends DISCONNECT."""
    enter = inspect.getsource(aiomqtt.Client.__aenter__)
    assert enter.index("self._client_connect") < enter.index("self._connected")
    assert "self._client.disconnect()" in inspect.getsource(aiomqtt.Client.__aexit__)


# What is made of it


def on_a_loop(run: Callable[[], Coroutine[Any, Any, None]], kind: str) -> None:
    """With everything an event loop complains about as a failure."""
    complaints: list[Any] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        await run()
        gc.collect()
        await asyncio.sleep(0)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with asyncio.Runner(
            debug=kind == "debug", loop_factory=uvloop.new_event_loop if kind == "uvloop" else None
        ) as runner:
            runner.run(watched())
    assert not complaints


@pytest.mark.parametrize("kind", ["asyncio", "debug", "uvloop"])
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_on_every_loop_nothing_is_left_behind(mosquitto: Mosquitto, kind: str, version: str) -> None:
    """Messages in both directions, telemetry, lost connections, a stop; over TCP and over WebSocket."""

    async def run() -> None:
        got: list[bytes] = []

        def take(message: Received) -> None:
            got.append(message.payload)
            message.ack()

        outbox = MemoryOutbox()
        async with WebSocketDoor(mosquitto.port) as door:
            for url in (mosquitto.url, door.url):
                given = options(url, version=version, identifier=f"i-{url[:2]}")
                async with running(given, outbox, received=take, filters=("n",)) as session:
                    outbox.put(*numbered(150, 1))
                    assert session.send(Message("n", b"t"))
                    await until(lambda: not outbox.items)
                    mosquitto.restart()
                    outbox.put(*numbered(50, 2, start=150))
                    await until(lambda: session.counts.connects == 2 and not outbox.items)
                    await until(lambda: {b"%d" % number for number in range(200)} <= set(got))
                got.clear()

    before = {thread.name for thread in threading.enumerate()}
    on_a_loop(run, kind)
    assert {thread.name for thread in threading.enumerate()} <= before


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_a_connection_that_is_reset_before_connect_is_sent(kind: str) -> None:
    """The first write fails, and neither kind of loop may complain or keep it to itself."""

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            address = Address.parse(f"mqtt://127.0.0.1:{server.getsockname()[1]}")
            loop = asyncio.get_running_loop()
            for _ in range(20):
                link = Link(options(str(address), connect_timeout=2.0), address, Nobody())

                class Resetting(Dialer):
                    async def dial(self, address: Address, timeout: float) -> Any:
                        line = await super().dial(address, timeout)
                        other, _ = await loop.sock_accept(server)
                        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        other.close()
                        time.sleep(0.002)  # noqa: ASYNC251 - the loop is not to see it first
                        return line

                with pytest.raises(LinkError, match="instead of answering CONNECT"):
                    await link.open(Resetting(TlsOptions()), None)

    on_a_loop(run, kind)


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_attempts_that_fail_leave_nothing_behind(kind: str) -> None:
    async def run() -> None:
        async with FakeBroker() as broker:
            for connack, silent in ((0x87, False), (0, True)):
                broker.connack, broker.silent = connack, silent
                dialer = Dialer(TlsOptions())
                for _ in range(3):
                    link = Link(options(broker.url, connect_timeout=0.1), Address.parse(broker.url), Nobody())
                    with pytest.raises(LinkError):
                        await link.open(dialer, None)
                    assert link.ended.done()
            broker.silent = True
            link = Link(options(broker.url), Address.parse(broker.url), Nobody())
            opening = asyncio.create_task(link.open(Dialer(TlsOptions()), None))
            await until(lambda: broker.accepted == 7)
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            await until(lambda: not broker.connections)

    on_a_loop(run, kind)


async def test_what_the_broker_grants() -> None:
    async with FakeBroker() as broker:
        for properties, expected in (
            (b"", Granted(False)),
            (b"\x21\0\x07\x27\0\0\x10\0\x24\1\x25\0", Granted(False, 7, 4096, 1, False)),
        ):
            broker.connack_properties = properties
            link = Link(options(broker.url), Address.parse(broker.url), Nobody(), clean=True)
            assert await link.open(Dialer(TlsOptions()), None) == expected
            await link.leave(1)
        await until(lambda: broker.goodbyes == 2)


async def test_packets_go_out_together_and_whole_whatever_the_socket_takes() -> None:
    """A broker that reads late: everything waits in one place, is counted, and arrives in order."""
    events = Nobody()
    async with FakeBroker() as broker:
        link = Link(options(broker.url), Address.parse(broker.url), events)
        await link.open(Dialer(TlsOptions()), None)
        big = publish(Message("n", bytes(100_000)), qos=0, retain=False, five=True)
        small = publish(Message("n", b"x"), qos=0, retain=False, five=True)
        for _ in range(300):
            link.write(big)
            link.write(small)
        assert link.behind == 300 * (len(big) + len(small))
        await link.leave(20)
        await until(lambda: broker.goodbyes)
    assert [len(one.payload) for one in broker.publishes] == [100_000, 1] * 300
    assert link.behind == 0


async def test_one_read_is_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of acknowledgements come in few reads, and what they make room for goes out in as few."""
    reads: list[int] = []
    feed = Splitter.feed

    def counted(self: Splitter, data: bytes) -> Any:
        reads.append(len(data))
        return feed(self, data)

    monkeypatch.setattr(Splitter, "feed", counted)
    outbox = MemoryOutbox()
    outbox.put(*numbered(2000, 1))
    async with FakeBroker() as broker, running(options(broker.url, window=500), outbox):
        await until(lambda: not outbox.items)
    assert len(reads) < 400, "paho reads byte by byte"


async def test_aiomqtt_and_paho_keep_quiet(caplog: pytest.LogCaptureFixture, mosquitto: Mosquitto) -> None:
    caplog.set_level(logging.DEBUG)
    outbox = MemoryOutbox()
    async with running(options(mosquitto.url, username="u", password="geheim"), outbox) as session:
        outbox.put(*numbered(30, 1))
        await until(lambda: not outbox.items)
        mosquitto.kill()
        await until(lambda: not session.state.connected)
    assert {record.name for record in caplog.records if record.name != "asyncio"} == {"evcore.mqtt"}
    assert "geheim" not in caplog.text


async def test_a_session_holds_no_more_after_many_connections() -> None:
    """Each connection is new objects; none of them stays."""
    async with FakeBroker() as broker:
        given = options(broker.url, backoff_first=0.001, backoff_most=0.001, early_ends=0)
        async with running(given, MemoryOutbox()) as session:
            for turn in range(12):
                await until(lambda turn=turn: session.counts.connects > turn)
                broker.cut()
            await until(lambda: session.counts.connects > 12)
            gc.collect()
            alive = [one for one in gc.get_objects() if isinstance(one, (Link, paho.Client, aiomqtt.Client))]
            assert len(alive) <= 9, alive
        assert isinstance(session, Session)
