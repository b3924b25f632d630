"""JSON Schema 2020-12 of every kind of event, drawn from the body classes.

In: the classes of `evcore.bus.bodies` and the table of kinds. Out: a schema each, the files in `schemas/`, and the
table of docs/events.md.

    python -m evcore.bus docs/events.md      # renews the files, and what stands between the marks of that page

A schema describes the JSON form of an event (`Event.json`), whole: other members are not allowed.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin

from evcore.bus.bodies import Sample
from evcore.bus.event import BY_NAME, ID_PATTERN, PUBLISHED_PATTERN, Kind
from evcore.bus.fields import SAFE, fields

__all__ = ["FOLDER", "draw", "files", "renew", "schema"]

#: Where the files are.
FOLDER: Final = Path(__file__).parent / "schemas"

_TYPES: Final[dict[Any, dict[str, Any]]] = {
    str: {"type": "string"},
    float: {"type": "number"},
    int: {"type": "integer", "minimum": -SAFE, "maximum": SAFE},
    bool: {"type": "boolean"},
    Mapping[str, Any]: {"type": "object"},
}


def schema(kind: Kind) -> dict[str, Any]:
    """The schema of a kind of event."""
    head = {
        "id": {
            "type": "string",
            "pattern": f"^{ID_PATTERN}$",
            "description": "Unique for ever; as text, in the order of time (a ULID)",
        },
        "kind": {"const": kind.name, "description": "Kind of event"},
        "published": {
            "type": "string",
            "pattern": f"^{PUBLISHED_PATTERN}$",
            "description": "When evcore published it: RFC 3339, UTC, milliseconds",
        },
    }
    body = _object(kind.body)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:evcore:event:{kind.name}",
        "title": kind.name,
        "description": inspect.getdoc(kind.body),
        "x-evcore-topic": kind.topic,
        "x-evcore-qos-class": kind.qos_class,
        "x-evcore-retain": kind.retain,
        **body,
        "required": [*head, *body["required"]],
        "properties": head | body["properties"],
    }


def _object(body: type) -> dict[str, Any]:
    properties = {}
    for field in fields(body):
        properties[field.name] = {**_type(field.hint), "description": field.description}
        if field.default is not None:
            default = field.default
            properties[field.name]["default"] = list(default) if isinstance(default, tuple) else default
    required = [field.name for field in fields(body) if field.required]
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


def _type(hint: Any) -> dict[str, Any]:
    if hint in _TYPES:
        return _TYPES[hint]
    if hint is Sample:
        return _object(Sample)
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return {"enum": list(parts)}
    if origin is tuple:
        return {"type": "array", "items": _type(parts[0])}
    assert origin is Union
    # A number is an integer too.
    return {"type": [_TYPES[part]["type"] for part in parts if part is not int]}


def files() -> dict[str, str]:
    """The files in `schemas/`, by name."""
    return {f"{kind.name}.json": json.dumps(schema(kind), indent=2) + "\n" for kind in BY_NAME.values()}


def draw() -> str:
    """The table of kinds, in Markdown."""
    lines = ["| kind | topic | QoS class | retained | |", "|---|---|---|---|---|"]
    for kind in BY_NAME.values():
        link = f"[`{kind.name}`](../python/evcore/bus/schemas/{kind.name}.json)"
        retained = "yes" if kind.retain else ""
        lines.append(f"| {link} | `{kind.topic}` | {kind.qos_class} | {retained} | {inspect.getdoc(kind.body)} |")
    return "\n".join(lines) + "\n"


def renew(page: str) -> str:
    """The page with the table between its marks made anew. Raises ValueError when it has no marks."""
    pattern = re.compile(r"(<!-- table kinds -->\n).*?(<!-- end -->)", re.DOTALL)
    if not pattern.search(page):
        raise ValueError("the page has no marks for the table kinds")
    return pattern.sub(lambda found: f"{found[1]}{draw()}{found[2]}", page)
