"""Meter values: from what a connector measures to the payloads of one version.

In: a reading, the measurands wanted, a context. Out: `sampledValue` lists. A list is made once for each layout and
filled again for every message of every station: what is returned is valid until the next call and must be encoded or
copied before.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

__all__ = ["Reading", "Sampler", "sampler"]

#: Three phases are never quite the same: V over the first one.
_UNEVEN: Final = (0.0, 0.6, -0.9)


class Reading(NamedTuple):
    """One look at a meter: time as text, register in Wh, power in W, current in A per phase, voltage in V, state of
    charge in %, phases (0: direct current).
    """

    timestamp: str
    register: float
    power: float
    current: float
    voltage: float
    soc: float
    phases: int


class Sampler:
    """The samples of one layout. `as_text`: values are strings (1.6)."""

    def __init__(self, phases: int, measurands: tuple[str, ...], as_text: bool) -> None:
        self._as_text = as_text
        self._context = ""
        self._samples: list[dict[str, Any]] = []
        self._slots: list[tuple[dict[str, Any], str, float]] = []
        for measurand in measurands:
            if measurand == "Energy.Active.Import.Register":
                self._add(measurand, "Wh", "register")
            elif measurand == "Power.Active.Import":
                self._add(measurand, "W", "power")
            elif measurand == "SoC":
                self._add(measurand, "Percent", "soc", location="EV")
        for index, phase in enumerate(("L1", "L2", "L3")[:phases] or (None,)):
            if "Current.Import" in measurands:
                self._add("Current.Import", "A", "current", phase=phase)
            if "Voltage" in measurands:
                self._add("Voltage", "V", "voltage", _UNEVEN[index], phase=phase and f"{phase}-N")

    def _add(self, measurand: str, unit: str, field: str, more: float = 0.0, **described: str | None) -> None:
        sample: dict[str, Any] = {"value": "", "context": "", "measurand": measurand}
        sample |= {"unit": unit} if self._as_text else {"unitOfMeasure": {"unit": unit}}
        sample |= {name: value for name, value in described.items() if value is not None}
        self._samples.append(sample)
        self._slots.append((sample, field, more))

    def fill(self, reading: Reading, context: str) -> list[dict[str, Any]]:
        """The samples of `reading`; shared, see above."""
        if context != self._context:
            self._context = context
            for sample in self._samples:
                sample["context"] = context
        _, register, power, current, voltage, soc, _ = reading
        values: dict[str, Any]
        if self._as_text:
            values = {"register": f"{register:.1f}", "power": f"{power:.1f}", "soc": f"{soc:.1f}",
                      "current": f"{current:.2f}"}  # fmt: skip
            for sample, field, more in self._slots:
                sample["value"] = f"{voltage + more:.1f}" if field == "voltage" else values[field]
        else:
            values = {"register": round(register, 1), "power": round(power, 1), "soc": round(soc, 1),
                      "current": round(current, 2)}  # fmt: skip
            for sample, field, more in self._slots:
                sample["value"] = round(voltage + more, 1) if field == "voltage" else values[field]
        return self._samples


@lru_cache(maxsize=256)
def sampler(phases: int, measurands: str, style: Literal["1.6", "2.x"]) -> Sampler:
    """The sampler for a comma-separated list of measurands."""
    return Sampler(phases, tuple(filter(None, measurands.split(","))), style == "1.6")
