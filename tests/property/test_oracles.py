"""The proof's own parts: schemas complete, generator valid, oracles in agreement, formats against jsonschema-rs."""

from __future__ import annotations

import json
import re
from random import Random

import jsonschema_rs
import pytest

from proof import oracle
from proof.document import Number, Style, same, value, write
from proof.generate import DATE_TIMES, URIS, Maker, Mode
from proof.inventory import entries
from proof.mutate import BAD_DATE_TIMES, BAD_URIS

JUDGE = {
    name: jsonschema_rs.Draft202012Validator({"type": "string", "format": name}, validate_formats=True)
    for name in oracle.FORMATS
}
LOOSE_DIGIT = re.compile(oracle.DATE_TIME.pattern.replace(r"\d", "[0-9+.-]"))
FORMAT_DIFFERS = {
    "jsonschema-rs takes a sign or a point for a digit (`2026-01-0+T…`); RFC 3339 has digits only": lambda text: (
        LOOSE_DIGIT.fullmatch(text) and not oracle.DATE_TIME.fullmatch(text)
    ),
}
"""Why jsonschema-rs sees a text otherwise -> which texts."""


def test_all_schemas_are_there() -> None:
    found = [(e.version, e.kind) for e in entries()]
    assert {pair: found.count(pair) for pair in set(found)} == {
        ("ocpp1.6", "call"): 39,
        ("ocpp1.6", "result"): 39,
        ("ocpp2.0.1", "call"): 64,
        ("ocpp2.0.1", "result"): 64,
        ("ocpp2.1", "call"): 90,
        ("ocpp2.1", "result"): 90,
        ("ocpp2.1", "send"): 1,
    }


@pytest.mark.parametrize("mode", Mode)
def test_generated_payloads_are_valid(mode: Mode) -> None:
    for entry in entries():
        maker = Maker(Random(f"{entry}{mode}"), whole_floats=entry.version != "ocpp1.6")
        document = maker.payload(entry.inlined, mode)
        judged = oracle.prepare(entry.inlined, document)
        assert oracle.exact(entry, judged) == set(), entry
        assert same(json.loads(write(document, Style(Random(1)))), value(document)), entry


def date_times(rng: Random) -> list[str]:
    """Date-times with each part at and around its bounds, and with characters changed."""
    parts = (
        ("2026", "2024", "1900", "2000", "0000", "9999"),
        ("-01-", "-02-", "-04-", "-12-", "-00-", "-13-", "/01/"),
        ("01", "28", "29", "30", "31", "32", "00", "1"),
        ("T", "t", " ", "_"),
        ("00:00:", "23:59:", "24:00:", "12:60:", "1:00:", "22:59:", "00:59:"),
        ("00", "59", "60", "61", "5"),
        ("", ".5", ".", ".123456789012", ",5"),
        ("Z", "z", "+00:00", "-00:00", "+23:59", "+24:00", "-01:00", "+01:00", "+0100", "+01", "", "Z "),
    )
    made = ["".join(rng.choice(part) for part in parts) for _ in range(2000)]
    made += ["".join(rng.choice(part[: max(1, len(part) // 2)]) for part in parts) for _ in range(2000)]
    for text in DATE_TIMES:
        for _ in range(50):
            at = rng.randrange(len(text))
            made.append(text[:at] + rng.choice("0123456789TZtz:+-. é\u0662") + text[at + 1 :])
    return made


def uris(rng: Random) -> list[str]:
    """URIs with characters changed, added and lost."""
    made = []
    for text in (*URIS, "ftp://u:p@h.example:21/a/b?c=d&e#f", "mailto:a@b", "http://[::ffff:1.2.3.4]/", "x+y-z.1:/a"):
        for _ in range(200):
            at = rng.randrange(len(text))
            made.append(
                text[:at]
                + rng.choice(("", "%", "%4g", "[", "]", " ", "#", "?", "/", ":", "@", "é", "a", "\\", "^", "\x7f"))
                + text[at + 1 :]
            )
    return made


@pytest.mark.parametrize("name", ["date-time", "uri"])
def test_formats_as_jsonschema_rs_sees_them(name: str) -> None:
    rng = Random(name)
    good, bad, made = (
        (DATE_TIMES, BAD_DATE_TIMES, date_times(rng)) if name == "date-time" else (URIS, BAD_URIS, uris(rng))
    )
    assert all(map(oracle.FORMATS[name], good))
    assert not any(map(oracle.FORMATS[name], bad))
    differing = {text for text in (*good, *bad, *made) if oracle.FORMATS[name](text) != JUDGE[name].is_valid(text)}
    assert {text for text in differing if not any(excuse(text) for excuse in FORMAT_DIFFERS.values())} == set()


def test_whole_is_exact() -> None:
    for text, times, answer in (
        ("300.0", 1, True), ("3e2", 1, True), ("1.5e1", 1, True), ("15e-1", 1, False), ("1e-400", 1, False),
        ("0e-400", 1, True),
        ("8.1", 10, True), ("6.25", 10, False), ("0.1000000000000000000000001", 10, False), ("-0.7", 10, True),
        ("1e300", 10, True),
    ):  # fmt: skip
        assert oracle.whole(text, times) is answer, text
    assert oracle.prepare({}, [Number("3"), Number("3.0")]).value == [3, 3.0]
