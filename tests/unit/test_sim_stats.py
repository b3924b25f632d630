"""Latency histograms against sorting, and the sum of tallies."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from evcore.sim.stats import Histogram, Tally

TIMES = st.floats(0, 3600, allow_nan=False)


@given(st.lists(TIMES, min_size=1, max_size=300), st.sampled_from([1.0, 50.0, 90.0, 99.0, 100.0]))
def test_percentiles_are_those_of_the_sorted_times(times, percent) -> None:
    histogram = Histogram()
    for time in times:
        histogram.add(time)
    truth = sorted(times)[math.ceil(len(times) * percent / 100) - 1]
    found = histogram.percentile(percent)
    assert truth - 1e-6 <= found <= truth * (1 + 1 / 32) + 2e-6
    assert histogram.highest == max(times)
    assert histogram.count == len(times)


@given(st.lists(TIMES), st.lists(TIMES))
def test_merging_is_counting_together(one, other) -> None:
    apart, more, together = Histogram(), Histogram(), Histogram()
    for time in one:
        apart.add(time)
        together.add(time)
    for time in other:
        more.add(time)
        together.add(time)
    apart.merge(more)
    for percent in (10, 50, 99):
        assert apart.percentile(percent) == together.percentile(percent)
    assert (apart.count, apart.highest) == (together.count, together.highest)


def test_what_is_beyond_the_scale_is_counted() -> None:
    histogram = Histogram()
    histogram.add(-1.0)
    histogram.add(1e9)
    assert histogram.count == 2
    assert histogram.percentile(100) > 3600


def test_tallies_add_up() -> None:
    one, other = Tally(calls=2, energy=1.5), Tally(calls=3, energy=2.0, timeouts=1)
    one.answer("Heartbeat", 0.25)
    other.answer("Heartbeat", 0.5)
    other.answer("Authorize", 0.75)
    other.codes["Authorize FormationViolation"] += 2
    one.merge(other)
    assert (one.calls, one.energy, one.timeouts, one.answered) == (5, 3.5, 1, 3)
    assert one.latency["Heartbeat"].count == 2
    assert one.overall.count == 3
    assert one.as_json()["codes"] == {"Authorize FormationViolation": 2}
    assert one.losses == {"without an answer in time": 1}
