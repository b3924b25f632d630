"""The rules of the house, as far as a program can see them.

In: the files of the checkout, and fresh interpreters that import the package. Out: a failure for every rule that is
broken; each test names its rule. DESIGN.md says why the rules are there.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import json
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import evcore

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "evcore"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))

# Lowest first. A module may import its own layer and those before it; a new top-level module needs a place here.
CODEC = "__init__ _backend _foreign _native _pure codec errors limits message names policy route schema vendor"
LAYERS = (
    set(CODEC.split()),
    {"endpoint"},
    {"dispatch"},
    {"bus"},
    {"net"},
    {"csms"},
    {"mqtt"},
    {"check", "sim"},
    {"settings"},
    {"cli", "__main__"},
)

MODULES = sorted(PACKAGE.rglob("*.py"))
RUST_FILES = sorted(
    file
    for crate in ("core", "native", "fuzz")
    for file in (ROOT / "rust" / crate).rglob("*.rs")
    if "target" not in file.parts
)
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "DESIGN.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


def relative(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter that finds the package of this checkout."""
    env = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), **environment}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60)


# Layers


def layer(module: str) -> int:
    for height, names in enumerate(LAYERS):
        if module in names:
            return height
    pytest.fail(f"evcore.{module} has no place in LAYERS")


def imported(file: Path) -> set[str]:
    """The top-level modules of evcore that `file` imports anywhere, type-only imports included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            paths = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(file)}:{node.lineno} imports relatively"
            paths = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for package, name, *_ in ([*path.split("."), "__init__"] for path in paths):
            if package == "evcore":
                is_module = name == "_native" or (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()
                found.add(name if is_module else "__init__")
    return found


def top(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", MODULES, ids=relative)
def test_imports_run_downwards(file: Path) -> None:
    height = layer(top(file))
    above = {name for name in imported(file) if layer(name) > height}
    assert not above, f"{relative(file)} imports from above itself: {sorted(above)}"


# The base install

NOT_IN_BASE = {
    *("aiohttp", "aiomqtt", "aiosqlite", "alembic", "asyncpg", "fastapi", "paho-mqtt", "picows", "psycopg", "pydantic"),
    *("pydantic-settings", "pymodbus", "rich", "sqlalchemy", "starlette", "typer", "uvicorn", "uvloop", "websockets"),
}
HEAVY = {
    *("asyncio", "jsonschema", "jsonschema_rs", "picows", "pydantic", "pydantic_settings", "rich", "sqlalchemy"),
    *("typer", "uvloop", "websockets"),
}


def test_base_install_is_the_codec_alone() -> None:
    waiting = {Requirement(line).name for line in PYPROJECT["project"]["dependencies"]}
    assert waiting == {"ocpp"}
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        seen.add(name.lower())
        for line in metadata.requires(name) or ():
            requirement = Requirement(line)
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if wanted and requirement.name.lower() not in seen:
                waiting.add(requirement.name)
    assert not seen & NOT_IN_BASE


IMPORT_WATCH = """
import json, sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
before = set(sys.modules)
import evcore
seen = {"modules": sorted(set(sys.modules) - before), "at_import": [path for path in opened if path.endswith(".json")]}
evcore.Codec("ocpp1.6").decode(b'[2,"1","Heartbeat",{}]')
print(json.dumps({**seen, "in_all": [path for path in opened if path.endswith(".json")]}))
"""


@pytest.mark.parametrize("backend", ["native", "pure"])
def test_import_is_light(backend: str) -> None:
    """`import evcore` brings in nothing that serves, stores or prints and opens no schema; a frame opens its own."""
    done = python(IMPORT_WATCH, EVCORE_BACKEND=backend)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert not {name.split(".")[0] for name in seen["modules"]} & HEAVY
    assert not [name for name in seen["modules"] if name.startswith("ocpp.")]
    assert seen["at_import"] == []
    assert seen["in_all"], "no schema was seen being read: the watch looks at the wrong thing"
    assert all("Heartbeat" in path for path in seen["in_all"])


# The backend

WITHOUT_NATIVE = "import sys; sys.modules['evcore._native'] = None; import evcore; print(evcore.backend())"


def test_native_is_really_loaded() -> None:
    """Asked for, the native module is there; a build that went missing fails here instead of being slow in silence."""
    code = "import sys, evcore; print(evcore.backend(), sys.modules['evcore._native'].__file__, evcore.Codec.__mro__)"
    done = python(code, EVCORE_BACKEND="native")
    assert done.returncode == 0, done.stderr
    backend, file, mro = done.stdout.split(maxsplit=2)
    assert backend == "native"
    assert file.endswith((".so", ".pyd"))
    assert "evcore._pure" not in mro


def test_pure_loads_without_the_native_module() -> None:
    done = python(WITHOUT_NATIVE, EVCORE_BACKEND="pure")
    assert (done.returncode, done.stdout.strip()) == (0, "pure"), done.stderr


@pytest.mark.parametrize("asked", ["native", "rust"])
def test_no_other_backend_than_the_one_asked_for(asked: str) -> None:
    """Native is missing, or there is no such backend: an error that names the switch."""
    done = python(WITHOUT_NATIVE, EVCORE_BACKEND=asked)
    assert done.returncode != 0, f"fell back to {done.stdout}"
    assert "ImportError" in done.stderr
    assert "EVCORE_BACKEND" in done.stderr


def test_no_silent_fallback() -> None:
    """Nothing is asked for and native is missing: Python serves, and a warning says so and names the switch."""
    done = python(WITHOUT_NATIVE, EVCORE_BACKEND="")
    assert (done.returncode, done.stdout.strip()) == (0, "pure"), done.stderr
    assert "RuntimeWarning" in done.stderr
    assert "EVCORE_BACKEND" in done.stderr


def test_backend_of_this_run() -> None:
    assert evcore.backend() == (os.environ.get("EVCORE_BACKEND") or "native")


# Names and versions


def importable() -> list[str]:
    found = [module.name for module in pkgutil.walk_packages([str(PACKAGE)], "evcore.")]
    return ["evcore", *(name for name in found if not name.endswith(("__main__", "._native")))]


@pytest.mark.parametrize("name", importable())
def test_every_export_exists(name: str) -> None:
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", [])
    assert len(exported) == len(set(exported))
    assert [export for export in exported if not hasattr(module, export)] == []


def test_public_names() -> None:
    messages = {"Call", "CallError", "CallResult", "CallResultError", "Send"}
    errors = {"FrameError", "PayloadError", "SchemaError", "Violation"}
    assert messages | errors | {"Codec", "Limits", "__version__", "backend"} <= set(evcore.__all__)


def test_one_version() -> None:
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text("utf-8"))
    assert PYPROJECT["project"]["version"] == cargo["workspace"]["package"]["version"] == evcore.__version__
    assert f"## [{evcore.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize("crate", ["core", "native"])
def test_crates_take_the_workspace_version(crate: str) -> None:
    manifest = tomllib.loads((ROOT / "rust" / crate / "Cargo.toml").read_text("utf-8"))
    assert manifest["package"]["version"] == {"workspace": True}


# Files

MACHINE_PATH = re.compile(r"(?<![\w.:/~$}])/(?:home|root|Users|opt|mnt|work|tmp)/[A-Za-z0-9_.]")
PRIVATE_INDEX = re.compile(
    r"--(?:extra-)?index-url|--find-links|\bPIP_\w*(?:INDEX|LINKS)|^\s*replace-with", re.MULTILINE
)
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")


def tracked() -> list[Path]:
    """Every text file that is or may become part of the repository: tracked, or new and not ignored."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    files = [ROOT / name for name in listing.split("\0") if name]
    return [file for file in files if file.is_file() and b"\0" not in file.read_bytes()[:4096]]


def test_no_machine_in_the_repository() -> None:
    """No path of somebody's machine, no private package index, nothing left for later."""
    found = []
    for file in tracked():
        # This file holds the patterns; a fuzz corpus is bytes, not text.
        if file == Path(__file__).resolve() or "corpus" in file.parts:
            continue
        text = file.read_text("utf-8", errors="replace")
        for rule in (MACHINE_PATH, PRIVATE_INDEX, UNFINISHED):
            for hit in rule.finditer(text):
                line = text.count("\n", 0, hit.start()) + 1
                found.append(f"{relative(file)}:{line} {hit[0]}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("lock", ["Cargo.lock", "rust/fuzz/Cargo.lock"])
def test_locked_crates_come_from_the_public_index(lock: str) -> None:
    packages = tomllib.loads((ROOT / lock).read_text("utf-8"))["package"]
    sources = {package["source"] for package in packages if "source" in package}
    assert sources == {"registry+https://github.com/rust-lang/crates.io-index"}


@pytest.mark.parametrize("file", [*MODULES, *RUST_FILES], ids=relative)
def test_files_stay_readable(file: Path) -> None:
    """At most 800 lines, and a head that says what the file is for."""
    text = file.read_text("utf-8")
    assert text.count("\n") <= 800
    if file.suffix == ".rs":
        assert re.search(r"^//!", text, re.MULTILINE), "no //! head"
    elif text.strip():
        assert ast.get_docstring(ast.parse(text)), "no module docstring"


@pytest.mark.parametrize("file", [file for file in MODULES if top(file) != "mqtt"], ids=relative)
def test_a_session_is_a_charge(file: Path) -> None:
    """In EV charging a session is a charge: no class or module about connections may borrow the word. MQTT's own
    Session State (3.1.1 section 3.1.2.4, 5.0 section 4.1) keeps its name.
    """
    assert "session" not in file.stem.lower()
    classes = [node.name for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.ClassDef)]
    assert [name for name in classes if "session" in name.lower()] == []


# Documents

BLOCK = re.compile(
    r"^```(?P<language>python|python run)\n(?P<code>.*?)^```\n(?:\n*```text\n(?P<prints>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)


def examples() -> list[Any]:
    """README.md: each python block; elsewhere: those opened with ```python run. A ```text block below is the output."""
    found = []
    for document in DOCUMENTS:
        for number, block in enumerate(BLOCK.finditer(document.read_text("utf-8")), 1):
            if document.name == "README.md" or block["language"] == "python run":
                found.append(pytest.param(block["code"], block["prints"], id=f"{relative(document)}-{number}"))
    return found


@pytest.mark.parametrize(("code", "prints"), examples())
def test_examples_run(code: str, prints: str | None) -> None:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, "<example>", "exec"), {"__name__": "__example__"})
    if prints is not None:
        assert output.getvalue() == prints


def test_readme_has_an_example() -> None:
    assert any(example.id.startswith("README.md") for example in examples())


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_links_and_targets_exist(document: Path) -> None:
    text = document.read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text) if "://" not in link]
    assert [link for link in links if not (document.parent / link).exists()] == []
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= set(make_targets())


def make_targets() -> dict[str, str | None]:
    """Targets one may ask for, each with the sentence `make help` prints, or None."""
    text = (ROOT / "Makefile").read_text("utf-8")
    phony = re.findall(r"^\.PHONY: (\S+)$", text, re.MULTILINE)
    said = dict(re.findall(r"^([a-z-]+):.*?## (.+\.)$", text, re.MULTILINE))
    return {target: said.get(target) for target in phony}


def test_every_target_is_explained() -> None:
    targets = make_targets()
    assert {"run", "test", "bench", "gate", "lint", "fuzz", "help"} <= set(targets)
    assert [target for target, sentence in targets.items() if sentence is None] == ["force"]


def test_allow_list_of_stubtest_is_explained() -> None:
    """Each entry of the allow-list stands below a comment with its reason."""
    reasoned = False
    for line in (ROOT / "tests" / "typing" / "stubtest-allowlist.txt").read_text("utf-8").splitlines():
        if line.startswith("#"):
            reasoned = True
        elif not line.strip():
            reasoned = False
        else:
            assert reasoned, f"no reason above {line}"
