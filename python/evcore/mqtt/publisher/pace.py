"""A bound on how fast a long list is worked off, so that it does not crowd out what is new.

In: the order to take a turn. Out: the wait until it is due.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final

__all__ = ["Pace"]

#: Turns are given out in lots of so many seconds; a timer for each would cost more than the turn.
_LOT: Final = 0.05


class Pace:
    """`rate`: turns a second. What was not used is not saved up."""

    __slots__ = ("_due", "_each")

    def __init__(self, rate: float) -> None:
        self._each = 1.0 / rate
        self._due = 0.0

    async def turn(self, count: int = 1) -> None:
        """Waits until `count` turns are due."""
        now = monotonic()
        self._due = max(self._due, now) + count * self._each
        if self._due - now >= _LOT:
            await asyncio.sleep(self._due - now)
