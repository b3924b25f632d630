"""Single values at topics of their own: what an event says, as one field of one connector after the other.

In: bodies of a station's events. Out: changes, `(instance, index into FIELDS, payload)`; `Values` keeps the last of
each. Left out: samples of other places than the outlet where a field means the outlet, connectors beyond the bound.

The instance is the EVSE's number, the connectorId in 1.6; `0` is the station itself, and the second and further
connectors of an EVSE (2.x) are `1-2`, `1-3`. An empty payload says that there is no value any more, and takes a
retained one away (MQTT 5.0 §3.3.1.3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, NamedTuple

from evcore.bus.bodies import (
    ConnectorStatus,
    Readings,
    Sample,
    StationBooted,
    StationOnline,
    TransactionEnded,
    TransactionStarted,
    TransactionUpdated,
)

__all__ = ["BY_NAME", "FIELDS", "Change", "Field", "Values", "changes", "instance", "scalar", "totals"]


class Field(NamedTuple):
    """A value with a topic of its own. `quantity`: the OCPP measurand it is read from; `phases`: how the phases make
    one value where a station gives no total.
    """

    name: str
    unit: str | None
    meaning: str
    quantity: str | None = None
    phases: Literal["sum", "mean", "most"] = "sum"
    places: frozenset[str | None] = frozenset({None, "Outlet"})

    @property
    def qos_class(self) -> str:
        """What is measured is telemetry, what is said is status."""
        return "status" if self.unit is None else "telemetry"


_ANYWHERE: Final = frozenset({None, "Outlet", "Inlet", "Body", "Cable", "EV"})

#: In the order of their places in memory: the ones that most connectors have first.
FIELDS: Final = (
    Field("status", None, "state of the connector, in the words of the station's OCPP version"),
    Field("error", None, "errorCode of the connector's state (1.6); empty without one"),
    Field("transaction", None, "id of the running transaction; empty without one"),
    Field("charged", "Wh", "energy of the running or last transaction"),
    Field("energy", "Wh", "energy register", "Energy.Active.Import.Register"),
    Field("power", "W", "power drawn; 0 when a transaction has ended", "Power.Active.Import"),
    Field("current", "A", "current drawn, of the strongest phase; 0 as power", "Current.Import", "most"),
    Field("voltage", "V", "voltage, the mean of the phases", "Voltage", "mean"),
    Field("soc", "Percent", "state of charge of the car", "SoC", "most", _ANYWHERE),
    Field("power_offered", "W", "power the station offers the car", "Power.Offered"),
    Field("current_offered", "A", "current the station offers the car", "Current.Offered", "most"),
    Field("temperature", "Celsius", "temperature", "Temperature", "most", _ANYWHERE),
    Field("frequency", "Hz", "frequency of the grid", "Frequency", "mean"),
    Field("energy_export", "Wh", "energy register of what was fed back", "Energy.Active.Export.Register"),
    Field("power_export", "W", "power fed back; 0 when a transaction has ended", "Power.Active.Export"),
    Field("version", None, "OCPP version of the connection; at instance 0 as the four below"),
    Field("vendor", None, "vendor"),
    Field("model", None, "model"),
    Field("serial", None, "serial number"),
    Field("firmware", None, "firmware version"),
)

BY_NAME: Final = {field.name: index for index, field in enumerate(FIELDS)}
_BY_QUANTITY: Final = {field.quantity: index for index, field in enumerate(FIELDS) if field.quantity is not None}

_STATUS: Final = BY_NAME["status"]
_ERROR: Final = BY_NAME["error"]
_TRANSACTION: Final = BY_NAME["transaction"]
_CHARGED: Final = BY_NAME["charged"]
_ENERGY: Final = BY_NAME["energy"]

#: What is zero once a transaction has ended, whatever the last sample said.
_ZEROED: Final = tuple(BY_NAME[name] for name in ("power", "current", "power_export"))

#: Phases that add up to a total; pairs of phases and the neutral conductor do not.
_PHASES: Final = frozenset({"L1", "L2", "L3", "L1-N", "L2-N", "L3-N"})


class Change(NamedTuple):
    instance: str
    field: int
    payload: bytes


def instance(evse: int | None, connector: int | None = None) -> str:
    """The level of a topic that stands for an EVSE and its connector."""
    return f"{evse or 0}" if connector is None or connector <= 1 else f"{evse or 0}-{connector}"


def scalar(value: float | str | bool) -> bytes:
    """A value as the text of its topic: `true`, `7360`, `229.5`, any text."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return repr(value).removesuffix(".0").encode()


class Values:
    """The last payload of each field of one station, by instance. Bounded: `most` instances."""

    __slots__ = ("_most", "_places")

    def __init__(self, most: int) -> None:
        self._most = most
        self._places: dict[str, list[bytes | None]] = {}

    def keep(self, change: Change) -> bool:
        """False for an instance beyond the bound: it is not kept, and must not be published."""
        place = self._places.get(change.instance)
        if place is None:
            if len(self._places) >= self._most:
                return False
            place = self._places[change.instance] = []
        if change.field >= len(place):
            place.extend([None] * (change.field + 1 - len(place)))
        place[change.field] = change.payload
        return True

    def __iter__(self) -> Iterator[Change]:
        for name, place in self._places.items():
            for field, payload in enumerate(place):
                if payload is not None:
                    yield Change(name, field, payload)

    def get(self, name: str, field: int) -> bytes | None:
        """None where there was never a value."""
        place = self._places.get(name, ())
        return place[field] if field < len(place) else None

    def has(self, name: str, field: int) -> bool:
        """Whether a value is there; an empty payload is none."""
        return bool(self.get(name, field))

    def charging(self, transaction: str) -> str | None:
        """The instance where this transaction runs."""
        wanted = transaction.encode("utf-8", "replace")
        for name, place in self._places.items():
            if len(place) > _TRANSACTION and place[_TRANSACTION] == wanted:
                return name
        return None


def changes(body: Any, values: Values) -> Iterator[Change]:
    """What an event changes. `values`: what is known of the station, for events that do not name their EVSE."""
    reader = _READERS.get(type(body))
    return iter(()) if reader is None else reader(body, values)


def _online(body: StationOnline, values: Values) -> Iterator[Change]:
    yield Change("0", BY_NAME["version"], scalar(body.version))


def _booted(body: StationBooted, values: Values) -> Iterator[Change]:
    for name in ("version", "vendor", "model", "serial", "firmware"):
        text = getattr(body, name)
        if text or values.has("0", BY_NAME[name]):
            yield Change("0", BY_NAME[name], scalar(text or ""))


def _status(body: ConnectorStatus, values: Values) -> Iterator[Change]:
    place = instance(body.evse, body.connector)
    yield Change(place, _STATUS, scalar(body.status))
    error = body.error or body.vendor_error
    if error or values.has(place, _ERROR):
        yield Change(place, _ERROR, scalar(error or ""))


def _started(body: TransactionStarted, values: Values) -> Iterator[Change]:
    if body.evse is not None:
        place = instance(body.evse)
        yield Change(place, _TRANSACTION, scalar(body.transaction))
        yield Change(place, _CHARGED, b"0")
        if body.meter is not None:
            yield Change(place, _ENERGY, scalar(body.meter))


def _updated(body: TransactionUpdated, values: Values) -> Iterator[Change]:
    place = _place(body, values)
    if place is not None:
        yield Change(place, _TRANSACTION, scalar(body.transaction))
        if body.energy is not None:
            yield Change(place, _CHARGED, scalar(body.energy))
        if body.meter is not None:
            yield Change(place, _ENERGY, scalar(body.meter))


def _ended(body: TransactionEnded, values: Values) -> Iterator[Change]:
    place = _place(body, values)
    if place is None:
        return
    if body.energy is not None:
        yield Change(place, _CHARGED, scalar(body.energy))
    if body.meter is not None:
        yield Change(place, _ENERGY, scalar(body.meter))
    # The end of an earlier transaction, told late, says nothing of the one that runs there now.
    if values.charging(body.transaction) == place or not values.has(place, _TRANSACTION):
        yield Change(place, _TRANSACTION, b"")
        for field in _ZEROED:
            if values.has(place, field):
                yield Change(place, field, b"0")


def _place(body: TransactionUpdated | TransactionEnded, values: Values) -> str | None:
    return values.charging(body.transaction) if body.evse is None else instance(body.evse)


def _readings(body: Readings, values: Values) -> Iterator[Change]:
    place = instance(body.evse)
    for field, value in totals(body).items():
        yield Change(place, field, scalar(value))


def totals(body: Readings) -> dict[int, float]:
    """Field to value: of each field the latest, in the station's order; a total where there is one, else of phases."""
    found: dict[int, float] = {}
    # When a total was read, and the phases read at one time, by field.
    read: dict[int, str | None] = {}
    phases: dict[int, tuple[str | None, list[float]]] = {}
    for sample in body.samples:
        field = _BY_QUANTITY.get(sample.quantity)
        if field is None or not _is_here(sample, FIELDS[field], body.evse):
            continue
        if sample.phase is None:
            found[field], read[field] = sample.value, sample.time
            phases.pop(field, None)
        elif sample.phase in _PHASES and (field not in read or read[field] != sample.time):
            time, values = phases.get(field, (None, []))
            if values and time == sample.time:
                values.append(sample.value)
            else:
                phases[field] = sample.time, [sample.value]
    for field, (_, values) in phases.items():
        found[field] = _together(values, FIELDS[field].phases)
    return found


def _together(values: list[float], how: str) -> float:
    if how == "most":
        return max(values)
    total = sum(values)
    # 0.1 + 0.2 is 0.3 to a reader.
    return round(total / len(values) if how == "mean" else total, 6)


def _is_here(sample: Sample, field: Field, evse: int | None) -> bool:
    # The meter of the whole station is at its inlet.
    return sample.location in field.places or (not evse and sample.location == "Inlet")


_READERS: Final[dict[type, Callable[[Any, Values], Iterator[Change]]]] = {
    StationOnline: _online,
    StationBooted: _booted,
    ConnectorStatus: _status,
    TransactionStarted: _started,
    TransactionUpdated: _updated,
    TransactionEnded: _ended,
    Readings: _readings,
}
