"""The bridge: a bus on one side, a broker on the other, what must not be lost in between.

In: events of a bus, commands from a broker. Out: messages, orders to stations and their results. Refused, when it
starts: settings that cannot be, a spool that cannot be opened. A broker that is away is no reason not to start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field, replace
from typing import Final

from evcore.bus import Bus
from evcore.bus.orders import Orders
from evcore.mqtt.broker.session import Session, SessionOptions
from evcore.mqtt.commands.commands import Commands
from evcore.mqtt.commands.options import CommandOptions
from evcore.mqtt.message import Received
from evcore.mqtt.publisher.availability import birth, farewell
from evcore.mqtt.publisher.options import PublishOptions
from evcore.mqtt.publisher.publisher import Publisher
from evcore.mqtt.spool import SpoolError, SpoolOptions
from evcore.mqtt.spool.spool import Spool

__all__ = ["Bridge", "BridgeOptions"]

log = logging.getLogger("evcore.mqtt")

#: Seconds before a session that ended by mistake is begun again.
AGAIN_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeOptions:
    """The parts' settings. Will, birth and farewell of the session are the bridge's own.

    `unique`: whether the spool's name is added to the session's identifier, so that two bridges never share a session
    at the broker by mistake. `flush`: seconds that a stop gives what the broker does not have yet; the rest stays in
    the spool. `grace`: seconds that it gives commands at work.
    """

    session: SessionOptions
    spool: SpoolOptions
    publish: PublishOptions
    commands: CommandOptions = field(default_factory=CommandOptions)
    unique: bool = True
    flush: float = 5.0
    grace: float = 5.0


class Bridge:
    """Takes the events of `bus` to the broker, and commands to `orders`. Its parts are there between `start` and
    `stop`, for those who count.
    """

    spool: Spool
    session: Session
    publisher: Publisher
    commands: Commands

    def __init__(self, bus: Bus, orders: Orders, options: BridgeOptions) -> None:
        self._bus = bus
        self._orders = orders
        self.options = options
        self._running: asyncio.Task[None] | None = None
        #: Messages on topics that nobody here subscribed to; a session the broker kept may still have them.
        self.strays = 0

    async def start(self) -> None:
        """Publishes from now on, whether the broker is there or not. Raises SpoolError."""
        options = self.options
        self.spool = await Spool.open(options.spool)
        try:
            session = replace(
                options.session,
                identifier=f"{options.session.identifier}-{self.spool.name}"
                if options.unique
                else options.session.identifier,
                will=farewell(options.publish),
                birth=birth(options.publish),
                farewell=farewell(options.publish),
            )
            self.session = Session(session, self.spool, received=self._received, connected=self._connected)
            self.publisher = Publisher(self._bus, self.spool, self.session, options.publish)
            self.commands = Commands(self.session, self.spool, self._orders, options.commands, self.publisher.topics)
            await self.publisher.attach()
            try:
                await self.commands.start()
            except BaseException:
                await self.publisher.detach()
                raise
        except BaseException:
            await self.spool.close()
            raise
        self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Carries out no more commands, calls the stations offline, gives the broker what it can, and leaves it."""
        if self._running is None:
            return
        options = self.options
        await self.commands.stop(options.grace)
        await self.publisher.detach()
        # What stations said last may be on its way to the disk still, and is not to be sent before.
        with contextlib.suppress(SpoolError):
            await self.spool.settled()
        await self.session.stop(options.flush)
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        self._running = None
        await self.spool.close()

    async def _run(self) -> None:
        while True:
            try:
                await self.session.run()
            except Exception:
                # A mistake of ours: what is in the spool is still there, and so are the stations.
                log.exception("the session with the broker failed; it begins again in %g s", AGAIN_SECONDS)
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return

    def _connected(self) -> None:
        self.publisher.connected(self.session.state.resumed)

    def _received(self, message: Received) -> None:
        if not self.commands.received(message) and not self.publisher.received(message):
            self.strays += 1
            message.ack()
