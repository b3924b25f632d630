"""Numbers by their decimal text, where a double would round the answer away."""

from __future__ import annotations

import math

__all__ = ["decimal_places", "double", "is_integer_literal", "is_whole", "plain"]


def decimal_places(text: str) -> int:
    """How many digits a JSON number needs after the point: 2 for ``6.25``, 0 for ``3e2``, 1 for ``0.10``.

    So ``decimal_places(text) <= k`` is "a multiple of 10^-k".
    """
    mantissa, _, exponent = text.lower().partition("e")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = whole + fraction
    significant = digits.rstrip("0")
    if not significant:
        return 0
    trailing_zeros = len(digits) - len(significant)
    return max(0, len(fraction) - trailing_zeros - int(exponent or 0))


def is_whole(text: str) -> bool:
    """Whether a number's decimal text is whole: an integer in draft-06."""
    return decimal_places(text) == 0


def is_integer_literal(text: str) -> bool:
    """Whether a number is written without point and exponent: an integer in draft-04."""
    return text.lstrip("-").isdigit()


def double(number: float) -> float:
    """The double nearest to a number; bounds are compared as doubles."""
    try:
        return float(number)
    except OverflowError:
        return -math.inf if number < 0 else math.inf


def plain(number: float) -> str:
    """A schema's number as a person writes it: ``0``, ``100``, ``0.1``."""
    return str(int(number)) if number == int(number) else repr(number)
