"""What the samples of a soak say: does memory grow, do objects pile up?

In: samples over time. Out: sentences for what is wrong, none when all is well. The first fifth is warming up. What is
left is judged by its first and its last third, each by its median, so that one sample proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import linear_regression, median
from typing import Final

__all__ = ["MIB", "Sample", "judge", "slope"]

MIB: Final = 1024 * 1024

#: Growth that is noise: of resident memory in bytes, of objects of one type, of memory blocks; each of these and the
#: share both must be exceeded.
BYTES, OBJECTS, BLOCKS = 8 * MIB, 1_000, 20_000
SHARE: Final = 0.05


@dataclass(frozen=True)
class Sample:
    """`at` seconds after the start; `rss` in bytes; `files`: open descriptors; `types`: objects by type."""

    at: float
    rss: int
    files: int
    blocks: int = 0
    types: dict[str, int] = field(default_factory=dict)


def settled(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Without the time of warming up."""
    start = samples[-1].at / 5 if samples else 0.0
    return [sample for sample in samples if sample.at >= start]


def slope(samples: Sequence[Sample]) -> float:
    """Growth of resident memory, MiB an hour."""
    kept = settled(samples)
    if len(kept) < 2:
        return 0.0
    return linear_regression([each.at for each in kept], [each.rss for each in kept]).slope * 3600 / MIB


def judge(samples: Sequence[Sample]) -> list[str]:
    """What is wrong. Raises ValueError for fewer than six samples after warming up: nothing can be said of those."""
    kept = settled(samples)
    if len(kept) < 6:
        raise ValueError(f"{len(kept)} samples are too few")
    wrong = []

    def compare(what: str, value: Callable[[Sample], float], noise: float, unit: float = 1.0) -> None:
        before, after = (median(map(value, part)) for part in (kept[: len(kept) // 3], kept[-(len(kept) // 3) :]))
        if after - before > max(noise, SHARE * before):
            wrong.append(f"{what}: {before / unit:,.0f} grew to {after / unit:,.0f}")

    compare("resident memory, MiB", lambda each: each.rss, BYTES, MIB)
    compare("allocated blocks", lambda each: each.blocks, BLOCKS)
    for name in sorted({name for each in kept for name in each.types}):
        compare(f"objects of {name}", lambda each, name=name: each.types.get(name, 0), OBJECTS)  # type: ignore[misc]
    return wrong
