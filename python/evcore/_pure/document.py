"""JSON text to nodes, under limits.

In: text that came out of UTF-8. Out: nodes. Refused, as `Unreadable`: what is not RFC 8259, and what is beyond a limit.

A node is what the standard library's parser makes of a JSON value, with nothing lost that a judgement needs:

    object   tuple of (name, node) pairs, in order, repeated names included
    array    list of nodes
    string   str
    number   int when written as an integer, else `Real`, a double that knows its text
    others   True, False, None

Two readers share the work. The standard library's parser is quick, but stops at the first fault without telling apart
"not JSON" and "too much", and knows no limits. `_Scanner` is slow and exact. The quick one reads every text that surely
is within the limits; whatever it does not take, and whatever might be beyond a limit, goes through the exact one first.
"""

from __future__ import annotations

import math
import re
from json import JSONDecoder
from typing import Any, Final, NamedTuple, NoReturn, Self, TypeAlias

__all__ = ["Element", "Node", "Real", "TextReader", "Unreadable", "plain"]

Node: TypeAlias = Any


class Real(float):
    """A number that is not written as an integer: its double, and its text."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Self:
        self = super().__new__(cls, text)
        self.text = text
        return self


class Element(NamedTuple):
    """One element of a frame's array: its node, and where its text begins and ends."""

    node: Node
    start: int
    end: int


class Unreadable(Exception):
    """The text is not JSON, or beyond a limit. `at` is an index into the text."""

    def __init__(self, reason: str, sentence: str, at: int) -> None:
        super().__init__(reason, sentence, at)
        self.reason = reason
        self.sentence = sentence
        self.at = at


def plain(node: Node) -> Any:
    """The Python value of a node, unjudged; of a repeated name the last one counts."""
    kind = type(node)
    if kind is tuple:
        return {name: plain(value) for name, value in node}
    if kind is list:
        return [plain(item) for item in node]
    return float(node) if kind is Real else node


_SPACE: Final = re.compile(r"[ \t\r\n]*+")
# What a string may hold up to its closing quote; that its escapes are good ones is looked at afterwards.
_STRING: Final = re.compile(r'"(?:[^"\\\x00-\x1f]++|\\[^\x00-\x1f])*+"')
_ESCAPES: Final = re.compile(r'(?:[^\\]++|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*+')
_SURROGATE: Final = re.compile(r"\\u[dD]([89a-fA-F])..(?:\\u[dD]([c-fC-F])..)?|\\.", re.DOTALL)
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*+)(?P<fraction>\.[0-9]++)?(?P<exponent>[eE][+-]?[0-9]++)?")
_WORD: Final = re.compile("true|false|null")
_BRACKET: Final = re.compile(r"[\[\]{}]")


class TextReader:
    """Reads JSON text under limits: `depth`, `string_bytes`, `number_chars`, `items` as in `evcore.Limits`."""

    def __init__(self, depth: int, string_bytes: int, number_chars: int, items: int) -> None:
        self._depth = depth
        self._string_bytes = string_bytes
        self._items = items
        self._scanner = _Scanner(depth, string_bytes, number_chars, items)

        def integer(text: str) -> int:
            if len(text) > number_chars:
                raise ValueError(text)
            return int(text)

        def real(text: str) -> Real:
            number = Real(text)
            if len(text) > number_chars or math.isinf(number):
                raise ValueError(text)
            return number

        def constant(text: str) -> NoReturn:
            raise ValueError(text)  # NaN, Infinity, -Infinity

        self._decoder = JSONDecoder(
            object_pairs_hook=tuple, parse_int=integer, parse_float=real, parse_constant=constant
        )

    def value(self, text: str) -> Node:
        """The node of a whole text. Raises Unreadable."""
        if not self._surely_within(text):
            self._scanner.check(text)
        try:
            return self._decoder.decode(text)
        except (ValueError, RecursionError):
            raise self._reason(text) from None

    def elements(self, text: str) -> list[Element] | None:
        """The elements of a text that is one array; None for another value. Raises Unreadable."""
        start = _end_of_space(text, 0)
        if text[start : start + 1] != "[":
            self.value(text)
            return None
        if not self._surely_within(text):
            self._scanner.check(text)
        try:
            return self._elements(text, start + 1)
        except (ValueError, RecursionError):
            raise self._reason(text) from None

    def _elements(self, text: str, at: int) -> list[Element]:
        found: list[Element] = []
        at = _end_of_space(text, at)
        separator = text[at : at + 1]
        if separator != "]":
            while True:
                node, end = self._decoder.raw_decode(text, at)
                found.append(Element(node, at, end))
                at = _end_of_space(text, end)
                separator = text[at : at + 1]
                if separator != ",":
                    break
                at = _end_of_space(text, at + 1)
        if separator != "]" or _end_of_space(text, at + 1) != len(text):
            raise ValueError(at)
        return found

    def _surely_within(self, text: str) -> bool:
        """Cheap proof that no limit is exceeded and no surrogate is alone; False means "look closely".

        (Numbers are looked at one by one, as they are parsed.)
        """
        return (
            len(text) * (1 if text.isascii() else 4) <= self._string_bytes
            and text.count(",") < self._items
            and (text.count("[") + text.count("{") <= self._depth or _deepest(text) <= self._depth)
            and "\\ud" not in text
            and "\\uD" not in text
        )

    def _reason(self, text: str) -> Unreadable:
        try:
            self._scanner.check(text)
        except Unreadable as unreadable:
            return unreadable
        # JSON within its limits: the stack was nearly used up before the frame arrived.
        return Unreadable("limit", "frame is nested deeper than the stack allows", 0)


def _end_of_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _deepest(text: str) -> int:
    """Levels of brackets outside strings."""
    level = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        if bracket in "[{":
            level += 1
            deepest = max(deepest, level)
        else:
            level -= 1
    return deepest


class _Scanner:
    """RFC 8259 token by token, the first fault in the order of the text deciding; without recursion, without values.

    Within a token its own syntax comes first, then its limit, then what its text stands for: escapes, range of a
    double.
    """

    def __init__(self, depth: int, string_bytes: int, number_chars: int, items: int) -> None:
        self._depth = depth
        self._string_bytes = string_bytes
        self._number_chars = number_chars
        self._items = items

    def check(self, text: str) -> None:
        """Returns for JSON within the limits; raises Unreadable for all else."""
        closers: list[str] = []
        counts: list[int] = []
        at = _end_of_space(text, 0)
        while True:
            char = text[at : at + 1]
            opened = False
            if char in ("[", "{"):
                if len(closers) == self._depth:
                    raise Unreadable("limit", f"frame is nested deeper than {self._depth} levels", at)
                closers.append("]" if char == "[" else "}")
                counts.append(1)
                at = _end_of_space(text, at + 1)
                opened = text[at : at + 1] != closers[-1]
            elif char == '"':
                at = self._string(text, at)
            elif char in ("t", "f", "n"):
                at = self._match(_WORD, text, at).end()
            else:
                at = self._number(text, at)
            # After a value, or inside a container that has just been opened: where does the next value begin?
            while not opened:
                at = _end_of_space(text, at)
                if not closers:
                    if at != len(text):
                        raise _not_json(at)
                    return
                separator = text[at : at + 1]
                if separator == closers[-1]:
                    closers.pop()
                    counts.pop()
                    at += 1
                elif separator == ",":
                    at = _end_of_space(text, at + 1)
                    counts[-1] += 1
                    if counts[-1] > self._items:
                        raise Unreadable("limit", f"container has more than {self._items} members", at)
                    opened = True
                else:
                    raise _not_json(at)
            if closers[-1] == "}":
                at = self._name(text, at)

    def _name(self, text: str, at: int) -> int:
        if text[at : at + 1] != '"':
            raise _not_json(at)
        at = _end_of_space(text, self._string(text, at))
        if text[at : at + 1] != ":":
            raise _not_json(at)
        return _end_of_space(text, at + 1)

    def _string(self, text: str, at: int) -> int:
        end = self._match(_STRING, text, at).end()
        inside = text[at + 1 : end - 1]
        if len(inside) * 4 > self._string_bytes and len(inside.encode()) > self._string_bytes:
            raise Unreadable("limit", f"string is longer than {self._string_bytes} bytes", at)
        if "\\" in inside:
            if _ESCAPES.fullmatch(inside) is None:
                raise _not_json(at)
            for high, low in _SURROGATE.findall(inside):
                if (high or low) and not (high in "89abAB" and low):
                    raise _not_json(at)
        return end

    def _number(self, text: str, at: int) -> int:
        found = self._match(_NUMBER, text, at)
        end, after = found.end(), text[found.end() : found.end() + 1]
        if not found["exponent"] and (after in ("e", "E") or (after == "." and not found["fraction"])):
            raise _not_json(end)
        if end - at > self._number_chars:
            raise Unreadable("limit", f"number is longer than {self._number_chars} characters", at)
        if (found["fraction"] or found["exponent"]) and math.isinf(float(found[0])):
            raise _not_json(at)
        return end

    def _match(self, token: re.Pattern[str], text: str, at: int) -> re.Match[str]:
        found = token.match(text, at)
        if found is None:
            raise _not_json(at)
        return found


def _not_json(at: int) -> Unreadable:
    return Unreadable("json", "frame is not JSON", at)
