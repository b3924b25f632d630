"""The codec's verdicts against `jsonschema` and `jsonschema-rs`, over all 387 schemas and every single-field mutation.

`EVCORE_PROFILE=nightly` judges each mutation of each payload (over 200,000 cases); the default takes a sample of each.
Run with ``-rP`` (or read the terminal summary of a nightly run) for the counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from proof.backends import BACKENDS
from proof.generate import Mode
from proof.inventory import FOLDERS, Entry, entries
from proof.judge import Judge
from proof.mutate import bases, mutations, sampled
from proof.sizes import SIZES


def cases(entry: Entry, rng: Random) -> Iterator[tuple[str, Any]]:
    """Valid payloads of one schema, and mutations of each."""
    whole_floats = entry.version != "ocpp1.6"
    for mode, document in bases(entry.inlined, rng, whole_floats=whole_floats, randoms=SIZES.randoms):
        if mode is Mode.LONGEST and rng.random() > SIZES.longest_share:
            continue
        yield f"valid, {mode.name.lower()}", document
        most = SIZES.longest if mode is Mode.LONGEST else SIZES.mutations
        if most is None:
            yield from mutations(entry.inlined, document, rng, whole_floats=whole_floats)
        else:
            yield from sampled(entry.inlined, document, rng, most, whole_floats=whole_floats)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("version", FOLDERS)
def test_verdicts(backend: str, version: str) -> None:
    judge = Judge(backend, SIZES.stock_every)
    for entry in entries():
        if entry.version == version:
            rng = Random(f"{entry}")
            for what, document in cases(entry, rng):
                judge.judge(entry, document, what, rng)
    print(version, judge.report())
    assert not judge.disagreements, "\n".join(judge.disagreements[:10])
    assert 0 < judge.valid < judge.cases
