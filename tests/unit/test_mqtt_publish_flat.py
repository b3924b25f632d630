"""Single values: what samples, states and charges become, one field at a time."""

from __future__ import annotations

from typing import Any

import pytest

from evcore.bus import bodies as b
from evcore.mqtt.publisher.flat import BY_NAME, FIELDS, Change, Values, changes, instance, scalar, totals


def sample(quantity: str, value: float, phase: str | None = None, **more: Any) -> b.Sample:
    return b.Sample(quantity=quantity, value=value, unit="", phase=phase, **more)


def read(*samples: b.Sample, evse: int | None = 1) -> dict[str, float]:
    return {
        FIELDS[field].name: value
        for field, value in totals(b.Readings(station="S", evse=evse, samples=samples)).items()
    }


POWER = "Power.Active.Import"


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([sample(POWER, 1.0)], {"power": 1.0}),
        ([sample(POWER, 1.0), sample(POWER, 2.0)], {"power": 2.0}),
        # Phases add up; a total of the same reading wins, wherever it stands.
        ([sample(POWER, 1.0, "L1"), sample(POWER, 2.0, "L2"), sample(POWER, 3.5, "L3")], {"power": 6.5}),
        ([sample(POWER, 0.1, "L1"), sample(POWER, 0.2, "L2")], {"power": 0.3}),
        ([sample(POWER, 9.0), sample(POWER, 1.0, "L1"), sample(POWER, 2.0, "L2")], {"power": 9.0}),
        ([sample(POWER, 1.0, "L1"), sample(POWER, 2.0, "L2"), sample(POWER, 9.0)], {"power": 9.0}),
        # Of several readings the last, phases and all.
        (
            [sample(POWER, 9.0, time="t1"), sample(POWER, 1.0, "L1", time="t2"), sample(POWER, 2.0, "L2", time="t2")],
            {"power": 3.0},
        ),
        (
            [
                sample(POWER, 5.0, "L1", time="t1"),
                sample(POWER, 1.0, "L1", time="t2"),
                sample(POWER, 2.0, "L2", time="t2"),
            ],
            {"power": 3.0},
        ),
        ([sample("Voltage", 229.0, "L1-N"), sample("Voltage", 231.0, "L2-N")], {"voltage": 230.0}),
        ([sample("Voltage", 400.0, "L1-L2")], {}),
        (
            [
                sample("Current.Import", 15.0, "L1"),
                sample("Current.Import", 16.0, "L2"),
                sample("Current.Import", 3.0, "N"),
            ],
            {"current": 16.0},
        ),
        # The outlet is meant, but a car's charge and temperatures are where they are.
        ([sample(POWER, 1.0, location="Inlet")], {}),
        ([sample(POWER, 1.0, location="Outlet")], {"power": 1.0}),
        (
            [sample("SoC", 50.0, location="EV"), sample("Temperature", 31.0, location="Body")],
            {"soc": 50.0, "temperature": 31.0},
        ),
        ([sample("Power.Factor", 0.9)], {}),
    ],
)
def test_totals(samples: list[b.Sample], expected: dict[str, float]) -> None:
    assert read(*samples) == expected


def test_the_station_is_measured_at_its_inlet() -> None:
    assert read(sample(POWER, 1.0, location="Inlet"), evse=0) == {"power": 1.0}
    assert read(sample(POWER, 1.0, location="Inlet"), evse=None) == {"power": 1.0}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, b"1"),
        (-12.5, b"-12.5"),
        (0.1, b"0.1"),
        (1e20, b"1e+20"),
        (7, b"7"),
        (True, b"true"),
        (False, b"false"),
        ("é", "é".encode()),
        ("\ud800", b"?"),
        ("", b""),
    ],
)
def test_scalars(value: Any, text: bytes) -> None:
    assert scalar(value) == text


@pytest.mark.parametrize(
    ("evse", "connector", "text"),
    [(1, 1, "1"), (1, None, "1"), (0, 1, "0"), (None, None, "0"), (2, 2, "2-2"), (1, 0, "1")],
)
def test_instances(evse: int | None, connector: int | None, text: str) -> None:
    assert instance(evse, connector) == text


class Station:
    """A station's values, fed with bodies."""

    def __init__(self, most: int = 64) -> None:
        self.values = Values(most)

    def take(self, body: Any) -> dict[str, bytes]:
        found = {}
        for change in changes(body, self.values):
            self.values.keep(change)
            found[f"{change.instance}/{FIELDS[change.field].name}"] = change.payload
        return found


def started(**more: Any) -> b.TransactionStarted:
    return b.TransactionStarted(**{"station": "S", "transaction": "7", "evse": 1, **more})


def test_a_charge() -> None:
    station = Station()
    assert station.take(started(meter=100.0)) == {"1/transaction": b"7", "1/charged": b"0", "1/energy": b"100"}
    station.take(b.Readings(station="S", evse=1, samples=(sample(POWER, 7.0), sample("Current.Import", 3.0))))
    updated = b.TransactionUpdated(station="S", transaction="7", energy=5.0, meter=105.0)
    assert station.take(updated) == {"1/transaction": b"7", "1/charged": b"5", "1/energy": b"105"}
    ended = b.TransactionEnded(station="S", transaction="7", meter=110.0, energy=10.0)
    assert station.take(ended) == {
        "1/charged": b"10",
        "1/energy": b"110",
        "1/transaction": b"",
        "1/power": b"0",
        "1/current": b"0",
    }


def test_an_end_told_late_says_nothing_of_the_charge_that_runs() -> None:
    station = Station()
    station.take(started())
    station.take(started(transaction="8"))
    station.take(b.Readings(station="S", evse=1, samples=(sample(POWER, 7.0),)))
    assert station.take(b.TransactionEnded(station="S", transaction="7", evse=1)) == {}
    assert station.values.charging("8") == "1"


def test_charges_of_unknown_places() -> None:
    station = Station()
    assert station.take(started(evse=None)) == {}
    assert station.take(b.TransactionUpdated(station="S", transaction="7")) == {}
    assert station.take(b.TransactionEnded(station="S", transaction="7")) == {}
    assert station.values.charging("") is None


def test_an_error_goes_away() -> None:
    station = Station()
    status = {"station": "S", "evse": 1, "connector": 1, "status": "Available"}
    assert station.take(b.ConnectorStatus(**status)) == {"1/status": b"Available"}
    assert station.take(b.ConnectorStatus(**status, error="GroundFailure"))["1/error"] == b"GroundFailure"
    assert station.take(b.ConnectorStatus(**status, vendor_error="E7"))["1/error"] == b"E7"
    assert station.take(b.ConnectorStatus(**status))["1/error"] == b""
    assert station.take(b.ConnectorStatus(**status)) == {"1/status": b"Available"}


def test_a_serial_number_goes_away() -> None:
    station = Station()
    boot = {"station": "S", "version": "ocpp1.6", "vendor": "V", "model": "M", "status": "Accepted"}
    assert station.take(b.StationBooted(**boot, serial="1"))["0/serial"] == b"1"
    assert station.take(b.StationBooted(**boot))["0/serial"] == b""


def test_values_are_bounded() -> None:
    values = Values(2)
    assert values.keep(Change("1", 0, b"a"))
    assert values.keep(Change("2", 5, b"b"))
    assert not values.keep(Change("3", 0, b"c"))
    assert values.keep(Change("1", 0, b"d"))
    assert list(values) == [Change("1", 0, b"d"), Change("2", 5, b"b")]
    assert values.get("2", 4) is None
    assert values.get("3", 0) is None


def test_names_are_unique_and_classes_follow_units() -> None:
    assert len(BY_NAME) == len(FIELDS)
    assert {field.name for field in FIELDS if field.qos_class == "telemetry"} == {
        field.name for field in FIELDS if field.unit is not None
    }
