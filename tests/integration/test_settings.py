"""Settings of the commands: where they come from, which wins, and what is said about those that do not fit."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from evcore.cli.bridge import bridge
from evcore.cli.serve import serve
from evcore.settings.model import BridgeSettings, ServeSettings, SettingsError, load, load_bridge
from evcore.settings.options import BRIDGE, OPTIONS, TOPICS, Option


@pytest.fixture(autouse=True)
def _empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (*ServeSettings.model_fields, *BridgeSettings.model_fields):
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


@pytest.mark.parametrize(
    ("command", "options", "model"), [(serve, OPTIONS, ServeSettings), (bridge, BRIDGE, BridgeSettings)]
)
def test_every_option_is_a_flag_and_a_setting(command: Any, options: dict[str, Option], model: type[Any]) -> None:
    """The table of options, the command line and the model name the same things in the same order."""
    flags = [name for name in inspect.signature(command).parameters if name != "config"]
    assert flags == [name for name, option in options.items() if option.has_flag]
    assert list(options) == list(model.model_fields)


def test_passwords_are_no_flags() -> None:
    """Everybody may read command lines. A URL may hold one too, for those who do not mind."""
    secrets = {name for name in OPTIONS if name.endswith("password")}
    assert secrets == {name for name, option in OPTIONS.items() if not option.has_flag}
    assert all(OPTIONS[name].secret for name in (*secrets, "mqtt"))


@pytest.mark.parametrize("option", OPTIONS.values(), ids=list(OPTIONS))
def test_the_words_of_an_option_are_those_the_model_takes(option: Option) -> None:
    field = ServeSettings.model_fields[option.name]
    assert (field.default, field.description) == (option.default, option.help)
    words = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    assert words == option.choices
    for word in words:
        assert getattr(load({option.name: word}), option.name) == word


MQTT_VALUES: dict[str, Any] = {
    "mqtt": ("mqtt://a", "mqtts://b:1"),
    "mqtt_version": "3.1.1",
    "mqtt_node": "north",
    "mqtt_client_id": "me",
    "mqtt_username": "user",
    "mqtt_password": None,
    "mqtt_password_file": Path("password"),
    "mqtt_password_command": None,
    "mqtt_ca": Path("ca.pem"),
    "mqtt_certificate": Path("me.pem"),
    "mqtt_key": Path("me.key"),
    "mqtt_key_password": "secret",
    "mqtt_verify": False,
    "mqtt_keepalive": 31,
    "mqtt_session_expiry": 32,
    "mqtt_window": 33,
    "mqtt_receive_maximum": 34,
    "mqtt_receive_bytes": 3500,
    "mqtt_connect_timeout": 36.0,
    "mqtt_ack_timeout": 37.0,
    "mqtt_backoff_first": 38.0,
    "mqtt_backoff_most": 39.0,
    "mqtt_stable_after": 39.5,
    "mqtt_early_ends": 395,
    "mqtt_doubt": False,
    "mqtt_shuffle": False,
    "mqtt_refusals": 40,
    "mqtt_will_delay": 41,
    "mqtt_telemetry_waiting": 42,
    "mqtt_flush_seconds": 43.0,
    "mqtt_spool": Path("spool"),
    "mqtt_spool_bytes": 440_000,
    "mqtt_spool_age": 45.0,
    "mqtt_spool_reserve": 4501,
    "mqtt_spool_memory": 450_200,
    "mqtt_durability": "normal",
    "mqtt_mode": "both",
    "mqtt_qos": {"billing": 1, "telemetry": 2},
    "mqtt_classes": {"fault": "billing"},
    "mqtt_retain": {"status": False, "site": True},
    "mqtt_tokens": True,
    "mqtt_telemetry_expiry": 46,
    "mqtt_raw": "out",
    "mqtt_prefix": "evcore/test",
    **{f"mqtt_topic_{name}": f"t/{name}" for name, _, _ in TOPICS},
    "mqtt_sites": {"home": ("A*", "B?"), "depot": ("C",)},
    "mqtt_site_interval": 47.0,
    "mqtt_site_stale": 48.0,
    "mqtt_heartbeat_interval": 49.0,
    "mqtt_discovery": True,
    "mqtt_discovery_prefix": "ha",
    "mqtt_grace": 50.0,
    "mqtt_pace": 51.0,
    "mqtt_values_waiting": 512,
    "mqtt_commands": ("Reset", "CP1:*"),
    "mqtt_replies": ("replies/#",),
    "mqtt_command_lifetime": 52.0,
    "mqtt_command_longest": 53.0,
    "mqtt_command_timeout": 54.0,
    "mqtt_reconnecting": 54.5,
    "mqtt_command_bytes": 55,
    "mqtt_result_bytes": 56,
    "mqtt_station_queue": 57,
    "mqtt_queue": 58,
    "mqtt_answers": 59.0,
    "mqtt_answers_burst": 60,
    "mqtt_commands_kept": 61.0,
}


def toml(value: object) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name} = {toml(each)}' for name, each in value.items())}}}"
    if isinstance(value, tuple):
        return str([str(item) for item in value])
    return f'"{value}"' if isinstance(value, (str, Path)) else str(value).lower()


def text(value: object) -> str:
    """As in the environment."""
    if isinstance(value, dict):
        return ",".join(f"{name}={'|'.join(v) if isinstance(v, tuple) else v}" for name, v in value.items())
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


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
        "feed": None,
        "feed_wait": 3.0,
        **MQTT_VALUES,
    }
    assert set(values) == set(ServeSettings.model_fields)

    given = {name: value for name, value in values.items() if value is not None}
    config = tmp_path / "all.toml"
    config.write_text("".join(f"{name} = {toml(value)}\n" for name, value in given.items()))
    assert load({}, config).model_dump() == values
    for name, value in given.items():
        monkeypatch.setenv(f"EVCORE_{name.upper()}", text(value))
    assert load({}).model_dump() == values
    flags = {**values, "stations": "a, b", "mqtt_sites": "home = A* | B?, depot=C"}
    assert load(flags).model_dump() == values


def test_every_setting_of_a_bridge_comes_from_environment_and_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"feed": Path("s.sock"), "http_host": "::1", "http_port": 3, "log_level": "error", **MQTT_VALUES}
    assert set(values) == set(BridgeSettings.model_fields)
    given = {name: value for name, value in values.items() if value is not None}
    config = tmp_path / "all.toml"
    config.write_text("".join(f"{name} = {toml(value)}\n" for name, value in given.items()))
    assert load_bridge({}, config).model_dump() == values
    for name, value in given.items():
        monkeypatch.setenv(f"EVCORE_{name.upper()}", text(value))
    assert load_bridge({}).model_dump() == values


def test_one_file_for_both_commands(tmp_path: Path) -> None:
    """A key of the other command is passed over; one that nobody knows is not."""
    (tmp_path / "evcore.toml").write_text('feed = "here.sock"\nport = 1\nlog_level = "error"\n')
    assert load({}).feed == Path("here.sock")
    assert load_bridge({"mqtt": ("mqtt://a",)}).log_level == "error"
    (tmp_path / "evcore.toml").write_text('mqtt = "mqtt://a"\nnonsense = 1\n')
    with pytest.raises(SettingsError, match=r"unknown key 'nonsense'; known are feed, http_host"):
        load_bridge({})


def test_a_bridge_needs_a_broker() -> None:
    with pytest.raises(SettingsError, match="a bridge needs mqtt, the URL of its broker"):
        load_bridge({})


@pytest.mark.parametrize(
    ("name", "value"),
    [("mqtt", {"a": "mqtt://me:hunter2@there"}), ("mqtt_password", ["hunter2"]), ("mqtt_key_password", ["hunter2"])],
)
def test_secrets_are_not_repeated(name: str, value: object) -> None:
    with pytest.raises(SettingsError) as refused:
        load({name: value})
    assert str(refused.value).startswith(f"--{name.replace('_', '-')} cannot be used: ")
    assert "hunter2" not in str(refused.value)
    kept = load({"mqtt": ("mqtt://me:hunter2@there",), "mqtt_password": "hunter2", "mqtt_key_password": "hunter2"})
    assert "hunter2" not in repr(kept)


def test_pairs_that_are_none() -> None:
    for wrong in ("billing", "billing=", "=1", "billing=1,billing=2", "billing=1,,status=0"):
        with pytest.raises(SettingsError, match="--mqtt-qos cannot be "):
            load({"mqtt_qos": wrong})
    with pytest.raises(SettingsError, match="--mqtt-qos cannot be "):
        load({"mqtt_qos": "money=1"})
    with pytest.raises(SettingsError, match="--mqtt-qos cannot be "):
        load({"mqtt_qos": "billing=3"})


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
        ({"feed": "a", "mqtt": ("mqtt://b",)}, "feed and mqtt exclude each other"),
        ({"mqtt_password": "a", "mqtt_password_file": "b"}, "mqtt_password and mqtt_password_file exclude each other"),
        ({"mqtt_password": "a", "mqtt_password_command": "b"}, "mqtt_password and mqtt_password_command exclude"),
        ({"mqtt_key": "a"}, "mqtt_key needs mqtt_certificate"),
        ({"mqtt_backoff_first": 100.0}, "mqtt_backoff_first is longer than mqtt_backoff_most"),
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
