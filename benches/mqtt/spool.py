"""How fast the spool takes messages: what group commit does, what the disk costs, and what the event loop feels of it.

    python -m benches.mqtt.spool [--messages N] [--putters N] [--payload BYTES] [--busy SHARE] [--batch N]
                                [--folder DIR]

Comes in: that many coroutines, each putting one message after another. Goes out: for both durabilities, with as many
messages as wait in one transaction and with one each: puts a second, the time from a put to its result (median, 99th
percentile), transactions, how late the loop ran at most; then how fast the messages come out again, with everything in
memory and with nearly nothing in it; then opening a file with all of them.

`--busy` keeps the loop itself at work for that share of its time, as handlers of messages would.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from evcore.mqtt.message import Message
from evcore.mqtt.spool import Spool, SpoolOptions
from evcore.mqtt.spool.entry import Durability


async def main(values: argparse.Namespace) -> None:
    print(f"{values.putters} putters, {values.payload} bytes of payload, the loop busy for {values.busy:.0%}")
    columns = f"{'durability':>10} {'commit':>8} {'puts/s':>8} {'median ms':>10} {'p99 ms':>8}"
    print(f"{columns} {'transactions':>13} {'lag ms':>7}")
    durabilities: tuple[Durability, ...] = ("full", "normal")
    for durability in durabilities:
        for batch in (values.batch, 1):
            with tempfile.TemporaryDirectory(dir=values.folder) as folder:
                options = SpoolOptions(path=Path(folder) / "spool.db", durability=durability, batch=batch)
                await put(options, values, values.messages if batch > 1 else values.messages // 10)
    for memory, words in ((1024**3, "in memory"), (64 * 1024, "on the disk")):
        with tempfile.TemporaryDirectory(dir=values.folder) as folder:
            await take(SpoolOptions(path=Path(folder) / "spool.db", durability="normal", memory=memory), values, words)


def message(number: int, values: argparse.Namespace) -> Message:
    topic = f"chargers/CP{number % 1000:05}/events"
    return Message(topic, bytes(values.payload), qos=2, content_type="application/json")


async def put(options: SpoolOptions, values: argparse.Namespace, messages: int) -> None:
    spool = await Spool.open(options)
    waits: list[float] = []
    each = max(1, messages // values.putters)

    async def putter(number: int) -> None:
        for _ in range(each):
            begun = time.perf_counter()
            await spool.put(message(number, values), qos_class="billing", id="01M7X5JT8QJT69AZJS7FP10003")
            waits.append(time.perf_counter() - begun)

    async with load(values.busy) as lag:
        begun = time.perf_counter()
        await asyncio.gather(*(putter(number) for number in range(values.putters)))
        took = time.perf_counter() - begun
    await spool.close()
    commit = "group" if options.batch > 1 else "each"
    median, p99 = statistics.median(waits), statistics.quantiles(waits, n=100)[-1]
    print(
        f"{options.durability:>10} {commit:>8} {len(waits) / took:>8,.0f} {median * 1e3:>10.1f} {p99 * 1e3:>8.1f} "
        f"{spool.counts.transactions:>13,} {max(lag) * 1e3:>7.1f}"
    )


async def take(options: SpoolOptions, values: argparse.Namespace, words: str) -> None:
    """In windows of 20, each message done as soon as it is given out."""
    spool = await Spool.open(options)
    for start in range(0, values.messages, 50):
        chunk = range(start, min(start + 50, values.messages))
        puts = (spool.put(message(number, values), qos_class="billing", id="x") for number in chunk)
        await asyncio.gather(*puts)
    await spool.close()
    begun = time.perf_counter()
    spool = await Spool.open(options)
    opened = time.perf_counter() - begun
    size = options.path.stat().st_size
    held, after, taken = spool.backlog.bytes, 0, 0
    begun = time.perf_counter()
    while entries := await spool.fetch(after, 20):
        for entry in entries:
            spool.done(entry.seq)
        taken += len(entries)
        after = entries[-1].seq
    took = time.perf_counter() - begun
    print(
        f"taken {words}: {taken / took:,.0f}/s; a file of {size / 1e6:.1f} MB for {held / 1e6:.1f} MB of messages, "
        f"opened in {opened * 1e3:.0f} ms"
    )
    await spool.close()


@asynccontextmanager
async def load(busy: float) -> AsyncIterator[list[float]]:
    """Gives how late a timer of 5 ms came, each time."""
    lag = [0.0]

    async def watch() -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(0.005)
            lag.append(time.perf_counter() - begun - 0.005)

    async def work() -> None:
        while True:
            end = time.perf_counter() + 0.001 * busy
            while time.perf_counter() < end:
                pass
            await asyncio.sleep(0.001 * (1 - busy))

    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(watch())]
    if busy:
        tasks.append(asyncio.create_task(work()))
    yield lag
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--putters", type=int, default=1_000)
    parser.add_argument("--payload", type=int, default=300)
    parser.add_argument("--busy", type=float, default=0.0)
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--folder", type=Path, default=None)
    asyncio.run(main(parser.parse_args()))
