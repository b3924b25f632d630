"""docs/serve.md is true: its program runs, its tables name the settings there are."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from evcore.settings import ServeSettings

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
    rows = re.findall(
        r"^\| `--([a-z0-9-]+)`.* \| `(EVCORE_\w+)` \| `(\w+)[^`]*` \| `?([^`|]+)`? \|$", PAGE, re.MULTILINE
    )
    assert [option.replace("-", "_") for option, *_ in rows] == list(ServeSettings.model_fields)
    for option, variable, key, default in rows:
        assert key == option.replace("-", "_")
        assert variable == f"EVCORE_{key.upper()}"
        value = ServeSettings.model_fields[key].default
        assert default.strip() == (
            "none" if value in (None, ()) else str(value).removesuffix(".0").replace("False", "false")
        )
