"""What the bridge must not lose, in one SQLite file: messages for the broker, commands from it, small notes.

In: messages of QoS 1 and 2, commands and their outcomes, notes. Out: the same, in order, also after a kill; a put that
returned is on the disk. Refused, each with a SpoolError of one sentence: a file of another process, program or release,
a damaged one, one that is full or cannot be written. docs/mqtt.md says what is dropped when, and what it costs.
"""

from __future__ import annotations

from evcore.mqtt.spool.entry import MIDS, Backlog, Command, Entry, SpoolOptions, mid
from evcore.mqtt.spool.errors import (
    SpoolClosed,
    SpoolDamaged,
    SpoolError,
    SpoolForeign,
    SpoolFull,
    SpoolGone,
    SpoolLocked,
    SpoolNoRoom,
    SpoolUnwritable,
)
from evcore.mqtt.spool.seams import Inbox, Notes
from evcore.mqtt.spool.spool import Spool, SpoolCounts

__all__ = [
    "MIDS",
    "Backlog",
    "Command",
    "Entry",
    "Inbox",
    "Notes",
    "Spool",
    "SpoolClosed",
    "SpoolCounts",
    "SpoolDamaged",
    "SpoolError",
    "SpoolForeign",
    "SpoolFull",
    "SpoolGone",
    "SpoolLocked",
    "SpoolNoRoom",
    "SpoolOptions",
    "SpoolUnwritable",
    "mid",
]
