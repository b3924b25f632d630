"""How long to wait before connecting again: RetryBackOff of OCPP 2.x (Part 4 section 5.3), good for 1.6 as well.

Comes in: failed attempts and successes. Goes out: seconds to wait. Without I/O and without a clock.

The wait before attempt k (0, 1, 2, …) is wait_minimum × 2^min(k, repeat_times) + a random part of 0 to random_range
seconds, drawn anew each time and not doubled: it spreads stations that lost their server together.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

__all__ = ["BackOff", "Retry"]


@dataclass(frozen=True, slots=True)
class BackOff:
    """RetryBackOffWaitMinimum and RetryBackOffRandomRange in seconds, RetryBackOffRepeatTimes (OCPPCommCtrlr)."""

    wait_minimum: float = 10.0
    repeat_times: int = 5
    random_range: float = 10.0

    def __post_init__(self) -> None:
        values = (self.wait_minimum, self.random_range)
        if not all(math.isfinite(value) and value >= 0 for value in values) or not 0 <= self.repeat_times <= 64:
            raise ValueError("wait_minimum and random_range must be at least 0, repeat_times 0 to 64")

    def base(self, attempt: int) -> float:
        """The wait before this attempt, without its random part."""
        return self.wait_minimum * float(2 ** min(attempt, self.repeat_times))


class Retry:
    """The attempts of one station. `rng`: where the random part comes from."""

    __slots__ = ("_back_off", "_rng", "attempt")

    def __init__(self, back_off: BackOff, rng: random.Random | None = None) -> None:
        self._back_off = back_off
        self._rng = random.Random() if rng is None else rng
        self.attempt = 0

    def wait(self) -> float:
        """Seconds to wait before the next attempt."""
        seconds = self._back_off.base(self.attempt) + self._rng.uniform(0.0, self._back_off.random_range)
        self.attempt += 1
        return seconds

    def reset(self) -> None:
        """An attempt succeeded: the next wait is the shortest again."""
        self.attempt = 0
