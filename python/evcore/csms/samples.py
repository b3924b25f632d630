"""Meter values as samples: numbers, in one unit for each quantity, whatever version, prefix or multiplier they had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from evcore.bus.bodies import Readings, Sample
from evcore.csms.payload import decimal, group, items, short, text

__all__ = ["MOST", "readings"]

#: Samples taken of one message.
MOST: Final = 1000

#: What a unit is in the unit that is published, and the factor.
_UNITS: Final = {
    "kWh": ("Wh", 1000.0),
    "kvarh": ("varh", 1000.0),
    "kW": ("W", 1000.0),
    "kVA": ("VA", 1000.0),
    "kvar": ("var", 1000.0),
    "kVAh": ("VAh", 1000.0),
    "Celcius": ("Celsius", 1.0),
}
_REGISTER: Final = "Energy.Active.Import.Register"


def readings(
    station: str,
    payload: Any,
    *,
    name: str = "meterValue",
    evse: int | None = None,
    connector: int | None = None,
    transaction: str | None = None,
) -> Iterator[Readings]:
    """One body with all samples of a message that are numbers; nothing where there is none. Signed samples and texts
    are left out.
    """
    samples = tuple(islice(_samples(payload, name), MOST))
    if samples:
        yield Readings(station=station, evse=evse, connector=connector, transaction=transaction, samples=samples)


def _samples(payload: Any, name: str) -> Iterator[Sample]:
    for value in items(payload, name):
        time = short(value, "timestamp")
        for sample in items(value, "sampledValue"):
            number = None if text(sample, "format") == "SignedData" else decimal(sample.get("value"))
            if number is None:
                continue
            unit, number = _normal(sample, number)
            if number - number != 0:
                continue
            yield Sample(
                quantity=short(sample, "measurand") or _REGISTER,
                value=number,
                unit=unit,
                phase=short(sample, "phase"),
                location=short(sample, "location"),
                context=short(sample, "context"),
                time=time,
            )


def _normal(sample: Mapping[str, Any], number: float) -> tuple[str, float]:
    described = group(sample, "unitOfMeasure")
    power = described.get("multiplier", 0)
    if isinstance(power, int) and not isinstance(power, bool) and -9 <= power <= 9:
        number *= 10.0**power
    unit = short(sample, "unit", 32) or short(described, "unit", 32) or ""
    if not unit:
        # Wh is the default of both versions, whatever is measured; only energies mean it.
        unit = "Wh" if (text(sample, "measurand") or _REGISTER).startswith("Energy.") else ""
    base, factor = _UNITS.get(unit, (unit, 1.0))
    # 2.3 kW are 2300 W, not 2299.9999999999995.
    return base, round(number * factor, 6)
