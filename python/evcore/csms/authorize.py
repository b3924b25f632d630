"""Authorization: OCPP 1.6 section 4.1, 2.x use cases C01 to C07. Without a store every token is accepted."""

from __future__ import annotations

from typing import Any, Final

from evcore.csms.station import Station
from evcore.dispatch import Handler, Outcome

__all__ = ["ACCEPTED", "V2", "V16"]

ACCEPTED: Final = {"status": "Accepted"}


def authorize_v16(station: Station, payload: Any) -> Outcome:
    return {"idTagInfo": ACCEPTED}


def authorize_v2(station: Station, payload: Any) -> Outcome:
    return {"idTokenInfo": ACCEPTED}


V16: Final[dict[str, Handler[Station]]] = {"Authorize": authorize_v16}
V2: Final[dict[str, Handler[Station]]] = {"Authorize": authorize_v2}
