"""kill -9 at any moment: what was said to be on the disk is there, and numbers mean what they meant."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

from evcore.mqtt.spool import Spool, SpoolOptions, mid

WRITER = Path(__file__).with_name("spool_writer.py")
RUNS = 12


def killed(path: Path, run: int, moment: float) -> list[list[str]]:
    """What it said until it was killed, `moment` seconds after its first word."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, str(WRITER), str(path), str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        timer = subprocess.Popen(["sh", "-c", f"sleep {moment}; kill -9 {process.pid}"])
        rest = process.stdout.read()
        timer.wait()
    assert process.returncode == -9
    lines = (first + rest).decode().splitlines(keepends=True)
    return [line.split() for line in lines if line.endswith("\n")]


async def test_nothing_is_forgotten_and_no_number_used_twice(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    rng = random.Random(4)
    put: set[str] = set()
    ids: dict[int, str] = {}
    released: set[int] = set()
    done: set[int] = set()
    for run in range(RUNS):
        highest = max(ids, default=0)
        said = await asyncio.to_thread(killed, path, run, rng.uniform(0.0, 0.4))
        for word, *values in said:
            if word == "put":
                put.add(values[0])
            elif word == "given":
                seq = int(values[0])
                # The broker knows it by the packet identifier that comes of the number.
                assert ids.setdefault(seq, values[1]) == values[1]
            elif word == "released":
                released.add(int(values[0]))
            elif word == "done":
                done.add(int(values[0]))
        spool = await Spool.open(SpoolOptions(path=path))
        entries = []
        after = 0
        while more := await spool.fetch(after, 1_000):
            entries += more
            after = more[-1].seq
        await spool.close()

        found = {entry.seq: entry for entry in entries}
        assert [entry.seq for entry in entries] == sorted(found)
        assert len({entry.id for entry in entries}) == len(entries)
        for seq, entry in found.items():
            assert entry.message.payload == entry.id.encode() * 40
            assert ids.setdefault(seq, entry.id) == entry.id
            assert entry.mid == mid(seq)
        assert {ids[seq] for seq in done} | {entry.id for entry in entries} >= put
        assert released - done <= {seq for seq, entry in found.items() if entry.released}
        assert not said or max(ids) > highest
    assert len(done) > 100
    assert len(released - done) > 30
