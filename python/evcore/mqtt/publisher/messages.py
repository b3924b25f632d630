"""Which messages an event becomes.

In: events of the bus. Out: messages with their QoS class, in the order in which they are to go out; also everything
that is retained of a station, once more or taken back. Refused: with ValueError, an event that JSON cannot say.

It remembers what a station's status topic holds (`Charger`), and of the single values the last ones; a payload is
encoded once and not kept otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from time import time
from typing import Any, Final, NamedTuple

from evcore.bus.bodies import (
    CommandResult,
    ConnectorStatus,
    DeviceReading,
    NodeHeartbeat,
    RawFrame,
    Readings,
    SiteEnergy,
    StationBooted,
    StationOffline,
    StationOnline,
    TransactionEnded,
    TransactionStarted,
    TransactionUpdated,
)
from evcore.bus.event import CLASSES, KINDS, Event, Stamp
from evcore.mqtt.message import Message
from evcore.mqtt.publisher.availability import OFFLINE, ONLINE
from evcore.mqtt.publisher.charger import Charger
from evcore.mqtt.publisher.flat import FIELDS, Change, changes, scalar
from evcore.mqtt.publisher.options import PublishOptions
from evcore.mqtt.publisher.payload import encode, without_tokens
from evcore.mqtt.topics import Topics

__all__ = ["FLAT_TYPE", "JSON_TYPE", "STATUS_KIND", "Messages", "Outgoing"]

#: The level `{type}` of single values of a charging station.
FLAT_TYPE: Final = "ev_charger"
JSON_TYPE: Final = "application/json"
#: `kind` of the snapshot at a station's status topic, which is no event of the bus.
STATUS_KIND: Final = "charger.status"


class Outgoing(NamedTuple):
    message: Message
    qos_class: str


def _nothing(station: str) -> None:
    """For those who do not want to know of new values."""


class Messages:
    """`news`: called with a station of which something is known that was not known before."""

    def __init__(
        self, options: PublishOptions, *, news: Callable[[str], None] = _nothing, clock: Callable[[], float] = time
    ) -> None:
        self.options = options
        self.topics = Topics(options.topics)
        self.chargers: dict[str, Charger] = {}
        self._news = news
        self._clock = clock
        self._stamp = Stamp()
        self._classes = {kind.name: options.class_of(kind.name) for kind in KINDS.values()}
        self._qos = {name: options.qos_of(name) for name in CLASSES}
        self._expiry = options.telemetry_expiry or None
        self._device_retained = options.retained("device")
        self._availability_class = self._classes["station.online"]
        self._status_class = self._classes["connector.status"]
        # By field: its class, and its unit as a user property.
        self._fields = [
            (options.class_of_field(one.name), (("unit", one.unit),) if one.unit is not None else ()) for one in FIELDS
        ]
        self._settled = [self._device_retained and one.unit is None for one in FIELDS]
        self._readers: dict[type, Callable[[Event], Iterator[Outgoing]]] = {
            StationOnline: self._connection,
            StationOffline: self._connection,
            StationBooted: self._state,
            ConnectorStatus: self._state,
            Readings: self._metrics,
            TransactionStarted: self._transaction,
            TransactionUpdated: self._transaction,
            TransactionEnded: self._transaction,
            DeviceReading: self._device,
            SiteEnergy: self._site,
            NodeHeartbeat: self._heartbeat,
            RawFrame: self._raw,
        }

    def of(self, event: Event) -> list[Outgoing]:
        """The messages of an event. Raises ValueError for one that JSON cannot say."""
        return list(self._readers.get(type(event.body), self._event)(event))

    # -- stations ------------------------------------------------------------------------------------------------------

    def _connection(self, event: Event) -> Iterator[Outgoing]:
        body = event.body
        charger = self._charger(body.station)
        charger.take(body)
        yield self._availability(body.station, charger.online, self._classes[event.kind.name])
        if self.options.has_json:
            yield self._snapshot(body.station, charger, event.id, event.time, self._classes[event.kind.name])
        yield from self._flat(body, charger)

    def _state(self, event: Event) -> Iterator[Outgoing]:
        body = event.body
        charger = self._charger(body.station)
        if not charger.take(body):
            return
        if self.options.has_json:
            yield self._snapshot(body.station, charger, event.id, event.time, self._classes[event.kind.name])
        yield from self._flat(body, charger)
        if isinstance(body, StationBooted):
            self._news(body.station)

    def _metrics(self, event: Event) -> Iterator[Outgoing]:
        if self.options.has_json:
            topic = self.topics.metrics(event.body.station, event.body.evse)
            yield self._json(event, topic, "metrics", event.json())
        if self.options.has_flat:
            yield from self._flat(event.body, self._charger(event.body.station))

    def _transaction(self, event: Event) -> Iterator[Outgoing]:
        yield from self._event(event)
        if self.options.has_flat:
            yield from self._flat(event.body, self._charger(event.body.station))

    def _event(self, event: Event) -> Iterator[Outgoing]:
        if not self.options.has_json:
            return
        values = event.json()
        if not self.options.tokens:
            values.pop("token", None)
            if isinstance(event.body, CommandResult) and event.body.payload is not None:
                values["payload"] = without_tokens(event.body.payload)
        yield self._json(event, self.topics.events(event.body.station, event.kind.name), "events", values)

    def _raw(self, event: Event) -> Iterator[Outgoing]:
        body, qos_class = event.body, self._classes[event.kind.name]
        topic, payload = self.topics.raw(body.station, body.direction), body.frame.encode("utf-8", "replace")
        yield self._message(topic, payload, "raw", qos_class, JSON_TYPE, _head(event.id, event.kind.name))

    # -- other things --------------------------------------------------------------------------------------------------

    def _device(self, event: Event) -> Iterator[Outgoing]:
        body: DeviceReading = event.body
        topic = self.topics.device(body.device, body.type, body.instance, body.field)
        user = _head(event.id, event.kind.name)
        if self.options.mode == "json":
            values = {"value": body.value, "unit": body.unit, "quality": body.quality, "time": body.time}
            payload = encode({name: value for name, value in values.items() if value is not None})
            yield self._message(topic, payload, "device", self._classes[event.kind.name], JSON_TYPE, user)
        else:
            if body.unit is not None:
                user = (*user, ("unit", body.unit))
            yield self._message(topic, scalar(body.value), "device", self._classes[event.kind.name], None, user)

    def _site(self, event: Event) -> Iterator[Outgoing]:
        yield self._json(event, self.topics.site(event.body.site), "site", event.json())

    def _heartbeat(self, event: Event) -> Iterator[Outgoing]:
        yield self._json(event, self.topics.heartbeat(event.body.node), "heartbeat", event.json())

    # -- once more, and no more ----------------------------------------------------------------------------------------

    def again(self, station: str) -> list[Outgoing]:
        """Everything that is retained of a station, as it is now; nothing of one that is not known."""
        charger = self.chargers.get(station)
        if charger is None:
            return []
        found = [self._availability(station, charger.online, self._availability_class)]
        if self.options.has_json:
            found.append(self._snapshot(station, charger, *self._stamp.next(self._clock()), self._status_class))
        if charger.values is not None:
            found += [self._value(station, change) for change in charger.values if change.payload]
        return found

    def offline(self, station: str, version: str = "") -> list[Outgoing]:
        """A station that is not there any more without having said so."""
        charger = self._charger(station)
        if charger.online or not charger.known:
            charger.take(StationOffline(station=station, version=charger.version or version))
        found = [self._availability(station, False, self._availability_class)]
        if self.options.has_json:
            found.append(self._snapshot(station, charger, *self._stamp.next(self._clock()), self._status_class))
        return found

    def forget(self, station: str) -> list[Outgoing]:
        """A station is removed: takes back what is retained of it."""
        charger = self.chargers.pop(station, None)
        topics = [self.topics.availability(station)]
        if self.options.has_json:
            topics.append(self.topics.status(station))
        if charger is not None and charger.values is not None:
            topics += [self._topic(station, change) for change in charger.values]
        qos = self._qos[self._availability_class]
        return [Outgoing(Message(topic, b"", qos, True), self._availability_class) for topic in topics]

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _charger(self, station: str) -> Charger:
        charger = self.chargers.get(station)
        if charger is None:
            if len(self.chargers) >= self.options.most_stations:
                away = next((name for name, one in self.chargers.items() if not one.online), None)
                del self.chargers[next(iter(self.chargers)) if away is None else away]
            charger = self.chargers[station] = Charger(self.options.most_connectors, flat=self.options.has_flat)
        return charger

    def _availability(self, station: str, online: bool, qos_class: str) -> Outgoing:
        topic = self.topics.availability(station)
        return self._message(topic, ONLINE if online else OFFLINE, "availability", qos_class, None, ())

    def _snapshot(self, station: str, charger: Charger, id: str, moment: float, qos_class: str) -> Outgoing:
        published = f"{datetime.fromtimestamp(moment, UTC).isoformat(timespec='milliseconds')[:-6]}Z"
        values = {"id": id, "kind": STATUS_KIND, "published": published, **charger.snapshot(station)}
        topic = self.topics.status(station)
        return self._message(topic, encode(values), "status", qos_class, JSON_TYPE, _head(id, STATUS_KIND))

    def _json(self, event: Event, topic: str, template: str, values: dict[str, Any]) -> Outgoing:
        name = event.kind.name
        return self._message(topic, encode(values), template, self._classes[name], JSON_TYPE, _head(event.id, name))

    def _flat(self, body: Any, charger: Charger) -> Iterator[Outgoing]:
        values = charger.values
        if values is None:
            return
        for change in changes(body, values):
            before = values.get(change.instance, change.field)
            # What is said and retained need not be said twice; what is measured shows that it is still measured.
            if (before == change.payload and self._settled[change.field]) or not values.keep(change):
                continue
            if before is None:
                self._news(body.station)
            yield self._value(body.station, change)

    def _value(self, station: str, change: Change) -> Outgoing:
        qos_class, user = self._fields[change.field]
        topic = self._topic(station, change)
        return Outgoing(
            Message(topic, change.payload, self._qos[qos_class], self._device_retained, user=user), qos_class
        )

    def _topic(self, station: str, change: Change) -> str:
        return self.topics.device(station, FLAT_TYPE, change.instance, FIELDS[change.field].name)

    def _message(
        self,
        topic: str,
        payload: bytes,
        template: str,
        qos_class: str,
        content_type: str | None,
        user: tuple[tuple[str, str], ...],
    ) -> Outgoing:
        retain = self.options.retained(template)
        # A retained message that expired would be a value that is missing, not one that is old.
        expiry = self._expiry if qos_class == "telemetry" and not retain else None
        return Outgoing(
            Message(topic, payload, self._qos[qos_class], retain, expiry, content_type, user=user), qos_class
        )


def _head(id: str, kind: str) -> tuple[tuple[str, str], ...]:
    return ("id", id), ("kind", kind)
