"""Simulated OCPP 2.0.1 and 2.1 stations: transactions, device model, remote control and trigger."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from evcore.dispatch import Outcome, Table
from evcore.sim.charge import Car
from evcore.sim.device import Setting
from evcore.sim.dialect import MODEL, VENDOR, Dialect, random_token
from evcore.sim.station import Charge, SimulatedStation

__all__ = ["V21", "V201"]

_TABLE: Final[Table[SimulatedStation]] = Table()
_ACCEPTED: Final = {"status": "Accepted"}
_REJECTED: Final = {"status": "Rejected"}

_EVSE: Final = {"id": 1, "connectorId": 1}
#: Why a transaction ended: trigger reason and stopped reason (E06, E07).
_STOPPED: Final = {
    "Remote": ("RemoteStop", "Remote"),
    "Reset": ("ResetCommand", "ImmediateReset"),
    "Local": ("StopAuthorized", "Local"),
    "EVDisconnected": ("EVCommunicationLost", "EVDisconnected"),
}


class V201(Dialect):
    version = "ocpp2.0.1"
    table = _TABLE

    async def boot(self, station: SimulatedStation, reason: str) -> Mapping[str, Any]:
        described = {
            "vendorName": VENDOR,
            "model": MODEL,
            "serialNumber": station.identity[:25],
            "firmwareVersion": self.version.removeprefix("ocpp"),
        }
        return await station.call("BootNotification", {"reason": reason, "chargingStation": described})

    def connector_status(self, status: str) -> str:
        return status if status in ("Available", "Unavailable") else "Occupied"

    async def send_status(self, station: SimulatedStation) -> None:
        status = {"timestamp": station.clock.text(), "connectorStatus": station.status}
        await station.call("StatusNotification", {**status, "evseId": 1, "connectorId": 1})

    def token(self, station: SimulatedStation) -> Mapping[str, Any]:
        return {"idToken": random_token(station), "type": "ISO14443"}

    async def authorize(self, station: SimulatedStation, token: Mapping[str, Any]) -> bool:
        answer = await station.call("Authorize", {"idToken": token})
        return bool(answer["idTokenInfo"]["status"] == "Accepted")

    async def start(self, station: SimulatedStation, car: Car, token: Mapping[str, Any], remote: int | None) -> Charge:
        transaction_id = str(uuid.UUID(int=station.rng.getrandbits(128), version=4))
        charge = station.charge = Charge(transaction_id, car, car.read().register, token=token, remote=remote)
        reason = "Authorized" if remote is None else "RemoteStart"
        first: dict[str, Any] = {
            "idToken": token,
            "evse": _EVSE,
            "meterValue": _meter_value(station, car, "Transaction.Begin"),
        }
        await self._event(station, charge, "Started", reason, "EVConnected", **first)
        await self._event(station, charge, "Updated", "ChargingStateChanged", "Charging")
        return charge

    async def sample(self, station: SimulatedStation, charge: Charge, context: str) -> None:
        reason = "Trigger" if context == "Trigger" else "MeterValuePeriodic"
        values = _meter_value(station, charge.car, context)
        await self._event(station, charge, "Updated", reason, "Charging", meterValue=values)

    async def stop(self, station: SimulatedStation, charge: Charge, reason: str) -> None:
        trigger, stopped = _STOPPED[reason]
        last: dict[str, Any] = {"meterValue": _meter_value(station, charge.car, "Transaction.End")}
        if reason == "Local":
            last["idToken"] = charge.token
        state = "Idle" if reason == "EVDisconnected" else "EVConnected"
        await self._event(station, charge, "Ended", trigger, state, stopped, **last)

    async def _event(
        self,
        station: SimulatedStation,
        charge: Charge,
        kind: str,
        reason: str,
        state: str,
        stopped: str | None = None,
        **more: Any,
    ) -> None:
        info = {"transactionId": charge.id, "chargingState": state, **self._info()}
        if stopped is not None:
            info["stoppedReason"] = stopped
        if charge.remote is not None:
            info["remoteStartId"] = charge.remote
        event = {
            "eventType": kind,
            "timestamp": station.clock.text(),
            "triggerReason": reason,
            "seqNo": charge.seq,
            "transactionInfo": info,
            **more,
        }
        charge.seq += 1
        await station.call("TransactionEvent", event)

    def _info(self) -> dict[str, Any]:
        """What else this version says about a transaction."""
        return {}


class V21(V201):
    """As 2.0.1; the car also tells its needs (K15), and transactions name their operation mode (Q01)."""

    version = "ocpp2.1"

    async def start(self, station: SimulatedStation, car: Car, token: Mapping[str, Any], remote: int | None) -> Charge:
        charge = await super().start(station, car, token, remote)
        transfer = "AC_single_phase" if car.phases == 1 else "AC_three_phase"
        limits = {"energyAmount": car.energy_wanted, "evMinCurrent": 6, "evMaxCurrent": 32, "evMaxVoltage": 400}
        needs = {"requestedEnergyTransfer": transfer, "acChargingParameters": limits}
        await station.call("NotifyEVChargingNeeds", {"evseId": 1, "chargingNeeds": needs})
        return charge

    def _info(self) -> dict[str, Any]:
        return {"operationMode": "ChargingOnly"}


def _meter_value(station: SimulatedStation, car: Car, context: str) -> list[dict[str, Any]]:
    reading = car.read()

    def sample(measurand: str, value: float, unit: str, **more: str) -> dict[str, Any]:
        described = {"context": context, "measurand": measurand, "unitOfMeasure": {"unit": unit}}
        return {"value": value, **described, **more}

    samples = [
        sample("Energy.Active.Import.Register", reading.register, "Wh"),
        sample("Power.Active.Import", reading.power, "W"),
        sample("SoC", reading.soc, "Percent", location="EV"),
    ]
    for phase in range(1, car.phases + 1):
        samples.append(sample("Current.Import", reading.current, "A", phase=f"L{phase}"))
        samples.append(sample("Voltage", reading.voltage, "V", phase=f"L{phase}-N"))
    return [{"timestamp": station.clock.text(), "sampledValue": samples}]


# -- orders of the CSMS -----------------------------------------------------------------------------------------------


def _find(station: SimulatedStation, item: Any) -> tuple[Setting | None, str]:
    component, variable = item["component"]["name"], item["variable"]["name"]
    setting = station.device.variable(component, variable)
    if setting is not None:
        return (
            (setting, "Accepted")
            if item.get("attributeType", "Actual") == "Actual"
            else (
                None,
                "NotSupportedAttributeType",
            )
        )
    return None, "UnknownVariable" if station.device.has_component(component) else "UnknownComponent"


def _named(item: Any) -> dict[str, Any]:
    return {name: item[name] for name in ("attributeType", "component", "variable") if name in item}


@_TABLE.on("GetVariables")
def get_variables(station: SimulatedStation, payload: Any) -> Outcome:
    results = []
    for item in payload["getVariableData"]:
        setting, status = _find(station, item)
        value = {} if setting is None else {"attributeValue": setting.value}
        results.append({"attributeStatus": status, **_named(item), **value})
    return {"getVariableResult": results}


@_TABLE.on("SetVariables")
def set_variables(station: SimulatedStation, payload: Any) -> Outcome:
    results = []
    for item in payload["setVariableData"]:
        setting, status = _find(station, item)
        if setting is not None and not setting.write(item["attributeValue"]):
            status = "Rejected"
        results.append({"attributeStatus": status, **_named(item)})
    return {"setVariableResult": results}


@_TABLE.on("GetBaseReport")
def get_base_report(station: SimulatedStation, payload: Any) -> Outcome:
    if payload["reportBase"] == "SummaryInventory":
        return {"status": "NotSupported"}
    report = {
        "requestId": payload["requestId"],
        "generatedAt": station.clock.text(),
        "seqNo": 0,
        "tbc": False,
        "reportData": [_reported(setting) for setting in station.device],
    }
    station.later(lambda: station.call("NotifyReport", report))
    return _ACCEPTED


def _reported(setting: Setting) -> dict[str, Any]:
    kind = "integer" if setting.whole else "boolean" if setting.value in ("true", "false") else "string"
    return {
        "component": {"name": setting.component},
        "variable": {"name": setting.variable},
        "variableAttribute": [{"value": setting.value, "mutability": "ReadWrite" if setting.writable else "ReadOnly"}],
        "variableCharacteristics": {"dataType": kind, "supportsMonitoring": False},
    }


@_TABLE.on("RequestStartTransaction")
def request_start(station: SimulatedStation, payload: Any) -> Outcome:
    if station.charge is not None or not station.operative or payload.get("evseId", 1) != 1:
        return _REJECTED
    station.say("is asked to start a transaction")
    station.wish(start={"token": payload["idToken"], "id": payload["remoteStartId"]})
    return _ACCEPTED


@_TABLE.on("RequestStopTransaction")
def request_stop(station: SimulatedStation, payload: Any) -> Outcome:
    if station.charge is None or station.charge.id != payload["transactionId"]:
        return _REJECTED
    station.say("is asked to stop its transaction")
    station.wish(stop=True)
    return _ACCEPTED


@_TABLE.on("GetTransactionStatus")
def transaction_status(station: SimulatedStation, payload: Any) -> Outcome:
    wanted = payload.get("transactionId")
    if wanted is None:
        return {"messagesInQueue": False}
    return {"messagesInQueue": False, "ongoingIndicator": station.charge is not None and station.charge.id == wanted}


@_TABLE.on("Reset")
def reset(station: SimulatedStation, payload: Any) -> Outcome:
    if payload.get("evseId") is not None:
        return _REJECTED
    station.wish(reset=payload["type"])
    return _ACCEPTED


@_TABLE.on("ChangeAvailability")
def change_availability(station: SimulatedStation, payload: Any) -> Outcome:
    if payload.get("evse", _EVSE)["id"] not in (0, 1):
        return _REJECTED
    station.operative = payload["operationalStatus"] == "Operative"
    station.wish()
    return _ACCEPTED if station.charge is None else {"status": "Scheduled"}


@_TABLE.on("TriggerMessage")
def trigger_message(station: SimulatedStation, payload: Any) -> Outcome:
    wanted, charge, dialect = payload["requestedMessage"], station.charge, station.dialect
    if wanted == "BootNotification":
        station.later(lambda: dialect.boot(station, "Triggered"))
    elif wanted == "StatusNotification":
        station.later(lambda: dialect.send_status(station))
    elif wanted == "Heartbeat":
        station.later(lambda: station.call("Heartbeat", {}))
    elif wanted == "TransactionEvent" and charge is not None:
        station.later(lambda: dialect.sample(station, charge, "Trigger"))
    elif wanted in ("FirmwareStatusNotification", "LogStatusNotification"):
        station.later(lambda: station.call(wanted, {"status": "Idle"}))
    else:
        return _REJECTED if wanted == "TransactionEvent" else {"status": "NotImplemented"}
    return _ACCEPTED


@_TABLE.on("UnlockConnector")
def unlock_connector(station: SimulatedStation, payload: Any) -> Outcome:
    return {"status": "UnlockFailed"}


@_TABLE.on("ClearCache")
def clear_cache(station: SimulatedStation, payload: Any) -> Outcome:
    return _ACCEPTED


@_TABLE.on("DataTransfer")
def data_transfer(station: SimulatedStation, payload: Any) -> Outcome:
    return {"status": "UnknownVendorId"}
