"""What the server hears of one connection: live state for the screen, log lines and events without secrets."""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import Final

from evcore.bus.bodies import ViolationSeen
from evcore.csms.payload import printable
from evcore.csms.station import Station
from evcore.endpoint import EndpointError, Event, Fault, Gated, Notice, Repeat, Stray
from evcore.errors import FrameError
from evcore.message import Call, Send
from evcore.net.connection import CallFailed

__all__ = ["Watch"]

log = logging.getLogger("evcore.csms")

#: Seconds between two lines about bad frames of one connection.
REPORT_SECONDS: Final = 1.0

#: Seconds after which a station that goes on without having booted is asked to: it was accepted before this server
#: began, say, and cannot know that the server has forgotten.
ASK_SECONDS: Final = 10.0


class Watch:
    """Implements `evcore.net.connection.Observer` for one connection."""

    __slots__ = ("_asked", "_next_report", "_station", "_unreported")

    def __init__(self, station: Station) -> None:
        self._station = station
        self._next_report = 0.0
        self._unreported = 0
        self._asked = False

    def answered(self, call: Call, seconds: float, code: str | None) -> None:
        self._station.last_action = call.action
        if call.violations:
            sentence = f"{call.action} breaks its schema, answered all the same: {call.violations[0]}"
            self._report(len(call.violations), sentence, call.violations[0].code, call.action)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s: %s, %s after %.1f ms", self._station, call.action, code or "answered", seconds * 1000)

    def happened(self, event: Event) -> None:
        station = self._station
        if isinstance(event, Repeat):
            station.last_action = event.call.action
            log.info("%s: %s came again, answered as before", station, event.call.action)
        elif isinstance(event, Notice):
            station.last_action = event.send.action
        elif isinstance(event, Gated):
            action = event.message.action
            self._report(0, f"{action} refused: the station is {station.boot.stage}, not accepted", "gated", action)
            self._ask_to_boot()
        elif isinstance(event, Fault):
            error = event.error
            if isinstance(error, FrameError):
                self._report(1, f"not a frame: {error}", error.code)
            else:
                message = error.message
                name = message.action if isinstance(message, (Call, Send)) else None
                self._report(len(error.violations), f"{name or 'an answer'} refused: {error}", error.code, name)
        elif isinstance(event, Stray):
            log.info("%s: an answer nobody waits for (%s)", station, event.reason)

    def _report(self, violations: int, sentence: str, code: str, action: str | None = None) -> None:
        station = self._station
        station.violations += violations
        now = monotonic()
        if now < self._next_report:
            self._unreported += 1
            return
        more = f" (and {self._unreported} more frames not reported)" if self._unreported else ""
        sentence = printable(sentence, 240)
        log.warning("%s: %s%s", station, sentence, more)
        bus = station.backend.bus
        if bus is not None:
            count = 1 + self._unreported
            bus.publish(
                ViolationSeen(station=station.identity, action=action, code=code, message=sentence, count=count)
            )
        self._next_report, self._unreported = now + REPORT_SECONDS, 0

    def _ask_to_boot(self) -> None:
        connection = self._station.connection
        if self._asked or self._station.boot.stage != "new" or connection is None:
            return
        self._asked = True
        asyncio.get_running_loop().call_later(ASK_SECONDS, self._trigger, connection.epoch)

    def _trigger(self, epoch: int) -> None:
        connection = self._station.connection
        if connection is None or connection.epoch != epoch or self._station.boot.stage != "new":
            return

        async def ask() -> None:
            try:
                await connection.call("TriggerMessage", {"requestedMessage": "BootNotification"})
            except (CallFailed, EndpointError) as error:
                log.info("%s: was asked to boot: %s", self._station, error)

        # The loop holds tasks weakly; the call is bounded by its timeout, and its future is held by the connection.
        task = asyncio.get_running_loop().create_task(ask())
        _asking.add(task)
        task.add_done_callback(_asking.discard)


_asking: set[asyncio.Task[None]] = set()
