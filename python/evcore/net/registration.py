"""When a station has to send BootNotification and Heartbeat (OCPP 1.6 sections 4.2 and 4.6, 2.x B01 to B03 and G02).

Comes in: what becomes of the connection and of these two messages, the time. Goes out: which of them is due. Without
I/O; times are seconds of a monotonic clock.

A BootNotification is due on the first connection, when the one before was lost with its connection, over another OCPP
version than it was accepted for, and after Pending, Rejected or no usable answer once the interval is over. It is not
due on a mere reconnect. An interval that is not a positive number is none: `boot_interval` or the Heartbeat interval in
force stays.
"""

from __future__ import annotations

from typing import Any, Final

from evcore.endpoint import Boot

__all__ = ["Registration"]

#: Longest interval taken from a peer, about three years: it must go into a float, and into a clock.
_LONGEST: Final = 100_000_000


class Registration:
    """`boot`: state of the station, None when it does not boot. `boot_interval`: seconds between BootNotifications
    where the CSMS says nothing. `heartbeat_interval`: the same for Heartbeats, 0 for none. `skip`: whether other
    messages stand in for a Heartbeat, as the specification allows; one is sent every `clock` seconds all the same,
    because its answer carries the time.
    """

    __slots__ = (
        "_accepted_for",
        "_beat_at",
        "_boot_at",
        "_boot_due",
        "_clock",
        "_outstanding",
        "_sent",
        "_sent_at",
        "_skip",
        "_version",
        "boot",
        "boot_interval",
        "heartbeat_interval",
    )

    def __init__(
        self,
        boot: Boot | None,
        *,
        boot_interval: float = 60.0,
        heartbeat_interval: float = 300.0,
        skip: bool = True,
        clock: float = 86400.0,
    ) -> None:
        if boot_interval <= 0 or heartbeat_interval < 0 or clock <= 0:
            raise ValueError("boot_interval and clock must be more than 0, heartbeat_interval at least 0")
        self.boot = boot
        self.boot_interval = boot_interval
        self.heartbeat_interval = heartbeat_interval
        self._skip = skip
        self._clock = clock
        self._version = ""
        self._accepted_for = ""
        self._boot_due = 0.0
        self._boot_at = float("-inf")
        self._beat_at = 0.0
        self._sent = 0
        self._sent_at = 0.0
        self._outstanding: dict[str, str] = {}

    @property
    def is_accepted(self) -> bool:
        return self.boot is None or self.boot.status == "accepted"

    def connected(self, version: str, now: float) -> None:
        """There is a connection, and it is of this version."""
        self._version = version
        self._outstanding = {}
        self._sent, self._sent_at, self._beat_at = 0, now, now
        if self.boot is not None and self.boot.status == "accepted" and self._accepted_for != version:
            self.again(now)

    def due(self, now: float, sent: int) -> str | None:
        """The action to send now. `sent`: messages that went over this connection so far."""
        if sent != self._sent:
            self._sent, self._sent_at = sent, now
        if not self.is_accepted:
            waits = "BootNotification" in self._outstanding.values()
            return None if waits or now < self._boot_due else "BootNotification"
        if self.heartbeat_interval <= 0 or "Heartbeat" in self._outstanding.values():
            return None
        since = self._sent_at if self._skip else self._beat_at
        return "Heartbeat" if now - since >= self.heartbeat_interval or now - self._beat_at >= self._clock else None

    def ordered(self, action: str, call_id: str, now: float) -> None:
        """What was due is on its way."""
        self._outstanding[call_id] = action
        if action == "BootNotification":
            self._boot_at = now
        else:
            self._beat_at = self._sent_at = now
            self._sent += 1

    def answered(self, call_id: str, action: str, payload: Any, now: float) -> None:
        """A CALL of the station ended with this payload, or with None for want of a usable one."""
        self._outstanding.pop(call_id, None)
        if action != "BootNotification":
            return
        status = None if payload is None else payload.get("status")
        interval = None if payload is None else payload.get("interval")
        if type(interval) is not int or interval <= 0:
            interval = None
        if status == "Accepted":
            self._accepted_for = self._version
            self._beat_at = now
            if interval is not None:
                self.heartbeat_interval = float(min(interval, _LONGEST))
        else:
            asked = interval if status in ("Pending", "Rejected") else None
            self._boot_due = now + (self.boot_interval if asked is None else float(min(asked, _LONGEST)))

    def lost(self, call_id: str) -> None:
        """The connection went before the answer came: a BootNotification is due on the next one."""
        if self._outstanding.pop(call_id, None) == "BootNotification":
            self._boot_due = 0.0

    def triggered(self, now: float) -> None:
        """The CSMS asked for a BootNotification: no need to wait for the interval."""
        self._boot_due = now

    def again(self, now: float) -> None:
        """The station has to boot again: what it said of itself has changed, or the CSMS does not know it any more. Not
        within `boot_interval` of the last time.
        """
        if self.boot is not None:
            self.boot.status = "new"
            self._boot_due = max(now, self._boot_at + self.boot_interval)
