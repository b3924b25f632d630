"""The spool as its users see it: each names the part it needs (the outbox: `evcore.mqtt.broker.options.Outbox`).

All of it belongs to the event loop of `Spool.open`. What is awaitable raises SpoolError when it could not be written;
a result that nobody awaits does no harm.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Literal, Protocol

from evcore.mqtt.message import Message
from evcore.mqtt.spool.entry import Command

__all__ = ["Inbox", "Notes"]


class Inbox(Protocol):
    """Commands from the broker and their outcomes, by their ids."""

    def journal(self, id: str, topic: str, body: bytes) -> Awaitable[Literal["new", "known"]]:
        """On the disk when done; "known": that id is there already. Raises SpoolFull if commands without an outcome
        fill `commands_bytes`.
        """
        ...

    def started(self, id: str) -> Awaitable[None]:
        """On the disk when done: from now on the command may have been carried out."""
        ...

    def finish(
        self, id: str, outcome: str, messages: Sequence[Message] = (), *, qos_class: str = "command"
    ) -> Awaitable[bool]:
        """The outcome, and the messages (QoS 1 or 2) that tell it, in one transaction. False: the outcome is on the
        disk, but there was no room for the messages; they were dropped and counted.
        """
        ...

    def outcome(self, id: str) -> Awaitable[str | None]:
        """None: unknown, or not finished."""
        ...

    def unfinished(self) -> Awaitable[list[Command]]:
        """Commands without an outcome, in the order in which they came."""
        ...


class Notes(Protocol):
    """Small facts that outlive the process."""

    def note(self, key: str, value: str | None) -> Awaitable[None]:
        """None removes it. Raises ValueError above 1,024 characters of key or 65,536 of value."""
        ...

    def notes(self, prefix: str = "") -> Awaitable[Mapping[str, str]]:
        """All whose key begins with `prefix`, by key."""
        ...
