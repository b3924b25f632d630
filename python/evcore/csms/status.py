"""Connector states and reservations: OCPP 1.6 section 4.9, 2.x use cases G01 and H04."""

from __future__ import annotations

from typing import Any, Final

from evcore.csms.payload import printable, text, whole
from evcore.csms.station import Station
from evcore.dispatch import Handler, Outcome

__all__ = ["V2", "V16"]


def status_v16(station: Station, payload: Any) -> Outcome:
    # 1.6 numbers connectors over the whole station; connector 0 is the station itself.
    station.set_status(whole(payload, "connectorId") or 0, 1, printable(text(payload, "status") or "", 32))
    return {}


def status_v2(station: Station, payload: Any) -> Outcome:
    evse, connector = whole(payload, "evseId") or 0, whole(payload, "connectorId") or 0
    station.set_status(evse, connector, printable(text(payload, "connectorStatus") or "", 32))
    return {}


def reservation_status(station: Station, payload: Any) -> Outcome:
    return {}


V16: Final[dict[str, Handler[Station]]] = {"StatusNotification": status_v16}
V2: Final[dict[str, Handler[Station]]] = {
    "StatusNotification": status_v2,
    "ReservationStatusUpdate": reservation_status,
}
