"""Encode: Python objects to frame bytes, judged first by those who judge.

The objects are what a handler's own literals are: CPython has one object for each key and each identifier-like word of
a program, and evcore knows those again. Objects whose strings were made at run time (by another parser, say) are a line
of their own.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from functools import partial

from benches import ours, peers
from benches.frames import Frame, frames, variant
from benches.measure import Effort, Record, check_answer, check_refusal, chosen, race, records
from benches.plan import Job


def jobs(effort: Effort, collect: Iterable[bool] = (True, False), only: Container[str] | None = None) -> Iterator[Job]:
    """The eight frames, with the garbage collector on and off; `only` these contenders (and the reference)."""
    for frame in frames():
        for on in collect:
            yield Job(f"encode {frame.action}{'' if on else ', gc off'}", partial(_encode, frame, effort, on, only))


def _encode(frame: Frame, effort: Effort, collect: bool, only: Container[str] | None) -> list[Record]:
    contenders = chosen([*peers.encoders(frame), *ours.encoders(frame)], only)
    value, invalid = frame.literal, variant(frame, "invalid").literal
    for contender in contenders:
        check_answer(contender, value, value)
        if contender.refuses:
            check_refusal(contender, invalid)
    timings = race(contenders, value, effort, collect)
    return records("encode", frame.action, "plain", contenders, timings, collect)
