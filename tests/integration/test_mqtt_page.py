"""docs/mqtt.md is true: its settings are those there are, its file can be read, its commands are understood."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

from typer.testing import CliRunner

from evcore.cli.app import app
from evcore.settings.model import load, load_bridge
from evcore.settings.options import MQTT

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "mqtt.md").read_text("utf-8")
SETTINGS = PAGE.partition("\n## Settings\n")[2]


def test_the_settings_are_those_there_are() -> None:
    rows = re.findall(r"^\| `([a-z0-9_-]+)`((?:[^|\\]|\\.)*) \| ((?:[^|\\]|\\.)+) \| (.*) \|$", SETTINGS, re.MULTILINE)
    assert [name.removeprefix("--").replace("-", "_") for name, *_ in rows] == list(MQTT)
    for (name, words, default, sentence), option in zip(rows, MQTT.values(), strict=True):
        assert name == (option.flag if option.has_flag else option.name)
        assert ("no flag" in words) == (not option.has_flag)
        assert ", ".join(option.choices) in words
        assert default.strip("`") == option.shown
        assert sentence.replace("\\|", "|") == option.help


def test_the_file_can_be_read(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", SETTINGS, re.DOTALL)
    file = tmp_path / "evcore.toml"
    file.write_text(text)
    for settings in (load({}, file), load_bridge({}, file)):
        assert settings.model_fields_set == set(tomllib.loads(text))
    assert load({}, file).mqtt_sites == {"depot": ("DE-BER-*",), "home": ("CP1", "CP2")}


def test_the_commands_are_there() -> None:
    """Every option in the examples is one of its command."""
    section = PAGE.partition("## Setting it up")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith(("evcore ", "ExecStart="))]
    assert len(lines) >= 6
    for line in lines:
        words = shlex.split(line.removeprefix("ExecStart=/usr/local/bin/").partition("#")[0])[1:]
        shown = CliRunner().invoke(app, [words[0], "--help"], env={"COLUMNS": "400", "TERMINAL_WIDTH": "400"}).output
        for word in words:
            if word.startswith("--"):
                assert word in shown, line
