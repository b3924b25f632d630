"""The soak in short, and that it would say so if something were wrong."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

import evcore
from benches.server.client import WrongAnswer
from benches.soak.crowd import Crowd
from benches.soak.verdict import MIB, Sample, judge, slope

ROOT = Path(__file__).parents[2]


def test_twenty_seconds_are_flat() -> None:
    path = os.pathsep.join((str(Path(evcore.__file__).parents[1]), str(ROOT)))
    arguments = ("--minutes", "0.33", "--stations", "60", "--rate", "200", "--life", "5")
    done = subprocess.run(
        [sys.executable, "-m", "benches.soak", *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not flat" not in done.stdout
    assert "CALLs answered" in done.stdout


def samples(rss: float = 0.0, objects: float = 0.0, blocks: float = 0.0, noise: int = 2 * MIB) -> list[Sample]:
    """Ninety samples of an hour in which this much is added, the first fifth of it with much more."""
    rng = random.Random(1)
    made = []
    for number in range(90):
        share = number / 90
        warming = -20 * MIB * max(0.0, 0.2 - share) * 5
        made.append(
            Sample(
                at=number * 40.0,
                rss=int(80 * MIB + warming + rss * share + rng.uniform(-noise, noise)),
                files=100,
                blocks=int(300_000 + blocks * share),
                types={"builtins.dict": int(20_000 + objects * share), "builtins.list": 5_000},
            )
        )
    return made


def test_what_is_flat() -> None:
    assert judge(samples()) == []
    assert judge(samples(rss=4 * MIB, objects=500, blocks=5_000)) == []
    assert abs(slope(samples(noise=0))) < 0.01


@pytest.mark.parametrize(
    ("growth", "said"),
    [
        ({"rss": 40 * MIB}, "resident memory"),
        ({"objects": 5_000}, "objects of builtins.dict"),
        ({"blocks": 100_000}, "allocated blocks"),
    ],
)
def test_what_is_not_flat(growth, said) -> None:
    [sentence] = judge(samples(**growth))
    assert sentence.startswith(said)


def test_the_slope_is_told_in_mebibytes_an_hour() -> None:
    assert slope(samples(rss=36 * MIB, noise=0)) == pytest.approx(36, rel=0.01)


def test_too_few_samples_prove_nothing() -> None:
    with pytest.raises(ValueError, match="too few"):
        judge(samples()[:5])


ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the upgrade was answered with"),
        (ACCEPTED + b"\x81\x0b" + b'[3,"x",{}]\n', "instead of"),
        (ACCEPTED + b"\x88\x02\x03\xe8", "closed with"),
        (ACCEPTED, "the server ended the connection"),
    ],
    ids=["refused", "another answer", "closed", "ended"],
)
async def test_stations_notice_a_wrong_server(answer, complaint) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        crowd = Crowd(port, stations=1, rate=1, life=10, troubles=0, seed=1)
        with pytest.raises(ExceptionGroup) as failed:
            await asyncio.wait_for(crowd.run(), 30)
        assert failed.group_contains(WrongAnswer, match=complaint)
