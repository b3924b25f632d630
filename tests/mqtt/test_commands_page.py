"""docs/mqtt.md says how to give commands with Mosquitto's tools: the same lines, word for word, against a broker."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import typing
from pathlib import Path
from typing import Any

import pytest

from evcore.bus.orders import Refused, Status
from evcore.mqtt.commands.options import CommandOptions
from tests.mqtt.brokers import PATIENCE, Mosquitto, find
from tests.mqtt.commanded import commanded

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "mqtt.md").read_text("utf-8")
SECTION = PAGE[PAGE.index("\n## Commands\n") : PAGE.index("\n## Home Assistant\n")]
LINES = [line for block in re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL) for line in block.splitlines()]


def setting(name: str) -> tuple[str, ...]:
    """What the section's `evcore serve` line gives this option."""
    (line,) = re.findall(r"^evcore serve .*", SECTION, re.MULTILINE)
    words = shlex.split(line)
    return tuple(words[words.index(name) + 1].split(","))


async def run(line: str, broker: Mosquitto) -> asyncio.subprocess.Process:
    program, *words = shlex.split(line)
    find(program, "apt-get install mosquitto-clients")
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(program, "-p", f"{broker.port}", *words, stdout=pipe, stderr=pipe)


async def ended(process: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    assert process.returncode == 0, err
    return out.decode()


async def test_the_lines_of_the_page(mosquitto: Mosquitto, tmp_path: Path) -> None:
    options = CommandOptions(allow=setting("--mqtt-commands"), replies=setting("--mqtt-replies"))
    subscribe, publish, *ask = LINES
    assert [line.split()[0] for line in LINES] == ["mosquitto_sub", "mosquitto_pub", "mosquitto_rr", "mosquitto_rr"]
    async with (
        commanded(mosquitto.url, tmp_path / "spool", options) as it,
        it.here.station("CP1") as station,
    ):
        watching = await run(subscribe, mosquitto)
        async with asyncio.timeout(PATIENCE):
            while "chargers/+/result" not in mosquitto.said():  # noqa: ASYNC110 - the broker writes a file
                await asyncio.sleep(0.05)
        await ended(await run(publish, mosquitto))
        answers = [json.loads(await ended(await run(line, mosquitto))) for line in ask]
        watched = [line.split(" ", 1) for line in (await ended(watching)).splitlines()]
        assert [topic for topic, _ in watched] == ["chargers/CP1/result"] * 3
        assert [json.loads(text)["id"] for _, text in watched] == ["1", "37", "2"]
        assert [action for action, _ in station.calls] == ["ClearCache", "TriggerMessage", "ClearCache"]
        (shown,) = re.findall(r"```json\n(.*?)```", SECTION, re.DOTALL)
        expected: dict[str, Any] = json.loads(shown)
        assert {**answers[0], "time": expected["time"]} == expected
        assert list(answers[0]) == list(expected)
        assert answers[1]["id"] == "2"


@pytest.mark.parametrize(("words", "rows"), [(Status, "status"), (Refused, "code of `refused`")])
def test_the_tables_have_every_word(words: Any, rows: str) -> None:
    table = SECTION[SECTION.index(f"| `{rows}`" if rows == "status" else f"| {rows}") :].split("\n\n")[0]
    first = [row.split("|")[1] for row in table.splitlines()[2:]]
    assert {word for cell in first for word in re.findall(r"`([a-z-]+)`", cell)} == set(typing.get_args(words))


def test_the_defaults_are_those_of_the_page() -> None:
    options = CommandOptions()
    for value, said in (
        (options.lifetime, "60 seconds (`--mqtt-command-lifetime`)"),
        (options.longest_lifetime / 86_400, "a day (`--mqtt-command-longest`)"),
        (options.longest_timeout, "at most 300 (`--mqtt-command-timeout`)"),
        (options.station_queue, "64 commands of this station (`--mqtt-station-queue`)"),
        (options.queue, "10,000 of all (`--mqtt-queue`)"),
        (options.answers, "20 messages a second are answered"),
        (options.answers_burst, "200 at once (`--mqtt-answers`"),
    ):
        assert said in SECTION
        number = re.search(r"[\d,]+", said)
        assert value == (1 if number is None else int(number[0].replace(",", "")))
