"""Transactions: OCPP 1.6 sections 4.7, 4.8, 4.10; 2.x use cases E01 to E15 and J02.

These messages are money: whatever is in them, the station gets its CALLRESULT, because a refused one is only sent again
or thrown away (1.6 section 4.8). Unknown, zero and negative transaction ids are answered as valid (1.6 errata 3.18,
3.54).
"""

from __future__ import annotations

from typing import Any, Final

from evcore.csms.authorize import ACCEPTED
from evcore.csms.energy import register
from evcore.csms.payload import decimal, group, text, whole
from evcore.csms.station import Station
from evcore.dispatch import Handler, Outcome

__all__ = ["V2", "V16"]


def start_v16(station: Station, payload: Any) -> Outcome:
    transaction_id = next(station.backend.transaction_ids)
    start = decimal(payload.get("meterStart")) if isinstance(payload, dict) else None
    station.begin(str(transaction_id), whole(payload, "connectorId"), start)
    return {"transactionId": transaction_id, "idTagInfo": ACCEPTED}


def stop_v16(station: Station, payload: Any) -> Outcome:
    transaction_id = whole(payload, "transactionId")
    if transaction_id is not None:
        station.end(str(transaction_id), decimal(payload.get("meterStop")))
    return {} if text(payload, "idTag") is None else {"idTagInfo": ACCEPTED}


def meter_values_v16(station: Station, payload: Any) -> Outcome:
    transaction = station.transactions.get(str(whole(payload, "transactionId")))
    if transaction is not None:
        transaction.read(register(payload))
    return {}


def transaction_event(station: Station, payload: Any) -> Outcome:
    transaction_id = text(group(payload, "transactionInfo"), "transactionId")
    if transaction_id is not None:
        # 36 characters are allowed; what a tolerated message has beyond is not kept in memory.
        transaction_id = transaction_id[:64]
        reading = register(payload)
        if text(payload, "eventType") == "Ended":
            station.end(transaction_id, reading)
        else:
            station.begin(transaction_id, whole(group(payload, "evse"), "id"), reading)
    return {"idTokenInfo": ACCEPTED} if group(payload, "idToken") else {}


def meter_values_v2(station: Station, payload: Any) -> Outcome:
    return {}


V16: Final[dict[str, Handler[Station]]] = {
    "StartTransaction": start_v16,
    "StopTransaction": stop_v16,
    "MeterValues": meter_values_v16,
}
V2: Final[dict[str, Handler[Station]]] = {"TransactionEvent": transaction_event, "MeterValues": meter_values_v2}
