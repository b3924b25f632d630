"""What goes to a broker and what comes from one, without any client library.

In: values of the program, or a PUBLISH that was taken apart. Out: the same values. Nothing is checked here: a topic
that no broker takes is found when the packet is built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Message", "Received"]


@dataclass(frozen=True, slots=True)
class Message:
    """An application message (MQTT 5.0 §3.3). What MQTT 3.1.1 has no place for is left out there.

    `expiry`: seconds after which a broker that has not delivered it forgets it. `correlation`: Correlation Data.
    `user`: User Properties, in order; names may repeat.
    """

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    expiry: int | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation: bytes | None = None
    user: tuple[tuple[str, str], ...] = ()


def _nothing() -> None:
    """For messages that need no acknowledgement."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message from the broker. `retain`: it was kept from before the subscription. `dup`: it may have come before.

    One of QoS 1 is the receiver's to acknowledge. What is not acknowledged comes again with the next connection, as
    long as the broker keeps the session.
    """

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    expiry: int | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation: bytes | None = None
    user: tuple[tuple[str, str], ...] = ()
    dup: bool = False
    acknowledge: Callable[[], None] = field(default=_nothing, repr=False, compare=False)

    def ack(self) -> None:
        """The work is durable: the broker may forget the message. Repeated calls, and those after the connection has
        ended, do nothing.
        """
        self.acknowledge()
