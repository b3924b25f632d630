"""msgspec's typed decoding at its best: Struct types made from OCPP's own schemas.

In: a JSON schema. Out: a type for ``msgspec.json.Decoder``. Judged by it: types, required, unknown members, enums,
lengths, item counts, bounds. Not judged: ``format`` (a datetime in place of the text would change the answer) and
``multipleOf`` (msgspec decides it on the binary double and refuses valid 10.1).
"""

from __future__ import annotations

from types import GenericAlias
from typing import Annotated, Any, Literal

import msgspec


def struct(schema: dict[str, Any], name: str) -> Any:
    """The msgspec type of `schema`; `name` is what its Struct is called."""
    return _type(schema, schema.get("definitions", {}), name)


def _type(node: dict[str, Any], definitions: dict[str, Any], name: str) -> Any:
    if "$ref" in node:
        name = node["$ref"].removeprefix("#/definitions/")
        node = definitions[name]
    match node["type"]:
        case "object":
            return _object(node, definitions, name)
        case "array":
            item = _type(node["items"], definitions, name)
            return Annotated[GenericAlias(list, (item,)), _meta(node, min_length="minItems", max_length="maxItems")]
        case "string" if "enum" in node:
            return Literal[tuple(node["enum"])]
        case "string":
            return Annotated[str, _meta(node, max_length="maxLength")]
        case "integer":
            return Annotated[int, _meta(node, ge="minimum", le="maximum")]
        case "number":
            # A union, so that 16 stays an int as in everybody else's answer.
            return Annotated[int | float, _meta(node, ge="minimum", le="maximum")]
        case "boolean":
            return bool
        case other:
            raise ValueError(f"no msgspec type for {other!r}")


def _object(node: dict[str, Any], definitions: dict[str, Any], name: str) -> Any:
    if node.get("additionalProperties") is not False:
        return dict[str, Any]
    required = set(node.get("required", ()))
    fields: list[Any] = []
    names: dict[str, str] = {}
    for index, (key, member) in enumerate(node.get("properties", {}).items()):
        kind = _type(member, definitions, key)
        names[f"f{index}"] = key
        fields.append(
            (f"f{index}", kind) if key in required else (f"f{index}", kind | msgspec.UnsetType, msgspec.UNSET)
        )
    return msgspec.defstruct(name, fields, rename=names.get, forbid_unknown_fields=True, kw_only=True)


def _meta(node: dict[str, Any], **names: str) -> msgspec.Meta:
    return msgspec.Meta(**{ours: node[theirs] for ours, theirs in names.items() if theirs in node})
