"""Settings of `evcore serve`: where they come from, which wins, and what is said about those that do not fit."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from evcore.cli.serve import serve
from evcore.settings import ServeSettings, SettingsError, load


@pytest.fixture(autouse=True)
def _empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ServeSettings.model_fields:
        monkeypatch.delenv(f"EVCORE_{name.upper()}", raising=False)
    monkeypatch.delenv("EVCORE_CONFIG", raising=False)


def test_defaults() -> None:
    settings = load({})
    assert (settings.host, settings.port, settings.engine) == ("127.0.0.1", 9000, "picows")


def test_flags_over_environment_over_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "my.toml"
    config.write_text('port = 1\nheartbeat_interval = 1\nhost = "1.1.1.1"\n')
    monkeypatch.setenv("EVCORE_PORT", "2")
    monkeypatch.setenv("EVCORE_HEARTBEAT_INTERVAL", "2")
    settings = load({"port": 3}, config)
    assert (settings.port, settings.heartbeat_interval, settings.host) == (3, 2, "1.1.1.1")
    assert settings.engine == "picows"


def test_the_file_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evcore.toml").write_text("port = 1\n")
    assert load({}).port == 1
    (tmp_path / "other.toml").write_text("port = 2\n")
    monkeypatch.setenv("EVCORE_CONFIG", "other.toml")
    assert load({}).port == 2
    assert load({}, tmp_path / "evcore.toml").port == 1


def test_every_flag_is_a_setting() -> None:
    flags = set(inspect.signature(serve).parameters) - {"config"}
    assert flags == set(ServeSettings.model_fields)


def test_every_setting_comes_from_environment_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "host": "0.0.0.0",
        "port": 1,
        "engine": "websockets",
        "unknown": "reject",
        "stations": ("a", "b"),
        "subprotocol_mismatch": "close",
        "assume_ocpp16": True,
        "heartbeat_interval": 7,
        "max_frame": 2048,
        "message_log": Path("log"),
        "message_log_max_bytes": 5000,
        "log_level": "error",
        "table": "on",
        "simulate": 3,
        "simulate_speed": 2.0,
    }
    assert set(values) == set(ServeSettings.model_fields)

    def toml(value: object) -> str:
        if isinstance(value, tuple):
            return str(list(value))
        return f'"{value}"' if isinstance(value, (str, Path)) else str(value).lower()

    config = tmp_path / "all.toml"
    config.write_text("".join(f"{name} = {toml(value)}\n" for name, value in values.items()))
    assert load({}, config).model_dump() == values
    for name, value in values.items():
        monkeypatch.setenv(f"EVCORE_{name.upper()}", ",".join(value) if isinstance(value, tuple) else str(value))
    assert load({}).model_dump() == values
    flags = {**values, "stations": "a, b"}
    assert load(flags).model_dump() == values


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("prot = 9000", "the settings file evcore.toml has the unknown key 'prot'; known are host, port,"),
        ("port = 70000", "the key 'port' of the settings file cannot be 70000: "),
        ('port = "x"', "the key 'port' of the settings file cannot be 'x': "),
        ("port =", "the settings file evcore.toml is not TOML: "),
        ("[serve]\nport = 1", "the settings file evcore.toml has the unknown key 'serve'"),
        ('engine = "other"', "the key 'engine' of the settings file cannot be 'other': "),
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "evcore.toml").write_text(text)
    with pytest.raises(SettingsError) as refused:
        load({})
    assert str(refused.value).startswith(sentence)
    assert "\n" not in str(refused.value)


def test_a_named_file_must_exist() -> None:
    with pytest.raises(SettingsError, match=r"the settings file missing\.toml cannot be read: No such file"):
        load({}, Path("missing.toml"))


def test_what_is_wrong_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"^--max-frame cannot be 5: "):
        load({"max_frame": 5})
    monkeypatch.setenv("EVCORE_MAX_FRAME", "x")
    with pytest.raises(SettingsError, match=r"^the environment variable EVCORE_MAX_FRAME cannot be 'x': "):
        load({})
