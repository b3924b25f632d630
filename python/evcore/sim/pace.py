"""The pace of a simulated station: its clock, its timers, its strands.

In: timers that ring, coroutines to run. Out: they are run, in the order of the station's own time.

A station's life is one sequence: while it waits for an answer or for a connection, its clock stands and its timers
wait, and goes on where it stood. So the messages of a station depend on its seed alone, not on how fast the CSMS
answers; only orders of the CSMS, lost connections and refusals change them.
"""

from __future__ import annotations

import logging
import types
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

from evcore.sim.strand import Strand
from evcore.sim.timers import Entry

if TYPE_CHECKING:
    from evcore.sim.fleet import Fleet

__all__ = ["Paced"]

log = logging.getLogger("evcore.sim")


class Paced:
    """What has a time of its own. `now`: simulated seconds. `epoch` grows with each restart: timers of before are void.
    `busy`: for how many things it waits. `running`: the strand at work.
    """

    __slots__ = ("_backlog", "busy", "epoch", "fleet", "now", "running")

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.now = 0.0
        self.epoch = 0
        self.busy = 0
        self.running: Strand | None = None
        self._backlog: list[Entry] | None = None

    def time(self) -> str:
        """What its clock shows."""
        return self.fleet.clock.text(self.now)

    def push(self, after: float, target: Callable[[Any], None]) -> None:
        """`target(self)` after so many seconds, unless the station restarts in the meantime."""
        self.fleet.timers.push(self.now + after, self, target, self.epoch)

    def spawn(self, coroutine: Coroutine[None, Any, None]) -> Strand:
        """Runs a coroutine as a strand, from the next look at the timers on."""
        strand = Strand(coroutine, self.now)
        self.fleet.timers.push(self.now, self, strand, strand.token)
        return strand

    def begin(self, coroutine: Coroutine[None, Any, None]) -> None:
        """Runs a coroutine as a strand, to its first pause at once."""
        self._resume(Strand(coroutine, self.now), None)

    def wake(self, strand: Strand | None) -> None:
        """Ends the pause of a strand that sleeps; one that waits for an answer looks for itself afterwards."""
        if strand is not None and not strand.over:
            self.fleet.timers.push(self.now, self, strand, strand.token)

    @types.coroutine
    def sleep(self, seconds: float) -> Generator[None, Any, float]:
        """Lets simulated time pass; returns how much did, less than `seconds` where the strand was woken."""
        strand = self.running
        assert strand is not None
        strand.began = self.now
        self.fleet.timers.push(self.now + seconds if seconds > 0 else self.now, self, strand, strand.token)
        elapsed: float = yield
        return elapsed

    def ring(self, entry: Entry) -> None:
        if self.busy:
            if self._backlog is None:
                self._backlog = []
            self._backlog.append(entry)
            return
        at, _, _, target, token = entry
        if type(target) is Strand:
            if target.token == token and target.coroutine is not None:
                if at > self.now:
                    self.now = at
                self._resume(target, self.now - target.began)
        elif token == self.epoch:
            if at > self.now:
                self.now = at
            try:
                target(self)
            except Exception:
                log.exception("%s: the simulation failed", self)
                self.fleet.tally.broken += 1

    def _resume(self, strand: Strand, value: Any) -> None:
        before, self.running = self.running, strand
        try:
            strand.resume(value)
        except Exception:
            log.exception("%s: the simulation failed", self)
            self.fleet.tally.broken += 1
        finally:
            self.running = before

    def release(self) -> None:
        """What it waited for is there: the clock goes on."""
        self.busy -= 1
        if not self.busy and self._backlog:
            backlog, self._backlog = self._backlog, None
            self.fleet.timers.restore(backlog)

    def _catch_up(self) -> None:
        """Something came from outside: the clock shows what it shows elsewhere."""
        if not self.busy:
            self.now = max(self.now, self.fleet.timers.now())
