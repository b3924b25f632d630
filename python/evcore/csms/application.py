"""The CSMS behind a server: who is known, the stations' live state, the parts of each connection.

Comes in: identities and versions of new connections. Goes out: endpoints, tables, observers. What it keeps is in
memory.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from evcore import Codec
from evcore.bus import Bus
from evcore.bus.bodies import StationOffline, StationOnline
from evcore.bus.topic import level
from evcore.csms.station import Backend, Station
from evcore.csms.tables import tables
from evcore.csms.taps import BusTap, LogTap, Taps
from evcore.csms.watch import Watch
from evcore.endpoint import Endpoint, GateMode, Memory
from evcore.net.connection import Connection, Tap
from evcore.net.limits import BootOptions, BootShaper
from evcore.net.message_log import MessageLog
from evcore.net.server import Link
from evcore.policy import Policy

__all__ = ["Csms", "CsmsOptions"]

log = logging.getLogger("evcore.csms")

#: Stations remembered while they are away; identities are the peers' choice, so their number needs a bound.
MAX_STATIONS: Final = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CsmsOptions:
    """`heartbeat_interval`: seconds, told to stations when they boot. `boot`: how many may boot at a time, and how
    intervals are spread. `gate`: by version, what stations may do before they are accepted.

    `call_timeout`: seconds a station has for its answer, `handler_timeout`: seconds a handler has; `inbox`: CALLs of a
    station that may wait for the one at work, `queue`: CALLs to a station that may wait for the outstanding one.

    `raw_frames`: whether every frame of a station, its secrets masked, goes onto the bus as well.
    """

    heartbeat_interval: int = 300
    boot: BootOptions = field(default_factory=lambda: BootOptions(spread=0.0))
    gate: Mapping[str, GateMode] = field(
        default_factory=lambda: {"ocpp1.6": "lenient", "ocpp2.0.1": "strict", "ocpp2.1": "strict"}
    )
    call_timeout: float = 30.0
    handler_timeout: float = 60.0
    inbox: int = 64
    queue: int = 64
    raw_frames: bool = False


class Csms:
    """Implements `evcore.net.server.Application`. `known`: identities that may connect, None for all. `bus`: hears
    what stations do; a station's CALL is answered when the bus has kept what it must keep of it.
    """

    def __init__(
        self,
        *,
        known: Iterable[str] | None = None,
        options: CsmsOptions | None = None,
        message_log: MessageLog | None = None,
        bus: Bus | None = None,
    ) -> None:
        self.options = options = options or CsmsOptions()
        self._known = None if known is None else frozenset(known)
        self._message_log = message_log
        self.bus = bus
        # Seconds since 2020 as the first id: still below 2^31 in 2088, and above all ids given out before a restart.
        first = int(time.time()) - int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
        self._backend = Backend(
            lambda: datetime.now(UTC), itertools.count(first), options.heartbeat_interval, BootShaper(options.boot), bus
        )
        policy = Policy.billing()
        self.tables = tables(options.handler_timeout, bus)
        self._codecs = {version: Codec(version, policy=policy) for version in self.tables}
        self.stations: dict[str, Station] = {}

    def number_transactions(self, first: int, step: int) -> None:
        """Transaction ids from now on: those of several processes must not meet."""
        self._backend.transaction_ids = itertools.count(first, step)

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
        options = self.options
        endpoint = Endpoint(
            self._codecs[version],
            memory=station.memory,
            boot=station.boot,
            gate=options.gate[version],
            call_timeout=options.call_timeout,
            queue=options.queue,
            inbox=options.inbox,
        )
        return Link(endpoint, self.tables[version], station, Watch(station), self._tap(identity))

    def connected(self, connection: Connection[Station]) -> None:
        connection.context.connected(connection)
        log.info("%s: connected from %s, %s", connection.context, connection.peer, connection.version)
        if self.bus is not None:
            self.bus.publish(
                StationOnline(station=connection.name, version=connection.version, address=connection.peer)
            )

    def disconnected(self, connection: Connection[Station]) -> None:
        connection.context.disconnected()
        log.info("%s: disconnected", connection.context)
        if self.bus is not None:
            self.bus.publish(StationOffline(station=connection.name, version=connection.version))

    def _tap(self, identity: str) -> Tap | None:
        taps: list[Tap] = []
        if self._message_log is not None:
            taps.append(LogTap(identity, self._message_log))
        if self.bus is not None and self.options.raw_frames:
            taps.append(BusTap(identity, self.bus))
        return (taps[0] if len(taps) == 1 else Taps(taps)) if taps else None

    def _make_room(self) -> None:
        if len(self.stations) >= MAX_STATIONS:
            away = next((name for name, station in self.stations.items() if station.connection is None), None)
            if away is not None:
                del self.stations[away]

    # -- stations that move between processes ------------------------------------------------------------------------

    def export(self, identity: str) -> dict[str, Any] | None:
        """What another process needs of a station, as JSON values; None where nothing is known of it."""
        station = self.stations.get(identity)
        return None if station is None else station.export()

    def restore(self, identity: str, state: Mapping[str, Any]) -> None:
        """Takes a station over from another process; it has connected here already."""
        station = self.stations.get(identity)
        if station is not None:
            station.restore(state)

    def forget(self, identity: str) -> None:
        """The station lives in another process now."""
        station = self.stations.get(identity)
        if station is not None and station.connection is None:
            del self.stations[identity]
            if self.bus is not None:
                # Topic by topic: a wildcard looks at those of all stations.
                kept = ("connection", "boot", *(f"connectors/{evse}/{number}" for evse, number in station.connectors))
                for topic in kept:
                    self.bus.forget(f"stations/{level(identity)}/{topic}")
