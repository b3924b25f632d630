"""Orders to the stations of this process: from an `Order` to the CALL, from its answer to the one `Outcome`.

Comes in: orders, whoever gives them. Goes out: an outcome for each, and on the bus that it was asked for and how it
ended, for stations that are known here. Refused before anything is sent: stations that are not known, away, not
accepted or have too many CALLs waiting; actions the station's version does not have, or that stations send; payloads
that break their schema. Nothing of a payload is logged; what goes onto the bus has its secrets masked.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from evcore.bus.bodies import CommandRequested, CommandResult, ConfigurationProgress
from evcore.bus.orders import Order, Outcome
from evcore.csms.payload import group, items, printable, text, whole
from evcore.csms.tables import tables
from evcore.endpoint import EndpointError
from evcore.endpoint.boot import OWN, REMOTE
from evcore.errors import PayloadError
from evcore.net.connection import CallFailed, Connection
from evcore.net.message_log import mask
from evcore.schema import VERSIONS, actions

if TYPE_CHECKING:
    from evcore.csms.application import Csms
    from evcore.csms.station import Station

__all__ = ["StationOrders", "orderable", "said"]

log = logging.getLogger("evcore.csms")

#: Violations told, and characters of a sentence: whoever gave the payload has it, and needs no more to mend it.
MAX_VIOLATIONS: Final = 10
SENTENCE: Final = 200

#: Keys named in an event about a configuration.
MAX_KEYS: Final = 64

#: Statuses of answers that say yes, in any version; whatever else a station says is a no. `Scheduled`:
#: ChangeAvailability and Reset while somebody charges. `RebootRequired`: it will hold after a reboot.
#: `AcceptedCanceled`: in place of one that was under way.
_YES: Final = frozenset({"Accepted", "AcceptedCanceled", "RebootRequired", "Scheduled", "Unlocked", "Unpublished"})

#: Answers that are a list of answers, one for each thing asked: where they stand, and what their status is called.
_LISTS: Final = {
    "ClearTariffs": ("clearTariffsResult", "status"),
    "ClearVariableMonitoring": ("clearMonitoringResult", "status"),
    "GetVariables": ("getVariableResult", "attributeStatus"),
    "SetVariableMonitoring": ("setMonitoringResult", "status"),
    "SetVariables": ("setVariableResult", "attributeStatus"),
}


@cache
def orderable(version: str) -> frozenset[str]:
    """The actions a CSMS may order of a station: those that stations do not send, and DataTransfer, which goes both
    ways. Raises ValueError for a version that does not exist.
    """
    theirs = tables()[version].actions if version in VERSIONS else frozenset()
    return frozenset(actions(version)["call"]) - theirs | {"DataTransfer"}


def said(action: str, answer: Mapping[str, Any]) -> str | None:
    """What a CALLRESULT says: its status; of a list of them the first that is a no, else the first. None where it has
    none.
    """
    if action in _LISTS:
        place, name = _LISTS[action]
        statuses = [status for item in items(answer, place) if (status := text(item, name)) is not None]
        return next((status for status in statuses if status not in _YES), statuses[0] if statuses else None)
    return text(answer, "status")


class StationOrders:
    """Implements `evcore.bus.orders.Orders` for the stations of a CSMS. `clock`: Unix time."""

    def __init__(self, csms: Csms, *, clock: Callable[[], float] = time.time) -> None:
        self._csms = csms
        self._clock = clock

    async def carry_out(self, order: Order) -> Outcome:
        """Sends the CALL and waits for its end; it waits for its turn until the order expires. Does not raise."""
        station = self._csms.stations.get(order.station)
        if station is None:
            # No identity is empty: who knows this one has no list, and any name may be a station's.
            if self._csms.knows(order.station) and not self._csms.knows(""):
                return _refused("offline", "the station has not connected")
            return _refused("unknown-station", "no station of this name has been here")
        connection = station.connection
        if connection is None or not connection.is_open:
            # Nothing happened that others should hear of; whoever ordered may try again and again.
            return _refused("offline", "the station is not connected")
        bus = self._csms.bus
        if bus is not None:
            bus.publish(
                CommandRequested(station=order.station, command=order.id, action=order.action, source=order.source)
            )
        outcome = Outcome(status="unknown", message="it was given up before it ended")
        try:
            outcome = await self._carry_out(connection, order)
        except Exception:
            log.exception("%s: %s of %s failed", station, printable(order.action), order.source)
            outcome = Outcome(status="unknown", message="the server failed at it")
        finally:
            log.info(
                "%s: %s of %s: %s%s",
                station,
                printable(order.action),
                order.source,
                outcome.status,
                "" if outcome.code is None else f", {outcome.code}",
            )
            if bus is not None:
                for body in _events(order, outcome):
                    bus.publish(body)
        return outcome

    async def _carry_out(self, connection: Connection[Station], order: Order) -> Outcome:
        action, version = order.action, connection.version
        if action not in orderable(version):
            return _refused("unsupported-action", _unsupported(action, version))
        patience = None
        if order.expires is not None:
            patience = order.expires - self._clock()
            if patience <= 0:
                return Outcome(status="expired", message="its time was over before it could be sent")
        try:
            answer = await connection.call(action, order.payload, timeout=order.timeout, patience=patience)
        except PayloadError as error:
            found = tuple(printable(violation, SENTENCE) for violation in error.violations[:MAX_VIOLATIONS])
            return Outcome(
                status="refused",
                code="invalid-payload",
                message=f"the payload breaks the schema of {action} in {version}",
                violations=found,
            )
        except EndpointError as error:
            return _refused(_why(connection, action), printable(error, SENTENCE))
        except CallFailed as error:
            return _failed(error)
        status = said(action, answer)
        if status is None or status in _YES:
            return Outcome(status="accepted", code=status, payload=answer)
        return Outcome(status="rejected", code=printable(status, 64), message=_reason(answer), payload=answer)


def _refused(code: str, message: str) -> Outcome:
    return Outcome(status="refused", code=code, message=message)


def _unsupported(action: str, version: str) -> str:
    if action in actions(version)["call"]:
        return f"{action} is sent by stations, not to them"
    has = [other for other in VERSIONS if action in orderable(other)]
    known = f"; it is an action of {' and '.join(has)}" if has else ""
    return f"{printable(action, 64)} is not an action of {version}{known}"


def _why(connection: Connection[Station], action: str) -> str:
    """The code for a CALL that the endpoint did not take."""
    if not connection.is_open:
        return "offline"
    boot = connection.endpoint.boot
    if boot is not None:
        verdict = OWN["csms", "1.6" if connection.version == "ocpp1.6" else "2.x"][boot.stage]
        if verdict == "refuse" or (verdict == "no remote" and action in REMOTE):
            return "not-booted"
    return "busy"


def _failed(error: CallFailed) -> Outcome:
    """A CALL that ended without a CALLRESULT."""
    if error.code == "timeout":
        return Outcome(status="timeout", message="the station did not answer in time; it may have carried it out")
    if error.code == "expired":
        return Outcome(status="expired", message="its time was over while it waited for the station's turn")
    if error.code == "lost":
        return Outcome(
            status="unknown", message="the connection was lost before the answer; it may have been carried out"
        )
    if error.code == "invalid":
        message = f"the answer is not a valid one: {printable(error.description, SENTENCE)}"
        return Outcome(status="error", code="invalid", message=message)
    return Outcome(
        status="error", code=printable(error.code, 64), message=printable(error.description, SENTENCE) or None
    )


def _reason(answer: Mapping[str, Any]) -> str | None:
    """What a station of 2.x adds to its status (StatusInfoType)."""
    info = group(answer, "statusInfo")
    parts = [part for part in (text(info, "reasonCode"), text(info, "additionalInfo")) if part]
    return printable(": ".join(parts), SENTENCE) if parts else None


# Events


def _events(order: Order, outcome: Outcome) -> Iterator[Any]:
    if outcome.payload is not None and order.action in _KEYS:
        status = said(order.action, outcome.payload)
        yield ConfigurationProgress(
            station=order.station,
            request=whole(order.payload, "requestId"),
            keys=tuple(printable(key) for key in _KEYS[order.action](order.payload)[:MAX_KEYS]),
            status="Accepted" if status is None else printable(status, 64),
        )
    yield CommandResult(
        station=order.station,
        command=order.id,
        action=order.action,
        status=outcome.status,
        code=outcome.code,
        message=outcome.message,
        payload=None if outcome.payload is None else _masked(outcome.payload),
    )


def _masked(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Without tokens of drivers and passwords: whoever ordered it gets it whole, others need not."""
    masked: dict[str, Any] = json.loads(mask(json.dumps(payload)))
    return masked


def _none(payload: Mapping[str, Any]) -> list[str]:
    return []


def _names(place: str) -> Callable[[Mapping[str, Any]], list[str]]:
    """Reads `Component/Variable` of the things asked for at this place of a payload (2.x)."""

    def read(payload: Mapping[str, Any]) -> list[str]:
        asked = [
            [text(group(item, part), "name") for part in ("component", "variable")] for item in items(payload, place)
        ]
        return ["/".join(name for name in names if name) for names in asked if any(names)]

    return read


def _one(name: str) -> Callable[[Mapping[str, Any]], list[str]]:
    return lambda payload: [key] if (key := text(payload, name)) is not None else []


def _several(payload: Mapping[str, Any]) -> list[str]:
    keys = payload.get("key")
    return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []


#: Actions that read or change a station's configuration, and which keys each of them names.
_KEYS: Final[Mapping[str, Callable[[Mapping[str, Any]], list[str]]]] = {
    "ChangeConfiguration": _one("key"),
    "GetBaseReport": _none,
    "GetConfiguration": _several,
    "GetMonitoringReport": _names("componentVariable"),
    "GetReport": _names("componentVariable"),
    "GetVariables": _names("getVariableData"),
    "SetVariableMonitoring": _names("setMonitoringData"),
    "SetVariables": _names("setVariableData"),
}
