"""A simulated OCPP 1.6 station: Core profile and remote trigger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from evcore.dispatch import Outcome, Table
from evcore.sim.charge import Car
from evcore.sim.dialect import MODEL, VENDOR, Dialect, random_token
from evcore.sim.station import Charge, SimulatedStation

__all__ = ["V16"]

_TABLE: Final[Table[SimulatedStation]] = Table()
_ACCEPTED: Final = {"status": "Accepted"}
_REJECTED: Final = {"status": "Rejected"}


class V16(Dialect):
    version = "ocpp1.6"
    table = _TABLE

    async def boot(self, station: SimulatedStation, reason: str) -> Mapping[str, Any]:
        described = {
            "chargePointVendor": VENDOR,
            "chargePointModel": MODEL,
            "chargePointSerialNumber": station.identity[:25],
            "firmwareVersion": "1.6",
        }
        return await station.call("BootNotification", described)

    def connector_status(self, status: str) -> str:
        return status

    async def send_status(self, station: SimulatedStation) -> None:
        status = {"errorCode": "NoError", "status": station.status, "timestamp": station.clock.text()}
        await station.call("StatusNotification", {"connectorId": 1, **status})

    def token(self, station: SimulatedStation) -> Mapping[str, Any]:
        return {"idTag": random_token(station)}

    async def authorize(self, station: SimulatedStation, token: Mapping[str, Any]) -> bool:
        answer = await station.call("Authorize", token)
        return bool(answer["idTagInfo"]["status"] == "Accepted")

    async def start(self, station: SimulatedStation, car: Car, token: Mapping[str, Any], remote: int | None) -> Charge:
        begun = car.read().register
        started = {"connectorId": 1, "meterStart": round(begun), "timestamp": station.clock.text(), **token}
        answer = await station.call("StartTransaction", started)
        return Charge(str(answer["transactionId"]), car, begun, token=token)

    async def sample(self, station: SimulatedStation, charge: Charge, context: str) -> None:
        values = {
            "connectorId": 1,
            "transactionId": int(charge.id),
            "meterValue": [{"timestamp": station.clock.text(), "sampledValue": _sampled(charge.car, context)}],
        }
        await station.call("MeterValues", values)

    async def stop(self, station: SimulatedStation, charge: Charge, reason: str) -> None:
        stopped = {
            "transactionId": int(charge.id),
            "meterStop": round(charge.car.read().register),
            "timestamp": station.clock.text(),
            "reason": "SoftReset" if reason == "Reset" else reason,
            **(charge.token if reason == "Local" else {}),
        }
        await station.call("StopTransaction", stopped)


def _sampled(car: Car, context: str) -> list[dict[str, str]]:
    reading = car.read()

    def sample(measurand: str, value: float, unit: str, **more: str) -> dict[str, str]:
        return {"value": str(value), "context": context, "measurand": measurand, "unit": unit, **more}

    samples = [
        sample("Energy.Active.Import.Register", reading.register, "Wh"),
        sample("Power.Active.Import", reading.power, "W"),
        sample("SoC", reading.soc, "Percent", location="EV"),
    ]
    for phase in range(1, car.phases + 1):
        samples.append(sample("Current.Import", reading.current, "A", phase=f"L{phase}"))
        samples.append(sample("Voltage", reading.voltage, "V", phase=f"L{phase}-N"))
    return samples


# -- orders of the CSMS -----------------------------------------------------------------------------------------------


@_TABLE.on("GetConfiguration")
def get_configuration(station: SimulatedStation, payload: Any) -> Outcome:
    wanted = payload.get("key")
    known = list(station.device) if not wanted else [found for name in wanted if (found := station.device.key(name))]
    return {
        "configurationKey": [
            {"key": setting.key, "readonly": not setting.writable, "value": setting.value} for setting in known
        ],
        "unknownKey": [name for name in wanted or () if station.device.key(name) is None],
    }


@_TABLE.on("ChangeConfiguration")
def change_configuration(station: SimulatedStation, payload: Any) -> Outcome:
    setting = station.device.key(payload["key"])
    if setting is None:
        return {"status": "NotSupported"}
    return _ACCEPTED if setting.write(payload["value"]) else _REJECTED


@_TABLE.on("RemoteStartTransaction")
def remote_start(station: SimulatedStation, payload: Any) -> Outcome:
    if station.charge is not None or not station.operative or payload.get("connectorId", 1) != 1:
        return _REJECTED
    station.say("is asked to start a transaction")
    station.wish(start={"token": {"idTag": payload["idTag"]}})
    return _ACCEPTED


@_TABLE.on("RemoteStopTransaction")
def remote_stop(station: SimulatedStation, payload: Any) -> Outcome:
    if station.charge is None or station.charge.id != str(payload["transactionId"]):
        return _REJECTED
    station.say("is asked to stop its transaction")
    station.wish(stop=True)
    return _ACCEPTED


@_TABLE.on("Reset")
def reset(station: SimulatedStation, payload: Any) -> Outcome:
    station.wish(reset=payload["type"])
    return _ACCEPTED


@_TABLE.on("ChangeAvailability")
def change_availability(station: SimulatedStation, payload: Any) -> Outcome:
    if payload["connectorId"] not in (0, 1):
        return _REJECTED
    station.operative = payload["type"] == "Operative"
    station.wish()
    return _ACCEPTED if station.charge is None else {"status": "Scheduled"}


@_TABLE.on("TriggerMessage")
def trigger_message(station: SimulatedStation, payload: Any) -> Outcome:
    wanted, charge = payload["requestedMessage"], station.charge
    if payload.get("connectorId", 1) != 1 or (wanted == "MeterValues" and charge is None):
        return _REJECTED
    dialect = station.dialect
    if wanted == "BootNotification":
        station.later(lambda: dialect.boot(station, "Triggered"))
    elif wanted == "StatusNotification":
        station.later(lambda: dialect.send_status(station))
    elif wanted == "MeterValues" and charge is not None:
        station.later(lambda: dialect.sample(station, charge, "Trigger"))
    elif wanted == "Heartbeat":
        station.later(lambda: station.call("Heartbeat", {}))
    else:
        station.later(lambda: station.call(wanted, {"status": "Idle"}))
    return _ACCEPTED


@_TABLE.on("UnlockConnector")
def unlock_connector(station: SimulatedStation, payload: Any) -> Outcome:
    return {"status": "NotSupported"}


@_TABLE.on("ClearCache")
def clear_cache(station: SimulatedStation, payload: Any) -> Outcome:
    return _ACCEPTED


@_TABLE.on("DataTransfer")
def data_transfer(station: SimulatedStation, payload: Any) -> Outcome:
    return {"status": "UnknownVendorId"}
