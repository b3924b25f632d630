"""What a run consists of: jobs, each a race (or a few fresh processes) that yields records."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from benches.measure import Record


class Job(NamedTuple):
    """One step of a run; `label` is what the progress bar says while it works."""

    label: str
    work: Callable[[], list[Record]]
