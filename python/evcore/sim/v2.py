"""The messages of simulated OCPP 2.0.1 and 2.1 stations; what they obey is in `orders_v2`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from evcore.message import CallResult
from evcore.sim.codec import Written
from evcore.sim.connector import Charge, Connector
from evcore.sim.dialect import Dialect, Message, reading
from evcore.sim.meter import Reading, sampler
from evcore.sim.orders_v2 import ORDERS
from evcore.sim.station import Station

__all__ = ["V21", "V201"]

#: Why a transaction ended: trigger reason and stopped reason (2.x E06, E07).
_STOPPED: Final = {
    "Remote": ("RemoteStop", "Remote"),
    "Reset": ("ResetCommand", "ImmediateReset"),
    "Local": ("StopAuthorized", "Local"),
    "EVDisconnected": ("EVCommunicationLost", "EVDisconnected"),
    "DeAuthorized": ("Deauthorized", "DeAuthorized"),
    "Fault": ("AbnormalCondition", "Other"),
    "Unlock": ("UnlockCommand", "Other"),
}


_OFFLINE: Final = '"offline":true,'
_NOTHING: Final = ""


class V201(Dialect):
    version = "2.0.1"
    subprotocol = "ocpp2.0.1"
    stored = frozenset(("TransactionEvent",))
    #: What this version says of each transaction besides.
    info: Mapping[str, Any] = {}

    def __init__(self) -> None:
        self.orders = ORDERS

    def boot(self, station: Station) -> Mapping[str, Any]:
        return {
            "reason": station.boot_reason,
            "chargingStation": {
                "vendorName": station.model.vendor,
                "model": station.model.model,
                "serialNumber": station.identity[:25],
                "firmwareVersion": station.firmware,
            },
        }

    async def report(self, station: Station, connector: Connector) -> None:
        status = connector.status
        if status not in ("Available", "Unavailable", "Reserved", "Faulted"):
            status = "Occupied"
        if connector.reported == status or not station.online:
            return
        connector.reported = status
        if await station.call(
            "StatusNotification", status_notification(connector.number, status, station.time())
        ) is None and station.failure in ("lost", "timeout"):
            connector.reported = None
        else:
            station.say("connector {} is {}", connector.number, status)

    async def fault(self, station: Station, connector: Connector, code: str, *, cleared: bool) -> None:
        event = {
            "eventId": connector.number,
            "timestamp": station.time(),
            "trigger": "Alerting",
            "actualValue": "false" if cleared else "true",
            "techCode": code,
            "cleared": cleared,
            "eventNotificationType": "HardWiredNotification",
            "component": {"name": "Connector", "evse": {"id": connector.number, "connectorId": 1}},
            "variable": {"name": "Problem"},
        }
        await station.call("NotifyEvent", {"generatedAt": station.time(), "seqNo": 0, "eventData": [event]})

    def token(self, station: Station) -> Any:
        return {"idToken": f"04{station.rng.bits() >> 16:012X}", "type": "ISO14443"}

    def token_text(self, token: Any) -> str:
        return str(token["idToken"])

    async def authorize(self, station: Station, token: Any) -> bool | None:
        answer = await station.call("Authorize", {"idToken": token})
        return None if answer is None else bool(answer.payload["idTokenInfo"]["status"] == "Accepted")

    def transaction_id(self, charge: Charge) -> str:
        return charge.id

    async def start(self, station: Station, connector: Connector, charge: Charge) -> None:
        reason = "Authorized" if charge.remote is None else "RemoteStart"
        more: dict[str, Any] = {"idToken": charge.token, "evse": {"id": connector.number, "connectorId": 1}}
        if charge.reservation is not None:
            more["reservationId"] = charge.reservation
        await self._event(station, connector, charge, "Started", reason, "Transaction.Begin", **more)

    async def state_changed(self, station: Station, connector: Connector, charge: Charge) -> None:
        await self._event(station, connector, charge, "Updated", "ChargingStateChanged", None)

    async def rate_changed(self, station: Station, connector: Connector, charge: Charge) -> None:
        await self._event(station, connector, charge, "Updated", "ChargingRateChanged", None)

    def sample(self, station: Station, connector: Connector, charge: Charge, context: str) -> Message | None:
        if not station.measurands:
            return None
        seq, charge.seq = charge.seq, charge.seq + 1
        look = reading(station, connector, charge)
        remote = None if charge.remote is None else charge.remote.id
        about = charge.id, charge.state, remote, self.info, not station.online
        return "TransactionEvent", _periodic, (about, seq, look, context, station.measurands)

    async def stop(self, station: Station, connector: Connector, charge: Charge, reason: str) -> None:
        trigger, stopped = _STOPPED[reason]
        charge.state = "Idle" if reason == "EVDisconnected" else "EVConnected"
        more = {"idToken": charge.token} if reason == "Local" else {}
        await self._event(station, connector, charge, "Ended", trigger, "Transaction.End", stopped, **more)

    async def _event(
        self,
        station: Station,
        connector: Connector,
        charge: Charge,
        kind: str,
        reason: str,
        context: str | None,
        stopped: str | None = None,
        **more: Any,
    ) -> None:
        """A TransactionEvent; with meter values where there is a `context`, and a `stopped` reason at the end."""
        measurands = station.measurands if context is not None else ""
        look = reading(station, connector, charge) if measurands else None
        info = {"transactionId": charge.id, "chargingState": charge.state, **self.info}
        if stopped is not None:
            info["stoppedReason"] = stopped
        if charge.remote is not None and charge.remote.id is not None:
            info["remoteStartId"] = charge.remote.id
        event = {
            "eventType": kind,
            "timestamp": station.time(),
            "triggerReason": reason,
            "seqNo": charge.seq,
            "transactionInfo": info,
            **more,
        }
        if not station.online:
            event["offline"] = True
        charge.seq += 1
        then = None
        if "idToken" in more and kind == "Started":

            def then(answer: CallResult) -> None:
                known = answer.payload.get("idTokenInfo")
                charge.refused = known is not None and known["status"] != "Accepted"

        await station.deliver("TransactionEvent", _with_values, event, look, context, measurands, then=then)

    def dispensable(self, action: str, arguments: tuple[Any, ...]) -> bool:
        return isinstance(arguments[0], tuple) or bool(arguments[0]["eventType"] == "Updated")

    async def firmware_status(self, station: Station, status: str, request: int | None) -> None:
        about = {} if request is None else {"requestId": request}
        await station.call("FirmwareStatusNotification", {"status": status, **about})

    async def log_status(self, station: Station, status: str, request: int | None) -> None:
        about = {} if request is None else {"requestId": request}
        await station.call("LogStatusNotification", {"status": status, **about})


class V21(V201):
    """As 2.0.1; the car also tells its needs (K15), and transactions name their operation mode (Q01)."""

    version = "2.1"
    subprotocol = "ocpp2.1"
    info = {"operationMode": "ChargingOnly"}  # noqa: RUF012 - never written to

    async def start(self, station: Station, connector: Connector, charge: Charge) -> None:
        await super().start(station, connector, charge)
        car, needs = charge.car, dict[str, Any]()
        needs["requestedEnergyTransfer"] = car.transfer
        amperes = round(car.power / car.voltage / (car.phases or 1))
        if car.phases:
            needs["acChargingParameters"] = {
                "energyAmount": car.wanted, "evMinCurrent": 6, "evMaxCurrent": amperes, "evMaxVoltage": 400,
            }  # fmt: skip
        else:
            needs["dcChargingParameters"] = {
                "evMaxCurrent": amperes, "evMaxVoltage": round(car.voltage), "evMaxPower": round(car.power),
                "energyAmount": car.wanted, "stateOfCharge": round(car.soc),
            }  # fmt: skip
        await station.call("NotifyEVChargingNeeds", {"evseId": connector.number, "chargingNeeds": needs})


def status_notification(evse: int, status: str, timestamp: str) -> Written:
    """Payload of StatusNotification."""
    return Written(
        b'{"timestamp":"%b","connectorStatus":"%b","evseId":%d,"connectorId":1}'
        % (timestamp.encode(), status.encode(), evse)
    )


def _with_values(event: dict[str, Any], look: Reading | None, context: str, measurands: str) -> dict[str, Any]:
    if look is None:
        return event
    samples = json.loads(sampler(look.phases, measurands, context, "2.x").write(look))
    return event | {"meterValue": [{"timestamp": look.timestamp, "sampledValue": samples}]}


def _periodic(
    about: tuple[str, str, int | None, Mapping[str, Any], bool], seq: int, look: Reading, context: str, measurands: str
) -> Written:
    number, state, remote, info, offline = about
    reason = "Trigger" if context == "Trigger" else "MeterValuePeriodic"
    more = "".join(f',"{name}":"{value}"' for name, value in info.items())
    if remote is not None:
        more += f',"remoteStartId":{remote}'
    samples = sampler(look.phases, measurands, context, "2.x").write(look)
    head = (
        f'{{"eventType":"Updated","timestamp":"{look.timestamp}","triggerReason":"{reason}","seqNo":{seq},'
        f'"transactionInfo":{{"transactionId":"{number}","chargingState":"{state}"{more}}},'
        f"{_OFFLINE if offline else _NOTHING}"
        f'"meterValue":[{{"timestamp":"{look.timestamp}","sampledValue":'
    )
    return Written(head.encode() + samples + b"}]}")
