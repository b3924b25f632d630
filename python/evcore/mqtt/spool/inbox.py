"""Commands and notes in the spool's file, inside a transaction of its store.

In: ids, topics and bodies as they came, outcomes, notes. Out: what is known of them. Refused: a command for which there
is no room (SpoolFull); what was not finished never gives way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from evcore.mqtt.spool.entry import Command
from evcore.mqtt.spool.errors import SpoolFull
from evcore.mqtt.spool.rows import Put, packed, unpacked
from evcore.mqtt.spool.store import Store, listed

__all__ = ["finish", "forget", "journal", "note", "notes", "outcome", "started", "unfinished"]

#: Bytes a row takes beside its content, roughly.
_ROW: Final = 128


def journal(store: Store, id: bytes, topic: bytes, body: bytes) -> Literal["new", "known"]:
    """Raises SpoolFull."""
    if store.database.execute("SELECT 1 FROM command WHERE id = ?", (id,)).fetchone():
        return "known"
    size = len(id) + len(topic) + len(body) + _ROW
    _trim(store, size)
    if store.commands_bytes + size > store.options.commands_bytes:
        raise SpoolFull(
            f"{store.options.path} holds {store.commands_bytes} bytes of commands without an outcome, "
            f"{store.options.commands_bytes} are allowed; wait for them, or raise the bound"
        )
    query = "INSERT INTO command (id, topic, body, started, size) VALUES (?, ?, ?, 0, ?)"
    store.database.execute(query, (id, topic, body, size))
    store.commands_bytes += size
    return "new"


def started(store: Store, id: bytes) -> None:
    store.database.execute("UPDATE command SET started = 1 WHERE id = ?", (id,))


def finish(store: Store, id: bytes, outcome: bytes, messages: Sequence[Put]) -> bool:
    query = "SELECT size, finished FROM command WHERE id = ?"
    before, finished = store.database.execute(query, (id,)).fetchone() or (0, None)
    if finished is not None:
        return False
    size = len(id) + len(outcome) + _ROW
    store.database.execute(
        """INSERT INTO command (id, topic, started, outcome, finished, size) VALUES (:id, x'', 1, :outcome, :now, :size)
        ON CONFLICT (id) DO UPDATE SET topic = x'', body = NULL, outcome = :outcome, finished = :now, size = :size""",
        {"id": id, "outcome": outcome, "now": store.clock.now(), "size": size},
    )
    store.commands_bytes += size - before
    try:
        store.put(messages)
    except SpoolFull:
        store.changes.refused.extend(put.qos_class for put in messages)
        return False
    finally:
        _trim(store, 0)
    return True


def outcome(store: Store, id: bytes) -> str | None:
    found = store.database.execute("SELECT outcome FROM command WHERE id = ?", (id,)).fetchone()
    return unpacked(found[0]) if found and found[0] is not None else None


def unfinished(store: Store) -> list[Command]:
    query = "SELECT id, topic, body, started FROM command WHERE finished IS NULL ORDER BY number"
    return [
        Command(unpacked(name), unpacked(topic), body, bool(begun))
        for name, topic, body, begun in store.database.execute(query)
    ]


def forget(store: Store) -> None:
    """Finished commands that were kept long enough."""
    query = "SELECT number, size FROM command WHERE finished < ? ORDER BY finished LIMIT ?"
    _delete(store, query, store.clock.now() - store.options.commands_kept, store.options.batch)


def note(store: Store, key: bytes, value: str | None) -> None:
    if value is None:
        store.database.execute("DELETE FROM note WHERE key = ?", (key,))
    else:
        store.database.execute("INSERT OR REPLACE INTO note VALUES (?, ?)", (key, packed(value)))


def notes(store: Store, prefix: bytes) -> dict[str, str]:
    # No byte of UTF-8 is 0xFF.
    query = "SELECT key, value FROM note WHERE key >= ? AND key < ? ORDER BY key"
    found = store.database.execute(query, (prefix, prefix + b"\xff"))
    return {unpacked(key): unpacked(value) for key, value in found}


def _trim(store: Store, size: int) -> None:
    """Finished commands are forgotten, oldest first, until `size` more fits or none is left."""
    query = "SELECT number, size FROM command WHERE finished IS NOT NULL AND finished <= ? ORDER BY finished LIMIT ?"
    while store.commands_bytes + size > store.options.commands_bytes:
        if not _delete(store, query, store.clock.now(), 16):
            break


def _delete(store: Store, query: str, *values: float) -> bool:
    found = store.database.execute(query, values).fetchall()
    if found:
        numbers = listed(number for number, _ in found)
        store.database.execute("DELETE FROM command WHERE number IN (SELECT value FROM json_each(?))", (numbers,))
        store.commands_bytes -= sum(size for _, size in found)
    return bool(found)
