"""What OCPP 1.6 stations tell the bus, action by action. Connector numbers run over the whole station there: each is an
EVSE with the connector 1, and 0 is the station itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from evcore.bus.bodies import (
    ConnectorStatus,
    Fault,
    Readings,
    StationBooted,
    TransactionEnded,
    TransactionStarted,
    TransactionUpdated,
)
from evcore.csms.announce import Tell
from evcore.csms.energy import register
from evcore.csms.payload import decimal, short, whole
from evcore.csms.samples import readings
from evcore.csms.station import Station
from evcore.csms.tells import ALL, firmware, logs

__all__ = ["V16"]


def _booted(station: Station, payload: Any, answer: Mapping[str, Any]) -> Iterator[Any]:
    yield StationBooted(
        station=station.identity,
        version=station.version,
        vendor=station.vendor,
        model=station.model,
        serial=short(payload, "chargePointSerialNumber") or short(payload, "chargeBoxSerialNumber"),
        firmware=short(payload, "firmwareVersion"),
        status=str(answer["status"]),
    )


def _status(station: Station, payload: Any, answer: Mapping[str, Any]) -> Iterator[Any]:
    evse = whole(payload, "connectorId") or 0
    status, error = short(payload, "status") or "", short(payload, "errorCode")
    error = None if error == "NoError" else error
    info, vendor_error = short(payload, "info", 255), short(payload, "vendorErrorCode")
    time = short(payload, "timestamp")
    yield ConnectorStatus(
        station=station.identity,
        evse=evse,
        connector=1,
        status=status,
        error=error,
        info=info,
        vendor_error=vendor_error,
        time=time,
    )
    if error is not None or status == "Faulted":
        yield Fault(
            station=station.identity,
            code=error or vendor_error or "Faulted",
            evse=evse,
            connector=1,
            info=info,
            time=time,
        )


def _started(station: Station, payload: Any, answer: Mapping[str, Any]) -> Iterator[Any]:
    yield TransactionStarted(
        station=station.identity,
        transaction=str(answer["transactionId"]),
        evse=whole(payload, "connectorId"),
        connector=1,
        token=short(payload, "idTag"),
        meter=_meter(payload, "meterStart"),
        time=short(payload, "timestamp"),
        reservation=whole(payload, "reservationId"),
    )


def _stopped(station: Station, payload: Any, answer: Mapping[str, Any]) -> Iterator[Any]:
    transaction = _transaction(payload)
    known = station.last_transaction
    if known is not None and known.id != transaction:
        known = None
    evse = None if known is None else known.evse
    yield from _readings(station, payload, "transactionData", evse, transaction)
    yield TransactionEnded(
        station=station.identity,
        transaction=transaction,
        evse=evse,
        token=short(payload, "idTag"),
        meter=_meter(payload, "meterStop"),
        energy=None if known is None else known.energy,
        # Local is what a stop without a reason means (section 6.49).
        reason=short(payload, "reason") or "Local",
        time=short(payload, "timestamp"),
    )


def _metered(station: Station, payload: Any, answer: Mapping[str, Any]) -> Iterator[Any]:
    evse = whole(payload, "connectorId")
    number = whole(payload, "transactionId")
    transaction = None if number is None else str(number)
    samples = None
    for samples in _readings(station, payload, "meterValue", evse, transaction):
        yield samples
    if transaction is not None:
        running = station.transactions.get(transaction)
        yield TransactionUpdated(
            station=station.identity,
            transaction=transaction,
            evse=evse,
            meter=register(payload),
            energy=None if running is None else running.energy,
            trigger="MeterValuePeriodic",
            time=None if samples is None else samples.samples[-1].time,
        )


def _readings(
    station: Station, payload: Any, name: str, evse: int | None, transaction: str | None
) -> Iterator[Readings]:
    return readings(station.identity, payload, name=name, evse=evse, connector=1, transaction=transaction)


def _transaction(payload: Any) -> str:
    # A stop without an id is somebody's charge all the same: told, with nothing where the id is due.
    number = whole(payload, "transactionId")
    return "" if number is None else str(number)


def _meter(payload: Any, name: str) -> float | None:
    return decimal(payload.get(name)) if isinstance(payload, Mapping) else None


V16: Final[dict[str, Tell]] = ALL | {
    "BootNotification": _booted,
    "DiagnosticsStatusNotification": logs,
    "MeterValues": _metered,
    "SignedFirmwareStatusNotification": firmware,
    "StartTransaction": _started,
    "StatusNotification": _status,
    "StopTransaction": _stopped,
}
