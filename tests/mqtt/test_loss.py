"""What gets lost between a station and a subscriber when something breaks on the way: of what a station had an answer
for, nothing; and at QoS 2 nothing comes twice, as long as the broker keeps what it knows of the session.

`evcore serve` with a real broker under every fault of `faults.py`, in short; `python -m benches.mqtt --loss` runs the
same for longer, at each QoS, and draws the table of docs/mqtt.md.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.mqtt.faults.faults import FAULTS, WRONG, Case
from tests.mqtt.faults.stage import KEEPING, Effort, Fault, Stage, play, staged
from tests.mqtt.faults.subjects import Kind, Setup

EFFORT = Effort(stations=4, messages=40, outage=0.5)
CASES = {case.name: case for case in FAULTS}


async def run(
    folder: Path,
    name: str,
    qos: int,
    *,
    kind: Kind = "serve",
    version: str = "5",
    exact: bool | None = None,
    **more: Any,
) -> Stage:
    """Plays it and asserts what holds for every fault. Returns the stage, which has ended."""
    case: Case = CASES[name]
    given = case.prepare(folder) | more
    exact = case.exact if exact is None else exact
    async with staged(folder, kind, qos, EFFORT, version=version, witness=case.witness, **given) as stage:
        figures = await play(stage, case.fault)
        assert figures.lost == 0, f"{figures}\n{stage.said()}"
        assert figures.acknowledged == figures.sent, figures
        assert figures.received == figures.sent, figures
        if qos == 2 and exact:
            assert figures.duplicated == 0, f"{figures}\n{stage.said()}"
        # In the order of each station, whatever was sent again.
        assert figures.disordered == 0, figures
    assert "Traceback" not in stage.subject.said(), stage.subject.said()
    return stage


@pytest.mark.parametrize(
    "name",
    [
        "broker frozen for a while",
        "evcore killed and restarted",
        "evcore killed while the broker is away",
        "network stalls, then breaks",
        "network resets mid-packet",
        "network half-closed",
        "acknowledgements do not come back",
        "subscriber slow",
    ],
)
async def test_at_qos_2_everything_comes_exactly_once(tmp_path: Path, name: str) -> None:
    await run(tmp_path, name, 2)


@pytest.mark.parametrize(
    ("name", "qos"),
    [
        ("broker killed and restarted", 1),
        ("broker killed and restarted", 2),
        ("broker stopped for a while", 2),
        ("both killed and restarted", 1),
    ],
)
async def test_from_a_broker_that_was_gone_everything_comes(tmp_path: Path, name: str, qos: int) -> None:
    await run(tmp_path, name, qos)


async def test_a_broker_that_is_trusted_gets_everything_exactly_once_over_a_maintenance(tmp_path: Path) -> None:
    def trusting(setup: Setup) -> Setup:
        return replace(setup, settings={"MQTT_DOUBT": "false"})

    await run(tmp_path, "broker stopped for a while", 2, exact=True, setup=trusting)


async def worker_killed(stage: Stage) -> None:
    """One process of several, with the stations it had; the supervisor starts another one."""
    for share in (0.25, 0.6):
        await stage.progress(share)
        os.kill(stage.subject.workers()[0], signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="children are found in /proc")
@pytest.mark.parametrize("fault", [worker_killed, CASES["evcore killed and restarted"].fault], ids=["worker", "all"])
async def test_with_several_workers_on_one_connection(tmp_path: Path, fault: Fault) -> None:
    def two(setup: Setup) -> Setup:
        return replace(setup, settings={"WORKERS": "2"})

    async with staged(tmp_path, "serve", 2, EFFORT, setup=two, witness=2) as stage:
        figures = await play(stage, fault)
        assert (figures.lost, figures.duplicated) == (0, 0), f"{figures}\n{stage.said()}"
        assert (figures.acknowledged, figures.disordered) == (figures.sent, 0), figures


@pytest.mark.parametrize(
    ("name", "qos"),
    [
        ("broker killed and restarted", 2),
        ("evcore killed and restarted", 2),
        ("network resets mid-packet", 2),
    ],
)
async def test_with_mqtt_3_1_1_too(tmp_path: Path, name: str, qos: int) -> None:
    await run(tmp_path, name, qos, kind="driver", version="3.1.1")


async def test_a_full_disk_is_said_to_the_station_which_sends_again(tmp_path: Path) -> None:
    stage = await run(tmp_path, "disk of the spool full for a while", 2)
    assert stage.books.refused > 0


async def test_a_wrong_password_holds_everything_back_and_is_in_no_log(tmp_path: Path) -> None:
    stage = await run(tmp_path, "wrong password for a while", 2)
    said = stage.subject.said()
    assert "not authori" in said.lower() or "password" in said.lower()
    assert WRONG not in said


async def test_an_expired_certificate_holds_everything_back(tmp_path: Path) -> None:
    stage = await run(tmp_path, "broker's certificate expired for a while", 2)
    assert "expired" in stage.subject.said()


async def test_two_with_one_client_identifier_throw_each_other_out_and_lose_nothing(tmp_path: Path) -> None:
    """At QoS 1; at QoS 2 they may hold open the same packet identifiers of the one session they share."""
    stage = await run(tmp_path, "two with the same client identifier", 1)
    assert "already connected, closing old connection" in stage.broker.said()


async def test_a_broker_that_has_forgotten_the_session_gets_all_anew(tmp_path: Path) -> None:
    """Killed, it comes back empty: with no session, and no retained messages. What it had acknowledged and not passed
    on is its own loss; of what it had not acknowledged nothing is lost to a subscriber who is there before it comes.
    """
    forgetful = replace(KEEPING, persistence=False, autosave=False)

    async def killed_and_watched(stage: Stage) -> None:
        await stage.progress(0.4)
        stage.door.stall()  # nothing is under way in the broker when it dies, and none comes before the witness
        await asyncio.sleep(0.2)
        await stage.kill_broker()
        await stage.start_broker()
        stage.door.reset()
        stage.door.flow()

    async with staged(tmp_path, "serve", 2, EFFORT, broker=forgetful) as stage:
        figures = await play(stage, killed_and_watched)
        assert (figures.lost, figures.acknowledged) == (0, figures.sent), f"{figures}\n{stage.said()}"
        assert "a new session" in stage.subject.said().split("the broker", 1)[-1]
