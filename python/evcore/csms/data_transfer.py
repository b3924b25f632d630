"""Vendor messages: OCPP 1.6 section 4.3, 2.x use case P02. A vendor nobody registered is `UnknownVendorId`."""

from __future__ import annotations

from typing import Any, Final

from evcore.csms.station import Station
from evcore.dispatch import Handler, Outcome

__all__ = ["ALL"]


def data_transfer(station: Station, payload: Any) -> Outcome:
    return {"status": "UnknownVendorId"}


ALL: Final[dict[str, Handler[Station]]] = {"DataTransfer": data_transfer}
