"""Limits: defaults of docs/codec.md §7, ranges, and that they are values."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from evcore import Limits

CONTRACT = Path(__file__).resolve().parents[2] / "docs" / "codec.md"


def test_defaults_are_the_documented_ones() -> None:
    defaults, highest = CONTRACT.read_text("utf-8").partition("## 7.")[2].split("Each is at least 1")
    documented = {name: int(value.replace(",", "")) for name, value in re.findall(r"`(\w+)` ([\d,]+)", defaults)}
    assert documented == Limits()._asdict()
    for name, value in re.findall(r"`(\w+)` (\d+)", highest):
        assert Limits(**{name: int(value)})._asdict()[name] == int(value)
        with pytest.raises(ValueError, match=f"between 1 and {value}"):
            Limits(**{name: int(value) + 1})


@pytest.mark.parametrize("name", Limits._fields)
@pytest.mark.parametrize("value", [0, -1, 1 << 31])
def test_out_of_range(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"limit {name} must be between 1 and"):
        Limits(**{name: value})


@pytest.mark.parametrize("value", [1.0, "64", True, None])
def test_not_an_int(value: object) -> None:
    with pytest.raises(TypeError, match="limit depth must be an int"):
        Limits(depth=value)  # type: ignore[arg-type]


def test_a_value() -> None:
    limits = Limits(depth=20)
    assert limits == Limits(depth=20) != Limits()
    assert pickle.loads(pickle.dumps(limits)) == limits
    with pytest.raises(AttributeError):
        limits.depth = 3  # type: ignore[misc]
