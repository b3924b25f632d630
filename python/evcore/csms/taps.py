"""Who sees the frames of a station as they are: the message log, and the bus where somebody wants raw frames.

Comes in: frames of both directions. Goes out: lines and events, their secrets masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from evcore.bus import Bus
from evcore.bus.bodies import RawFrame
from evcore.net.connection import Tap
from evcore.net.message_log import MessageLog, mask

__all__ = ["BusTap", "LogTap", "Taps"]


class LogTap:
    """Implements `evcore.net.connection.Tap`: every message goes into the message log."""

    __slots__ = ("_identity", "_log")

    def __init__(self, identity: str, message_log: MessageLog) -> None:
        self._identity = identity
        self._log = message_log

    def received(self, frame: bytes) -> None:
        self._log.write("in", self._identity, frame)

    def sent(self, frame: bytes) -> None:
        self._log.write("out", self._identity, frame)


class BusTap:
    """Implements `evcore.net.connection.Tap`: every message goes onto the bus."""

    __slots__ = ("_bus", "_identity")

    def __init__(self, identity: str, bus: Bus) -> None:
        self._identity = identity
        self._bus = bus

    def received(self, frame: bytes) -> None:
        self._publish("in", frame)

    def sent(self, frame: bytes) -> None:
        self._publish("out", frame)

    def _publish(self, direction: Literal["in", "out"], frame: bytes) -> None:
        text = mask(frame.decode("utf-8", "replace"))
        self._bus.publish(RawFrame(station=self._identity, direction=direction, frame=text))


class Taps:
    """Implements `evcore.net.connection.Tap` for several."""

    __slots__ = ("_taps",)

    def __init__(self, taps: Sequence[Tap]) -> None:
        self._taps = taps

    def received(self, frame: bytes) -> None:
        for tap in self._taps:
            tap.received(frame)

    def sent(self, frame: bytes) -> None:
        for tap in self._taps:
            tap.sent(frame)
