"""The SQLite file of the spool: opened, checked, locked; transactions that commit or leave nothing behind.

In: a path. Out: a connection inside a transaction. Refused, each with its SpoolError: a file of another process,
program or release, a damaged one, one that cannot be made or written, one that was removed while it was in use.

One thread uses it. The lock is SQLite's own and falls with the process, however it ends. A transaction that fails in
its COMMIT has failed: nothing of it is given out, whatever of it reached the disk.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from evcore.mqtt.spool.clock import Reading
from evcore.mqtt.spool.entry import Durability
from evcore.mqtt.spool.errors import SpoolError, SpoolForeign, SpoolGone, SpoolUnwritable, explain

__all__ = ["SpoolFile"]

log = logging.getLogger("evcore.mqtt.spool")

#: "evSP" in SQLite's header, and the layout below.
_APPLICATION: Final = 0x65765350
_LAYOUT: Final = 1
_TABLES: Final = (
    # `seq`: the last one given out; `sent`: entries up to this one may be with the broker. Then clock.Reading.
    """CREATE TABLE state (
        one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL, seq INTEGER NOT NULL, sent INTEGER NOT NULL,
        spool REAL NOT NULL, wall REAL NOT NULL, steady REAL NOT NULL, boot TEXT NOT NULL
    )""",
    # Small columns first: what is only counted is found without reading payloads.
    """CREATE TABLE entry (
        seq INTEGER PRIMARY KEY, rank INTEGER NOT NULL, class TEXT NOT NULL, time REAL NOT NULL, size INTEGER NOT NULL,
        released INTEGER NOT NULL, expires REAL, crc INTEGER NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL,
        id BLOB NOT NULL, topic BLOB NOT NULL, properties BLOB, payload BLOB NOT NULL
    )""",
    "CREATE INDEX entry_yielding ON entry (rank, seq) WHERE rank < 2",
    "CREATE INDEX entry_expiring ON entry (expires) WHERE expires IS NOT NULL",
    # `body` goes when the outcome comes.
    """CREATE TABLE command (
        number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, topic BLOB NOT NULL, body BLOB, started INTEGER NOT NULL,
        outcome BLOB, finished REAL, size INTEGER NOT NULL
    )""",
    "CREATE INDEX command_finished ON command (finished) WHERE finished IS NOT NULL",
    "CREATE INDEX command_unfinished ON command (number) WHERE finished IS NULL",
    "CREATE TABLE note (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
)

#: Bytes of the write-ahead log that stay on the disk, and free pages (4 KiB) that stay in the file, from the first
#: start on: with both, a spool without a great backlog works on when others fill its disk.
_LOG_LIMIT: Final = 5 * 1024 * 1024
_PAGE: Final = 4_096
_SPARE: Final = 1_024
#: Free pages given back in one go.
_GIVEN_BACK: Final = 256


class SpoolFile:
    def __init__(self, path: Path, durability: Durability) -> None:
        """Raises SpoolError."""
        try:
            # SQLite keeps its log beside the file itself, not beside a link to it.
            self.path = path.resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise SpoolUnwritable(f"{str(path)!r} is no path of a file: {error}; give another path") from error
        self._durability = durability
        self._files: dict[Path, tuple[int, int]] = {}
        self._make()
        try:
            # The wait is for a process that is just ending. Autocommit: transactions are begun by hand.
            self.database = sqlite3.connect(self.path, timeout=1.0, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise explain(self.path, "opened", error) from error
        try:
            self._prepare()
            self._remember()
        except (sqlite3.Error, OSError) as error:
            self.database.close()
            raise explain(self.path, "opened", error) from error

    @contextmanager
    def transaction(self, *, durable: bool) -> Iterator[sqlite3.Connection]:
        """`durable`: on the disk (as far as the durability of the settings goes) when it ends; otherwise with the
        system. Raises SpoolError; then nothing was changed. Other errors of the block leave nothing changed, either.
        """
        level = self._durability if durable else "normal"
        try:
            # Outside a transaction: SQLite ignores it within one.
            self.database.execute(f"PRAGMA synchronous = {level}")
            self.database.execute("BEGIN IMMEDIATE")
            yield self.database
            self.check()
            self.database.execute("COMMIT")
        except BaseException as error:
            self._undo()
            if isinstance(error, sqlite3.Error):
                raise explain(self.path, "written", error) from error
            raise

    def check(self) -> None:
        """Raises SpoolGone: SQLite would go on writing to a file that nobody finds again."""
        for file, identity in self._files.items():
            try:
                found = file.stat()
            except OSError:
                found = None
            if found is None or (found.st_dev, found.st_ino) != identity:
                raise SpoolGone(
                    f"{file} was removed or replaced while it was in use; "
                    "put it back, or stop the bridge and start it again with an empty spool"
                )

    def make_room(self) -> bool:
        """After a transaction found none: the log begins anew if all of it fits into the file."""
        try:
            self.check()
            busy, _, _ = self.database.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        except (sqlite3.Error, SpoolError):
            return False
        return not busy

    def free(self) -> int:
        """Bytes the disk has; as if there were room when it does not say."""
        try:
            return shutil.disk_usage(self.path).free
        except OSError:
            return sys.maxsize

    def spare(self) -> int:
        """Bytes that can be put into the file without making it grow. Raises sqlite3.Error."""
        return int(self.database.execute("PRAGMA freelist_count").fetchone()[0]) * _PAGE

    def tidy(self) -> bool:
        """Gives a part of the free pages back to the disk; False: there was nothing to give. Raises SpoolError."""
        try:
            spare = self.spare() // _PAGE - _SPARE
            if spare <= 0:
                return False
            self.check()
            self.database.execute("PRAGMA synchronous = normal")
            self.database.execute(f"PRAGMA incremental_vacuum({min(spare, _GIVEN_BACK)})").fetchall()
        except sqlite3.Error as error:
            self._undo()
            raise explain(self.path, "written", error) from error
        return spare > _GIVEN_BACK

    def close(self) -> None:
        try:
            self.check()
            self.database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except (sqlite3.Error, SpoolError) as error:
            log.error("%s", explain(self.path, "written", error))
        self.database.close()

    def _undo(self) -> None:
        try:
            if self.database.in_transaction:
                self.database.execute("ROLLBACK")
        except sqlite3.Error as error:
            log.error("%s", explain(self.path, "written", error))

    def _make(self) -> None:
        """Messages carry drivers' tokens: for the owner of the file alone. SQLite's log takes the mode over."""
        folder = self.path.parent
        try:
            try:
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            except FileExistsError:
                # Not opened: closing it again would take the lock of another spool in this process away.
                if self.path.stat().st_mode & 0o077:
                    self.path.chmod(0o600)
                return
            if os.name == "posix":
                # The name in the folder, too. Elsewhere folders are not opened.
                handle = os.open(folder, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
        except FileNotFoundError:
            raise SpoolUnwritable(f"{self.path} cannot be made: {folder} is not there; make it") from None
        except OSError as error:
            raise explain(self.path, "made", error) from error

    def _prepare(self) -> None:
        database = self.database
        database.execute(f"PRAGMA page_size = {_PAGE}")
        database.execute("PRAGMA locking_mode = exclusive")
        # Before the first table: an existing file keeps what it has.
        database.execute("PRAGMA auto_vacuum = incremental")
        database.execute("PRAGMA journal_mode = wal")
        database.execute(f"PRAGMA journal_size_limit = {_LOG_LIMIT}")
        database.execute("PRAGMA secure_delete = fast")
        database.execute(f"PRAGMA synchronous = {self._durability}")
        database.execute("BEGIN EXCLUSIVE")
        try:
            mark = database.execute("PRAGMA application_id").fetchone()[0]
            layout = database.execute("PRAGMA user_version").fetchone()[0]
            new = (mark, layout) == (0, 0)
            if new and not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                self._lay_out()
            elif mark != _APPLICATION:
                raise SpoolForeign(f"{self.path} is a database of another program; give another path")
            elif layout != _LAYOUT:
                age = "a newer" if layout > _LAYOUT else "another"
                raise SpoolForeign(
                    f"{self.path} is a spool of {age} release (layout {layout}, {_LAYOUT} is known); "
                    "run that release, or give another path"
                )
            database.execute("COMMIT")
        except BaseException:
            self._undo()
            raise
        if new:
            database.execute("CREATE TABLE spare (content BLOB)")
            database.execute("INSERT INTO spare VALUES (zeroblob(?))", (_SPARE * _PAGE,))
            database.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
        # Also one whose making was interrupted.
        database.execute("DROP TABLE IF EXISTS spare")
        # A damaged file would be found out message by message.
        found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            damage = sqlite3.DatabaseError(str(found).splitlines()[-1])
            damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damage

    def _lay_out(self) -> None:
        for table in _TABLES:
            self.database.execute(table)
        zero = Reading(0.0, 0.0, 0.0, "")
        self.database.execute("INSERT INTO state VALUES (1, ?, 0, 0, ?, ?, ?, ?)", (secrets.token_hex(6), *zero))
        self.database.execute(f"PRAGMA application_id = {_APPLICATION}")
        self.database.execute(f"PRAGMA user_version = {_LAYOUT}")

    def _remember(self) -> None:
        for file in (self.path, self.path.with_name(self.path.name + "-wal")):
            found = file.stat()
            self._files[file] = (found.st_dev, found.st_ino)
