"""docs/client.md is true: its program runs, its tables name the options there are."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import os
import re
import sys
from pathlib import Path
from typing import Any

import evcore
from evcore.endpoint import Outbox
from evcore.net.client import ClientOptions, Profile

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "client.md").read_text("utf-8")


async def test_the_program_runs(serving: Any, tmp_path: Path) -> None:
    [program] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    environment = {**os.environ, "PYTHONPATH": str(Path(evcore.__file__).parents[1])}
    async with serving() as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program.replace("ws://localhost:9000", server.url),
            cwd=tmp_path,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert re.fullmatch(r"boot Accepted\ntime 2\d{3}-.*Z\nleft 0\n", out.decode())
    assert (tmp_path / "stations.journal").exists()


def rows(name: str) -> dict[str, str]:
    """First and second column of the table whose head begins with this name."""
    [table] = re.findall(rf"^\| `{name}` \|.*\n\|.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE))


def test_the_options_are_those_there_are() -> None:
    options = ClientOptions()
    expected = {option.name: f"`{getattr(options, option.name)!r}`" for option in dataclasses.fields(options)}
    assert rows("ClientOptions") == {name: value.replace('"', "'") for name, value in expected.items()} | {
        "versions": '`("ocpp2.0.1", "ocpp1.6")`'
    }
    assert options.versions == ("ocpp2.0.1", "ocpp1.6")


def test_the_settings_of_an_outbox_are_those_there_are() -> None:
    parameters = inspect.signature(Outbox).parameters.values()
    assert rows("Outbox") == {parameter.name: f"`{parameter.default!r}`" for parameter in parameters}


def test_the_members_of_a_profile_are_those_there_are() -> None:
    assert list(rows("Profile")) == [member.name for member in dataclasses.fields(Profile)]
