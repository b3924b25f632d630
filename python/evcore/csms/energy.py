"""The energy register in a station's meter values, in Wh, whatever version, unit or multiplier it came in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from evcore.csms.payload import decimal, group, items, text

__all__ = ["register"]

_REGISTER: Final = "Energy.Active.Import.Register"
_IN_WH: Final = {"Wh": 1.0, "kWh": 1000.0}


def register(payload: Any, name: str = "meterValue") -> float | None:
    """The last reading of the import register over all phases, or None. A sample without measurand is one (both
    versions).
    """
    reading = None
    for value in items(payload, name):
        for sample in items(value, "sampledValue"):
            if sample.get("measurand", _REGISTER) == _REGISTER and "phase" not in sample:
                found = _wh(sample)
                reading = reading if found is None else found
    return reading


def _wh(sample: Mapping[str, Any]) -> float | None:
    unit = group(sample, "unitOfMeasure")
    factor = _IN_WH.get(text(sample, "unit") or text(unit, "unit") or "Wh")
    number = decimal(sample.get("value"))
    power = unit.get("multiplier", 0)
    if factor is None or number is None or not isinstance(power, int) or not -9 <= power <= 9:
        return None
    return number * factor * 10.0**power
