"""Charging profiles against a second reading of the rules that knows nothing but "which period is it now"."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evcore.sim.profiles import MAX_STACK_LEVEL, Charging, Profile, Profiles, Supply

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC).timestamp()
CHARGING = Charging("17", START)
SUPPLY = Supply(22_000.0, 3, 230.0)
HOURS = 30
SPAN = HOURS * 3600


def text(offset: float) -> str:
    return datetime.fromtimestamp(START + offset, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@st.composite
def raw_profiles(draw: st.DrawFn) -> list[tuple[dict[str, Any], int]]:
    made = []
    for number in range(draw(st.integers(0, 6))):
        purpose = draw(st.sampled_from(["ChargePointMaxProfile", "TxDefaultProfile", "TxProfile"]))
        kind = draw(st.sampled_from(["Absolute", "Recurring", "Relative"]))
        minutes = draw(st.lists(st.integers(1, 600), max_size=4, unique=True))
        schedule: dict[str, Any] = {
            "chargingRateUnit": draw(st.sampled_from("AW")),
            "chargingSchedulePeriod": [
                {"startPeriod": 60 * minute, "limit": draw(st.sampled_from([0.0, 6.0, 16.0, 32.0, 4000.0, 9000.0]))}
                | ({"numberPhases": draw(st.integers(1, 3))} if draw(st.booleans()) else {})
                for minute in [0, *sorted(minutes)]
            ],
        }
        if draw(st.booleans()):
            schedule["duration"] = 60 * draw(st.integers(1, 900))
        if kind != "Relative" and draw(st.booleans()):
            schedule["startSchedule"] = text(60 * draw(st.integers(-2000, 1000)))
        raw: dict[str, Any] = {
            "chargingProfileId": number,
            "stackLevel": draw(st.integers(0, 3)),
            "chargingProfilePurpose": purpose,
            "chargingProfileKind": kind,
            "chargingSchedule": schedule,
        }
        if kind == "Recurring":
            raw["recurrencyKind"] = draw(st.sampled_from(["Daily", "Weekly"]))
        if draw(st.booleans()):
            raw["validFrom"] = text(60 * draw(st.integers(-100, 900)))
        if draw(st.booleans()):
            raw["validTo"] = text(60 * draw(st.integers(100, 1800)))
        made.append((raw, 0 if "Max" in purpose else 1 if purpose == "TxProfile" else draw(st.integers(0, 1))))
    return made


def seconds(value: str) -> float:
    return datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()


def naive(known: list[tuple[dict[str, Any], int]], at: float) -> float | None:
    """The limit of connector 1 in W, from the texts of the profiles alone."""

    def one(raw: dict[str, Any]) -> float | None:
        if "validFrom" in raw and at < seconds(raw["validFrom"]):
            return None
        if "validTo" in raw and at >= seconds(raw["validTo"]):
            return None
        schedule = raw["chargingSchedule"]
        begin = seconds(schedule["startSchedule"]) if "startSchedule" in schedule else START
        since = at - begin
        if since < 0:
            return None
        if raw["chargingProfileKind"] == "Recurring":
            every = 86_400 if raw["recurrencyKind"] == "Daily" else 7 * 86_400
            while since >= every:
                since -= every
        if since >= schedule.get("duration", 10**9):
            return None
        for period in reversed(schedule["chargingSchedulePeriod"]):
            if since >= period["startPeriod"]:
                if schedule["chargingRateUnit"] == "W":
                    return float(period["limit"])
                return float(period["limit"]) * 230 * period.get("numberPhases", 3)
        return None

    def leading(purpose: str, place: int) -> float | None:
        found = None
        for raw, connector in sorted(known, key=lambda entry: entry[0]["stackLevel"]):
            if raw["chargingProfilePurpose"] == purpose and connector == place and one(raw) is not None:
                found = one(raw)
        return found

    own = next(
        (limit for purpose, place in (("TxProfile", 1), ("TxDefaultProfile", 1), ("TxDefaultProfile", 0))
         if (limit := leading(purpose, place)) is not None),
        None,
    )  # fmt: skip
    limits = [limit for limit in (own, leading("ChargePointMaxProfile", 0)) if limit is not None]
    return min(limits) if limits else None


def installed(made: list[tuple[dict[str, Any], int]]) -> tuple[Profiles, list[tuple[dict[str, Any], int]]]:
    """The profiles, and those that were not replaced by a later one of the same purpose, level and connector."""
    profiles, known = Profiles(), list[tuple[dict[str, Any], int]]()
    for raw, connector in made:
        assert profiles.install(Profile(raw, connector, START), CHARGING) is None
        place = raw["chargingProfilePurpose"], raw["stackLevel"], connector
        known = [old for old in known if (old[0]["chargingProfilePurpose"], old[0]["stackLevel"], old[1]) != place]
        known.append((raw, connector))
    return profiles, known


@settings(deadline=None, max_examples=60)
@given(raw_profiles())
def test_limits_are_those_of_a_naive_reading_minute_by_minute(made) -> None:
    profiles, known = installed(made)
    schedule = profiles.composite(1, START, SPAN, CHARGING, SUPPLY)
    assert schedule[0].start == 0
    assert [period.start for period in schedule] == sorted({period.start for period in schedule})
    current = 0
    for minute in range(HOURS * 60):
        at = START + 60 * minute
        expected = naive(known, at)
        assert profiles.limit(1, at, CHARGING, SUPPLY) == expected
        while current + 1 < len(schedule) and schedule[current + 1].start <= 60 * minute:
            current += 1
        assert schedule[current].limit == min(SUPPLY.power, SUPPLY.power if expected is None else expected)


@settings(deadline=None)
@given(raw_profiles(), st.integers(0, HOURS * 60))
def test_nothing_changes_before_the_next_change(made, minute) -> None:
    profiles, _ = installed(made)
    at = START + 60 * minute
    change = profiles.next_change(at, CHARGING)
    assert change > at
    limit = profiles.limit(1, at, CHARGING, SUPPLY)
    for step in range(1, 600):
        if at + 60 * step >= change:
            break
        assert profiles.limit(1, at + 60 * step, CHARGING, SUPPLY) == limit


def profile(purpose: str = "TxProfile", connector: int = 1, stack: int = 1, **more: Any) -> Profile:
    schedule = {"chargingRateUnit": "W", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 5000.0}]}
    raw = {"chargingProfileId": more.pop("number", 1), "stackLevel": stack, "chargingProfilePurpose": purpose,
           "chargingProfileKind": "Absolute", "chargingSchedule": schedule}  # fmt: skip
    return Profile(raw | more, connector, START)


def test_what_is_not_taken() -> None:
    profiles = Profiles()
    assert profiles.install(profile(stack=MAX_STACK_LEVEL + 1), CHARGING) == "stack level"
    assert profiles.install(profile("ChargePointMaxProfile", 1), CHARGING) == "purpose"
    assert profiles.install(profile(), None) == "no transaction"
    assert profiles.install(profile(connector=0), CHARGING) == "no transaction"
    assert profiles.install(profile(transactionId=18), CHARGING) == "another transaction"
    assert profiles.install(profile("TxDefaultProfile", transactionId=17), CHARGING) == "transaction id"
    assert profiles.install(profile(transactionId=17), CHARGING) is None
    for number in range(100):
        another = profile("TxDefaultProfile", stack=number % 50, connector=number % 2, number=number + 9)
        refused = profiles.install(another, None)
    assert refused == "too many"


@pytest.mark.parametrize("starts", [[1], [0, 0], [0, 60, 30], []])
def test_periods_in_no_order_are_refused(starts) -> None:
    periods = [{"startPeriod": start, "limit": 1.0} for start in starts]
    with pytest.raises(ValueError, match="periods"):
        profile(chargingSchedule={"chargingRateUnit": "W", "chargingSchedulePeriod": periods})


def test_the_station_s_limit_is_divided_between_those_who_charge() -> None:
    profiles = Profiles()
    assert profiles.install(profile("ChargingStationMaxProfile", 0), None) is None
    assert profiles.limit(1, START, CHARGING, SUPPLY, 2) == 2500.0
    assert profiles.limit(0, START, None, SUPPLY, 2) == 5000.0


def test_a_transaction_s_profiles_go_with_it() -> None:
    profiles = Profiles()
    assert profiles.install(profile(number=1), CHARGING) is None
    assert profiles.install(profile("TxDefaultProfile", number=2), None) is None
    profiles.ended(1)
    assert [each.id for each in profiles] == [2]
    assert profiles.clear(purpose="TxProfile") == 0
    assert profiles.clear(connector=1, stack=1) == 1
    assert len(profiles) == 0


def test_2x_profiles_are_read_as_well() -> None:
    periods = [{"startPeriod": 0, "limit": 10.0, "numberPhases": 1}]
    schedule = {"id": 1, "chargingRateUnit": "A", "chargingSchedulePeriod": periods}
    raw = {"id": 4, "stackLevel": 0, "chargingProfilePurpose": "ChargingStationMaxProfile",
           "chargingProfileKind": "Absolute",
           "chargingSchedule": [schedule]}  # fmt: skip
    profiles = Profiles()
    assert profiles.install(Profile(raw, 0, START), None) is None
    assert profiles.limit(1, START + 1, None, SUPPLY) == 2300.0
    assert profiles.limit(1, START + 1, None, Supply(150_000.0, 0, 400.0)) == 4000.0
