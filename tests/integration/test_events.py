"""What stations do, as events on the bus: the right ones, in order, by their schemas, and kept before the answer."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import random
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from actions import BY_STATION, FOLDERS, instance, schema

from evcore.bus import Bus, Event, NotKept
from evcore.bus.bodies import (
    ConfigurationProgress,
    ConnectorStatus,
    Fault,
    FirmwareProgress,
    LogProgress,
    RawFrame,
    Readings,
    Sample,
    SecurityEvent,
    StationBooted,
    StationOffline,
    StationOnline,
    TransactionEnded,
    TransactionStarted,
    TransactionUpdated,
    ViolationSeen,
)
from evcore.csms.application import CsmsOptions

SCHEMAS = Path(importlib.util.find_spec("evcore.bus").submodule_search_locations[0]) / "schemas"
NOW = "2026-03-01T10:00:00Z"
LATER = "2026-03-01T11:00:00Z"


UNGATED = CsmsOptions(gate={"ocpp1.6": "off", "ocpp2.0.1": "off", "ocpp2.1": "off"})


class Heard:
    """Everything a bus publishes; `take` judges it by the schemas and gives the bodies."""

    def __init__(self) -> None:
        self.bus = Bus()
        self.events: list[Event] = []
        self.bus.attach("#", lambda event: self.events.append(event))

    def take(self) -> list[Any]:
        taken, self.events = self.events, []
        for event in taken:
            said = json.loads(json.dumps(event.json(), allow_nan=False))
            wanted = json.loads((SCHEMAS / f"{event.kind.name}.json").read_text("utf-8"))
            jsonschema.Draft202012Validator(wanted).validate(said)
            assert Event.parse(said).body == event.body
        return [event.body for event in taken]


def register(value: str, unit: str = "Wh", time: str = NOW) -> dict[str, Any]:
    return {"timestamp": time, "sampledValue": [{"value": value, "unit": unit}]}


def sample(value: float, time: str = NOW, **more: Any) -> Sample:
    return Sample(**{"quantity": "Energy.Active.Import.Register", "value": value, "unit": "Wh", "time": time, **more})


async def test_a_charge_of_16(serving, engine) -> None:
    heard = Heard()
    async with serving(engine, bus=heard.bus) as server, server.station() as station:
        (online,) = heard.take()
        assert online == StationOnline(station="CP1", version="ocpp1.6", address=online.address)
        assert online.address.startswith("127.0.0.1")

        boot = {"chargePointVendor": "V", "chargePointModel": "M", "firmwareVersion": "1.2"}
        await station.ask([2, "1", "BootNotification", boot | {"chargePointSerialNumber": "S"}])
        described = {"vendor": "V", "model": "M", "serial": "S", "firmware": "1.2"}
        assert heard.take() == [StationBooted(station="CP1", version="ocpp1.6", status="Accepted", **described)]

        await station.ask(
            [2, "2", "StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Preparing"}]
        )
        assert heard.take() == [ConnectorStatus(station="CP1", evse=1, connector=1, status="Preparing")]

        started = await station.ask(
            [2, "3", "StartTransaction", {"connectorId": 1, "idTag": "TAG", "meterStart": 1000, "timestamp": NOW}]
        )
        number = started[2]["transactionId"]
        transaction = str(number)
        assert heard.take() == [
            TransactionStarted(
                station="CP1", transaction=transaction, evse=1, connector=1, token="TAG", meter=1000.0, time=NOW
            )
        ]

        values = [register("3.5", "kWh"), {"timestamp": LATER, "sampledValue": [power("2.3", "kW", "L1"), text()]}]
        await station.ask([2, "4", "MeterValues", {"connectorId": 1, "transactionId": number, "meterValue": values}])
        assert heard.take() == [
            Readings(
                station="CP1",
                evse=1,
                connector=1,
                transaction=transaction,
                samples=(
                    sample(3500.0),
                    sample(2300.0, LATER, quantity="Power.Active.Import", unit="W", phase="L1"),
                ),
            ),
            TransactionUpdated(
                station="CP1",
                transaction=transaction,
                evse=1,
                meter=3500.0,
                energy=2500.0,
                trigger="MeterValuePeriodic",
                time=LATER,
            ),
        ]

        stop = {"transactionId": number, "meterStop": 4200, "timestamp": LATER, "idTag": "TAG"}
        await station.ask([2, "5", "StopTransaction", stop | {"transactionData": [register("4200", time=LATER)]}])
        assert heard.take() == [
            Readings(station="CP1", evse=1, connector=1, transaction=transaction, samples=(sample(4200.0, LATER),)),
            TransactionEnded(
                station="CP1",
                transaction=transaction,
                evse=1,
                token="TAG",
                meter=4200.0,
                energy=3200.0,
                reason="Local",
                time=LATER,
            ),
        ]

        broken = {"connectorId": 1, "errorCode": "GroundFailure", "status": "Faulted", "info": "wet", "timestamp": NOW}
        await station.ask([2, "6", "StatusNotification", broken])
        place = {"station": "CP1", "evse": 1, "connector": 1, "info": "wet", "time": NOW}
        assert heard.take() == [
            ConnectorStatus(status="Faulted", error="GroundFailure", **place),
            Fault(code="GroundFailure", **place),
        ]

        await station.ask([2, "7", "FirmwareStatusNotification", {"status": "Downloading"}])
        await station.ask([2, "8", "DiagnosticsStatusNotification", {"status": "Uploaded"}])
        event = {"type": "SettingSystemTime", "timestamp": NOW, "techInfo": "by 3 s"}
        await station.ask([2, "9", "SecurityEventNotification", event])
        assert heard.take() == [
            FirmwareProgress(station="CP1", status="Downloading"),
            LogProgress(station="CP1", status="Uploaded"),
            SecurityEvent(station="CP1", type="SettingSystemTime", time=NOW, info="by 3 s"),
        ]
    assert heard.take() == [StationOffline(station="CP1", version="ocpp1.6")]


def power(value: str, unit: str, phase: str) -> dict[str, Any]:
    return {"value": value, "unit": unit, "measurand": "Power.Active.Import", "phase": phase}


def text() -> dict[str, Any]:
    return {"value": "none of your business", "format": "SignedData"}


@pytest.mark.parametrize("version", ["ocpp2.0.1", "ocpp2.1"])
async def test_a_charge_of_2(serving, version) -> None:
    heard = Heard()

    def event(kind: str, number: int, wh: float, **info: Any) -> dict[str, Any]:
        sampled = {"value": wh, "unitOfMeasure": {"unit": "kWh", "multiplier": -3}}
        return {
            "eventType": kind,
            "timestamp": NOW,
            "triggerReason": "CablePluggedIn",
            "seqNo": number,
            "evse": {"id": 2, "connectorId": 1},
            "transactionInfo": {"transactionId": "T-1", **info},
            "meterValue": [{"timestamp": NOW, "sampledValue": [sampled]}],
        }

    async with serving(bus=heard.bus) as server, server.station(version) as station:
        heard.take()
        token = {"idToken": {"idToken": "TAG", "type": "ISO14443"}}
        await station.ask([2, "1", "TransactionEvent", event("Started", 0, 1000.0, remoteStartId=7) | token])
        await station.ask([2, "2", "TransactionEvent", event("Updated", 1, 1500.0, chargingState="Charging")])
        await station.ask(
            [2, "3", "TransactionEvent", event("Ended", 2, 1750.0, stoppedReason="EVDisconnected") | {"offline": True}]
        )
        bodies = heard.take()
        charge = {"station": "CP1", "transaction": "T-1", "evse": 2, "time": NOW}
        assert [body for body in bodies if not isinstance(body, Readings)] == [
            TransactionStarted(connector=1, token="TAG", meter=1000.0, remote_start=7, sequence=0, **charge),
            TransactionUpdated(
                meter=1500.0, energy=500.0, state="Charging", trigger="CablePluggedIn", sequence=1, **charge
            ),
            TransactionEnded(meter=1750.0, energy=750.0, reason="EVDisconnected", offline=True, sequence=2, **charge),
        ]
        assert [body.samples for body in bodies if isinstance(body, Readings)] == [
            (sample(1000.0),),
            (sample(1500.0),),
            (sample(1750.0),),
        ]

        status = {"timestamp": NOW, "connectorStatus": "Faulted", "evseId": 2, "connectorId": 1}
        await station.ask([2, "4", "StatusNotification", status])
        report = {"requestId": 5, "generatedAt": NOW, "seqNo": 0, "tbc": True}
        await station.ask([2, "5", "NotifyReport", report])
        await station.ask([2, "6", "NotifyReport", report | {"seqNo": 1, "tbc": False}])
        alert = {
            "eventId": 1,
            "timestamp": NOW,
            "trigger": "Alerting",
            "actualValue": "90",
            "eventNotificationType": "HardWiredNotification",
            "component": {"name": "Connector", "evse": {"id": 2}},
            "variable": {"name": "Temperature"},
        }
        await station.ask(
            [
                2,
                "7",
                "NotifyEvent",
                {"generatedAt": NOW, "seqNo": 0, "eventData": [alert, alert | {"trigger": "Delta"}]},
            ]
        )
        place = {"station": "CP1", "evse": 2, "time": NOW}
        assert heard.take() == [
            ConnectorStatus(connector=1, status="Faulted", **place),
            Fault(code="Faulted", connector=1, **place),
            ConfigurationProgress(station="CP1", request=5, part=0, last=False),
            ConfigurationProgress(station="CP1", request=5, part=1, last=True),
            Fault(code="90", component="Connector", variable="Temperature", **place),
        ]


@pytest.mark.parametrize("version", FOLDERS)
@pytest.mark.parametrize("optional", [0.0, 0.5, 1.0])
async def test_every_action_tells_by_its_schema(serving, version, optional) -> None:
    rng = random.Random(f"events {version} {optional}")
    heard = Heard()
    async with serving(bus=heard.bus) as server, server.station(version) as station:
        for number, action in enumerate(sorted(BY_STATION[version])):
            wanted = schema(version, action + FOLDERS[version][1])
            for attempt in range(3):
                reply = await station.ask([2, f"{number}-{attempt}", action, instance(rng, wanted, wanted, optional)])
                assert reply[0] == 3, reply
                heard.take()


BROKEN = [
    ("ocpp1.6", "StartTransaction", {"connectorId": "one", "meterStart": {}, "idTag": 7, "timestamp": [1]}),
    ("ocpp1.6", "StopTransaction", {"meterStop": "many", "transactionData": {"sampledValue": 5}}),
    (
        "ocpp1.6",
        "MeterValues",
        {"connectorId": 1, "meterValue": [{"sampledValue": [{"value": "1e308", "unit": "kWh"}]}]},
    ),
    ("ocpp1.6", "MeterValues", {"connectorId": 1, "transactionId": 9, "meterValue": [[], {"sampledValue": "none"}]}),
    ("ocpp2.0.1", "TransactionEvent", {"eventType": "Ended", "transactionInfo": [], "evse": 1, "idToken": "x"}),
    ("ocpp2.0.1", "TransactionEvent", {"eventType": "Else", "transactionInfo": {"transactionId": "+/#\u0000 " * 99}}),
    ("ocpp2.1", "MeterValues", {"evseId": 1, "meterValue": [{"sampledValue": [{"value": 1, "unitOfMeasure": 3}]}]}),
]


@pytest.mark.parametrize(("version", "action", "payload"), BROKEN)
async def test_broken_bills_are_answered_and_told(serving, version, action, payload) -> None:
    heard = Heard()
    async with serving(bus=heard.bus) as server, server.station(version) as station:
        heard.take()
        reply = await station.ask([2, "1", action, payload])
        assert reply[0] == 3, reply
        bodies = heard.take()
        assert any(isinstance(body, ViolationSeen) and body.action == action for body in bodies)


class Disk:
    """A durable sink that keeps nothing until it is told to."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[None]] = []

    def __call__(self, event: Event) -> Awaitable[None] | None:
        if event.kind.qos_class != "billing":
            return None
        self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[-1]


START = {"connectorId": 1, "idTag": "TAG", "meterStart": 0, "timestamp": NOW}


async def test_a_bill_is_answered_when_it_is_kept(serving, engine, until) -> None:
    bus, disk = Bus(), Disk()
    bus.attach("#", disk)
    async with serving(engine, bus=bus) as server, server.station() as station:
        await station.socket.send(json.dumps([2, "1", "StartTransaction", START]))
        await until(lambda: disk.waiting)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await station.socket.recv()
        disk.waiting[0].set_result(None)
        answer = await station.answer()
        assert answer[:2] == [3, "1"]


async def test_a_bill_that_cannot_be_kept_is_refused_and_taken_when_it_comes_again(serving, until) -> None:
    bus, disk = Bus(), Disk()
    bus.attach("#", disk)
    async with serving(bus=bus) as server, server.station() as station:
        for message_id in ("same", "same", "other"):
            await station.socket.send(json.dumps([2, message_id, "StartTransaction", START]))
            await until(lambda: disk.waiting)
            disk.waiting.pop().set_exception(NotKept("the disk is full"))
            answer = await station.answer()
            assert answer[:3] == [4, message_id, "InternalError"]
        await station.socket.send(json.dumps([2, "same", "StartTransaction", START]))
        await until(lambda: disk.waiting)
        disk.waiting.pop().set_result(None)
        answer = await station.answer()
        assert answer[:2] == [3, "same"]
        # And a repeat of what was kept is answered from memory, without a second event.
        again = await station.ask([2, "same", "StartTransaction", START])
        assert again == answer
        assert not disk.waiting


async def test_raw_frames_are_told_where_they_are_asked_for(serving) -> None:
    bus = Bus()
    frames: list[RawFrame] = []
    bus.attach("stations/{station}/frames/+", lambda event: frames.append(event.body))
    async with serving(bus=bus) as server, server.station() as station:
        await station.ask([2, "1", "Authorize", {"idTag": "SECRET"}])
        assert frames == []
    async with serving(bus=bus, csms=replace(UNGATED, raw_frames=True)) as server, server.station() as station:
        await station.ask([2, "1", "Authorize", {"idTag": "SECRET"}])
        assert [(frame.station, frame.direction) for frame in frames] == [("CP1", "in"), ("CP1", "out")]
        assert json.loads(frames[0].frame) == [2, "1", "Authorize", {"idTag": "***"}]
