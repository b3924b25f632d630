"""Real processes that are killed: what a server was told is kept is kept, whoever dies when."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("feed_process.py")
_TRANSACTION = re.compile(r"\S{26} transaction\.\S+ \S+\n")
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def run(role: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(PROGRAM), role, str(tmp_path / "hub.sock"), *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        if role == "hub":
            assert process.stdout.readline() == "ready\n"
        return process

    yield run
    for process in started:
        with process:
            process.kill()


def transactions(file: Path) -> Counter[str]:
    """How many times each event is in the hub's file, by its transaction."""
    return Counter(
        line.split()[2] for line in file.read_text().splitlines(keepends=True) if _TRANSACTION.fullmatch(line)
    )


def test_a_hub_that_is_killed_loses_nothing_it_acknowledged(start: Start, tmp_path: Path) -> None:
    """Three times in the middle of two streams. Both get an acknowledgement for every event in the end, and each is
    in the file; one that comes again, because the hub died between writing and saying so, has the same id.
    """
    file = tmp_path / "events"
    servers = {name: start("server", name, "800") for name in ("A", "B")}
    hub = start("hub", str(file))
    for part in (200, 600, 1000):
        end = time.monotonic() + 60
        while sum(transactions(file).values()) < part:
            assert time.monotonic() < end
            time.sleep(0.005)
        hub.kill()
        hub.wait()
        hub = start("hub", str(file))
    said: list[str] = []
    for server in servers.values():
        while (line := server.stdout.readline().strip()) != "done":
            said.append(line)
    assert sorted(said) == sorted(f"{name}-{number}" for name in servers for number in range(800))
    kept = transactions(file)
    assert set(kept) == set(said)
    ids = {tuple(line.split()) for line in file.read_text().splitlines() if " transaction." in line}
    assert len(ids) == 1600, "what is there twice is the same event twice"


def test_a_server_that_is_killed_loses_nothing_that_was_acknowledged(start: Start, tmp_path: Path) -> None:
    """And its station is offline, while the other server goes on."""
    file = tmp_path / "events"
    start("hub", str(file))
    dying, living = start("server", "A", "100000"), start("server", "B", "300")
    said = [dying.stdout.readline().strip() for _ in range(200)]
    dying.kill()
    said += dying.communicate()[0].splitlines()
    # What the pipe cut off in the middle of a word was not said.
    said = [line for line in said if line.startswith("A-")][:-1]
    while (line := living.stdout.readline().strip()) != "done":
        said.append(line)
    kept = transactions(file)
    assert set(said) <= set(kept)
    assert set(kept.values()) == {1}
    end = time.monotonic() + 60
    while "station.offline" not in file.read_text():
        assert time.monotonic() < end
        time.sleep(0.01)
    assert file.read_text().count("station.offline") == 1
