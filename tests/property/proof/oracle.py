"""Independent judges: `jsonschema` (Python) and `jsonschema-rs` (Rust), made to speak the contract's language.

In: an `Entry` and a document. Out: findings (place and keyword), from which `contract` makes the exact violations.
Neither judge sees repeated members, so those are renamed first and the schema is given the new names as well; what the
judges lack or round (decimals, formats) is in `DECIDED`, each with its reason.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

import jsonschema
import jsonschema_rs

from evcore.errors import Violation
from proof import contract
from proof.contract import Finding
from proof.document import Members, Number, Path, at, members
from proof.inventory import Entry, Schema

DECIDED = {
    "multipleOf": "both judges divide binary floats; OCPP's 0.1 is decimal, so the number's text decides",
    "maximum-integer": "the contract compares bounds as doubles, the judges compare big integers exactly",
    "integer": "whether a number is whole is decided on its text; a double loses digits and small exponents",
    "uniqueKeys": "JSON parsers drop repeated members before a judge can see them",
    "format": "format is an annotation for the judges; date-time and uri have their own comparison",
}
"""Every way in which the codec's verdict may differ from a stock judge's, with the reason."""

AGAIN = "\x00again"


class Numeral(float):
    """A parsed non-integer literal that still knows its text."""

    text: str

    def __new__(cls, text: str) -> Numeral:
        made = super().__new__(cls, text)
        made.text = text
        return made


class Judged(NamedTuple):
    """A document prepared for the judges."""

    schema: Schema
    value: Any
    names: dict[Path, Path]
    repeated: list[Finding]


def _integer(draft_06: bool, instance: Any) -> bool:
    if isinstance(instance, int) and not isinstance(instance, bool):
        return True
    return draft_06 and isinstance(instance, Numeral) and whole(instance.text)


def whole(text: str, times: int = 1) -> bool:
    """Whether the decimal `text` times `times` is a whole number, exactly, for any exponent."""
    _, digits, exponent = (Decimal(text)).as_tuple()
    assert isinstance(exponent, int)
    number = int("".join(map(str, digits))) * times
    if number == 0 or exponent >= 0:
        return True
    zeros = len(str(number)) - len(str(number).rstrip("0"))
    return -exponent <= zeros


def _multiple_of(validator: Any, step: float, instance: Any, schema: Schema) -> Iterator[jsonschema.ValidationError]:
    if validator.is_type(instance, "number"):
        text = instance.text if isinstance(instance, Numeral) else str(instance)
        if not whole(text, times=round(1 / step)):
            yield jsonschema.ValidationError(f"not a multiple of {step}")


def _bound(keyword: str) -> Any:
    def judge(validator: Any, limit: float, instance: Any, schema: Schema) -> Iterator[jsonschema.ValidationError]:
        if validator.is_type(instance, "number"):
            number = float(instance)
            if number < limit if keyword == "minimum" else number > limit:
                yield jsonschema.ValidationError(f"{keyword} {limit}")

    return judge


def _format(validator: Any, name: str, instance: Any, schema: Schema) -> Iterator[jsonschema.ValidationError]:
    if isinstance(instance, str) and not FORMATS[name](instance):
        yield jsonschema.ValidationError(f"not a {name}")


DATE_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII)


def is_date_time(text: str) -> bool:
    """RFC 3339 §5.6 with the rules of §5.7 for days and leap seconds."""
    found = DATE_TIME.fullmatch(text)
    if not found:
        return False
    year, month, day, hour, minute, second, shift_hour, shift_minute = (
        int(found[i] or 0) for i in (1, 2, 3, 4, 5, 6, 8, 9)
    )
    if hour > 23 or minute > 59 or second > 60 or shift_hour > 23 or shift_minute > 59:
        return False
    try:
        # The proleptic calendar repeats every 400 years; Python's has no year 0.
        datetime.date(year or 400, month, day)
    except ValueError:
        return False
    if second == 60:
        shift = shift_hour * 60 + shift_minute
        return (hour * 60 + minute - (shift if found[7] == "+" else -shift)) % 1440 == 1439
    return True


_PCT = "%[0-9A-Fa-f]{2}"
_PCHAR = rf"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|{_PCT})"
URI = re.compile(
    r"[A-Za-z][A-Za-z0-9+\-.]*:"
    rf"(?://(?:(?:[A-Za-z0-9\-._~!$&'()*+,;=:]|{_PCT})*@)?(?P<host>\[[^\]/?#@]*\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|{_PCT})*)(?::[0-9]*)?(?:/{_PCHAR}*)*"
    rf"|/(?:{_PCHAR}+(?:/{_PCHAR}*)*)?|{_PCHAR}+(?:/{_PCHAR}*)*|)"
    rf"(?:\?(?:{_PCHAR}|[/?])*)?(?:#(?:{_PCHAR}|[/?])*)?"
)


def is_uri(text: str) -> bool:
    """RFC 3986 `URI`; what stands between the brackets of an IP literal is read by `ipaddress`."""
    import ipaddress

    found = URI.fullmatch(text)
    if not found:
        return False
    host = found["host"] or ""
    if host.startswith("["):
        inner = host[1:-1]
        if re.fullmatch(r"[vV][0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+", inner):
            return True
        try:
            ipaddress.IPv6Address(inner)
        except ValueError:
            return False
        return "%" not in inner
    return True


FORMATS = {"date-time": is_date_time, "uri": is_uri}


def _exact(base: Any, draft_06: bool, formats: bool) -> Any:
    keywords = {"multipleOf": _multiple_of, "minimum": _bound("minimum"), "maximum": _bound("maximum")}
    if formats:
        keywords["format"] = _format
    checker = base.TYPE_CHECKER.redefine("integer", lambda _, instance: _integer(draft_06, instance))
    return jsonschema.validators.extend(base, keywords, type_checker=checker)


STOCK = {True: jsonschema.Draft6Validator, False: jsonschema.Draft4Validator}
EXACT = {
    (draft_06, formats): _exact(STOCK[draft_06], draft_06, formats)
    for draft_06 in (True, False)
    for formats in (True, False)
}
RUST = {True: jsonschema_rs.Draft6Validator, False: jsonschema_rs.Draft4Validator}


def prepare(schema: Schema, document: Any) -> Judged:
    """The document as judges can take it: numbers parsed, repeated members under names of their own."""
    names: dict[Path, Path] = {}
    repeated: list[Finding] = []
    value, schema = _unique(document, schema, (), (), names, repeated)
    return Judged(schema, value, names, repeated)


def _unique(
    node: Any, schema: Any, path: Path, told: Path, names: dict[Path, Path], repeated: list[Finding]
) -> tuple[Any, Any]:
    if path != told:
        names[path] = told
    if isinstance(node, Number):
        return (int(node.text) if re.fullmatch(r"-?\d+", node.text) else Numeral(node.text)), schema
    if isinstance(node, list):
        items = [
            _unique(child, (schema or {}).get("items"), (*path, i), (*told, i), names, repeated)
            for i, child in enumerate(node)
        ]
        changed = [s for _, s in items if s is not (schema or {}).get("items")]
        return [v for v, _ in items], (schema | {"items": changed[0]} if changed and schema else schema)
    if not isinstance(node, dict | Members):
        return node, schema
    rules = schema or {}
    properties = dict(rules.get("properties", {}))
    made: dict[str, Any] = {}
    for name, child in members(node):
        key = name
        while key in made:
            key += AGAIN
        below = properties.get(name)
        made[key], new = _unique(child, below, (*path, key), (*told, name), names, repeated)
        if key != name:
            repeated.append(Finding((*path, key), "uniqueKeys"))
        if new is not None and (key != name or new is not below):
            properties[key] = new
    if schema is not None and properties != rules.get("properties", {}):
        schema = rules | {"properties": properties}
    return made, schema


@lru_cache(maxsize=512)
def _compiled(version: str, kind: str, action: str, formats: bool) -> tuple[Any, Any, Any]:
    from proof.inventory import entry

    found = entry(version, kind, action)  # type: ignore[arg-type]
    draft_06 = version != "ocpp1.6"
    return (
        STOCK[draft_06](found.inlined),
        EXACT[draft_06, formats](found.inlined),
        RUST[draft_06](found.schema, validate_formats=False),
    )


def _python_findings(validator: Any, value: Any) -> Iterator[Finding]:
    for error in validator.iter_errors(value):
        path = tuple(error.absolute_path)
        if error.validator == "required":
            yield from (Finding(path, "required", name) for name in error.validator_value if name not in error.instance)
        elif error.validator == "additionalProperties":
            allowed = error.schema.get("properties", {})
            yield from (
                Finding((*path, name), "additionalProperties") for name in error.instance if name not in allowed
            )
        else:
            yield Finding(path, error.validator, _hashable(error.validator_value))


def _rust_findings(validator: Any, value: Any) -> Iterator[Finding]:
    for error in validator.iter_errors(value):
        path = tuple(error.instance_path)
        if error.kind.name == "required":
            yield Finding(path, "required", error.kind.property)
        elif error.kind.name == "additionalProperties":
            yield from (Finding((*path, name), "additionalProperties") for name in error.kind.unexpected)
        elif error.kind.name == "falseSchema":
            # Its word for `additionalProperties: false` on an object without properties: every member is one too many.
            yield from (Finding((*path, name), "additionalProperties") for name in at(value, path))
        else:
            yield Finding(path, error.kind.name)


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _type_first(findings: Iterator[Finding]) -> set[Finding]:
    """A value of the wrong type is judged no further (the judges go on to its enum and its members)."""
    found = set(findings)
    mistyped = {f.path for f in found if f.keyword == "type"}
    return {
        f
        for f in found
        if f.keyword == "type" or (f.path[:-1] if f.keyword == "additionalProperties" else f.path) not in mistyped
    }


def _floats(value: Any) -> Any:
    """The value with plain floats: jsonschema-rs takes exact types only."""
    if isinstance(value, dict):
        return {name: _floats(child) for name, child in value.items()}
    if isinstance(value, list):
        return [_floats(child) for child in value]
    return float(value) if isinstance(value, Numeral) else value


def stock(entry: Entry, judged: Judged) -> set[Finding]:
    """What plain `jsonschema` finds."""
    validator = _compiled(entry.version, entry.kind, entry.action, True)[0]
    if judged.schema is not entry.inlined:
        validator = type(validator)(judged.schema)
    return _type_first(_python_findings(validator, judged.value))


def rust(entry: Entry, judged: Judged) -> set[Finding]:
    """What plain `jsonschema-rs` finds; places and keywords only (`expected` just for `required`)."""
    validator = _compiled(entry.version, entry.kind, entry.action, True)[2]
    if judged.schema is not entry.inlined:
        validator = RUST[entry.version != "ocpp1.6"](judged.schema, validate_formats=False)
    return _type_first(_rust_findings(validator, _floats(judged.value)))


def exact(entry: Entry, judged: Judged, *, formats: bool = True) -> set[Finding]:
    """What `jsonschema` finds with the decided keywords replaced by exact ones, repeated members included."""
    validator = _compiled(entry.version, entry.kind, entry.action, formats)[1]
    if judged.schema is not entry.inlined:
        validator = type(validator)(judged.schema)
    return _type_first(_python_findings(validator, judged.value)) | set(judged.repeated)


def expected(entry: Entry, judged: Judged, findings: set[Finding]) -> list[Violation]:
    """The violations a codec must report, in its order and words."""
    return contract.violations(entry.version, judged.schema, judged.value, findings, judged.names)


def plain(findings: set[Finding]) -> set[tuple[Path, str, str | None]]:
    """Place and keyword, and the name where something is missing: what both judges tell."""
    return {(f.path, f.keyword, f.expected if f.keyword == "required" else None) for f in findings}


def excused(difference: set[tuple[Path, str, str | None]], judged: Judged) -> list[str] | None:
    """The reasons (keys of `DECIDED`) why a stock judge differs from the codec; None when one is missing."""
    reasons = []
    for path, keyword, _ in difference:
        value = judged.value
        for step in path:
            value = value[step]
        if keyword in ("uniqueKeys", "format", "multipleOf"):
            reasons.append(keyword)
        elif keyword == "type" and isinstance(value, Numeral) and value.is_integer() != whole(value.text):
            reasons.append("integer")
        elif keyword in ("minimum", "maximum") and isinstance(value, int):
            reasons.append("maximum-integer")
        else:
            return None
    return reasons


def from_value(value: Any) -> Any:
    """A Python object tree as a document for `prepare`: a float stands for its decimal text."""
    if isinstance(value, dict):
        return {name: from_value(child) for name, child in value.items()}
    if isinstance(value, list):
        return [from_value(child) for child in value]
    return Number(json.dumps(value)) if isinstance(value, float) else value
