"""Transaction messages on disk: the journal of outboxes, in one SQLite file for the stations of one process.

Comes in: what an outbox stores, changes and removes. Goes out: at the next start, what is left. A message is on the
disk when `stored` returns (`synchronous="full"`), or with the operating system, which outlives the process but not a
power cut (`"normal"`). Refused: a file of another program or layout, a damaged one, one that another process has open,
a disk that is full or cannot be written, each with a JournalError of one sentence.

What is only noted (transmissions, removals) is not waited for: lost in a power cut, it costs one more transmission of
a message the CSMS knows by its id. Where it cannot be written it is kept in memory and written with the next message.

The library is SQLite, through Python's `sqlite3`: it is there already, and what it does when the power goes is tested
and written down.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias

from evcore.endpoint.outbox import Stored

__all__ = ["JournalError", "JournalFile", "StationJournal", "Synchronous"]

log = logging.getLogger("evcore.journal")

Synchronous: TypeAlias = Literal["full", "normal"]

#: "evOB" in SQLite's header, and the layout below.
_APPLICATION: Final = 0x65764F42
_LAYOUT: Final = 1
_TABLES: Final = (
    """CREATE TABLE message (
        station TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL, action TEXT NOT NULL, version TEXT NOT NULL,
        frame BLOB NOT NULL, dispensable INTEGER NOT NULL, "transaction" TEXT NOT NULL,
        transmissions INTEGER NOT NULL, losses INTEGER NOT NULL, PRIMARY KEY (station, number)
    ) WITHOUT ROWID""",
    """CREATE TABLE number (
        station TEXT NOT NULL, "transaction" TEXT NOT NULL, number INTEGER NOT NULL,
        PRIMARY KEY (station, "transaction")
    ) WITHOUT ROWID""",
)
_LOAD: Final = """
    SELECT number, id, action, frame, dispensable, transmissions, 0.0, losses, version, "transaction"
    FROM message WHERE station = ? ORDER BY number
"""
_INSERT: Final = """
    INSERT INTO message (station, number, id, action, frame, dispensable, transmissions, losses, version, "transaction")
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE: Final = "UPDATE message SET frame = ?, transmissions = ?, losses = ? WHERE station = ? AND number = ?"
_DELETE: Final = "DELETE FROM message WHERE station = ? AND number = ?"
_NUMBERS: Final = 'SELECT "transaction", number FROM number WHERE station = ?'
_NUMBER: Final = 'INSERT OR REPLACE INTO number (number, station, "transaction") VALUES (?, ?, ?)'
_FORGET: Final = 'DELETE FROM number WHERE station = ? AND "transaction" = ?'

#: Bytes of the write-ahead log that stay on the disk after it grew.
_LOG_LIMIT: Final = 1024 * 1024


class JournalError(OSError):
    """The journal cannot be read or written; the text is a sentence that names the file."""

    def __str__(self) -> str:
        return str(self.args[0])


class JournalFile:
    """The file. It is opened when the first station's messages are loaded, and made if it is not there; its folder must
    be. One process has it open at a time, one thread uses it; each worker process needs its own.
    """

    def __init__(self, path: Path | str, *, synchronous: Synchronous = "full") -> None:
        if synchronous not in ("full", "normal"):
            raise ValueError(f"synchronous must be 'full' or 'normal', not {synchronous!r}")
        self.path = Path(path)
        self._synchronous = synchronous
        self._database: sqlite3.Connection | None = None
        # By station and message or transaction: what could not be written yet.
        self._owed: dict[tuple[str, int | str], tuple[str, tuple[Any, ...]]] = {}

    def station(self, identity: str) -> StationJournal:
        """The journal for one station's outbox."""
        return StationJournal(self, identity)

    def stations(self) -> list[str]:
        """Identities that have messages in the file. Raises JournalError."""
        try:
            return [row[0] for row in self._open().execute("SELECT DISTINCT station FROM message ORDER BY station")]
        except sqlite3.Error as error:
            raise self._failure("read", error) from error

    def close(self) -> None:
        """Writes what is owed and closes; the file is opened again when it is needed."""
        database, self._database = self._database, None
        if database is None:
            return
        try:
            with database:
                self._pay(database)
        except sqlite3.Error as error:
            log.error("%s", self._failure("written", error))
        database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def load(self, identity: str) -> list[Stored]:
        return [
            Stored(number, call_id, action, frame, bool(dispensable), *rest)
            for number, call_id, action, frame, dispensable, *rest in self._rows(_LOAD, identity)
        ]

    def numbers(self, identity: str) -> dict[str, int]:
        return dict(self._rows(_NUMBERS, identity))

    def insert(self, identity: str, stored: Stored) -> None:
        """Returns when the message is on the disk. Raises JournalError; then it is not in the file."""
        row = (identity, stored.number, stored.id, stored.action, stored.frame, stored.dispensable)
        rest = (stored.transmissions, stored.losses, stored.version, stored.transaction)
        try:
            database = self._open()
            # Outside a transaction: SQLite ignores it within one.
            database.execute(f"PRAGMA synchronous = {self._synchronous}")
            with database:
                self._pay(database)
                database.execute(_INSERT, (*row, *rest))
        except sqlite3.Error as error:
            raise self._failure("written", error) from error
        self._owed.clear()

    def note(self, identity: str, subject: int | str, order: str, values: tuple[Any, ...]) -> None:
        """Changes a message, or what is known of a transaction, without waiting for the disk; does not raise."""
        known = bool(self._owed)
        self._owed[identity, subject] = (order, (*values, identity, subject))
        try:
            database = self._open()
            database.execute("PRAGMA synchronous = normal")
            with database:
                self._pay(database)
        except (sqlite3.Error, JournalError) as error:
            if not known:
                failure = error if isinstance(error, JournalError) else self._failure("written", error)
                log.error("%s; messages may be sent once more than needed", failure)
            return
        self._owed.clear()

    def _rows(self, query: str, identity: str) -> list[Any]:
        """Raises JournalError."""
        try:
            return self._open().execute(query, (identity,)).fetchall()
        except sqlite3.Error as error:
            raise self._failure("read", error) from error

    def _pay(self, database: sqlite3.Connection) -> None:
        for order, values in self._owed.values():
            database.execute(order, values)

    def _open(self) -> sqlite3.Connection:
        """Raises JournalError."""
        if self._database is not None:
            return self._database
        try:
            # Messages carry drivers' tokens: for the owner of the file alone. SQLite's log takes the mode over.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise JournalError(f"{self.path} cannot be opened: {error.strerror}") from error
        try:
            # The wait is for a process that is just ending.
            database = sqlite3.connect(self.path, timeout=1.0)
        except sqlite3.Error as error:
            raise self._failure("opened", error) from error
        try:
            self._prepare(database)
        except sqlite3.Error as error:
            database.close()
            raise self._failure("opened", error) from error
        except JournalError:
            database.close()
            raise
        self._database = database
        return database

    def _prepare(self, database: sqlite3.Connection) -> None:
        # Two processes on the same messages would each send them. The lock falls with the process, however it ends.
        database.execute("PRAGMA locking_mode = exclusive")
        database.execute("PRAGMA journal_mode = wal")
        database.execute(f"PRAGMA journal_size_limit = {_LOG_LIMIT}")
        with database:
            database.execute("BEGIN EXCLUSIVE")
            mark = database.execute("PRAGMA application_id").fetchone()[0]
            layout = database.execute("PRAGMA user_version").fetchone()[0]
            if (mark, layout) == (0, 0) and not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for table in _TABLES:
                    database.execute(table)
                database.execute(f"PRAGMA application_id = {_APPLICATION}")
                database.execute(f"PRAGMA user_version = {_LAYOUT}")
            elif mark != _APPLICATION:
                raise JournalError(f"{self.path} is a database of another program")
            elif layout != _LAYOUT:
                raise JournalError(f"{self.path} is a journal of another release (layout {layout}, {_LAYOUT} is known)")
        # A damaged file would be found out message by message, and in the middle of a charge.
        found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise JournalError(f"{self.path} is damaged: {str(found).splitlines()[-1]}")

    def _failure(self, what: str, error: sqlite3.Error) -> JournalError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_NOTADB:
            return JournalError(f"{self.path} is no journal, or is damaged beyond reading")
        if code == sqlite3.SQLITE_CORRUPT:
            return JournalError(f"{self.path} is damaged: {error}")
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return JournalError(f"{self.path} is in use by another process")
        if code == sqlite3.SQLITE_FULL:
            return JournalError(f"{self.path} cannot be written: the disk is full")
        return JournalError(f"{self.path} cannot be {what}: {error}")


class StationJournal:
    """The messages of one station in a `JournalFile`: the journal of its outbox."""

    __slots__ = ("_file", "_identity")

    def __init__(self, file: JournalFile, identity: str) -> None:
        self._file = file
        self._identity = identity

    def load(self) -> Iterable[Stored]:
        return self._file.load(self._identity)

    def numbers(self) -> Mapping[str, int]:
        return self._file.numbers(self._identity)

    def stored(self, stored: Stored) -> None:
        self._file.insert(self._identity, stored)

    def changed(self, stored: Stored) -> None:
        values = (stored.frame, stored.transmissions, stored.losses)
        self._file.note(self._identity, stored.number, _UPDATE, values)

    def removed(self, stored: Stored) -> None:
        self._file.note(self._identity, stored.number, _DELETE, ())

    def numbered(self, transaction: str, number: int | None) -> None:
        if number is None:
            self._file.note(self._identity, transaction, _FORGET, ())
        else:
            self._file.note(self._identity, transaction, _NUMBER, (number,))
