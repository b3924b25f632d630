"""Home Assistant's device discovery: one retained message for each station, and what was published kept in notes.

In: what is known of stations, notes of earlier runs. Out: device configurations (home-assistant.io, integration `mqtt`,
"Device discovery payload"), and empty messages that take them back.

A configuration has a sensor for each value of each connector. What was once seen stays in it, also over a restart, or
Home Assistant would lose entities and their names. Only configurations that changed are published, unless Home
Assistant has started anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from evcore import __version__
from evcore.mqtt.message import Message
from evcore.mqtt.publisher.charger import Charger
from evcore.mqtt.publisher.flat import BY_NAME, FIELDS
from evcore.mqtt.publisher.messages import FLAT_TYPE, Outgoing
from evcore.mqtt.publisher.options import PublishOptions
from evcore.mqtt.publisher.pace import Pace
from evcore.mqtt.publisher.payload import encode
from evcore.mqtt.spool import Notes
from evcore.mqtt.topics import Topics

__all__ = ["NOTE", "SENSORS", "Discovery", "Sensor", "device", "object_id"]

#: Before the identity of a station whose configuration was published, in the notes.
NOTE: Final = "discovery/"


class Sensor(NamedTuple):
    """How Home Assistant shows a single value. `always`: also before it was seen, at every EVSE."""

    name: str
    device_class: str | None = None
    state_class: str | None = None
    unit: str | None = None
    always: bool = False
    diagnostic: bool = False


SENSORS: Final[Mapping[str, Sensor]] = {
    "status": Sensor("status", always=True),
    "error": Sensor("error", diagnostic=True),
    "charged": Sensor("energy of the transaction", "energy", "total_increasing", "Wh"),
    "energy": Sensor("energy", "energy", "total_increasing", "Wh", always=True),
    "power": Sensor("power", "power", "measurement", "W", always=True),
    "current": Sensor("current", "current", "measurement", "A", always=True),
    "voltage": Sensor("voltage", "voltage", "measurement", "V"),
    "soc": Sensor("state of charge", "battery", "measurement", "%"),
    "power_offered": Sensor("power offered", "power", "measurement", "W"),
    "current_offered": Sensor("current offered", "current", "measurement", "A"),
    "temperature": Sensor("temperature", "temperature", "measurement", "°C"),
    "frequency": Sensor("frequency", "frequency", "measurement", "Hz"),
    "energy_export": Sensor("energy fed back", "energy", "total_increasing", "Wh"),
    "power_export": Sensor("power fed back", "power", "measurement", "W"),
}
_SENSORS: Final = {BY_NAME[name]: sensor for name, sensor in SENSORS.items()}
_ALWAYS: Final = sum(1 << field for field, sensor in _SENSORS.items() if sensor.always)
_UNSAFE: Final = re.compile("[^A-Za-z0-9-]")


def object_id(station: str) -> str:
    """A name Home Assistant takes in its topics: letters, digits, `-` and `_`, different for different stations."""
    return f"evcore_{_UNSAFE.sub(_escape, station)}"


def _escape(found: re.Match[str]) -> str:
    return "".join(f"_{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))


def device(
    options: PublishOptions, topics: Topics, station: str, charger: Charger, seen: Mapping[str, int]
) -> dict[str, Any]:
    """The configuration of a station. `seen`: instance to the fields that get a sensor, as bits."""
    name = object_id(station)
    described: dict[str, Any] = {"ids": [name], "name": station}
    if charger.boot is not None:
        boot = charger.boot
        given = {"mf": boot.vendor, "mdl": boot.model, "sn": boot.serial, "sw": boot.firmware}
        described |= {key: value for key, value in given.items() if value}
    components = {}
    for place in sorted(seen):
        for field, sensor in _SENSORS.items():
            if seen[place] >> field & 1:
                topic = topics.device(station, FLAT_TYPE, place, FIELDS[field].name)
                components[f"{place}_{FIELDS[field].name}"] = _component(name, place, field, sensor, topic)
    return {
        "dev": described,
        "o": {"name": "evcore", "sw": __version__},
        "availability": [{"topic": topics.node(options.node)}, {"topic": topics.availability(station)}],
        "availability_mode": "all",
        "qos": 1,
        "cmps": components,
    }


def _component(name: str, place: str, field: int, sensor: Sensor, topic: str) -> dict[str, Any]:
    shown = sensor.name if place == "0" else f"connector {place} {sensor.name}"
    found: dict[str, Any] = {
        "p": "sensor",
        "unique_id": f"{name}_{place}_{FIELDS[field].name}",
        "name": shown[0].upper() + shown[1:],
        "state_topic": topic,
    }
    if sensor.device_class is not None:
        found["device_class"] = sensor.device_class
    if sensor.state_class is not None:
        found["state_class"] = sensor.state_class
    if sensor.unit is not None:
        found["unit_of_measurement"] = sensor.unit
    if sensor.diagnostic:
        found["entity_category"] = "diagnostic"
    return found


class _Published(NamedTuple):
    """What a note says: the topic, what was published there (empty: perhaps nothing), what had a sensor."""

    topic: str
    digest: str
    seen: dict[str, int]


class Discovery:
    """`put` hands a message over and gives what to wait for until it is on the disk."""

    def __init__(
        self,
        options: PublishOptions,
        topics: Topics,
        chargers: Mapping[str, Charger],
        notes: Notes,
        put: Callable[[Outgoing], Awaitable[None]],
        pace: Pace,
    ) -> None:
        self._options = options
        self._topics = topics
        self._chargers = chargers
        self._notes = notes
        self._put = put
        self._pace = pace
        self._published: dict[str, _Published] = {}
        self._due: dict[str, None] = {}
        self._leaving: dict[str, str] = {}

    @property
    def birth_topic(self) -> str:
        """Where Home Assistant says that it has started."""
        return f"{self._options.discovery_prefix}/status"

    def topic(self, station: str) -> str:
        return f"{self._options.discovery_prefix}/device/{object_id(station)}/config"

    async def start(self) -> None:
        """Reads the notes; what was published and is not wanted any more is taken back in the next rounds."""
        for key, text in (await self._notes.notes(NOTE)).items():
            published = _read(text)
            if published is None:
                continue
            station = key.removeprefix(NOTE)
            if self._options.discovery:
                self._published[station] = published
            if not self._options.discovery or published.topic != self.topic(station):
                self._leaving[station] = published.topic

    def touch(self, station: str) -> None:
        """Something is known of the station that was not: its configuration may be another."""
        if self._options.discovery:
            self._due[station] = None

    def renew(self) -> None:
        """Home Assistant, or the broker, may know nothing any more: all stations again."""
        for station, published in self._published.items():
            self._published[station] = published._replace(digest="")
        for station in self._chargers:
            self.touch(station)

    def forget(self, station: str) -> None:
        """The station is removed."""
        self._due.pop(station, None)
        published = self._published.pop(station, None)
        if published is not None:
            self._leaving[station] = published.topic

    @property
    def due(self) -> bool:
        """Whether `round` has something to do."""
        return bool(self._due or self._leaving)

    async def round(self) -> None:
        """Publishes what is due. Raises SpoolError when the spool takes no more; what is left stays due."""
        while self._leaving:
            station = next(iter(self._leaving))
            await self._withdraw(station, self._leaving[station])
            self._leaving.pop(station, None)
        while self._due:
            station = next(iter(self._due))
            del self._due[station]
            charger = self._chargers.get(station)
            if charger is not None:
                try:
                    await self._publish(station, charger)
                except BaseException:
                    self._due[station] = None
                    raise

    async def _publish(self, station: str, charger: Charger) -> None:
        before = self._published.get(station)
        seen = dict(before.seen) if before is not None else {}
        _look(charger, seen)
        if not seen:
            return
        topic = self.topic(station)
        payload = encode(device(self._options, self._topics, station, charger, seen))
        digest = blake2b(payload, digest_size=8).hexdigest()
        if before is not None and before.topic == topic and before.digest == digest:
            return
        # Noted twice: before, so that what is published can be taken back whatever happens; after, so that what was
        # not published is not taken for done.
        self._note(station, _Published(topic, "", seen))
        await self._put(self._outgoing(topic, payload))
        self._published[station] = published = _Published(topic, digest, seen)
        self._note(station, published)
        await self._pace.turn()

    async def _withdraw(self, station: str, topic: str) -> None:
        await self._put(self._outgoing(topic, b""))
        published = self._published.get(station)
        if published is None:
            self._notes.note(NOTE + station, None)
        else:
            # The settings name another topic now: what was seen still holds there.
            self._published[station] = published = _Published(self.topic(station), "", published.seen)
            self._note(station, published)
        await self._pace.turn()

    def _note(self, station: str, published: _Published) -> None:
        self._notes.note(NOTE + station, json.dumps(published, separators=(",", ":")))

    def _outgoing(self, topic: str, payload: bytes) -> Outgoing:
        qos = max(1, self._options.qos_of("status"))
        return Outgoing(Message(topic, payload, qos, True, content_type="application/json"), "status")


def _look(charger: Charger, seen: dict[str, int]) -> None:
    """Adds what is known of a station to what was seen of it."""
    for change in charger.values or ():
        bit = 1 << change.field if change.payload and change.field in _SENSORS else 0
        found = seen.get(change.instance, 0) | bit
        # The station, and second connectors of an EVSE, are not measured as a rule.
        if found and change.instance != "0" and "-" not in change.instance:
            found |= _ALWAYS
        if found:
            seen[change.instance] = found


def _read(text: str) -> _Published | None:
    """A note; None for what no release of ours has written."""
    try:
        topic, digest, seen = json.loads(text)
        return _Published(str(topic), str(digest), {str(place): int(bits) for place, bits in seen.items()})
    except (ValueError, TypeError, AttributeError):
        return None
