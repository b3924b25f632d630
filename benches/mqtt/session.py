"""The session alone against aiomqtt alone: `python -m benches.mqtt.session`.

200-byte messages to a Mosquitto on this machine, which no subscriber takes. In: how many, how often. Out: for each
version and QoS the best messages a second, and microseconds of this process for one message. aiomqtt is used as its
guide does, with one call of `publish` at a time and with 20; the session has a list for an outbox, or the real spool.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import logging
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import aiomqtt

from benches.mqtt.broker import broker
from evcore.mqtt.broker.address import Address
from evcore.mqtt.broker.session import Session, SessionOptions
from evcore.mqtt.message import Message
from evcore.mqtt.spool import Spool, SpoolOptions
from tests.mqtt.memory_outbox import MemoryOutbox

Version: TypeAlias = Literal["5", "3.1.1"]
PAYLOAD = bytes(200)


class Result(NamedTuple):
    per_second: float
    cpu_us: float


class Watch:
    def __init__(self, count: int) -> None:
        self.count = count
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def result(self) -> Result:
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        return Result(self.count / wall, cpu / self.count * 1e6)


def messages(count: int, qos: int) -> list[Message]:
    return [Message(f"bench/{number % 100}", PAYLOAD, qos) for number in range(count)]


async def plain(port: int, version: Version, qos: int, count: int, together: int) -> Result:
    protocol = aiomqtt.ProtocolVersion.V5 if version == "5" else aiomqtt.ProtocolVersion.V311
    async with aiomqtt.Client("127.0.0.1", port, protocol=protocol, identifier="plain") as client:
        client.pending_calls_threshold = 1000
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                await client.publish(f"bench/{number % 100}", PAYLOAD, qos)

        watch = Watch(count)
        await asyncio.gather(*(work() for _ in range(together)))
        return watch.result()


async def until(condition: Callable[[], object], pause: float = 0.001) -> None:
    while not condition():  # noqa: ASYNC110 - an event for each message would be measured too
        await asyncio.sleep(pause)


async def session(port: int, version: Version, qos: int, count: int, folder: Path | None) -> Result:
    spool = None if folder is None else await Spool.open(SpoolOptions(path=folder / "spool.db", durability="normal"))
    listed = MemoryOutbox()
    address = Address.parse(f"mqtt://127.0.0.1:{port}")
    # What waits for the socket at the end is not counted: it has to be little.
    options = SessionOptions(addresses=(address,), identifier="session", version=version, telemetry_waiting=65_536)
    one = Session(options, spool or listed)
    running = asyncio.create_task(one.run())
    await until(lambda: one.state.connected)
    given = messages(count, qos)
    watch = Watch(count)
    if qos == 0:
        for message in given:
            await until(partial(one.send, message), 0)
        listed.put(Message("bench/end", b"", 1))  # acknowledged when the broker has read all before it
        await until(lambda: not listed.items)
    elif spool is None:
        listed.put(*given)
        await until(lambda: not listed.items)
    else:
        await asyncio.gather(*(spool.put(message, qos_class="billing", id="bench") for message in given))
        await until(lambda: not spool.backlog.messages)
    result = watch.result()
    await one.stop(10)
    await running
    if spool is not None:
        await spool.close()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="messages of a session (a quarter for aiomqtt)")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    logging.getLogger("mqtt").setLevel(logging.ERROR)
    count = options.count
    print("version  qos  aiomqtt, 1         aiomqtt, 20        session            session and spool")
    with tempfile.TemporaryDirectory() as folder, broker(Path(folder)) as port:
        versions: tuple[Version, ...] = ("5", "3.1.1")
        for version, qos in itertools.product(versions, (0, 1, 2)):
            columns = [
                partial(plain, port, version, qos, count // 4, 1),
                partial(plain, port, version, qos, count // 4, 20),
                partial(session, port, version, qos, count, None),
            ]
            if qos:
                columns.append(partial(session, port, version, qos, count, Path(folder)))
            best = [max(asyncio.run(column()) for _ in range(options.repeats)) for column in columns]
            cells = "".join(f"{one.per_second:7,.0f}/s {one.cpu_us:5.1f} µs  " for one in best)
            print(f"{version:7}  {qos}   {cells}", flush=True)


if __name__ == "__main__":
    main()
