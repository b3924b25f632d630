"""What a run of many stations came to: counters, and how long answers took, in bounded memory.

In: what happens to stations, in real seconds. Out: counters and percentiles; both can be added up over processes.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any, Final

__all__ = ["PERCENTILES", "Histogram", "Tally"]

#: Steps each doubling of the value is divided into: a percentile is at most 1/32 above the truth.
_STEPS: Final = 32
_BITS: Final = 5
#: Microseconds up to 2^36 (19 hours); whatever took longer is counted in the last bucket.
_BUCKETS: Final = _STEPS * (36 - _BITS + 1)

PERCENTILES: Final = (50.0, 90.0, 99.0)


class Histogram:
    """Times in buckets that grow with the time (as HdrHistogram's): 8 kB whatever is counted, 3 % precise."""

    __slots__ = ("_counts", "count", "highest", "total")

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * _BUCKETS))
        self.count = 0
        self.total = 0.0
        self.highest = 0.0

    def add(self, seconds: float) -> None:
        micros = int(seconds * 1e6)
        if micros < 0:
            micros = 0
        shift = micros.bit_length() - _BITS - 1
        # Above 2^6 µs a bucket is `shift` doublings and the five bits below the leading one.
        index = micros if shift <= 0 else (shift << _BITS) + (micros >> shift)
        self._counts[index if index < _BUCKETS else _BUCKETS - 1] += 1
        self.count += 1
        self.total += seconds
        if seconds > self.highest:
            self.highest = seconds

    def merge(self, other: Histogram) -> None:
        for index, count in enumerate(other._counts):
            if count:
                self._counts[index] += count
        self.count += other.count
        self.total += other.total
        self.highest = max(self.highest, other.highest)

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """The time in seconds which `percent` of all did not exceed; 0 when nothing was counted."""
        wanted = self.count * percent / 100
        seen = 0
        for index, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return min(_upper(index) / 1e6, self.highest)
        return 0.0


def _upper(index: int) -> int:
    """The first value beyond a bucket, in µs."""
    if index < 2 * _STEPS:
        return index + 1
    shift = (index >> _BITS) - 1
    return (index - (shift << _BITS) + 1) << shift


@dataclass(slots=True)
class Tally:
    """Counters of a run. Energies in Wh. What counts as a loss is said in docs/simulate.md."""

    connected: int = 0
    """Connections open now."""
    charging: int = 0
    """Transactions under way now."""
    booted: int = 0
    """Stations that were accepted at least once."""
    connects: int = 0
    reconnects: int = 0
    connect_failures: int = 0
    drops: int = 0
    """Connections the scenario or the CSMS's orders ended."""
    lost_connections: int = 0
    """Connections that ended without the station wanting it."""
    charges: int = 0
    energy: float = 0.0
    calls: int = 0
    answered: int = 0
    sent: int = 0
    """Frames, in both directions counted on their own."""
    received: int = 0
    orders: int = 0
    """CALLs of the CSMS."""
    refused: int = 0
    """CALLERRORs nobody expected."""
    refused_as_expected: int = 0
    """CALLERRORs a quirk asked for."""
    timeouts: int = 0
    lost: int = 0
    """CALLs whose connection went before their answer came, transaction messages that are sent again not among them."""
    invalid: int = 0
    """Answers that could not be accepted."""
    faults: int = 0
    """Frames of the CSMS that were no proper messages."""
    strays: int = 0
    """Answers nobody waited for."""
    queued: int = 0
    """Transaction messages waiting for a connection or an answer now."""
    discarded: int = 0
    """Transaction messages given up after all attempts, or for want of room."""
    broken: int = 0
    """Stations whose own code failed: a bug of the simulator."""
    stations: int = 0
    """Stations whose time to connect has come."""
    connecting: int = 0
    """Stations that were still on their way in when the run ended: neither accepted, nor declined, nor kept waiting."""
    codes: Counter[str] = field(default_factory=Counter)
    """Unexpected CALLERRORs by action and code."""
    latency: dict[str, Histogram] = field(default_factory=dict)
    """By action: real seconds from sending a CALL to its answer."""

    def answer(self, action: str, seconds: float) -> None:
        self.answered += 1
        histogram = self.latency.get(action)
        if histogram is None:
            histogram = self.latency[action] = Histogram()
        histogram.add(seconds)

    def merge(self, other: Tally) -> None:
        for each in fields(self):
            mine, more = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, Counter):
                mine.update(more)
            elif not isinstance(mine, dict):
                setattr(self, each.name, mine + more)
        for action, histogram in other.latency.items():
            self.latency.setdefault(action, Histogram()).merge(histogram)

    @property
    def overall(self) -> Histogram:
        """All actions together."""
        merged = Histogram()
        for histogram in self.latency.values():
            merged.merge(histogram)
        return merged

    @property
    def losses(self) -> dict[str, int]:
        """What was lost, by name; empty when nothing was."""
        found = {
            "stations never accepted": self.stations - self.booted - self.connecting,
            "refused": self.refused,
            "without an answer in time": self.timeouts,
            "cut off before the answer": self.lost,
            "answers not acceptable": self.invalid,
            "transaction messages discarded": self.discarded,
            "transaction messages not delivered": self.queued,
            "stations that failed": self.broken,
        }
        return {name: count for name, count in found.items() if count > 0}

    def as_json(self) -> dict[str, Any]:
        """Everything, with latencies in milliseconds."""
        plain = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("codes", "latency")}
        latency = {
            action: {
                "count": histogram.count,
                "mean_ms": round(histogram.mean * 1000, 3),
                **{f"p{percent:g}_ms": round(histogram.percentile(percent) * 1000, 3) for percent in PERCENTILES},
                "max_ms": round(histogram.highest * 1000, 3),
            }
            for action, histogram in sorted({**self.latency, "all": self.overall}.items())
        }
        return {**plain, "codes": dict(self.codes), "losses": self.losses, "latency": latency}
