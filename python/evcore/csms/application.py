"""The CSMS behind a server: who is known, the stations' live state, what is reported and logged.

Comes in: connections and their events. Goes out: log lines without secrets, live state for the screen, the message log.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from evcore import Codec
from evcore.csms.payload import printable
from evcore.csms.station import Backend, Station
from evcore.csms.tables import TABLES
from evcore.endpoint import Endpoint, Event, Fault, Memory, Notice, Repeat, Request, Stray
from evcore.errors import FrameError
from evcore.message import Call, Send
from evcore.net.connection import Connection
from evcore.net.message_log import MessageLog
from evcore.net.server import Link
from evcore.policy import Policy

__all__ = ["Csms"]

log = logging.getLogger("evcore.csms")

#: Stations remembered while they are away; identities are the peers' choice, so their number needs a bound.
MAX_STATIONS: Final = 100_000

#: Seconds between two lines about bad frames of one connection.
REPORT_SECONDS: Final = 1.0


class Csms:
    """Implements `evcore.net.server.Application`.

    `known`: identities that may connect, None for all. `heartbeat_interval`: seconds, told to stations when they boot.
    """

    def __init__(
        self,
        *,
        known: Iterable[str] | None = None,
        heartbeat_interval: int = 300,
        message_log: MessageLog | None = None,
    ) -> None:
        self._known = None if known is None else frozenset(known)
        self._message_log = message_log
        # Seconds since 2020 as the first id: still below 2^31 in 2088, and above all ids given out before a restart.
        first = int(time.time()) - int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
        self._backend = Backend(lambda: datetime.now(UTC), itertools.count(first), heartbeat_interval)
        policy = Policy.billing()
        self._codecs = {version: Codec(version, policy=policy) for version in TABLES}
        self.stations: dict[str, Station] = {}

    def knows(self, identity: str) -> bool:
        return self._known is None or identity in self._known

    def link(self, identity: str, version: str) -> Link[Station]:
        station = self.stations.get(identity)
        if station is None:
            self._make_room()
            station = self.stations[identity] = Station(identity, self._backend)
        if station.version != version:
            # Answers and connector numbers mean what they mean in their version only.
            station.version, station.memory = version, Memory()
            station.connectors.clear()
        station.memory.reconnected()
        endpoint = Endpoint(self._codecs[version], memory=station.memory)
        return Link(endpoint, TABLES[version], station, _Watch(station, self._message_log))

    def connected(self, connection: Connection[Station]) -> None:
        station = connection.context
        station.connection = connection
        station.last_seen = time.time()
        log.info("%s: connected from %s, %s", station, connection.peer, station.version)

    def disconnected(self, connection: Connection[Station]) -> None:
        connection.context.connection = None
        log.info("%s: disconnected", connection.context)

    def _make_room(self) -> None:
        if len(self.stations) >= MAX_STATIONS:
            away = next((name for name, station in self.stations.items() if station.connection is None), None)
            if away is not None:
                del self.stations[away]


class _Watch:
    """Implements `evcore.net.connection.Observer` for one connection."""

    __slots__ = ("_message_log", "_next_report", "_station", "_unreported")

    def __init__(self, station: Station, message_log: MessageLog | None) -> None:
        self._station = station
        self._message_log = message_log
        self._next_report = 0.0
        self._unreported = 0

    def received(self, frame: bytes) -> None:
        station = self._station
        station.messages += 1
        station.last_seen = time.time()
        if self._message_log is not None:
            self._message_log.write("in", station.identity, frame)

    def sent(self, frame: bytes) -> None:
        self._station.messages += 1
        if self._message_log is not None:
            self._message_log.write("out", self._station.identity, frame)

    def happened(self, event: Event) -> None:
        station = self._station
        if isinstance(event, Request):
            call = event.call
            station.last_action = call.action
            if call.violations:
                self._report(
                    len(call.violations),
                    f"{call.action} breaks its schema, answered all the same: {call.violations[0]}",
                )
            else:
                log.debug("%s: %s", station, call.action)
        elif isinstance(event, Repeat):
            station.last_action = event.call.action
            log.info("%s: %s came again, answered as before", station, event.call.action)
        elif isinstance(event, Notice):
            station.last_action = event.send.action
        elif isinstance(event, Fault):
            error = event.error
            if isinstance(error, FrameError):
                self._report(1, f"not a frame: {error}")
            else:
                message = error.message
                name = message.action if isinstance(message, (Call, Send)) else "an answer"
                self._report(len(error.violations), f"{name} refused: {error}")
        elif isinstance(event, Stray):
            log.info("%s: an answer nobody waits for (%s)", station, event.reason)

    def _report(self, violations: int, sentence: str) -> None:
        self._station.violations += violations
        now = time.monotonic()
        if now < self._next_report:
            self._unreported += 1
            return
        more = f" (and {self._unreported} more frames not reported)" if self._unreported else ""
        log.warning("%s: %s%s", self._station, printable(sentence, 240), more)
        self._next_report, self._unreported = now + REPORT_SECONDS, 0
