"""What stations of every version tell the bus in the same words: progress of firmware and logs, security events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from evcore.bus.bodies import FirmwareProgress, LogProgress, SecurityEvent
from evcore.csms.announce import Tell
from evcore.csms.payload import short, whole
from evcore.csms.station import Station

__all__ = ["ALL", "firmware", "logs"]


def firmware(station: Station, payload: Any, answer: Mapping[str, Any]) -> Iterator[Any]:
    yield FirmwareProgress(
        station=station.identity, status=short(payload, "status") or "", request=whole(payload, "requestId")
    )


def logs(station: Station, payload: Any, answer: Mapping[str, Any]) -> Iterator[Any]:
    yield LogProgress(
        station=station.identity, status=short(payload, "status") or "", request=whole(payload, "requestId")
    )


def _security(station: Station, payload: Any, answer: Mapping[str, Any]) -> Iterator[Any]:
    yield SecurityEvent(
        station=station.identity,
        type=short(payload, "type") or "",
        time=short(payload, "timestamp"),
        info=short(payload, "techInfo", 255),
    )


ALL: Final[dict[str, Tell]] = {
    "FirmwareStatusNotification": firmware,
    "LogStatusNotification": logs,
    "SecurityEventNotification": _security,
}
