"""The one connection to the broker."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from evcore.mqtt.message import Message, Received
from evcore.mqtt.session_options import Counts, Entry, Outbox, SessionOptions, State, TlsOptions

__all__ = ["Counts", "Entry", "Outbox", "Session", "SessionOptions", "State", "TlsOptions"]


class Session:
    """`received` is called for every message that comes, from the loop, and must be quick; `connected` after each
    connect.
    """

    def __init__(
        self,
        options: SessionOptions,
        spool: Outbox,
        *,
        received: Callable[[Received], None] = lambda _: None,
        connected: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        self.counts = Counts()
        self.state = State()

    def subscribe(self, filter: str, qos: int = 1) -> None:
        """Now if connected, and after every connect. QoS 2 is asked for as QoS 1."""
        raise NotImplementedError

    def unsubscribe(self, filter: str) -> None:
        raise NotImplementedError

    def send(self, message: Message) -> bool:
        """At QoS 0, now. False, and counted: not connected, or the socket is behind."""
        raise NotImplementedError

    async def run(self) -> None:
        """Connects, and connects again, until `stop`. Raises nothing for what a broker does."""
        raise NotImplementedError

    async def stop(self, flush: float = 5.0) -> None:
        """Waits up to `flush` seconds for the outbox, sends the farewell, disconnects; `run` returns."""
        raise NotImplementedError
