"""The tables of docs/codec.md in the tests' own words: codes, sentences, order, replies.

Written from the document, not from a backend: what an oracle finds (keyword and place) goes in, the exact `Violation`,
its position in document order and the exact reply bytes come out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NamedTuple

from evcore.errors import Violation
from proof.document import Path, Step, pointer

MOST_VIOLATIONS = 100
CODES_1_6 = {
    "type": "TypeConstraintViolation",
    "required": "ProtocolError",
    "additionalProperties": "FormationViolation",
    "uniqueKeys": "FormationViolation",
    "enum": "PropertyConstraintViolation",
    "maxLength": "PropertyConstraintViolation",
    "format": "PropertyConstraintViolation",
    "minimum": "PropertyConstraintViolation",
    "maximum": "PropertyConstraintViolation",
    "multipleOf": "PropertyConstraintViolation",
    "minItems": "OccurenceConstraintViolation",
    "maxItems": "OccurenceConstraintViolation",
    "action": "NotImplemented",
    "depth": "FormationViolation",
    "utf-8": "PropertyConstraintViolation",
}
CODES_2 = CODES_1_6 | {
    "required": "OccurrenceConstraintViolation",
    "additionalProperties": "FormatViolation",
    "uniqueKeys": "FormatViolation",
    "minItems": "OccurrenceConstraintViolation",
    "maxItems": "OccurrenceConstraintViolation",
    "depth": "FormatViolation",
}
_COMMON = frozenset(
    "NotImplemented NotSupported InternalError ProtocolError SecurityError PropertyConstraintViolation"
    " TypeConstraintViolation GenericError".split()
)
ERROR_CODES = {
    "ocpp1.6": _COMMON | {"FormationViolation", "OccurenceConstraintViolation"},
    "ocpp2.0.1": _COMMON
    | {"FormatViolation", "OccurrenceConstraintViolation", "MessageTypeNotSupported", "RpcFrameworkError"},
}
ERROR_CODES["ocpp2.1"] = ERROR_CODES["ocpp2.0.1"]

# Within one place: what comes before the value's own parts, and what after them (docs/codec.md §3, "Order").
BEFORE = (
    "uniqueKeys",
    "additionalProperties",
    "type",
    "enum",
    "maxLength",
    "format",
    "minimum",
    "maximum",
    "multipleOf",
)
AFTER = ("minItems", "maxItems", "required")


class Finding(NamedTuple):
    """One broken rule as an oracle tells it; `expected` is the keyword's value, for `required` the missing name."""

    path: Path
    keyword: str
    expected: Any = None


def code(version: str, keyword: str, at_payload: bool) -> str:
    """The error code of a keyword."""
    codes = CODES_1_6 if version == "ocpp1.6" else CODES_2
    return codes["additionalProperties" if keyword == "type" and at_payload else keyword]


def type_name(value: Any) -> str:
    """JSON's name of a parsed value's type; an int was written as an integer literal."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    for python, name in ((int, "integer"), (float | Decimal, "number"), (str, "string"), (list, "array")):
        if isinstance(value, python):
            return name
    return "object"


def _figure(n: float) -> str:
    return str(int(n)) if n == int(n) else repr(n)


def sentence(keyword: str, expected: Any, found: Any) -> str:
    """The message of a violation; `found` is the value it is about."""
    match keyword:
        case "type":
            return f"must be {expected}, is {type_name(found)}"
        case "required":
            return f"lacks the required property {expected}"
        case "additionalProperties":
            return "is not a property of this object"
        case "uniqueKeys":
            return "is given more than once"
        case "enum":
            return f"is not one of the {len(expected)} allowed values"
        case "maxLength":
            return f"is longer than {expected} characters"
        case "format":
            return f"is not a valid {expected}"
        case "minimum":
            return f"is below {_figure(expected)}"
        case "maximum":
            return f"is above {_figure(expected)}"
        case "multipleOf":
            return f"is not a multiple of {_figure(expected)}"
        case "minItems":
            return f"has fewer than {expected} items"
        case "maxItems":
            return f"has more than {expected} items"
    raise AssertionError(keyword)


def _shown(keyword: str, expected: Any) -> Any:
    if keyword == "enum":
        return tuple(expected)
    if keyword in ("minimum", "maximum") and expected == int(expected):
        return int(expected)
    return expected


def violations(
    version: str, schema: dict[str, Any], document: Any, findings: Iterable[Finding], names: dict[Path, Path]
) -> list[Violation]:
    """Findings about `document` (repeated names made unique; `names` leads back) as the codec must report them."""
    ordered = sorted(set(findings), key=lambda f: _position(schema, document, f))
    told = []
    for finding in ordered[:MOST_VIOLATIONS]:
        found = document
        for step in finding.path:
            found = found[step]
        told.append(
            Violation(
                code(version, finding.keyword, not finding.path),
                pointer(names.get(finding.path, finding.path)),
                finding.keyword,
                _shown(finding.keyword, finding.expected),
                sentence(finding.keyword, finding.expected, found),
            )
        )
    return told


def _position(schema: dict[str, Any], document: Any, finding: Finding) -> tuple[tuple[float, ...], ...]:
    """Sort key: where one pass over the document meets the finding."""
    key: list[tuple[float, ...]] = []
    node: Any = document
    rules: Any = schema
    for step in finding.path:
        key.append((list(node).index(step) if isinstance(node, dict) else float(step),))
        rules = _below(rules, step)
        node = node[step]
    if finding.keyword in BEFORE:
        return (*key, (-1, BEFORE.index(finding.keyword)))
    rank = rules["required"].index(finding.expected) if finding.keyword == "required" else 0
    return (*key, (math.inf, AFTER.index(finding.keyword), rank))


def _below(rules: Any, step: Step) -> Any:
    if isinstance(step, int):
        return (rules or {}).get("items")
    return (rules or {}).get("properties", {}).get(step)


def description(schema: dict[str, Any], violation: Violation) -> str:
    """The reply's description: never a name the peer made up."""
    safe, rules, cut = "", schema, False
    for text in violation.pointer.split("/")[1:]:
        name = text.replace("~1", "/").replace("~0", "~")
        if rules is not None and rules.get("type") == "array":
            rules = rules["items"]
        elif rules is not None and name in rules.get("properties", {}):
            rules = rules["properties"][name]
        else:
            cut = True
            break
        safe += "/" + text
    place = safe or "payload"
    if not cut:
        text = f"{place} {violation.message}"
    elif violation.keyword in ("additionalProperties", "uniqueKeys"):
        text = f"{place} holds a member that {violation.message}"
    else:
        text = f"{place} holds a value that {violation.message}"
    return text[:255]


def reply(version: str, kind: int, message_id: str, schema: dict[str, Any], violation: Violation) -> bytes | None:
    """The answer to a frame whose first violation this is, or None."""
    if kind == 6 or (kind == 3 and version != "ocpp2.1"):
        return None
    answer = [4 if kind == 2 else 5, message_id, violation.code, description(schema, violation), {}]
    return canonical(answer)


def canonical(value: Any) -> bytes:
    """Compact JSON as `encode` writes it (docs/codec.md §5), of plain values."""
    return _text(value).encode()


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{_text(k)}:{_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    if isinstance(value, float):
        return re.sub(r"e([+-]?)0*(\d)", lambda m: f"e{m[1].replace('+', '')}{m[2]}", repr(value))
    return json.dumps(value, ensure_ascii=False)
