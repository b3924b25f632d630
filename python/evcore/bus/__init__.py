"""The bus: every event of a server has a topic and a typed body, and whoever wants it subscribes. docs/events.md."""

from evcore.bus.event import BY_NAME, CLASSES, KINDS, Event, EventError, Kind
from evcore.bus.topic import level, unlevel

__all__ = ["BY_NAME", "CLASSES", "KINDS", "Event", "EventError", "Kind", "level", "unlevel"]
