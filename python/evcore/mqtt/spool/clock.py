"""How old messages are, whatever is done to the machine's clock.

In: the wall clock, a steady clock of the system, what was noted at the last writing. Out: seconds of the spool's own
clock, which never run backwards and count the time the process was away.

Within a process, and over a restart of the process alone, the steady clock counts. Over a restart of the machine only
the wall clock is left: one that went backwards, or that was not set at either end, counts as no time at all, because
a message that stays too long does less harm than one that is dropped by mistake.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["Clock", "Reading", "boot"]

#: Wall clocks below this (2025-01-01) were never set: machines without a battery start in 1970 or at their build.
_SET: Final = 1_735_689_600.0


class Reading(NamedTuple):
    """The clocks at one moment; `spool`, `wall` and `steady` in seconds."""

    spool: float
    wall: float
    steady: float
    boot: str


def boot() -> str:
    """What the system calls its present start; empty where it does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def steady() -> float:
    """Seconds since the start of the machine, with those it slept where the system counts them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Clock:
    """`last`: the reading that was written last, None for a new file."""

    def __init__(
        self,
        last: Reading | None,
        *,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = steady,
        boot: Callable[[], str] = boot,
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._boot = boot()
        start = steady()
        self._offset = (last.spool + self._away(last, start) if last else 0.0) - start

    def now(self) -> float:
        return self._steady() + self._offset

    def read(self) -> Reading:
        now = self._steady()
        return Reading(now + self._offset, self._wall(), now, self._boot)

    def _away(self, last: Reading, start: float) -> float:
        if self._boot and self._boot == last.boot:
            return max(0.0, start - last.steady)
        wall = self._wall()
        return max(0.0, wall - last.wall) if min(wall, last.wall) >= _SET else 0.0
