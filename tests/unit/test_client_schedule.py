"""When a client connects again, boots and sends Heartbeats: the rules alone, with time passed in."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evcore.endpoint import Boot
from evcore.net.backoff import BackOff, Retry
from evcore.net.client import Profile, authorization_key
from evcore.net.client_options import ClientOptions
from evcore.net.registration import Registration

# RetryBackOff


def test_the_wait_doubles_up_to_the_cap_and_stays_there() -> None:
    retry = Retry(BackOff(wait_minimum=10, repeat_times=3, random_range=0))
    assert [retry.wait() for _ in range(6)] == [10, 20, 40, 80, 80, 80]


def test_the_wait_is_the_shortest_again_after_a_success() -> None:
    retry = Retry(BackOff(wait_minimum=10, repeat_times=3, random_range=0))
    retry.wait()
    retry.wait()
    retry.reset()
    assert retry.wait() == 10


@given(
    minimum=st.floats(0, 1e6),
    times=st.integers(0, 64),
    spread=st.floats(0, 1e6),
    attempt=st.integers(0, 10**6),
    seed=st.integers(),
)
def test_the_random_part_is_added_once(minimum: float, times: int, spread: float, attempt: int, seed: int) -> None:
    retry = Retry(BackOff(minimum, times, spread), random.Random(seed))
    retry.attempt = attempt
    base = minimum * 2.0 ** min(attempt, times)
    assert base <= retry.wait() <= base + spread


def test_the_random_part_is_drawn_anew_each_time() -> None:
    retry = Retry(BackOff(wait_minimum=0, repeat_times=0, random_range=1), random.Random(1))
    assert len({retry.wait() for _ in range(20)}) == 20


@pytest.mark.parametrize("wrong", [{"wait_minimum": -1}, {"repeat_times": 65}, {"random_range": math.inf}])
def test_a_back_off_that_is_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least 0"):
        BackOff(**wrong)


# BootNotification


def registered(**options: Any) -> Registration:
    boot = Boot()
    registration = Registration(boot, **options)
    registration.connected("ocpp1.6", 0.0)
    assert registration.due(0.0, 0) == "BootNotification"
    registration.ordered("BootNotification", "b", 0.0)
    assert registration.due(0.0, 1) is None
    return registration


def answer(registration: Registration, now: float, **payload: Any) -> None:
    """What the endpoint does with an answer, and then the client."""
    assert registration.boot is not None
    registration.boot.answered(payload.get("status"))
    registration.answered("b", "BootNotification", payload, now)


def next_boot(registration: Registration, since: float, until: float = 1000.0) -> float | None:
    """The first whole second at which it boots again."""
    times = (float(second) for second in range(math.ceil(since), int(until)))
    return next((now for now in times if registration.due(now, 1) == "BootNotification"), None)


@pytest.mark.parametrize("status", ["Pending", "Rejected"])
@pytest.mark.parametrize(("interval", "wait"), [(25, 25), (0, 60), (-5, 60), (None, 60), ("7", 60), (True, 60)])
def test_not_accepted_waits_for_the_interval(status: str, interval: object, wait: float) -> None:
    registration = registered(boot_interval=60.0)
    answer(registration, 5.0, status=status, interval=interval)
    assert next_boot(registration, 5.0) == 5.0 + wait


def test_an_error_or_nonsense_waits_for_our_own_interval() -> None:
    registration = registered(boot_interval=60.0)
    registration.answered("b", "BootNotification", None, 1.0)
    assert next_boot(registration, 1.0) == 61.0
    registration.ordered("BootNotification", "b", 61.0)
    answer(registration, 62.0, status="Perhaps", interval=3)
    assert next_boot(registration, 62.0) == 122.0


def test_a_trigger_pulls_forward() -> None:
    registration = registered()
    answer(registration, 5.0, status="Pending", interval=500)
    registration.triggered(7.0)
    assert registration.due(7.0, 1) == "BootNotification"


def test_the_wait_goes_on_over_a_reconnect() -> None:
    registration = registered()
    answer(registration, 5.0, status="Rejected", interval=100)
    registration.connected("ocpp1.6", 50.0)
    assert next_boot(registration, 50.0) == 105.0


def test_a_lost_boot_is_due_on_the_next_connection() -> None:
    registration = registered()
    registration.lost("b")
    registration.connected("ocpp1.6", 1.0)
    assert registration.due(1.0, 0) == "BootNotification"


def test_an_accepted_station_boots_once_for_a_version() -> None:
    registration = registered(heartbeat_interval=0.0)
    answer(registration, 1.0, status="Accepted", interval=0)
    registration.connected("ocpp1.6", 100.0)
    assert next_boot(registration, 100.0) is None
    registration.connected("ocpp2.0.1", 200.0)
    assert next_boot(registration, 200.0) == 200.0


def test_again_keeps_its_distance() -> None:
    registration = registered(boot_interval=60.0)
    answer(registration, 1.0, status="Accepted", interval=300)
    registration.again(10.0)
    assert not registration.is_accepted
    assert next_boot(registration, 10.0) == 60.0


# Heartbeat


def beats(registration: Registration, until: int, sends: dict[int, int]) -> list[int]:
    """Seconds at which Heartbeats go, each answered at once; `sends`: other messages sent, by second."""
    found, sent = [], 1
    for second in range(until):
        sent += sends.get(second, 0)
        if registration.due(float(second), sent) == "Heartbeat":
            found.append(second)
            registration.ordered("Heartbeat", "h", float(second))
            registration.answered("h", "Heartbeat", {}, float(second))
            sent += 1
    return found


def test_heartbeats_come_at_the_interval_given() -> None:
    registration = registered()
    answer(registration, 0.0, status="Accepted", interval=10)
    assert beats(registration, 35, {}) == [10, 20, 30]


def test_other_messages_stand_in_for_a_heartbeat() -> None:
    registration = registered()
    answer(registration, 0.0, status="Accepted", interval=10)
    assert beats(registration, 35, {5: 1, 9: 3}) == [19, 29]


def test_other_messages_need_not_stand_in() -> None:
    registration = registered(skip=False)
    answer(registration, 0.0, status="Accepted", interval=10)
    assert beats(registration, 35, dict.fromkeys(range(35), 1)) == [10, 20, 30]


def test_the_clock_needs_a_heartbeat_now_and_then() -> None:
    registration = registered(clock=15.0)
    answer(registration, 0.0, status="Accepted", interval=10)
    assert beats(registration, 35, dict.fromkeys(range(35), 1)) == [15, 30]


@pytest.mark.parametrize("interval", [0, -1, None, False, "10", 1.5])
def test_an_interval_that_is_none_changes_nothing(interval: object) -> None:
    registration = registered(heartbeat_interval=20.0)
    answer(registration, 0.0, status="Accepted", interval=interval)
    assert beats(registration, 45, {}) == [20, 40]


def test_no_interval_no_heartbeat() -> None:
    registration = registered(heartbeat_interval=0.0)
    answer(registration, 0.0, status="Accepted", interval=0)
    assert beats(registration, 1000, {}) == []


def test_an_interval_beyond_all_numbers() -> None:
    registration = registered()
    answer(registration, 0.0, status="Accepted", interval=10**400)
    assert math.isfinite(registration.heartbeat_interval)


def test_no_heartbeat_before_the_station_is_accepted_and_none_upon_another() -> None:
    registration = registered(heartbeat_interval=1.0)
    answer(registration, 0.0, status="Pending", interval=500)
    assert beats(registration, 100, {}) == []
    answer(registration, 100.0, status="Accepted", interval=1)
    assert registration.due(101.0, 1) == "Heartbeat"
    registration.ordered("Heartbeat", "h", 101.0)
    assert registration.due(200.0, 2) is None


def test_without_boot_there_are_heartbeats_alone() -> None:
    registration = Registration(None, heartbeat_interval=10.0)
    registration.connected("ocpp1.6", 0.0)
    assert beats(registration, 15, {}) == [10]


# Credentials and options


def test_authorization_key_is_the_bytes_of_the_golden_vector() -> None:
    key = authorization_key("0001020304050607FFFFFFFFFFFFFFFFFFFFFFFF")
    assert key == bytes(range(8)) + b"\xff" * 12
    assert len(authorization_key("0f" * 16)) == 16


@pytest.mark.parametrize("text", ["", "00" * 15, "00" * 21, "0" * 33, "zz" * 16, "٣" * 32, "0x" + "00" * 16])
def test_a_key_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="hexadecimal digits") as caught:
        authorization_key(text)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *("", "http://a", "ws://", "ws:///x", "ws://a?b=c", "wss://a#b", "ws://user:secretsecretsecret@host"),
        *("ws://a:99999", "ws://a:b", "ws://a:0", f"ws://{'a' * 64}.example", "ws://a..b"),
    ],
)
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="endpoint URL") as caught:
        Profile(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["ws://a", "wss://[::1]:9000/x/", "ws://bücher.example", "ws://127.0.0.1:1"])
def test_a_url_that_is_one(url: str) -> None:
    assert Profile(url).url == url


@pytest.mark.parametrize("length", [15, 41])
def test_a_password_that_is_too_short_or_too_long(length: int) -> None:
    with pytest.raises(ValueError, match="16 to 40 bytes"):
        Profile("ws://a", b"x" * length)


def test_a_password_is_never_shown() -> None:
    assert "secret" not in repr(Profile("ws://a", b"secretsecretsecret"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"versions": ()},
        {"versions": ("ocpp1.6", "ocpp1.6")},
        {"attempts_per_profile": 0},
        {"sweep_interval": 0},
        {"idle_timeout": -1},
        {"ping_interval": 60, "idle_timeout": 60},
    ],
)
def test_options_that_contradict(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        ClientOptions(**wrong)
