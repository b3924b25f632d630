"""Random numbers of one station, in a few bytes.

In: a seed and a name. Out: the same numbers for the same two, on every platform and in every release of Python. The
generator is splitmix64 (Steele, Lea, Flood 2014): `random.Random` would cost each station 2.5 kB of state. Never for
secrets.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Final, TypeVar

__all__ = ["Rng"]

T = TypeVar("T")

_MASK: Final = 0xFFFFFFFFFFFFFFFF


class Rng:
    """A stream of random numbers for a seed and a name."""

    __slots__ = ("_state",)

    def __init__(self, seed: int, name: str) -> None:
        digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
        self._state = int.from_bytes(digest, "big")

    def bits(self) -> int:
        """64 random bits."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def random(self) -> float:
        """0 ≤ number < 1."""
        # As `bits`, once more: this is asked for most, and a call costs as much as the numbers.
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((mixed ^ (mixed >> 31)) >> 11) * 2.0**-53

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.random()

    def between(self, bounds: tuple[float, float]) -> float:
        return self.uniform(*bounds)

    def below(self, bound: int) -> int:
        """A whole number, 0 ≤ number < bound."""
        return self.bits() * bound >> 64

    def choice(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def weighted(self, items: Sequence[T], weights: Sequence[float]) -> T:
        """One of `items`, each as often as its weight says; the weights need not add up to one."""
        point = self.random() * sum(weights)
        for item, weight in zip(items, weights, strict=True):
            point -= weight
            if point < 0:
                return item
        return items[-1]

    def exponential(self, mean: float) -> float:
        """The time until the next of events that happen every `mean` on average."""
        return -mean * math.log(1.0 - self.random())
