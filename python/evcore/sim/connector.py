"""A connector and the charge on it: plain state, no behaviour but what follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from evcore.sim.car import Car

if TYPE_CHECKING:
    from evcore.sim.strand import Strand

__all__ = ["Charge", "Connector", "Remote", "Reservation"]


class Reservation(NamedTuple):
    """`expires`: simulated time."""

    id: int
    token: Any
    expires: float


class Remote(NamedTuple):
    """A start the CSMS asked for: token, 2.x remoteStartId, charging profile that comes with it."""

    token: Any
    id: int | None = None
    profile: Any = None


class Charge:
    """The transaction under way. `number`: its 1.6 id, None until the CSMS gave it. `seq`: the next 2.x sequence
    number. `since`: simulated time of the beginning. `begun`: register in Wh.
    """

    __slots__ = (
        "begun",
        "car",
        "id",
        "limit",
        "number",
        "refused",
        "remote",
        "reservation",
        "seq",
        "since",
        "state",
        "token",
    )

    def __init__(self, id: str, car: Car, token: Any, since: float, begun: float, remote: Remote | None) -> None:
        self.id = id
        self.number: int | None = None
        self.car = car
        self.token = token
        self.since = since
        self.begun = begun
        self.remote = remote
        self.reservation: int | None = None
        self.seq = 0
        self.state = "EVConnected"
        self.limit: float | None = None
        self.refused = False
        """The CSMS does not accept the token."""


class Connector:
    """One connector; in 2.x an EVSE with one connector. `register` in Wh."""

    __slots__ = (
        "charge", "fault", "number", "operative", "plugged", "register", "remote", "reported", "reservation", "status",
        "stop", "visit",
    )  # fmt: skip

    def __init__(self, number: int, register: float) -> None:
        self.number = number
        self.register = register
        self.operative = True
        self.plugged = False
        self.fault: str | None = None
        self.reservation: Reservation | None = None
        self.charge: Charge | None = None
        self.visit: Strand | None = None
        self.remote: Remote | None = None
        self.stop: str | None = None
        """Why the charge is to end."""
        self.status = "Available"
        """In 1.6 words."""
        self.reported: str | None = None
        """The status the CSMS was told last, with the error code."""

    @property
    def idle_status(self) -> str:
        """The status while nobody uses it."""
        if self.fault is not None:
            return "Faulted"
        if not self.operative:
            return "Unavailable"
        return "Available" if self.reservation is None else "Reserved"
