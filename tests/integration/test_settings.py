"""Settings of `evcore serve`: where they come from, which wins, and what is said about those that do not fit."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest

from evcore.cli.serve import serve
from evcore.settings.model import ServeSettings, SettingsError, load
from evcore.settings.options import OPTIONS, Option


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


def test_every_option_is_a_flag_and_a_setting() -> None:
    """The table of options, the command line and the model name the same things in the same order."""
    flags = [name for name in inspect.signature(serve).parameters if name != "config"]
    assert flags == list(OPTIONS) == list(ServeSettings.model_fields)


@pytest.mark.parametrize("option", OPTIONS.values(), ids=list(OPTIONS))
def test_the_words_of_an_option_are_those_the_model_takes(option: Option) -> None:
    field = ServeSettings.model_fields[option.name]
    assert (field.default, field.description) == (option.default, option.help)
    words = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    assert words == option.choices
    for word in words:
        assert getattr(load({option.name: word}), option.name) == word


def test_every_setting_comes_from_environment_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "host": "0.0.0.0",
        "port": 1,
        "http_host": "::1",
        "http_port": 3,
        "workers": 2,
        "engine": "websockets",
        "unknown": "reject",
        "stations": ("a", "b"),
        "subprotocol_mismatch": "close",
        "assume_ocpp16": True,
        "strict_identity": True,
        "identity_from_user": True,
        "security_profile": 2,
        "credentials": Path("stations"),
        "unknown_answer": "tell",
        "realm": "home",
        "certificate_name": "san",
        "organisation": "Us",
        "key_forms": "either",
        "tls_certificate": (Path("rsa.pem"), Path("ecdsa.pem")),
        "tls_key": (Path("rsa.key"), Path("ecdsa.key")),
        "tls_client_ca": Path("ca.pem"),
        "tls_minimum": "1.3",
        "client_certificate": "required",
        "accept_rate": 1.0,
        "accept_burst": 2,
        "retry_most": 3.0,
        "address_rate": 4.0,
        "address_burst": 5,
        "address_unfinished": 6,
        "unfinished": 7,
        "exempt": ("10.0.0.0/8", "fd00::/8"),
        "handshake_seconds": 8.0,
        "failures": 9,
        "identity_failures": 10,
        "address_failures": 11,
        "failure_delay": 12.0,
        "failure_delay_most": 13.0,
        "failure_memory": 14.0,
        "boot_rate": 15.0,
        "boot_burst": 16,
        "pending_most": 17,
        "heartbeat_interval": 7,
        "interval_jitter": 0.25,
        "boot_gate_ocpp16": "strict",
        "boot_gate_ocpp2": "off",
        "max_frame": 2048,
        "deflate": "on",
        "deflate_window": 15,
        "deflate_least": 26,
        "ping_interval": 18.0,
        "idle_timeout": 19.0,
        "max_waiting": 5000,
        "stall_seconds": 20.0,
        "receive_buffer": 4096,
        "backlog": 27,
        "inbox": 21,
        "queue": 28,
        "call_timeout": 22.0,
        "handler_timeout": 23.0,
        "drain_seconds": 24.0,
        "drain_grace": 25.0,
        "drain_code": "1012",
        "message_log": Path("log"),
        "message_log_max_bytes": 5000,
        "log_level": "error",
        "table": "on",
        "simulate": 0,
        "simulate_speed": 2.0,
    }
    assert set(values) == set(ServeSettings.model_fields)

    def toml(value: object) -> str:
        if isinstance(value, tuple):
            return str([str(item) for item in value])
        return f'"{value}"' if isinstance(value, (str, Path)) else str(value).lower()

    config = tmp_path / "all.toml"
    config.write_text("".join(f"{name} = {toml(value)}\n" for name, value in values.items()))
    assert load({}, config).model_dump() == values
    for name, value in values.items():
        monkeypatch.setenv(
            f"EVCORE_{name.upper()}", ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        )
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
        ("http_port = 70000", "the key 'http_port' of the settings file cannot be 70000: "),
        ('exempt = "10.0.0.0/33"', "the key 'exempt' of the settings file cannot be "),
        ("drain_code = 1000", "the key 'drain_code' of the settings file cannot be '1000': "),
        ("workers = 0", "the key 'workers' of the settings file cannot be 0: "),
        ('engine = "other"', "the key 'engine' of the settings file cannot be 'other': "),
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "evcore.toml").write_text(text)
    with pytest.raises(SettingsError) as refused:
        load({})
    assert str(refused.value).startswith(sentence)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"tls_certificate": ("a",)}, "tls_certificate names 1 files and tls_key 0: each certificate needs its key"),
        ({"tls_client_ca": "ca"}, "tls_client_ca needs tls_certificate and tls_key"),
        ({"security_profile": 1}, "security_profile 1 needs credentials"),
        ({"security_profile": 2, "credentials": "c"}, "security_profile 2 needs tls_certificate and tls_key"),
        (
            {"security_profile": 3, "tls_certificate": ("a",), "tls_key": ("b",)},
            "security_profile 3 needs tls_client_ca",
        ),
        ({"simulate": 1, "credentials": "c"}, "simulate and credentials exclude each other"),
        ({"simulate": 1, "tls_certificate": ("a",), "tls_key": ("b",)}, "simulate and tls_certificate exclude"),
    ],
)
def test_settings_that_do_not_fit_together(flags: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(flags)
    assert str(refused.value).startswith(f"the settings do not fit together: {sentence}")


def test_none_switches_http_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load({"http_port": "none"}).http_port is None
    assert load({"http_port": "0"}).http_port == 0
    monkeypatch.setenv("EVCORE_HTTP_PORT", "none")
    assert load({}).http_port is None


def test_a_number_is_a_close_code_too(tmp_path: Path) -> None:
    (tmp_path / "evcore.toml").write_text("drain_code = 1012\n")
    assert load({}).drain_code == "1012"


def test_a_named_file_must_exist() -> None:
    with pytest.raises(SettingsError, match=r"the settings file missing\.toml cannot be read: No such file"):
        load({}, Path("missing.toml"))


def test_what_is_wrong_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"^--max-frame cannot be 5: "):
        load({"max_frame": 5})
    monkeypatch.setenv("EVCORE_MAX_FRAME", "x")
    with pytest.raises(SettingsError, match=r"^the environment variable EVCORE_MAX_FRAME cannot be 'x': "):
        load({})
