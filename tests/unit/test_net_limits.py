"""Rates, delays and the shaping of crowds, with a clock that the test turns."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evcore.net.limits import BootOptions, BootShaper, LimitOptions, Limits, Rate, jitter, station_address

FAR = "203.0.113.7"
OTHER = "198.51.100.9"


def limits(**options) -> Limits:
    return Limits(LimitOptions(**options), rng=random.Random(1))


@given(
    st.integers(1, 50),
    st.integers(1, 20),
    st.lists(st.floats(0, 1.0, allow_nan=False), max_size=200),
)
def test_a_rate_is_a_token_bucket(per_second, burst, pauses) -> None:
    """Against the textbook's bucket that counts tokens."""
    rate = Rate(float(per_second), burst)
    full, tokens, now = 0.0, float(burst), 1000.0
    for pause in pauses:
        now += pause
        tokens = min(float(burst), tokens + pause * per_second)
        taken = rate.take(full, now)
        if abs(tokens - 1.0) > 1e-6:
            assert (taken is not None) == (tokens >= 1.0)
        if taken is not None:
            full, tokens = taken, tokens - 1.0
        else:
            assert rate.take(full, now + rate.wait(full, now)) is not None


def test_an_address_may_ask_so_fast() -> None:
    subject = limits(address_rate=2, address_burst=3)
    assert [subject.arrive(FAR, 100.0) for _ in range(3)] == [0.0] * 3
    assert subject.arrive(FAR, 100.0) == pytest.approx(0.5)
    assert subject.arrive(OTHER, 100.0) == 0.0
    assert subject.arrive(FAR, 100.5) == 0.0
    assert subject.arrive(FAR, 100.5) > 0


def test_twice_as_many_connections_are_cut() -> None:
    subject = limits(address_rate=2, address_burst=3, address_unfinished=0)
    assert [subject.enter(FAR, 100.0) for _ in range(8)] == [True] * 6 + [False] * 2
    assert subject.enter(OTHER, 100.0)
    assert subject.enter(FAR, 100.25)


def test_unfinished_handshakes_are_counted_until_they_leave() -> None:
    subject = limits(address_unfinished=2, unfinished=3)
    assert [subject.enter(FAR, 1.0) for _ in range(3)] == [True, True, False]
    assert [subject.enter(OTHER, 1.0) for _ in range(2)] == [True, False]
    assert subject.unfinished == 3
    subject.leave(FAR)
    assert subject.enter(FAR, 1.0)
    for address in (FAR, FAR, OTHER):
        subject.leave(address)
    assert subject.unfinished == 0


def test_places_of_an_address_are_given_back_one_by_one() -> None:
    subject = limits(address_unfinished=3)
    for _ in range(3):
        assert subject.enter(FAR, 1.0)
    for free in (1, 2, 3):
        for _ in range(free):
            subject.leave(FAR)
        assert [subject.enter(FAR, 1.0) for _ in range(free + 1)] == [True] * free + [False]


def test_the_door_asks_at_the_time_of_its_clock() -> None:
    times = iter([1.0, 1.0, 2.0])
    door = limits(address_rate=0.5, address_burst=1, address_unfinished=0).door(lambda: next(times))
    assert [door.enter(FAR) for _ in range(3)] == [True, True, True]
    door.leave(FAR)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", ""])
def test_exempt_addresses_are_not_counted(address) -> None:
    subject = limits(address_rate=1, address_burst=1, address_unfinished=1)
    assert all(subject.enter(address, 1.0) and subject.arrive(address, 1.0) == 0.0 for _ in range(50))
    assert subject.unfinished == 50


def test_networks_can_be_exempt() -> None:
    subject = limits(address_rate=1, address_burst=1, exempt=("2001:db8:5::/48", "10.0.0.0/8"))
    assert all(subject.arrive(address, 1.0) == 0.0 for address in ["2001:db8:5:1::7", "10.1.2.3"] * 5)
    assert subject.arrive("127.0.0.1", 1.0) == 0.0
    assert subject.arrive("127.0.0.1", 1.0) > 0


def test_a_hundred_thousand_stations_come_from_one_address() -> None:
    """Limits that are off are off; loopback is exempt from those of addresses."""
    off = limits(address_rate=0, address_unfinished=0, unfinished=0, accept_rate=0)
    loopback = limits(accept_rate=0, unfinished=0)
    for subject, address in ((off, FAR), (loopback, "127.0.0.1")):
        for _ in range(100_000):
            assert subject.enter(address, 1.0)
            assert subject.arrive(address, 1.0) == subject.accept(1.0) == 0.0
        assert subject.unfinished == 100_000


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:0:ffff::9", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("not an address", "not an address"),
        (":::", ":::"),
    ],
)
def test_what_counts_as_one_address(text, counted) -> None:
    assert station_address(text) == counted


@given(st.text(max_size=60))
def test_no_address_raises(text) -> None:
    subject = limits()
    subject.enter(text, 1.0)
    subject.arrive(text, 1.0)
    subject.failed(text, text, 1.0)
    assert subject.blocked(text, text, 1.0) == 0.0
    subject.leave(text)


# Failed authentications


def fail_times(subject: Limits, times: int, address: str = FAR, identity: str = "CP1", now: float = 1.0) -> None:
    for _ in range(times):
        subject.failed(address, identity, now)


def test_delays_double_up_to_a_bound() -> None:
    subject = limits(failures=3, delay_first=1, delay_most=10)
    waits, now = [], 1.0
    for _ in range(9):
        subject.failed(FAR, "CP1", now)
        waits.append(subject.blocked(FAR, "CP1", now))
        now += waits[-1]
        assert subject.blocked(FAR, "CP1", now) == 0.0
    assert waits == [0, 0, 0, 1, 2, 4, 8, 10, 10]


def test_failures_are_forgotten() -> None:
    subject = limits(failures=3, forget_seconds=60)
    fail_times(subject, 3)
    fail_times(subject, 3, now=61.5)
    assert subject.blocked(FAR, "CP1", 61.5) == 0.0
    fail_times(subject, 1, now=61.5)
    assert subject.blocked(FAR, "CP1", 61.5) > 0


def test_a_delay_longer_than_the_memory_goes_on_growing() -> None:
    subject = limits(failures=0, delay_first=100, delay_most=1000, forget_seconds=60)
    subject.failed(FAR, "CP1", 0.0)
    subject.failed(FAR, "CP1", 100.0)
    assert subject.blocked(FAR, "CP1", 100.0) == 200.0


def test_success_begins_anew() -> None:
    subject = limits(failures=3)
    fail_times(subject, 3)
    subject.succeeded(FAR, "CP1", guessable=True)
    fail_times(subject, 3)
    assert subject.blocked(FAR, "CP1", 1.0) == 0.0


def test_case_buys_no_attempts() -> None:
    subject = limits(failures=1)
    for identity in ("CP1", "cp1", "Cp1"):
        subject.failed(FAR, identity, 1.0)
    assert subject.blocked(FAR, "cP1", 1.0) == 2.0


def test_neighbours_behind_one_address_do_not_answer_for_each_other() -> None:
    subject = limits(failures=3, address_failures=10)
    fail_times(subject, 9, identity="CP2")
    assert subject.blocked(FAR, "CP2", 1.0) > 0
    assert subject.blocked(FAR, "CP1", 1.0) == 0.0


def test_an_address_that_tries_many_identities_is_delayed_except_for_those_it_has_proved() -> None:
    subject = limits(address_failures=10)
    subject.succeeded(FAR, "CP1", guessable=True)
    for number in range(11):
        subject.failed(FAR, f"guess{number}", 1.0)
    assert subject.blocked(FAR, "guess99", 1.0) > 0
    assert subject.blocked(FAR, "CP1", 1.0) == 0.0
    assert subject.blocked(OTHER, "guess99", 1.0) == 0.0


def test_an_identity_attacked_from_everywhere_is_delayed_except_where_it_is_at_home() -> None:
    subject = limits(identity_failures=10)
    subject.succeeded(FAR, "CP1", guessable=True)
    for number in range(11):
        subject.failed(f"198.51.100.{number}", "CP1", 1.0)
    assert subject.blocked("198.51.100.200", "CP1", 1.0) > 0
    assert subject.blocked(FAR, "CP1", 1.0) == 0.0


def test_failures_behind_a_proxy_count_for_the_identity() -> None:
    subject = limits(failures=3, address_failures=3)
    fail_times(subject, 4, address="127.0.0.1")
    assert subject.blocked("127.0.0.1", "CP1", 1.0) > 0
    assert subject.blocked("127.0.0.1", "CP2", 1.0) == 0.0


def test_memory_is_bounded() -> None:
    subject = limits(remembered=100, unfinished=50, address_unfinished=0)
    for number in range(5000):
        address, identity = f"203.0.{number % 250}.{number // 250}", f"CP{number}"
        subject.enter(address, 1.0)
        subject.arrive(address, 1.0)
        subject.failed(address, identity, 1.0)
        subject.succeeded(address, identity, guessable=True)
        subject.failed(address, identity, 1.0)
    assert len(subject) <= 100 * 6 + 50


def test_nothing_is_remembered_of_those_at_rest() -> None:
    subject = limits(address_rate=10, address_burst=10)
    for number in range(200):
        address = f"203.0.113.{number}"
        subject.enter(address, number * 1.0)
        subject.arrive(address, number * 1.0)
        subject.leave(address)
    assert len(subject) <= 4


# The crowd


def test_a_crowd_is_let_in_at_the_rate_and_told_to_come_again() -> None:
    subject = limits(accept_rate=100, accept_burst=50, retry_most=300)
    waits = [subject.accept(1.0) for _ in range(1050)]
    assert waits[:50] == [0.0] * 50
    told = waits[50:]
    assert all(0 < wait <= 300 for wait in told)
    assert max(told) > 5, "a crowd of ten seconds is not spread over ten seconds"
    assert len({round(wait, 3) for wait in told}) > 500, "they were told the same"
    assert sum(subject.accept(11.0) == 0.0 for _ in range(1000)) == 50


def test_nobody_is_told_to_wait_longer_than_the_bound() -> None:
    subject = limits(accept_rate=0.1, accept_burst=1, retry_most=20)
    assert max(subject.accept(1.0) for _ in range(1000)) <= 20


@pytest.mark.parametrize(
    "options",
    [
        {"address_rate": -1},
        {"accept_rate": float("nan")},
        {"delay_most": float("inf")},
        {"accept_burst": 0},
        {"remembered": 0},
        {"exempt": ("loopback",)},
    ],
)
def test_options_out_of_range(options) -> None:
    with pytest.raises(ValueError):
        LimitOptions(**options)


# Boots


@given(st.integers(1, 86_400), st.floats(0, 0.99), st.integers())
def test_jitter_stays_within_its_spread(seconds, spread, seed) -> None:
    found = jitter(seconds, spread, random.Random(seed))
    assert found == jitter(seconds, spread, random.Random(seed))
    assert max(1, seconds * (1 - spread) - 1) <= found <= max(1, seconds * (1 + spread) + 1)


def test_intervals_are_spread() -> None:
    shaper = BootShaper(BootOptions(spread=0.1), rng=random.Random(1))
    found = {shaper.boot(f"CP{number}", 300, 1.0) for number in range(500)}
    assert all(boot.accepted and 270 <= boot.interval <= 330 for boot in found)
    assert len(found) > 40


def test_every_boot_of_a_crowd_waits_at_most_once() -> None:
    """1000 at once, ten a second: each comes back when it was told to and is accepted; the rate is never exceeded."""
    shaper = BootShaper(BootOptions(rate=10, burst=20, pending_most=600), rng=random.Random(1))
    accepted: list[float] = []
    returns: list[tuple[float, str]] = []
    for number in range(1000):
        boot = shaper.boot(f"CP{number}", 300, 5.0)
        if boot.accepted:
            accepted.append(5.0)
        else:
            returns.append((5.0 + boot.interval, f"CP{number}"))
    assert len(accepted) == 20
    assert shaper.waiting == 980
    for now, identity in sorted(returns):
        assert shaper.boot(identity, 300, now).accepted
        accepted.append(now)
    assert shaper.waiting == 0
    assert max(accepted) <= 5.0 + 980 / 10 + 1
    assert all(sum(start <= at < start + 1 for at in accepted) <= 20 for start in range(5, 110))


def test_who_comes_too_early_keeps_its_turn() -> None:
    shaper = BootShaper(BootOptions(rate=1, burst=1))
    assert shaper.boot("CP1", 300, 0.0).accepted
    assert shaper.boot("CP2", 300, 0.0) == (False, 1)
    assert shaper.boot("CP3", 300, 0.0) == (False, 2)
    assert shaper.boot("CP3", 300, 1.5) == (False, 1)
    assert shaper.boot("CP3", 300, 2.0).accepted
    assert shaper.boot("CP2", 300, 50.0).accepted


def test_a_turn_nobody_takes_is_forgotten() -> None:
    shaper = BootShaper(BootOptions(rate=1, burst=1, pending_most=10))
    assert shaper.boot("CP1", 300, 0.0).accepted
    assert shaper.boot("CP2", 300, 0.0) == (False, 1)
    assert shaper.boot("CP1", 300, 100.0).accepted
    assert shaper.boot("CP2", 300, 100.0) == (False, 1)


def test_the_queue_is_bounded() -> None:
    shaper = BootShaper(BootOptions(rate=1, burst=1, pending_most=60, remembered=10), rng=random.Random(1))
    boots = [shaper.boot(f"CP{number}", 300, 0.0) for number in range(1000)]
    assert shaper.waiting <= 10
    assert all(1 <= boot.interval <= 60 for boot in boots[1:])


def test_boots_are_not_held_up_by_default() -> None:
    shaper = BootShaper()
    assert all(shaper.boot(f"CP{number}", 300, 0.0).accepted for number in range(10_000))


@pytest.mark.parametrize("options", [{"rate": -1}, {"spread": 1.0}, {"burst": 0}, {"pending_most": 0}])
def test_boot_options_out_of_range(options) -> None:
    with pytest.raises(ValueError):
        BootOptions(**options)
