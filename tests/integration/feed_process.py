"""A process for test_feed_kill: `hub SOCKET FILE` keeps events in a file, `server SOCKET NAME COUNT` publishes them.

The hub says `ready` when it listens. The server says each transaction whose publication was acknowledged, and stays.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import BinaryIO

from evcore.bus import Bus, Event, NotKept
from evcore.bus.bodies import StationOnline, TransactionEnded
from evcore.bus.orders import Order, Outcome
from evcore.net.backoff import BackOff
from evcore.net.feed.feed import Feed, FeedOptions
from evcore.net.feed.hub import Hub


class Spool:
    """Everything that waits goes into the file in one write, and counts as kept when it is on the disk."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._waiting: list[tuple[Event, asyncio.Future[None]]] = []

    def take(self, event: Event) -> Awaitable[None]:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        if not self._waiting:
            loop.call_later(0.001, self._commit)
        self._waiting.append((event, done))
        return done

    def _commit(self) -> None:
        waiting, self._waiting = self._waiting, []
        lines = [f"{event.id} {event.kind.name} {getattr(event.body, 'transaction', '')}\n" for event, _ in waiting]
        self._file.write("".join(lines).encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        for _, done in waiting:
            done.set_result(None)


def mend(file: Path) -> None:
    """A kill may have torn the last line in two; what it was is not acknowledged and comes again."""
    if file.exists():
        whole, newline, _ = file.read_bytes().rpartition(b"\n")
        file.write_bytes(whole + newline)


async def hub(path: Path, file: Path) -> None:
    bus = Bus()
    mend(file)
    with file.open("ab") as opened:
        bus.attach("#", Spool(opened).take)
        await Hub(path, bus).start()
        print("ready", flush=True)
        await asyncio.Event().wait()


class Nobody:
    async def carry_out(self, order: Order) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError


async def server(path: Path, name: str, count: int) -> None:
    bus = Bus()
    Feed(path, bus, Nobody(), name=name, options=FeedOptions(wait=60.0, back_off=BackOff(0.01, 3, 0.01))).start()
    bus.publish(StationOnline(station=name, version="ocpp1.6"))

    async def publish(number: int) -> None:
        kept = bus.publish(TransactionEnded(station=name, transaction=f"{name}-{number}"))
        assert kept is not None
        try:
            await kept
        except NotKept as error:
            print(f"NOT KEPT {error}", flush=True)
        else:
            print(f"{name}-{number}", flush=True)

    going = []
    for number in range(count):
        going.append(asyncio.create_task(publish(number)))
        await asyncio.sleep(0.001)
    await asyncio.gather(*going)
    print("done", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    role, socket, *rest = sys.argv[1:]
    asyncio.run(hub(Path(socket), Path(rest[0])) if role == "hub" else server(Path(socket), rest[0], int(rest[1])))
