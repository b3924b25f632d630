"""The JSON schemas of OCPP, and those of users.

In: the schema files of the installed `ocpp` package (its code is never imported), and schemas that users bring. Out:
programs of the chosen backend, compiled on first use, shared by all codecs and threads. Refused: unknown versions
(ValueError), a missing `ocpp` package (ImportError), schemas that nobody takes (SchemaError).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from evcore import _backend
from evcore.errors import SchemaError, Violation
from evcore.names import aliases, snake

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["VERSIONS", "Kind", "Validator", "actions", "compile", "program", "property_names"]

Kind: TypeAlias = Literal["call", "result", "send"]
"""What a schema is for: a CALL's payload, a CALLRESULT's, a SEND's."""

VERSIONS: Final = ("ocpp1.6", "ocpp2.0.1", "ocpp2.1")

_FOLDERS: Final = {"ocpp1.6": "v16", "ocpp2.0.1": "v201", "ocpp2.1": "v21"}
_SIGNED: Final = "-Signed"
_ANY_OBJECT: Final = b'{"type":"object"}'


class Validator(Protocol):
    """A compiled schema, whoever compiled it."""

    def check(self, value: Any, *, depth: int = 64, violations: int = 100) -> list[Violation]:
        """All violations of a Python object; at most `violations`."""


# Where the package's files differ from what stations may rightly send


class _Overlay(NamedTuple):
    version: str
    kind: Kind
    action: str
    path: tuple[str, ...]
    keyword: str
    change: Literal["remove", "set", "append"]
    value: Any
    source: str


_OCA: Final = "OCA's schema file; the package's is edited"
_ITEMS: Final = ("properties", "meterValue", "items", "properties", "sampledValue")
_UNIT: Final = ("properties", "transactionData", "items", "properties", "sampledValue", "items", "properties", "unit")
_OVERLAYS: Final = (
    _Overlay("ocpp1.6", "call", "MeterValues", ("properties", "meterValue"), "minItems", "remove", None, _OCA),
    _Overlay("ocpp1.6", "call", "MeterValues", _ITEMS, "minItems", "remove", None, _OCA),
    _Overlay("ocpp1.6", "call", "StopTransaction", _UNIT, "enum", "append", "Hertz", "OCPP 1.6 errata 3.86"),
    _Overlay(
        *("ocpp2.0.1", "result", "Get15118EVCertificate", ("properties", "exiResponse"), "maxLength", "set", 5600, _OCA)
    ),
)


# Finding and reading the files


def _folder(version: str) -> Path:
    if version not in _FOLDERS:
        raise ValueError(f"version must be one of {', '.join(VERSIONS)}, not {version!r}")
    from importlib.util import find_spec  # these two are slow to import, and needed for the first codec only
    from pathlib import Path

    found = find_spec("ocpp")
    for location in (found.submodule_search_locations if found is not None else None) or ():
        folder = Path(location) / _FOLDERS[version] / "schemas"
        if folder.is_dir():
            return folder
    raise ImportError("the schemas of OCPP come with the package ocpp, which is missing: pip install ocpp")


def _file(version: str, kind: Kind, action: str) -> str:
    if kind == "result":
        return f"{action}Response.json"
    return f"{action}.json" if version == "ocpp1.6" or kind == "send" else f"{action}Request.json"


class _Cache:
    """What has been read and compiled, for all codecs; each entry is made once."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.actions: dict[str, dict[Kind, tuple[str, ...]]] = {}
        self.schemas: dict[tuple[str, Kind, str], dict[str, Any]] = {}
        self.programs: dict[tuple[Any, ...], Any] = {}


_cache: Final = _Cache()


def actions(version: str) -> Mapping[Kind, tuple[str, ...]]:
    """The actions of a version, in alphabetical order: of CALLs, of CALLRESULTs, of SENDs (2.1 only).

    Raises ValueError for an unknown version, ImportError when the `ocpp` package is missing.
    """
    with _cache.lock:
        if version not in _cache.actions:
            files = sorted(path.name.removesuffix(".json") for path in _folder(version).glob("*.json"))
            results = {name.removesuffix("Response") for name in files if name.endswith("Response")}
            others = {name.removesuffix("Request") if version != "ocpp1.6" else name for name in files}
            _cache.actions[version] = {
                "call": tuple(sorted(results)),
                "result": tuple(sorted(results)),
                "send": tuple(sorted(name for name in others - results if not name.endswith("Response"))),
            }
        return _cache.actions[version]


def _schema(version: str, kind: Kind, action: str) -> dict[str, Any]:
    """The schema of a payload, overlays applied."""
    key = (version, kind, action)
    if key not in _cache.schemas:
        if action.endswith(_SIGNED):
            _cache.schemas[key] = json.loads(_ANY_OBJECT)
        else:
            text = (_folder(version) / _file(version, kind, action)).read_text("utf-8-sig")
            schema: dict[str, Any] = json.loads(text)
            for overlay in _OVERLAYS:
                if (overlay.version, overlay.kind, overlay.action) == key:
                    _apply(overlay, schema)
            _cache.schemas[key] = schema
    return _cache.schemas[key]


def _apply(overlay: _Overlay, schema: dict[str, Any]) -> None:
    for step in overlay.path:
        schema = schema[step]
    if overlay.change == "remove":
        schema.pop(overlay.keyword, None)
    elif overlay.change == "set":
        schema[overlay.keyword] = overlay.value
    elif overlay.value not in schema[overlay.keyword]:
        schema[overlay.keyword] = [*schema[overlay.keyword], overlay.value]


# Programs


def property_names(version: str, kind: Kind, action: str) -> frozenset[str]:
    """All property names in the schema of a payload, as on the wire."""
    with _cache.lock:
        return frozenset(_property_names(_schema(version, kind, action)))


def _property_names(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for container in ("properties", "definitions"):
            for name, part in schema.get(container, {}).items():
                if container == "properties":
                    yield name
                yield from _property_names(part)
        yield from _property_names(schema.get("items"))


def _spellings(version: str, wire_names: frozenset[str]) -> dict[str, tuple[str, ...]]:
    """Names that fields of dataclasses may have besides the wire names -> the wire names they may stand for."""
    found: dict[str, tuple[str, ...]] = {}
    for wire in sorted(wire_names):
        if snake(wire) != wire:
            found[snake(wire)] = (*found.get(snake(wire), ()), wire)
    return found | {other: (wire,) for other, wire in aliases(version).items() if wire in wire_names}


def program(
    version: str, kind: Kind, action: str, *, snake_names: bool = False, formats: bool = True, backend: Any = _backend
) -> Any:
    """The program for the payload of an action; compiled once for all codecs. `X-Signed` allows any object.

    Raises KeyError for an action that is not in `actions(version)[kind]`.
    """
    key = (backend.Program, version, kind, action, snake_names, formats)
    found = _cache.programs.get(key)
    if found is not None:
        return found
    with _cache.lock:
        if key not in _cache.programs:
            if action.removesuffix(_SIGNED) not in actions(version)[kind]:
                raise KeyError(action)
            wire_names = property_names(version, kind, action)
            _cache.programs[key] = backend.Program(
                json.dumps(_schema(version, kind, action), ensure_ascii=False).encode(),
                version=version,
                snake={wire: snake(wire) for wire in sorted(wire_names)} if snake_names else None,
                aliases=_spellings(version, wire_names),
                formats=formats,
            )
        return _cache.programs[key]


def compile(  # noqa: A001 - evcore.schema.compile, as in re.compile
    schema: bytes | str | Mapping[str, Any],
    version: str = "ocpp2.1",
    *,
    formats: bool = True,
    snake_names: Mapping[str, str] | None = None,
    backend: Any = _backend,
) -> Validator:
    """A schema of yours, compiled: by the backend where it keeps to OCPP's keywords, else by jsonschema-rs.

    `version` decides how violations are called and whether ``300.0`` is an integer; `snake_names` renames properties
    (wire name -> key in Python; not for jsonschema-rs). Raises SchemaError for what is no schema, ImportError where
    jsonschema-rs is needed and missing.
    """
    if version not in VERSIONS:
        raise ValueError(f"version must be one of {', '.join(VERSIONS)}, not {version!r}")
    if isinstance(schema, Mapping):
        text = json.dumps(schema, ensure_ascii=False).encode()
    else:
        text = schema.encode() if isinstance(schema, str) else bytes(schema)
    try:
        compiled: Validator = backend.Program(text, version=version, snake=snake_names, formats=formats)
    except SchemaError as error:
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            raise error from None
        from evcore._foreign import ForeignProgram  # only for schemas that need it

        return ForeignProgram(document, version, formats, error)
    return compiled
