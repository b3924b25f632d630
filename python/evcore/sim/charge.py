"""A car at a charging point: power over state of charge, and what the meter shows. Deterministic for a given seed."""

from __future__ import annotations

import random
from typing import Final, NamedTuple

__all__ = ["Car", "Reading"]

VOLTAGE: Final = 230.0


class Reading(NamedTuple):
    """One look at the meter: register in Wh, power in W, current in A and voltage in V per phase, charge of the battery
    in %.
    """

    register: float
    power: float
    current: float
    voltage: float
    soc: float


class Car:
    """Draws full power up to 80 % and less and less beyond, with a ramp at the start, as cars on AC chargers do.

    Capacity 40–80 kWh, 7.4 kW on one phase or 11 or 22 kW on three, 20–50 % full on arrival, leaves at 85–100 %.
    """

    def __init__(self, rng: random.Random, register: float) -> None:
        self._rng = rng
        self._capacity = rng.uniform(40_000, 80_000)
        self._limit, self.phases = rng.choice(((7_400.0, 1), (11_000.0, 3), (22_000.0, 3)))
        self._soc = rng.uniform(20, 50)
        self.target = rng.uniform(85, 100)
        self._register = register
        self._seconds = 0.0
        self._power = 0.0

    @property
    def full(self) -> bool:
        return self._soc >= self.target

    @property
    def energy_wanted(self) -> int:
        """Energy to the target, in Wh."""
        return round(self._capacity * max(0.0, self.target - self._soc) / 100)

    def charge(self, seconds: float) -> None:
        """Lets time pass while charging."""
        while seconds > 0 and not self.full:
            step = min(seconds, 10.0)
            taper = 1.0 if self._soc < 80 else max(0.08, 1 - (self._soc - 80) / 22)
            ramp = min(1.0, (self._seconds + step) / 30)
            self._power = self._limit * taper * ramp * self._rng.uniform(0.98, 1.0)
            energy = self._power * step / 3600
            self._register += energy
            # A tenth of the energy warms the cable and the car.
            self._soc = min(100.0, self._soc + 90 * energy / self._capacity)
            self._seconds += step
            seconds -= step

    def stop(self) -> None:
        self._power = 0.0

    def read(self) -> Reading:
        voltage = round(VOLTAGE + self._rng.uniform(-3, 3), 1)
        current = round(self._power / self.phases / voltage, 2)
        return Reading(round(self._register, 1), round(self._power, 1), current, voltage, round(self._soc, 1))
