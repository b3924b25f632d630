"""Boot and heartbeat: OCPP 1.6 sections 4.2 and 4.6, 2.x use cases B01, B02 and G02.

Every known station is accepted; more than the server takes at a time are Pending until it is their turn.
"""

from __future__ import annotations

from time import monotonic
from typing import Any, Final

from evcore.csms.payload import group, printable, text
from evcore.csms.station import Station
from evcore.dispatch import Handler, Outcome

__all__ = ["V2", "V16"]


def _answer(station: Station, vendor: str | None, model: str | None) -> Outcome:
    station.vendor, station.model = printable(vendor or "", 64), printable(model or "", 64)
    backend = station.backend
    boot = backend.boots.boot(station.identity, backend.heartbeat_interval, monotonic())
    status = "Accepted" if boot.accepted else "Pending"
    return {"currentTime": station.clock(), "interval": boot.interval, "status": status}


def boot_v16(station: Station, payload: Any) -> Outcome:
    return _answer(station, text(payload, "chargePointVendor"), text(payload, "chargePointModel"))


def boot_v2(station: Station, payload: Any) -> Outcome:
    described = group(payload, "chargingStation")
    return _answer(station, text(described, "vendorName"), text(described, "model"))


def heartbeat(station: Station, payload: Any) -> Outcome:
    return {"currentTime": station.clock()}


V16: Final[dict[str, Handler[Station]]] = {"BootNotification": boot_v16, "Heartbeat": heartbeat}
V2: Final[dict[str, Handler[Station]]] = {"BootNotification": boot_v2, "Heartbeat": heartbeat}
