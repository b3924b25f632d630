"""From a station's CALL to the events on the bus, and from the bus back to the answer.

Comes in: handlers by action, and for some actions what they have to tell: a function of station, payload and answer
that gives the bodies of events (`evcore.bus.bodies`). Goes out: handlers that publish them and give their answer once
the bus has kept what it must keep. A station is told that its bill has arrived only when it is where no crash reaches
it; if it cannot be kept the CALL is refused, and the station sends it again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from time import monotonic
from typing import Any, Final, TypeAlias

from evcore.bus import Bus, NotKept
from evcore.csms.station import Station
from evcore.dispatch import Handler, Outcome, Refusal

__all__ = ["Tell", "announcing"]

log = logging.getLogger("evcore.csms")

#: The bodies that a CALL and its answer give rise to. Payloads may break their schema, as for handlers.
Tell: TypeAlias = Callable[[Station, Any, Mapping[str, Any]], Iterable[Any]]

#: Seconds between two lines about events that could not be kept.
REPORT_SECONDS: Final = 10.0


def announcing(
    handlers: Mapping[str, Handler[Station]], tells: Mapping[str, Tell], bus: Bus
) -> dict[str, Handler[Station]]:
    """The handlers, those with something to tell telling it."""
    refused = _Refused()
    return {
        action: handler if action not in tells else _announcing(action, handler, tells[action], bus, refused)
        for action, handler in handlers.items()
    }


def _announcing(
    action: str, handler: Handler[Station], tell: Tell, bus: Bus, refused: _Refused
) -> Callable[[Station, Any], Outcome | Awaitable[Outcome]]:
    handle: Any = handler

    def announced(station: Station, payload: Any) -> Outcome | Awaitable[Outcome]:
        answer: Outcome = handle(station, payload)
        if isinstance(answer, Refusal):
            return answer
        waits = [wait for body in tell(station, payload, answer) if (wait := bus.publish(body)) is not None]
        return _kept(station, action, answer, waits, refused) if waits else answer

    return announced


async def _kept(
    station: Station, action: str, answer: Outcome, waits: list[Awaitable[None]], refused: _Refused
) -> Outcome:
    try:
        for wait in waits:
            await wait
    except NotKept as error:
        refused.report(station, action, error)
        return Refusal("InternalError", "this could not be stored; please send it again")
    return answer


class _Refused:
    """Says at intervals that CALLs are refused because their events cannot be kept."""

    def __init__(self) -> None:
        self._next = 0.0
        self._unreported = 0

    def report(self, station: Station, action: str, error: NotKept) -> None:
        now = monotonic()
        if now < self._next:
            self._unreported += 1
            return
        more = f" (and {self._unreported} more not reported)" if self._unreported else ""
        log.error("%s: %s refused, its event could not be kept: %s%s", station, action, error, more)
        self._next, self._unreported = now + REPORT_SECONDS, 0
