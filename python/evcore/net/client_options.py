"""What a client is told, and what it tells: network profiles, credentials, options, an observer.

Comes in: URLs, credentials, times. Goes out: values that a client can take as they are. Refused, with ValueError: URLs
that are none, credentials that OCPP does not allow, times that contradict each other. Secrets show in no representation
and in no message.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import SplitResult, urlsplit

from evcore.endpoint import Event, Stored
from evcore.message import Call
from evcore.net.backoff import BackOff
from evcore.net.connection import Connection
from evcore.net.engine import ConnectError

__all__ = ["ClientObserver", "ClientOptions", "Profile", "authorization_key"]

_PASSWORD_BYTES: Final = range(16, 41)


def authorization_key(text: str) -> bytes:
    """The password of a 1.6 station from its AuthorizationKey, which OCPP carries as 32 to 40 hexadecimal digits and
    Basic authentication as the bytes they stand for (security white paper, OCPP-J 1.6 section 6.2.2). Raises
    ValueError, which does not repeat the key.
    """
    digits = text.strip()
    if not 32 <= len(digits) <= 40 or len(digits) % 2 or not set(digits) <= set("0123456789abcdefABCDEF"):
        raise ValueError("an AuthorizationKey has 32 to 40 hexadecimal digits, an even number of them")
    return bytes.fromhex(digits)


def _is_host(parts: SplitResult) -> bool:
    """Whether host and port can be asked for: what cannot is not found out before the name is looked up."""
    try:
        host, port = parts.hostname or "", parts.port
        return bool(host) and port != 0 and (":" in host or bool(host.encode("idna")))
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Profile:
    """A network connection profile: how to reach one CSMS.

    `url`: its endpoint URL, ws or wss, without the identity. `password`: for Basic authentication with the identity as
    the user (security profiles 1 and 2), 16 to 40 bytes, those of a 1.6 AuthorizationKey (`authorization_key`) or of a
    2.x BasicAuthPassword in UTF-8; shown in no representation. `tls`: for wss, as `evcore.net.tls.client_context` makes
    it; with the station's certificate in it that is security profile 3. Raises ValueError.
    """

    url: str
    password: bytes | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if "@" in parts.netloc:
            raise ValueError("credentials do not belong into an endpoint URL, `password` is for them")
        if parts.scheme not in ("ws", "wss") or not _is_host(parts) or parts.query or parts.fragment:
            raise ValueError("an endpoint URL is ws://HOST[:PORT][/PATH] or wss://HOST[:PORT][/PATH]")
        if self.password is not None and len(self.password) not in _PASSWORD_BYTES:
            raise ValueError(f"a password has 16 to 40 bytes, not {len(self.password)}")


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """Times in seconds. `versions`: subprotocols offered, in order of preference. `back_off`: RetryBackOff.
    `attempts_per_profile`: connection attempts before the next profile has its turn (NetworkProfileConnectionAttempts).

    `ping_interval`: WebSocketPingInterval, 0 for none. `idle_timeout`: silence after which the connection is given up,
    0 for never; any frame is a sign of life, a pong too. `silent_calls`: own CALLs in a row that may time out before
    the connection is given up, 0 for any number.

    `boot_interval` and `heartbeat_interval`: see `Registration`; the CSMS's word replaces them, 0 is no Heartbeat until
    it gives one. `heartbeat_skip`: other messages stand in for a Heartbeat, but for one every `heartbeat_clock`.
    `boot_on_security_error`: whether a CALL that is answered with SecurityError after the station was accepted makes it
    boot again: a CSMS that restarted may have forgotten it.

    `call_timeout`, `queue`, `inbox`: see `Endpoint`. `max_frame`: bytes of the largest message taken. `deflate`: offer
    permessage-deflate. `stop_seconds`: longest time `stop` takes. `sweep_interval`: how exactly all these times are
    kept.
    """

    versions: tuple[str, ...] = ("ocpp2.0.1", "ocpp1.6")
    back_off: BackOff = field(default_factory=BackOff)
    attempts_per_profile: int = 3
    ping_interval: float = 60.0
    idle_timeout: float = 180.0
    silent_calls: int = 3
    boot_interval: float = 60.0
    heartbeat_interval: float = 300.0
    heartbeat_skip: bool = True
    heartbeat_clock: float = 86400.0
    boot_on_security_error: bool = True
    call_timeout: float = 30.0
    queue: int = 64
    inbox: int = 64
    max_frame: int = 1024 * 1024
    deflate: bool = False
    stop_seconds: float = 5.0
    sweep_interval: float = 1.0

    def __post_init__(self) -> None:
        if not self.versions or len(set(self.versions)) < len(self.versions):
            raise ValueError("versions must name at least one version, and none twice")
        if self.attempts_per_profile < 1 or self.silent_calls < 0 or self.sweep_interval <= 0:
            raise ValueError("attempts_per_profile must be at least 1, silent_calls 0, sweep_interval more than 0")
        if min(self.ping_interval, self.idle_timeout, self.stop_seconds) < 0:
            raise ValueError("ping_interval, idle_timeout and stop_seconds must be at least 0")
        if 0 < self.idle_timeout <= self.ping_interval:
            raise ValueError("idle_timeout must be longer than ping_interval")


class ClientObserver:
    """Hears what becomes of a client; override what is wanted. Must not raise."""

    def connected(self, connection: Connection[Any]) -> None:
        """The connection is open, and not yet used."""

    def disconnected(self, connection: Connection[Any]) -> None:
        """The connection is over."""

    def refused(self, url: str, error: ConnectError) -> None:
        """A connection attempt failed."""

    def booted(self, payload: Mapping[str, Any]) -> None:
        """A BootNotification was answered, by whichever status: its payload, with the time."""

    def discarded(self, stored: Stored, reason: Literal["attempts", "room"]) -> None:
        """A transaction message was given up."""

    def happened(self, event: Event) -> None:
        """Every event of the connection's endpoint but a Request; `Answer` says what became of a stored message."""

    def answered(self, call: Call, seconds: float, code: str | None) -> None:
        """A CALL of the CSMS was answered; see `evcore.net.connection.Observer`."""
