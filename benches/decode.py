"""Decode: frame bytes to a judged message; its variants; and what it takes to refuse an invalid one."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from functools import partial

from benches import ours, peers
from benches.frames import VARIANTS, Frame, frames, variant
from benches.measure import Contender, Effort, Record, check_answer, check_refusal, chosen, race, records, refusing
from benches.plan import Job


def jobs(effort: Effort, collect: Iterable[bool] = (True, False), only: Container[str] | None = None) -> Iterator[Job]:
    """The eight frames, with the garbage collector on and off; `only` these contenders (and the reference)."""
    for frame in frames():
        for on in collect:
            yield Job(f"decode {frame.action}{'' if on else ', gc off'}", partial(_decode, frame, effort, on, only))


def variant_jobs(effort: Effort) -> Iterator[Job]:
    """Keys shuffled, text beyond ASCII, pretty-printed: the readers that build everything."""
    for frame in frames():
        for name in VARIANTS:
            label = f"variants {frame.action}, {name}"
            yield Job(label, partial(_variant, variant(frame, name), effort))


def refusal_jobs(effort: Effort) -> Iterator[Job]:
    """Invalid frames, by those who judge; the reference is what orjson takes to parse the same bytes."""
    for frame in frames():
        yield Job(f"refuse {frame.action}", partial(_refuse, variant(frame, "invalid"), effort))


def _decode(frame: Frame, effort: Effort, collect: bool, only: Container[str] | None) -> list[Record]:
    contenders = chosen([*peers.decoders(frame), *ours.decoders(frame)], only)
    return _checked_race("decode", frame, contenders, effort, collect)


def _variant(frame: Frame, effort: Effort) -> list[Record]:
    contenders = chosen(
        [*peers.decoders(frame), *ours.decoders(frame)], {"msgspec", "msgspec typed", ours.DECODE, ours.PURE}
    )
    return _checked_race("variants", frame, contenders, effort, True)


def _checked_race(bench: str, frame: Frame, contenders: list[Contender], effort: Effort, gc: bool) -> list[Record]:
    invalid = variant(frame, "invalid").data
    for contender in contenders:
        check_answer(contender, frame.data, frame.value)
        if contender.refuses:
            check_refusal(contender, invalid)
    timings = race(contenders, frame.data, effort, gc)
    return records(bench, frame.action, frame.variant, contenders, timings, gc)


def _refuse(frame: Frame, effort: Effort) -> list[Record]:
    reference, *others = [*peers.decoders(frame), *ours.decoders(frame)]
    check_answer(reference, frame.data, frame.value)
    judging = [contender for contender in others if contender.refuses]
    for contender in judging:
        check_refusal(contender, frame.data)
    timings = race([reference, *map(refusing, judging)], frame.data, effort)
    return records("refuse", frame.action, frame.variant, [reference, *judging], timings, True)
