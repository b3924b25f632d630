"""docs/serve.md is true: its program runs, its tables name the settings there are."""

from __future__ import annotations

import asyncio
import re
import sys
import tomllib
from pathlib import Path

from evcore.net.metrics_http import COUNTERS, GAUGES
from evcore.settings.model import load
from evcore.settings.options import MQTT, OPTIONS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "serve.md").read_text("utf-8")


async def test_the_program_runs(serving) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    async with serving() as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program.replace("ws://localhost:9000", server.url),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert out.count(b"Heartbeat") == 1
    assert b"currentTime" in out


def test_the_settings_are_those_there_are() -> None:
    rows = re.findall(r"^\| `(--[a-z0-9-]+)`(.*) \| `(EVCORE_\w+)` \| `(\w+)` \| `?([^`|]+)`? \|$", PAGE, re.MULTILINE)
    assert [key for _, _, _, key, _ in rows] == [name for name in OPTIONS if name not in MQTT], "those are in mqtt.md"
    for flag, words, variable, key, default in rows:
        option = OPTIONS[key]
        assert flag == option.flag
        assert variable == f"EVCORE_{key.upper()}"
        assert default.strip() == option.shown
        assert ", ".join(option.choices) in words


def test_the_metrics_are_those_there_are() -> None:
    """Every metric of ours is explained, with its labels, and no other."""
    section = PAGE.partition("## Metrics")[2].partition("\n## ")[0]
    explained = dict(re.findall(r"^\| (`evcore_.*?) \| (.*?) ?\| .* \|$", section, re.MULTILINE))
    told = {name: labels for names, labels in explained.items() for name in re.findall(r"`(\w+)`", names)}
    there = {
        f"{name}_total" if part in COUNTERS else name: ", ".join(labels)
        for part, (name, labels, _) in {**COUNTERS, **GAUGES}.items()
    }
    assert told == {**there, "evcore_call_seconds": "version, action"}


def test_the_file_in_the_page_can_be_read(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "evcore.toml"
    file.write_text(text)
    settings = load({}, file)
    assert settings.model_fields_set == set(tomllib.loads(text))
