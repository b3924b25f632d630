"""Every schema of the three OCPP versions, read from the installed `ocpp` package and corrected by an overlay of its
own.

The overlay is written down here a second time on purpose: the tests compare it with the one the codec ships.
Out: one `Entry` per message, its schema once as published (`schema`) and once with every `$ref` resolved (`inlined`).
"""

from __future__ import annotations

import copy
import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

Kind = Literal["call", "result", "send"]
Schema = dict[str, Any]

FOLDERS = {"ocpp1.6": "v16", "ocpp2.0.1": "v201", "ocpp2.1": "v21"}
SENDS = frozenset({"NotifyPeriodicEventStream"})
FRAME_KIND = {"call": 2, "result": 3, "send": 6}


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of one version."""

    version: str
    kind: Kind
    action: str
    file: str
    schema: Schema
    inlined: Schema

    def __str__(self) -> str:
        return f"{self.version} {self.action} {self.kind}"


def _meter_values(schema: Schema) -> None:
    """OCA's 1.6 file has no lower bound on either list; the package's has."""
    values = schema["properties"]["meterValue"]
    del values["minItems"]
    del values["items"]["properties"]["sampledValue"]["minItems"]


def _stop_transaction(schema: Schema) -> None:
    """The package allows Hertz in MeterValues only; both messages carry the same sampled values."""
    sampled = schema["properties"]["transactionData"]["items"]["properties"]["sampledValue"]["items"]
    sampled["properties"]["unit"]["enum"].append("Hertz")


def _exi_response(schema: Schema) -> None:
    """OCA publishes 5600, the package 7500."""
    schema["properties"]["exiResponse"]["maxLength"] = 5600


OVERLAY = {
    ("ocpp1.6", "MeterValues.json"): _meter_values,
    ("ocpp1.6", "StopTransaction.json"): _stop_transaction,
    ("ocpp2.0.1", "Get15118EVCertificateResponse.json"): _exi_response,
}


def inline(node: Any, definitions: dict[str, Any], made: dict[str, Any]) -> Any:
    """`node` with every `#/definitions/…` reference replaced by what it names (OCPP's references never recurse).

    `made` keeps each definition once: the same node object stands wherever it is referred to.
    """
    if isinstance(node, dict):
        if "$ref" in node:
            name = node["$ref"].removeprefix("#/definitions/")
            if name not in made:
                made[name] = inline(definitions[name], definitions, made)
            return made[name]
        return {key: inline(value, definitions, made) for key, value in node.items() if key != "definitions"}
    if isinstance(node, list):
        return [inline(value, definitions, made) for value in node]
    return node


def _identify(version: str, stem: str) -> tuple[Kind, str]:
    if stem in SENDS:
        return "send", stem
    if stem.endswith("Response"):
        return "result", stem.removesuffix("Response")
    return "call", stem if version == "ocpp1.6" else stem.removesuffix("Request")


def _read() -> Iterator[Entry]:
    found = importlib.util.find_spec("ocpp")
    assert found is not None and found.submodule_search_locations, "the ocpp package is a dependency of evcore"
    root = Path(next(iter(found.submodule_search_locations)))
    for version, folder in FOLDERS.items():
        for path in sorted((root / folder / "schemas").glob("*.json")):
            schema: Schema = json.loads(path.read_text(encoding="utf-8-sig"))
            if correct := OVERLAY.get((version, path.name)):
                schema = copy.deepcopy(schema)
                correct(schema)
            kind, action = _identify(version, path.stem)
            yield Entry(version, kind, action, path.name, schema, inline(schema, schema.get("definitions", {}), {}))


@cache
def entries() -> tuple[Entry, ...]:
    """All 387 messages, by version and file name."""
    return tuple(_read())


@cache
def entry(version: str, kind: Kind, action: str) -> Entry:
    """One message; KeyError when this version has none of that name."""
    return {(e.version, e.kind, e.action): e for e in entries()}[version, kind, action]
