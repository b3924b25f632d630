"""The simulated station as the CSMS sees it: how it obeys, and what it says it cannot do."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from evcore.csms.station import Station
from evcore.net.connection import CallFailed
from evcore.net.engine import load
from evcore.sim.run import VERSIONS, Plan, simulate
from evcore.sim.station import Station as SimulatedStation

V2 = ("2.0.1", "2.1")


@pytest.fixture
def said() -> list[str]:
    """The lines the simulated station said."""
    return []


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[Any], object]]:
    """Put a function under an action's name to get the payloads of what the station sends of it."""
    wanted: dict[str, Callable[[Any], object]] = {}
    received = SimulatedStation._order

    def order(station: Any, action: str, payload: Any, *more: Any) -> bool:
        if action in wanted:
            wanted[action](copy.deepcopy(payload))
        return received(station, action, payload, *more)

    monkeypatch.setattr(SimulatedStation, "_order", order)
    return wanted


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
async def test_variables(simulating, until, version, heard) -> None:
    reports: dict[int, list[Any]] = {}
    heard["NotifyReport"] = lambda payload: reports.setdefault(payload["requestId"], []).append(payload)

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
        assert await call("GetBaseReport", {"requestId": 2, "reportBase": "SummaryInventory"}) == {
            "status": "NotSupported"
        }
        request = [item("OCPPCommCtrlr", "HeartbeatInterval")]
        assert await call("GetReport", {"requestId": 3, "componentVariable": request}) == {"status": "Accepted"}
        await until(lambda: {1, 3} <= reports.keys() and reports[1][-1]["tbc"] is False)
        assert [report["seqNo"] for report in reports[1]] == [0, 1, 2]
        assert len(reports[3][0]["reportData"]) == 1


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
        ("DataTransfer", {"vendorId": "v"}, "UnknownVendorId"),
        ("UnlockConnector", {"connectorId": 9}, "NotSupported"),
        ("ClearChargingProfile", {}, "Unknown"),
        ("CancelReservation", {"reservationId": 4}, "Rejected"),
        ("GetCompositeSchedule", {"connectorId": 2, "duration": 60}, "Rejected"),
        ("TriggerMessage", {"requestedMessage": "Heartbeat", "connectorId": 7}, "Rejected"),
        ("ReserveNow", {"connectorId": 1, "expiryDate": "2099-01-01T00:00:00Z", "idTag": "A", "reservationId": 1},
         "Occupied"),
        ("ReserveNow", {"connectorId": 1, "expiryDate": "2001-01-01T00:00:00Z", "idTag": "A", "reservationId": 1},
         "Rejected"),
    ],
    "2.x": [
        ("ClearCache", {}, "Accepted"),
        ("UnlockConnector", {"evseId": 1, "connectorId": 1}, "OngoingAuthorizedTransaction"),
        ("UnlockConnector", {"evseId": 9, "connectorId": 1}, "UnknownConnector"),
        ("DataTransfer", {"vendorId": "v"}, "UnknownVendorId"),
        ("TriggerMessage", {"requestedMessage": "SignV2GCertificate"}, "NotImplemented"),
        ("Reset", {"type": "OnIdle", "evseId": 1}, "Rejected"),
        ("ClearChargingProfile", {"chargingProfileCriteria": {"stackLevel": 3}}, "Unknown"),
        ("GetChargingProfiles", {"requestId": 1, "chargingProfile": {}}, "NoProfiles"),
        ("GetCompositeSchedule", {"evseId": 2, "duration": 60}, "Rejected"),
        ("SetNetworkProfile", {
            "configurationSlot": 1,
            "connectionData": {"messageTimeout": 30, "ocppCsmsUrl": "wss://a.example", "ocppInterface": "Wired0",
                               "ocppTransport": "JSON", "ocppVersion": "OCPP20", "securityProfile": 2},
        }, "Rejected"),
    ],
}  # fmt: skip
UNSUPPORTED = {
    "1.6": ("GetInstalledCertificateIds", {"certificateType": "CentralSystemRootCertificate"}),
    "2.0.1": ("GetDisplayMessages", {"requestId": 1}),
    "2.1": ("GetDERControl", {"requestId": 1}),
}


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_rest(simulating, version) -> None:
    async with simulating(version, speed=60) as station:
        for action, payload, status in OTHERS["2.x" if version in V2 else version]:
            assert (action, (await station.connection.call(action, payload))["status"]) == (action, status)
        if version in V2:
            (running,) = station.transactions
            known = await station.connection.call("GetTransactionStatus", {"transactionId": running})
            assert known == {"messagesInQueue": False, "ongoingIndicator": True}
            assert await station.connection.call("GetTransactionStatus", {}) == {"messagesInQueue": False}
        with pytest.raises(CallFailed) as refused:
            await station.connection.call(*UNSUPPORTED[version])
        assert refused.value.code == "NotSupported"


def limiting(version: str, purpose: str, limit: float, unit: str = "W", **more: Any) -> dict[str, Any]:
    """An order that limits the charge at connector 1, or all."""
    connector = 0 if "Max" in purpose else 1
    schedule: dict[str, Any] = {
        "chargingRateUnit": unit,
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}],
    }
    profile = {"stackLevel": 1, "chargingProfilePurpose": purpose, "chargingProfileKind": "Absolute", **more}
    if version == "1.6":
        return {
            "connectorId": connector,
            "csChargingProfiles": profile | {"chargingProfileId": 8, "chargingSchedule": schedule},
        }
    return {"evseId": connector, "chargingProfile": profile | {"id": 8, "chargingSchedule": [schedule | {"id": 1}]}}


@pytest.mark.parametrize("version", VERSIONS)
async def test_charging_profiles_are_obeyed(simulating, until, said, version) -> None:
    place = "connectorId" if version == "1.6" else "evseId"
    async with simulating(version, speed=600) as station:
        call = station.connection.call
        assert await call("SetChargingProfile", limiting(version, "TxProfile", 6.0, "A")) == {"status": "Accepted"}
        answer = await call("GetCompositeSchedule", {place: 1, "duration": 600, "chargingRateUnit": "W"})
        schedule = answer["chargingSchedule" if version == "1.6" else "schedule"]
        assert schedule["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 4140.0}]
        await until(lambda: any("may draw 4.1 kW" in line for line in said))
        drawn = len(said)
        await until(lambda: sum(" kW, " in line for line in said[drawn:]) > 2)
        assert all(float(line.split()[2]) <= 4.2 for line in said[drawn:] if " kW, " in line)
        # The lowest limit counts, whoever set it.
        maximum = limiting(version, "ChargePointMaxProfile" if version == "1.6" else "ChargingStationMaxProfile", 0)
        number = "chargingProfileId" if version == "1.6" else "id"
        maximum["csChargingProfiles" if version == "1.6" else "chargingProfile"][number] = 9
        assert await call("SetChargingProfile", maximum) == {"status": "Accepted"}
        await until(lambda: any("may draw 0.0 kW" in line for line in said))
        if version == "1.6":
            await until(lambda: "SuspendedEVSE" in station.connectors.values())
        clear = {"id": 9} if version == "1.6" else {"chargingProfileId": 9}
        before = len(said)
        assert await call("ClearChargingProfile", clear) == {"status": "Accepted"}
        await until(lambda: any("may draw 4.1 kW" in line for line in said[before:]))
        wrong = limiting(version, "TxProfile", 6.0, "A", stackLevel=1000)
        assert (await call("SetChargingProfile", wrong))["status"] == "Rejected"
        assert station.violations == 0


FIRMWARE = {
    "1.6": ("UpdateFirmware", {"location": "https://f.example/fw-3.1.4.bin", "retrieveDate": "2020-01-01T00:00:00Z"}),
    "2.x": (
        "UpdateFirmware",
        {
            "requestId": 12,
            "firmware": {"location": "https://f.example/fw-3.1.4.bin", "retrieveDateTime": "2020-01-01T00:00:00Z"},
        },
    ),
}


@pytest.mark.parametrize("version", VERSIONS)
async def test_firmware_update(simulating, until, heard, version) -> None:
    statuses: list[str] = []
    boots: list[Any] = []
    heard["FirmwareStatusNotification"] = lambda payload: statuses.append(payload["status"])
    heard["BootNotification"] = boots.append
    async with simulating(version, speed=5000) as station:
        await station.connection.call(*FIRMWARE["2.x" if version in V2 else version])
        await until(lambda: "Installed" in statuses)
        assert [status for status in statuses if status not in ("InstallScheduled", "InstallRebooting")] == [
            "Downloading", "Downloaded", "Installing", "Installed",
        ]  # fmt: skip
        described = boots[-1] if version == "1.6" else boots[-1]["chargingStation"]
        assert described["firmwareVersion"] == "3.1.4"
        if version in V2:
            assert "InstallRebooting" in statuses
            assert boots[-1]["reason"] == "FirmwareUpdate"


@pytest.mark.parametrize(
    ("version", "order", "notification", "statuses"),
    [
        ("1.6", ("GetDiagnostics", {"location": "ftp://l.example/"}), "DiagnosticsStatusNotification",
         ["Uploading", "Uploaded"]),
        ("1.6", ("GetDiagnostics", {"location": "gopher://l.example"}), "DiagnosticsStatusNotification",
         ["Uploading", "UploadFailed"]),
        ("2.0.1", ("GetLog", {"log": {"remoteLocation": "ftp://l.example"}, "logType": "SecurityLog", "requestId": 3}),
         "LogStatusNotification", ["Uploading", "Uploaded"]),
        ("2.1", ("GetLog", {"log": {"remoteLocation": "nowhere"}, "logType": "SecurityLog", "requestId": 3}),
         "LogStatusNotification", ["Uploading", "UploadFailure"]),
    ],
)  # fmt: skip
async def test_log_upload(simulating, until, heard, version, order, notification, statuses) -> None:
    said: list[str] = []
    heard[notification] = lambda payload: said.append(payload["status"])
    async with simulating(version) as station:
        answer = await station.connection.call(*order)
        assert answer.get("filename", answer.get("fileName"))
        await until(lambda: said == statuses)


@pytest.mark.parametrize("version", VERSIONS)
async def test_local_list(simulating, version) -> None:
    async with simulating(version) as station:
        call = station.connection.call
        number, version_key = ("listVersion", "listVersion") if version == "1.6" else ("versionNumber", "versionNumber")

        def entry(token: str, status: str | None) -> dict[str, Any]:
            if version == "1.6":
                return {"idTag": token} | ({} if status is None else {"idTagInfo": {"status": status}})
            known = {} if status is None else {"idTokenInfo": {"status": status}}
            return {"idToken": {"idToken": token, "type": "ISO14443"}, **known}

        full = {
            number: 3,
            "updateType": "Full",
            "localAuthorizationList": [entry("A", "Accepted"), entry("B", "Blocked")],
        }
        assert await call("SendLocalList", full) == {"status": "Accepted"}
        assert await call("GetLocalListVersion", {}) == {version_key: 3}
        old = {number: 3, "updateType": "Differential", "localAuthorizationList": [entry("A", None)]}
        assert await call("SendLocalList", old) == {"status": "VersionMismatch"}
        assert await call("SendLocalList", old | {number: 4}) == {"status": "Accepted"}
        assert await call("GetLocalListVersion", {}) == {version_key: 4}


@pytest.mark.parametrize("version", VERSIONS)
async def test_reservation(simulating, until, version) -> None:
    async with simulating(version, speed=20) as station:
        call, (running,) = station.connection.call, station.transactions
        stop = ("RemoteStopTransaction", {"transactionId": int(running)}) if version == "1.6" else (
            "RequestStopTransaction", {"transactionId": running},
        )  # fmt: skip
        await call(*stop)
        await until(lambda: set(station.connectors.values()) == {"Available"})
        far = "2099-01-01T00:00:00Z"
        if version == "1.6":
            order = {"connectorId": 1, "expiryDate": far, "idTag": "MINE", "reservationId": 5}
            start = ("RemoteStartTransaction", {"idTag": "OTHER"})
            mine = ("RemoteStartTransaction", {"idTag": "MINE"})
        else:
            token = {"idToken": "MINE", "type": "Central"}
            order = {"id": 5, "expiryDateTime": far, "idToken": token, "evseId": 1}
            start = ("RequestStartTransaction", {"remoteStartId": 1, "idToken": token | {"idToken": "OTHER"}})
            mine = ("RequestStartTransaction", {"remoteStartId": 2, "idToken": token})
        assert await call("ReserveNow", order) == {"status": "Accepted"}
        await until(lambda: set(station.connectors.values()) == {"Reserved"})
        assert await call(*start) == {"status": "Rejected"}
        assert await call(*mine) == {"status": "Accepted"}
        await until(lambda: bool(station.transactions))
        assert await call("CancelReservation", {"reservationId": 5}) == {"status": "Rejected"}
        assert station.violations == 0
