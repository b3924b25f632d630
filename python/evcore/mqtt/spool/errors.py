"""What can go wrong with the spool's file, each with a type of its own and a sentence for the operator.

In: SQLite's and the system's errors. Out: a SpoolError whose text says what happened, to which file, and what to do.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

__all__ = [
    "SpoolClosed",
    "SpoolDamaged",
    "SpoolError",
    "SpoolForeign",
    "SpoolFull",
    "SpoolGone",
    "SpoolLocked",
    "SpoolNoRoom",
    "SpoolUnwritable",
    "explain",
]


class SpoolError(OSError):
    """The spool cannot keep or give what it was asked for; the text is a sentence that names the file."""

    def __str__(self) -> str:
        return str(self.args[0])


class SpoolFull(SpoolError):
    """The bound of the settings is reached and nothing may give way for this. Passes as soon as messages are sent."""


class SpoolNoRoom(SpoolError):
    """The disk, the quota or the size of a file is at its end, or the disk fails. The spool goes on when it can."""


class SpoolUnwritable(SpoolError):
    """The file or its folder cannot be made, opened or written."""


class SpoolGone(SpoolError):
    """The file was removed or replaced while it was in use. The spool goes on when it is back."""


class SpoolLocked(SpoolError):
    """Another process has the file open."""


class SpoolForeign(SpoolError):
    """The file is another program's, or another release's."""


class SpoolDamaged(SpoolError):
    """The file's content is damaged."""


class SpoolClosed(SpoolError):
    """The spool was closed before it came to this."""


def explain(path: Path, doing: str, error: sqlite3.Error | OSError) -> SpoolError:
    """`doing`: "made", "opened", "written" or "read"."""
    if isinstance(error, SpoolError):
        return error
    if isinstance(error, OSError):
        reason = error.strerror or os.strerror(error.errno or 0)
        return SpoolUnwritable(f"{path} cannot be {doing}: {reason}; check the path, its owner and the mount")
    code = getattr(error, "sqlite_errorcode", 0)
    match code & 0xFF:
        case sqlite3.SQLITE_NOTADB:
            return SpoolDamaged(
                f"{path} is no spool, or is damaged beyond reading; give another path, or move it away to start empty"
            )
        case sqlite3.SQLITE_CORRUPT:
            return SpoolDamaged(
                f"{path} is damaged ({error}); move it away to start empty, and keep it: its messages were not all sent"
            )
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return SpoolLocked(f"{path} is in use by another process; stop that one, or give this one its own path")
        case sqlite3.SQLITE_FULL:
            return SpoolNoRoom(f"{path} cannot be {doing}: the disk is full; make room on it")
        case sqlite3.SQLITE_IOERR:
            return SpoolNoRoom(
                f"{path} cannot be {doing}: {error}; look at the disk's health, its quota and the limit of file sizes"
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_AUTH:
            return SpoolUnwritable(f"{path} cannot be {doing}: {error}; check its owner, its mode and the mount")
        case _:
            return SpoolError(f"{path} cannot be {doing}: {error}")
