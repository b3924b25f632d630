"""From the settings to the bridge: every setting arrives, defaults are those of the parts, passwords are had afresh."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from evcore.cli.bridging import Bridging, bridge_options
from evcore.mqtt.bridge import BridgeOptions
from evcore.mqtt.broker.address import Address
from evcore.mqtt.broker.options import SessionOptions
from evcore.mqtt.commands.options import CommandOptions
from evcore.mqtt.publisher.options import PublishOptions
from evcore.mqtt.spool import SpoolOptions
from evcore.net.workers.worker import CannotStart
from evcore.settings.model import ServeSettings, load
from evcore.settings.options import MQTT

URL = ("mqtt://one", "mqtt://two:1")


@pytest.fixture(autouse=True)
def _empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ServeSettings.model_fields:
        monkeypatch.delenv(f"EVCORE_{name.upper()}", raising=False)


def options(**settings: Any) -> BridgeOptions:
    return bridge_options(load({"mqtt": URL, **settings}))


def test_defaults_are_those_of_the_parts() -> None:
    """Nobody reads two different defaults for one thing."""
    found, node = options(), socket.gethostname()
    addresses = (Address.parse("mqtt://one"), Address.parse("mqtt://two:1"))
    assert found == BridgeOptions(
        session=SessionOptions(addresses=addresses, identifier=f"evcore-{node}"),
        spool=SpoolOptions(path=Path("evcore-mqtt.db")),
        publish=PublishOptions(node=node),
        commands=CommandOptions(),
        flush=10.0,
    )


OTHERS: dict[str, Any] = {
    "mqtt": ("mqtt://three",),
    "mqtt_version": "3.1.1",
    "mqtt_node": "north",
    "mqtt_client_id": "me",
    "mqtt_username": "me",
    "mqtt_password": "secret",
    "mqtt_password_command": "echo",
    "mqtt_password_file": Path("password"),
    "mqtt_ca": Path("ca.pem"),
    "mqtt_certificate": Path("me.pem"),
    "mqtt_key": Path("me.key"),
    "mqtt_key_password": "secret",
    "mqtt_durability": "normal",
    "mqtt_mode": "flat",
    "mqtt_qos": {"billing": 1},
    "mqtt_classes": {"fault": "billing"},
    "mqtt_retain": {"status": False},
    "mqtt_raw": "out",
    "mqtt_prefix": "evcore",
    "mqtt_sites": {"home": ("CP1",)},
    "mqtt_discovery_prefix": "ha",
    "mqtt_commands": ("Reset",),
    "mqtt_replies": ("answers/#",),
}


def other(name: str) -> Any:
    """A value that is not the default."""
    default = MQTT[name].default
    if name in OTHERS:
        return OTHERS[name]
    if name.startswith("mqtt_topic_"):
        return f"other/{default}"
    if isinstance(default, bool):
        return not default
    return Path("other.db") if isinstance(default, Path) else default + 1


@pytest.mark.parametrize("name", MQTT)
def test_every_setting_arrives(name: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    more = {"mqtt_certificate": Path("me.pem")} if name == "mqtt_key" else {}
    assert options(**{**more, name: other(name)}) != options(**more)


def test_which_user_and_password(tmp_path: Path) -> None:
    """Those of a URL stay in it, where the session looks first; none of them shows."""
    named = ("mqtt://me:mine@one", "mqtt://two")
    assert (options(mqtt=named).session.username, options(mqtt=named).session.password) == (None, None)
    found = options(mqtt=("mqtt://me@one",), mqtt_password="p").session
    assert (found.username, found.password, found.addresses[0].username) == (None, "p", "me")
    found = options(mqtt_username="other", mqtt_password="p").session
    assert (found.username, found.password) == ("other", "p")
    assert "mine" not in repr(options(mqtt=named))
    assert "p'" not in repr(found)


def test_an_identifier_that_was_chosen_stays() -> None:
    found = options(mqtt_client_id="mine")
    assert (found.session.identifier, found.unique) == ("mine", False)
    found = options(mqtt_node="north")
    assert (found.session.identifier, found.unique) == ("evcore-north", True)


def test_results_are_never_sent_at_qos_0() -> None:
    assert options(mqtt_qos={"command": 0}).commands.qos == 1
    assert options(mqtt_qos={"command": 2}).commands.qos == 2


def test_frames_in_and_out() -> None:
    assert [options(mqtt_raw=raw).commands.raw for raw in ("off", "in", "out", "both")] == [False, True, False, True]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"mqtt": ("http://broker",)}, "a broker's URL begins with mqtt://, mqtts://, ws:// or wss://, not 'http'"),
        ({"mqtt": ("mqtt://me:hunter2@broker:99999",)}, "the broker's URL cannot be read"),
        ({"mqtt_topic_status": "here/#"}, "topic template status"),
        ({"mqtt_topic_status": "{station}/a", "mqtt_topic_metrics": "{station}/a"}, "could give the same topic"),
        ({"mqtt_commands": ("Dance",)}, "'Dance' allows nothing"),
        ({"mqtt_replies": ("a/#/b",)}, "'a/#/b' is no filter for replies"),
        ({"mqtt_classes": {"dance": "billing"}}, "a kind in classes must be one of"),
        ({"mqtt_retain": {"dance": True}}, "a template in retain must be one of"),
        ({"mqtt_password_file": "none"}, "the password file none cannot be read: No such file"),
        ({"mqtt": ("mqtts://broker",), "mqtt_ca": "none.pem"}, "none.pem cannot be read"),
        ({"mqtt": ("wss://broker",), "mqtt_certificate": "none.pem"}, "none.pem cannot be read"),
    ],
)
def test_what_cannot_be(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CannotStart) as refused:
        options(**settings)
    assert sentence in str(refused.value)
    assert "hunter2" not in str(refused.value)


# The password of each connection


async def had(found: BridgeOptions) -> str:
    """As a session asks for it."""
    token = found.session.token
    assert token is not None
    answer = await asyncio.to_thread(token)
    return answer if isinstance(answer, str) else await answer


async def test_a_file_is_read_each_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "password"
    file.write_text("first\r\nnot this\n")
    found = options(mqtt_password_file=file)
    assert await had(found) == "first"
    file.write_text("second")
    assert await had(found) == "second"
    for wrong, sentence in ((b"", "is empty"), (b"\nsecret", "is empty"), (b"\xff\xfe", "is not UTF-8")):
        file.write_bytes(wrong)
        caplog.clear()
        with pytest.raises(ValueError, match=sentence):
            await had(found)
        assert sentence in caplog.text
        assert "secret" not in caplog.text
    file.unlink()
    with pytest.raises(OSError, match="cannot be read: No such file"):
        await had(found)


async def test_a_program_is_run_each_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from pathlib import Path\n"
        "count = Path('count')\n"
        "count.write_text(count.read_text() + 'x' if count.exists() else 'x')\n"
        "print('token', len(count.read_text()))\n"
        "print('more ' * 50_000)\n"
    )
    found = options(mqtt_password_command=f"{sys.executable} '{program}'")
    assert [await had(found), await had(found)] == ["token 1", "token 2"]
    with pytest.raises(OSError, match="No such file"):
        await had(options(mqtt_password_command="no-such-program --secret"))
    assert "mqtt_password_command cannot be started: no-such-program" in caplog.text
    assert "--secret" not in caplog.text
    with pytest.raises(ValueError, match="what mqtt_password_command prints is empty"):
        await had(options(mqtt_password_command="true"))
    with pytest.raises(CannotStart, match="mqtt_password_command is no command"):
        options(mqtt_password_command=" ")
    with pytest.raises(CannotStart, match="No closing quotation"):
        options(mqtt_password_command="echo 'x")


async def test_a_program_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    found = options(mqtt_password_command=f"sh -c 'echo $$ > {pid}; exec sleep 600'")
    waiting = asyncio.create_task(had(found))
    async with asyncio.timeout(20):
        while not (pid.exists() and pid.read_text().strip()):  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(20):
        while True:
            try:
                os.kill(int(pid.read_text()), 0)
            except ProcessLookupError:
                break
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(SessionOptions)])
def test_nothing_of_the_session_was_forgotten(name: str) -> None:
    """A new field of it is a setting, or stands here with its reason."""
    ours = {"will", "birth", "farewell", "identifier", "addresses", "token", "tls"}
    tuned = {"stable_after", "early_ends"}
    assert name in ours | tuned or f"mqtt_{name}" in MQTT


def test_a_bridge_that_never_started_counts_nothing() -> None:
    from evcore.bus import Bus

    class Nobody:
        async def carry_out(self, order: Any) -> Any:
            raise AssertionError

    assert Bridging(load({"mqtt": URL}), Bus(), Nobody()).snapshot() == {}
