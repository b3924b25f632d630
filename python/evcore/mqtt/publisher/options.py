"""What is published and how: the settings of `evcore.mqtt.publisher.publisher`.

In: settings. Out: the same, checked, with the defaults filled in. Refused: with ValueError, and one sentence that names
the setting.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from evcore.bus.event import BY_NAME, CLASSES
from evcore.mqtt.publisher.flat import BY_NAME as BY_FIELD
from evcore.mqtt.publisher.flat import FIELDS
from evcore.mqtt.topics import TopicOptions, Topics

__all__ = ["CLASS_QOS", "RETAINED", "Mode", "PublishOptions", "Raw"]

Mode: TypeAlias = Literal["json", "flat", "both"]
Raw: TypeAlias = Literal["off", "in", "out", "both"]

#: MQTT QoS of each class.
CLASS_QOS: Final[Mapping[str, int]] = {"telemetry": 0, "status": 1, "command": 1, "billing": 2}

#: Template to whether its messages are retained.
RETAINED: Final[Mapping[str, bool]] = {
    "status": True,
    "metrics": False,
    "events": False,
    "availability": True,
    "device": True,
    "site": True,
    "heartbeat": False,
    "node": True,
    "raw": False,
}


_FLAT_PREFIX: Final = "flat."
_FLAT: Final = tuple(_FLAT_PREFIX + field.name for field in FIELDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishOptions:
    """`node`: this bridge's name in topics. `qos`, `classes` and `retain` hold what differs from the defaults: class to
    QoS, kind of event (or `flat.` and the name of a single value) to class, template to whether it is retained.
    """

    node: str
    topics: TopicOptions = field(default_factory=TopicOptions)
    mode: Mode = "json"
    qos: Mapping[str, int] = field(default_factory=dict)
    classes: Mapping[str, str] = field(default_factory=dict)
    retain: Mapping[str, bool] = field(default_factory=dict)
    #: Whether drivers' tokens (idTag, idToken) are published.
    tokens: bool = False
    #: Seconds after which the broker may throw away telemetry that is not retained (MQTT 5.0 §3.3.2.3.3); 0: never.
    telemetry_expiry: int = 300
    #: OCPP frames as they are: "out" publishes all frames of the stations, "in" takes CALLs for them.
    raw: Raw = "off"
    #: Site to patterns of its stations' identities: `*`, `?` and `[…]`, case counts.
    sites: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: Seconds between two messages about a site.
    site_interval: float = 60.0
    #: Seconds after which a power that was not measured again does not count for its site.
    site_stale: float = 900.0
    #: Seconds between two heartbeats of this node; 0: none.
    heartbeat_interval: float = 30.0
    #: Home Assistant's device discovery. The single values it reads are then published as in mode "both".
    discovery: bool = False
    discovery_prefix: str = "homeassistant"
    #: Seconds after a restart in which a station that was online may come back before it is called offline.
    grace: float = 10.0
    #: Messages a second of what is published again, and of discovery.
    pace: float = 500.0
    #: Topics whose last value waits for the broker to come back, for retained values of QoS 0.
    values_waiting: int = 100_000
    #: Seconds before a connection was lost whose values are sent once more after the next one: what was in the socket
    #: did not arrive, and nothing says so. 0: none.
    values_recent: float = 60.0
    #: Stations remembered; those that are offline give way. Connectors of one station; those beyond are left out.
    most_stations: int = 200_000
    most_connectors: int = 64

    def __post_init__(self) -> None:
        if not self.node:
            raise ValueError("node must not be empty: it is the name of this bridge in topics")
        _one_of("mode", self.mode, ("json", "flat", "both"))
        _one_of("raw", self.raw, ("off", "in", "out", "both"))
        for name, qos in self.qos.items():
            _one_of("a class in qos", name, CLASSES)
            _one_of(f"qos of {name}", qos, (0, 1, 2))
        for kind, name in self.classes.items():
            _one_of("a kind in classes", kind, (*BY_NAME, *_FLAT))
            _one_of(f"class of {kind}", name, CLASSES)
        for name in self.retain:
            _one_of("a template in retain", name, tuple(RETAINED))
        for name in ("site_interval", "site_stale", "pace", "values_waiting", "most_stations", "most_connectors"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} must be above 0, not {value!r}")
        for name in ("telemetry_expiry", "heartbeat_interval", "grace", "values_recent"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{name} must be 0 or above, not {value!r}")
        for site, patterns in self.sites.items():
            if not site or not patterns or not _is_list(patterns):
                raise ValueError(f"site {site!r} must have a name and a list of patterns of stations")
        prefix = self.discovery_prefix
        if not prefix or any(not part or part.strip() != part or set("+#$ ") & set(part) for part in prefix.split("/")):
            raise ValueError(f"discovery_prefix must be levels of a topic without wildcards and spaces, not {prefix!r}")
        # Raises where a template cannot be used, before anything has started.
        Topics(self.topics)

    def qos_of(self, qos_class: str) -> int:
        return self.qos.get(qos_class, CLASS_QOS[qos_class])

    def class_of(self, kind: str) -> str:
        return self.classes.get(kind, BY_NAME[kind].qos_class)

    def class_of_field(self, name: str) -> str:
        """The class of a single value."""
        return self.classes.get(_FLAT_PREFIX + name, FIELDS[BY_FIELD[name]].qos_class)

    def retained(self, template: str) -> bool:
        return self.retain.get(template, RETAINED[template])

    @property
    def has_json(self) -> bool:
        return self.mode != "flat"

    @property
    def has_flat(self) -> bool:
        return self.mode != "json" or self.discovery


def _is_list(patterns: object) -> bool:
    return isinstance(patterns, (tuple, list))


def _one_of(what: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{what} must be one of {', '.join(map(str, choices))}, not {value!r}")
