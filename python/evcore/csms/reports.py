"""Reports and notices a station owes nobody an answer for but the acknowledgement.

OCPP 1.6 sections 4.4 and 4.5 and its security extension; 2.x: device model reports (B07, B08), monitoring (N07),
customer information (N09), display messages (O03), logs (N01), firmware (L01 to L04). Whoever wants their content reads
it from the message log or registers a handler of their own.
"""

from __future__ import annotations

from typing import Any, Final

from evcore.csms.station import Station
from evcore.dispatch import Handler, Outcome

__all__ = ["V2", "V16", "V21", "acknowledge"]


def acknowledge(station: Station, payload: Any) -> Outcome:
    return {}


V16: Final[dict[str, Handler[Station]]] = dict.fromkeys(
    (
        "DiagnosticsStatusNotification",
        "FirmwareStatusNotification",
        "LogStatusNotification",
        "SignedFirmwareStatusNotification",
    ),
    acknowledge,
)
V2: Final[dict[str, Handler[Station]]] = dict.fromkeys(
    (
        "FirmwareStatusNotification",
        "LogStatusNotification",
        "NotifyCustomerInformation",
        "NotifyDisplayMessages",
        "NotifyEvent",
        "NotifyMonitoringReport",
        "NotifyReport",
        "PublishFirmwareStatusNotification",
    ),
    acknowledge,
)
V21: Final[dict[str, Handler[Station]]] = dict.fromkeys(("BatterySwap", "ClosePeriodicEventStream"), acknowledge) | {
    # Its events come as SENDs, which the endpoint delivers and nobody answers (N11, N15).
    "OpenPeriodicEventStream": lambda station, payload: {"status": "Accepted"},
}
