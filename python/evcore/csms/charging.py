"""Smart charging, distributed energy resources and payment: OCPP 2.x use cases K, 2.1 also Q, R and C.

Limits, schedules and alarms are acknowledged. No schedule is computed here: a request for one is declined, and the EV
charges at the station's own limit.
"""

from __future__ import annotations

from typing import Any, Final

from evcore.csms.payload import text, whole
from evcore.csms.reports import acknowledge
from evcore.csms.station import Station
from evcore.dispatch import Handler, Outcome

__all__ = ["V2", "V21"]


def charging_needs_v201(station: Station, payload: Any) -> Outcome:
    return {"status": "Rejected"}


def charging_needs_v21(station: Station, payload: Any) -> Outcome:
    return {"status": "NoChargingProfile"}


def charging_schedule(station: Station, payload: Any) -> Outcome:
    return {"status": "Accepted"}


def schedule_update(station: Station, payload: Any) -> Outcome:
    return {"status": "Rejected"}


def vat_number(station: Station, payload: Any) -> Outcome:
    answer: dict[str, Any] = {"status": "Rejected", "vatNumber": text(payload, "vatNumber")}
    evse = whole(payload, "evseId")
    return answer if evse is None else answer | {"evseId": evse}


V2: Final[dict[str, Handler[Station]]] = {
    "ClearedChargingLimit": acknowledge,
    "NotifyChargingLimit": acknowledge,
    "NotifyEVChargingNeeds": charging_needs_v201,
    "NotifyEVChargingSchedule": charging_schedule,
    "ReportChargingProfiles": acknowledge,
}
V21: Final[dict[str, Handler[Station]]] = {
    "NotifyDERAlarm": acknowledge,
    "NotifyDERStartStop": acknowledge,
    "NotifyEVChargingNeeds": charging_needs_v21,
    "NotifyPriorityCharging": acknowledge,
    "NotifySettlement": acknowledge,
    "PullDynamicScheduleUpdate": schedule_update,
    "ReportDERControl": acknowledge,
    "VatNumberValidation": vat_number,
}
