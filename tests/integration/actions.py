"""The actions a station may send, and random payloads of theirs, made from the schemas."""

from __future__ import annotations

import importlib.util
import json
import random
from functools import cache
from pathlib import Path
from typing import Any

SCHEMAS = Path(importlib.util.find_spec("ocpp").submodule_search_locations[0])
FOLDERS = {"ocpp1.6": ("v16", ""), "ocpp2.0.1": ("v201", "Request"), "ocpp2.1": ("v21", "Request")}

# From the documents (1.6 section 4, its security extension, 2.x Part 2), not from the tables under test.
BY_STATION = {
    "ocpp1.6": set(
        "Authorize BootNotification DataTransfer DiagnosticsStatusNotification FirmwareStatusNotification Heartbeat "
        "LogStatusNotification MeterValues SecurityEventNotification SignCertificate SignedFirmwareStatusNotification "
        "StartTransaction StatusNotification StopTransaction".split()
    ),
    "ocpp2.0.1": set(
        "Authorize BootNotification ClearedChargingLimit DataTransfer FirmwareStatusNotification Get15118EVCertificate "
        "GetCertificateStatus Heartbeat LogStatusNotification MeterValues NotifyChargingLimit "
        "NotifyCustomerInformation NotifyDisplayMessages NotifyEVChargingNeeds NotifyEVChargingSchedule NotifyEvent "
        "NotifyMonitoringReport NotifyReport PublishFirmwareStatusNotification ReportChargingProfiles "
        "ReservationStatusUpdate SecurityEventNotification SignCertificate StatusNotification TransactionEvent".split()
    ),
}
BY_STATION["ocpp2.1"] = BY_STATION["ocpp2.0.1"] | set(
    "BatterySwap ClosePeriodicEventStream GetCertificateChainStatus NotifyDERAlarm NotifyDERStartStop "
    "NotifyPriorityCharging NotifySettlement OpenPeriodicEventStream PullDynamicScheduleUpdate ReportDERControl "
    "VatNumberValidation".split()
)


@cache
def schema(version: str, name: str) -> Any:
    folder = FOLDERS[version][0]
    return json.loads((SCHEMAS / folder / "schemas" / f"{name}.json").read_text("utf-8-sig"))


def actions(version: str) -> set[str]:
    """All CALL actions the version has a response schema for."""
    folder = SCHEMAS / FOLDERS[version][0] / "schemas"
    return {file.name.removesuffix("Response.json") for file in folder.glob("*Response.json")}


def instance(rng: random.Random, node: Any, root: Any, optional: float) -> Any:
    """A random value that a schema of OCPP's keyword set accepts; `optional`: how likely each optional member is."""
    while "$ref" in node:
        node = root["definitions"][node["$ref"].rpartition("/")[2]]
    kind = node.get("type")
    if "enum" in node:
        return rng.choice(node["enum"])
    if kind == "object":
        required = node.get("required", ())
        return {
            name: instance(rng, child, root, optional)
            for name, child in node.get("properties", {}).items()
            if name in required or rng.random() < optional
        }
    if kind == "array":
        least = node.get("minItems", 0)
        most = min(node.get("maxItems", 3), least + 2)
        return [instance(rng, node["items"], root, optional) for _ in range(rng.randint(least, most))]
    if kind == "string":
        if node.get("format") == "date-time":
            return rng.choice(("2026-03-01T10:00:00Z", "2026-03-01T10:00:00.123Z", "2026-03-01T12:00:00+02:00"))
        if node.get("format") == "uri":
            return "ftp://example.com/logs"
        length = rng.choice((1, min(7, node.get("maxLength", 7)), node.get("maxLength", 40)))
        return "".join(rng.choice('Aäz 0_\N{ELECTRIC PLUG}"\\') for _ in range(length))
    if kind in ("integer", "number"):
        low = max(node.get("minimum", 0), -1000)
        high = node.get("maximum", low + 1000)
        return rng.randint(int(low), int(high))
    if kind == "boolean":
        return rng.random() < 0.5
    return rng.choice(("text", 1, None, {"any": ["thing"]}))
