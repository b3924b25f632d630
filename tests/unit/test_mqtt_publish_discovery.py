"""Home Assistant's device discovery: configurations, when they are published again, when they are taken back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evcore.bus import bodies as b
from evcore.mqtt.message import Received
from evcore.mqtt.publisher.discovery import SENSORS, object_id
from evcore.mqtt.publisher.flat import BY_NAME, FIELDS
from evcore.mqtt.publisher.options import PublishOptions
from evcore.mqtt.spool import SpoolFull
from evcore.mqtt.topics import TopicOptions
from tests.mqtt.fakes import Disk, Rig

CONFIG = "homeassistant/device/evcore_CP1/config"
ONLINE = b.StationOnline(station="CP1", version="ocpp1.6")
BOOTED = b.StationBooted(station="CP1", version="ocpp1.6", vendor="V", model="M", firmware="1", status="Accepted")
STATUS = b.ConnectorStatus(station="CP1", evse=1, connector=1, status="Available")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evcore.mqtt.publisher.publisher.LULL_SECONDS", 0.01)
    monkeypatch.setattr("evcore.mqtt.publisher.publisher.RETRY_SECONDS", 0.01)


def options(**changes: Any) -> PublishOptions:
    return PublishOptions(**{"node": "n1", "heartbeat_interval": 0, "discovery": True, "pace": 100_000.0, **changes})


def read(value: float, quantity: str = "SoC") -> b.Readings:
    return b.Readings(station="CP1", evse=1, samples=(b.Sample(quantity=quantity, value=value, unit=""),))


def configurations(rig: Rig) -> list[Any]:
    return [json.loads(m.payload) if m.payload else None for m, _ in rig.disk.puts if m.topic.endswith("/config")]


async def settled(rig: Rig) -> None:
    await rig.until(lambda: not rig.publisher._wake.is_set() and not rig.publisher._discovery.due)


async def test_a_configuration() -> None:
    async with Rig(options(topics=TopicOptions(prefix="ev"))) as rig:
        for body in (ONLINE, BOOTED, STATUS, read(50.0)):
            rig.bus.publish(body)
        await rig.until(lambda: configurations(rig))
        (message,) = [m for m, _ in rig.disk.puts if m.topic == CONFIG]
        assert (message.qos, message.retain) == (1, True)
        found = configurations(rig)[-1]
        components = found.pop("cmps")
        origin = found.pop("o")
        assert origin["name"] == "evcore"
        assert found == {
            "dev": {"ids": ["evcore_CP1"], "name": "CP1", "mf": "V", "mdl": "M", "sw": "1"},
            "availability": [{"topic": "ev/system/availability/n1"}, {"topic": "ev/chargers/CP1/availability"}],
            "availability_mode": "all",
            "qos": 1,
        }
        assert set(components) == {"1_status", "1_power", "1_energy", "1_current", "1_soc"}
        assert components["1_energy"] == {
            "p": "sensor",
            "unique_id": "evcore_CP1_1_energy",
            "name": "Connector 1 energy",
            "state_topic": "ev/devices/CP1/ev_charger/1/energy",
            "device_class": "energy",
            "state_class": "total_increasing",
            "unit_of_measurement": "Wh",
        }
        # What it reads is there, whatever the mode.
        assert rig.disk.last()["ev/devices/CP1/ev_charger/1/status"] == b"Available"


async def test_only_what_changed_is_published_again() -> None:
    async with Rig(options()) as rig:
        for body in (ONLINE, BOOTED, STATUS):
            rig.bus.publish(body)
        await rig.until(lambda: configurations(rig))
        rig.clear()
        for body in (BOOTED, STATUS, b.StationOffline(station="CP1", version="ocpp1.6"), ONLINE):
            rig.bus.publish(body)
        await settled(rig)
        assert configurations(rig) == []
        rig.bus.publish(read(50.0))
        await rig.until(lambda: configurations(rig))
        await settled(rig)
        assert [set(one["cmps"]) for one in configurations(rig)] == [
            {"1_status", "1_power", "1_energy", "1_current", "1_soc"}
        ]
        rig.clear()
        rig.bus.publish(read(51.0))
        await settled(rig)
        assert configurations(rig) == []


async def test_home_assistant_starts_anew() -> None:
    async with Rig(options()) as rig:
        assert rig.connection.subscriptions == {"homeassistant/status": 1}
        for body in (ONLINE, STATUS, read(3.0, "Power.Active.Import")):
            rig.bus.publish(body)
        await rig.until(lambda: configurations(rig))
        rig.clear()
        acks: list[int] = []
        for payload, retain in ((b"offline", False), (b"online", True), (b"nonsense", False)):
            message = Received("homeassistant/status", payload, retain=retain, acknowledge=lambda: acks.append(1))
            assert rig.publisher.received(message)
        await settled(rig)
        assert (rig.messages(), len(acks)) == ([], 3)
        assert rig.publisher.received(Received("homeassistant/status", b"online"))
        await rig.until(lambda: len(configurations(rig)) == 1 and rig.publisher.counts.again)
        await rig.until(lambda: any(m.topic.endswith("/power") for m in rig.connection.sent))
        topics = [m.topic for m in rig.messages()]
        # The configuration comes first: before it nobody there reads the values.
        assert topics[0] == CONFIG
        assert {"chargers/CP1/availability", "devices/CP1/ev_charger/1/status"} <= set(topics)
        assert not rig.publisher.received(Received("other/status", b"online"))


async def test_a_restart_publishes_nothing_and_forgets_nothing() -> None:
    disk = Disk()
    async with Rig(options(), disk=disk) as rig:
        rig.publisher.connected(resumed=True)
        for body in (ONLINE, BOOTED, STATUS, read(50.0)):
            rig.bus.publish(body)
        await rig.until(lambda: configurations(rig))
        await settled(rig)
        before = configurations(rig)[-1]
    disk.puts.clear()
    async with Rig(options(), disk=disk) as rig:
        rig.publisher.connected(resumed=True)
        for body in (ONLINE, BOOTED, STATUS):
            rig.bus.publish(body)
        await settled(rig)
        assert configurations(rig) == [], "the state of charge was seen before"
    disk.puts.clear()
    # A broker that does not know us any more may have lost it.
    async with Rig(options(), disk=disk) as rig:
        rig.publisher.connected(resumed=False)
        for body in (ONLINE, BOOTED, STATUS):
            rig.bus.publish(body)
        await rig.until(lambda: configurations(rig))
        assert configurations(rig)[-1] == before


async def test_turned_off_it_is_taken_back() -> None:
    disk = Disk()
    async with Rig(options(), disk=disk) as rig:
        rig.bus.publish(STATUS)
        await rig.until(lambda: configurations(rig))
        await settled(rig)
    disk.puts.clear()
    async with Rig(options(discovery=False), disk=disk) as rig:
        await rig.until(lambda: configurations(rig) == [None])
        await settled(rig)
        assert [(m.topic, m.payload, m.retain) for m, _ in disk.puts] == [(CONFIG, b"", True)]
    assert disk.kept == {}
    disk.puts.clear()
    async with Rig(options(discovery=False), disk=disk) as rig:
        await settled(rig)
        assert disk.puts == []


async def test_another_prefix() -> None:
    disk = Disk()
    async with Rig(options(), disk=disk) as rig:
        rig.bus.publish(STATUS)
        rig.bus.publish(read(50.0))
        await rig.until(lambda: configurations(rig))
        await settled(rig)
    disk.puts.clear()
    async with Rig(options(discovery_prefix="ha"), disk=disk) as rig:
        assert rig.connection.subscriptions == {"ha/status": 1}
        await rig.until(lambda: configurations(rig) == [None])
        rig.bus.publish(STATUS)
        await rig.until(lambda: len(configurations(rig)) == 2)
        assert [m.topic for m, _ in disk.puts if m.topic.endswith("config")] == [
            CONFIG,
            "ha/device/evcore_CP1/config",
        ]
        assert "1_soc" in configurations(rig)[-1]["cmps"]


async def test_a_removed_station() -> None:
    async with Rig(options()) as rig:
        for body in (ONLINE, STATUS):
            rig.bus.publish(body)
        await rig.until(lambda: configurations(rig))
        await settled(rig)
        rig.clear()
        rig.publisher.forget("CP1")
        await rig.until(lambda: configurations(rig) == [None])
        await settled(rig)
        assert rig.disk.kept == {}
        # It comes back: as new.
        rig.bus.publish(STATUS)
        await rig.until(lambda: len(configurations(rig)) == 2)


async def test_a_full_disk_is_tried_again() -> None:
    async with Rig(options()) as rig:
        rig.bus.publish(STATUS)
        rig.disk.error = SpoolFull("full")
        await rig.until(lambda: rig.publisher.counts.dropped.get("status"))
        # Nothing says that it was published, something that it may have been.
        assert json.loads(rig.disk.kept["discovery/CP1"])[1] == ""
        rig.disk.error = None
        await rig.until(lambda: configurations(rig))
        await settled(rig)
        assert json.loads(rig.disk.kept["discovery/CP1"])[1] != ""


async def test_notes_nobody_wrote() -> None:
    kept = {"discovery/A": "x", "discovery/B": "[]", "discovery/C": "[1,2,3]", "discovery/D": '["t","",{"1":"x"}]'}
    async with Rig(options(discovery=False), disk=Disk(kept=dict(kept))) as rig:
        await settled(rig)
        assert rig.disk.puts == []


def test_identities_become_object_ids() -> None:
    assert object_id("CP-1") == "evcore_CP-1"
    assert object_id("CP_1/é") == "evcore_CP_5F1_2F_C3_A9"


def test_every_sensor_is_a_field() -> None:
    units = {"%": "Percent", "°C": "Celsius"}
    for name, sensor in SENSORS.items():
        assert FIELDS[BY_NAME[name]].unit == units.get(sensor.unit or "", sensor.unit)


async def test_two_connectors_of_an_evse() -> None:
    async with Rig(options()) as rig:
        for connector in (1, 2):
            rig.bus.publish(b.ConnectorStatus(station="CP1", evse=1, connector=connector, status="Available"))
        rig.bus.publish(b.ConnectorStatus(station="CP1", evse=0, connector=1, status="Available"))
        await rig.until(lambda: configurations(rig))
        found = configurations(rig)[-1]["cmps"]
        assert {name for name in found if name.endswith("status")} == {"0_status", "1_status", "1-2_status"}
        assert found["1-2_status"]["name"] == "Connector 1-2 status"
        assert found["0_status"]["name"] == "Status"
        assert {name for name in found if name.endswith("power")} == {"1_power"}
