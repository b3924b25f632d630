"""The Python codec's reading of JSON text: the quick reader, the exact one, and the standard library agree.

Oracle: the standard library's parser, strict about what RFC 8259 leaves no room for. The limits have an oracle of their
own: counting in the parsed value.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evcore._pure.document import Real, TextReader, Unreadable, plain

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner, max_size=5),
    max_leaves=20,
)
LIMITS = st.tuples(st.integers(1, 6), st.integers(1, 40), st.integers(1, 12), st.integers(1, 6))
TOKENS = [
    *'[]{}:,"\\/ \t\n019.eE+-\x00\x1fué',
    *(
        "true",
        "false",
        "null",
        "NaN",
        "-Infinity",
        '"a"',
        '"a":',
        "-0",
        "1.5",
        "1e400",
        "\\ud83d",
        "\\uD83D",
        "\\uDE00",
        "\\ude00",
        '\\"',
        "\\n",
    ),
]
BROKEN = st.lists(st.sampled_from(TOKENS), max_size=12).map("".join)
WIDE = (1000, 1 << 30, 10_000, 1 << 30)


def strict(text: str) -> Any:
    """The standard library's value; ValueError for what is not RFC 8259 and for numbers and strings without a value."""

    def constant(name: str) -> Any:
        raise ValueError(name)

    def real(lexeme: str) -> float:
        number = float(lexeme)
        if math.isinf(number):
            raise ValueError(lexeme)
        return number

    value = json.loads(text, parse_constant=constant, parse_float=real)
    json.dumps(value, ensure_ascii=False).encode()
    return value


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types: 1 is not 1.0, and -0.0 is not 0.0."""
    return repr(one) == repr(other)


def too_much(value: Any, depth: int, string_bytes: int, number_chars: int, items: int, level: int = 1) -> bool:
    """Whether a value, written by the standard library, is beyond a limit."""
    limits = (depth, string_bytes, number_chars, items)
    if isinstance(value, str):
        return len(json.dumps(value, ensure_ascii=False)[1:-1].encode()) > string_bytes
    if isinstance(value, int | float) and not isinstance(value, bool):
        return len(json.dumps(value)) > number_chars
    if isinstance(value, list | dict):
        members = list(value) + list(value.values()) if isinstance(value, dict) else value
        return level > depth or len(value) > items or any(too_much(m, *limits, level + 1) for m in members)
    return False


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
def test_good_text(value: Any, escaped: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=escaped, indent=indent)
    reader = TextReader(*WIDE)
    assert same(plain(reader.value(text)), value)
    reader._scanner.check(text)
    elements = reader.elements(f" [{text} , {text}]\n")
    assert elements is not None
    assert [f" [{text} , {text}]\n"[e.start : e.end] for e in elements] == [text, text]
    assert all(same(plain(element.node), value) for element in elements)


@given(BROKEN)
def test_any_text(text: str) -> None:
    reader = TextReader(*WIDE)
    try:
        value = strict(text)
    except (ValueError, UnicodeEncodeError):
        with pytest.raises(Unreadable) as caught:
            reader.value(text)
        assert caught.value.reason == "json"
        with pytest.raises(Unreadable):
            reader._scanner.check(text)
    else:
        assert same(plain(reader.value(text)), value)
        reader._scanner.check(text)


@given(VALUES, LIMITS)
def test_limits(value: Any, limits: tuple[int, int, int, int]) -> None:
    text = json.dumps(value, ensure_ascii=False)
    if not too_much(value, *limits):
        assert same(plain(TextReader(*limits).value(text)), value)
        return
    with pytest.raises(Unreadable) as caught:
        TextReader(*limits).value(text)
    assert caught.value.reason == "limit"


@given(BROKEN, LIMITS)
def test_the_exact_reader_decides(text: str, limits: tuple[int, int, int, int]) -> None:
    """Whatever the quick one is spared: both find the same fault at the same place."""
    reader = TextReader(*limits)
    due = fault(reader._scanner.check, text)
    assert fault(reader.value, text) == due
    if text.lstrip(" \t\r\n").startswith("["):
        assert fault(reader.elements, text) == due


def fault(read: Callable[[str], Any], text: str) -> Any:
    try:
        read(text)
    except Unreadable as unreadable:
        return unreadable.args
    return None


@pytest.mark.parametrize(
    ("text", "reason", "at"),
    [
        ("[1,2,3]", "limit", 5),
        ("[1,2,", "limit", 5),
        ("[[[[", "limit", 3),
        ('["123456789"]', "limit", 1),
        ('["12345678\\x"]', "limit", 1),
        ('["12345678\x01"]', "json", 1),
        ("[123456]", "limit", 1),
        ("[12345.e1]", "json", 6),
        ("[1e999]", "json", 1),
        ("[1e9999]", "limit", 1),
        ("1.2345", "limit", 0),
        ("123456", "limit", 0),
        ('["\\ud8"]', "json", 1),
        ('{"a":1,"b":2,"c":3}', "limit", 13),
        ("", "json", 0),
        ("1 2", "json", 2),
        ('"\\ud83d"', "json", 0),
        ('"\\uD83D"', "json", 0),
        ('"\\uDE00"', "json", 0),
    ],
)
def test_the_first_fault_counts(text: str, reason: str, at: int) -> None:
    """Within a token: its syntax, then its limit, then what it stands for."""
    with pytest.raises(Unreadable) as caught:
        TextReader(3, 8, 5, 2).value(text)
    assert (caught.value.reason, caught.value.at) == (reason, at)


@pytest.mark.parametrize("opener", ["[", '{"a":', "[[{}],"])
def test_no_depth_is_too_much_for_the_stack(opener: str) -> None:
    with pytest.raises(Unreadable, match="nested deeper than 64"):
        TextReader(64, 1 << 18, 128, 1 << 14).value(opener * 100_000)


def test_nodes_lose_nothing() -> None:
    node = TextReader(*WIDE).value('{"a":1.50,"a":-0,"b":[1E2]}')
    assert node == (("a", 1.5), ("a", 0), ("b", [100.0]))
    real = node[0][1]
    assert (type(real), real.text) == (Real, "1.50")
    assert plain(node) == {"a": 0, "b": [100.0]}
    assert type(plain(node)["b"][0]) is float
