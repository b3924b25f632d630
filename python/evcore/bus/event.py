"""Events: what is published, the kinds there are, and an event's JSON form.

In: a body. Out: an event with its topic, id and time; as JSON values, and back from them. Refused: with EventError,
JSON values that are no event.

A kind is a body class, a topic for each body, a QoS class and whether the last event of a topic is kept. The JSON form
is flat: `id`, `kind`, `published`, then the fields of the body under their own names; what is None is left out. The
topic is not in it, for it follows from the body.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from random import getrandbits
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from evcore.bus import bodies
from evcore.bus.fields import EventError, fields, read
from evcore.bus.quick import quick
from evcore.bus.topic import level

__all__ = [
    "BY_NAME",
    "CLASSES",
    "ID_PATTERN",
    "KINDS",
    "PUBLISHED_PATTERN",
    "Event",
    "EventError",
    "Kind",
    "Stamp",
    "topic_of",
]

#: QoS classes, the lightest first: what is published at which MQTT QoS goes by them.
CLASSES: Final = ("telemetry", "status", "command", "billing")


class Kind(NamedTuple):
    """A kind of event."""

    name: str
    topic: str
    """Its topics: `{field}` is the level for that field of the body."""
    qos_class: str
    """One of `CLASSES`."""
    retain: bool
    """Whether the last event of each topic is kept."""
    body: type


_STATION: Final = "stations/{station}/"
_TRANSACTION: Final = _STATION + "transactions/{transaction}/"
_COMMAND: Final = _STATION + "commands/{command}/"

_ALL: Final = (
    Kind("station.online", _STATION + "connection", "status", True, bodies.StationOnline),
    Kind("station.offline", _STATION + "connection", "status", True, bodies.StationOffline),
    Kind("station.booted", _STATION + "boot", "status", True, bodies.StationBooted),
    Kind("connector.status", _STATION + "connectors/{evse}/{connector}", "status", True, bodies.ConnectorStatus),
    Kind("transaction.started", _TRANSACTION + "started", "billing", False, bodies.TransactionStarted),
    Kind("transaction.updated", _TRANSACTION + "updated", "billing", False, bodies.TransactionUpdated),
    Kind("transaction.ended", _TRANSACTION + "ended", "billing", False, bodies.TransactionEnded),
    Kind("readings", _STATION + "readings/{evse}", "telemetry", False, bodies.Readings),
    Kind("firmware.progress", _STATION + "firmware", "status", False, bodies.FirmwareProgress),
    Kind("log.progress", _STATION + "log", "status", False, bodies.LogProgress),
    Kind("configuration.progress", _STATION + "configuration", "status", False, bodies.ConfigurationProgress),
    Kind("security.event", _STATION + "security", "status", False, bodies.SecurityEvent),
    Kind("fault", _STATION + "faults", "status", False, bodies.Fault),
    Kind("station.violation", _STATION + "violations", "telemetry", False, bodies.ViolationSeen),
    Kind("command.requested", _COMMAND + "requested", "command", False, bodies.CommandRequested),
    Kind("command.result", _COMMAND + "result", "command", False, bodies.CommandResult),
    Kind("device.reading", "devices/{device}/{type}/{instance}/{field}", "telemetry", True, bodies.DeviceReading),
    Kind("site.energy", "sites/{site}/energy", "telemetry", True, bodies.SiteEnergy),
    Kind("system.heartbeat", "system/heartbeat/{node}", "telemetry", False, bodies.NodeHeartbeat),
    Kind("station.frame", _STATION + "frames/{direction}", "telemetry", False, bodies.RawFrame),
)

#: Body class to kind, and name to kind.
KINDS: Final[Mapping[type, Kind]] = MappingProxyType({kind.body: kind for kind in _ALL})
BY_NAME: Final[Mapping[str, Kind]] = MappingProxyType({kind.name: kind for kind in _ALL})

_HEAD: Final = frozenset({"id", "kind", "published"})
#: Crockford's alphabet: no I, L, O, U.
_DIGITS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ID_PATTERN: Final = f"[0-7][{_DIGITS}]{{25}}"
PUBLISHED_PATTERN: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z"
_ID: Final = re.compile(ID_PATTERN)
_TIME: Final = re.compile(PUBLISHED_PATTERN)
_TOPIC_BYTES: Final = 65_535


@quick
@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    kind: Kind
    topic: str
    body: Any
    """An instance of `kind.body`."""
    id: str
    """26 characters (a ULID): never given twice; as text, in the order of time, and of publishing within a process."""
    time: float
    """When it was published, in Unix seconds, whole milliseconds."""

    def json(self) -> dict[str, Any]:
        """The event as JSON values."""
        moment = datetime.fromtimestamp(self.time, UTC).isoformat(timespec="milliseconds")
        return {"id": self.id, "kind": self.kind.name, "published": f"{moment[:-6]}Z", **_values(self.body)}

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Event:
        """The event that `json` made these values of. Raises EventError for anything else, however hostile."""
        if not isinstance(values, Mapping):
            raise EventError("an event is an object")
        name, ident, published = values.get("kind"), values.get("id"), values.get("published")
        kind = BY_NAME.get(name) if isinstance(name, str) else None
        if kind is None:
            raise EventError("kind must be the name of a kind of event")
        if not isinstance(ident, str) or not _ID.fullmatch(ident):
            raise EventError("id must be a ULID")
        time = _seconds(published)
        body = read(kind.body, values, _HEAD)
        topic = topic_of(body)
        if len(topic) * 4 > _TOPIC_BYTES and len(topic.encode()) > _TOPIC_BYTES:
            raise EventError("its topic would be longer than MQTT allows")
        return cls(kind, topic, body, ident, time)


def _seconds(published: Any) -> float:
    if isinstance(published, str) and _TIME.fullmatch(published):
        try:
            return round(datetime.fromisoformat(published).timestamp() * 1000) / 1000
        except (ValueError, OverflowError):
            pass
    raise EventError("published must be a time as 2026-11-20T18:48:00.000Z")


def _values(body: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in fields(type(body)):
        value = getattr(body, field.name)
        if value is not None:
            found[field.name] = [_item(item) for item in value] if isinstance(value, tuple) else value
    return found


def _item(item: Any) -> Any:
    return _values(item) if isinstance(item, bodies.Sample) else item


class Stamp:
    """Gives out ids and times: never the same id, never one that sorts before the last."""

    __slots__ = ("_count", "_head", "_milliseconds", "_time")

    _count: int
    _head: str

    def __init__(self) -> None:
        self._turn(0)

    def next(self, now: float) -> tuple[str, float]:
        """An id and its time. `now`: Unix seconds; a clock that went back stands still until it has caught up."""
        milliseconds = int(now * 1000)
        count = self._count + 1
        if milliseconds > self._milliseconds or count == _COUNTS:
            self._turn(max(milliseconds, self._milliseconds + 1))
            count = 0
        self._count = count
        return self._head + _PAIRS[count >> 10] + _PAIRS[count & 1023], self._time

    def _turn(self, milliseconds: int) -> None:
        self._milliseconds = milliseconds
        self._time = milliseconds / 1000
        self._count = 0
        # Sixty random bits a millisecond keep processes apart, and this one from its former life.
        self._head = _text(milliseconds, 10) + _text(getrandbits(60), 12)


_PAIRS: Final = [high + low for high in _DIGITS for low in _DIGITS]
#: Ids that have the same beginning.
_COUNTS: Final = len(_PAIRS) ** 2


def _text(number: int, digits: int) -> str:
    return "".join(_DIGITS[number >> 5 * place & 31] for place in reversed(range(digits)))


def topic_of(body: Any) -> str:
    """The topic of a body. Raises TypeError for what is no body."""
    try:
        return _TOPICS[type(body)](body)
    except KeyError:
        raise TypeError(f"{type(body).__name__} is no kind of event") from None


def _topics(kind: Kind) -> Callable[[Any], str]:
    """The function from a body of this kind to its topic: an f-string, the fastest there is."""
    hints = {field.name: field.hint for field in fields(kind.body)}
    written = re.sub(r"\{(\w+)\}", lambda at: _LEVEL[hints[at[1]] is int].format(at[1]), kind.topic)
    made: Callable[[Any], str] = eval(f"lambda body: f'{written}'", {"level": level})  # noqa: S307 - from the table above
    return made


_LEVEL: Final = {True: "{{body.{0} or 0}}", False: "{{level(body.{0})}}"}
_TOPICS: Final = {kind.body: _topics(kind) for kind in _ALL}
