"""How much the proof does: `EVCORE_PROFILE=fast` (default, part of every test run) or `nightly`."""

from __future__ import annotations

import os
from typing import NamedTuple


class Sizes(NamedTuple):
    """Numbers of cases of one profile."""

    randoms: int
    """Random valid payloads per schema, beside the minimal, the full and the longest one."""
    mutations: int | None
    """Mutations per valid payload; None: every one of the minimal, full and random payloads."""
    longest: int
    """Mutations of the payload with everything at its bound (hundreds of kB of text in 2.1)."""
    longest_share: float
    """The share of schemas that get such a payload."""
    stock_every: int
    """Every how many cases the slow stock `jsonschema` judges as well; `jsonschema-rs` judges all."""
    scrambled: int
    """Hostile frames per version."""
    soak: int
    """Decodes in the leak test."""


PROFILES = {
    "fast": Sizes(randoms=1, mutations=5, longest=1, longest_share=0.2, stock_every=5, scrambled=3_000, soak=30_000),
    "nightly": Sizes(
        randoms=2, mutations=None, longest=40, longest_share=1, stock_every=4, scrambled=100_000, soak=400_000
    ),
}
PROFILE = os.environ.get("EVCORE_PROFILE", "fast")
SIZES = PROFILES[PROFILE]
