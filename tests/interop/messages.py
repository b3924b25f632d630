"""What stations and central systems say in these tests, in each version's words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

__all__ = [
    "ANSWERS",
    "BAD_ANSWER",
    "ORDERS",
    "UNHANDLED",
    "UNICODE",
    "WRONG",
    "Order",
    "boot",
    "charge",
    "data_transfer",
    "status",
]

Payload = Mapping[str, Any]
Ask = Callable[[str, Payload], Awaitable[Payload]]

NOW: Final = "2026-03-01T10:00:00Z"

#: Text that a careless codec breaks: quotes, escapes, what HTML escapes, two scripts, outside the BMP, U+2028.
UNICODE: Final = 'Säule "7" \\ <b>&</b> 充电 ⚡ \N{ELECTRIC PLUG} \t\u2028 e\u0301'


class Order(NamedTuple):
    """A CALL of the central system and what the station answers."""

    action: str
    payload: Payload
    answer: Payload


_COMPONENT: Final = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}
_TOKEN: Final = {"idToken": "04A1B2", "type": "ISO14443"}

_ORDERS_16: Final = (
    Order("RemoteStartTransaction", {"connectorId": 1, "idTag": "04A1B2"}, {"status": "Accepted"}),
    Order("ChangeAvailability", {"connectorId": 1, "type": "Inoperative"}, {"status": "Scheduled"}),
    Order(
        "GetConfiguration",
        {"key": ["HeartbeatInterval"]},
        {"configurationKey": [{"key": "HeartbeatInterval", "readonly": False, "value": "300"}]},
    ),
    Order("TriggerMessage", {"requestedMessage": "Heartbeat"}, {"status": "Accepted"}),
)
_ORDERS_2: Final = (
    Order("RequestStartTransaction", {"remoteStartId": 7, "idToken": _TOKEN}, {"status": "Accepted"}),
    Order("ChangeAvailability", {"operationalStatus": "Inoperative"}, {"status": "Scheduled"}),
    Order(
        "GetVariables",
        {"getVariableData": [_COMPONENT]},
        {"getVariableResult": [{"attributeStatus": "Accepted", "attributeValue": "300", **_COMPONENT}]},
    ),
    Order("TriggerMessage", {"requestedMessage": "Heartbeat"}, {"status": "Accepted"}),
)
ORDERS: Final = {"ocpp1.6": _ORDERS_16, "ocpp2.0.1": _ORDERS_2, "ocpp2.1": _ORDERS_2}

_TIME: Final = {"currentTime": NOW}
_BOOTED: Final = {"status": "Accepted", "interval": 300, **_TIME}

#: What a central system answers, by version and action.
ANSWERS: Final[dict[str, dict[str, Payload]]] = {
    "ocpp1.6": {
        "Authorize": {"idTagInfo": {"status": "Accepted"}},
        "BootNotification": _BOOTED,
        "DataTransfer": {"status": "Accepted"},
        "Heartbeat": _TIME,
        "MeterValues": {},
        "StartTransaction": {"transactionId": 42, "idTagInfo": {"status": "Accepted"}},
        "StatusNotification": {},
        "StopTransaction": {"idTagInfo": {"status": "Accepted"}},
    },
    "ocpp2.0.1": {
        "Authorize": {"idTokenInfo": {"status": "Accepted"}},
        "BootNotification": _BOOTED,
        "DataTransfer": {"status": "Accepted"},
        "Heartbeat": _TIME,
        "MeterValues": {},
        "NotifyReport": {},
        "SecurityEventNotification": {},
        "StatusNotification": {},
        "TransactionEvent": {"idTokenInfo": {"status": "Accepted"}},
    },
}
ANSWERS["ocpp2.1"] = {**ANSWERS["ocpp2.0.1"], "NotifyEVChargingNeeds": {"status": "Rejected"}}

#: A CALL of a station that breaks its schema, and the error code of docs/codec.md.
WRONG: Final = {
    "ocpp1.6": ("Authorize", {"idTag": "x" * 21}, "PropertyConstraintViolation"),
    "ocpp2.0.1": ("Authorize", {"idToken": {"idToken": "x" * 37, "type": "ISO14443"}}, "PropertyConstraintViolation"),
    "ocpp2.1": ("Authorize", {"idToken": {"idToken": "x" * 256, "type": "ISO14443"}}, "PropertyConstraintViolation"),
}

#: An action of the version that neither side handles here.
UNHANDLED: Final = {
    "ocpp1.6": ("GetDiagnostics", {"location": "ftp://example.com/"}),
    "ocpp2.0.1": ("UnpublishFirmware", {"checksum": "0" * 32}),
    "ocpp2.1": ("UnpublishFirmware", {"checksum": "0" * 32}),
}

#: An answer to ChangeAvailability that breaks its schema in every version.
BAD_ANSWER: Final = {"status": "Perhaps"}


def boot(version: str) -> Payload:
    if version == "ocpp1.6":
        return {"chargePointModel": "Model", "chargePointVendor": "Vendor"}
    return {"reason": "PowerUp", "chargingStation": {"model": "Model", "vendorName": "Vendor"}}


def status(version: str, name: str) -> Payload:
    if version == "ocpp1.6":
        return {"connectorId": 1, "errorCode": "NoError", "status": name}
    return {"timestamp": NOW, "connectorStatus": name, "evseId": 1, "connectorId": 1}


def data_transfer(version: str, text: str) -> Payload:
    """In 1.6 the data is text; later it is any JSON."""
    return {"vendorId": "com.example", "messageId": "ä", "data": text if version == "ocpp1.6" else {"text": [text]}}


def _energy(wh: int, version: str) -> Payload:
    value = str(wh) if version == "ocpp1.6" else wh
    return {"timestamp": NOW, "sampledValue": [{"value": value, "measurand": "Energy.Active.Import.Register"}]}


async def charge(version: str, ask: Ask) -> int:
    """A whole charge, from boot to the empty place; every answer must be as it should. Returns the energy in Wh."""
    booted = await ask("BootNotification", boot(version))
    assert booted["status"] == "Accepted"
    assert booted["interval"] > 0
    assert (await ask("Heartbeat", {}))["currentTime"]
    await ask("StatusNotification", status(version, "Available"))
    if version == "ocpp1.6":
        assert (await ask("Authorize", {"idTag": "04A1B2"}))["idTagInfo"]["status"] == "Accepted"
        begun = {"connectorId": 1, "idTag": "04A1B2", "meterStart": 1000, "timestamp": NOW}
        number = (await ask("StartTransaction", begun))["transactionId"]
        assert number > 0
        for wh in (2000, 3000):
            await ask("MeterValues", {"connectorId": 1, "transactionId": number, "meterValue": [_energy(wh, version)]})
        await ask("StopTransaction", {"transactionId": number, "meterStop": 3500, "timestamp": NOW, "reason": "Local"})
    else:
        assert (await ask("Authorize", {"idToken": _TOKEN}))["idTokenInfo"]["status"] == "Accepted"
        moments = (
            ("Started", "Authorized", 1000),
            ("Updated", "MeterValuePeriodic", 2000),
            ("Ended", "EVDeparted", 3500),
        )
        for number, (kind, reason, wh) in enumerate(moments):
            await ask(
                "TransactionEvent",
                {
                    "eventType": kind,
                    "timestamp": NOW,
                    "triggerReason": reason,
                    "seqNo": number,
                    "transactionInfo": {"transactionId": "tx-1"},
                    "evse": {"id": 1, "connectorId": 1},
                    "idToken": _TOKEN,
                    "meterValue": [_energy(wh, version)],
                },
            )
        await ask("MeterValues", {"evseId": 1, "meterValue": [_energy(3500, version)]})
    await ask("StatusNotification", status(version, "Available"))
    return 2500
