"""The timers of all stations of a loop, in simulated time.

In: what is due when, as pushed. Out: each timer to its station, in the order of their times. No timer is cancelled: it
carries a token, and its station lets it pass when the token is no longer the current one. There is one timer of the
event loop for all of them.

Timers wait in buckets, unsorted; only those of the bucket that is due are put in order. One heap of thousands would be
a twentieth of what a message costs.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

from evcore.sim.clock import Clock

__all__ = ["Entry", "Ringable", "Timers"]

#: Real seconds between two looks at the heap, at least and at most.
_SHORTEST: Final = 0.01
_LONGEST: Final = 1.0
#: Timers handled before the event loop gets its turn again.
_BATCH: Final = 512


class Ringable(Protocol):
    def ring(self, entry: Entry) -> None:
        """A timer is due."""


#: When, a number that keeps the order of equal times, whose, what, token.
Entry: TypeAlias = "tuple[float, int, Ringable, Any, int]"


class Timers:
    """Runs from `start` to `stop`; what is pushed before waits until then. `time` is the clock's, which must be finer
    than a loop's own: that one stands still while callbacks run.
    """

    __slots__ = (
        "_buckets",
        "_clock",
        "_current",
        "_due",
        "_handle",
        "_loop",
        "_number",
        "_order",
        "_rate",
        "_running",
        "_time",
        "_wakes",
        "until",
    )

    def __init__(self, clock: Clock, loop: asyncio.AbstractEventLoop, time: Callable[[], float]) -> None:
        self._clock = clock
        self._time = time
        self._loop = loop
        #: What is due later does not ring.
        self.until = float("inf")
        #: Buckets a simulated second; what waits in those to come, by their numbers; these, as a heap.
        self._rate = 1 / (_SHORTEST * clock.speed)
        self._buckets: dict[int, list[Entry]] = {}
        self._order: list[int] = []
        #: A heap of all that is in the bucket `_current` and those before it.
        self._due: list[Entry] = []
        self._current = -1
        self._number = 0
        self._running = False
        self._handle: asyncio.Handle | None = None
        self._wakes = float("inf")

    def now(self) -> float:
        """Simulated seconds."""
        return self._clock.at(self._time())

    def push(self, at: float, station: Ringable, target: Any, token: int) -> None:
        """Rings the station at simulated time `at`; equal times keep their order."""
        self._number += 1
        bucket = int(at * self._rate)
        if bucket <= self._current:
            heapq.heappush(self._due, (at, self._number, station, target, token))
        else:
            entries = self._buckets.get(bucket)
            if entries is None:
                self._buckets[bucket] = [(at, self._number, station, target, token)]
                heapq.heappush(self._order, bucket)
            else:
                entries.append((at, self._number, station, target, token))
        if at < self._wakes and at <= self.until and self._running:
            self._schedule(at)

    def restore(self, entries: list[Entry]) -> None:
        """Takes back timers that rang when their station could not listen; they keep their place."""
        # They have rung before, so their bucket has been reached.
        for entry in entries:
            heapq.heappush(self._due, entry)
        if entries and entries[0][0] < self._wakes and self._running:
            self._schedule(entries[0][0])

    @property
    def is_done(self) -> bool:
        """Whether nothing is left that may ring."""
        due = self._reach()
        return not due or due[0][0] > self.until

    def _reach(self) -> list[Entry]:
        """The heap that begins with the earliest timer of all; empty when there is none."""
        due = self._due
        if not due and self._order:
            self._current = heapq.heappop(self._order)
            due = self._due = self._buckets.pop(self._current)
            heapq.heapify(due)
        return due

    def start(self) -> None:
        self._running = True
        self._look()

    def stop(self) -> None:
        self._running = False
        if self._handle is not None:
            self._handle.cancel()

    def _schedule(self, at: float) -> None:
        wait = (at - self.now()) / self._clock.speed
        if self._handle is not None:
            self._handle.cancel()
        self._wakes = at
        # What is due already is looked at in the loop's next round, so that a fast simulation is not held up.
        self._handle = (
            self._loop.call_soon(self._look)
            if wait <= 0
            else self._loop.call_later(min(max(wait, _SHORTEST), _LONGEST), self._look)
        )

    def _look(self) -> None:
        if not self._running:
            return
        due, now = self._reach(), min(self.now(), self.until)
        self._handle, self._wakes = None, float("-inf")
        for _ in range(_BATCH):
            if not due or due[0][0] > now:
                break
            entry = heapq.heappop(due)
            entry[2].ring(entry)
            if not due:
                due = self._reach()
        self._wakes = float("inf")
        if due and due[0][0] <= self.until:
            self._schedule(due[0][0])
