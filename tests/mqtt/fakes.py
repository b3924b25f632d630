"""A spool and a session that only write down what they are given, and fail when they are told to.

In: messages and notes. Out: `Disk.puts`, `Disk.kept`, `Connection.sent`, in order. For tests of what stands above them;
the real ones are in the tests with a broker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field

from evcore.bus import Bus
from evcore.mqtt.message import Message
from evcore.mqtt.publisher.options import PublishOptions
from evcore.mqtt.publisher.publisher import Publisher
from evcore.mqtt.spool import Backlog, SpoolError


@dataclass
class State:
    connected: bool = True


@dataclass
class Connection:
    """A session: `state.connected` False, and it drops what is sent."""

    state: State = field(default_factory=State)
    sent: list[Message] = field(default_factory=list)
    subscriptions: dict[str, int] = field(default_factory=dict)
    #: How many more messages the socket takes; None: all.
    room: int | None = None
    #: A topic that it does not take.
    poison: str | None = None

    def send(self, message: Message) -> bool:
        if not self.state.connected or self.room == 0 or message.topic == self.poison:
            return False
        if self.room is not None:
            self.room -= 1
        self.sent.append(message)
        return True

    def subscribe(self, filter: str, qos: int = 1) -> None:
        self.subscriptions[filter] = qos


@dataclass
class Counts:
    dropped: dict[tuple[str, str], int] = field(default_factory=dict)


@dataclass
class Disk:
    """A spool: `error` set, and nothing is kept; `slow`, and puts wait for `write`."""

    puts: list[tuple[Message, str]] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    #: Puts and notes in the order in which they came: a topic, or the key of a note.
    order: list[str] = field(default_factory=list)
    error: SpoolError | None = None
    slow: bool = False
    counts: Counts = field(default_factory=Counts)
    #: Messages that the broker does not have.
    unsent: int = 0
    _waits: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def backlog(self) -> Backlog:
        return Backlog(self.unsent, 0, 0.0)

    def put(self, message: Message, *, qos_class: str, id: str) -> Awaitable[None]:
        assert message.qos
        self.order.append(message.topic)
        wait = self._done()
        if self.error is not None:
            wait.set_exception(self.error)
            wait.exception()
            return wait
        self.puts.append((message, qos_class))
        if self.slow:
            self._waits.append(wait)
        else:
            wait.set_result(None)
        return wait

    def write(self) -> None:
        """What waits is on the disk now."""
        for wait in self._waits:
            wait.set_result(None)
        self._waits.clear()

    def note(self, key: str, value: str | None) -> Awaitable[None]:
        self.order.append(f"{key} {'gone' if value is None else 'noted'}")
        if value is None:
            self.kept.pop(key, None)
        else:
            self.kept[key] = value
        wait = self._done()
        wait.set_result(None)
        return wait

    async def notes(self, prefix: str = "") -> Mapping[str, str]:
        return {key: value for key, value in self.kept.items() if key.startswith(prefix)}

    def _done(self) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    def last(self) -> dict[str, bytes]:
        """Topic to payload of the last put."""
        return {message.topic: message.payload for message, _ in self.puts}


class Rig:
    """A publisher on a bus of its own, with a disk and a connection that write down; `async with` attaches it."""

    def __init__(
        self, options: PublishOptions | None = None, *, disk: Disk | None = None, bus: Bus | None = None
    ) -> None:
        self.options = options or PublishOptions(node="n1", heartbeat_interval=0)
        self.bus = bus or Bus()
        self.disk = disk or Disk()
        self.connection = Connection()
        self.publisher = Publisher(self.bus, self.disk, self.connection, self.options)

    async def __aenter__(self) -> Rig:
        await self.publisher.attach()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.publisher.detach()

    def messages(self) -> list[Message]:
        """All of them: those of the disk, then those of QoS 0."""
        return [message for message, _ in self.disk.puts] + self.connection.sent

    def clear(self) -> None:
        self.disk.puts.clear()
        self.connection.sent.clear()
        self.disk.order.clear()

    async def until(self, enough: object) -> None:
        """Lets the publisher work until `enough()` is true."""
        assert callable(enough)
        async with asyncio.timeout(20):
            while not enough():  # noqa: ASYNC110 - the publisher's tasks are at work
                await asyncio.sleep(0.01)
