"""Meter values: from what a connector measures to the JSON of one version.

In: a reading, the measurands wanted, a context. Out: the JSON of a `sampledValue` list, as bytes, which format in a
third of the time of text. Meter values are most of what a fleet sends, so a list of one layout is a format made once,
and filled for each message of every station.
"""

from __future__ import annotations

import json
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, Literal, NamedTuple

__all__ = ["Reading", "Sampler", "sampler"]

#: Three phases are never quite the same: the second and third one's tenths of a volt over the first one.
_UNEVEN: Final = (6, -9)
#: Numbers kept as text.
_REMEMBERED: Final = 20_000
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


class _Tenths(dict[int, bytes]):
    """Whole numbers of tenths as text. Writing a float is what would cost most of all; currents, voltages and states of
    charge are a few thousand different ones.
    """

    def __missing__(self, tenths: int) -> bytes:
        text = b"%d.%d" % divmod(tenths, 10)
        if len(self) < _REMEMBERED:
            self[tenths] = text
        return text


_TENTHS: Final = _Tenths()


class Sampler:
    """The samples of one layout in one context. `style`: whether values are strings (1.6)."""

    __slots__ = ("_format", "_pick")

    def __init__(self, phases: int, measurands: tuple[str, ...], context: str, style: Literal["1.6", "2.x"]) -> None:
        samples: list[dict[str, Any]] = []
        picked: list[int] = []
        quote = '"' if style == "1.6" else ""

        def add(measurand: str, unit: str, place: int, **described: str | None) -> None:
            sample: dict[str, Any] = {"value": _VALUE, "context": context, "measurand": measurand}
            sample |= {"unit": unit} if style == "1.6" else {"unitOfMeasure": {"unit": unit}}
            samples.append(sample | {name: value for name, value in described.items() if value is not None})
            picked.append(place)

        # The places are those of the values in `text`.
        if "Energy.Active.Import.Register" in measurands:
            add("Energy.Active.Import.Register", "Wh", 0)
        if "Power.Active.Import" in measurands:
            add("Power.Active.Import", "W", 1)
        if "SoC" in measurands:
            add("SoC", "Percent", 3, location="EV")
        for index, phase in enumerate(("L1", "L2", "L3")[:phases] or (None,)):
            if "Current.Import" in measurands:
                add("Current.Import", "A", 2, phase=phase)
            if "Voltage" in measurands:
                add("Voltage", "V", 4 + index, phase=phase and f"{phase}-N")
        text = json.dumps(samples, separators=(",", ":"))
        self._format = text.replace(f'"{_VALUE}"', f"{quote}%b{quote}").encode()
        self._pick = itemgetter(*picked)

    def write(self, reading: Reading) -> bytes:
        """The samples of `reading`: Wh and W in whole numbers, all else in tenths."""
        _, register, power, current, voltage, soc, _ = reading
        first = int(10 * voltage)
        values = (
            b"%d" % register,
            b"%d" % power,
            _TENTHS[int(10 * current)],
            _TENTHS[int(10 * soc)],
            _TENTHS[first],
            _TENTHS[first + _UNEVEN[0]],
            _TENTHS[first + _UNEVEN[1]],
        )
        written: bytes = self._format % self._pick(values)
        return written


@lru_cache(maxsize=1024)
def sampler(phases: int, measurands: str, context: str, style: Literal["1.6", "2.x"]) -> Sampler:
    """The sampler for a comma-separated list of measurands."""
    return Sampler(phases, tuple(filter(None, measurands.split(","))), context, style)
