"""The part of the outbox that is in memory: its head, in order, up to a bound of bytes.

In: entries that are in the file, in order; numbers of those that are done or dropped. Out: those above a number.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from evcore.mqtt.spool.rows import Held

__all__ = ["Memory"]


class Memory:
    """A sorted list whose gaps are closed when they are half of it: what is done is at its beginning nearly always."""

    __slots__ = ("_held", "_order", "_start", "bytes")

    def __init__(self) -> None:
        self.bytes = 0
        self._held: dict[int, Held] = {}
        self._order: list[int] = []
        # Below it, everything is gone.
        self._start = 0

    def __len__(self) -> int:
        return len(self._held)

    def get(self, seq: int) -> Held | None:
        return self._held.get(seq)

    def add(self, held: Held) -> None:
        """Above all that are there."""
        seq = held.entry.seq
        self._held[seq] = held
        self._order.append(seq)
        self.bytes += held.size

    def remove(self, seq: int) -> Held | None:
        held = self._held.pop(seq, None)
        if held is None:
            return None
        self.bytes -= held.size
        order, start = self._order, self._start
        while start < len(order) and order[start] not in self._held:
            start += 1
        self._start = start
        if len(order) > 2 * len(self._held) + 64:
            self._order = [number for number in order if number in self._held]
            self._start = 0
        return held

    def first(self) -> Held | None:
        return self._held[self._order[self._start]] if self._held else None

    def last(self) -> int:
        """Number of the last one; 0 when none is there."""
        return next(self.backwards(), 0)

    def backwards(self) -> Iterator[int]:
        return (seq for seq in reversed(self._order) if seq in self._held)

    def above(self, after: int) -> Iterator[Held]:
        """In order. Nothing may be added or removed meanwhile."""
        order, held = self._order, self._held
        for at in range(bisect_right(order, after, self._start), len(order)):
            found = held.get(order[at])
            if found is not None:
                yield found

    def released(self) -> Iterator[Held]:
        return (held for held in self._held.values() if held.entry.released)
