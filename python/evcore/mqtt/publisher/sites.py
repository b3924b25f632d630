"""What the stations of a site draw together.

In: events of stations. Out: a SiteEnergy for each site on the bus, at intervals.

Energy is what the registers of the EVSEs rose by since the start. A register that fell was reset or changed: counting
goes on from its new value, and nothing is added for the fall. Readings that were told late or twice add nothing. A
station's own register (EVSE 0) counts until one of its EVSEs has one, or a charge would count twice.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from fnmatch import translate
from functools import lru_cache
from time import monotonic, time
from typing import Any, Final

from evcore.bus import Bus
from evcore.bus.bodies import (
    ConnectorStatus,
    Readings,
    SiteEnergy,
    StationOffline,
    StationOnline,
    TransactionEnded,
    TransactionStarted,
    TransactionUpdated,
)
from evcore.bus.event import KINDS, Event
from evcore.mqtt.publisher.flat import BY_NAME, totals
from evcore.mqtt.publisher.options import PublishOptions

__all__ = ["Sites"]

_ENERGY: Final = BY_NAME["energy"]
_POWER: Final = BY_NAME["power"]

#: Seconds a station's clock may be ahead before its times are not believed: one in the future would make all that
#: follows late.
_AHEAD: Final = 300.0


class _Register:
    """An energy register, in Wh."""

    __slots__ = ("_at", "_last", "delivered")

    def __init__(self) -> None:
        self._last: float | None = None
        self._at: float | None = None
        self.delivered = 0.0

    @property
    def read(self) -> bool:
        return self._last is not None

    def take(self, value: float, at: float | None) -> None:
        """`at`: the station's time of the reading, in Unix seconds."""
        if at is not None and self._at is not None and at < self._at:
            return
        if self._last is not None and value > self._last:
            self.delivered += value - self._last
        self._last, self._at = value, at


class _Evse:
    __slots__ = ("bills", "charging", "measured", "power", "power_at")

    def __init__(self) -> None:
        # Some stations count from 0 in each charge when they measure, and over their life when they bill: the two are
        # registers of their own for one energy.
        self.measured = _Register()
        self.bills = _Register()
        self.power: float | None = None
        self.power_at = 0.0
        self.charging = False

    def drawn(self, oldest: float) -> float | None:
        """Its power, if it was read since `oldest`; nothing drawn stays nothing."""
        return self.power if self.power == 0 or self.power_at >= oldest else None

    @property
    def delivered(self) -> float:
        return max(self.measured.delivered, self.bills.delivered)

    @property
    def metered(self) -> bool:
        return self.measured.read or self.bills.read


class _Member:
    """A station of a site, or of several."""

    __slots__ = ("evses", "online")

    def __init__(self) -> None:
        self.online = False
        self.evses: dict[int, _Evse] = {}

    def delivered(self) -> float:
        return sum(evse.delivered for evse in self.evses.values())

    def counts(self, evse: int | None) -> bool:
        """Whether this EVSE's register is one to count."""
        return bool(evse) or not any(number and one.metered for number, one in self.evses.items())

    def power(self, oldest: float) -> float | None:
        """`oldest`: a power that was read before then does not count, except 0, which nothing changed since."""
        if not self.online:
            return None
        known = {number: power for number, evse in self.evses.items() if (power := evse.drawn(oldest)) is not None}
        own = [power for number, power in known.items() if number]
        return sum(own) if own else known.get(0)


class Sites:
    """The sites of `options`. `clock` gives Unix seconds, `steady` seconds that only rise."""

    def __init__(
        self,
        bus: Bus,
        options: PublishOptions,
        *,
        clock: Callable[[], float] = time,
        steady: Callable[[], float] = monotonic,
    ) -> None:
        self._bus = bus
        self._options = options
        self._clock = clock
        self._steady = steady
        self._patterns = {
            site: re.compile("|".join(translate(pattern) for pattern in patterns))
            for site, patterns in options.sites.items()
        }
        self._members: dict[str, dict[str, _Member]] = {site: {} for site in options.sites}
        self._gone = dict.fromkeys(options.sites, 0.0)
        self._since = f"{datetime.fromtimestamp(clock(), UTC).isoformat(timespec='milliseconds')[:-6]}Z"
        self._detach: list[Callable[[], None]] = []
        self._sites_of = lru_cache(maxsize=65_536)(self._match)
        self._readers: dict[type, Callable[[_Member, Any], None]] = {
            StationOnline: self._online,
            StationOffline: self._offline,
            ConnectorStatus: self._status,
            Readings: self._readings,
            TransactionStarted: self._started,
            TransactionUpdated: self._updated,
            TransactionEnded: self._ended,
        }

    def attach(self) -> None:
        """Listens from now on; nothing, where there is no site."""
        if self._patterns:
            filters = dict.fromkeys(re.sub(r"\{\w+\}", "+", KINDS[body].topic) for body in self._readers)
            self._detach = [self._bus.attach(one, self.take) for one in filters]

    def detach(self) -> None:
        while self._detach:
            self._detach.pop()()

    async def run(self) -> None:
        """Publishes every `site_interval` seconds, until it is cancelled."""
        while self._patterns:
            await asyncio.sleep(self._options.site_interval)
            for body in self.energies():
                self._bus.publish(body)

    def energies(self) -> Iterator[SiteEnergy]:
        """Each site as it is now."""
        oldest = self._steady() - self._options.site_stale
        for site, members in self._members.items():
            powers = [power for member in members.values() if (power := member.power(oldest)) is not None]
            online = [member for member in members.values() if member.online]
            yield SiteEnergy(
                site=site,
                power=round(sum(powers), 3) if powers else None,
                energy=round(self._gone[site] + sum(member.delivered() for member in members.values()), 3),
                stations=len(online),
                charging=sum(evse.charging for member in online for evse in member.evses.values()),
                since=self._since,
            )

    def forget(self, station: str) -> None:
        """The station is removed; what it delivered stays in its sites' energy."""
        for site, members in self._members.items():
            member = members.pop(station, None)
            if member is not None:
                self._gone[site] += member.delivered()

    def take(self, event: Event) -> None:
        """A sink of the bus."""
        body = event.body
        for member in self._of(body.station):
            self._readers[type(body)](member, body)

    def _of(self, station: str) -> Iterator[_Member]:
        # One record for all sites of a station: it is the same energy.
        sites = self._sites_of(station)
        if not sites:
            return
        member = self._members[sites[0]].get(station)
        if member is None:
            member = _Member()
            for site in sites:
                members = self._members[site]
                if len(members) >= self._options.most_stations:
                    return
                members[station] = member
        yield member

    def _match(self, station: str) -> tuple[str, ...]:
        return tuple(site for site, pattern in self._patterns.items() if pattern.match(station))

    def _evse(self, member: _Member, number: int | None) -> _Evse | None:
        evse = member.evses.get(number or 0)
        if evse is None:
            if len(member.evses) >= self._options.most_connectors:
                return None
            evse = member.evses[number or 0] = _Evse()
        return evse

    def _time(self, text: str | None) -> float | None:
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text)
            at = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
        return at if at <= self._clock() + _AHEAD else None

    def _online(self, member: _Member, body: StationOnline) -> None:
        member.online = True

    def _offline(self, member: _Member, body: StationOffline) -> None:
        member.online = False
        for evse in member.evses.values():
            evse.power = None

    def _status(self, member: _Member, body: ConnectorStatus) -> None:
        # Occupied (2.x) says nothing about charging.
        if body.evse and body.status != "Occupied" and (evse := self._evse(member, body.evse)) is not None:
            evse.charging = body.status == "Charging"

    def _readings(self, member: _Member, body: Readings) -> None:
        evse = self._evse(member, body.evse)
        if evse is None:
            return
        found = totals(body)
        if (power := found.get(_POWER)) is not None:
            evse.power, evse.power_at = power, self._steady()
        if (register := found.get(_ENERGY)) is not None and member.counts(body.evse):
            evse.measured.take(register, self._time(body.samples[-1].time))

    def _started(self, member: _Member, body: TransactionStarted) -> None:
        if body.evse and (evse := self._evse(member, body.evse)) is not None:
            evse.charging = True
            if body.meter is not None:
                evse.bills.take(body.meter, self._time(body.time))

    def _updated(self, member: _Member, body: TransactionUpdated) -> None:
        if body.evse and body.state is not None and (evse := self._evse(member, body.evse)) is not None:
            evse.charging = body.state == "Charging"

    def _ended(self, member: _Member, body: TransactionEnded) -> None:
        if body.evse and (evse := self._evse(member, body.evse)) is not None:
            evse.charging = False
            if evse.power is not None:
                evse.power, evse.power_at = 0.0, self._steady()
            if body.meter is not None:
                evse.bills.take(body.meter, self._time(body.time))
