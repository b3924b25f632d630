"""Orders of the CSMS: what is refused before it is sent, what becomes of what is sent, what the bus hears of it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from evcore.bus import Bus, Event
from evcore.bus.orders import Order, Outcome
from evcore.csms.application import Csms, CsmsOptions
from evcore.csms.orders import _YES, orderable, said
from evcore.schema import VERSIONS, _schema, actions
from tests.mqtt.stations import Place, place

#: Orders any station takes, by version.
RESET = {"ocpp1.6": {"type": "Soft"}, "ocpp2.0.1": {"type": "Immediate"}, "ocpp2.1": {"type": "Immediate"}}


def order(action: str = "ClearCache", payload: Any = None, *, station: str = "CP1", **more: Any) -> Order:
    return Order(id="1", station=station, action=action, payload=payload or {}, source="test", **more)


async def ordered(here: Place, *arguments: Any, **more: Any) -> Outcome:
    async with asyncio.timeout(30):
        return await here.orders.carry_out(order(*arguments, **more))


# Which actions


ACTIONS_16 = """
CancelReservation CertificateSigned ChangeAvailability ChangeConfiguration ClearCache ClearChargingProfile DataTransfer
DeleteCertificate ExtendedTriggerMessage GetCompositeSchedule GetConfiguration GetDiagnostics GetInstalledCertificateIds
GetLocalListVersion GetLog InstallCertificate RemoteStartTransaction RemoteStopTransaction ReserveNow Reset
SendLocalList SetChargingProfile SignedUpdateFirmware TriggerMessage UnlockConnector UpdateFirmware
"""
ACTIONS_201 = """
CancelReservation CertificateSigned ChangeAvailability ClearCache ClearChargingProfile ClearDisplayMessage
ClearVariableMonitoring CostUpdated CustomerInformation DataTransfer DeleteCertificate GetBaseReport GetChargingProfiles
GetCompositeSchedule GetDisplayMessages GetInstalledCertificateIds GetLocalListVersion GetLog GetMonitoringReport
GetReport GetTransactionStatus GetVariables InstallCertificate PublishFirmware RequestStartTransaction
RequestStopTransaction ReserveNow Reset SendLocalList SetChargingProfile SetDisplayMessage SetMonitoringBase
SetMonitoringLevel SetNetworkProfile SetVariableMonitoring SetVariables TriggerMessage UnlockConnector UnpublishFirmware
UpdateFirmware
"""
MORE_IN_21 = """
AFRRSignal AdjustPeriodicEventStream ChangeTransactionTariff ClearDERControl ClearTariffs GetDERControl
GetPeriodicEventStream GetTariffs NotifyAllowedEnergyTransfer NotifyWebPaymentStarted RequestBatterySwap SetDERControl
SetDefaultTariff UpdateDynamicSchedule UsePriorityCharging
"""


@pytest.mark.parametrize(
    ("version", "expected"),
    [("ocpp1.6", ACTIONS_16), ("ocpp2.0.1", ACTIONS_201), ("ocpp2.1", ACTIONS_201 + MORE_IN_21)],
)
def test_what_may_be_ordered(version: str, expected: str) -> None:
    """Read off the specifications' tables of contents, message by message."""
    assert orderable(version) == set(expected.split())


# What an answer says


def answers(version: str, action: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every status the schema knows, in an answer that is as small as can be."""
    schema = _schema(version, "result", action)
    definitions = schema.get("definitions", {})

    def resolved(node: dict[str, Any]) -> dict[str, Any]:
        return definitions[node["$ref"].rsplit("/", 1)[-1]] if "$ref" in node else node

    for name, node in schema.get("properties", {}).items():
        node = resolved(node)
        if name == "status":
            yield from ((status, {"status": status}) for status in node["enum"])
        elif node.get("type") == "array":
            for inner, member in resolved(node["items"]).get("properties", {}).items():
                if inner in ("status", "attributeStatus"):
                    yield from ((status, {name: [{inner: status}]}) for status in resolved(member)["enum"])


@pytest.mark.parametrize("version", VERSIONS)
def test_every_status_is_found_and_is_a_yes_or_a_no(version: str) -> None:
    no = {
        *("Rejected", "NotSupported", "NotImplemented", "Failed", "NotFound", "Unknown", "UnknownMessageId"),
        *("UnknownVendorId", "Faulted", "Occupied", "Unavailable", "VersionMismatch", "UnlockFailed", "NoFirmware"),
        *("InvalidCertificate", "RevokedCertificate", "Invalid", "EmptyResultSet", "NoProfiles", "UnknownComponent"),
        *("UnknownVariable", "NotSupportedAttributeType", "NotSupportedMessageFormat", "NotSupportedPriority"),
        *("NotSupportedState", "UnknownTransaction", "UnsupportedMonitorType", "Duplicate", "UnknownConnector"),
        *("OngoingAuthorizedTransaction", "DownloadOngoing", "TooManyElements", "ConditionNotSupported", "TxNotFound"),
        *("NoCurrencyChange", "NoTariff", "DuplicateTariffId", "LanguageNotSupported", "NoProfile"),
    }
    seen = 0
    for action in orderable(version):
        for status, answer in answers(version, action):
            assert said(action, answer) == status, (action, answer)
            assert (status in _YES) != (status in no), (action, status)
            seen += 1
    assert seen > 50


def test_one_no_in_a_list_is_a_no() -> None:
    statuses = ["RebootRequired", "Accepted", "UnknownVariable", "Rejected"]
    answer = {"setVariableResult": [{"attributeStatus": status} for status in statuses]}
    assert said("SetVariables", answer) == "UnknownVariable"
    assert said("SetVariables", {"setVariableResult": answer["setVariableResult"][:2]}) == "RebootRequired"
    assert said("SetVariables", {"setVariableResult": []}) is None
    assert said("GetLocalListVersion", {"listVersion": 1}) is None


# Sent and answered


@pytest.mark.parametrize("version", VERSIONS)
async def test_accepted_and_rejected(version: str) -> None:
    says = {"status": "Accepted"}
    async with place() as here, here.station(version=version, answer={"Reset": says}) as station:
        outcome = await ordered(here, "Reset", RESET[version])
        assert outcome == Outcome(status="accepted", code="Accepted", payload={"status": "Accepted"})
        assert station.calls == [("Reset", RESET[version])]
        says["status"] = "Rejected"
        outcome = await ordered(here, "Reset", RESET[version])
        assert (outcome.status, outcome.code, outcome.payload) == ("rejected", "Rejected", {"status": "Rejected"})


async def test_why_it_was_rejected() -> None:
    says = {"status": "Rejected", "statusInfo": {"reasonCode": "NoEnergy", "additionalInfo": "come back\u0000later"}}
    async with place() as here, here.station(version="ocpp2.0.1", answer={"Reset": says}):
        outcome = await ordered(here, "Reset", RESET["ocpp2.0.1"])
    assert (outcome.status, outcome.message) == ("rejected", "NoEnergy: come back\ufffdlater")


async def test_an_answer_without_a_status_is_a_yes() -> None:
    async with place() as here, here.station(answer={"GetLocalListVersion": {"listVersion": 7}}):
        assert await ordered(here, "GetLocalListVersion") == Outcome(status="accepted", payload={"listVersion": 7})


async def test_callerror() -> None:
    async with place() as here, here.station(answer=lambda *_: [4, "NotImplemented", "no\nidea" * 100, {}]):
        outcome = await ordered(here)
    assert (outcome.status, outcome.code, outcome.payload) == ("error", "NotImplemented", None)
    assert outcome.message is not None
    assert len(outcome.message) <= 201
    assert outcome.message.isprintable()


@pytest.mark.parametrize("answer", ['[3,"ID",{"status":"Maybe"}]', '[3,"ID",{"status":', '[4,"ID"]'])
async def test_an_answer_that_is_none(answer: str) -> None:
    async with place() as here, here.station(answer=lambda *_: answer):
        outcome = await ordered(here, timeout=1.0)
    # Text whose id cannot be read is an answer to nothing.
    assert (outcome.status, outcome.code) in (("error", "invalid"), ("timeout", None))
    if "Maybe" in answer:
        assert outcome.status == "error"
        assert "Maybe" not in (outcome.message or "")


async def test_silence_is_a_timeout() -> None:
    async with place() as here, here.station(answer=lambda *_: None) as station:
        outcome = await ordered(here, timeout=0.1)
        assert outcome.status == "timeout"
        assert station.calls


async def test_a_lost_connection_is_unknown() -> None:
    async with place() as here, here.station(answer=lambda *_: None) as station:
        waiting = asyncio.create_task(ordered(here))
        await station.called()
        await station.socket.close()
        assert (await waiting).status == "unknown"


# Not sent


async def test_nobody_of_that_name() -> None:
    async with place() as here:
        assert (await ordered(here, station="CP9")).code == "unknown-station"
    async with place(known={"CP1"}) as here:
        assert (await ordered(here, station="CP1")).code == "offline"
        assert (await ordered(here, station="CP9")).code == "unknown-station"


async def test_offline() -> None:
    async with place() as here:
        async with here.station() as station:
            await station.socket.close()
        assert (await ordered(here)).code == "offline"


@pytest.mark.parametrize("version", VERSIONS)
async def test_actions_of_the_wrong_direction_or_version(version: str) -> None:
    async with place() as here, here.station(version=version) as station:
        for action in sorted(set(actions(version)["call"]) - orderable(version)):
            outcome = await ordered(here, action)
            assert (outcome.status, outcome.code) == ("refused", "unsupported-action"), action
            assert outcome.message == f"{action} is sent by stations, not to them"
        other = "GetVariables" if version == "ocpp1.6" else "ChangeConfiguration"
        outcome = await ordered(here, other)
        assert outcome.code == "unsupported-action"
        assert "it is an action of ocpp" in (outcome.message or "")
        for nonsense in ("", "Reset ", "Reset-Signed", "\x00" * 500):
            outcome = await ordered(here, nonsense)
            assert outcome.code == "unsupported-action"
            assert len(outcome.message or "") < 200
        assert station.calls == []


@pytest.mark.parametrize(
    ("payload", "violation"),
    [
        ({"type": "Later"}, "/type"),
        ({}, "type"),
        ({"type": "Soft", "secret": "0000"}, "/secret"),
        ({"type": "\ud800"}, "/type"),
        ({"type": 10**400}, "/type"),
        ({f"x{number}": 1 for number in range(5000)}, ""),
        ({"x" * 100_000: 1}, ""),
    ],
    ids=["enum", "missing", "more", "surrogate", "long", "many", "wide"],
)
async def test_payloads_that_break_their_schema(payload: Any, violation: str) -> None:
    async with place() as here, here.station() as station:
        outcome = await ordered(here, "Reset", payload)
        assert (outcome.status, outcome.code) == ("refused", "invalid-payload")
        assert outcome.message == "the payload breaks the schema of Reset in ocpp1.6"
        assert 1 <= len(outcome.violations) <= 10
        assert any(violation in sentence for sentence in outcome.violations)
        assert all(len(sentence) <= 201 and sentence.isprintable() for sentence in outcome.violations)
        assert station.calls == []


async def test_expired_before_it_was_sent() -> None:
    async with place() as here, here.station() as station:
        assert (await ordered(here, expires=time.time() - 1)).status == "expired"
        assert station.calls == []


async def test_expired_while_it_waited_for_its_turn() -> None:
    async with place() as here, here.station(answer=lambda *_: None) as station:
        first = asyncio.create_task(ordered(here, timeout=10))
        await station.called()
        assert (await ordered(here, expires=time.time() + 0.2)).status == "expired"
        assert len(station.calls) == 1
        first.cancel()


async def test_more_than_may_wait() -> None:
    options = CsmsOptions(queue=2)
    async with place(options=options) as here, here.station(answer=lambda *_: None) as station:
        waiting = [asyncio.create_task(ordered(here))]
        await station.called()
        waiting += [asyncio.create_task(ordered(here)) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (await ordered(here)).code == "busy"
        for task in waiting:
            task.cancel()


async def test_stations_that_were_not_accepted() -> None:
    async with place() as here, here.station() as station:
        boot = here.csms.stations["CP1"].boot
        connection = here.csms.stations["CP1"].connection
        assert connection is not None
        boot.accepted_before = False
        boot.status = "pending"
        connection.endpoint.booted(0.0)
        remote = {"idTag": "0000"}
        assert (await ordered(here, "RemoteStartTransaction", remote)).code == "not-booted"
        assert (await ordered(here)).status == "accepted"
        boot.status = "rejected"
        connection.endpoint.booted(0.0)
        assert (await ordered(here)).code == "not-booted"
        assert [action for action, _ in station.calls] == ["ClearCache"]


async def test_a_failure_of_the_server_is_an_outcome(caplog: pytest.LogCaptureFixture) -> None:
    async with place() as here, here.station():
        here.csms.stations["CP1"].connection = SimpleNamespace(is_open=True)  # type: ignore[assignment]
        assert (await ordered(here)).status == "unknown"
        here.csms.stations["CP1"].connection = None
    assert "failed" in caplog.text


# What the bus and the log hear


async def heard(
    bus: Bus, action: str, payload: Any, answer: Any, version: str = "ocpp1.6", count: int = 3
) -> list[Event]:
    async with (
        bus.subscribe("stations/+/commands/#", "stations/+/configuration/#", "stations/+/configuration") as events,
        place(bus=bus) as here,
        here.station(version=version, answer={action: answer}),
    ):
        await ordered(here, action, payload)
        async with asyncio.timeout(10):
            return [await anext(events) for _ in range(count)]


async def test_the_bus_hears_of_commands() -> None:
    requested, result = await heard(Bus(), "Reset", RESET["ocpp1.6"], {"status": "Rejected"}, count=2)
    assert requested.kind.name == "command.requested"
    assert (requested.body.station, requested.body.command, requested.body.action) == ("CP1", "1", "Reset")
    assert requested.body.source == "test"
    assert result.kind.name == "command.result"
    assert (result.body.status, result.body.code, result.body.payload) == (
        "rejected",
        "Rejected",
        {"status": "Rejected"},
    )


async def test_the_bus_hears_no_secrets() -> None:
    answer = {"configurationKey": [{"key": "AuthorizationKey", "readonly": False, "value": "hush"}]}
    _, progress, result = await heard(Bus(), "GetConfiguration", {"key": ["AuthorizationKey"]}, answer)
    assert progress.body.keys == ("AuthorizationKey",)
    assert "hush" not in json.dumps(result.json())
    assert result.body.payload["configurationKey"][0]["value"] == "***"


COMPONENT = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}


@pytest.mark.parametrize(
    ("version", "action", "payload", "answer", "expected"),
    [
        (
            *("ocpp1.6", "ChangeConfiguration", {"key": "HeartbeatInterval", "value": "60"}),
            *({"status": "RebootRequired"}, (None, ("HeartbeatInterval",), "RebootRequired")),
        ),
        (
            *("ocpp2.0.1", "SetVariables", {"setVariableData": [{**COMPONENT, "attributeValue": "60"}]}),
            {"setVariableResult": [{**COMPONENT, "attributeStatus": "Rejected"}]},
            (None, ("OCPPCommCtrlr/HeartbeatInterval",), "Rejected"),
        ),
        (
            *("ocpp2.1", "GetBaseReport", {"requestId": 4, "reportBase": "FullInventory"}),
            *({"status": "Accepted"}, (4, (), "Accepted")),
        ),
    ],
    ids=["1.6", "2.0.1", "2.1"],
)
async def test_the_bus_hears_of_configuration(
    version: str, action: str, payload: Any, answer: Any, expected: tuple[Any, ...]
) -> None:
    events = await heard(Bus(), action, payload, answer, version)
    body = next(event.body for event in events if event.kind.name == "configuration.progress")
    assert (body.request, body.keys, body.status) == expected


async def test_the_bus_hears_nothing_of_names_that_are_nobody() -> None:
    bus = Bus()
    async with bus.subscribe("#") as events, place(bus=bus) as here:
        await ordered(here, station="CP9")
        assert events.waiting == 0


async def test_the_bus_hears_nothing_of_a_station_that_is_away() -> None:
    """Whoever waits for it to come back tries again and again."""
    bus = Bus()
    async with place(bus=bus) as here:
        async with here.station() as station:
            await station.socket.close()
        async with bus.subscribe("stations/+/commands/#") as events:
            assert (await ordered(here)).code == "offline"
            assert events.waiting == 0


async def test_nothing_of_a_payload_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "evcore")
    async with place() as here, here.station() as station:
        await ordered(here, "RemoteStartTransaction", {"idTag": "hush"})
        await ordered(here, "RemoteStartTransaction", {"idTag": "hush", "hush": "hush"})
        assert station.calls
    assert "RemoteStartTransaction of test: accepted" in caplog.text
    assert "hush" not in caplog.text


def test_no_identity_is_empty() -> None:
    """StationOrders asks for it to learn whether there is a list of stations."""
    assert Csms().knows("")
    assert not Csms(known={"CP1"}).knows("")
