"""What OCPP 2.0.1 and 2.1 stations tell the bus, action by action."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from evcore.bus.bodies import (
    ConfigurationProgress,
    ConnectorStatus,
    Fault,
    StationBooted,
    TransactionEnded,
    TransactionStarted,
    TransactionUpdated,
)
from evcore.csms.announce import Tell
from evcore.csms.energy import register
from evcore.csms.payload import flag, group, items, short, text, whole
from evcore.csms.samples import readings
from evcore.csms.station import Station
from evcore.csms.tells import ALL

__all__ = ["V2"]

#: Events taken of one NotifyEvent.
MOST_EVENTS: Final = 100


def _booted(station: Station, payload: Any, answer: Mapping[str, Any]) -> Iterator[Any]:
    described = group(payload, "chargingStation")
    yield StationBooted(
        station=station.identity,
        version=station.version,
        vendor=station.vendor,
        model=station.model,
        serial=short(described, "serialNumber"),
        firmware=short(described, "firmwareVersion"),
        reason=short(payload, "reason"),
        status=str(answer["status"]),
    )


def _status(station: Station, payload: Any, answer: Mapping[str, Any]) -> Iterator[Any]:
    evse, connector = whole(payload, "evseId") or 0, whole(payload, "connectorId") or 0
    status, time = short(payload, "connectorStatus") or "", short(payload, "timestamp")
    yield ConnectorStatus(station=station.identity, evse=evse, connector=connector, status=status, time=time)
    if status == "Faulted":
        yield Fault(station=station.identity, code=status, evse=evse, connector=connector, time=time)


def _transaction(station: Station, payload: Any, answer: Mapping[str, Any]) -> Iterator[Any]:
    info, place, token = group(payload, "transactionInfo"), group(payload, "evse"), group(payload, "idToken")
    # An event without an id is somebody's charge all the same: told, with nothing where the id is due.
    transaction = short(info, "transactionId") or ""
    # As handlers know it: bounded, but not made printable.
    known = station.transactions.get((text(info, "transactionId") or "")[:64])
    kind = text(payload, "eventType")
    if kind == "Ended" and known is None and station.last_transaction is not None:
        last = station.last_transaction
        known = last if last.id == (text(info, "transactionId") or "")[:64] else None
    evse = whole(place, "id")
    if evse is None and known is not None:
        evse = known.evse
    yield from readings(
        station.identity, payload, evse=evse, connector=whole(place, "connectorId"), transaction=transaction
    )
    common: dict[str, Any] = {
        "station": station.identity,
        "transaction": transaction,
        "evse": evse,
        "meter": register(payload),
        "time": short(payload, "timestamp"),
        "offline": flag(payload, "offline"),
        "sequence": whole(payload, "seqNo"),
    }
    energy = None if known is None else known.energy
    if kind == "Started":
        yield TransactionStarted(
            connector=whole(place, "connectorId"),
            token=short(token, "idToken"),
            remote_start=whole(info, "remoteStartId"),
            reservation=whole(payload, "reservationId"),
            **common,
        )
    elif kind == "Ended":
        yield TransactionEnded(
            token=short(token, "idToken"),
            energy=energy,
            # Local is what an end without a reason means (2.0.1 part 2, TransactionType).
            reason=short(info, "stoppedReason") or "Local",
            **common,
        )
    else:
        yield TransactionUpdated(
            energy=energy, state=short(info, "chargingState"), trigger=short(payload, "triggerReason"), **common
        )


def _metered(station: Station, payload: Any, answer: Mapping[str, Any]) -> Iterator[Any]:
    yield from readings(station.identity, payload, evse=whole(payload, "evseId"))


def _reported(station: Station, payload: Any, answer: Mapping[str, Any]) -> Iterator[Any]:
    yield ConfigurationProgress(
        station=station.identity,
        request=whole(payload, "requestId"),
        part=whole(payload, "seqNo"),
        last=not flag(payload, "tbc"),
    )


def _events(station: Station, payload: Any, answer: Mapping[str, Any]) -> Iterator[Any]:
    # Only alerts are faults; the other events tell of monitors that changed or are due (N07, N08).
    for event in islice(items(payload, "eventData"), MOST_EVENTS):
        if text(event, "trigger") != "Alerting" or flag(event, "cleared"):
            continue
        component = group(event, "component")
        place = group(component, "evse")
        yield Fault(
            station=station.identity,
            code=short(event, "techCode") or short(event, "actualValue") or "Alerting",
            evse=whole(place, "id"),
            connector=whole(place, "connectorId"),
            severity=whole(event, "severity"),
            component=short(component, "name"),
            variable=short(group(event, "variable"), "name"),
            info=short(event, "techInfo", 255),
            time=short(event, "timestamp"),
        )


V2: Final[dict[str, Tell]] = ALL | {
    "BootNotification": _booted,
    "MeterValues": _metered,
    "NotifyEvent": _events,
    "NotifyMonitoringReport": _reported,
    "NotifyReport": _reported,
    "StatusNotification": _status,
    "TransactionEvent": _transaction,
}
