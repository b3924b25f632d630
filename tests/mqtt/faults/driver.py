"""evcore's spool and session behind a bare server: what remains of the bridge when everything else is left out.

A station's message is put into the spool and answered when it is on the disk (QoS 0: handed to the session and answered
at once). What the spool cannot keep is answered with InternalError.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import secrets
from pathlib import Path
from typing import Any

from benches.mqtt.front import front, until_told_to_end
from evcore.mqtt.broker.address import Address
from evcore.mqtt.broker.session import Session, SessionOptions, TlsOptions
from evcore.mqtt.message import Message
from evcore.mqtt.spool import Spool, SpoolOptions


async def main(options: argparse.Namespace) -> None:
    spool = await Spool.open(SpoolOptions(path=options.spool, max_bytes=options.max_bytes, retry=0.2))
    session = Session(
        SessionOptions(
            addresses=tuple(Address.parse(url) for url in options.broker),
            identifier=options.identifier or f"evcore-{spool.name}",
            version=options.version,
            tls=TlsOptions(ca=options.ca),
            backoff_first=0.1,
            backoff_most=0.5,
            connect_timeout=2.0,
            ack_timeout=3.0,
            keepalive=2,
            shuffle=False,
        ),
        spool,
    )

    async def tell(station: str, action: str, payload: Any) -> None:
        identifier = secrets.token_hex(13)
        body = {
            "id": identifier,
            "kind": "transaction.updated",
            "station": station,
            "action": action,
            "sequence": payload.get("seqNo"),
        }
        message = Message(f"chargers/{station}/events", json.dumps(body).encode(), options.qos)
        if options.qos == 0:
            session.send(message)
        else:
            await spool.put(message, qos_class="billing", id=identifier)

    running = asyncio.create_task(session.run())
    server = await front(options.port, tell)
    await until_told_to_end()
    await server.stop()
    await session.stop(5.0)
    await running
    await spool.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--broker", action="append", required=True)
    parser.add_argument("--spool", type=Path, required=True)
    parser.add_argument("--max-bytes", type=int, default=1 << 30)
    parser.add_argument("--identifier")
    parser.add_argument("--version", choices=("3.1.1", "5"), default="5")
    parser.add_argument("--qos", type=int, choices=(0, 1, 2), default=1)
    parser.add_argument("--ca", type=Path)
    logging.basicConfig(level="INFO", format="%(asctime)s %(name)s %(message)s")
    asyncio.run(main(parser.parse_args()))
