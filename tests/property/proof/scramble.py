"""Hostile frames: valid ones with bytes flipped, cut, inserted, tokens swapped, and plain noise. Seeded.

In: valid frames. Out: bytes that may be anything; most are nearly a frame, since plain noise dies at the first byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from random import Random

TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null|[\[\]{},:]|\s+|.', re.DOTALL)
INSERTS = (
    *(bytes([b]) for b in b'"\\[]{},:0-+.eEtfn \t\r\n/'),
    b"\x00", b"\x1f", b"\x7f", b"\x80", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xff", b"\xef\xbb\xbf",
    b"\\u", b"\\ud83d", b"\\ude00", b"\\u0000", b"null", b"NaN", b"1e999", b"-0", b"0.1", b"1E400", b'""', b"{}",
    b"[]", b"[[[[", b'{"":', b'"a":1,',
)  # fmt: skip
SWAPS = (
    b"null", b"true", b"false", b"0", b"-1", b"1.0", b"3e2", b"0.05", b"1e309", b"12345678901234567890", b'""',
    b'"x"', b'"\\ud800"', b'"\\u0041"',
    b"{}", b"[]", b"[{}]", b'{"a":1,"a":2}', b'"2026-01-02T03:04:05Z"', b'"2026-02-30T00:00:00Z"',
    b'"' + b"x" * 300 + b'"', b"9" * 130, b"[" * 70 + b"]" * 70,
)  # fmt: skip


def scrambled(frames: Sequence[bytes], rng: Random, count: int) -> Iterator[bytes]:
    """`count` hostile byte strings."""
    for _ in range(count):
        if rng.random() < 0.03:
            yield noise(rng)
            continue
        frame = rng.choice(frames)
        for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
            frame = rng.choice((_flip, _cut, _insert, _repeat, _swap, _swap, _token, _token, _drop, _splice))(
                frame, rng, frames
            )
        yield frame


def noise(rng: Random) -> bytes:
    """Arbitrary bytes, or arbitrary JSON punctuation."""
    if rng.random() < 0.5:
        return rng.randbytes(rng.randrange(60))
    return b"".join(rng.choices(INSERTS, k=rng.randrange(20)))


def _flip(frame: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    if not frame:
        return frame
    at = rng.randrange(len(frame))
    return frame[:at] + bytes([frame[at] ^ 1 << rng.randrange(8)]) + frame[at + 1 :]


def _cut(frame: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    start, stop = sorted((rng.randrange(len(frame) + 1), rng.randrange(len(frame) + 1)))
    return frame[:start] + frame[min(stop, start + 9) :] if rng.random() < 0.7 else frame[:stop]


def _insert(frame: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(frame) + 1)
    return frame[:at] + rng.choice(INSERTS) + frame[at:]


def _repeat(frame: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    start = rng.randrange(len(frame) + 1)
    stop = min(len(frame), start + rng.choice((1, 5, 20)))
    return frame[:stop] + frame[start:stop] * rng.choice((1, 2, 40)) + frame[stop:]


def _tokens(frame: bytes) -> list[bytes]:
    return TOKEN.findall(frame)


def _swap(frame: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    """One value token becomes another value."""
    tokens = _tokens(frame)
    places = [i for i, t in enumerate(tokens) if t[:1] not in b"[]{},: \t\r\n"]
    if places:
        tokens[rng.choice(places)] = rng.choice(SWAPS)
    return b"".join(tokens)


def _token(frame: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    """Two tokens of the frame change places, or one is written over another."""
    tokens = _tokens(frame)
    if len(tokens) > 1:
        one, other = rng.randrange(len(tokens)), rng.randrange(len(tokens))
        if rng.random() < 0.5:
            tokens[one], tokens[other] = tokens[other], tokens[one]
        else:
            tokens[one] = tokens[other]
    return b"".join(tokens)


def _drop(frame: bytes, rng: Random, _: Sequence[bytes]) -> bytes:
    """One member or item lost: from a comma to the next."""
    parts = frame.split(b",")
    if len(parts) > 1:
        del parts[rng.randrange(len(parts))]
    return b",".join(parts)


def _splice(frame: bytes, rng: Random, frames: Sequence[bytes]) -> bytes:
    """The head of one frame, the tail of another."""
    other = rng.choice(frames)
    return frame[: rng.randrange(len(frame) + 1)] + other[rng.randrange(len(other) + 1) :]
