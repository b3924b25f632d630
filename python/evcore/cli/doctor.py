"""`evcore doctor`: what is installed, what is missing, and what follows from it."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Final

import typer

import evcore

__all__ = ["doctor"]

#: Optional packages by extra, and what each gives.
_OPTIONAL: Final = (
    ("cli", "typer", "this command line"),
    ("cli", "rich", "the live table of evcore serve"),
    ("schemas", "jsonschema-rs", "vendor schemas with keywords outside OCPP's set"),
    ("server", "picows", "the fast WebSocket engine of evcore serve"),
    ("server", "websockets", "the other WebSocket engine"),
    ("server", "uvloop", "a faster event loop"),
    ("server", "pydantic-settings", "settings of evcore serve"),
    ("server", "prometheus-client", "metrics of evcore serve"),
    ("mqtt", "aiomqtt", "evcore bridge and evcore serve --mqtt"),
    ("mqtt", "paho-mqtt", "MQTT underneath"),
)

_VERSIONS: Final = {"v16": "ocpp1.6", "v201": "ocpp2.0.1", "v21": "ocpp2.1"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as one JSON object.")] = False,
) -> None:
    """Say which backend is loaded and why, what is installed and what is missing.

    Exit status 1 when something is wrong: the native module or the OCPP schemas are missing.
    """
    findings = examine()
    typer.echo(json.dumps(findings, indent=2) if as_json else _text(findings))
    if findings["problems"]:
        raise typer.Exit(1)


def examine() -> dict[str, Any]:
    """All findings; `problems` holds a sentence for each thing that is wrong."""
    native, obstacle = _native()
    wish = os.environ.get("EVCORE_BACKEND")
    schemas = _schemas()
    optional = [
        {"package": name, "extra": extra, "gives": gives, "version": _package(name)} for extra, name, gives in _OPTIONAL
    ]
    versions = {entry["package"]: entry["version"] for entry in optional}
    problems = []
    if native is None:
        problems.append(
            f"the native module evcore._native is missing ({obstacle}): the codec runs in plain Python, many times "
            "slower; install a wheel for this platform, or build it from source with a Rust toolchain"
        )
    if not all(schemas["files"].values()):
        problems.append("OCPP schema files are missing: run pip install --force-reinstall 'ocpp>=2.1,<3'")
    return {
        "evcore": evcore.__version__,
        "python": f"{platform.python_implementation()} {platform.python_version()} on {platform.platform(terse=True)}",
        "backend": {
            "name": evcore.backend(),
            "why": _why(wish, native is not None),
            "native_module": native,
        },
        "schemas": schemas,
        "event_loop": "uvloop" if versions["uvloop"] else "asyncio",
        "engines": [name for name in ("picows", "websockets") if versions[name]],
        "optional": optional,
        "problems": problems,
    }


def _native() -> tuple[str | None, str]:
    """The file of the native module, or None and why it cannot be loaded."""
    try:
        return importlib.import_module("evcore._native").__file__, ""
    except ImportError as error:
        return None, str(error)


def _why(wish: str | None, native: bool) -> str:
    if wish:
        return f"EVCORE_BACKEND={wish} asks for it"
    return "the native module is installed" if native else "the native module is missing"


def _schemas() -> dict[str, Any]:
    found = importlib.util.find_spec("ocpp")
    files = dict.fromkeys(_VERSIONS.values(), 0)
    if found is None or not found.submodule_search_locations:
        return {"source": None, "files": files}
    folder = Path(found.submodule_search_locations[0])
    for name, version in _VERSIONS.items():
        files[version] = sum(1 for _ in (folder / name / "schemas").glob("*.json"))
    return {"source": f"ocpp {_package('ocpp')} in {folder}", "files": files}


def _package(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _text(findings: dict[str, Any]) -> str:
    backend, schemas = findings["backend"], findings["schemas"]
    counts = ", ".join(f"{count} for {version}" for version, count in schemas["files"].items())
    lines = [
        f"evcore      {findings['evcore']}",
        f"python      {findings['python']}",
        f"backend     {backend['name']}: {backend['why']}",
        f"native      {backend['native_module'] or 'MISSING'}",
        f"schemas     {sum(schemas['files'].values())} files ({counts}) from {schemas['source'] or 'nowhere'}",
        f"event loop  {findings['event_loop']}",
        f"engines     {', '.join(findings['engines']) or 'none'}",
        "optional",
    ]
    for entry in findings["optional"]:
        state = entry["version"] or f"not installed (evcore[{entry['extra']}])"
        lines.append(f"  {entry['package']:<18} {state:<32} {entry['gives']}")
    lines += [f"PROBLEM: {problem}" for problem in findings["problems"]] or ["no problems found"]
    return "\n".join(lines)
