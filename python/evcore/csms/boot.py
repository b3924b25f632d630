"""Boot and heartbeat: OCPP 1.6 sections 4.2 and 4.6, 2.x use cases B01 and G02. Every known station is accepted."""

from __future__ import annotations

from typing import Any, Final

from evcore.csms.payload import group, printable, text
from evcore.csms.station import Station
from evcore.dispatch import Handler, Outcome

__all__ = ["V2", "V16"]


def _accepted(station: Station, vendor: str | None, model: str | None) -> Outcome:
    station.vendor, station.model = printable(vendor or "", 64), printable(model or "", 64)
    return {"currentTime": station.time(), "interval": station.backend.heartbeat_interval, "status": "Accepted"}


def boot_v16(station: Station, payload: Any) -> Outcome:
    return _accepted(station, text(payload, "chargePointVendor"), text(payload, "chargePointModel"))


def boot_v2(station: Station, payload: Any) -> Outcome:
    described = group(payload, "chargingStation")
    return _accepted(station, text(described, "vendorName"), text(described, "model"))


def heartbeat(station: Station, payload: Any) -> Outcome:
    return {"currentTime": station.time()}


V16: Final[dict[str, Handler[Station]]] = {"BootNotification": boot_v16, "Heartbeat": heartbeat}
V2: Final[dict[str, Handler[Station]]] = {"BootNotification": boot_v2, "Heartbeat": heartbeat}
