"""Check: the verdict on a payload that exists as Python objects already."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benches import ours, peers
from benches.frames import Frame, frames, variant
from benches.measure import Effort, Record, check_answer, race, records
from benches.plan import Job


def jobs(effort: Effort) -> Iterator[Job]:
    """The eight payloads, valid, and each with its one fault."""
    for frame in frames():
        for name in ("plain", "invalid"):
            yield Job(f"check {frame.action}, {name}", partial(_check, frame, name, effort))


def _check(frame: Frame, name: str, effort: Effort) -> list[Record]:
    payload = (frame if name == "plain" else variant(frame, name)).literal[3]
    contenders = [*peers.checkers(frame), *ours.checkers(frame)]
    for contender in contenders:
        check_answer(contender, payload, name == "plain")
    return records("check", frame.action, name, contenders, race(contenders, payload, effort), True)
