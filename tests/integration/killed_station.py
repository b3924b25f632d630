"""A station in a process of its own, to be killed: stores COUNT messages and prints the id of each when it is stored.

    killed_station.py URL JOURNAL ENGINE COUNT

Ends by itself when all is delivered.
"""

from __future__ import annotations

import asyncio
import sys

from evcore.dispatch import Table
from evcore.endpoint import Outbox
from evcore.net.backoff import BackOff
from evcore.net.client import Client, ClientOptions
from evcore.net.engine import EngineName, load
from evcore.net.journal import JournalFile


async def main(url: str, path: str, engine: EngineName, count: int) -> None:
    with JournalFile(path) as journal:
        outbox = Outbox(size=10**6, interval=0.01, journal=journal.station("CP1"))
        options = ClientOptions(
            versions=("ocpp1.6",), back_off=BackOff(0.01, 0, 0.0), sweep_interval=0.01, boot_interval=0.05
        )
        boot = {"chargePointVendor": "V", "chargePointModel": "M"}
        client = Client(load(engine), url, "CP1", Table(), None, boot=boot, options=options, outbox=outbox)
        running = asyncio.create_task(client.run())
        start = {"connectorId": 1, "idTag": "A", "timestamp": "2026-01-01T00:00:00Z"}
        for number in range(count):
            print(client.store("StartTransaction", {**start, "meterStart": number}), flush=True)
            await asyncio.sleep(0)
        while len(outbox):  # noqa: ASYNC110 - an outbox has no event
            await asyncio.sleep(0.01)
        await client.stop()
        await running


asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))  # type: ignore[arg-type]
