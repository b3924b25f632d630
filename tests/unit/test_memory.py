"""The memory of answers: what it keeps and for how long, CALLs at work for a connection that is gone, hand-over."""

from __future__ import annotations

import json

import pytest

from evcore.endpoint import Memory
from evcore.endpoint.memory import Waiting


class Heir:
    """Who waits for an answer."""

    def __init__(self) -> None:
        self.got: list[tuple[int, bytes, float | None]] = []

    def adopt(self, fingerprint: int, reply: bytes, now: float | None) -> None:
        self.got.append((fingerprint, reply, now))


def test_an_empty_memory() -> None:
    memory = Memory()
    assert len(memory) == 0
    assert memory.find(1, 0.0) is None
    assert not memory.knows(1, 0.0)
    memory.reconnected()
    memory.finished(1, b"x", 0.0)
    assert memory.export() == {"answers": []}


@pytest.mark.parametrize("size", [2, 3, 8, 32, 33])
def test_bounded_in_number(size) -> None:
    memory = Memory(size)
    for number in range(200):
        memory.store(number, b"%d" % number, 0.0, True)
        assert len(memory) <= size
        kept = [older for older in range(number + 1) if memory.find(older, 0.0) is not None]
        assert kept == list(range(number + 1))[-len(kept) :], "the oldest go first"
        assert len(kept) >= min(number + 1, size // 2 + 1), "half of them are kept at least, beside the newest"
        assert memory.find(number, 0.0) == b"%d" % number


@pytest.mark.parametrize("size", [1, 0, -1])
def test_too_small(size) -> None:
    with pytest.raises(ValueError, match="at least"):
        Memory(size)


def test_bounded_in_time() -> None:
    memory = Memory(seconds=100)
    memory.store(1, b"x", 5.0, True)
    assert memory.find(1, 105.0) == b"x"
    assert memory.knows(1, 105.0)
    assert memory.find(1, 105.1) is None
    assert not memory.knows(1, 105.1)


def test_kept_for_half_the_time_however_many_generations_pass() -> None:
    memory = Memory(size=32, seconds=100)
    for number in range(50):
        memory.store(number, b"x", number * 12.5, True)
        for older in range(number + 1):
            age = (number - older) * 12.5
            if age <= 50:
                assert memory.find(older, number * 12.5) is not None
            if age > 100:
                assert memory.find(older, number * 12.5) is None
        assert len(memory) <= 13, "what is too old is not kept either"


def test_a_second_answer_takes_the_place_of_the_first() -> None:
    memory = Memory()
    memory.store(1, b"x", 0.0, True)
    memory.store(1, b"y", 1.0, True)
    assert memory.find(1, 1.0) == b"y"
    assert len(memory) == 1


def test_what_a_reconnect_leaves() -> None:
    memory = Memory(4)
    for number in range(4):
        memory.store(number, b"x", 0.0, number % 2 == 0)
    memory.reconnected()
    assert [memory.find(number, 0.0) for number in range(4)] == [b"x", None, b"x", None]


def test_the_answer_reaches_who_waits_last() -> None:
    memory, first, second = Memory(), Heir(), Heir()
    assert not memory.join(1, first), "it is not at work"
    memory.running(1)
    assert memory.is_running(1)
    assert memory.knows(1, 0.0)
    assert not memory.is_awaited(1)
    assert memory.join(1, first)
    assert memory.join(1, second)
    memory.part(1, first)
    assert memory.is_awaited(1), "it had given way to another"
    memory.finished(1, b"x", 3.0)
    assert (first.got, second.got) == ([], [(1, b"x", 3.0)])
    assert not memory.knows(1, 3.0)
    memory.finished(1, b"y", 4.0)
    assert len(second.got) == 1


def test_who_parts_gets_nothing() -> None:
    memory, heir = Memory(), Heir()
    memory.running(1)
    memory.join(1, heir)
    memory.part(1, heir)
    assert not memory.is_awaited(1)
    assert memory.is_running(1), "it is at work all the same"
    memory.finished(1, b"x", None)
    assert not heir.got


def test_calls_at_work_are_bounded() -> None:
    """Owners that never answer, and connections that come and go."""
    memory, heir = Memory(4), Heir()
    memory.running(0)
    memory.join(0, heir)
    for number in range(1, 50):
        memory.running(number)
        assert sum(memory.is_running(key) for key in range(50)) <= 4
        assert memory.is_running(number)
        assert memory.is_awaited(0), "the one that somebody waits for stays"
    for number in range(46, 50):
        memory.join(number, heir)
    memory.running(99)
    assert not memory.is_running(99), "all are waited for"


def test_hand_over() -> None:
    memory = Memory(4)
    memory.store(1, '[3,"ü",{}]'.encode(), 0.0, True)
    memory.store(2, b"heartbeat", 0.0, False)
    memory.store(3, b"y", 0.0, True)
    state = json.loads(json.dumps(memory.export()))
    other = Memory(4)
    other.restore(state, 10.0)
    assert [other.find(number, 10.0) for number in (1, 2, 3)] == ['[3,"ü",{}]'.encode(), None, b"y"]
    other.reconnected()
    assert len(other) == 2


def test_a_hand_over_that_is_too_large() -> None:
    memory = Memory(4)
    memory.restore({"answers": [[number, "x"] for number in range(100)]}, 0.0)
    assert len(memory) <= 4
    memory.restore({}, 0.0)


def test_the_protocol() -> None:
    heir: Waiting = Heir()
    assert heir.adopt(1, b"", None) is None
