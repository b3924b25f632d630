"""Messages the two sides have to say to each other: action and payload, and payloads that answer them."""

from __future__ import annotations

from typing import Any

Message = tuple[str, dict[str, Any]]

NOW = "2026-03-01T10:00:00Z"
_START = {"connectorId": 1, "idTag": "A", "meterStart": 0, "timestamp": NOW}
_EVENT = {"timestamp": NOW, "triggerReason": "Authorized", "transactionInfo": {"transactionId": "t"}}

_V16: dict[str, list[Message]] = {
    "csms": [
        ("Reset", {"type": "Soft"}),
        ("RemoteStopTransaction", {"transactionId": 1}),
        ("TriggerMessage", {"requestedMessage": "StatusNotification"}),
        ("TriggerMessage", {"requestedMessage": "Heartbeat"}),
    ],
    "station": [
        ("BootNotification", {"chargePointVendor": "v", "chargePointModel": "m"}),
        ("Heartbeat", {}),
        ("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Available"}),
    ],
    "stored": [
        ("StartTransaction", _START),
        ("MeterValues", {"connectorId": 1, "meterValue": [{"timestamp": NOW, "sampledValue": [{"value": "1"}]}]}),
    ],
}
_V2: dict[str, list[Message]] = {
    "csms": [
        ("Reset", {"type": "Immediate"}),
        ("RequestStopTransaction", {"transactionId": "t"}),
        ("TriggerMessage", {"requestedMessage": "StatusNotification"}),
        ("GetBaseReport", {"requestId": 1, "reportBase": "FullInventory"}),
    ],
    "station": [
        ("BootNotification", {"reason": "PowerUp", "chargingStation": {"model": "m", "vendorName": "v"}}),
        ("Heartbeat", {}),
        ("StatusNotification", {"timestamp": NOW, "connectorStatus": "Available", "evseId": 1, "connectorId": 1}),
        ("NotifyReport", {"requestId": 1, "generatedAt": NOW, "seqNo": 0}),
    ],
    "stored": [
        ("TransactionEvent", {"eventType": "Started", "seqNo": 0, **_EVENT}),
        ("TransactionEvent", {"eventType": "Updated", "seqNo": 1, **_EVENT}),
    ],
}
MESSAGES = {"ocpp1.6": _V16, "ocpp2.0.1": _V2, "ocpp2.1": _V2}

STREAM = (
    "NotifyPeriodicEventStream",
    {"id": 1, "pending": 0, "basetime": NOW, "data": [{"t": 0, "v": "1"}]},
)


def result(action: str, status: str) -> dict[str, Any]:
    """A payload that answers a CALL, with this status where the action has one."""
    if action == "BootNotification":
        return {"currentTime": NOW, "interval": 60, "status": status}
    if action == "Heartbeat":
        return {"currentTime": NOW}
    if action == "StartTransaction":
        return {"transactionId": 1, "idTagInfo": {"status": "Accepted"}}
    if action in ("StatusNotification", "NotifyReport", "MeterValues", "TransactionEvent"):
        return {}
    return {"status": "Rejected" if status == "Pending" else status}
