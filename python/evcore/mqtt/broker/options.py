"""What a session with a broker is told, what it needs of the spool, and what it says about itself.

In: settings. Out: values. Refused, with ValueError: settings that MQTT or common sense forbid.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol, TypeAlias

from evcore.mqtt.broker.address import Address
from evcore.mqtt.broker.packet import Unsendable, publish
from evcore.mqtt.message import Message

__all__ = ["Counts", "Entry", "Outbox", "SessionOptions", "State", "TlsOptions", "Token", "Version"]

Version: TypeAlias = Literal["5", "3.1.1"]
#: A new password for each connection. Plain functions are called in a thread.
Token: TypeAlias = Callable[[], "Awaitable[str] | str"]

#: Mosquitto ends the connection of a 3.1.1 client at the 21st message in flight, and says nothing of it before.
WINDOW_311: Final = 10
#: Packet identifiers 1 to 60,000 are the outbox's.
WINDOW_MOST: Final = 60_000


class Entry(Protocol):
    """A message of the outbox. `seq` rises by at least one from entry to entry and is never used again."""

    @property
    def seq(self) -> int: ...
    @property
    def message(self) -> Message: ...
    @property
    def released(self) -> bool:
        """PUBREC is known to have come: PUBREL is all that may be sent, while the broker keeps the session."""
        ...


class Outbox(Protocol):
    """What a session needs of the spool. All of it is called from the event loop, and nothing of it blocks."""

    #: Called whenever `waiting` may have more to give.
    on_put: Callable[[], None] | None

    def waiting(self, after: int, most: int) -> Sequence[Entry]:
        """The next entries above `after`, in order and without gaps, `most` of them or fewer; none that `done` was
        called for. Empty: there are none, or they are being read from the disk and `on_put` will be called. What was
        given out is not dropped for room or age.
        """
        ...

    async def fetch(self, after: int, most: int) -> Sequence[Entry]:
        """`waiting`, but waits for the disk: empty means that there are none."""
        ...

    def released(self, seq: int) -> Awaitable[None]:
        """PUBREC came; done when that is durable. Raises what the spool raises when it is closed."""
        ...

    def renew(self) -> Awaitable[None]:
        """The broker has forgotten the session: no entry counts as released any more. Done when that is durable."""
        ...

    def done(self, seq: int) -> None:
        """The broker has it, or it was given up: the entry goes. Numbers that are unknown or were done do nothing."""
        ...

    def note(self, key: str, value: str | None) -> Awaitable[None]:
        """A small fact that outlives the process; done when it is durable."""
        ...

    def notes(self, prefix: str = "") -> Awaitable[Mapping[str, str]]:
        """The facts whose key begins so."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """For `mqtts` and `wss`. `ca`: PEM bundle to trust instead of the system's. `certificate` and `key`: PEM files of
    this client; the key may stand in the certificate's file. `verify`: False takes any certificate from anybody.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    key_password: str | None = field(default=None, repr=False)
    verify: bool = True

    def __post_init__(self) -> None:
        if self.certificate is None and self.key is not None:
            raise ValueError("a client key needs its certificate")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """How to reach the broker and how to behave there. Times in seconds, sizes in bytes."""

    addresses: tuple[Address, ...]
    identifier: str
    version: Version = "5"
    #: For addresses whose URL has none.
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    #: Instead of the password, fresh for each connection.
    token: Token | None = field(default=None, repr=False)
    tls: TlsOptions = TlsOptions()
    #: The broker is asked whether it lives after so long without a packet; half as long again, and the connection ends.
    keepalive: int = 30
    #: How long the broker keeps the session of a client that is away (MQTT 5 only; on 3.1.1 the broker decides).
    session_expiry: int = 86_400
    #: Messages of QoS 1 and 2 in flight. On 3.1.1 at most 10, on 5 at most the broker's Receive Maximum.
    window: int = 20
    #: Messages of QoS 1 the broker may send before they are acknowledged (MQTT 5 only).
    receive_maximum: int = 100
    #: The largest packet that is taken. Larger ones: MQTT 5 brokers do not send them; on 3.1.1 they are read past.
    receive_bytes: int = 1024 * 1024
    #: From looking the name up to CONNACK.
    connect_timeout: float = 10.0
    #: A broker that leaves a message without an answer for so long is left for another one.
    ack_timeout: float = 60.0
    #: Waits are drawn from 0 to first × 2^n, at most `most`; n starts anew after a connection of `stable_after`.
    backoff_first: float = 1.0
    backoff_most: float = 60.0
    stable_after: float = 30.0
    #: Connections in a row that the broker lets in and ends before they are stable, after which another client is
    #: thought to have the session (a broker of MQTT 5 may say so at once); 0: never.
    early_ends: int = 5
    #: A broker that went without a word and was not listening may have saved the session before it had what it
    #: acknowledged last. True: what it has half at QoS 2 is published anew, and may come twice; False: it is trusted,
    #: and what it forgot is lost.
    doubt: bool = True
    #: How often a message is sent that the broker refuses for reasons that may pass, before it is dropped.
    refusals: int = 10
    #: What the broker publishes when the connection is lost, after `will_delay` (MQTT 5 only).
    will: Message | None = None
    will_delay: int = 0
    #: Published after each connect, once the subscriptions are there; and before a clean end.
    birth: Message | None = None
    farewell: Message | None = None
    #: Bytes that may wait for the socket before messages of QoS 0 are dropped.
    telemetry_waiting: int = 1024 * 1024
    #: The addresses are tried in random order.
    shuffle: bool = True

    def __post_init__(self) -> None:
        if not self.addresses:
            raise ValueError("a session needs at least one address")
        if self.version not in ("5", "3.1.1"):
            raise ValueError(f"version must be '5' or '3.1.1', not {self.version!r}")
        size = len(self.identifier.encode())
        if not 1 <= size <= 65_535 or "\0" in self.identifier:
            raise ValueError("identifier must have 1 to 65,535 bytes, without NUL")
        for name, least, most in (
            ("keepalive", 1, 65_535),
            ("session_expiry", 0, 0xFFFF_FFFF),
            ("window", 1, WINDOW_MOST),
            ("receive_maximum", 1, 65_535),
            ("receive_bytes", 1024, 268_435_455),
            ("early_ends", 0, 1_000_000),
            ("refusals", 1, 1_000_000),
            ("will_delay", 0, 0xFFFF_FFFF),
            ("telemetry_waiting", 0, 2**31),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} must be from {least} to {most}, not {value!r}")
        for name in ("will", "birth", "farewell"):
            message = getattr(self, name)
            if message is not None:
                try:
                    publish(message, qos=message.qos, retain=message.retain, mid=1, five=True)
                except Unsendable as error:
                    raise ValueError(f"{name}: {error}") from None
        for name in ("connect_timeout", "ack_timeout", "backoff_first", "backoff_most", "stable_after"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)!r}")


@dataclass(frozen=True, slots=True)
class State:
    """`since`: Unix seconds. `resumed`: the broker still had the session. `error`: why the last attempt failed or the
    last connection ended, as a sentence. `refused`: filters the broker does not grant, with its reason.
    """

    connected: bool = False
    address: str | None = None
    since: float | None = None
    error: str | None = None
    refused: tuple[tuple[str, str], ...] = ()
    resumed: bool = False


@dataclass(slots=True)
class Counts:
    """Since the start. `sent`, `acked` and `received` by QoS; `sent` counts repetitions, which are in `repeated` too.

    `dropped` by reason: offline and behind (QoS 0), too-large, invalid, refused, poison. `altered`: sent with a lower
    QoS or without the retain flag, because the broker has no more to offer. `oversize`: inbound messages read past.
    """

    sent: list[int] = field(default_factory=lambda: [0, 0, 0])
    acked: list[int] = field(default_factory=lambda: [0, 0, 0])
    received: list[int] = field(default_factory=lambda: [0, 0, 0])
    repeated: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    altered: int = 0
    oversize: int = 0
    connects: int = 0
    failures: int = 0
    takeovers: int = 0
