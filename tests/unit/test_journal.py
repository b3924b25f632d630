"""The journal on disk: what was stored is there again, and whatever is wrong with the file is one sentence."""

from __future__ import annotations

import contextlib
import logging
import resource
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evcore.endpoint import Outbox, OutboxFull, Stored
from evcore.net.journal import JournalError, JournalFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@contextlib.contextmanager
def outbox_of(path: Path, identity: str = "CP1", **options: Any) -> Iterator[Outbox]:
    with JournalFile(path) as file:
        yield Outbox(journal=file.station(identity), **options)


def put(outbox: Outbox, name: str, frame: bytes = b"[]", **more: Any) -> Stored:
    return outbox.put(name, "TransactionEvent", frame, name.endswith("?"), **more)


def kept(path: Path, identity: str = "CP1") -> list[Stored]:
    with outbox_of(path, identity) as outbox:
        return list(outbox)


@contextlib.contextmanager
def no_room(path: Path) -> Iterator[None]:
    """Until the end of the block no file of this process grows beyond what the journal's have now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = max(file.stat().st_size for file in path.parent.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_everything_of_a_message_is_there_again(path: Path) -> None:
    with outbox_of(path) as outbox:
        put(outbox, "a", b"\x00\xff[2]", version="ocpp1.6", transaction="mine")
        second = put(outbox, "b?")
        before = [replace(stored) for stored in outbox]
    assert kept(path) == before
    assert second.dispensable


def test_what_was_answered_is_gone_and_counts_are_kept(path: Path) -> None:
    with outbox_of(path, interval=60.0) as outbox:
        first, second = put(outbox, "a"), put(outbox, "b")
        outbox.transmitted(first)
        outbox.answered(first)
        outbox.transmitted(second)
        outbox.lost(second)
        outbox.transmitted(second)
        outbox.failed(second, 100.0)
    (found,) = kept(path)
    # The clock of the next process is another one: due at once.
    assert (found.id, found.transmissions, found.losses, found.due) == ("b", 1, 1, 0.0)


def test_the_number_of_a_transaction_outlives_the_process(path: Path) -> None:
    frame = b'[2,"s","StopTransaction",{"transactionId":-1}]'
    with outbox_of(path) as outbox:
        start = outbox.put("1", "StartTransaction", b"[]", False, transaction="mine")
        outbox.transmitted(start)
        outbox.answered(start, {"transactionId": 77})
    with outbox_of(path, "CP2") as outbox:
        assert outbox.put("s", "StopTransaction", frame, False, transaction="mine").frame == frame
    with outbox_of(path) as outbox:
        stop = outbox.put("s", "StopTransaction", frame, False, transaction="mine")
        assert stop.frame == frame.replace(b"-1", b"77")
        outbox.answered(stop)
    with outbox_of(path) as outbox:
        assert outbox.put("s", "StopTransaction", frame, False, transaction="mine").frame == frame


def test_the_file_is_its_owners_alone(path: Path) -> None:
    with outbox_of(path) as outbox:
        put(outbox, "a")
        assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
        assert len(list(path.parent.iterdir())) == 2


def test_stations_share_a_file(path: Path) -> None:
    with JournalFile(path) as file:
        one, two = (Outbox(journal=file.station(name)) for name in ("CP1", "CP2"))
        put(one, "a")
        put(two, "b")
        put(one, "c")
        assert file.stations() == ["CP1", "CP2"]
    assert [stored.id for stored in kept(path, "CP1")] == ["a", "c"]
    assert [stored.id for stored in kept(path, "CP2")] == ["b"]


def test_the_order_goes_on_after_a_restart(path: Path) -> None:
    for name in "abc":
        with outbox_of(path) as outbox:
            put(outbox, name)
    assert [stored.id for stored in kept(path)] == ["a", "b", "c"]


def test_the_file_is_opened_when_it_is_needed_and_again_after_close(path: Path) -> None:
    file = JournalFile(path)
    file.close()
    assert not path.exists()
    outbox = Outbox(journal=file.station("CP1"))
    file.close()
    put(outbox, "a")
    file.close()
    assert [stored.id for stored in kept(path)] == ["a"]


@pytest.mark.parametrize("synchronous", ["full", "normal"])
def test_how_sure_the_disk_must_be(path: Path, synchronous: Any) -> None:
    with JournalFile(path, synchronous=synchronous) as file:
        put(Outbox(journal=file.station("CP1")), "a")
    assert len(kept(path)) == 1


def test_there_is_no_other_sureness(path: Path) -> None:
    with pytest.raises(ValueError, match="'full' or 'normal'"):
        JournalFile(path, synchronous="off")  # type: ignore[arg-type]


ORDERS = st.lists(st.sampled_from(["put", "put?", "answered", "failed", "lost", "number", "reopen"]), max_size=30)


@settings(max_examples=30, deadline=None)
@given(ORDERS)
def test_the_file_holds_what_the_outbox_holds(orders: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, JournalFile(Path(folder) / "journal") as file:
        options: dict[str, Any] = {"size": 5, "attempts": 2, "losses": 1, "interval": 0.0}
        outbox = Outbox(journal=file.station("CP1"), **options)
        for number, order in enumerate(orders):
            if order.startswith("put"):
                action = ("StartTransaction", "StopTransaction")[number % 2]
                frame = b'[2,"x","%b",{"transactionId":-1}]' % action.encode()
                with contextlib.suppress(OutboxFull):
                    outbox.put(str(number), action, frame, order.endswith("?"), transaction="mine")
            elif order == "reopen":
                file.close()
                outbox = Outbox(journal=file.station("CP1"), **options)
            elif stored := outbox.head(0.0):
                outbox.transmitted(stored)
                if order == "failed":
                    outbox.failed(stored, 0.0)
                elif order == "lost":
                    outbox.lost(stored)
                else:
                    outbox.answered(stored, {"transactionId": 5} if order == "number" else None)
            held = [replace(stored, due=0.0) for stored in outbox]
            assert list(Outbox(journal=file.station("CP1"), **options)) == held


# Whatever is wrong with the file


def damaged(path: Path) -> None:
    with outbox_of(path) as outbox:
        for number in range(200):
            put(outbox, str(number), b"x" * 500)
    content = bytearray(path.read_bytes())
    # Into the pages of the table, past the header and the schema.
    content[3 * 4096 : 8 * 4096] = b"\xa5" * (5 * 4096)
    path.write_bytes(content)


def text(path: Path) -> None:
    path.write_text("this is no database, however long one looks at it. " * 100)


def cut_short(path: Path) -> None:
    with outbox_of(path) as outbox:
        for number in range(200):
            put(outbox, str(number), b"x" * 500)
    path.write_bytes(path.read_bytes()[:10000])


def of_another_program(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE message (a)")


def of_another_release(path: Path) -> None:
    kept(path)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 9")


def a_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (damaged, "is damaged"),
        (text, "is no journal, or is damaged beyond reading"),
        (cut_short, "is damaged"),
        (of_another_program, "is a database of another program"),
        (of_another_release, "layout 9, 1 is known"),
        (a_folder, "cannot be opened: Is a directory"),
    ],
)
def test_a_file_that_cannot_be_used(path: Path, spoil: Any, sentence: str) -> None:
    spoil(path)
    with pytest.raises(JournalError, match=sentence) as caught, outbox_of(path):
        pass
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(OSError, match=sentence):
        JournalFile(path).stations()


def test_one_process_at_a_time(path: Path) -> None:
    with (
        outbox_of(path) as outbox,
        pytest.raises(JournalError, match="in use by another process"),
        outbox_of(path),
    ):
        pass
    put(outbox, "a")


def test_a_disk_that_cannot_be_written(path: Path) -> None:
    """`put` raises and nothing is stored; when there is room again all goes on."""
    with outbox_of(path) as outbox:
        put(outbox, "a")
        with no_room(path), pytest.raises(JournalError, match="cannot be written"):
            put(outbox, "b", b"x" * 100_000)
        assert [stored.id for stored in outbox] == ["a"]
        put(outbox, "c")
    assert [stored.id for stored in kept(path)] == ["a", "c"]


def test_what_cannot_be_noted_is_noted_later(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An answer is handled whatever the disk does; one sentence in the log, not one a message."""
    with outbox_of(path) as outbox:
        for name in "abc":
            put(outbox, name)
        with no_room(path), caplog.at_level(logging.ERROR):
            for _ in range(2):
                stored = outbox.head(0.0)
                assert stored is not None
                outbox.transmitted(stored)
                outbox.answered(stored)
        assert len(caplog.records) == 1
        assert "may be sent once more than needed" in caplog.text
        put(outbox, "d")
    assert [stored.id for stored in kept(path)] == ["c", "d"]
