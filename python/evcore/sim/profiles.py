"""Charging profiles: what a station may draw, when (OCPP 1.6 section 3.13, 2.x use cases K01 to K10).

In: profiles as the CSMS sent them, Unix times. Out: the limit of a connector at a time, when it may change next, and
the composite schedule, all from one function. Refused, with a reason: a transaction profile without its transaction,
stack levels beyond the largest, a station-wide profile for one connector.

Limits in amperes are per phase: watts = amperes × volts × phases.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from evcore.sim.clock import parse

__all__ = ["MAX_STACK_LEVEL", "Charging", "Period", "Profile", "Profiles", "Supply"]

#: `ChargeProfileMaxStackLevel`, `SmartChargingCtrlr.ProfileStackLevel`.
MAX_STACK_LEVEL: Final = 99
#: `MaxChargingProfilesInstalled`.
MAX_PROFILES: Final = 32
#: `ChargingScheduleMaxPeriods`.
MAX_PERIODS: Final = 64

_INTERVALS: Final = {"Daily": 86_400.0, "Weekly": 604_800.0}
#: Purposes in the words of 2.x.
_STATION_MAX: Final = "ChargingStationMaxProfile"
_EXTERNAL: Final = "ChargingStationExternalConstraints"
_TX_DEFAULT: Final = "TxDefaultProfile"
_TX: Final = "TxProfile"
_PURPOSES: Final = {"ChargePointMaxProfile": _STATION_MAX}


class Supply(NamedTuple):
    """What a connector can give by itself: W, phases (0: direct current), V."""

    power: float
    phases: int
    voltage: float

    def watts(self, amperes: float, phases: int | None = None) -> float:
        """W for amperes per phase; a schedule without `numberPhases` means three (both versions), as far as there."""
        return amperes * self.voltage * (min(phases or 3, self.phases) or 1)

    def amperes(self, watts: float) -> float:
        return watts / self.voltage / (self.phases or 1)


class Charging(NamedTuple):
    """A transaction, as far as profiles matter: id, Unix time of its beginning."""

    id: str
    since: float


class Period(NamedTuple):
    """A stretch of a composite schedule: seconds from its beginning, W."""

    start: int
    limit: float


class Profile:
    """A charging profile with its first schedule. `since`: when it came, which is when an absolute schedule without a
    start begins (both versions). Raises ValueError for one that makes no sense.
    """

    __slots__ = (
        "_ends", "_every", "_limits", "_phases", "_start", "_starts", "_unit", "_valid", "connector", "id", "purpose",
        "raw", "stack", "transaction",
    )  # fmt: skip

    def __init__(self, raw: Mapping[str, Any], connector: int, since: float) -> None:
        schedule = raw["chargingSchedule"]
        if isinstance(schedule, list):
            schedule = schedule[0]
        periods = schedule["chargingSchedulePeriod"]
        starts = [float(period["startPeriod"]) for period in periods]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)) or len(starts) > MAX_PERIODS:
            raise ValueError("periods must begin at 0 and follow one another")
        self.raw = raw
        self.connector = connector
        self.id: int = raw["chargingProfileId"] if "chargingProfileId" in raw else raw["id"]
        self.purpose = _PURPOSES.get(raw["chargingProfilePurpose"], raw["chargingProfilePurpose"])
        self.stack: int = raw["stackLevel"]
        transaction = raw.get("transactionId")
        self.transaction = None if transaction is None else str(transaction)
        kind = raw["chargingProfileKind"]
        self._every = _INTERVALS[raw.get("recurrencyKind", "Daily")] if kind == "Recurring" else None
        begins = schedule.get("startSchedule")
        # Relative ones begin with the transaction.
        self._start = None if kind == "Relative" else since if begins is None else parse(begins)
        self._ends = float(schedule.get("duration", "inf"))
        self._valid = (
            parse(raw["validFrom"]) if "validFrom" in raw else float("-inf"),
            parse(raw["validTo"]) if "validTo" in raw else float("inf"),
        )
        self._unit = schedule["chargingRateUnit"]
        self._starts = starts
        # 2.1 lets a period do without a limit: none.
        self._limits = [float(period.get("limit", "inf")) for period in periods]
        self._phases = [period.get("numberPhases") for period in periods]

    def _begin(self, time: float, charging: Charging | None) -> float | None:
        """When the run of the schedule that covers or precedes `time` began."""
        start = self._start
        if start is None:
            return None if charging is None else charging.since
        if self._every is not None and time >= start:
            return time - (time - start) % self._every
        return start

    def limit(self, time: float, charging: Charging | None, supply: Supply) -> float | None:
        """W at `time`, or None where the profile says nothing."""
        if not self._valid[0] <= time < self._valid[1]:
            return None
        if self.transaction is not None and (charging is None or charging.id != self.transaction):
            return None
        begin = self._begin(time, charging)
        if begin is None or not 0 <= time - begin < self._ends:
            return None
        index = bisect_right(self._starts, time - begin) - 1
        limit = self._limits[index]
        return supply.watts(limit, self._phases[index]) if self._unit == "A" else limit

    def changes(self, time: float, charging: Charging | None) -> Iterator[float]:
        """Times after `time` at which the limit may change; the next of each kind is among them."""
        yield from (edge for edge in self._valid if time < edge < float("inf"))
        begin = self._begin(time, charging)
        if begin is None:
            return
        edges = [*self._starts, self._ends]
        for run in (begin,) if self._every is None else (begin, begin + self._every):
            yield from (run + edge for edge in edges if time < run + edge < float("inf"))


class Profiles:
    """The profiles of one station with `connectors` connectors (in 2.x: EVSEs)."""

    __slots__ = ("_installed",)

    def __init__(self) -> None:
        self._installed: list[Profile] = []

    def __iter__(self) -> Iterator[Profile]:
        return iter(self._installed)

    def __len__(self) -> int:
        return len(self._installed)

    def install(self, profile: Profile, charging: Charging | None) -> str | None:
        """Takes a profile, which replaces one with its id, or its purpose, stack level and connector. Returns why it
        was not taken, or None. `charging`: the transaction on the profile's connector.
        """
        if not 0 <= profile.stack <= MAX_STACK_LEVEL:
            return "stack level"
        if profile.purpose in (_STATION_MAX, _EXTERNAL) and profile.connector != 0:
            return "purpose"
        if profile.purpose == _TX:
            if charging is None or profile.connector == 0:
                return "no transaction"
            if profile.transaction is not None and profile.transaction != charging.id:
                return "another transaction"
        elif profile.transaction is not None:
            return "transaction id"
        place = (profile.purpose, profile.stack, profile.connector)
        kept = [
            each
            for each in self._installed
            if each.id != profile.id and (each.purpose, each.stack, each.connector) != place
        ]
        if len(kept) >= MAX_PROFILES:
            return "too many"
        self._installed = [*kept, profile]
        return None

    def clear(
        self,
        number: int | None = None,
        connector: int | None = None,
        purpose: str | None = None,
        stack: int | None = None,
    ) -> int:
        """Removes the profile with this id, or all that fit all the criteria given; returns how many."""
        gone = [
            each
            for each in self._installed
            if (
                each.id == number
                if number is not None
                else connector in (None, each.connector)
                and (purpose is None or _PURPOSES.get(purpose, purpose) == each.purpose)
                and stack in (None, each.stack)
            )
        ]
        self._installed = [each for each in self._installed if each not in gone]
        return len(gone)

    def ended(self, connector: int) -> None:
        """A transaction is over: profiles made for it go (1.6 section 3.13.1, 2.x K01.FR.36)."""
        self._installed = [each for each in self._installed if each.purpose != _TX or each.connector != connector]

    def limit(
        self, connector: int, time: float, charging: Charging | None, supply: Supply, sharing: int = 1
    ) -> float | None:
        """W a connector may draw at `time`, None where no profile says so. The station's own limit is divided between
        the `sharing` connectors that charge. Connector 0 is the station as a whole: only station-wide profiles count.
        """
        station = _least(self._leading(_STATION_MAX, (0,), time, charging, supply), None)
        station = _least(station, self._leading(_EXTERNAL, (0,), time, charging, supply))
        if connector == 0:
            return station
        if station is not None:
            station /= max(1, sharing)
        own = self._leading(_TX, (connector,), time, charging, supply)
        if own is None:
            # A default for the connector counts before one for all of them.
            own = self._leading(_TX_DEFAULT, (connector, 0), time, charging, supply)
        return _least(station, own)

    def _leading(
        self, purpose: str, connectors: tuple[int, ...], time: float, charging: Charging | None, supply: Supply
    ) -> float | None:
        """The limit of the highest stack level that has one at `time`."""
        for connector in connectors:
            best: tuple[int, float] | None = None
            for each in self._installed:
                if each.purpose == purpose and each.connector == connector and (best is None or each.stack > best[0]):
                    limit = each.limit(time, charging, supply)
                    if limit is not None:
                        best = each.stack, limit
            if best is not None:
                return best[1]
        return None

    def next_change(self, time: float, charging: Charging | None) -> float:
        """The next time at which a limit may change; infinity when never."""
        edges: Iterable[float] = (edge for each in self._installed for edge in each.changes(time, charging))
        return min(edges, default=float("inf"))

    def composite(
        self, connector: int, time: float, seconds: int, charging: Charging | None, supply: Supply, sharing: int = 1
    ) -> list[Period]:
        """The limits over the next `seconds`; where no profile speaks, what the supply gives. Equal neighbours are
        one.
        """
        periods: list[Period] = []
        at = time
        while at < time + seconds:
            limit = self.limit(connector, at, charging, supply, sharing)
            limit = supply.power if limit is None else min(limit, supply.power)
            if not periods or periods[-1].limit != limit:
                periods.append(Period(round(at - time), limit))
            at = self.next_change(at, charging)
        return periods


def _least(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
