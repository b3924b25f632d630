"""The boot gate: what may be sent and answered before a station was accepted (OCPP 1.6 section 4.2, 2.x B01 to B03).

The state belongs to the station, not to its connection: a `Boot` is shared by the successive connections of one
station. The rules are the tables `PEER` and `OWN`; the endpoint looks its verdicts up there, and docs/endpoint.md draws
them from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

__all__ = ["OWN", "PEER", "Boot", "GateMode", "Role", "Stage", "Verdict", "triggered_by"]

Role: TypeAlias = Literal["csms", "station"]

#: How a CSMS treats stations that are not accepted. `off`: as any other. `lenient`: gated only while its last word to a
#: station was Pending or Rejected and it never accepted it. `strict`: as OCPP 2.x demands.
GateMode: TypeAlias = Literal["off", "lenient", "strict"]

#: `new`: no BootNotification was answered. `… again`: the station had been accepted before.
Stage: TypeAlias = Literal["new", "pending", "rejected", "accepted", "pending again", "rejected again"]
STAGES: Final[tuple[Stage, ...]] = ("new", "pending", "rejected", "accepted", "pending again", "rejected again")

#: `pass`: as ever. `triggered`: BootNotification and what a trigger asked for pass. `boot`: BootNotification passes
#: alone. Others: a peer's CALL is answered SecurityError (`refuse`) or not at all (`ignore`), an own one waits (`wait`)
#: or cannot be ordered (`refuse`). `no remote`: starting and stopping transactions is answered or refused, all else
#: passes.
Verdict: TypeAlias = Literal["pass", "triggered", "boot", "no remote", "refuse", "ignore"]

#: What becomes of a CALL of the peer. Key: role and, for a CSMS, mode, for a station, whether it is 1.6.
PEER: Final[dict[tuple[Role, str], dict[Stage, Verdict]]] = {
    ("csms", "off"): dict.fromkeys(STAGES, "pass"),
    ("csms", "lenient"): {
        "new": "pass",
        "pending": "triggered",
        "rejected": "boot",
        "accepted": "pass",
        "pending again": "pass",
        "rejected again": "pass",
    },
    ("csms", "strict"): {
        "new": "boot",
        "pending": "triggered",
        "rejected": "boot",
        "accepted": "pass",
        "pending again": "triggered",
        "rejected again": "boot",
    },
    ("station", "1.6"): {
        "new": "pass",
        "pending": "no remote",
        "rejected": "ignore",
        "accepted": "pass",
        "pending again": "no remote",
        "rejected again": "ignore",
    },
    ("station", "2.x"): {
        "new": "pass",
        "pending": "no remote",
        "rejected": "refuse",
        "accepted": "pass",
        "pending again": "no remote",
        "rejected again": "refuse",
    },
}

#: What becomes of an own CALL. Key: role, and whether the version is 1.6.
OWN: Final[dict[tuple[Role, str], dict[Stage, Verdict]]] = {
    ("csms", "1.6"): {
        "new": "pass",
        "pending": "no remote",
        "rejected": "refuse",
        "accepted": "pass",
        "pending again": "no remote",
        "rejected again": "refuse",
    },
    ("csms", "2.x"): {
        "new": "pass",
        "pending": "pass",
        "rejected": "refuse",
        "accepted": "pass",
        "pending again": "pass",
        "rejected again": "refuse",
    },
    ("station", "1.6"): {
        "new": "boot",
        "pending": "triggered",
        "rejected": "boot",
        "accepted": "pass",
        "pending again": "triggered",
        "rejected again": "boot",
    },
    ("station", "2.x"): {
        "new": "boot",
        "pending": "triggered",
        "rejected": "boot",
        "accepted": "pass",
        "pending again": "triggered",
        "rejected again": "boot",
    },
}

#: Orders a station that is Pending must not carry out (1.6 section 4.2, 2.x B02.FR.05).
REMOTE: Final = frozenset(
    {"RemoteStartTransaction", "RemoteStopTransaction", "RequestStartTransaction", "RequestStopTransaction"}
)

_TRIGGERS: Final = frozenset({"TriggerMessage", "ExtendedTriggerMessage"})
_CERTIFICATES: Final = frozenset(
    {
        "SignChargePointCertificate",
        "SignChargingStationCertificate",
        "SignV2GCertificate",
        "SignV2G20Certificate",
        "SignCombinedCertificate",
    }
)


def triggered_by(action: str, payload: Any) -> str | None:
    """The action that a CALL of the CSMS entitles a station to send while it is Pending (2.x B02.FR.02, B01.FR.10)."""
    if action in ("GetBaseReport", "GetReport"):
        return "NotifyReport"
    if action in _TRIGGERS:
        if isinstance(payload, Mapping):
            wanted = payload.get("requestedMessage", payload.get("requested_message"))
        else:
            wanted = getattr(payload, "requestedMessage", getattr(payload, "requested_message", None))
        wanted = getattr(wanted, "value", wanted)
        if isinstance(wanted, str):
            return "SignCertificate" if wanted in _CERTIFICATES else wanted
    return None


class Boot:
    """How a station's last BootNotification was answered, and what may be sent in spite of it."""

    __slots__ = ("accepted_before", "status", "triggered")

    def __init__(self, status: Literal["new", "pending", "rejected", "accepted"] = "new") -> None:
        self.status = status
        self.accepted_before = status == "accepted"
        self.triggered: frozenset[str] = frozenset()

    @property
    def stage(self) -> Stage:
        if self.accepted_before:
            if self.status == "pending":
                return "pending again"
            if self.status == "rejected":
                return "rejected again"
        return self.status

    def answered(self, status: object) -> None:
        """A BootNotification was answered with this `status`: Accepted, Pending or Rejected, as text or as an enum's
        member; anything else says nothing.
        """
        status = getattr(status, "value", status)
        if status == "Accepted":
            self.status, self.accepted_before = "accepted", True
        elif status == "Pending":
            self.status = "pending"
        elif status == "Rejected":
            self.status = "rejected"
        self.triggered = frozenset()

    def trigger(self, action: str) -> None:
        """A trigger entitles the station to send this action."""
        self.triggered |= {action}

    def export(self) -> dict[str, Any]:
        """The state for `restore` elsewhere."""
        return {"status": self.status, "accepted_before": self.accepted_before, "triggered": sorted(self.triggered)}

    def restore(self, state: Mapping[str, Any]) -> None:
        if state.get("status") in ("new", "pending", "rejected", "accepted"):
            self.status = state["status"]
        self.accepted_before = bool(state.get("accepted_before"))
        self.triggered = frozenset(str(action) for action in state.get("triggered", ()))
