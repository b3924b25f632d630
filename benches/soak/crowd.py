"""The stations of the soak: most behave, live for a while and come again; some come to make trouble.

In: the server's port, how many stations, how many CALLs a second. Out: counts. Every answer a well-behaved station gets
must be the CALLRESULT to its CALL, and nobody else may end its connection: `WrongAnswer` otherwise. Identities come
from a fixed set, so that what a server remembers of stations is soon complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import struct
from dataclasses import dataclass
from typing import Final, cast

from benches.server.client import WrongAnswer
from benches.server.wire import CLOSE, PING, PONG, TEXT, Template, client_frame, split, template

__all__ = ["Counts", "Crowd"]

VERSIONS: Final = ("ocpp1.6", "ocpp2.0.1")
_KINDS: Final = {
    "ocpp1.6": ("Heartbeat", "StatusNotification", "MeterValues", "StartTransaction"),
    "ocpp2.0.1": ("TransactionEvent", "NotifyReport"),
}
_PATIENCE: Final = 30.0


@dataclass
class Counts:
    """What happened so far; `connections` are upgrades that were done."""

    connections: int = 0
    answered: int = 0
    troubles: int = 0
    ends: int = 0


def upgrade(identity: str, version: str) -> bytes:
    return (
        f"GET /{identity} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIGJlbmNoIGNvbWVzIQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: {version}\r\n\r\n"
    ).encode()


class Station(asyncio.Protocol):
    """One connection of a station that behaves."""

    def __init__(self, crowd: Crowd, number: int, version: str) -> None:
        self.number = number
        self.version = version
        self.ready = asyncio.get_running_loop().create_future()
        self.expected: bytes | None = None
        self.leaving = False
        self.over = asyncio.get_running_loop().create_future()
        self._crowd = crowd
        self._data = b""
        self._is_open = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(upgrade(f"SOAK-{self.number:05d}", self.version))

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._is_open:
            head, end, rest = self._data.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head:
                self._wrong(f"the upgrade was answered with {head[:80]!r}")
                return
            self._data, self._is_open = rest, True
            self._crowd.counts.connections += 1
            self.send(self._crowd.boots[self.version])
        while found := split(self._data):
            opcode, payload, self._data = found
            if opcode == TEXT:
                self._answered(payload)
            elif opcode == PING and self.transport is not None:
                self.transport.write(client_frame(PONG, payload))
            elif opcode == CLOSE and not self.leaving:
                self._wrong(f"closed with {payload!r}")

    def waiting_for(self) -> str:
        if self.transport is None:
            return "on a connection that is gone"
        return f"for {self.expected!r}, has {self._data!r}" if self._is_open else f"for its upgrade, has {self._data!r}"

    def send(self, call: Template) -> None:
        assert self.transport is not None
        self._crowd.calls += 1
        self.expected = call.answer(self._crowd.calls)
        self.transport.write(bytes(call.stamped(self._crowd.calls)))

    def _answered(self, payload: bytes) -> None:
        if self.expected is None or not payload.startswith(self.expected):
            self._wrong(f"got {payload[:200]!r} instead of {self.expected!r}")
            return
        self.expected = None
        self._crowd.counts.answered += 1
        if not self.ready.done():
            self.ready.set_result(None)

    def _wrong(self, what: str) -> None:
        self._crowd.fail(f"station {self.number}: {what}")

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.leaving:
            self._wrong(f"the server ended the connection: {exc!r}")
        self.transport = None
        self.over.set_result(None)

    async def leave(self, how: str) -> None:
        """`close`: with a closing handshake; `FIN`, `RST`: without."""
        self.leaving = True
        if self.transport is None:
            return
        if how == "close":
            self.transport.write(client_frame(CLOSE, struct.pack(">H", 1000)))
        elif how == "RST":
            plain: socket.socket = self.transport.get_extra_info("socket")
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        else:
            self.transport.close()
        await asyncio.wait((self.over,), timeout=_PATIENCE)
        if not self.over.done():
            self._wrong("the connection does not end")


class Crowd:
    """All stations. `stations` are there at any time, `rate` CALLs they send a second, `life` seconds is the mean of
    how long one stays, `troubles` a second come that do not behave.
    """

    def __init__(self, port: int, *, stations: int, rate: float, life: float, troubles: float, seed: int) -> None:
        self.counts = Counts()
        self.calls = 0
        self.boots = {version: template(version, "BootNotification") for version in VERSIONS}
        self._port = port
        self._size = stations
        self._rate = rate
        self._life = life
        self._troubles = troubles
        self._rng = random.Random(seed)
        self._kinds = {
            version: [template(version, action) for action in actions] for version, actions in _KINDS.items()
        }
        self._present: dict[int, Station] = {}
        self._wrong: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()

    def fail(self, what: str) -> None:
        if not self._wrong.done():
            self._wrong.set_exception(WrongAnswer(what))

    async def run(self) -> None:
        """Until it is cancelled. Raises WrongAnswer."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch())
                group.create_task(self._talk())
                group.create_task(self._come_and_go())
                group.create_task(self._make_trouble())
        finally:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.gather(*(each.leave("FIN") for each in self._present.values()))

    async def _watch(self) -> None:
        await self._wrong

    def _later(self, work: object) -> None:
        task = asyncio.ensure_future(cast("asyncio.Future[None]", work))
        assert isinstance(task, asyncio.Task)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(repr(error))

    async def _enter(self, number: int) -> None:
        """A connection of this station, in the place of the one it has."""
        loop = asyncio.get_running_loop()
        # A station keeps its version: with another one a server forgets what it knows of it.
        version = VERSIONS[number % len(VERSIONS)]
        old = self._present.get(number)
        if old is not None:
            old.leaving = True
        _, station = await loop.create_connection(lambda: Station(self, number, version), "127.0.0.1", self._port)
        await asyncio.wait((station.ready,), timeout=_PATIENCE)
        if not station.ready.done():
            self.fail(f"station {number} has waited {_PATIENCE:g} s {station.waiting_for()}")
        self._present[number] = station
        if old is not None:
            await asyncio.wait((old.over,), timeout=3)
            await old.leave("FIN")

    async def _come_and_go(self) -> None:
        for start in range(0, self._size, 50):
            await asyncio.gather(*(self._enter(number) for number in range(start, min(start + 50, self._size))))
        while True:
            await asyncio.sleep(self._rng.expovariate(self._size / self._life))
            self._later(self._change(self._rng.choice(list(self._present))))

    async def _change(self, number: int) -> None:
        how = self._rng.choice(("close", "FIN", "RST", "again"))
        station = self._present.get(number) if how == "again" else self._present.pop(number, None)
        # Another change of the same station is under way.
        if station is None or station.leaving:
            return
        self.counts.ends += 1
        if how != "again":
            await station.leave(how)
        await self._enter(number)

    async def _talk(self) -> None:
        loop = asyncio.get_running_loop()
        began, sent = loop.time(), 0
        while True:
            await asyncio.sleep(0.01)
            due = int((loop.time() - began) * self._rate)
            idle = [each for each in self._present.values() if each.expected is None and not each.leaving]
            for station in self._rng.sample(idle, min(len(idle), due - sent)):
                station.send(self._rng.choice(self._kinds[station.version]))
            # What could not be sent is not made up for: stations wait for their answers.
            sent = due

    # -- trouble ------------------------------------------------------------------------------------------------------

    async def _make_trouble(self) -> None:
        while self._troubles:
            await asyncio.sleep(self._rng.expovariate(self._troubles))
            if len(self._tasks) < 500:
                self._later(self._trouble())

    async def _trouble(self) -> None:
        self.counts.troubles += 1
        rng = self._rng
        version = rng.choice(("ocpp1.6", "ocpp2.0.1", "ocpp2.1"))
        request = upgrade(f"BAD-{version}-{rng.randrange(50)}", version)
        kind = rng.choice(("request", "noise", "frames", "framing", "half", "fragments", "silence", "deaf"))
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
        with contextlib.suppress(ConnectionError, TimeoutError):
            if kind == "request":
                writer.write(request[: rng.randrange(len(request))])
            elif kind == "noise":
                writer.write(os.urandom(rng.randrange(4096)))
            else:
                writer.write(request)
                async with asyncio.timeout(_PATIENCE):
                    await reader.read(65536)
                writer.write(self._nuisance(kind))
            async with asyncio.timeout(rng.uniform(0.0, 3.0)):
                await writer.drain()
                if kind == "deaf":
                    writer.transport.pause_reading()
                    await asyncio.sleep(_PATIENCE)
                while await reader.read(65536):
                    continue
        if rng.random() < 0.5:
            plain: socket.socket = writer.get_extra_info("socket")
            if plain.fileno() >= 0:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        else:
            writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def _nuisance(self, kind: str) -> bytes:
        rng = self._rng
        call = client_frame(TEXT, b'[2,"a","NoSuchAction",{}]')
        if kind == "frames":
            texts = (b"", b"[", b"{}", b'[2,"a","Heartbeat",{"x":1}]', b'[3,"a",{}]', b'[9,"a"]', b"[" * 30_000)
            return b"".join(client_frame(TEXT, rng.choice(texts)) for _ in range(rng.randrange(200)))
        if kind == "framing":
            return rng.choice((b"\x81\x02[]", b"\xf1\x80\0\0\0\0", b"\x83\x80\0\0\0\0", b"\x80\x80\0\0\0\0"))
        if kind == "half":
            return call + client_frame(TEXT, b"x" * 60_000)[: rng.randrange(60_000)]
        if kind == "fragments":
            return client_frame(0x01, b"[") + client_frame(0x00, b" " * 50_000) * rng.randrange(30)
        if kind == "deaf":
            return call * 1_000
        return call
