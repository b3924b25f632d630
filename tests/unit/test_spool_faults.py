"""What disks, other processes and people do to the spool's file: each is said in a sentence, and nothing is made up.

Disks are filled for real, in a process of its own: by the limit of file sizes, and on a small file system in memory
where the system lets us have one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from evcore.mqtt.message import Message
from evcore.mqtt.spool import (
    Spool,
    SpoolClosed,
    SpoolDamaged,
    SpoolError,
    SpoolForeign,
    SpoolGone,
    SpoolLocked,
    SpoolNoRoom,
    SpoolOptions,
    SpoolUnwritable,
)

PAYLOAD = os.urandom(5_000)
Room = Callable[[], None]


def options(path: Path, **values: float) -> SpoolOptions:
    values = {"retry": 0.05, "done_delay": 0.01, "reserve": 0, **values}
    return SpoolOptions(path=path, **values)  # type: ignore[arg-type]


async def put(spool: Spool, name: str) -> None:
    await spool.put(Message(name, PAYLOAD, qos=2), qos_class="billing", id=name)


async def all_of(spool: Spool) -> list[str]:
    topics: list[str] = []
    after = 0
    while entries := await asyncio.wait_for(spool.fetch(after, 20), 20):
        for entry in entries:
            assert entry.message.payload == PAYLOAD
        topics += [entry.message.topic for entry in entries]
        after = entries[-1].seq
    return topics


async def fill(spool: Spool) -> list[str]:
    """Up to the first message that does not fit, and eight at once then; those that are on the disk."""
    kept: list[str] = []
    for number in range(10_000):
        try:
            await put(spool, str(number))
        except SpoolNoRoom as error:
            said = str(error)
            break
        kept.append(str(number))
    else:
        raise AssertionError("the disk was never full")
    assert str(spool.options.path) in said
    names = [f"more {number}" for number in range(8)]
    results = await asyncio.gather(*(put(spool, name) for name in names), return_exceptions=True)
    assert all(result is None or isinstance(result, SpoolNoRoom) for result in results)
    assert spool.counts.refused["billing", "disk"] > 0
    assert spool.trouble is not None
    return kept + [name for name, result in zip(names, results) if result is None]


async def until_written(spool: Spool, name: str) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await put(spool, name)
            except SpoolNoRoom:
                await asyncio.sleep(0.01)
            else:
                return


async def goes_on(path: Path, make_room: Room) -> None:
    """A disk that is full, and has room again while the process runs: every put was told the truth."""
    spool = await Spool.open(options(path))
    kept = await fill(spool)
    assert spool.backlog.messages == len(kept)
    make_room()
    await until_written(spool, "last")
    assert spool.trouble is None
    assert await all_of(spool) == [*kept, "last"]
    await spool.close()
    spool = await Spool.open(options(path))
    assert await all_of(spool) == [*kept, "last"]
    await spool.close()


async def drains(path: Path, make_room: Room) -> None:
    """What is in the file can be sent while the disk takes nothing; what is released waits for it, or gets it."""
    spool = await Spool.open(options(path))
    await put(spool, "a")
    await put(spool, "b")
    first, second = await spool.fetch(0, 2)
    kept = await fill(spool)
    releasing = asyncio.ensure_future(spool.released(first.seq))
    spool.done(second.seq)
    await asyncio.sleep(0.2)
    assert spool.backlog.messages == len(kept) + 1
    make_room()
    await asyncio.wait_for(releasing, 20)
    await until_written(spool, "last")
    await spool.close()
    spool = await Spool.open(options(path))
    entries = await spool.fetch(0, 1)
    assert [(entry.message.topic, entry.released) for entry in entries] == [("a", True)]
    assert await all_of(spool) == ["a", *kept, "last"]
    await spool.close()


async def ends(path: Path, make_room: Room) -> None:
    """The process ends while the disk is full: what was kept is there, the release that was waited for is not told."""
    spool = await Spool.open(options(path))
    kept = await fill(spool)
    await spool.close()
    with pytest.raises(SpoolClosed):
        await spool.released(1)
    make_room()
    spool = await Spool.open(options(path))
    assert await all_of(spool) == kept
    await spool.close()


async def opens_full(path: Path, make_room: Room) -> None:
    """No room to begin with: said when it is opened."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    with pytest.raises(SpoolNoRoom, match=str(path)):
        await Spool.open(options(path))
    make_room()
    spool = await Spool.open(options(path))
    await spool.close()


async def works_on(path: Path, make_room: Room) -> None:
    """Others fill the disk to the last byte, and there is no great backlog: everything goes on as before."""
    spool = await Spool.open(options(path, reserve=16 * 1024**2))
    with path.with_name("others").open("wb", buffering=0) as others:
        with contextlib.suppress(OSError):
            while others.write(bytes(4_096)):
                pass
        for number in range(600):
            await asyncio.gather(*(put(spool, f"{number} {each}") for each in range(5)))
            entries = await spool.fetch(0, 5)
            await asyncio.gather(*(spool.released(entry.seq) for entry in entries))
            for entry in entries:
                spool.done(entry.seq)
        assert spool.trouble is None
        with pytest.raises(OSError, match="space"):
            others.write(bytes(4_096))
    await spool.close()


async def empties(path: Path, make_room: Room) -> None:
    """The spool itself has filled the disk, up to the reserve: what is there is sent, and then there is room again."""
    spool = await Spool.open(options(path, reserve=6_000_000))
    kept = await fill(spool)
    with path.with_name("others").open("wb", buffering=0) as others, contextlib.suppress(OSError):
        while others.write(bytes(4_096)):
            pass
    sent: list[str] = []
    after = 0
    while entries := await asyncio.wait_for(spool.fetch(after, 20), 20):
        await asyncio.wait_for(asyncio.gather(*(spool.released(entry.seq) for entry in entries)), 20)
        for entry in entries:
            spool.done(entry.seq)
        sent += [entry.message.topic for entry in entries]
        after = entries[-1].seq
    assert sent == kept
    await until_written(spool, "last")
    assert spool.trouble is None
    await spool.close()
    spool = await Spool.open(options(path))
    assert await all_of(spool) == ["last"]
    await spool.close()


SCENARIOS = {scenario.__name__: scenario for scenario in (goes_on, drains, ends, opens_full, works_on, empties)}


def main(scenario: str, path: str, how: str) -> None:
    """In a process of its own. `how`: "limit" or "ballast"."""
    file = Path(path)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    ballast = file.with_name("ballast")
    if how == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, hard))
    else:
        ballast.write_bytes(bytes(2_000_000))

    def make_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        ballast.unlink(missing_ok=True)

    asyncio.run(SCENARIOS[scenario](file, make_room))


def in_a_process(*command: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("scenario", ["goes_on", "drains", "ends", "opens_full"])
def test_a_file_that_may_not_grow(scenario: str, tmp_path: Path) -> None:
    in_a_process(sys.executable, __file__, scenario, str(tmp_path / "spool.db"), "limit")


def has_small_disks() -> bool:
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.parametrize("scenario", ["goes_on", "drains", "ends", "works_on", "empties"])
def test_a_disk_that_is_full(scenario: str, tmp_path: Path) -> None:
    if not has_small_disks():
        pytest.skip("no right to mount a small file system")
    mount = 'mount -t tmpfs -o size=20m tmpfs "$1" && exec "$2" "$3" "$4" "$1/spool.db" ballast'
    in_a_process("unshare", "-m", "sh", "-c", mount, "sh", str(tmp_path), sys.executable, __file__, scenario)


# Files.


async def made(path: Path, *names: str) -> None:
    spool = await Spool.open(options(path))
    for name in names:
        await put(spool, name)
    await spool.close()


async def refused(path: Path, kind: type[SpoolError], *words: str) -> None:
    with pytest.raises(SpoolError) as caught:
        await Spool.open(options(path))
    assert type(caught.value) is kind
    sentence = str(caught.value)
    assert "\n" not in sentence
    for word in (str(path), *words):
        assert word in sentence


async def test_no_folder(tmp_path: Path) -> None:
    await refused(tmp_path / "no" / "spool.db", SpoolUnwritable, str(tmp_path / "no"), "make it")


async def test_no_path(tmp_path: Path) -> None:
    with pytest.raises(SpoolUnwritable, match="no path of a file"):
        await Spool.open(options(tmp_path / "spool\0.db"))


async def test_a_link(tmp_path: Path) -> None:
    """Of the file, the log is beside the file itself; found again by either name."""
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "real" / "spool.db")
    await made(link, "a")
    spool = await Spool.open(options(tmp_path / "real" / "spool.db"))
    assert await all_of(spool) == ["a"]
    with pytest.raises(SpoolLocked, match="real"):
        await Spool.open(options(link))
    await spool.close()


async def test_a_folder_in_its_place(tmp_path: Path) -> None:
    await refused(tmp_path, SpoolUnwritable, "check")


async def test_not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    path.write_bytes(b"this is a file of another kind\n" * 1_000)
    await refused(path, SpoolDamaged, "no spool", "another path")
    assert path.read_bytes().startswith(b"this is")


async def test_another_program(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE theirs (a)")
    database.close()
    await refused(path, SpoolForeign, "another program")


async def test_a_newer_layout(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    await made(path, "a")
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 2")
    database.close()
    await refused(path, SpoolForeign, "a newer release", "layout 2")


@pytest.mark.parametrize("at", [0, 20, 100, 4_096, 3 * 4_096, 5 * 4_096 + 7])
async def test_damaged_pages(tmp_path: Path, at: int) -> None:
    """Noise over half a page anywhere: it is refused at the start, or what is given out is what was put."""
    path = tmp_path / "spool.db"
    names = [str(number) for number in range(40)]
    await made(path, *names)
    content = bytearray(path.read_bytes())
    content[at : at + 2_000] = b"\xa5" * 2_000
    path.write_bytes(content)
    try:
        spool = await Spool.open(options(path))
    except (SpoolDamaged, SpoolForeign) as error:
        said = str(error)
    else:
        said = ""
    if said:
        assert str(path) in said
        return
    found = await all_of(spool)
    assert found == [name for name in names if name in found]
    assert len(found) + spool.counts.dropped["billing", "damaged"] == 40
    await spool.close()


async def test_a_log_cut_short(tmp_path: Path) -> None:
    """A power cut within a write: the transactions before it are there, each whole."""
    path = tmp_path / "spool.db"
    spool = await Spool.open(options(path))
    names = [str(number) for number in range(20)]
    for name in names:
        await put(spool, name)
    whole, log = path.read_bytes(), (tmp_path / "spool.db-wal").read_bytes()
    await spool.close()
    torn = tmp_path / "torn"
    torn.mkdir()
    lengths = []
    for length in (*range(0, len(log), len(log) // 15), len(log)):
        (torn / "spool.db").write_bytes(whole)
        (torn / "spool.db-wal").write_bytes(log[:length])
        spool = await Spool.open(options(torn / "spool.db"))
        found = await all_of(spool)
        assert found == names[: len(found)]
        lengths.append(len(found))
        await spool.close()
    assert lengths == sorted(lengths)
    assert (lengths[0], lengths[-1]) == (0, 20)


CHILD = """
import asyncio, sys
from pathlib import Path
from evcore.mqtt.spool import Spool, SpoolOptions
async def main():
    spool = await Spool.open(SpoolOptions(path=Path(sys.argv[1])))
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await spool.close()
asyncio.run(main())
"""


async def test_another_process_has_it(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(path), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"open\n"
    await refused(path, SpoolLocked, "another process")
    process.kill()
    await process.communicate()
    await made(path, "a")


async def test_twice_in_one_process(tmp_path: Path) -> None:
    """The second one is refused and takes nothing away from the first: a third process still is, too."""
    path = tmp_path / "spool.db"
    spool = await Spool.open(options(path))
    await refused(path, SpoolLocked)
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", CHILD, str(path)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert "SpoolLocked" in done.stderr
    await put(spool, "a")
    assert await all_of(spool) == ["a"]
    await spool.close()


@pytest.mark.parametrize("suffix", ["", "-wal"])
@pytest.mark.parametrize("replaced", [False, True])
async def test_a_file_removed_beneath_us(tmp_path: Path, suffix: str, replaced: bool) -> None:
    """SQLite would go on writing to nowhere. Put back, the spool goes on."""
    path = tmp_path / "spool.db"
    spool = await Spool.open(options(path))
    await put(spool, "a")
    victim, aside = tmp_path / f"spool.db{suffix}", tmp_path / "aside"
    victim.rename(aside)
    if replaced:
        shutil.copy(aside, victim)
    with pytest.raises(SpoolGone, match="put it back"):
        await put(spool, "b")
    assert isinstance(spool.trouble, SpoolGone)
    aside.replace(victim)
    await put(spool, "c")
    assert spool.trouble is None
    assert await all_of(spool) == ["a", "c"]
    await spool.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_file_of_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    asyncio.run(made(path, "a"))
    # After the imports: the interpreter may be where nobody else may read.
    code = CHILD.replace("async def main", "import os; os.setgid(65534); os.setuid(65534)\nasync def main")
    path.chmod(0o444)
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=environment,
    )
    assert "SpoolUnwritable" in done.stderr, done.stderr


if __name__ == "__main__":
    main(*sys.argv[1:])
