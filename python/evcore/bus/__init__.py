"""The bus: every event of a server has a topic and a typed body, and whoever wants it subscribes. docs/events.md."""

from evcore.bus.bus import Bus, BusError, Detach, NotKept, Sink
from evcore.bus.event import BY_NAME, CLASSES, KINDS, Event, EventError, Kind
from evcore.bus.subscription import Closed, Policy, Subscription
from evcore.bus.topic import level, unlevel

__all__ = [
    "BY_NAME",
    "CLASSES",
    "KINDS",
    "Bus",
    "BusError",
    "Closed",
    "Detach",
    "Event",
    "EventError",
    "Kind",
    "NotKept",
    "Policy",
    "Sink",
    "Subscription",
    "level",
    "unlevel",
]
