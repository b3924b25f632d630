"""Schemas of vendors, for what OCPP leaves to them: ``DataTransfer.data`` and customData.

In: a payload that has kept OCPP's own schema. Out: violations, with pointers into the payload. What no schema was added
for is passed over.

One registry belongs to one codec and is its `further`: the backend asks it after its own judgement. It works on Python
objects and is the same for both backends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, cast

from evcore import schema as schemas
from evcore.errors import Violation
from evcore.limits import Limits
from evcore.names import snake
from evcore.schema import Kind, Validator, property_names

__all__ = ["Vendors"]

_VENDOR_ID_CHARS: Final = 255
_NOT_JSON: Final = "is not a valid json"


class _DataKey(NamedTuple):
    kind: str
    vendor_id: str
    message_id: str | None


class _Found(NamedTuple):
    """A value on the way through a payload, and where it stands."""

    pointer: str
    name: str
    value: Any


class Vendors:
    """The vendor schemas of one codec."""

    def __init__(self, version: str, *, limits: Limits, snake_names: bool, formats: bool, backend: Any) -> None:
        self._version = version
        self._limits = limits
        self._snake_names = snake_names
        self._formats = formats
        self._backend = backend
        self._data: dict[_DataKey, Validator] = {}
        self._texts: set[_DataKey] = set()
        self._custom_data: dict[str, Validator] = {}
        self._wire_names: dict[tuple[str, str], dict[str, str]] = {}

    def add_data(
        self,
        vendor_id: str,
        schema: bytes | str | Mapping[str, Any],
        message_id: str | None,
        kind: Literal["call", "result"],
    ) -> None:
        """See `evcore.Codec.extend`."""
        if kind not in ("call", "result"):
            raise ValueError(f"kind must be 'call' or 'result', not {kind!r}")
        if kind == "result" and self._version == "ocpp1.6":
            raise ValueError("a DataTransfer result of ocpp1.6 does not say which vendor it is from")
        if message_id is not None and (kind == "result" or not isinstance(message_id, str)):
            raise ValueError("message_id must be a str, and is for kind 'call' only: a result has none")
        key = _DataKey(kind, _checked(vendor_id), message_id)
        self._data[key] = schemas.compile(schema, self._version, formats=self._formats, backend=self._backend)
        if self._version == "ocpp1.6" and not _is_for_strings(schema):
            self._texts.add(key)
        else:
            self._texts.discard(key)

    def add_custom_data(self, vendor_id: str, schema: bytes | str | Mapping[str, Any]) -> None:
        """See `evcore.Codec.extend_custom_data`."""
        if self._version == "ocpp1.6":
            raise ValueError("ocpp1.6 has no customData")
        self._custom_data[_checked(vendor_id)] = schemas.compile(
            schema,
            self._version,
            formats=self._formats,
            # Of a customData's names OCPP's schema knows this one.
            snake_names={"vendorId": snake("vendorId")} if self._snake_names else None,
            backend=self._backend,
        )

    def __call__(self, kind: str, action: str, payload: Any) -> list[Violation]:
        """The violations of a payload: those of its data first, then those of each customData, in document order."""
        most = self._limits.violations
        violations = self._judge_data(kind, payload) if action == "DataTransfer" and self._data else []
        if self._custom_data:
            names = self._names(kind, action)
            for found in _walk(_Found("", "", payload), names):
                if len(violations) >= most:
                    break
                if found.name == "customData":
                    validator = self._custom_data.get(_member(found.value, "vendorId"))
                    if validator is not None:
                        violations += self._judge(validator, found.value, found.pointer)
        return violations[:most]

    def _names(self, kind: str, action: str) -> dict[str, str]:
        """Name in Python -> wire name, for an action."""
        key = (kind, action)
        if key not in self._wire_names:
            self._wire_names[key] = {
                snake(wire): wire for wire in property_names(self._version, cast(Kind, kind), action)
            }
        return self._wire_names[key]

    def _judge_data(self, kind: str, payload: Any) -> list[Violation]:
        data = _member(payload, "data")
        if data is _ABSENT:
            return []
        source = payload if kind == "call" else _member(payload, "customData")
        vendor_id, message_id = _member(source, "vendorId"), _member(source, "messageId")
        for key in (_DataKey(kind, vendor_id, message_id), _DataKey(kind, vendor_id, None)):
            if key in self._data:
                break
        else:
            return []
        if key in self._texts:
            value, violations = self._read(data)
            if violations:
                return violations
        else:
            value = data
        return self._judge(self._data[key], value, "/data")

    def _judge(self, validator: Validator, value: Any, prefix: str) -> list[Violation]:
        # The frame, or the text, has been read under the limit; here the value's own container would count, too.
        found = validator.check(value, depth=self._limits.depth + 1, violations=self._limits.violations)
        return [_below(prefix, violation) for violation in found]

    def _read(self, text: Any) -> tuple[Any, list[Violation]]:
        """The value of JSON in a string, under the codec's limits; or why there is none."""
        # The Python reader serves both backends: it is the one that can be had without a frame around the text.
        from evcore._pure.document import TextReader, Unreadable
        from evcore._pure.schema import Program

        limits = self._limits
        reader = TextReader(limits.depth, limits.string_bytes, limits.number_chars, limits.items)
        try:
            node = reader.value(text)
        except Unreadable:
            code = "PropertyConstraintViolation"
            return None, [Violation(code, "/data", "format", "json", _NOT_JSON)]
        value, violations = Program(b"{}", version=self._version).judge(node, limits.violations)
        return value, [_below("/data", violation) for violation in violations]


class _Absent:
    """Stands for a member that is not there."""


_ABSENT: Final = _Absent()


def _checked(vendor_id: str) -> str:
    if not isinstance(vendor_id, str) or not 1 <= len(vendor_id) <= _VENDOR_ID_CHARS:
        raise ValueError(f"vendor_id must be a str of 1 to {_VENDOR_ID_CHARS} characters")
    return vendor_id


def _is_for_strings(schema: bytes | str | Mapping[str, Any]) -> bool:
    document = schema if isinstance(schema, Mapping) else json.loads(schema)
    return isinstance(document, Mapping) and document.get("type") == "string"


def _below(prefix: str, violation: Violation) -> Violation:
    code = violation.code
    if violation.keyword == "type" and not violation.pointer:
        # What is no object here is a field, not the payload.
        code = "TypeConstraintViolation"
    return violation._replace(code=code, pointer=prefix + violation.pointer)


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    """The members of a dict or a dataclass instance."""
    if isinstance(value, dict):
        yield from ((name, member) for name, member in value.items() if isinstance(name, str))
    else:
        for name in getattr(type(value), "__dataclass_fields__", ()):
            member = getattr(value, name, None)
            if member is not None:
                yield name, member


def _member(value: Any, wire: str) -> Any:
    """A member under its wire name or its name in Python."""
    members = dict(_members(value))
    return members.get(wire, members.get(snake(wire), _ABSENT))


def _walk(found: _Found, names: Mapping[str, str]) -> Iterator[_Found]:
    """All values of a payload in document order, but for what is inside customData."""
    yield found
    if found.name == "customData":
        return
    if isinstance(found.value, list | tuple):
        for index, item in enumerate(found.value):
            yield from _walk(_Found(f"{found.pointer}/{index}", "", item), names)
        return
    for name, member in _members(found.value):
        wire = names.get(name, name)
        step = wire.replace("~", "~0").replace("/", "~1")
        # The keys of data are the vendor's own.
        below = {} if found.pointer == "" and wire == "data" else names
        yield from _walk(_Found(f"{found.pointer}/{step}", wire, member), below)
