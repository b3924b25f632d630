"""OCPP's boot rules in the words of the documents, written without a look at the endpoint's tables.

OCPP 1.6 section 4.2 and OCPP-J 1.6 errata 3.10; OCPP 2.x part 2, B01.FR.08, B01.FR.10, B02.FR.02, B02.FR.05, B02.FR.09,
B03.FR.03, B03.FR.07, B03.FR.08.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

REMOTE = {
    "RemoteStartTransaction",
    "RemoteStopTransaction",
    "RequestStartTransaction",
    "RequestStopTransaction",
}


@dataclass
class Told:
    """What a station was told last: `status` as on the wire, None before the first word; `before`: it was accepted at
    some time.
    """

    status: str | None = None
    before: bool = False
    triggered: set[str] = field(default_factory=set)

    def boots(self, status: object) -> None:
        if status in ("Accepted", "Pending", "Rejected"):
            self.status = str(status)
            self.before = self.before or status == "Accepted"
        self.triggered = set()


def taken(
    role: str, version: str, mode: str, told: Told, action: str
) -> Literal["yes", "SecurityError", "silence", "Rejected"]:
    """What becomes of a CALL of the peer."""
    if role == "csms":
        # Any CALL but a BootNotification is a SecurityError until the station is accepted, but for what was triggered
        # while it is Pending. A lenient CSMS lets stations be that were accepted once or never said a word about.
        free = told.status == "Accepted" or action == "BootNotification"
        spared = mode == "off" or (mode == "lenient" and (told.before or told.status is None))
        asked = told.status == "Pending" and action in told.triggered
        return "yes" if free or spared or asked else "SecurityError"
    if told.status == "Rejected":
        # 1.6: shall not respond. 2.x: SecurityError.
        return "silence" if version == "ocpp1.6" else "SecurityError"
    if told.status == "Pending" and action in REMOTE:
        return "Rejected"
    return "yes"


def sent(role: str, version: str, told: Told, action: str) -> Literal["now", "later", "never"]:
    """What becomes of an own CALL."""
    if role == "csms":
        if told.status == "Rejected":
            return "never"
        # 1.6 forbids these orders; in 2.x the station answers them with Rejected.
        return "never" if version == "ocpp1.6" and told.status == "Pending" and action in REMOTE else "now"
    if told.status == "Accepted" or action == "BootNotification":
        return "now"
    return "now" if told.status == "Pending" and action in told.triggered else "later"


def asked_for(action: str, payload: Any) -> str | None:
    """What a CALL of the CSMS asks the station to send."""
    if action in ("GetBaseReport", "GetReport"):
        return "NotifyReport"
    if action in ("TriggerMessage", "ExtendedTriggerMessage"):
        wanted = str(payload["requestedMessage"])
        return "SignCertificate" if wanted.startswith("Sign") else wanted
    return None
