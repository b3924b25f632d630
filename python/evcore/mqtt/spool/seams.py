"""The spool as its users see it: each names the part it needs.

All of it belongs to the event loop of `Spool.open`. What is awaitable raises SpoolError when it could not be written;
a result that nobody awaits does no harm.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal, Protocol

from evcore.mqtt.message import Message
from evcore.mqtt.spool.entry import Backlog, Command, Entry

__all__ = ["Inbox", "Notes", "Outbox"]


class Outbox(Protocol):
    """Messages for the broker, in the order of their `seq`."""

    #: Called, from the loop, whenever `waiting` may have more to give.
    on_put: Callable[[], None] | None

    @property
    def backlog(self) -> Backlog: ...

    def waiting(self, after: int, most: int) -> list[Entry]:
        """Up to `most` entries above `after` (0: from the first one that is not done), in order. Never blocks: what is
        on the disk only is read in the background, and `on_put` called when it is here. What was given out stays until
        `done`; it is never dropped for room or age. Two entries given out never share a packet identifier: none is
        given more than 60,000 above the oldest one.
        """
        ...

    async def fetch(self, after: int, most: int) -> list[Entry]:
        """`waiting`, but waits for the disk; empty only if there is none to give. Raises SpoolError."""
        ...

    def released(self, seq: int) -> Awaitable[None]:
        """PUBREC came. Done when that is on the disk: only then may PUBREL go out. A disk that takes nothing is waited
        for; raises SpoolClosed if the spool is closed meanwhile.
        """
        ...

    def done(self, seq: int) -> None:
        """PUBACK or PUBCOMP came: the entry goes. Written with other things, not waited for: lost in a kill, it costs
        one more transmission under the same packet identifier. Unknown and repeated numbers do nothing.
        """
        ...


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
