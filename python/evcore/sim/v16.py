"""The messages of a simulated OCPP 1.6 station; what it obeys is in `orders_v16`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from evcore.message import CallResult
from evcore.sim.codec import Written
from evcore.sim.connector import Charge, Connector
from evcore.sim.dialect import Dialect, Message, reading
from evcore.sim.meter import Reading, sampler
from evcore.sim.orders_v16 import ORDERS
from evcore.sim.station import Station

__all__ = ["V16"]

#: Why a transaction ended, in the words of StopTransaction.
_REASONS: Final = {"Reset": "SoftReset", "Fault": "Other", "Unlock": "UnlockCommand"}
#: 2.x FirmwareStatus as FirmwareStatusNotification of 1.6 has it; what is not here is not sent.
_FIRMWARE: Final = frozenset(
    ("Downloaded", "DownloadFailed", "Downloading", "Idle", "InstallationFailed", "Installing", "Installed")
)
_NO_NUMBER: Final = -1


class V16(Dialect):
    version = "1.6"
    subprotocol = "ocpp1.6"
    stored = frozenset(("StartTransaction", "StopTransaction", "MeterValues"))

    def __init__(self) -> None:
        self.orders = ORDERS

    def boot(self, station: Station) -> Mapping[str, Any]:
        return {
            "chargePointVendor": station.model.vendor,
            "chargePointModel": station.model.model,
            "chargePointSerialNumber": station.identity[:25],
            "firmwareVersion": station.firmware,
        }

    async def report(self, station: Station, connector: Connector) -> None:
        status = connector.status
        code = connector.fault or "NoError"
        if connector.reported == f"{status} {code}" or not station.online:
            return
        connector.reported = f"{status} {code}"
        if await station.call(
            "StatusNotification", status_notification(connector.number, code, status, station.time())
        ) is None and station.failure in ("lost", "timeout"):
            connector.reported = None
        else:
            station.say("connector {} is {}", connector.number, status)

    async def fault(self, station: Station, connector: Connector, code: str, *, cleared: bool) -> None:
        """StatusNotification has said it."""

    def token(self, station: Station) -> Any:
        return f"04{station.rng.bits() >> 16:012X}"

    def token_text(self, token: Any) -> str:
        return str(token)

    async def authorize(self, station: Station, token: Any) -> bool | None:
        answer = await station.call("Authorize", {"idTag": token})
        return None if answer is None else bool(answer.payload["idTagInfo"]["status"] == "Accepted")

    def transaction_id(self, charge: Charge) -> str:
        return "?" if charge.number is None else str(charge.number)

    async def start(self, station: Station, connector: Connector, charge: Charge) -> None:
        def started(answer: CallResult) -> None:
            charge.number = answer.payload["transactionId"]
            charge.refused = answer.payload["idTagInfo"]["status"] != "Accepted"
            if charge.refused:
                station.wake(connector.visit)

        await station.deliver("StartTransaction", _starting, connector.number, charge, station.time(), then=started)

    async def state_changed(self, station: Station, connector: Connector, charge: Charge) -> None:
        """StatusNotification says it."""

    async def rate_changed(self, station: Station, connector: Connector, charge: Charge) -> None:
        """1.6 does not say it."""

    def sample(self, station: Station, connector: Connector, charge: Charge, context: str) -> Message | None:
        if not station.measurands:
            return None
        look = reading(station, connector, charge)
        return "MeterValues", _values, (connector.number, charge, look, context, station.measurands)

    async def stop(self, station: Station, connector: Connector, charge: Charge, reason: str) -> None:
        register = round(charge.begun + charge.car.drawn)
        await station.deliver("StopTransaction", _stopping, charge, register, station.time(), reason)

    def dispensable(self, action: str, arguments: tuple[Any, ...]) -> bool:
        return action == "MeterValues"

    async def firmware_status(self, station: Station, status: str, request: int | None) -> None:
        if request is not None:
            await station.call("SignedFirmwareStatusNotification", {"status": status, "requestId": request})
        elif status in _FIRMWARE:
            await station.call("FirmwareStatusNotification", {"status": status})

    async def log_status(self, station: Station, status: str, request: int | None) -> None:
        if request is not None:
            if status != "AcceptedCanceled":
                await station.call("LogStatusNotification", {"status": status, "requestId": request})
        else:
            status = {"UploadFailure": "UploadFailed", "BadMessage": "UploadFailed"}.get(status, status)
            if status in ("Idle", "Uploaded", "UploadFailed", "Uploading"):
                await station.call("DiagnosticsStatusNotification", {"status": status})


def status_notification(connector: int, code: str, status: str, timestamp: str) -> Written:
    """Payload of StatusNotification."""
    return Written(
        b'{"connectorId":%d,"errorCode":"%b","status":"%b","timestamp":"%b"}'
        % (connector, code.encode(), status.encode(), timestamp.encode())
    )


def _starting(connector: int, charge: Charge, timestamp: str) -> dict[str, Any]:
    payload = {
        "connectorId": connector,
        "idTag": charge.token,
        "meterStart": round(charge.begun),
        "timestamp": timestamp,
    }
    return payload if charge.reservation is None else payload | {"reservationId": charge.reservation}


def _values(connector: int, charge: Charge, look: Reading, context: str, measurands: str) -> Written:
    # The CSMS never gave an id when it refused the beginning (1.6 errata 3.18).
    number = _NO_NUMBER if charge.number is None else charge.number
    samples = sampler(look.phases, measurands, context, "1.6").write(look)
    return Written(
        b'{"connectorId":%d,"transactionId":%d,"meterValue":[{"timestamp":"%b","sampledValue":%b}]}'
        % (connector, number, look.timestamp.encode(), samples)
    )


def _stopping(charge: Charge, register: int, timestamp: str, reason: str) -> dict[str, Any]:
    payload = {
        "transactionId": _NO_NUMBER if charge.number is None else charge.number,
        "meterStop": register,
        "timestamp": timestamp,
        "reason": _REASONS.get(reason, reason),
    }
    return payload | {"idTag": charge.token} if reason == "Local" else payload
