"""A car at a charging point: power over state of charge, and what the meter shows.

In: seconds of charging, a limit in watts. Out: energy, power, state of charge. Nothing here is random or knows time:
whoever makes a car has drawn its figures.
"""

from __future__ import annotations

from typing import Final, Literal

__all__ = ["AC_VOLTAGE", "Car"]

AC_VOLTAGE: Final = 230.0
#: Share of the energy from the meter that reaches the battery.
_EFFICIENCY: Final = 0.9
#: Longest step of the integration, in seconds.
_STEP: Final = 60.0
_RAMP: Final = 30.0

#: Share of the full power over state of charge in %: AC chargers are slower than any battery until it is almost full,
#: DC chargers are slowed down by it from half full on.
_CURVES: Final = {
    "AC": ((0.0, 1.0), (90.0, 1.0), (97.0, 0.45), (100.0, 0.05)),
    "DC": ((0.0, 0.75), (10.0, 1.0), (45.0, 1.0), (65.0, 0.7), (80.0, 0.42), (90.0, 0.18), (100.0, 0.03)),
}


class Car:
    """A battery of `capacity` Wh, `soc` % full, that stops by itself at `target` %; at most `power` W over `phases`
    phases (0: direct current at `voltage` V).
    """

    __slots__ = ("_curve", "_seconds", "capacity", "drawn", "phases", "power", "soc", "target", "voltage", "watts")

    def __init__(
        self, capacity: float, soc: float, target: float, power: float, phases: int, voltage: float = AC_VOLTAGE
    ) -> None:
        self._curve = _CURVES["AC" if phases else "DC"]
        self._seconds = 0.0
        self.capacity = capacity
        self.soc = soc
        self.target = target
        self.power = power
        self.phases = phases
        self.voltage = voltage
        self.watts = 0.0
        """What it draws at the moment, as the meter sees it."""
        self.drawn = 0.0
        """Wh that went through the meter."""

    @property
    def full(self) -> bool:
        return self.soc >= self.target

    @property
    def current(self) -> float:
        """Amperes per phase at the moment."""
        return self.watts / self.voltage / (self.phases or 1)

    @property
    def transfer(self) -> Literal["AC_single_phase", "AC_three_phase", "DC"]:
        """The 2.1 EnergyTransferMode."""
        return "DC" if not self.phases else "AC_single_phase" if self.phases == 1 else "AC_three_phase"

    @property
    def wanted(self) -> int:
        """Wh to the target."""
        return round(self.capacity * max(0.0, self.target - self.soc) / 100)

    def willing(self) -> float:
        """W it would draw now without a limit."""
        if self.soc >= self.target:
            return 0.0
        low_soc, low = self._curve[0]
        for high_soc, high in self._curve:
            if self.soc <= high_soc:
                share = (
                    high if high_soc == low_soc else low + (high - low) * (self.soc - low_soc) / (high_soc - low_soc)
                )
                return self.power * share
            low_soc, low = high_soc, high
        return 0.0

    def charge(self, seconds: float, limit: float) -> None:
        """Lets time pass with `limit` W on offer."""
        while seconds > 0.0:
            # The first half minute is the contactor and the car's own ramp.
            ramps = self._seconds < _RAMP
            longest = _RAMP if ramps else _STEP
            step = min(longest, seconds)
            watts = self.willing()
            if watts > limit:
                watts = limit
            if ramps:
                watts *= (self._seconds + step / 2) / _RAMP
            energy = watts * step / 3600
            self.drawn += energy
            self.soc = min(100.0, self.soc + 100 * _EFFICIENCY * energy / self.capacity)
            self.watts = watts
            self._seconds += step
            seconds -= step

    def stop(self) -> None:
        self.watts = 0.0
