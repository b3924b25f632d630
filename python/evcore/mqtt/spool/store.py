"""What is done to the spool's file inside a transaction: the outbox, its bounds and the order in which it gives way.

In: messages, numbers of those that are released or done, the bounds of the settings. Out: what changed, for the memory
of the loop's side. Refused: a message for which nothing may give way (SpoolFull).

Rows go in and out many at a time: each statement lets go of the interpreter's lock, and getting it back from a busy
loop takes longer than the statement.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Final

from evcore.mqtt.spool.clock import Clock, Reading
from evcore.mqtt.spool.entry import Entry, SpoolOptions
from evcore.mqtt.spool.errors import SpoolFull, explain
from evcore.mqtt.spool.file import SpoolFile
from evcore.mqtt.spool.rows import COLUMNS, RANKS, Held, Put, decode

__all__ = ["Changes", "Gone", "Store", "Totals", "listed"]

_COLUMNS: Final = "seq, rank, class, time, size, released, expires, crc, qos, retain, id, topic, properties, payload"
_PLACES: Final = "(" + ", ".join("?" * len(_COLUMNS.split(","))) + ")"
#: Rows of one INSERT, largest first: few different texts, so that SQLite has them ready.
_CHUNKS: Final = (128, 16, 4, 1)
_INSERTS: Final = {
    rows: f"INSERT INTO entry ({_COLUMNS}) VALUES " + ", ".join([_PLACES] * rows)  # noqa: S608 - no value in it
    for rows in _CHUNKS
}
#: Rows looked at in one go when some must give way.
_SLICE: Final = 256


@dataclass(frozen=True, slots=True)
class Gone:
    """An entry that was dropped: `reason` "full", "age", "expired" or "damaged"."""

    seq: int
    qos_class: str
    size: int
    reason: str


@dataclass(slots=True)
class Totals:
    messages: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Changes:
    """What a transaction did, in this order: `stored`, then `gone`. `refused`: classes of messages without room that
    came with something else.
    """

    stored: list[Held] = field(default_factory=list)
    gone: list[Gone] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


class Store:
    """`clock` makes the clock from what was noted last. `first`: number and time of the first entry when it was opened.
    Raises SpoolError.
    """

    def __init__(self, options: SpoolOptions, clock: Callable[[Reading | None], Clock]) -> None:
        self.options = options
        self.file = SpoolFile(options.path, options.durability)
        self.database = self.file.database
        try:
            state = self.database.execute("SELECT name, seq, sent, spool, wall, steady, boot FROM state").fetchone()
            self.totals = Totals(*self._one("SELECT count(*), coalesce(sum(size), 0) FROM entry"))
            self.first = self.lowest()
            self.commands_bytes: int = self._one("SELECT coalesce(sum(size), 0) FROM command")[0]
        except (sqlite3.Error, TypeError) as error:
            self.database.close()
            damage = error if isinstance(error, sqlite3.Error) else sqlite3.DatabaseError(str(error))
            raise explain(options.path, "read", damage) from error
        self.name: str = state[0]
        self.seq: int = state[1]
        self.sent: int = state[2]
        self.clock = clock(Reading(*state[3:]) if state[4] else None)
        self.changes = Changes()
        self._rows: list[tuple[Any, ...]] = []

    @contextmanager
    def transaction(self, *, durable: bool) -> Iterator[Changes]:
        """Raises SpoolError; then the file and what is known of it are as before."""
        before = (self.seq, self.sent, self.totals.messages, self.totals.bytes, self.commands_bytes)
        self.changes = changes = Changes()
        try:
            with self.file.transaction(durable=durable):
                yield changes
                self.flush()
                # Commands have their times, too.
                if durable or (self.seq, self.sent) != before[:2]:
                    self._note()
        except BaseException:
            self._rows.clear()
            self.seq, self.sent, self.totals.messages, self.totals.bytes, self.commands_bytes = before
            raise

    def put(self, puts: Sequence[Put], coming: int = 0) -> None:
        """All or none. `coming`: bytes that are to be put in this transaction, with these. Raises SpoolFull."""
        if not puts:
            return
        size = sum(put.size for put in puts)
        self._room(min(RANKS[put.qos_class] for put in puts), size, coming)
        now = self.clock.now()
        for put in puts:
            self.seq += 1
            expiry = put.message.expiry
            expires = now + expiry if expiry is not None else None
            lead = (self.seq, RANKS[put.qos_class], put.qos_class, now, put.size, 0, expires)
            self._rows.append((*lead, *put.row))
            entry = Entry(self.seq, put.message, False, put.id)
            self.changes.stored.append(Held(entry, put.qos_class, now, put.size, expires))
        self.totals.messages += len(puts)
        self.totals.bytes += size

    def flush(self) -> None:
        """Rows that were put, into the table."""
        rows, at = self._rows, 0
        for chunk in _CHUNKS:
            while len(rows) - at >= chunk:
                values = [value for row in rows[at : at + chunk] for value in row]
                self.database.execute(_INSERTS[chunk], values)
                at += chunk
        rows.clear()

    def release(self, numbers: Iterable[int]) -> None:
        self.flush()
        query = "UPDATE entry SET released = 1 WHERE seq IN (SELECT value FROM json_each(?))"
        self.database.execute(query, (listed(numbers),))

    def renew(self) -> None:
        """No entry is released any more."""
        self.flush()
        self.database.execute("UPDATE entry SET released = 0 WHERE released = 1 AND seq <= ?", (self.sent,))

    def done(self, sizes: dict[int, int]) -> None:
        """`sizes`: bytes by number, of entries that are in the file."""
        self._delete(sizes, sum(sizes.values()))

    def send(self, most: int) -> None:
        """The next `most` entries may go to the broker: from now on they are not dropped."""
        self.flush()
        query = "SELECT max(seq) FROM (SELECT seq FROM entry WHERE seq > ? ORDER BY seq LIMIT ?)"
        self.sent = self._one(query, self.sent, most)[0] or self.sent

    def send_all(self) -> None:
        self.sent = self.seq

    def lowest(self) -> tuple[int, float] | None:
        """Number and time of the first entry."""
        row = self.database.execute("SELECT seq, time FROM entry ORDER BY seq LIMIT 1").fetchone()
        return tuple(row) if row else None

    def age(self) -> None:
        """Drops what is too old, by the settings or by its own expiry."""
        now = self.clock.now()
        if self.options.max_age:
            # Times never fall from entry to entry: the old ones come first, and the first young one is the end.
            query = "SELECT seq, class, size, time FROM entry WHERE seq > ? ORDER BY seq LIMIT ?"
            limit = now - self.options.max_age
            old: list[Any] = [None]
            while old:
                found = self.database.execute(query, (self.sent, _SLICE)).fetchall()
                old = list(takewhile(lambda row: row[3] < limit, found))
                self._drop(old, "age")
        query = "SELECT seq, class, size FROM entry WHERE expires < ? AND seq > ?"
        self._drop(self.database.execute(query, (now, self.sent)).fetchall(), "expired")

    def read(self, after: int, bytes: int) -> tuple[list[Held], list[Gone], bool]:
        """Entries above `after`, at least one if there is one, more up to so many bytes; those that are damaged;
        whether these were all. Outside a transaction.
        """
        found: list[Held] = []
        damaged: list[Gone] = []
        query = f"SELECT {COLUMNS} FROM entry WHERE seq > ? ORDER BY seq LIMIT ?"  # noqa: S608 - our own names
        taken = rows = 0
        for row in self.database.execute(query, (after, self.options.batch)):
            rows += 1
            try:
                held = decode(row)
            except ValueError:
                damaged.append(Gone(row[0], str(row[1]), row[3] if isinstance(row[3], int) else 0, "damaged"))
                continue
            found.append(held)
            taken += held.size
            if taken >= bytes:
                return found, damaged, False
        return found, damaged, rows < self.options.batch

    def drop_damaged(self, damaged: Sequence[Gone]) -> None:
        self._delete([gone.seq for gone in damaged], sum(gone.size for gone in damaged))
        self.changes.gone.extend(damaged)

    def _room(self, rank: int, size: int, coming: int) -> None:
        """Raises SpoolFull; then nothing gave way."""
        most = self.options.max_bytes
        need = self.totals.bytes + size - most
        if need <= 0:
            return
        if size <= most and self._give_way(rank, need, max(need, min(self.totals.bytes + coming - most, most))):
            return
        raise SpoolFull(
            f"{self.options.path} holds {self.totals.bytes} bytes of {most} that are not sent, and none may give "
            f"way for {size} more; see why the broker does not take them, or raise the bound"
        )

    def _give_way(self, rank: int, need: int, want: int) -> bool:
        self.flush()
        gone: list[Any] = []
        freed = 0
        for lower in range(min(rank, 1) + 1):
            after, more = self.sent, True
            while freed < want and more:
                # The rank stands in the text so that SQLite sees that the index fits.
                query = f"SELECT seq, class, size FROM entry WHERE rank = {lower} AND seq > ? ORDER BY seq LIMIT ?"  # noqa: S608
                found = self.database.execute(query, (after, _SLICE)).fetchall()
                more = len(found) == _SLICE
                for row in found:
                    if freed < want:
                        gone.append(row)
                        freed += row[2]
                    after = row[0]
        if freed < need:
            return False
        self._drop(gone, "full")
        return True

    def _drop(self, rows: Sequence[Any], reason: str) -> None:
        if rows:
            gone = [Gone(seq, qos_class, size, reason) for seq, qos_class, size, *_ in rows]
            self._delete([entry.seq for entry in gone], sum(entry.size for entry in gone))
            self.changes.gone.extend(gone)

    def _delete(self, numbers: Iterable[int], size: int) -> None:
        query = "DELETE FROM entry WHERE seq IN (SELECT value FROM json_each(?))"
        self.totals.messages -= self.database.execute(query, (listed(numbers),)).rowcount
        self.totals.bytes -= size

    def _note(self) -> None:
        query = "UPDATE state SET seq = ?, sent = ?, spool = ?, wall = ?, steady = ?, boot = ?"
        self.database.execute(query, (self.seq, self.sent, *self.clock.read()))

    def _one(self, query: str, *values: Any) -> Any:
        return self.database.execute(query, values).fetchone()


def listed(numbers: Iterable[int]) -> str:
    """One value for any number of numbers: SQLite's `json_each` takes it apart."""
    return json.dumps(list(numbers))
