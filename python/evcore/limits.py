"""Bounds on what one frame may cost. In: seven counts. Out: an immutable `Limits`. Refused: counts out of range."""

from __future__ import annotations

from typing import Final, NamedTuple, Self

__all__ = ["Limits"]

# Lowest and highest value of each limit. The highest ones keep every limit below what Python itself can bear: its stack
# (1,000 frames, of which a level takes up to three) and its conversion of digits to int (never refused up to 640).
_RANGES: Final[dict[str, tuple[int, int]]] = {
    "frame_bytes": (1, 1 << 30),
    "depth": (1, 128),
    "id_chars": (1, 255),
    "string_bytes": (1, 1 << 30),
    "number_chars": (1, 640),
    "items": (1, 1 << 30),
    "violations": (1, 10_000),
}


class _Fields(NamedTuple):
    frame_bytes: int = 1_048_576
    depth: int = 64
    id_chars: int = 36
    string_bytes: int = 262_144
    number_chars: int = 128
    items: int = 16_384
    violations: int = 100


class Limits(_Fields):
    """What a codec accepts at most; checked before memory of that size is taken.

    - ``frame_bytes``: UTF-8 bytes of a frame (1 … 2^30)
    - ``depth``: levels of arrays and objects, the frame's own array being the first (1 … 128)
    - ``id_chars``: code points of a message id (1 … 255; the specification says 36)
    - ``string_bytes``: bytes between the quotes of a string, as written (1 … 2^30)
    - ``number_chars``: characters of a number, as written (1 … 640)
    - ``items``: members of one array or object (1 … 2^30)
    - ``violations``: violations collected for one payload (1 … 10,000)

    Raises ValueError for a value outside its range, TypeError for one that is not an int.
    """

    __slots__ = ()

    def __new__(
        cls,
        frame_bytes: int = 1_048_576,
        depth: int = 64,
        id_chars: int = 36,
        string_bytes: int = 262_144,
        number_chars: int = 128,
        items: int = 16_384,
        violations: int = 100,
    ) -> Self:
        self = super().__new__(cls, frame_bytes, depth, id_chars, string_bytes, number_chars, items, violations)
        for name, value in zip(_RANGES, self):
            lowest, highest = _RANGES[name]
            if type(value) is not int:
                raise TypeError(f"limit {name} must be an int, is {type(value).__name__}")
            if not lowest <= value <= highest:
                raise ValueError(f"limit {name} must be between {lowest} and {highest}, is {value}")
        return self
