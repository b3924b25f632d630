"""Simulated time: seconds since the simulation began, and what a station's clock shows.

In: the loop's monotonic time, a speed, a date to begin at. Out: simulated seconds, waits in real seconds, timestamps as
OCPP has them.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

__all__ = ["Clock", "parse"]

_DAY: Final = 86_400


class Clock:
    """Starts at `start` (Unix time) and runs `speed` times as fast as `now`, a monotonic clock in seconds."""

    __slots__ = ("_began", "_day", "_day_text", "_second", "_second_text", "speed", "start")

    def __init__(self, speed: float, now: float, start: float | None = None) -> None:
        self.speed = speed
        self.start = time.time() if start is None else start
        self._began = now
        self._second = self._day = -1
        self._second_text = self._day_text = ""

    def at(self, now: float) -> float:
        """Simulated seconds since the beginning."""
        return (now - self._began) * self.speed

    def unix(self, at: float) -> float:
        """The Unix time a station's clock shows."""
        return self.start + at

    def text(self, at: float) -> str:
        """A timestamp, UTC, whole seconds. Thousands of stations ask within one second, so the last one is kept."""
        second = int(self.start + at)
        if second != self._second:
            day, rest = divmod(second, _DAY)
            if day != self._day:
                self._day, self._day_text = day, datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT")
            self._second = second
            self._second_text = f"{self._day_text}{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}Z"
        return self._second_text


def parse(text: str) -> float:
    """The Unix time of a date-time (RFC 3339; without an offset it is UTC). Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
