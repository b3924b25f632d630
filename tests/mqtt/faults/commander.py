"""evcore's inbound side, with a death of its own choosing: session, spool and commands, over stations that only write
down what they were told.

``--carried FILE``: one line for each CALL that reached a station. ``--die PLACE:N``: SIGKILL at the Nth passing of that
place, one of `PLACES`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any, Final

from benches.mqtt.front import until_told_to_end
from evcore.bus.orders import Order, Outcome
from evcore.mqtt.broker.address import Address
from evcore.mqtt.broker.session import Session, SessionOptions
from evcore.mqtt.commands.commands import Commands
from evcore.mqtt.commands.options import CommandOptions
from evcore.mqtt.message import Received
from evcore.mqtt.spool import Spool, SpoolOptions

#: In the order in which a command passes them. "journaled": the disk has it, the broker does not know; "told": the
#: station has the CALL, nobody has its answer.
PLACES: Final = (
    *("arrived", "journaling", "journaled", "acknowledged"),
    *("starting", "started", "telling", "told", "finishing", "finished"),
)


class Death:
    def __init__(self, wanted: str | None) -> None:
        place, _, count = (wanted or ":0").partition(":")
        self._place, self._count = place, int(count)
        self._passed: Counter[str] = Counter()

    def pass_by(self, place: str) -> None:
        self._passed[place] += 1
        if place == self._place and self._passed[place] == self._count:
            os.kill(os.getpid(), signal.SIGKILL)


class Mortal:
    """The spool as `Commands` sees it."""

    def __init__(self, spool: Spool, death: Death) -> None:
        self._spool = spool
        self._death = death

    def __getattr__(self, name: str) -> Any:
        return getattr(self._spool, name)

    async def journal(self, id: str, topic: str, body: bytes) -> Any:
        self._death.pass_by("journaling")
        found = await self._spool.journal(id, topic, body)
        self._death.pass_by("journaled")
        return found

    async def started(self, id: str) -> None:
        self._death.pass_by("starting")
        await self._spool.started(id)
        self._death.pass_by("started")

    async def finish(self, *given: Any, **named: Any) -> bool:
        self._death.pass_by("finishing")
        done = await self._spool.finish(*given, **named)
        self._death.pass_by("finished")
        return done


class Stations:
    """Every station is there and does what it is told, a moment later."""

    def __init__(self, carried: Path, death: Death) -> None:
        self._file = os.open(carried, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._death = death

    async def carry_out(self, order: Order) -> Outcome:
        self._death.pass_by("telling")
        os.write(self._file, f"{order.station} {order.id}\n".encode())
        self._death.pass_by("told")
        await asyncio.sleep(0.005)
        return Outcome(status="accepted", payload={"status": "Accepted"})


async def main(options: argparse.Namespace) -> None:
    death = Death(options.die)
    spool = await Spool.open(SpoolOptions(path=options.spool))

    def received(message: Received) -> None:
        death.pass_by("arrived")

        def ack() -> None:
            message.ack()
            # The packet is on its way; it leaves before the death, or with it.
            asyncio.get_running_loop().call_later(0.01, death.pass_by, "acknowledged")

        commands.received(
            Received(
                **{name: getattr(message, name) for name in ("topic", "payload", "qos", "retain", "expiry", "dup")},
                response_topic=message.response_topic,
                correlation=message.correlation,
                acknowledge=ack,
            )
        )

    session = Session(
        SessionOptions(
            addresses=tuple(Address.parse(url) for url in options.broker),
            identifier=f"evcore-{spool.name}",
            version=options.version,
            backoff_first=0.1,
            backoff_most=0.3,
            connect_timeout=2.0,
            keepalive=2,
            # The connections that end early here are no other client's doing.
            early_ends=0,
            shuffle=False,
        ),
        spool,
        received=received,
    )
    allowed = CommandOptions(allow=("*",), station_queue=1000, answers=0)
    commands = Commands(session, Mortal(spool, death), Stations(options.carried, death), allowed)
    await commands.start()
    running = asyncio.create_task(session.run())
    while not session.state.connected:  # noqa: ASYNC110 - the session calls back before it has subscribed
        await asyncio.sleep(0.01)
    options.ready.touch()
    await until_told_to_end()
    await commands.stop()
    await session.stop(5.0)
    await running
    await spool.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", action="append", required=True)
    parser.add_argument("--spool", type=Path, required=True)
    parser.add_argument("--carried", type=Path, required=True)
    parser.add_argument("--ready", type=Path, required=True, help="a file that is made when it is connected")
    parser.add_argument("--die")
    parser.add_argument("--version", choices=("3.1.1", "5"), default="5")
    logging.basicConfig(level="INFO", format="%(asctime)s %(name)s %(message)s")
    asyncio.run(main(parser.parse_args()))
