"""A process with a spool, to be killed: it says what it was told, line by line.

    spool_writer.py FILE RUN

"put ID" when a put is done; "given SEQ ID"; "released SEQ" when that is done; "done SEQ" before it is called.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from pathlib import Path

from evcore.mqtt.message import Message
from evcore.mqtt.spool import Spool, SpoolOptions


def say(*words: object) -> None:
    """Whole lines, in the pipe before anything else happens."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def putter(spool: Spool, name: str) -> None:
    for number in itertools.count():
        id_ = f"{name}.{number}"
        await spool.put(Message(id_, id_.encode() * 40, qos=2), qos_class="billing", id=id_)
        say("put", id_)


async def sender(spool: Spool) -> None:
    """A window of 20: every third message only gets as far as PUBREC."""
    after = 0
    for turn in itertools.count():
        entries = await spool.fetch(after, 20)
        if not entries:
            await asyncio.sleep(0.001)
        for entry in entries:
            assert entry.message.payload == entry.id.encode() * 40
            say("given", entry.seq, entry.id)
            after = entry.seq
        releases = [(entry.seq, spool.released(entry.seq)) for entry in entries]
        for seq, release in releases:
            await release
            say("released", seq)
            if (seq + turn) % 3:
                say("done", seq)
                spool.done(seq)


async def main(path: Path, run: str) -> None:
    spool = await Spool.open(SpoolOptions(path=path, memory=100_000, batch=20))
    await asyncio.gather(sender(spool), *(putter(spool, f"{run}.{number}") for number in range(30)))


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
