"""Payloads that a schema allows, straight from the schema.

In: an inlined schema, a seeded `Random`, a `Mode`. Out: a document (see `document`) that is valid by construction:
full, minimal or random choice of optional members, lengths and numbers at their bounds, text of every plane.
"""

from __future__ import annotations

import enum
import math
from random import Random
from typing import Any

from proof.document import Number

DEEPEST = 64
"""Nesting the codec allows by default; the frame's array is level 1, the payload level 2."""

CHARACTERS = (
    "abcXYZ0189 _-.:/",
    '"\\/\b\f\n\r\t\x00\x1f\x7f',
    "äß\u00a0éñ\u0301Ω",
    "漢字仮名\u2028\u2029\ufeff\uffff\ud7ff\ue000",
    "\U0001f600\U0001f50c\U00010000\U0010ffff\U0001d11e",
)
DATE_TIMES = (
    "2026-01-02T03:04:05Z",
    "2026-01-02T03:04:05.678Z",
    "2024-02-29t23:59:59.999999999z",
    "2026-06-30T03:04:05+02:00",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59.1-23:59",
    "2016-12-31T23:59:60Z",
    "2017-01-01T01:59:60.5+02:00",
    "2000-02-29T00:00:00-00:00",
    "2026-01-02T03:04:05." + "0123456789" * 3 + "Z",
)
URIS = (
    "ftp://a.example/log?x=1#y",
    "http://[2001:db8::1]:80/%20",
    "urn:isbn:0",
    "https://user:pw@h/a;b=c/../d",
    "a:",
    "file:///x",
)
LONG = 400
"""Strings with a higher bound than this reach it only in mode LONGEST."""


class Mode(enum.Enum):
    MINIMAL = "required members only, shortest values"
    FULL = "every member"
    RANDOM = "any choice of members and values"
    LONGEST = "every member, every string and list at its bound"


class Maker:
    """Makes valid documents from a seed."""

    def __init__(self, rng: Random, *, whole_floats: bool) -> None:
        self._rng = rng
        self._whole_floats = whole_floats

    def payload(self, schema: dict[str, Any], mode: Mode) -> dict[str, Any]:
        """A valid payload. `whole_floats`: ``300.0`` is an integer (draft-06)."""
        document: dict[str, Any] = self._node(schema, mode, 2)
        return document

    def _node(self, schema: dict[str, Any], mode: Mode, level: int) -> Any:
        match schema.get("type"):
            case "object":
                return self._object(schema, mode, level)
            case "array":
                return self._array(schema, mode, level)
            case "string":
                return self._string(schema, mode)
            case "integer" | "number" as kind:
                return self._number(schema, mode, whole=kind == "integer")
            case "boolean":
                return self._rng.random() < 0.5
            case _:
                return self.anything(level, 6 if mode is Mode.MINIMAL else self._rng.choice((1, 3, 10)))

    def _object(self, schema: dict[str, Any], mode: Mode, level: int) -> dict[str, Any]:
        required = schema.get("required", ())
        made = {}
        properties = list(schema.get("properties", {}).items())
        if mode is Mode.RANDOM:
            self._rng.shuffle(properties)
        for name, child in properties:
            wanted = mode in (Mode.FULL, Mode.LONGEST) or (mode is Mode.RANDOM and self._rng.random() < 0.4)
            if name in required or wanted:
                made[name] = self._node(child, mode, level + 1)
        if schema.get("additionalProperties", True) is not False and mode is not Mode.MINIMAL:
            for name in self._rng.sample(
                ("x", "a b", "ключ", "\U0001f600", "", "a/b~c", "vendorid", '"'), k=self._rng.randint(0, 3)
            ):
                made[name] = self.anything(level + 1, self._rng.choice((1, 4, 12)))
        return made

    def _array(self, schema: dict[str, Any], mode: Mode, level: int) -> list[Any]:
        low, high = schema.get("minItems", 0), schema.get("maxItems")
        if mode is Mode.LONGEST and high is not None and high <= 24:
            count = high
        elif mode is Mode.MINIMAL:
            count = low
        elif mode is Mode.FULL:
            # Lists within lists within lists: two items everywhere would make every mutation of 2.1 a long text.
            count = max(low, 1 if self._rng.random() < 0.9 else 2)
        else:
            count = min(low + self._rng.choice((0, 0, 1, 2)), high or math.inf)
        return [self._node(schema["items"], mode, level + 1) for _ in range(int(count))]

    def _string(self, schema: dict[str, Any], mode: Mode) -> str:
        if "enum" in schema:
            return str(self._rng.choice(schema["enum"]))
        if "format" in schema:
            return self._rng.choice(DATE_TIMES if schema["format"] == "date-time" else URIS)
        most = schema.get("maxLength", 40)
        match mode:
            case Mode.MINIMAL:
                length = self._rng.choice((0, 1))
            case Mode.LONGEST:
                length = most
            case _:
                length = self._rng.choice((0, 1, 7, most, most - 1)) if most <= LONG else self._rng.randint(0, 30)
        return self.text(min(length, most))

    def text(self, length: int) -> str:
        """`length` code points, now from one plane, now from all of them."""
        alphabet = self._rng.choice((CHARACTERS[0], *CHARACTERS, "".join(CHARACTERS)))
        return "".join(self._rng.choices(alphabet, k=length))

    def _number(self, schema: dict[str, Any], mode: Mode, *, whole: bool) -> Any:
        low, high = schema.get("minimum"), schema.get("maximum")
        fits = [n for n in (low, high, 0, 1, 7) if n is not None and _within(n, low, high)]
        choice: Any = Number(_plain(self._rng.choice(fits)))
        if mode is Mode.MINIMAL:
            return choice
        if whole and high is None and self._rng.random() < 0.5:
            n = self._rng.choice(
                (2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**64, 10**60 + 1, self._rng.randrange(10**6))
            )
            choice = Number(str(n if low is not None or self._rng.random() < 0.5 else -n))
        elif not whole and self._rng.random() < 0.7:
            choice = Number(self._rng.choice(self._decimals(schema)))
        if whole and self._whole_floats and self._rng.random() < 0.2:
            tenfold = choice.text if choice.text in ("0", "-0") else choice.text + "0"
            choice = Number(
                self._rng.choice((choice.text + ".0", choice.text + "e0", choice.text + ".00E+0", tenfold + "e-1"))
            )
        return choice

    def _decimals(self, schema: dict[str, Any]) -> list[str]:
        low, high = schema.get("minimum"), schema.get("maximum")
        step = f"{self._rng.randrange(2000) / 10:.1f}"
        texts = [
            "8.1",
            "0.3",
            "16.0",
            "99.9",
            step,
            step + "00",
            "1e1",
            "25E-1",
            "-0.0",
            "-0",
            "0.1",
            "-7.3",
            "12345678901234567.5",
            "1e22",
        ]
        if "multipleOf" not in schema:
            texts += [
                "6.25",
                "0.1234567890123456789",
                "1e-7",
                "5e-324",
                "-1.5E-10",
                "1.7976931348623157e308",
                "9007199254740993",
            ]
        return [t for t in texts if _within(float(t), low, high)]

    def anything(self, level: int, size: int) -> Any:
        """Any JSON value at nesting `level`, now and then as deep as the codec allows."""
        if self._rng.random() < 0.03:
            value: Any = self.text(3)
            for _ in range(DEEPEST - level + 1):
                value = [value] if self._rng.random() < 0.5 else {self.text(2): value}
            return value
        if size <= 1 or level >= DEEPEST:
            return self._rng.choice(
                (None, True, False, 0, -1, 10**30, Number("-0"), Number("1.5e3"), Number("2.50"), self.text(5), [], {})
            )
        part = size // 2
        if self._rng.random() < 0.5:
            return [self.anything(level + 1, part) for _ in range(self._rng.randint(0, 3))]
        return {
            self.text(self._rng.randint(0, 4)): self.anything(level + 1, part) for _ in range(self._rng.randint(0, 3))
        }


def _plain(n: float) -> str:
    return str(int(n)) if n == int(n) else repr(n)


def _within(n: float, low: float | None, high: float | None) -> bool:
    return (low is None or n >= low) and (high is None or n <= high)
