"""Sessions for tests: options with short waits, a session that runs for a while, conditions to wait for."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

from evcore.mqtt.broker.address import Address
from evcore.mqtt.broker.session import Outbox, Session, SessionOptions
from evcore.mqtt.message import Received

#: Seconds after which a test that hangs fails.
PATIENCE = 20.0


def options(*urls: str, **more: Any) -> SessionOptions:
    quick: dict[str, Any] = {
        "identifier": "evcore-test",
        "backoff_first": 0.01,
        "backoff_most": 0.05,
        "connect_timeout": 5.0,
        "shuffle": False,
    }
    return SessionOptions(addresses=tuple(map(Address.parse, urls)), **(quick | more))


async def until(condition: Callable[[], Any], what: str = "") -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - some of it happens in other threads and processes
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"not within {PATIENCE:g} s: {what or condition}") from None


@contextlib.asynccontextmanager
async def running(
    given: SessionOptions,
    outbox: Outbox,
    *,
    received: Callable[[Received], None] = lambda message: message.ack(),
    connected: Callable[[], None] = lambda: None,
    wait: bool = True,
    filters: tuple[str, ...] = (),
    flush: float = 5.0,
) -> AsyncIterator[Session]:
    """A session that runs, connected unless `wait` is False, and is stopped at the end."""
    session = Session(given, outbox, received=received, connected=connected, rng=random.Random(4))
    for one in filters:
        session.subscribe(one)
    task = asyncio.create_task(session.run())
    try:
        if wait:
            await until(lambda: session.state.connected or task.done(), f"connected: {session.state}")
        yield session
        await session.stop(flush)
        await asyncio.wait_for(task, PATIENCE)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
