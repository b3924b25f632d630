"""Orders to charging stations, and what became of them: the seam between whoever wants something of a station and the
side that holds its connection.

Comes in: an `Order`, an OCPP CALL somebody wants sent. Goes out: exactly one `Outcome` for each. What an outcome may
say is fixed here, because programs far away decide by it; docs/mqtt.md has the same tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

__all__ = ["Order", "Orders", "Outcome", "Refused", "Status"]

#: How an order ended. `accepted`: a CALLRESULT, whose own status, where it has one, does not say no. `rejected`: a
#: CALLRESULT whose status says no. `error`: a CALLERROR, or an answer that breaks its schema. `timeout`: no answer in
#: time; the station may have carried it out. `expired`: its time was over before it was sent. `refused`: it was never
#: sent. `unknown`: it was sent, or may have been, and its fate is lost.
Status: TypeAlias = Literal["accepted", "rejected", "error", "timeout", "expired", "refused", "unknown"]

#: Why an order was refused: the `code` of an outcome whose status is `refused`.
Refused: TypeAlias = Literal[
    "unknown-station",
    "offline",
    "not-booted",
    "not-allowed",
    "malformed",
    "invalid-payload",
    "busy",
    "too-late",
    "retained",
    "unsupported-action",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A CALL for a station.

    `id`: unique among the orders of its source. `payload`: the CALL's, with the names of the wire. `source`: where it
    comes from, for the log and the bus, e.g. `mqtt`. `expires`: Unix time from which it must not be sent any more,
    None for none of its own. `timeout`: seconds the station has for its answer, None for the server's default.
    """

    id: str
    station: str
    action: str
    payload: Mapping[str, Any]
    source: str
    expires: float | None = None
    timeout: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an order.

    `code`: for `refused` one of `Refused`; for `error` the station's OCPP error code, or `invalid`; for `rejected` the
    status in the answer; else None or a word that says more. `message`: a sentence for a person. `payload`: of the
    CALLRESULT. `violations`: what is wrong with the payload that was given, a sentence each.
    """

    status: Status
    code: str | None = None
    message: str | None = None
    payload: Mapping[str, Any] | None = None
    violations: tuple[str, ...] = ()


class Orders(Protocol):
    """Whoever can reach stations."""

    async def carry_out(self, order: Order) -> Outcome:
        """Sends the CALL and waits for its end. Raises nothing but CancelledError."""
