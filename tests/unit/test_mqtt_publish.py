"""Events as messages: each kind in each mode, classes, what is waited for, what happens while the broker is away."""

from __future__ import annotations

import asyncio
import gc
import json
import math
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from evcore.bus import KINDS, Bus, NotKept
from evcore.bus import bodies as b
from evcore.bus.schema import FOLDER
from evcore.mqtt.message import Message, Received
from evcore.mqtt.publisher import availability, charger
from evcore.mqtt.publisher.options import PublishOptions
from evcore.mqtt.spool import SpoolFull, SpoolNoRoom
from evcore.mqtt.topics import TopicOptions
from tests.mqtt.fakes import Disk, Rig

#: Schemas of what is no event of the bus.
OWN = Path(charger.__file__).parents[1] / "schemas"

ONLINE = b.StationOnline(station="CP1", version="ocpp1.6", address="192.0.2.7:50000")
OFFLINE = b.StationOffline(station="CP1", version="ocpp1.6")
BOOTED = b.StationBooted(
    station="CP1", version="ocpp1.6", vendor="V", model="M", serial="S", firmware="1.2", status="Accepted"
)
STATUS = b.ConnectorStatus(station="CP1", evse=1, connector=1, status="Faulted", error="GroundFailure", info="x")
SAMPLES = (
    b.Sample(quantity="Power.Active.Import", value=7360.0, unit="W"),
    b.Sample(quantity="Energy.Active.Import.Register", value=1234.5, unit="Wh"),
)
READINGS = b.Readings(station="CP1", evse=1, samples=SAMPLES)
STARTED = b.TransactionStarted(station="CP1", transaction="7", evse=1, connector=1, token="TAG-1", meter=1000.0)
UPDATED = b.TransactionUpdated(station="CP1", transaction="7", evse=1, energy=500.0)
ENDED = b.TransactionEnded(station="CP1", transaction="7", evse=1, token="TAG-1", meter=2000.0, energy=1000.0)
DEVICE = b.DeviceReading(device="m1", type="meter", instance="0", field="power", value=-12.5, unit="W", quality="good")
SITE = b.SiteEnergy(site="north", power=1.0, energy=2.0, stations=3, charging=1, since="2026-11-20T00:00:00.000Z")
BEAT = b.NodeHeartbeat(node="n1", version="1", uptime=1.0, stations=0, backlog=0)
FRAME = b.RawFrame(station="CP1", direction="in", frame='[2,"1","Heartbeat",{}]')
OTHERS = [
    b.FirmwareProgress(station="CP1", status="Installed"),
    b.LogProgress(station="CP1", status="Uploaded", request=3),
    b.ConfigurationProgress(station="CP1", keys=("A", "B"), status="Accepted"),
    b.SecurityEvent(station="CP1", type="TamperDetectionActivated"),
    b.Fault(station="CP1", code="GroundFailure", evse=1, connector=1),
    b.ViolationSeen(station="CP1", action="StatusNotification", code="TypeConstraintViolation", message="no"),
    b.CommandRequested(station="CP1", command="c1", action="Reset", source="mqtt"),
    b.CommandResult(station="CP1", command="c1", action="Reset", status="accepted", payload={"status": "Accepted"}),
]
EVENTS = "chargers/CP1/events"

#: Body, topic in mode json, class, whether it is retained.
TABLE: list[tuple[Any, str, str, bool]] = [
    (ONLINE, "chargers/CP1/status", "status", True),
    (OFFLINE, "chargers/CP1/status", "status", True),
    (BOOTED, "chargers/CP1/status", "status", True),
    (STATUS, "chargers/CP1/status", "status", True),
    (READINGS, "chargers/CP1/metrics", "telemetry", False),
    (STARTED, EVENTS, "billing", False),
    (UPDATED, EVENTS, "billing", False),
    (ENDED, EVENTS, "billing", False),
    (OTHERS[0], EVENTS, "status", False),
    (OTHERS[1], EVENTS, "status", False),
    (OTHERS[2], EVENTS, "status", False),
    (OTHERS[3], EVENTS, "status", False),
    (OTHERS[4], EVENTS, "status", False),
    (OTHERS[5], EVENTS, "telemetry", False),
    (OTHERS[6], EVENTS, "command", False),
    (OTHERS[7], EVENTS, "command", False),
    (DEVICE, "devices/m1/meter/0/power", "telemetry", True),
    (SITE, "sites/north/energy", "telemetry", True),
    (BEAT, "system/heartbeat/n1", "telemetry", False),
    (FRAME, "ocpp/CP1/in", "telemetry", False),
]
QOS = {"telemetry": 0, "status": 1, "command": 1, "billing": 2}


def options(**changes: Any) -> PublishOptions:
    return PublishOptions(**{"node": "n1", "heartbeat_interval": 0, **changes})


def judge(name: str, values: Any) -> None:
    """Raises what is wrong by the schema of that name."""
    file = OWN / f"{name}.json"
    text = (file if file.exists() else FOLDER / f"{name}.json").read_text("utf-8")
    Draft202012Validator(json.loads(text)).validate(values)


def test_the_table_has_every_kind() -> None:
    assert {type(row[0]) for row in TABLE} == set(KINDS)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: KINDS[type(row[0])].name)
async def test_json(row: tuple[Any, str, str, bool]) -> None:
    body, topic, qos_class, retain = row
    async with Rig(options(raw="out")) as rig:
        events: list[Any] = []
        rig.bus.attach("#", events.append)
        wait = rig.bus.publish(body)
        if wait is not None:
            await wait
        (message,) = [one for one in rig.messages() if one.topic == topic]
        rig.clear()
    event = events[0]
    assert (message.qos, message.retain) == (QOS[qos_class], retain)
    kind = "charger.status" if topic.endswith("/status") else event.kind.name
    assert message.user == (("id", event.id), ("kind", kind))
    assert message.content_type == "application/json"
    assert message.expiry == (300 if qos_class == "telemetry" and not retain else None)
    values = json.loads(message.payload)
    if body is FRAME:
        assert message.payload.decode() == body.frame
        return
    judge("device.value" if body is DEVICE else kind, values)
    if body is DEVICE:
        assert values == {"value": -12.5, "unit": "W", "quality": "good"}
    elif kind == "charger.status":
        assert (values["id"], values["kind"], values["published"]) == (event.id, kind, event.json()["published"])
    else:
        expected = {name: value for name, value in event.json().items() if name != "token"}
        assert values == expected


@pytest.mark.parametrize("mode", ["flat", "both"])
async def test_flat(mode: str) -> None:
    """What a charge leaves at the topics of single values, and that mode flat has nothing else but availability."""
    async with Rig(options(mode=mode)) as rig:
        for body in (ONLINE, BOOTED, STATUS, STARTED, READINGS, UPDATED, DEVICE):
            rig.bus.publish(body)
        last = {message.topic: message for message in rig.messages()}
        place = "devices/CP1/ev_charger"
        flat = {topic.removeprefix(f"{place}/"): m.payload for topic, m in last.items() if topic.startswith(place)}
        assert flat == {
            "0/version": b"ocpp1.6",
            "0/vendor": b"V",
            "0/model": b"M",
            "0/serial": b"S",
            "0/firmware": b"1.2",
            "1/status": b"Faulted",
            "1/error": b"GroundFailure",
            "1/transaction": b"7",
            "1/charged": b"500",
            "1/power": b"7360",
            "1/energy": b"1234.5",
        }
        assert all(m.retain for topic, m in last.items() if topic.startswith(place))
        power, status = last[f"{place}/1/power"], last[f"{place}/1/status"]
        assert (power.qos, power.user, power.expiry, power.content_type) == (0, (("unit", "W"),), None, None)
        assert (status.qos, status.user) == (1, ())
        assert last["devices/m1/meter/0/power"].payload == b"-12.5"
        assert ("unit", "W") in last["devices/m1/meter/0/power"].user
        others = {topic for topic in last if not topic.startswith("devices/")}
        json_topics = {"chargers/CP1/status", "chargers/CP1/metrics", "chargers/CP1/events"}
        assert others == {"chargers/CP1/availability", *(json_topics if mode == "both" else ())}
        rig.clear()
        rig.bus.publish(ENDED)
        last = {message.topic: message for message in rig.messages()}
        assert last[f"{place}/1/transaction"].payload == b""
        assert last[f"{place}/1/power"].payload == b"0"
        assert last[f"{place}/1/charged"].payload == b"1000"
        assert last[f"{place}/1/energy"].payload == b"2000"


async def test_what_is_said_is_not_said_twice() -> None:
    async with Rig(options(mode="flat")) as rig:
        rig.bus.publish(STATUS)
        rig.bus.publish(READINGS)
        rig.clear()
        rig.bus.publish(STATUS)
        assert rig.messages() == []
        rig.bus.publish(READINGS)
        assert [m.topic for m in rig.messages()] == [
            "devices/CP1/ev_charger/1/power",
            "devices/CP1/ev_charger/1/energy",
        ]
    async with Rig(options(mode="flat", retain={"device": False})) as rig:
        rig.bus.publish(STATUS)
        rig.clear()
        rig.bus.publish(STATUS)
        assert [m.retain for m in rig.messages()] == [False, False]


async def test_the_snapshot_grows() -> None:
    async with Rig() as rig:
        rig.bus.publish(ONLINE)
        rig.bus.publish(BOOTED)
        rig.bus.publish(STATUS)
        rig.bus.publish(b.ConnectorStatus(station="CP1", evse=0, connector=1, status="Available"))
        values = json.loads(rig.disk.last()["chargers/CP1/status"])
        judge("charger.status", values)
        for name in ("id", "kind", "published"):
            del values[name]
        assert values == {
            "station": "CP1",
            "online": True,
            "version": "ocpp1.6",
            "vendor": "V",
            "model": "M",
            "serial": "S",
            "firmware": "1.2",
            "boot": "Accepted",
            "connectors": [
                {"evse": 0, "connector": 1, "status": "Available"},
                {"evse": 1, "connector": 1, "status": "Faulted", "error": "GroundFailure", "info": "x"},
            ],
        }
        rig.bus.publish(OFFLINE)
        values = json.loads(rig.disk.last()["chargers/CP1/status"])
        assert (values["online"], len(values["connectors"])) == (False, 2)
        # Another version: connector numbers mean something else.
        rig.bus.publish(b.StationOnline(station="CP1", version="ocpp2.0.1"))
        values = json.loads(rig.disk.last()["chargers/CP1/status"])
        assert (values["version"], values["connectors"]) == ("ocpp2.0.1", [])


@pytest.mark.parametrize("mode", ["json", "flat"])
async def test_no_station_fills_the_broker(mode: str) -> None:
    async with Rig(options(mode=mode, most_connectors=4)) as rig:
        for evse in range(100):
            rig.bus.publish(b.ConnectorStatus(station="CP1", evse=evse, connector=1, status="Available"))
        assert len(rig.messages()) == 4


async def test_stations_that_are_away_give_way() -> None:
    async with Rig(options(most_stations=3)) as rig:
        for number in range(10):
            rig.bus.publish(b.StationOnline(station=f"CP{number}", version="ocpp1.6"))
            if number != 1:
                rig.bus.publish(b.StationOffline(station=f"CP{number}", version="ocpp1.6"))
        assert rig.publisher.stations == 1
        rig.clear()
    assert json.loads(rig.disk.last()["chargers/CP1/status"])["online"] is False


async def test_tokens_are_left_out_unless_wanted() -> None:
    result = b.CommandResult(
        station="CP1",
        command="c",
        action="X",
        status="accepted",
        payload={
            "idTag": "TAG-1",
            "list": [{"idToken": {"idToken": "TAG-1"}, "a": 1}],
            "b": {"parent_id_tag": "TAG-1"},
        },
    )
    async with Rig() as rig:
        for body in (STARTED, ENDED, result):
            await rig.bus.publish(body)  # type: ignore[misc]
        assert not any(b"TAG-1" in message.payload for message in rig.messages())
        assert json.loads(rig.messages()[2].payload)["payload"] == {"list": [{"a": 1}], "b": {}}
    async with Rig(options(tokens=True)) as rig:
        for body in (STARTED, ENDED, result):
            await rig.bus.publish(body)  # type: ignore[misc]
        assert all(b"TAG-1" in message.payload for message in rig.messages())


async def test_raw_frames_are_built_only_when_wanted() -> None:
    for raw, wanted in (("off", False), ("in", False), ("out", True), ("both", True)):
        async with Rig(options(raw=raw)) as rig:
            assert rig.bus.wants(KINDS[b.RawFrame]) is wanted


async def test_classes_are_settings() -> None:
    changed = options(
        mode="both",
        qos={"telemetry": 1, "billing": 1},
        classes={"transaction.updated": "telemetry", "readings": "billing", "flat.power": "billing"},
    )
    async with Rig(changed) as rig:
        for body in (READINGS, UPDATED, STARTED):
            await rig.bus.publish(body)  # type: ignore[misc]
        classes = {(m.topic.split("/", 2)[2], m.qos, qos_class) for m, qos_class in rig.disk.puts}
        assert ("metrics", 1, "billing") in classes
        assert ("ev_charger/1/power", 1, "billing") in classes
        assert ("ev_charger/1/energy", 1, "telemetry") in classes
        assert [c for m, c in rig.disk.puts if m.topic == EVENTS] == ["telemetry", "billing"]


async def test_retain_is_a_setting() -> None:
    async with Rig(options(retain={"status": False, "metrics": True})) as rig:
        rig.bus.publish(ONLINE)
        rig.bus.publish(READINGS)
        retained = {message.topic: message.retain for message in rig.messages()}
    assert retained == {
        "chargers/CP1/availability": True,
        "chargers/CP1/status": False,
        "chargers/CP1/metrics": True,
    }


async def test_templates_are_settings() -> None:
    topics = TopicOptions(prefix="ev", events="e/{kind}/{station}", status="s/{station}")
    async with Rig(options(topics=topics)) as rig:
        rig.bus.publish(STARTED)
        rig.bus.publish(STATUS)
        assert [message.topic for message in rig.messages()] == ["ev/e/transaction.started/CP1", "ev/s/CP1"]


# What is waited for


async def test_billing_waits_for_the_disk() -> None:
    disk = Disk(slow=True)
    async with Rig(disk=disk) as rig:
        wait = rig.bus.publish(STARTED)
        assert wait is not None
        done = False

        async def station() -> None:
            nonlocal done
            await wait
            done = True

        task = asyncio.create_task(station())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not done
        disk.write()
        await task
        disk.slow = False


async def test_telemetry_waits_for_nothing() -> None:
    async with Rig() as rig:
        assert rig.bus.publish(READINGS) is None


@pytest.mark.parametrize("error", [SpoolFull("full"), SpoolNoRoom("no room")])
async def test_billing_that_is_not_kept_fails(error: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with Rig(options(mode="both")) as rig:
        rig.disk.error = error
        with pytest.raises(NotKept):
            await rig.bus.publish(STARTED)  # type: ignore[misc]
        assert rig.publisher.counts.dropped["billing"] == 1
        # Other classes are dropped and counted; the station gets its answer.
        await rig.bus.publish(STATUS)  # type: ignore[misc]
        assert rig.publisher.counts.dropped["status"] >= 2
        rig.disk.error = None
        await rig.bus.publish(STARTED)  # type: ignore[misc]
    assert len([record for record in caplog.records if "could not be kept" in record.message]) == 1


async def test_a_failure_nobody_waits_for_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    async with Rig() as rig:
        events: list[Any] = []
        rig.bus.attach("#", events.append)
        await rig.bus.publish(STARTED)  # type: ignore[misc]
        rig.disk.error = SpoolFull("full")
        rig.publisher.take(events[0])
        await asyncio.sleep(0.01)
        gc.collect()
        rig.disk.error = None
        await rig.bus.publish(STARTED)  # type: ignore[misc]
    assert "never retrieved" not in caplog.text


async def test_what_json_cannot_say_is_counted() -> None:
    async with Rig() as rig:
        reading = b.DeviceReading(device="m", type="t", instance="0", field="f", value=math.nan)
        assert rig.bus.publish(reading) is None
        assert rig.publisher.counts.unfit == 1
        rig.bus.publish(DEVICE)
        assert len(rig.messages()) == 1
    rig.bus.forget("#")


async def test_lone_surrogates_do_not_stop_a_bill() -> None:
    async with Rig(options(mode="both")) as rig:
        await rig.bus.publish(b.TransactionStarted(station="CP\ud800", transaction="\udfff", evse=1))  # type: ignore[misc]
        message = next(m for m in rig.messages() if m.qos == 2)
        assert json.loads(message.payload)["station"] == "CP?"
        message.topic.encode()


# While the broker is away


async def test_the_last_value_waits_for_the_broker() -> None:
    async with Rig(options(mode="flat", values_recent=0)) as rig:
        rig.connection.state.connected = False
        for power in (1.0, 2.0, 3.0):
            rig.bus.publish(b.DeviceReading(device="m", type="t", instance="0", field="power", value=power))
        rig.bus.publish(READINGS)
        counts = rig.publisher.counts
        assert (counts.waiting, counts.replaced) == (3, 2)
        rig.connection.state.connected = True
        rig.publisher.connected(True)
        await rig.until(lambda: not counts.waiting)
        assert [(m.topic.rsplit("/", 1)[1], m.payload) for m in rig.connection.sent] == [
            ("power", b"3"),
            ("power", b"7360"),
            ("energy", b"1234.5"),
        ]
        # Nothing changed since: nothing is sent.
        rig.clear()
        rig.publisher.connected(True)
        await rig.until(lambda: not rig.publisher._wake.is_set())
        assert rig.messages() == []


async def test_a_newer_value_is_not_overtaken_by_the_one_that_waited() -> None:
    async with Rig(options(mode="flat", pace=20.0)) as rig:
        rig.connection.state.connected = False
        for number in range(20):
            rig.bus.publish(b.DeviceReading(device=f"m{number}", type="t", instance="0", field="f", value="old"))
        rig.connection.state.connected = True
        rig.publisher.connected(True)
        await rig.until(lambda: rig.connection.sent)
        rig.bus.publish(b.DeviceReading(device="m19", type="t", instance="0", field="f", value="new"))
        await rig.until(lambda: not rig.publisher.counts.waiting)
        assert [m.payload for m in rig.connection.sent if "m19" in m.topic] == [b"new"]
        assert len(rig.connection.sent) == 20


async def test_values_that_were_in_the_socket_when_it_broke() -> None:
    async with Rig(options(mode="flat")) as rig:
        for power in (1.0, 2.0):
            rig.bus.publish(b.DeviceReading(device="m1", type="t", instance="0", field="f", value=power))
            rig.bus.publish(b.DeviceReading(device="m2", type="t", instance="0", field="f", value=power))
        rig.connection.state.connected = False
        rig.bus.publish(b.DeviceReading(device="m1", type="t", instance="0", field="f", value=3.0))
        rig.clear()
        rig.connection.state.connected = True
        rig.publisher.connected(True)
        await rig.until(lambda: not rig.publisher.counts.waiting and len(rig.connection.sent) == 2)
        assert {m.topic.split("/")[1]: m.payload for m in rig.connection.sent} == {"m1": b"3", "m2": b"2"}


async def test_recent_values_are_bounded() -> None:
    for changes in ({"values_recent": 0.01}, {"values_waiting": 3}):
        async with Rig(options(**changes)) as rig:
            for number in range(10):
                rig.bus.publish(b.DeviceReading(device=f"m{number}", type="t", instance="0", field="f", value=1))
                await asyncio.sleep(0.02 if number == 8 else 0)
            # The oldest gives way, one for each that comes: so many as come while they are recent.
            assert len(rig.publisher._recent) <= 9
            for _ in range(20):
                rig.bus.publish(b.DeviceReading(device="m", type="t", instance="0", field="f", value=1))
                await asyncio.sleep(0.001)
            assert len(rig.publisher._recent) <= 3


async def test_states_that_gave_way_in_the_spool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evcore.mqtt.publisher.publisher.RETRY_SECONDS", 0.01)
    async with Rig() as rig:
        rig.bus.publish(ONLINE)
        rig.clear()
        rig.disk.counts.dropped["telemetry", "expired"] = 3
        await asyncio.sleep(0.05)
        assert rig.messages() == []
        rig.disk.unsent = 1
        rig.disk.counts.dropped["status", "full"] = 1
        await asyncio.sleep(0.05)
        assert rig.messages() == [], "there is no room yet"
        rig.disk.unsent = 0
        await rig.until(lambda: len(rig.messages()) == 2)
        # One that did not get in at all.
        rig.clear()
        rig.disk.error = SpoolFull("full")
        rig.bus.publish(OFFLINE)
        await asyncio.sleep(0)
        rig.disk.error = None
        await rig.until(lambda: rig.disk.last().get("chargers/CP1/availability") == b"offline")
        rig.clear()
        await asyncio.sleep(0.05)
        assert rig.messages() == []


async def test_a_socket_that_is_behind_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evcore.mqtt.publisher.publisher.RETRY_SECONDS", 0.01)
    async with Rig(options(mode="flat")) as rig:
        rig.connection.room = 1
        rig.bus.publish(READINGS)
        assert rig.publisher.counts.waiting == 1
        for _ in range(5):
            # It is tried, and fails, before there is room.
            await asyncio.sleep(0)
        rig.connection.room = None
        await rig.until(lambda: not rig.publisher.counts.waiting)
        assert len(rig.connection.sent) == 2


async def test_a_value_no_broker_takes_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evcore.mqtt.publisher.publisher.RETRY_SECONDS", 0.001)
    async with Rig(options(mode="flat")) as rig:
        rig.connection.poison = "devices/CP1/ev_charger/1/power"
        rig.connection.state.connected = False
        rig.bus.publish(READINGS)
        rig.connection.state.connected = True
        rig.publisher.connected(True)
        await rig.until(lambda: not rig.publisher.counts.waiting)
        assert [m.topic for m in rig.connection.sent] == ["devices/CP1/ev_charger/1/energy"]
        assert rig.publisher.counts.dropped == {"telemetry": 1}


async def test_waiting_values_are_bounded_and_the_rest_is_counted() -> None:
    async with Rig(options(values_waiting=10)) as rig:
        rig.connection.state.connected = False
        for number in range(25):
            rig.bus.publish(b.DeviceReading(device=f"m{number}", type="t", instance="0", field="f", value=1))
        rig.bus.publish(READINGS)
        counts = rig.publisher.counts
        assert (counts.waiting, counts.dropped) == (10, {"telemetry": 16})


# Availability, restarts, brokers that forgot


async def test_availability() -> None:
    async with Rig() as rig:
        rig.bus.publish(ONLINE)
        # Noted before the broker can know it.
        assert rig.disk.order.index("online/CP1 noted") < rig.disk.order.index("chargers/CP1/availability")
        assert rig.disk.kept == {"online/CP1": "ocpp1.6"}
        message = rig.disk.puts[0][0]
        assert (message.payload, message.qos, message.retain) == (b"online", 1, True)
        rig.bus.publish(OFFLINE)
        assert rig.disk.last()["chargers/CP1/availability"] == b"offline"
        assert rig.disk.kept == {}
        # Not noted as gone before that message.
        assert rig.disk.order[-1] == "online/CP1 gone"


async def test_all_are_called_offline_at_the_end() -> None:
    rig = Rig()
    async with rig:
        for number in range(600):
            rig.bus.publish(b.StationOnline(station=f"CP{number}", version="ocpp1.6"))
        rig.bus.publish(b.StationOffline(station="CP3", version="ocpp1.6"))
        rig.clear()
    last = rig.disk.last()
    assert "chargers/CP3/availability" not in last
    assert list(last.values()).count(b"offline") == 599
    assert json.loads(last["chargers/CP0/status"])["online"] is False
    assert rig.disk.kept == {}
    # Nothing more after the end.
    rig.clear()
    rig.bus.publish(ONLINE)
    assert rig.messages() == []


async def test_stations_that_do_not_come_back_after_a_crash() -> None:
    disk = Disk(kept={"online/CP1": "ocpp1.6", "online/CP2": "ocpp2.0.1", "online/CP/3": "ocpp1.6"})
    async with Rig(options(grace=0.3), disk=disk) as rig:
        rig.bus.publish(ONLINE)
        await rig.until(lambda: len(disk.kept) == 1)
        assert disk.kept == {"online/CP1": "ocpp1.6"}
        assert disk.last()["chargers/CP1/availability"] == b"online"
        assert disk.last()["chargers/CP2/availability"] == b"offline"
        assert disk.last()["chargers/CP%2F3/availability"] == b"offline"
        values = json.loads(disk.last()["chargers/CP2/status"])
        assert (values["online"], values["version"]) == (False, "ocpp2.0.1")
    assert [m.payload for m, _ in disk.puts if m.topic == "chargers/CP1/availability"] == [b"online", b"offline"]


async def test_a_broker_that_forgot_gets_everything_again() -> None:
    async with Rig(options(mode="both", pace=100_000, values_recent=0)) as rig:
        rig.publisher.connected()
        for body in (ONLINE, BOOTED, STATUS, READINGS, DEVICE, SITE):
            rig.bus.publish(body)
        rig.bus.publish(b.StationOnline(station="CP2", version="ocpp1.6"))
        rig.bus.publish(b.StationOffline(station="CP2", version="ocpp1.6"))
        before = {m.topic: m.payload for m in rig.messages() if m.retain}
        rig.clear()
        rig.publisher.connected(resumed=True)
        await rig.until(lambda: not rig.publisher._wake.is_set())
        assert rig.messages() == []
        rig.publisher.connected()
        await rig.until(lambda: rig.publisher.counts.again >= len(before))
        after = {m.topic: m.payload for m in rig.messages()}
        assert all(m.retain for m in rig.messages())
    assert after.keys() == before.keys()
    for topic, payload in before.items():
        if topic.endswith("/status") and topic.startswith("chargers"):
            old, new = json.loads(payload), json.loads(after[topic])
            assert new.pop("id") > old.pop("id")
            del old["published"], new["published"]
            assert old == new
        else:
            assert after[topic] == payload


async def test_what_the_bus_had_before_is_published() -> None:
    bus = Bus()
    for body in (ONLINE, STATUS, DEVICE):
        bus.publish(body)
    async with Rig(bus=bus) as rig:
        await rig.until(lambda: rig.publisher.counts.again == 3)
        assert {m.topic for m in rig.messages()} == {
            "chargers/CP1/availability",
            "chargers/CP1/status",
            "devices/m1/meter/0/power",
        }
        assert rig.disk.kept == {"online/CP1": "ocpp1.6"}


async def test_a_disk_that_fails_while_publishing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With status as class billing the failure is seen; the publisher's task lives on and tries again."""
    monkeypatch.setattr("evcore.mqtt.publisher.publisher.RETRY_SECONDS", 0.01)
    kinds = ("station.online", "connector.status")
    async with Rig(options(classes=dict.fromkeys(kinds, "billing"))) as rig:
        rig.publisher.connected()
        rig.bus.publish(ONLINE)
        rig.disk.error = SpoolFull("full")
        rig.publisher.connected()
        await rig.until(lambda: rig.publisher.counts.dropped.get("billing", 0) > 4)
        rig.clear()
        rig.disk.error = None
        await rig.until(lambda: len(rig.disk.puts) >= 2)


async def test_a_removed_station_is_taken_back() -> None:
    async with Rig(options(mode="both")) as rig:
        for body in (ONLINE, STATUS, READINGS):
            rig.bus.publish(body)
        topics = {m.topic for m in rig.messages() if m.retain}
        rig.clear()
        rig.publisher.forget("CP1")
        assert {m.topic for m in rig.messages()} == topics
        assert all(m.payload == b"" and m.retain for m in rig.messages())
        assert rig.disk.kept == {}
        assert rig.publisher.stations == 0
        # One that never was here leaves nothing either.
        rig.publisher.forget("CP9")


def test_birth_and_will() -> None:
    settings = options(topics=TopicOptions(prefix="ev"))
    assert availability.birth(settings) == Message("ev/system/availability/n1", b"online", 1, True)
    assert availability.farewell(settings) == Message("ev/system/availability/n1", b"offline", 1, True)
    assert availability.birth(options(qos={"status": 0})).qos == 1


async def test_heartbeats() -> None:
    async with Rig(options(heartbeat_interval=0.01)) as rig:
        rig.bus.publish(ONLINE)
        rig.disk.unsent = 2
        await rig.until(lambda: len(rig.connection.sent) >= 3)
        values = json.loads(rig.connection.sent[-1].payload)
        assert (values["node"], values["stations"], values["backlog"]) == ("n1", 1, 2)
        assert not rig.connection.sent[-1].retain


async def test_messages_from_the_broker_that_are_not_for_us() -> None:
    async with Rig() as rig:
        assert not rig.publisher.received(Received("homeassistant/status", b"online"))
        assert rig.connection.subscriptions == {}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"node": ""}, "node must not be empty"),
        ({"mode": "xml"}, "mode must be one of json, flat, both"),
        ({"raw": "yes"}, "raw must be one of"),
        ({"qos": {"telemetry": 3}}, "qos of telemetry must be one of 0, 1, 2"),
        ({"qos": {"money": 1}}, "a class in qos must be one of telemetry"),
        ({"classes": {"money": "billing"}}, "a kind in classes must be one of station.online"),
        ({"classes": {"readings": "money"}}, "class of readings must be one of"),
        ({"retain": {"money": True}}, "a template in retain must be one of status"),
        ({"site_interval": 0}, "site_interval must be above 0"),
        ({"pace": math.inf}, "pace must be above 0"),
        ({"grace": -1}, "grace must be 0 or above"),
        ({"sites": {"a": ()}}, "site 'a' must have a name and a list"),
        ({"sites": {"a": "CP*"}}, "site 'a' must have a name and a list"),
        ({"discovery_prefix": "home assistant"}, "discovery_prefix must be"),
        ({"discovery_prefix": "a//b"}, "discovery_prefix must be"),
    ],
)
def test_settings_that_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("(", r"\(")):
        options(**changes)
