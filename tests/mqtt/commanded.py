"""A server that takes commands from a broker: within the test, or as a process that ends where it is told to.

    python -m tests.mqtt.commanded '{"url": …, "spool": …, "port": …, "await": ["CP1"], "end": ["journal", "after", 1]}'

`end`: what the process is about to write, or has written, when it is killed: journal, started or finish, before or
after, and at which of these. It says `ready` when the broker has its subscriptions.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evcore.bus import Bus
from evcore.csms.application import CsmsOptions
from evcore.mqtt.broker.address import Address
from evcore.mqtt.broker.session import Session, SessionOptions
from evcore.mqtt.commands.commands import Commands
from evcore.mqtt.commands.options import CommandOptions
from evcore.mqtt.spool import Spool, SpoolOptions
from tests.mqtt.stations import Place, place


@dataclass
class Commanded:
    here: Place
    spool: Spool
    session: Session
    commands: Commands


@contextlib.asynccontextmanager
async def commanded(
    url: str,
    path: Path,
    options: CommandOptions,
    *,
    version: Any = "5",
    port: int = 0,
    wait: tuple[str, ...] = (),
    bus: Bus | None = None,
    csms: CsmsOptions | None = None,
    spool: type[Spool] = Spool,
    **session: Any,
) -> AsyncIterator[Commanded]:
    """Connected and subscribed. `wait`: stations that must be here before anything is carried out."""
    async with place(port=port, bus=bus, options=csms) as here:
        while any(name not in here.csms.stations for name in wait):  # noqa: ASYNC110 - they connect by themselves
            await asyncio.sleep(0.01)
        journal = await spool.open(SpoolOptions(path=path))
        up = asyncio.Event()
        chosen = SessionOptions(
            addresses=(Address.parse(url),),
            identifier="commanded",
            version=version,
            backoff_first=0.05,
            backoff_most=0.2,
            **session,
        )
        made = Session(chosen, journal, received=lambda message: taken(message), connected=up.set)
        commands = Commands(made, journal, here.orders, options)
        taken = commands.received
        await commands.start()
        running = asyncio.create_task(made.run())
        try:
            async with asyncio.timeout(30):
                await up.wait()
            yield Commanded(here, journal, made, commands)
        finally:
            await commands.stop(2.0)
            await made.stop(2.0)
            await running
            await journal.close()


class Ending(Spool):
    """Ends the process at one of its writes."""

    end: tuple[str, str, int]
    seen = 0

    async def _at(self, name: str, write: Awaitable[Any]) -> Any:
        counts = name == self.end[0]
        type(self).seen += counts
        now = counts and type(self).seen == self.end[2]
        if now and self.end[1] == "before":
            _die()
        result = await write
        if now:
            _die()
        return result

    def journal(self, id: str, topic: str, body: bytes) -> Awaitable[Any]:
        return self._at("journal", super().journal(id, topic, body))

    def started(self, id: str) -> Awaitable[None]:
        return self._at("started", super().started(id))

    def finish(self, *arguments: Any, **more: Any) -> Awaitable[bool]:
        return self._at("finish", super().finish(*arguments, **more))


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def main(options: dict[str, Any]) -> None:
    Ending.end = tuple(options.get("end") or ("", "", 0))  # type: ignore[assignment]
    allowed = CommandOptions(allow=("*",), reconnecting=0.0)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    running = commanded(
        options["url"],
        Path(options["spool"]),
        allowed,
        version=options["version"],
        port=options["port"],
        wait=tuple(options["await"]),
        spool=Ending,
    )
    async with running:
        print("ready", flush=True)
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
