"""OCPP's schema files, read from the installed `ocpp` package, for the contenders that take a JSON schema."""

from __future__ import annotations

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

_FOLDERS: Final = {"ocpp1.6": "v16", "ocpp2.0.1": "v201", "ocpp2.1": "v21"}


@cache
def folder(version: str) -> Path:
    """The folder with the schema files of a subprotocol."""
    spec = find_spec("ocpp")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the benches need the package `ocpp`: it carries the schemas")
    return Path(spec.submodule_search_locations[0]) / _FOLDERS[version] / "schemas"


@cache
def call_schema(version: str, action: str) -> dict[str, Any]:
    """The schema of a CALL's payload."""
    name = f"{action}.json" if version == "ocpp1.6" else f"{action}Request.json"
    schema: dict[str, Any] = json.loads((folder(version) / name).read_text("utf-8-sig"))
    return schema
