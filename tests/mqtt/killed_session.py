"""A program that empties a spool into a broker, to be killed: `killed_session.py PATH URL VERSION QOS COUNT`.

Puts COUNT numbered messages if the spool is new, says so, and runs until it is killed or the spool is empty.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from evcore.mqtt.broker.address import Address
from evcore.mqtt.broker.session import Session, SessionOptions
from evcore.mqtt.message import Message
from evcore.mqtt.spool import Spool, SpoolOptions


async def main(path: str, url: str, version: str, qos: str, count: str) -> None:
    spool = await Spool.open(SpoolOptions(path=Path(path)))
    if not await spool.notes("filled"):
        puts = [
            spool.put(Message("n", b"%d" % number, int(qos)), qos_class="billing", id=f"{number}")
            for number in range(int(count))
        ]
        await asyncio.gather(*puts)
        await spool.note("filled", "yes")
    print("ready", flush=True)
    options = SessionOptions(
        addresses=(Address.parse(url),),
        identifier=f"evcore-{spool.name}",
        version="5" if version == "5" else "3.1.1",
        backoff_first=0.02,
        backoff_most=0.1,
    )
    session = Session(options, spool)
    running = asyncio.create_task(session.run())
    while spool.backlog.messages:  # noqa: ASYNC110 - polling is what a test may do
        await asyncio.sleep(0.01)
    await session.stop()
    await running
    await spool.close()
    print("empty", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
