"""The simulated station as the CSMS sees it: how it obeys, and what it says it cannot do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from evcore.csms.station import Station
from evcore.net.connection import CallFailed
from evcore.net.engine import load
from evcore.sim.run import VERSIONS, Plan, simulate

V2 = ("2.0.1", "2.1")


@pytest.fixture
def said() -> list[str]:
    """The lines the simulated station said."""
    return []


@pytest.fixture
def simulating(serving, until, said):
    """A server with one station that charges in a loop; gives the CSMS's side of it once the charge has begun."""

    @contextlib.asynccontextmanager
    async def run(version: str, speed: float = 3000.0) -> AsyncIterator[Station]:
        async with serving() as server:
            plan = Plan(server.url, "SIM", version, seed=3, speed=speed, loop=True)
            task = asyncio.create_task(simulate(plan, load("picows"), said.append))
            try:
                await until(lambda: task.done() or any("begins at" in line for line in said))
                assert not task.done(), said
                yield server.csms.stations["SIM"]
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    return run


async def test_configuration_16(simulating) -> None:
    async with simulating("1.6") as station:
        call = station.connection.call
        everything = await call("GetConfiguration", {})
        assert everything["unknownKey"] == []
        values = {entry["key"]: entry for entry in everything["configurationKey"]}
        assert values["HeartbeatInterval"] == {"key": "HeartbeatInterval", "readonly": False, "value": "300"}
        some = await call("GetConfiguration", {"key": ["heartbeatinterval", "NoSuchKey"]})
        assert [entry["key"] for entry in some["configurationKey"]] == ["HeartbeatInterval"]
        assert some["unknownKey"] == ["NoSuchKey"]
        for key, value, status in (
            ("MeterValueSampleInterval", "30", "Accepted"),
            ("MeterValueSampleInterval", "-1", "Rejected"),
            ("NumberOfConnectors", "2", "Rejected"),
            ("NoSuchKey", "1", "NotSupported"),
        ):
            assert await call("ChangeConfiguration", {"key": key, "value": value}) == {"status": status}
        changed = await call("GetConfiguration", {"key": ["MeterValueSampleInterval"]})
        assert changed["configurationKey"][0]["value"] == "30"


@pytest.mark.parametrize("version", V2)
async def test_variables(simulating, until, version) -> None:
    def item(component: str, variable: str, **more: Any) -> dict[str, Any]:
        return {"component": {"name": component}, "variable": {"name": variable}, **more}

    async with simulating(version) as station:
        call = station.connection.call
        wanted = [
            item("OCPPCommCtrlr", "HeartbeatInterval"),
            item("OCPPCommCtrlr", "NoSuch"),
            item("NoSuch", "HeartbeatInterval"),
            item("OCPPCommCtrlr", "HeartbeatInterval", attributeType="Target"),
        ]
        found = (await call("GetVariables", {"getVariableData": wanted}))["getVariableResult"]
        assert [entry["attributeStatus"] for entry in found] == [
            "Accepted",
            "UnknownVariable",
            "UnknownComponent",
            "NotSupportedAttributeType",
        ]
        assert found[0]["attributeValue"] == "300"
        data = [
            item("SampledDataCtrlr", "TxUpdatedInterval", attributeValue="30"),
            item("ChargingStation", "ConnectorCount", attributeValue="9"),
        ]
        done = (await call("SetVariables", {"setVariableData": data}))["setVariableResult"]
        assert [entry["attributeStatus"] for entry in done] == ["Accepted", "Rejected"]
        assert await call("GetBaseReport", {"requestId": 1, "reportBase": "FullInventory"}) == {"status": "Accepted"}
        await until(lambda: station.last_action == "NotifyReport")


@pytest.mark.parametrize("version", VERSIONS)
async def test_stop_and_start(simulating, until, version) -> None:
    async with simulating(version, speed=100) as station:
        call = station.connection.call
        (first,) = station.transactions
        if version == "1.6":
            stop, start = (
                ("RemoteStopTransaction", {"transactionId": int(first)}),
                (
                    "RemoteStartTransaction",
                    {"idTag": "FROM-CSMS", "connectorId": 1},
                ),
            )
            nonsense = ("RemoteStopTransaction", {"transactionId": 1})
        else:
            stop, start = (
                ("RequestStopTransaction", {"transactionId": first}),
                (
                    "RequestStartTransaction",
                    {"idToken": {"idToken": "FROM-CSMS", "type": "Central"}, "remoteStartId": 5, "evseId": 1},
                ),
            )
            nonsense = ("RequestStopTransaction", {"transactionId": "no-such"})
        assert await call(*nonsense) == {"status": "Rejected"}
        assert await call(*start) == {"status": "Rejected"}, "it is charging already"
        assert await call(*stop) == {"status": "Accepted"}
        await until(lambda: not station.transactions)
        await until(lambda: "Available" in station.connectors.values())
        assert await call(*start) == {"status": "Accepted"}
        await until(lambda: bool(station.transactions))
        assert station.violations == 0


@pytest.mark.parametrize("version", VERSIONS)
async def test_reset(simulating, until, said, version) -> None:
    async with simulating(version) as station:
        kind = "Soft" if version == "1.6" else "Immediate"
        assert await station.connection.call("Reset", {"type": kind}) == {"status": "Accepted"}
        await until(lambda: sum("boot: Accepted" in line for line in said) == 2)
        await until(lambda: sum("begins at" in line for line in said) == 2)
        assert any("ends (Reset)" in line for line in said)
        assert station.violations == 0


@pytest.mark.parametrize("version", VERSIONS)
async def test_trigger(simulating, until, version) -> None:
    async with simulating(version, speed=60) as station:
        sent = "TransactionEvent" if version != "1.6" else "MeterValues"
        for wanted in ("BootNotification", "Heartbeat", "StatusNotification", "FirmwareStatusNotification", sent):
            station.last_action = ""
            answer = await station.connection.call("TriggerMessage", {"requestedMessage": wanted})
            assert answer == {"status": "Accepted"}
            await until(lambda wanted=wanted: station.last_action == wanted)
        assert station.violations == 0


@pytest.mark.parametrize("version", VERSIONS)
async def test_availability(simulating, until, version) -> None:
    async with simulating(version, speed=20_000) as station:
        order = {"connectorId": 0, "type": "Inoperative"} if version == "1.6" else {"operationalStatus": "Inoperative"}
        assert await station.connection.call("ChangeAvailability", order) == {"status": "Scheduled"}
        await until(lambda: "Unavailable" in station.connectors.values())
        assert not station.transactions


OTHERS = {
    "1.6": [
        ("ClearCache", {}, "Accepted"),
        ("UnlockConnector", {"connectorId": 1}, "NotSupported"),
        ("DataTransfer", {"vendorId": "v"}, "UnknownVendorId"),
    ],
    "2.0.1": [
        ("ClearCache", {}, "Accepted"),
        ("UnlockConnector", {"evseId": 1, "connectorId": 1}, "UnlockFailed"),
        ("DataTransfer", {"vendorId": "v"}, "UnknownVendorId"),
        ("TriggerMessage", {"requestedMessage": "SignV2GCertificate"}, "NotImplemented"),
        ("Reset", {"type": "OnIdle", "evseId": 1}, "Rejected"),
        ("GetBaseReport", {"requestId": 1, "reportBase": "SummaryInventory"}, "NotSupported"),
    ],
}
UNSUPPORTED = {
    "1.6": ("GetDiagnostics", {"location": "ftp://example.com"}),
    "2.0.1": ("GetLocalListVersion", {}),
    "2.1": ("GetDERControl", {"requestId": 1}),
}


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_rest(simulating, version) -> None:
    async with simulating(version) as station:
        for action, payload, status in OTHERS["2.0.1" if version in V2 else version]:
            assert (await station.connection.call(action, payload))["status"] == status
        if version in V2:
            (running,) = station.transactions
            known = await station.connection.call("GetTransactionStatus", {"transactionId": running})
            assert known == {"messagesInQueue": False, "ongoingIndicator": True}
            assert await station.connection.call("GetTransactionStatus", {}) == {"messagesInQueue": False}
        with pytest.raises(CallFailed) as refused:
            await station.connection.call(*UNSUPPORTED[version])
        assert refused.value.code == "NotSupported"
