"""Parts of a simulated station by themselves: its numbers, its car, its settings, its timers, what it writes."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
from typing import Any

import pytest

from evcore import Codec
from evcore.message import Call
from evcore.sim import v2, v16
from evcore.sim.car import Car
from evcore.sim.clock import Clock, parse
from evcore.sim.codec import StationCodec, Written
from evcore.sim.meter import Reading, sampler
from evcore.sim.quirks import QUIRKS, misbehaving
from evcore.sim.rng import Rng
from evcore.sim.settings import MEASURANDS, Settings
from evcore.sim.timers import Timers


def test_numbers_depend_on_seed_and_name_alone() -> None:
    assert [Rng(1, "A").bits() for _ in range(2)] == [Rng(1, "A").bits()] * 2
    assert len({Rng(seed, name).bits() for seed in range(50) for name in "ABCD"}) == 200
    # Written down, so that a seed goes on meaning the same.
    assert Rng(7, "SIM-000001/life").bits() == 10_770_020_227_990_945_708


def test_numbers_are_evenly_distributed() -> None:
    rng = Rng(3, "x")
    drawn = [rng.random() for _ in range(4000)]
    assert all(0 <= number < 1 for number in drawn)
    assert 0.48 < sum(drawn) / len(drawn) < 0.52
    picks = [rng.weighted("ab", (3.0, 1.0)) for _ in range(4000)]
    assert 0.7 < picks.count("a") / len(picks) < 0.8
    assert {rng.below(3) for _ in range(100)} == {0, 1, 2}
    assert 90 < sum(rng.exponential(100) for _ in range(4000)) / 4000 < 110


@pytest.mark.parametrize("current", [(11_000.0, 3, 230.0), (150_000.0, 0, 400.0)])
def test_a_car_tapers_and_keeps_the_limit(current) -> None:
    power, phases, voltage = current
    car = Car(60_000, 20, 95, power, phases, voltage)
    last = power + 1
    car.charge(60, power)
    while not car.full:
        before = car.drawn
        car.charge(60, power)
        if car.soc > 50:
            assert car.watts <= last
        last = car.watts
        assert car.drawn - before <= power / 60 + 1e-6
    assert car.watts < power * 0.7
    assert 45_000 * 0.99 < car.drawn * 0.9 < 45_000 * 1.02
    limited = Car(60_000, 20, 95, power, phases, voltage)
    limited.charge(3600, 2000.0)
    assert limited.watts == 2000.0
    assert 1960 < limited.drawn <= 2000
    limited.charge(600, 0.0)
    assert limited.watts == 0.0


def test_a_clock_shows_simulated_time() -> None:
    clock = Clock(60, now=100.0, start=parse("2026-02-28T23:59:00Z"))
    assert clock.at(101.0) == 60
    assert clock.text(0) == "2026-02-28T23:59:00Z"
    assert clock.text(59.9) == "2026-02-28T23:59:59Z"
    assert clock.text(60) == "2026-03-01T00:00:00Z"
    assert parse("2026-03-01T02:00:00+02:00") == clock.unix(60)


def test_settings_hold_what_was_changed_only() -> None:
    settings, other = Settings(), Settings()
    interval = settings.key("metervaluesampleinterval")
    assert interval is not None
    assert interval is settings.variable("sampleddatactrlr", "TXUPDATEDINTERVAL")
    assert not any(interval.fits(bad) for bad in ("-1", "", "1.5", "٣", "9" * 20))
    settings.put(interval.key, "10")
    assert (settings.whole("MeterValueSampleInterval"), other.whole("MeterValueSampleInterval")) == (10, 60)
    measurands = settings.key("MeterValuesSampledData")
    assert measurands is not None
    assert measurands.fits("SoC,Voltage")
    assert not measurands.fits("SoC,Nonsense")


async def test_timers_ring_in_order_and_take_back_what_came_too_early() -> None:
    loop = asyncio.get_running_loop()
    rung: list[Any] = []
    done = asyncio.Event()

    class Bell:
        def ring(self, entry: Any) -> None:
            if entry[3] == "late" and not rung:
                timers.restore([entry])
                return
            rung.append(entry[3])
            if entry[3] == "last":
                done.set()

    timers = Timers(Clock(1000, loop.time(), 0.0), loop, loop.time)
    bell = Bell()
    for at, what in ((30.0, "last"), (10.0, "a"), (10.0, "b"), (5.0, "first")):
        timers.push(at, bell, what, 0)
    assert rung == []
    timers.start()
    async with asyncio.timeout(10):
        await done.wait()
    timers.stop()
    assert rung == ["first", "a", "b", "last"]


@pytest.mark.parametrize("speed", [0.5, 60, 1000])
async def test_timers_ring_as_from_one_heap(speed, monkeypatch) -> None:
    """Whatever is pushed while others ring."""
    drawn = Rng(5, "timers")
    now = [0.0]
    monkeypatch.setattr(Timers, "_schedule", lambda timers, at: None)
    timers = Timers(Clock(speed, 0.0, 0.0), asyncio.get_running_loop(), lambda: now[0])
    oracle: list[tuple[float, int]] = []
    numbers = itertools.count()
    rung = 0

    def push(at: float) -> None:
        number = next(numbers)
        heapq.heappush(oracle, (at, number))
        timers.push(at, bell, number, 0)

    class Bell:
        def ring(self, entry: Any) -> None:
            nonlocal rung
            rung += 1
            assert (entry[0], entry[3]) == heapq.heappop(oracle)
            for _ in range(drawn.below(3) if rung < 3000 else 0):
                push(entry[0] + drawn.choice((0.0, 0.02, 5.0)) * speed * drawn.random())

    bell = Bell()
    for _ in range(300):
        push(speed * drawn.random())
    timers.start()
    while not timers.is_done:
        now[0] += 0.05 * drawn.random()
        timers._look()
    assert (oracle, rung >= 300) == ([], True)


# -- what is written by hand ------------------------------------------------------------------------------------------

STAMP = "2026-03-01T10:00:00Z"
READING = Reading(STAMP, 123.4, 7300.0, 10.6, 231.2, 55.0, 3)
SELECTIONS = [",".join(chosen) for count in (1, 3, 5) for chosen in itertools.combinations(MEASURANDS, count)]


@pytest.mark.parametrize("phases", [0, 1, 3])
@pytest.mark.parametrize("context", ["Sample.Periodic", "Transaction.Begin", "Transaction.End", "Trigger"])
def test_samples_of_every_layout_keep_the_schemas(phases, context) -> None:
    for measurands in SELECTIONS:
        values = json.loads(sampler(phases, measurands, context, "1.6").write(READING))
        payload = {"connectorId": 1, "meterValue": [{"timestamp": READING.timestamp, "sampledValue": values}]}
        assert Codec("ocpp1.6").check("MeterValues", payload) == []
        assert {value["measurand"] for value in values} == set(measurands.split(","))
        values = json.loads(sampler(phases, measurands, context, "2.x").write(READING))
        payload = {"evseId": 1, "meterValue": [{"timestamp": READING.timestamp, "sampledValue": values}]}
        for version in ("ocpp2.0.1", "ocpp2.1"):
            assert Codec(version).check("MeterValues", payload) == []
        register = [value["value"] for value in values if value["measurand"].startswith("Energy")]
        assert register in ([123], [])


@pytest.mark.parametrize("status", ["Available", "Occupied", "Reserved", "Unavailable", "Faulted"])
def test_written_status_notifications_keep_the_schemas(status) -> None:
    for subprotocol, written in (
        ("ocpp1.6", v16.status_notification(2, "GroundFailure", status.replace("Occupied", "SuspendedEV"), STAMP)),
        ("ocpp2.0.1", v2.status_notification(2, status, STAMP)),
        ("ocpp2.1", v2.status_notification(2, status, STAMP)),
    ):
        payload = json.loads(written.json)
        assert Codec(subprotocol).check("StatusNotification", payload) == []
        assert (payload["connectorId"], payload["timestamp"]) == (2 if subprotocol == "ocpp1.6" else 1, STAMP)


def test_a_written_payload_goes_out_as_it_is() -> None:
    codec = StationCodec("ocpp1.6")
    assert codec.encode(Call("1", "Heartbeat", Written(b"{}"))) == codec.encode(Call("1", "Heartbeat", {}))


@pytest.mark.parametrize("number", QUIRKS)
def test_a_quirk_leaves_what_it_is_not_about(number) -> None:
    quirk = QUIRKS[number]
    version = f"ocpp{quirk.versions[0]}"
    plain, bent = StationCodec(version), misbehaving(version, (number,))
    untouched = {"2.0.1": ("SecurityEventNotification", {"type": "x", "timestamp": READING.timestamp}),
                 "1.6": ("DataTransfer", {"vendorId": "v"})}[version.removeprefix("ocpp")]  # fmt: skip
    frames = [codec.encode(Call("1", *untouched)) for codec in (plain, bent)]
    if number == "Q05":
        assert json.loads(frames[0]) == json.loads(frames[1])
    else:
        assert frames[0] == frames[1]
