"""A broker that is killed may come back with a session from before what it acknowledged last. A message it had recorded
(PUBREC) and forgot would be lost if only PUBREL were repeated, which it answers as if it had the message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from evcore.mqtt.broker.address import Address
from evcore.mqtt.broker.session import Session, SessionOptions
from evcore.mqtt.message import Message
from tests.mqtt.brokers import Mosquitto
from tests.mqtt.memory_outbox import MemoryOutbox
from tests.mqtt.observer import Observer

MESSAGES = 5


class Slow(MemoryOutbox):
    """Notes which messages the broker has recorded before it writes that down."""

    def __init__(self) -> None:
        super().__init__(delay=0.3)
        self.recorded: list[int] = []

    def released(self, seq: int) -> Awaitable[None]:
        self.recorded.append(seq)
        return super().released(seq)


async def until(done: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not done():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("end", ["kill", "stop"])
@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_what_a_broker_had_recorded_and_forgot_is_published_anew(
    mosquitto: Mosquitto, version: str, end: str
) -> None:
    """`kill`: it saves nothing since its last end. `stop`: it saves all, and nothing comes twice."""
    outbox = Slow()
    options = SessionOptions(
        addresses=(Address.parse(mosquitto.url),),
        identifier="evcore-test",
        version=version,  # type: ignore[arg-type]
        backoff_first=0.1,
        backoff_most=0.2,
    )
    session = Session(options, outbox)
    async with Observer(mosquitto, "n", qos=1, persistent=True) as observer:
        running = asyncio.create_task(session.run())
        await until(lambda: session.state.connected)
        # Now the broker's file has both sessions, and no message.
        await asyncio.to_thread(mosquitto.restart)
        await until(lambda: observer.connects == 2 and session.state.resumed)
        outbox.put(*(Message("n", b"%d" % number, 2) for number in range(MESSAGES)))
        await until(lambda: len(outbox.recorded) == MESSAGES)
        if end == "kill":
            mosquitto.freeze()
            await until(lambda: all(item.released for item in outbox.items.values()))
            await asyncio.to_thread(mosquitto.kill)
        else:
            await asyncio.to_thread(mosquitto.stop)
        await until(lambda: not session.state.connected)
        await asyncio.to_thread(mosquitto.start)
        await observer.count(MESSAGES)
        await until(lambda: not outbox.items)
        await asyncio.sleep(0.2)
        assert [int(one.payload) for one in observer.seen] == list(range(MESSAGES))
        assert session.state.resumed, "the broker has kept the session"
        await session.stop(1)
        await running
