"""An RST right behind the last packets, on both event loops: the packets are read, and the end is noticed at once."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from evcore.mqtt.broker.address import Address
from evcore.mqtt.broker.session import Session, SessionOptions
from evcore.mqtt.message import Received
from tests.mqtt.memory_outbox import MemoryOutbox

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Rude:
    """Lets in, sends `count` messages of QoS 0, and slams the door."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.let_in = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            line, _ = await loop.sock_accept(self._listener)
            line.setblocking(False)
            await loop.sock_recv(line, 65_536)
            self.let_in += 1
            message = b"\x30\xfa\x01\x00\x01a" + bytes(247)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await loop.sock_sendall(line, b"\x20\x02\x00\x00" + message * self._count)
            line.close()

    def close(self) -> None:
        self._listener.close()


def run(name: str, work: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(20):
            await work()

    with asyncio.Runner(loop_factory=LOOPS[name]) as runner:
        runner.run(whole())


@pytest.mark.parametrize("count", [0, 1, 400])
@pytest.mark.parametrize("loop", LOOPS)
def test_what_came_before_a_reset_is_read_and_the_next_connection_is_tried(loop: str, count: int) -> None:
    """Not after the time-outs for silence and for acknowledgements, which are a minute here."""

    async def work() -> None:
        got: list[Received] = []
        broker = Rude(count)
        serving = asyncio.create_task(broker.run())
        options = SessionOptions(
            addresses=(Address.parse(f"mqtt://127.0.0.1:{broker.port}"),),
            identifier="x",
            version="3.1.1",
            keepalive=60,
            connect_timeout=60,
            backoff_first=0.01,
            backoff_most=0.02,
            early_ends=0,
        )
        session = Session(options, MemoryOutbox(), received=got.append)
        running = asyncio.create_task(session.run())
        while broker.let_in < 5:  # noqa: ASYNC110 - of another task
            await asyncio.sleep(0.01)
        await session.stop(0)
        await running
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        broker.close()
        assert len(got) >= 4 * count

    run(loop, work)
