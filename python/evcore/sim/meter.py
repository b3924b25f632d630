"""Meter values: from what a connector measures to the JSON of one version.

In: a reading, the measurands wanted, a context. Out: the text of a `sampledValue` list. Meter values are most of what a
fleet sends, so a list of one layout is a format made once, and filled for each message of every station.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

__all__ = ["Reading", "Sampler", "sampler"]

#: Three phases are never quite the same: V over the first one.
_UNEVEN: Final = (0.0, 0.6, -0.9)
#: Stands for the value while the format is made.
_VALUE: Final = "@"


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
    """The samples of one layout in one context. `style`: whether values are strings (1.6)."""

    __slots__ = ("_fields", "_format")

    def __init__(self, phases: int, measurands: tuple[str, ...], context: str, style: Literal["1.6", "2.x"]) -> None:
        samples: list[dict[str, Any]] = []
        fields: list[tuple[int, float]] = []
        quote = '"' if style == "1.6" else ""

        def add(measurand: str, unit: str, field: str, more: float = 0.0, **described: str | None) -> None:
            sample: dict[str, Any] = {"value": _VALUE, "context": context, "measurand": measurand}
            sample |= {"unit": unit} if style == "1.6" else {"unitOfMeasure": {"unit": unit}}
            samples.append(sample | {name: value for name, value in described.items() if value is not None})
            fields.append((Reading._fields.index(field), more))

        for measurand, unit, field in (
            ("Energy.Active.Import.Register", "Wh", "register"),
            ("Power.Active.Import", "W", "power"),
        ):
            if measurand in measurands:
                add(measurand, unit, field)
        if "SoC" in measurands:
            add("SoC", "Percent", "soc", location="EV")
        for index, phase in enumerate(("L1", "L2", "L3")[:phases] or (None,)):
            if "Current.Import" in measurands:
                add("Current.Import", "A", "current", phase=phase)
            if "Voltage" in measurands:
                add("Voltage", "V", "voltage", _UNEVEN[index], phase=phase and f"{phase}-N")
        text = json.dumps(samples, separators=(",", ":"))
        self._format = text.replace(f'"{_VALUE}"', f"{quote}%.1f{quote}")
        self._fields = tuple(fields)

    def text(self, reading: Reading) -> str:
        """The samples of `reading`."""
        values: tuple[Any, ...] = reading
        return self._format % tuple([values[field] + more for field, more in self._fields])


@lru_cache(maxsize=1024)
def sampler(phases: int, measurands: str, context: str, style: Literal["1.6", "2.x"]) -> Sampler:
    """The sampler for a comma-separated list of measurands."""
    return Sampler(phases, tuple(filter(None, measurands.split(","))), context, style)
