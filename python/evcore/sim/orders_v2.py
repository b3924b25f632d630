"""What the CSMS may order simulated OCPP 2.0.1 and 2.1 stations: provisioning, remote control, availability,
reservation, local list, smart charging, firmware, logs, and answers in the negative to the rest that is common.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from evcore.sim import jobs, orders
from evcore.sim.connector import Remote
from evcore.sim.orders import ACCEPTED, REJECTED, Orders
from evcore.sim.settings import Setting

if TYPE_CHECKING:
    from evcore.sim.profiles import Profile
    from evcore.sim.station import Station

__all__ = ["ORDERS"]

ORDERS: Final = Orders()

_Outcome = Mapping[str, Any]

#: Variables reported in one NotifyReport.
_PER_REPORT: Final = 10


def _find(station: Station, item: Any) -> tuple[Setting | None, str]:
    component, variable = item["component"]["name"], item["variable"]["name"]
    setting = station.settings.variable(component, variable)
    if setting is None:
        return None, "UnknownVariable" if station.settings.has_component(component) else "UnknownComponent"
    if item.get("attributeType", "Actual") != "Actual":
        return None, "NotSupportedAttributeType"
    return setting, "Accepted"


def _named(item: Any) -> dict[str, Any]:
    return {name: item[name] for name in ("attributeType", "component", "variable") if name in item}


@ORDERS.on("GetVariables")
def get_variables(station: Station, payload: Any) -> _Outcome:
    results = []
    for item in payload["getVariableData"]:
        setting, status = _find(station, item)
        value = {} if setting is None else {"attributeValue": station.settings.get(setting)}
        results.append({"attributeStatus": status, **_named(item), **value})
    return {"getVariableResult": results}


@ORDERS.on("SetVariables")
def set_variables(station: Station, payload: Any) -> _Outcome:
    results = []
    for item in payload["setVariableData"]:
        setting, status = _find(station, item)
        if setting is not None:
            if setting.fits(item["attributeValue"]):
                station.settings.put(setting.key, item["attributeValue"])
                station.configured(setting.key)
            else:
                status = "Rejected"
        results.append({"attributeStatus": status, **_named(item)})
    return {"setVariableResult": results}


@ORDERS.on("GetBaseReport")
def get_base_report(station: Station, payload: Any) -> _Outcome:
    if payload["reportBase"] == "SummaryInventory":
        return {"status": "NotSupported"}
    station.spawn(_report(station, payload["requestId"], list(station.settings)))
    return ACCEPTED


@ORDERS.on("GetReport")
def get_report(station: Station, payload: Any) -> _Outcome:
    wanted = payload.get("componentVariable")
    if "componentCriteria" in payload:
        return {"status": "NotSupported"}
    found = [
        setting
        for setting in station.settings
        if not wanted
        or any(
            item["component"]["name"].lower() == setting.component.lower()
            and item.get("variable", {"name": setting.variable})["name"].lower() == setting.variable.lower()
            for item in wanted
        )
    ]
    if not found:
        return {"status": "EmptyResultSet"}
    station.spawn(_report(station, payload["requestId"], found))
    return ACCEPTED


async def _report(station: Station, request: int, found: list[Setting]) -> None:
    parts = [found[start : start + _PER_REPORT] for start in range(0, len(found), _PER_REPORT)]
    for number, part in enumerate(parts):
        report = {
            "requestId": request,
            "generatedAt": station.time(),
            "seqNo": number,
            "tbc": number + 1 < len(parts),
            "reportData": [_reported(station, setting) for setting in part],
        }
        await station.call("NotifyReport", report)


def _reported(station: Station, setting: Setting) -> dict[str, Any]:
    mutability = "ReadWrite" if setting.writable else "ReadOnly"
    return {
        "component": {"name": setting.component},
        "variable": {"name": setting.variable},
        "variableAttribute": [{"value": station.settings.get(setting), "mutability": mutability}],
        "variableCharacteristics": {"dataType": setting.kind, "supportsMonitoring": False},
    }


# -- remote control ---------------------------------------------------------------------------------------------------


@ORDERS.on("RequestStartTransaction")
def request_start(station: Station, payload: Any) -> _Outcome:
    profile = payload.get("chargingProfile")
    if profile is not None and profile["chargingProfilePurpose"] != "TxProfile":
        return REJECTED
    token = payload["idToken"]
    remote = Remote(token, payload["remoteStartId"], profile)
    return ACCEPTED if orders.start_charge(station, payload.get("evseId"), remote, token["idToken"]) else REJECTED


@ORDERS.on("RequestStopTransaction")
def request_stop(station: Station, payload: Any) -> _Outcome:
    return ACCEPTED if orders.stop_charge(station, payload["transactionId"]) else REJECTED


@ORDERS.on("GetTransactionStatus")
def transaction_status(station: Station, payload: Any) -> _Outcome:
    answer: dict[str, Any] = {"messagesInQueue": bool(station.outbox)}
    if "transactionId" in payload:
        answer["ongoingIndicator"] = orders.charging_connector(station, payload["transactionId"]) is not None
    return answer


@ORDERS.on("Reset")
def reset(station: Station, payload: Any) -> _Outcome:
    if payload.get("evseId") is not None:
        return REJECTED
    on_idle = payload["type"] == "OnIdle"
    jobs.start(station, "reset", jobs.reset(station, on_idle=on_idle))
    charging = any(connector.charge is not None for connector in station.connectors)
    return {"status": "Scheduled"} if on_idle and charging else ACCEPTED


@ORDERS.on("ChangeAvailability")
def change_availability(station: Station, payload: Any) -> _Outcome:
    number = payload.get("evse", {"id": 0})["id"]
    return {"status": orders.set_operative(station, number, payload["operationalStatus"] == "Operative")}


@ORDERS.on("UnlockConnector")
def unlock_connector(station: Station, payload: Any) -> _Outcome:
    for connector in orders.connectors(station, payload["evseId"]):
        return {"status": "Unlocked" if connector.charge is None else "OngoingAuthorizedTransaction"}
    return {"status": "UnknownConnector"}


@ORDERS.on("ClearCache")
def clear_cache(station: Station, payload: Any) -> _Outcome:
    return ACCEPTED


@ORDERS.on("DataTransfer")
def data_transfer(station: Station, payload: Any) -> _Outcome:
    return {"status": "UnknownVendorId"}


@ORDERS.on("CostUpdated")
def cost_updated(station: Station, payload: Any) -> _Outcome:
    return {}


@ORDERS.on("CustomerInformation")
def customer_information(station: Station, payload: Any) -> _Outcome:
    report = {"data": "", "seqNo": 0, "generatedAt": station.time(), "requestId": payload["requestId"]}
    if payload["report"] or payload["clear"]:
        station.spawn(orders.tell(station, "NotifyCustomerInformation", report))
    return ACCEPTED


@ORDERS.on("SetMonitoringBase", "SetMonitoringLevel")
def set_monitoring(station: Station, payload: Any) -> _Outcome:
    return ACCEPTED


@ORDERS.on("GetMonitoringReport")
def monitoring_report(station: Station, payload: Any) -> _Outcome:
    return {"status": "EmptyResultSet"}


@ORDERS.on("SetNetworkProfile")
def set_network_profile(station: Station, payload: Any) -> _Outcome:
    return REJECTED


# -- smart charging ---------------------------------------------------------------------------------------------------


@ORDERS.on("SetChargingProfile")
def set_charging_profile(station: Station, payload: Any) -> _Outcome:
    refused = station.install(payload["evseId"], payload["chargingProfile"])
    if refused is None:
        return ACCEPTED
    station.say("takes no charging profile: {}", refused)
    return {"status": "Rejected", "statusInfo": {"reasonCode": "InvalidProfile", "additionalInfo": refused[:512]}}


@ORDERS.on("ClearChargingProfile")
def clear_charging_profile(station: Station, payload: Any) -> _Outcome:
    criteria, gone = payload.get("chargingProfileCriteria", {}), 0
    if station.profiles is not None:
        gone = station.profiles.clear(
            payload.get("chargingProfileId"), criteria.get("evseId"), criteria.get("chargingProfilePurpose"),
            criteria.get("stackLevel"),
        )  # fmt: skip
        station.limits_changed()
    return ACCEPTED if gone else {"status": "Unknown"}


@ORDERS.on("GetChargingProfiles")
def get_charging_profiles(station: Station, payload: Any) -> _Outcome:
    criteria, number = payload["chargingProfile"], payload.get("evseId")
    found = [
        profile
        for profile in station.profiles or ()
        if number in (None, profile.connector)
        and criteria.get("chargingProfilePurpose", profile.purpose) == profile.purpose
        and criteria.get("stackLevel", profile.stack) == profile.stack
        and profile.id in criteria.get("chargingProfileId", (profile.id,))
        and "CSO" in criteria.get("chargingLimitSource", ("CSO",))
    ]
    if not found:
        return {"status": "NoProfiles"}
    station.spawn(_report_profiles(station, payload["requestId"], found))
    return ACCEPTED


async def _report_profiles(station: Station, request: int, found: list[Profile]) -> None:
    evses = sorted({profile.connector for profile in found})
    for number, evse in enumerate(evses):
        report = {
            "requestId": request,
            "chargingLimitSource": "CSO",
            "chargingProfile": [profile.raw for profile in found if profile.connector == evse],
            "evseId": evse,
            "tbc": number + 1 < len(evses),
        }
        await station.call("ReportChargingProfiles", report)


@ORDERS.on("GetCompositeSchedule")
def get_composite_schedule(station: Station, payload: Any) -> _Outcome:
    schedule = orders.composite(station, payload["evseId"], payload["duration"], payload.get("chargingRateUnit"))
    if schedule is None:
        return REJECTED
    return {
        "status": "Accepted",
        "schedule": {"evseId": payload["evseId"], "scheduleStart": station.time(), **schedule},
    }


# -- local list, reservation ------------------------------------------------------------------------------------------


@ORDERS.on("GetLocalListVersion")
def local_list_version(station: Station, payload: Any) -> _Outcome:
    return {"versionNumber": station.list_version}


@ORDERS.on("SendLocalList")
def send_local_list(station: Station, payload: Any) -> _Outcome:
    entries = [
        (entry["idToken"]["idToken"], entry["idTokenInfo"]["status"] if "idTokenInfo" in entry else None)
        for entry in payload.get("localAuthorizationList", ())
    ]
    full = payload["updateType"] == "Full"
    return {"status": orders.update_list(station, payload["versionNumber"], full, entries)}


@ORDERS.on("ReserveNow")
def reserve_now(station: Station, payload: Any) -> _Outcome:
    status = orders.reserve(
        station, payload.get("evseId"), payload["id"], payload["idToken"], payload["expiryDateTime"]
    )
    return {"status": status}


@ORDERS.on("CancelReservation")
def cancel_reservation(station: Station, payload: Any) -> _Outcome:
    return orders.cancel_reservation(station, payload["reservationId"])


# -- firmware, logs ---------------------------------------------------------------------------------------------------


@ORDERS.on("UpdateFirmware")
def update_firmware(station: Station, payload: Any) -> _Outcome:
    under_way, firmware = jobs.running(station, "firmware"), payload["firmware"]
    job = jobs.update_firmware(
        station, firmware["location"], firmware["retrieveDateTime"], payload["requestId"],
        signed="signature" in firmware,
    )  # fmt: skip
    jobs.start(station, "firmware", job)
    return {"status": "AcceptedCanceled" if under_way else "Accepted"}


@ORDERS.on("GetLog")
def get_log(station: Station, payload: Any) -> _Outcome:
    under_way = jobs.running(station, "log")
    jobs.start(station, "log", jobs.upload(station, payload["log"]["remoteLocation"], payload["requestId"]))
    return {"status": "AcceptedCanceled" if under_way else "Accepted", "filename": f"{station.identity[:200]}-log.zip"}


# -- trigger ----------------------------------------------------------------------------------------------------------


@ORDERS.on("TriggerMessage")
def trigger_message(station: Station, payload: Any) -> _Outcome:
    wanted, number = payload["requestedMessage"], payload.get("evse", {}).get("id")
    found = list(orders.connectors(station, number))
    if not found:
        return REJECTED
    if wanted == "BootNotification":
        station.pull_boot(again=True)
    elif wanted == "StatusNotification":
        station.spawn(orders.report_again(station, number))
    elif wanted == "Heartbeat":
        station.spawn(orders.tell(station, "Heartbeat", {}))
    elif wanted in ("TransactionEvent", "MeterValues"):
        charging = [connector for connector in found if connector.charge is not None]
        if not charging:
            return REJECTED
        for connector in charging:
            station.spawn(orders.sample(station, connector))
    elif wanted in ("FirmwareStatusNotification", "LogStatusNotification"):
        station.spawn(orders.tell(station, wanted, {"status": "Idle"}))
    else:
        return {"status": "NotImplemented"}
    return ACCEPTED
