"""One connection to a broker, from CONNECT to its end. The only file that knows aiomqtt and paho.

In: settings, a broker's address, packets to send. Out: what the broker granted, packets of the data path as they
come, how it ended. Refused: a broker that says no or breaks the rules, with LinkError or an `End` of one sentence.

aiomqtt connects (over the connection that `dial` made, so that nothing blocks), subscribes and disconnects; paho
keeps the connection alive. PUBLISH and its acknowledgements go past both: they read a socket byte by byte, forget
what was in flight with the process, answer PUBREC before anything is durable, and take PUBACK's reason for success.
What comes is cut into packets here, and those that are not of the data path are put before paho;
tests/mqtt/test_link.py says which private names count.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import ssl
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, ConnectFlags, DisconnectFlags
from paho.mqtt.client import Client as Paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from evcore.mqtt.broker import packet
from evcore.mqtt.broker.address import Address
from evcore.mqtt.broker.dial import Dialer, Line, LinkError, tls_sentence
from evcore.mqtt.broker.options import WINDOW_MOST, SessionOptions
from evcore.mqtt.broker.websocket import WebSocketError
from evcore.mqtt.message import Received

__all__ = ["End", "Events", "Granted", "Link", "LinkError"]

log = logging.getLogger("evcore.mqtt")

#: What the libraries would say, tracebacks among it; every one of these events is told by us in a sentence.
_quiet = logging.getLogger("evcore.mqtt.client")
_quiet.setLevel(logging.CRITICAL + 1)

#: Bytes waiting for the socket above which nothing more is answered: who asks without reading gets no memory of ours.
_ANSWERS: Final = 64 * 1024 * 1024
#: Seconds between looks at the connection.
_TICK: Final = 1.0
_SUCCESS: Final = MQTTErrorCode.MQTT_ERR_SUCCESS

#: Reason codes of CONNACK (MQTT 5.0 §3.2.2.2; those of 3.1.1 are translated). {0} is the identifier.
_REFUSALS: Final = {
    0x81: "the broker could not read our CONNECT",
    0x82: "the broker calls our CONNECT a protocol error",
    0x85: "the broker does not take the client identifier {0!r}",
    0x86: "the broker does not take this user name or password",
    0x87: "the broker does not let us in: the user name, the password or the rights are wrong",
    0x88: "the broker is not available",
    0x89: "the broker is busy",
    0x8A: "the broker has banned us",
    0x8C: "the broker wants another method of authentication",
    0x90: "the broker does not take the topic of our will",
    0x95: "our CONNECT is too large for the broker",
    0x97: "the broker has no room for us: a quota is exceeded",
    0x99: "the broker does not take the content of our will",
    0x9A: "the broker keeps no retained messages, and our will is one",
    0x9B: "the broker does not offer the QoS of our will",
    0x9C: "the broker sends us to another server",
    0x9D: "the broker has moved to another server",
    0x9F: "the broker finds that we connect too often",
}
#: Reason codes of DISCONNECT (MQTT 5.0 §3.14.2.1).
_GOODBYES: Final = {
    0x00: "the broker ended the connection",
    0x81: "the broker could not read what we sent",
    0x82: "the broker calls what we sent a protocol error",
    0x87: "the broker says that we are not authorised",
    0x89: "the broker is busy and ended the connection",
    0x8B: "the broker is shutting down",
    0x8D: "the broker has not heard of us for too long",
    0x8E: "another client with the identifier {0!r} has taken the session over",
    0x93: "the broker got more messages than its Receive Maximum",
    0x95: "the broker got a packet that is too large for it",
    0x96: "the broker finds that we send too fast",
    0x97: "a quota of the broker is exceeded",
    0x98: "the broker's administrator ended the connection",
    0x9A: "the broker keeps no retained messages",
    0x9B: "the broker does not offer the QoS of a message",
    0x9C: "the broker sends us to another server",
    0x9D: "the broker has moved to another server",
    0xA0: "the broker ends connections that are so old",
}
_KEEPALIVE: Final = 0x8D
_CONNACK: Final = 0x20
_DISCONNECT: Final = 0xE0
#: Packets of the data path, by the upper half of their first byte.
_OURS: Final = frozenset(
    kind & 0xF0 for kind in (packet.PUBLISH, packet.PUBACK, packet.PUBREC, packet.PUBREL, packet.PUBCOMP)
)


class End(NamedTuple):
    """How a connection ended. `broker`: the other side did it (closed, reset, DISCONNECT); `code` of its DISCONNECT."""

    sentence: str
    broker: bool = False
    code: int | None = None


class Granted(NamedTuple):
    """What CONNACK said (MQTT 5.0 §3.2.2.3); 3.1.1 says the first only."""

    session_present: bool
    receive_maximum: int = 65_535
    packet_most: int = 268_435_460
    qos_most: int = 2
    retain: bool = True


class Events(Protocol):
    """Whom a link tells what comes. All of it is called from the loop and raises nothing."""

    def acknowledged(self, mid: int, code: int) -> None:
        """PUBACK."""

    def recorded(self, mid: int, code: int) -> None:
        """PUBREC."""

    def completed(self, mid: int, code: int) -> None:
        """PUBCOMP."""

    def received(self, message: Received) -> None:
        """PUBLISH."""

    def passed_over(self, size: int) -> None:
        """A PUBLISH of more than `receive_bytes`: `size` bytes. It was acknowledged."""

    def settled(self) -> None:
        """What came in one go has been told."""


def _will(options: SessionOptions, *, five: bool) -> aiomqtt.Will | None:
    will = options.will
    if will is None:
        return None
    properties = None
    if five:
        properties = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
        fields: tuple[tuple[str, Any], ...] = (
            ("WillDelayInterval", options.will_delay or None),
            ("MessageExpiryInterval", will.expiry),
            ("ContentType", will.content_type),
            ("ResponseTopic", will.response_topic),
            ("CorrelationData", will.correlation),
            ("UserProperty", list(will.user) or None),
        )
        for name, value in fields:
            if value is not None:
                setattr(properties, name, value)
    return aiomqtt.Will(will.topic, will.payload, will.qos, will.retain, properties)


def _connect_properties(options: SessionOptions, *, clean: bool) -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 0 if clean else options.session_expiry
    properties.ReceiveMaximum = options.receive_maximum
    properties.MaximumPacketSize = options.receive_bytes
    return properties


class Link:
    """`clean`: the broker is to forget what it keeps of us, and to keep nothing of this connection."""

    def __init__(self, options: SessionOptions, address: Address, events: Events, *, clean: bool = False) -> None:
        self.address = address
        #: Done when the connection is over, with the reason.
        self.ended: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._options = options
        self._events = events
        self._clean = clean
        self._five = options.version == "5"
        self.loop = asyncio.get_running_loop()
        self._splitter = packet.Splitter(options.receive_bytes)
        self._client: aiomqtt.Client | None = None
        self._paho: Paho | None = None
        self._line: Line | None = None
        self._granted: Granted | None = None
        self._leaving = False
        self._keeper: asyncio.TimerHandle | None = None
        # Packets for the next batch, and their bytes.
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._flushing = False
        self.identifiers: Iterator[int] = itertools.cycle(range(WINDOW_MOST + 1, 65_536))

    async def open(self, dialer: Dialer, password: str | None) -> Granted:
        """Connects within `connect_timeout`. Raises LinkError, and leaves nothing open then or when cancelled."""
        options = self._options
        start = self.loop.time()
        line = await dialer.dial(self.address, options.connect_timeout)
        left = max(0.1, options.connect_timeout - (self.loop.time() - start))
        self._line = line
        entering = None
        try:
            client, paho = self._prepare(line, password)
            self._client, self._paho = client, paho
            client._client_connect()  # sends CONNECT; the connection is there, so that it does not block
            # What aiomqtt would do in a thread is done.
            client._client_connect = lambda: None  # type: ignore[method-assign]
            line.listen(self._take)
            line.lost.add_done_callback(self._lost)
            self._keeper = self.loop.call_later(_TICK, self._keep)
            entering = asyncio.ensure_future(client.__aenter__())
            first: set[asyncio.Future[Any]] = {entering, self.ended}
            await asyncio.wait(first, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if self.ended.done():
                raise LinkError(self.ended.result().sentence)
            if not entering.done() or self._granted is None:
                raise LinkError(f"the broker did not answer CONNECT within {options.connect_timeout:g} s")
            return self._granted
        except BaseException:
            if entering is not None:
                entering.cancel()
                await asyncio.wait({entering})
            self.close()
            raise

    def _prepare(self, line: Line, password: str | None) -> tuple[aiomqtt.Client, Paho]:
        options, five = self._options, self._five
        username = self.address.username if self.address.username is not None else options.username
        if username is None and password is not None:
            username = ""  # 3.1.1 has no password without a user name, and paho sends none
        try:
            client = aiomqtt.Client(
                self.address.host,
                self.address.port,
                username=username,
                password=password,
                identifier=options.identifier,
                protocol=aiomqtt.ProtocolVersion.V5 if five else aiomqtt.ProtocolVersion.V311,
                will=None if self._clean else _will(options, five=five),
                clean_session=None if five else self._clean,
                clean_start=self._clean if five else MQTT_CLEAN_START_FIRST_ONLY,
                properties=_connect_properties(options, clean=self._clean) if five else None,
                keepalive=options.keepalive,
                timeout=options.connect_timeout,
                logger=_quiet,
            )
        except ValueError as error:
            raise LinkError(f"CONNECT cannot be made: {error}") from None
        paho = client._client
        paho.disable_logger()
        paho.on_connect = partial(self._connected, paho.on_connect)
        paho.on_disconnect = partial(self._disconnected, paho.on_disconnect)
        # paho writes when it has something, and the line takes all of it.
        paho.on_socket_open = paho.on_socket_close = None
        paho.on_socket_register_write = paho.on_socket_unregister_write = None
        paho._create_socket = lambda: line  # type: ignore[method-assign]
        paho._mid_generate = self.identifiers.__next__  # type: ignore[method-assign]
        return client, paho

    # What paho tells

    def _connected(
        self,
        inner: Any,
        client: Paho,
        data: Any,
        flags: ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        code = reason.value
        if code:
            self._finish(End(self._refusal(code), broker=True, code=code))
            return

        def said(name: str, otherwise: int) -> int:
            found: int = getattr(properties, name, otherwise)
            return found

        plain = Granted(bool(flags.session_present))
        self._granted = Granted(
            plain.session_present,
            said("ReceiveMaximum", plain.receive_maximum),
            said("MaximumPacketSize", plain.packet_most),
            said("MaximumQoS", plain.qos_most),
            bool(said("RetainAvailable", 1)),
        )
        inner(client, data, flags, reason, properties)

    def _refusal(self, code: int) -> str:
        if code == 0x84:
            if self._five:
                return "the broker does not speak MQTT 5: set version 3.1.1"
            return "the broker does not speak MQTT 3.1.1: set version 5"
        sentence = _REFUSALS.get(code, f"the broker refuses the connection (reason code 0x{code:02X})")
        return sentence.format(self._options.identifier)

    def _disconnected(
        self, inner: Any, client: Paho, data: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Properties
    ) -> None:
        if self._leaving:
            inner(client, data, flags, reason, properties)
            self._finish(End("closed"))
        elif reason.value == _KEEPALIVE:
            self._finish(End(f"the broker has been silent for {client.keepalive} s"))
        else:
            self._finish(End("the connection was closed"))

    def _finish(self, end: End) -> None:
        if not self.ended.done():
            self.ended.set_result(end)

    # Reading

    def _keep(self) -> None:
        """Pings, and ends a connection whose pings are not answered."""
        if self._paho is not None and not self.ended.done():
            self._paho.loop_misc()
            self._keeper = self.loop.call_later(_TICK, self._keep)

    def _take(self, data: bytes) -> None:
        """What the broker sent."""
        paho = self._paho
        if paho is None or self.ended.done():
            return
        try:
            for found in self._splitter.feed(data):
                if isinstance(found, packet.Oversize):
                    self._passed_over(found)
                    continue
                header, body = found
                if not self._handled(header & 0xF0, header, body):
                    rest = paho._in_packet
                    rest["command"], rest["packet"] = header, bytearray(body)
                    rest["remaining_length"], rest["pos"] = len(body), 0
                    try:
                        code = paho._packet_handle()
                    except Exception as error:  # noqa: BLE001 - paho's releases differ in what they raise
                        raise packet.Malformed(f"packet {header >> 4}, {type(error).__name__}") from None
                    rest["command"] = 0
                    if code != _SUCCESS and not self.ended.done():
                        self.fail("the broker sent a packet out of place" if self._granted else self._unanswered())
                if self.ended.done():
                    return
        except packet.Malformed as error:
            self.fail(f"the broker sent what is no MQTT: {error}")
            return
        except Exception:
            log.exception("a packet of the broker could not be handled")
            self.fail("a packet of the broker could not be handled")
            return
        self._events.settled()

    def _unanswered(self) -> str:
        version = "5" if self._five else "3.1.1"
        return f"the broker ended the connection instead of answering CONNECT (does it speak MQTT {version}?)"

    def _lost(self, lost: asyncio.Future[Exception | None]) -> None:
        error = lost.result()
        if isinstance(error, ssl.SSLError):
            self._finish(End(tls_sentence(error)))
        elif isinstance(error, WebSocketError):
            self._finish(End(str(error)))
        elif self._granted is None:
            self._finish(End(self._unanswered(), broker=True))
        else:
            self._finish(End("the broker closed the connection", broker=True))

    def _handled(self, kind: int, header: int, body: bytes | bytearray) -> bool:
        """False: it is one of those that paho handles."""
        if (self._granted is None) != (kind == _CONNACK):
            raise packet.Malformed("a packet before CONNACK, or a second CONNACK")
        if kind == _DISCONNECT and self._five:
            code = body[0] if body else 0  # paho 2.1 overlooks it where no properties follow
            sentence = _GOODBYES.get(code, f"the broker ended the connection (reason code 0x{code:02X})")
            self._finish(End(sentence.format(self._options.identifier), broker=True, code=code))
            self.close()
            return True
        if kind not in _OURS:
            return False
        if kind == packet.PUBLISH:
            self._events.received(packet.received(header, body, five=self._five, acknowledge=self._acknowledger))
            return True
        mid, code = packet.acknowledgement(body, five=self._five)
        if kind == packet.PUBACK:
            self._events.acknowledged(mid, code)
        elif kind == packet.PUBREC:
            self._events.recorded(mid, code)
        elif kind == packet.PUBCOMP:
            self._events.completed(mid, code)
        else:
            # PUBREL. Nothing here subscribes at QoS 2, but a session from before may have.
            if self.behind > _ANSWERS:
                raise packet.Malformed("more than is read")
            self.write(packet.answer(packet.PUBCOMP, mid))
        return True

    def _acknowledger(self, qos: int, mid: int) -> Callable[[], None]:
        waiting = True

        def acknowledge() -> None:
            nonlocal waiting
            if waiting and not self.ended.done():
                waiting = False
                self.write(packet.answer(packet.PUBACK if qos == 1 else packet.PUBREC, mid))

        return acknowledge

    def _passed_over(self, found: packet.Oversize) -> None:
        mid = packet.publish_identifier(found.header, found.head)
        if mid:  # unacknowledged it would come again with every connection
            self._acknowledger(found.header >> 1 & 3, mid)()
        self._events.passed_over(found.size)

    # Writing

    @property
    def behind(self) -> int:
        """Bytes that the socket has not taken yet."""
        return self._out_bytes + (0 if self._line is None else self._line.waiting)

    def write(self, data: bytes) -> None:
        """A whole packet; goes out with the others of this turn of the loop."""
        self._out.append(data)
        self._out_bytes += len(data)
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._line is not None and self._out and not self.ended.done():
            self._line.send(b"".join(self._out))
        self._out.clear()
        self._out_bytes = 0

    # Subscriptions

    async def subscribe(self, filters: Sequence[tuple[str, int]]) -> list[int]:
        """The reason codes of SUBACK, one for each filter. Raises LinkError when none comes."""
        topics: Any = list(filters)
        if self._five:
            # Retained messages come with a new subscription only, not with each connection (MQTT 5.0 §3.8.3.1).
            topics = [(one, SubscribeOptions(qos=qos, retainHandling=1)) for one, qos in filters]
        assert self._client is not None
        try:
            return [_value(code) for code in await self._client.subscribe(topics)]
        except aiomqtt.MqttError:
            raise LinkError("the broker did not answer SUBSCRIBE") from None

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        """Raises LinkError when no UNSUBACK comes."""
        assert self._client is not None
        try:
            await self._client.unsubscribe(list(filters))
        except aiomqtt.MqttError:
            raise LinkError("the broker did not answer UNSUBSCRIBE") from None

    # The end

    async def leave(self, timeout: float) -> None:
        """Sends what waits, then DISCONNECT: the broker keeps its will to itself."""
        if self._client is None or self.ended.done():
            return
        self._flush()
        self._leaving = True
        with contextlib.suppress(TimeoutError, aiomqtt.MqttError):
            async with asyncio.timeout(timeout):
                await self._client.__aexit__(None, None, None)
                if self._line is not None:
                    await asyncio.shield(self._line.lost)  # what waits goes out before it ends
        self.close()

    def fail(self, sentence: str) -> None:
        """Ends it without a goodbye: the broker sends the will."""
        self._finish(End(sentence))
        self.close()

    def close(self) -> None:
        self._finish(End("closed"))
        if self._keeper is not None:
            self._keeper.cancel()
        if self._paho is not None:
            self._paho._sock_close()
        if self._line is not None:
            self._line.abort()


def _value(code: ReasonCode | int) -> int:
    return code if isinstance(code, int) else code.value
