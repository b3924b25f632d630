"""What the CSMS may order a simulated OCPP 1.6 station: Core, Firmware Management, Local Auth List Management,
Reservation, Smart Charging, Remote Trigger, and what of the security extension needs no certificates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from evcore.sim import jobs, orders
from evcore.sim.connector import Remote
from evcore.sim.orders import ACCEPTED, REJECTED, Orders

if TYPE_CHECKING:
    from evcore.sim.station import Station

__all__ = ["ORDERS"]

ORDERS: Final = Orders()

_Outcome = Mapping[str, Any]


@ORDERS.on("GetConfiguration")
def get_configuration(station: Station, payload: Any) -> _Outcome:
    settings, wanted = station.settings, payload.get("key")
    found = list(settings) if not wanted else [known for name in wanted if (known := settings.key(name)) is not None]
    return {
        "configurationKey": [
            {"key": known.key, "readonly": not known.writable, "value": settings.get(known)} for known in found
        ],
        "unknownKey": [name for name in wanted or () if settings.key(name) is None],
    }


@ORDERS.on("ChangeConfiguration")
def change_configuration(station: Station, payload: Any) -> _Outcome:
    setting = station.settings.key(payload["key"])
    if setting is None:
        return {"status": "NotSupported"}
    if not setting.fits(payload["value"]):
        return REJECTED
    station.settings.put(setting.key, payload["value"])
    station.configured(setting.key)
    return ACCEPTED


@ORDERS.on("RemoteStartTransaction")
def remote_start(station: Station, payload: Any) -> _Outcome:
    profile = payload.get("chargingProfile")
    if profile is not None and profile["chargingProfilePurpose"] != "TxProfile":
        return REJECTED
    token = payload["idTag"]
    remote = Remote(token, None, profile)
    return ACCEPTED if orders.start_charge(station, payload.get("connectorId"), remote, token) else REJECTED


@ORDERS.on("RemoteStopTransaction")
def remote_stop(station: Station, payload: Any) -> _Outcome:
    return ACCEPTED if orders.stop_charge(station, str(payload["transactionId"])) else REJECTED


@ORDERS.on("Reset")
def reset(station: Station, payload: Any) -> _Outcome:
    jobs.start(station, "reset", jobs.reset(station, on_idle=False))
    return ACCEPTED


@ORDERS.on("ChangeAvailability")
def change_availability(station: Station, payload: Any) -> _Outcome:
    return {"status": orders.set_operative(station, payload["connectorId"], payload["type"] == "Operative")}


@ORDERS.on("UnlockConnector")
def unlock_connector(station: Station, payload: Any) -> _Outcome:
    for connector in orders.connectors(station, payload["connectorId"]):
        if connector.charge is not None:
            connector.stop = "Unlock"
            station.wake(connector.visit)
        return {"status": "Unlocked"}
    return {"status": "NotSupported"}


@ORDERS.on("ClearCache")
def clear_cache(station: Station, payload: Any) -> _Outcome:
    return ACCEPTED


@ORDERS.on("DataTransfer")
def data_transfer(station: Station, payload: Any) -> _Outcome:
    return {"status": "UnknownVendorId"}


# -- smart charging ---------------------------------------------------------------------------------------------------


@ORDERS.on("SetChargingProfile")
def set_charging_profile(station: Station, payload: Any) -> _Outcome:
    number = payload["connectorId"]
    refused = station.install(number, payload["csChargingProfiles"])
    if refused is not None:
        station.say("takes no charging profile: {}", refused)
    return ACCEPTED if refused is None else REJECTED


@ORDERS.on("ClearChargingProfile")
def clear_charging_profile(station: Station, payload: Any) -> _Outcome:
    gone = 0
    if station.profiles is not None:
        gone = station.profiles.clear(
            payload.get("id"), payload.get("connectorId"), payload.get("chargingProfilePurpose"),
            payload.get("stackLevel"),
        )  # fmt: skip
        station.limits_changed()
    return ACCEPTED if gone else {"status": "Unknown"}


@ORDERS.on("GetCompositeSchedule")
def get_composite_schedule(station: Station, payload: Any) -> _Outcome:
    number = payload["connectorId"]
    schedule = orders.composite(station, number, payload["duration"], payload.get("chargingRateUnit"))
    if schedule is None:
        return REJECTED
    return {
        "status": "Accepted",
        "connectorId": number,
        "scheduleStart": station.time(),
        "chargingSchedule": schedule | {"startSchedule": station.time()},
    }


# -- local list, reservation -------------------------------------------------------------------------------------------


@ORDERS.on("GetLocalListVersion")
def local_list_version(station: Station, payload: Any) -> _Outcome:
    return {"listVersion": station.list_version}


@ORDERS.on("SendLocalList")
def send_local_list(station: Station, payload: Any) -> _Outcome:
    entries = [
        (entry["idTag"], entry["idTagInfo"]["status"] if "idTagInfo" in entry else None)
        for entry in payload.get("localAuthorizationList", ())
    ]
    full = payload["updateType"] == "Full"
    return {"status": orders.update_list(station, payload["listVersion"], full, entries)}


@ORDERS.on("ReserveNow")
def reserve_now(station: Station, payload: Any) -> _Outcome:
    status = orders.reserve(
        station, payload["connectorId"], payload["reservationId"], payload["idTag"], payload["expiryDate"]
    )
    return {"status": status}


@ORDERS.on("CancelReservation")
def cancel_reservation(station: Station, payload: Any) -> _Outcome:
    return orders.cancel_reservation(station, payload["reservationId"])


# -- firmware, logs ---------------------------------------------------------------------------------------------------


@ORDERS.on("UpdateFirmware")
def update_firmware(station: Station, payload: Any) -> _Outcome:
    job = jobs.update_firmware(station, payload["location"], payload["retrieveDate"], None, signed=False)
    jobs.start(station, "firmware", job)
    return {}


@ORDERS.on("SignedUpdateFirmware")
def signed_update_firmware(station: Station, payload: Any) -> _Outcome:
    under_way = jobs.running(station, "firmware")
    firmware = payload["firmware"]
    job = jobs.update_firmware(
        station, firmware["location"], firmware["retrieveDateTime"], payload["requestId"], signed=True
    )
    jobs.start(station, "firmware", job)
    return {"status": "AcceptedCanceled" if under_way else "Accepted"}


@ORDERS.on("GetDiagnostics")
def get_diagnostics(station: Station, payload: Any) -> _Outcome:
    jobs.start(station, "log", jobs.upload(station, payload["location"], None))
    return {"fileName": f"{station.identity[:200]}-diagnostics.zip"}


@ORDERS.on("GetLog")
def get_log(station: Station, payload: Any) -> _Outcome:
    under_way = jobs.running(station, "log")
    jobs.start(station, "log", jobs.upload(station, payload["log"]["remoteLocation"], payload["requestId"]))
    return {"status": "AcceptedCanceled" if under_way else "Accepted", "filename": f"{station.identity[:200]}-log.zip"}


# -- trigger ----------------------------------------------------------------------------------------------------------


@ORDERS.on("TriggerMessage", "ExtendedTriggerMessage")
def trigger_message(station: Station, payload: Any) -> _Outcome:
    wanted, number = payload["requestedMessage"], payload.get("connectorId")
    found = list(orders.connectors(station, number))
    if not found:
        return REJECTED
    if wanted == "BootNotification":
        station.pull_boot(again=True)
    elif wanted == "StatusNotification":
        station.spawn(orders.report_again(station, number))
    elif wanted == "Heartbeat":
        station.spawn(orders.tell(station, "Heartbeat", {}))
    elif wanted == "MeterValues":
        charging = [connector for connector in found if connector.charge is not None]
        if not charging:
            return REJECTED
        for connector in charging:
            station.spawn(orders.sample(station, connector))
    elif wanted in ("FirmwareStatusNotification", "DiagnosticsStatusNotification", "LogStatusNotification"):
        station.spawn(orders.tell(station, wanted, {"status": "Idle"}))
    else:
        return {"status": "NotImplemented"}
    return ACCEPTED
