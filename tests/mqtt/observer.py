"""A witness at the broker: a plain paho client in a thread of its own that writes down every PUBLISH it gets.

In: filters. Out: `Observer.seen`, in order of arrival, with the flags and properties of the packet. Also `publish` and
`fetch`, which connect, do one thing and leave.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

#: Seconds after which a broker that says nothing fails the test.
PATIENCE = 20.0

VERSIONS = {"3.1.1": MQTTProtocolVersion.MQTTv311, "5": MQTTProtocolVersion.MQTTv5}


class Where(Protocol):
    """What has a port of 127.0.0.1: a Mosquitto, a NatsNode, a Door."""

    @property
    def port(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """One PUBLISH. `properties`: those of MQTT 5, by paho's names (`ContentType`, `CorrelationData` as hex, ...)."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    mid: int
    properties: Mapping[str, Any] = field(default_factory=dict)

    def json(self) -> Any:
        return json.loads(self.payload)


@dataclass(frozen=True, slots=True)
class Login:
    """How a witness gets in: the version it speaks, its user, its TLS."""

    version: str = "5"
    username: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None


def _client(identifier: str, login: Login, *, clean: bool) -> Client:
    five = login.version == "5"
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=identifier,
        protocol=VERSIONS[login.version],
        clean_session=None if five else clean,
    )
    if login.username is not None:
        client.username_pw_set(login.username, login.password)
    if login.tls is not None:
        client.tls_set_context(login.tls)
    client.reconnect_delay_set(min_delay=0.05, max_delay=0.2)  # type: ignore[arg-type]
    client.max_inflight_messages_set(1000)
    return client


def _connect(client: Client, port: int, login: Login, *, clean: bool) -> None:
    """Begins to connect; the thread of the client goes on."""
    if login.version == "5":
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 0 if clean else 0xFFFF_FFFF
        client.connect("127.0.0.1", port, keepalive=30, clean_start=clean, properties=properties)
    else:
        client.connect("127.0.0.1", port, keepalive=30)
    client.loop_start()


class Observer:
    """Subscribes to `filters` at `qos` and keeps what comes. Its session lives through restarts of the broker
    (`persistent`), and it connects again by itself.

    On MQTT 5 it asks for the retain flag as published; `seen[i].retain` is then the publisher's flag. On 3.1.1 a
    broker sets that flag only on what was kept from before the subscription.
    """

    def __init__(
        self, where: Where, *filters: str, qos: int = 2, login: Login | None = None, persistent: bool = False
    ) -> None:
        self.seen: list[Seen] = []
        self.connects = 0
        self._login = login or Login()
        self._filters = filters
        self._qos = qos
        self._where = where
        self._subscribed = threading.Event()
        self._slow: Callable[[Seen], None] | None = None
        self._persistent = persistent
        self._client = _client(f"observer-{secrets.token_hex(4)}", self._login, clean=not persistent)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message

    def slow_down(self, work: Callable[[Seen], None]) -> None:
        """`work` is called, in the client's thread, with every message before the next one is read."""
        self._slow = work

    def _on_connect(self, client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            return
        self.connects += 1
        if self._login.version == "5":
            options = SubscribeOptions(qos=self._qos, retainAsPublished=True, retainHandling=min(self.connects - 1, 1))
            client.subscribe([(one, options) for one in self._filters])
        else:
            client.subscribe([(one, self._qos) for one in self._filters])

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        properties = message.properties.json() if message.properties is not None else {}
        seen = Seen(
            message.topic, bytes(message.payload), message.qos, message.retain, message.dup, message.mid, properties
        )
        if self._slow is not None:
            self._slow(seen)
        self.seen.append(seen)

    def start(self) -> Self:
        """Returns when the broker has granted the subscriptions."""
        _connect(self._client, self._where.port, self._login, clean=not self._persistent)
        if not self._subscribed.wait(PATIENCE):
            self.close()
            raise AssertionError(f"no SUBACK for {self._filters}")
        return self

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)

    async def until(self, enough: Callable[[list[Seen]], Any], seconds: float = PATIENCE) -> list[Seen]:
        """Waits until `enough(seen)` is true; returns what was seen."""
        try:
            async with asyncio.timeout(seconds):
                while not enough(self.seen):  # noqa: ASYNC110 - it is filled by another thread
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"after {seconds:g} s: {len(self.seen)} seen, the last {self.seen[-5:]}") from None
        return self.seen

    async def count(self, number: int, seconds: float = PATIENCE) -> list[Seen]:
        """Waits for `number` messages in all."""
        return await self.until(lambda seen: len(seen) >= number, seconds)

    async def on(self, topic: str, seconds: float = PATIENCE) -> Seen:
        """The last message on exactly this topic; waits for the first."""
        seen = await self.until(lambda seen: any(one.topic == topic for one in seen), seconds)
        return next(one for one in reversed(seen) if one.topic == topic)

    def topics(self) -> list[str]:
        return [one.topic for one in self.seen]


def publish_many(
    where: Where,
    messages: Iterable[tuple[str, bytes]],
    *,
    qos: int = 1,
    retain: bool = False,
    login: Login | None = None,
    **properties: Any,
) -> None:
    """Connects, publishes, waits until the broker has acknowledged all of it, and leaves. Blocks.

    properties: those of PUBLISH by paho's names: `ResponseTopic="a/b"`, `CorrelationData=b"1"`,
        `MessageExpiryInterval=5`, `UserProperty=("a", "b")`.
    """
    login = login or Login()
    connected = threading.Event()
    client = _client(f"publisher-{secrets.token_hex(4)}", login, clean=True)
    client.on_connect = lambda _c, _d, _f, reason, _p: None if reason.is_failure else connected.set()
    _connect(client, where.port, login, clean=True)
    try:
        assert connected.wait(PATIENCE), "the broker does not let in"
        given = None
        if properties:
            given = Properties(PacketTypes.PUBLISH)
            for name, value in properties.items():
                setattr(given, name, value)
        sent = [client.publish(topic, payload, qos, retain, given) for topic, payload in messages]
        for info in sent:
            assert info.rc in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN)
            info.wait_for_publish(PATIENCE)
            assert info.is_published(), "the broker does not acknowledge"
    finally:
        client.disconnect()
        client.loop_stop()


async def publish(
    where: Where,
    topic: str,
    payload: Any,
    *,
    qos: int = 1,
    retain: bool = False,
    login: Login | None = None,
    **properties: Any,
) -> None:
    """`publish_many` of one message, off the loop. payload: bytes, text, or what becomes JSON."""
    if isinstance(payload, str):
        payload = payload.encode()
    elif not isinstance(payload, bytes):
        payload = json.dumps(payload).encode()
    await asyncio.to_thread(publish_many, where, [(topic, payload)], qos=qos, retain=retain, login=login, **properties)


async def fetch(where: Where, topic: str, *, login: Login | None = None, seconds: float = PATIENCE) -> Seen:
    """What is retained on `topic`, or the first message that comes on it."""
    async with Observer(where, topic, login=login) as observer:
        return (await observer.count(1, seconds))[0]
