"""What the spool holds, and how much of it: settings, entries of the outbox, commands, the backlog.

In: settings. Out: values. Refused: settings out of range, with ValueError.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from evcore.mqtt.message import Message

__all__ = ["MIDS", "Backlog", "Command", "Durability", "Entry", "SpoolOptions", "mid"]

Durability: TypeAlias = Literal["full", "normal"]

#: Packet identifiers of spooled messages are 1 to MIDS; those above are free for other packets.
MIDS: Final = 60_000


def mid(seq: int) -> int:
    """The packet identifier of an entry: the same before and after a restart, so that the broker knows a message it has
    already (MQTT 4.4). No two entries that are given out at the same time share one.
    """
    return seq % MIDS + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolOptions:
    """`durability` "full": what was put survives a power cut; "normal": it survives the process, not a power cut.
    The folder of `path` must be there; the file is made with mode 0600.
    """

    path: Path
    #: Bytes of messages in the outbox, content and properties and 128 for each.
    max_bytes: int = 1024**3
    #: Seconds after which a message that was not sent yet is dropped; 0: never.
    max_age: float = 0.0
    durability: Durability = "full"
    #: Seconds for which finished commands and their outcomes are remembered.
    commands_kept: float = 86_400.0
    #: Bytes of commands and outcomes; oldest finished ones are forgotten earlier when it is reached.
    commands_bytes: int = 64 * 1024**2
    #: Orders written in one transaction at most.
    batch: int = 250
    #: Bytes of messages kept in memory once for those to be sent next, once for those waiting for the disk.
    memory: int = 32 * 1024**2
    #: Seconds for which the news that a message is done may wait for other writing.
    done_delay: float = 0.1
    #: Bytes of the disk below which nothing is put that makes the file grow: what is there can still be sent then,
    #: which needs room itself. 0: the disk is used to its end.
    reserve: int = 16 * 1024**2
    #: Seconds between attempts to write while the disk takes nothing.
    retry: float = 1.0

    def __post_init__(self) -> None:
        if self.durability not in ("full", "normal"):
            raise ValueError(f"durability must be 'full' or 'normal', not {self.durability!r}")
        for name in ("max_bytes", "commands_bytes", "batch", "memory", "commands_kept", "done_delay", "retry"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)!r}")
        for name in ("max_age", "reserve"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or above, not {getattr(self, name)!r}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A message of the outbox. `seq` is its place in the order, and never used again. `released`: the broker has said
    that it has it (PUBREC), so only PUBREL may be sent, as long as the broker still knows the session. `id` is what
    `put` was given.
    """

    seq: int
    message: Message
    released: bool = False
    id: str = ""

    @property
    def mid(self) -> int:
        return mid(self.seq)


@dataclass(frozen=True, slots=True)
class Command:
    """A command that was journaled and has no outcome yet. `started`: it may have been carried out."""

    id: str
    topic: str
    body: bytes
    started: bool


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in the outbox; `oldest` in seconds, 0.0 when nothing waits."""

    messages: int = 0
    bytes: int = 0
    oldest: float = 0.0
