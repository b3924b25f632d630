"""Schemas with keywords outside OCPP's set, judged by jsonschema-rs behind the interface of a `Program`.

In: a JSON Schema of any draft: draft-04 for 1.6 and draft-06 for 2.x, unless ``$schema`` names one. Out: violations
with pointer, keyword, what was expected, and a sentence that holds nothing of the value. Refused: what is no schema
(SchemaError), a missing jsonschema-rs (ImportError).

Bounds are decided on doubles and violations come in the validator's order; the rules of docs/codec.md §3 are the
backends'.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from evcore._pure.document import Real
from evcore._pure.schema import Program
from evcore._pure.version import VERSIONS
from evcore._pure.violation import TYPE_NAMES
from evcore.errors import SchemaError, Violation

__all__ = ["ForeignProgram"]

_SENTENCES: Final = {
    "required": "lacks the required property {0}",
    "additionalProperties": "is not a property of this object",
    "enum": "is not one of the {1} allowed values",
    "maxLength": "is longer than {0} characters",
    "minLength": "is shorter than {0} characters",
    "format": "is not a valid {0}",
    "minimum": "is below {0}",
    "maximum": "is above {0}",
    "multipleOf": "is not a multiple of {0}",
    "minItems": "has fewer than {0} items",
    "maxItems": "has more than {0} items",
}
# Where jsonschema-rs keeps what a keyword asks for.
_EXPECTATIONS: Final = ("property", "limit", "format", "pattern", "multiple_of", "expected_value")


class ForeignProgram:
    """A schema compiled by jsonschema-rs."""

    def __init__(self, document: Any, version: str, formats: bool, reason: SchemaError) -> None:
        """`reason`: why the backend does not take the schema."""
        try:
            import jsonschema_rs
        except ImportError:
            raise ImportError(
                f"a schema is beyond OCPP's keywords ({reason}): pip install evcore[schemas] for all of JSON Schema"
            ) from None
        own_draft = jsonschema_rs.Draft4Validator if version == "ocpp1.6" else jsonschema_rs.Draft6Validator
        make = jsonschema_rs.validator_for if isinstance(document, dict) and "$schema" in document else own_draft
        try:
            self._validator: Any = make(document, validate_formats=formats)
        except (ValueError, TypeError) as error:
            raise SchemaError(f"schema: {error}") from None
        self._version = VERSIONS[version]
        self._anything = Program(b"{}", version=version)

    def check(self, value: Any, *, depth: int = 64, violations: int = 100) -> list[Violation]:
        """All violations of a Python object; at most `violations`."""
        converted, found = self._anything.convert(value, depth=depth, violations=violations, number_chars=128)
        if not found:
            for error in self._validator.iter_errors(_plain(converted)):
                found += self._violations(error)
                if len(found) >= violations:
                    break
        return found[:violations]

    def _violations(self, error: Any) -> Iterator[Violation]:
        about = error.kind.as_dict()
        keyword: str = error.kind.name
        pointer = "".join(map(_step, error.instance_path))
        code = self._version.keywords.get(keyword, "PropertyConstraintViolation")
        if keyword == "additionalProperties":
            for name in about["unexpected"]:
                yield Violation(code, pointer + _step(name), keyword, None, _SENTENCES[keyword])
        elif keyword == "type":
            due = " or ".join(about["types"])
            code = code if pointer else self._version.malformed
            found = TYPE_NAMES.get(type(error.instance), "object" if isinstance(error.instance, dict) else "number")
            yield Violation(code, pointer, keyword, due, f"must be {due}, is {found}")
        elif keyword == "enum":
            options = tuple(about["options"])
            yield Violation(code, pointer, keyword, options, _SENTENCES[keyword].format(None, len(options)))
        else:
            expected = next((about[name] for name in _EXPECTATIONS if name in about), None)
            yield Violation(
                code, pointer, keyword, expected, _SENTENCES.get(keyword, f"breaks {keyword}").format(expected)
            )


def _step(step: str | int) -> str:
    return "/" + str(step).replace("~", "~0").replace("/", "~1")


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {name: _plain(member) for name, member in value.items()}
    if kind is list:
        return [_plain(item) for item in value]
    return float(value) if kind is Real else value
