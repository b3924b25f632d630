"""A small broker that writes everything down and does what a test tells it: MQTT 3.1.1 and 5, as strict as the
standard.

Strict: a PUBLISH of QoS 2 under a packet identifier it still holds is a repetition, whatever it carries (§4.3.3), so a
client that mixes identifiers up loses messages here. It keeps sessions, and none of its words depend on our code.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Self

from tests.mqtt.brokers import free_port

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 1, 2, 3, 4, 5, 6, 7
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 8, 9, 10, 11, 12, 13, 14

#: What is answered to a PUBLISH: a reason code; nothing; the end of the connection. "mute" and "cut" as the last two,
#: but the message was taken.
Verdict = int | Literal["silence", "close", "mute", "cut"]


@dataclass(frozen=True, slots=True)
class Publish:
    topic: str
    payload: bytes
    qos: int
    dup: bool
    retain: bool
    mid: int
    #: Which connection it came over, from 1.
    connection: int
    properties: bytes = b""


@dataclass(slots=True)
class Hello:
    """A CONNECT."""

    identifier: str
    five: bool
    clean: bool
    keepalive: int
    username: str | None
    password: bytes | None
    will: tuple[str, bytes, int, bool] | None
    properties: bytes


@dataclass(slots=True)
class Kept:
    """A session: identifiers of QoS 2 that wait for PUBREL, and subscriptions."""

    held: set[int] = field(default_factory=set)
    subscriptions: dict[str, int] = field(default_factory=dict)


def _variable(size: int) -> bytes:
    found = bytearray()
    while True:
        size, low = divmod(size, 128)
        found.append(low | (0x80 if size else 0))
        if not size:
            return bytes(found)


def packet(kind: int, body: bytes = b"", flags: int = 0) -> bytes:
    return bytes([kind << 4 | flags]) + _variable(len(body)) + body


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("!H", len(data)) + data


class _Body:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, size: int) -> bytes:
        assert len(self.data) >= size, "the client's packet is too short"
        found, self.data = self.data[:size], self.data[size:]
        return found

    def byte(self) -> int:
        return self.take(1)[0]

    def int16(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def binary(self) -> bytes:
        return self.take(self.int16())

    def variable(self) -> int:
        found = shift = 0
        while True:
            byte = self.byte()
            found |= (byte & 127) << shift
            if byte < 128:
                return found
            shift += 7


class FakeBroker:
    """`publishes`: every PUBLISH, repetitions too. `delivered`: what subscribers would get. `acks`: (kind, mid, code)
    of what the client acknowledged. `log`: kinds and packet identifiers in the order in which they came.
    """

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.hellos: list[Hello] = []
        self.publishes: list[Publish] = []
        self.delivered: list[bytes] = []
        self.acks: list[tuple[int, int, int]] = []
        self.log: list[tuple[int, int]] = []
        self.subscribed: list[tuple[str, int]] = []
        self.unsubscribed: list[str] = []
        self.sessions: dict[str, Kept] = {}
        self.faults: list[str] = []
        self.accepted = 0
        self.goodbyes = 0
        #: Most messages in flight at once.
        self.in_flight_most = 0
        # What it is told to do.
        self.verdict: Callable[[Publish], Verdict] = lambda _: 0
        self.connack = 0
        self.connack_properties = b""
        self.suback: Callable[[str, int], int] = lambda _, qos: qos
        self.silent = False
        self.mute_pubcomp = False
        self.cut_at_pubrel: Callable[[], bool] = lambda: False
        self.mute_suback = False
        self.suback_mid = 0
        self.answer_pings = True
        self.hello: Callable[[Hello], bytes | None] = lambda _: None
        self._writers: dict[asyncio.StreamWriter, str] = {}
        self._in_flight: dict[asyncio.StreamWriter, set[int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        return len(self._writers)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._enter, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self) -> None:
        """Ends all connections."""
        for writer in list(self._writers):
            writer.transport.abort()

    def write(self, data: bytes) -> None:
        """To everybody who is connected."""
        for writer in self._writers:
            writer.write(data)

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 0, mid: int = 0, dup: bool = False, five: bool = True
    ) -> None:
        body = text(topic) + (struct.pack("!H", mid) if qos else b"") + (b"\0" if five else b"") + payload
        self.write(packet(PUBLISH, body, qos << 1 | dup << 3))

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        number = self.accepted
        self._writers[writer] = ""
        self._in_flight[writer] = set()
        try:
            await self._converse(reader, writer, number)
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass
        except AssertionError as error:
            self.faults.append(str(error))
        finally:
            self._writers.pop(writer, None)
            self._in_flight.pop(writer, None)
            self._tasks.discard(task)
            writer.transport.abort()

    async def _packet(self, reader: asyncio.StreamReader) -> tuple[int, int, _Body]:
        first = (await reader.readexactly(1))[0]
        size = shift = 0
        while True:
            byte = (await reader.readexactly(1))[0]
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        return first >> 4, first & 15, _Body(await reader.readexactly(size))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        if self.silent:
            await reader.read()
            return
        kind, _, body = await self._packet(reader)
        assert kind == CONNECT, "the first packet is no CONNECT"
        hello = self._hello(body)
        self.hellos.append(hello)
        raw = self.hello(hello)
        if raw is not None:
            writer.write(raw)
            await writer.drain()
            return
        present = self._session(hello, writer)
        kept = self.sessions[hello.identifier]
        answer = bytes([present and not self.connack, self.connack])
        if hello.five:
            answer += _variable(len(self.connack_properties)) + self.connack_properties
        writer.write(packet(CONNACK, answer))
        if self.connack:
            await writer.drain()
            return
        try:
            while True:
                kind, flags, body = await self._packet(reader)
                if not await self._handle(kind, flags, body, hello, kept, writer, number):
                    return
        finally:
            # Session Expiry Interval 0 or none, Clean Session of 3.1.1: it ends with the connection.
            expiry = hello.properties.find(b"\x11")
            ends = (
                hello.clean if not hello.five else expiry < 0 or hello.properties[expiry + 1 : expiry + 5] == bytes(4)
            )
            if ends and self.sessions.get(hello.identifier) is kept:
                del self.sessions[hello.identifier]

    def _hello(self, body: _Body) -> Hello:
        assert body.binary() == b"MQTT", "the protocol's name"
        level, flags = body.byte(), body.byte()
        assert level in (4, 5), f"protocol level {level}"
        five = level == 5
        keepalive = body.int16()
        properties = body.take(body.variable()) if five else b""
        identifier = body.binary().decode()
        will = None
        if flags & 4:
            if five:
                body.take(body.variable())
            will = (body.binary().decode(), body.binary(), flags >> 3 & 3, bool(flags & 0x20))
        username = body.binary().decode() if flags & 0x80 else None
        password = body.binary() if flags & 0x40 else None
        return Hello(identifier, five, bool(flags & 2), keepalive, username, password, will, properties)

    def _session(self, hello: Hello, writer: asyncio.StreamWriter) -> bool:
        """Makes room for the new connection; whether its session was there."""
        for other, name in list(self._writers.items()):
            if name == hello.identifier:
                if hello.five:
                    other.write(packet(DISCONNECT, b"\x8e\0"))
                self._writers.pop(other)
                other.close()
        self._writers[writer] = hello.identifier
        present = hello.identifier in self.sessions and not hello.clean
        if not present:
            self.sessions[hello.identifier] = Kept()
        return present

    async def _handle(
        self, kind: int, flags: int, body: _Body, hello: Hello, kept: Kept, writer: asyncio.StreamWriter, number: int
    ) -> bool:
        if kind == PUBLISH:
            return self._published(flags, body, hello, kept, writer, number)
        if kind in (PUBACK, PUBREC, PUBREL, PUBCOMP):
            mid = body.int16()
            self.log.append((kind, mid))
            code = body.byte() if body.data else 0
            if kind == PUBREL:
                assert flags == 2, "the flags of PUBREL"
                known = mid in kept.held
                kept.held.discard(mid)
                self._in_flight[writer].discard(mid)
                if self.cut_at_pubrel():
                    writer.transport.abort()
                    return False
                if not self.mute_pubcomp:
                    writer.write(
                        packet(PUBCOMP, struct.pack("!H", mid) + (b"\x92\0" if hello.five and not known else b""))
                    )
            else:
                self.acks.append((kind, mid, code))
                if kind == PUBREC:
                    writer.write(packet(PUBREL, struct.pack("!H", mid), 2))
        elif kind in (SUBSCRIBE, UNSUBSCRIBE):
            assert flags == 2, "the flags of SUBSCRIBE"
            mid = body.int16()
            assert mid > 60_000, "SUBSCRIBE under an identifier of the outbox"
            if hello.five:
                body.take(body.variable())
            codes = b""
            while body.data:
                name = body.binary().decode()
                if kind == SUBSCRIBE:
                    options = body.byte()
                    self.subscribed.append((name, options))
                    kept.subscriptions[name] = options
                    codes += bytes([self.suback(name, options & 3)])
                else:
                    self.unsubscribed.append(name)
                    kept.subscriptions.pop(name, None)
                    codes += b"\0"
            answer = struct.pack("!H", mid) + (b"\0" if hello.five else b"")
            if kind == SUBSCRIBE or hello.five:
                answer += codes
            self.suback_mid = mid
            if not self.mute_suback:
                writer.write(packet(kind + 1, answer))
        elif kind == PINGREQ:
            if self.answer_pings:
                writer.write(packet(PINGRESP))
        elif kind == DISCONNECT:
            self.goodbyes += 1
            return False
        else:
            raise AssertionError(f"a packet of kind {kind}")
        with contextlib.suppress(OSError):
            await writer.drain()
        return True

    def _published(
        self, flags: int, body: _Body, hello: Hello, kept: Kept, writer: asyncio.StreamWriter, number: int
    ) -> bool:
        qos = flags >> 1 & 3
        topic = body.binary().decode()
        mid = body.int16() if qos else 0
        properties = body.take(body.variable()) if hello.five else b""
        found = Publish(topic, body.data, qos, bool(flags & 8), bool(flags & 1), mid, number, properties)
        self.publishes.append(found)
        self.log.append((PUBLISH, mid))
        if not qos:
            assert not found.dup, "DUP at QoS 0"
            self.delivered.append(found.payload)
            return True
        flying = self._in_flight[writer]
        assert mid not in flying, f"the packet identifier {mid} is in use"
        flying.add(mid)
        self.in_flight_most = max(self.in_flight_most, len(flying))
        told = verdict = self.verdict(found)
        if verdict == "close":
            writer.transport.abort()
            return False
        if verdict == "silence":
            return True
        dumb = isinstance(verdict, str)
        verdict = 0 if isinstance(verdict, str) else verdict
        code = bytes([verdict, 0]) if verdict and hello.five else b""
        if verdict < 0x80 and (qos == 1 or mid not in kept.held):
            self.delivered.append(found.payload)
        if qos == 2 and verdict < 0x80:
            kept.held.add(mid)
        else:
            flying.discard(mid)
        if dumb:
            if told == "cut":
                writer.transport.abort()
            return told == "mute"
        writer.write(packet(PUBACK if qos == 1 else PUBREC, struct.pack("!H", mid) + code))
        return True
