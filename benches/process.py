"""What can only be measured in a fresh interpreter: import time, the time and memory of compiled schemas.

Each measurement is a process of its own, the contenders interleaved; bytecode is compiled by a first run that does
not count.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Final

from benches import ours
from benches.measure import Effort, Record
from benches.plan import Job

ROOT: Final = Path(__file__).parent.parent

_IMPORTS: Final = (
    *ours.IMPORTS,
    ("orjson", "import orjson", ""),
    ("msgspec", "import msgspec", ""),
    ("jsonschema-rs", "import jsonschema_rs", ""),
    ("ocpp", "import ocpp.messages", ""),
    ("ocpp with its 1.6 routing", "import ocpp.routing, ocpp.v16", ""),
)

# Compiles the schemas of every CALL of the version, then says what that took: microseconds and bytes resident.
_COMPILE: Final = """
import gc, json, os, sys, time
from benches.schemas import call_schema, folder
version = "{version}"
suffix = ".json" if version == "ocpp1.6" else "Request.json"
actions = sorted(p.name.removesuffix(suffix) for p in folder(version).glob("*" + suffix) if "Response" not in p.name)
def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
{setup}
before, start = resident(), time.perf_counter_ns()
{work}
spent = time.perf_counter_ns() - start
print(spent, resident() - before, len(actions))
"""
_COMPILERS: Final = (
    *ours.COMPILERS,
    (
        "jsonschema-rs",
        "import jsonschema_rs",
        "kept = [jsonschema_rs.validator_for(call_schema(version, action)) for action in actions]",
    ),
    (
        "ocpp",
        "from ocpp.messages import get_validator",
        "kept = [get_validator(2, action, version.removeprefix('ocpp')) for action in actions]",
    ),
)


def import_jobs(effort: Effort) -> Iterator[Job]:
    """``python -c "import x"`` beyond ``python -c pass``."""
    yield Job("import", partial(imports, max(1, effort.rounds // 20), _IMPORTS))


def memory_jobs(effort: Effort) -> Iterator[Job]:
    """The CALL schemas of a version, compiled: time and resident memory. Nothing where there is no /proc to ask."""
    if not Path("/proc/self/statm").exists():
        return
    for version in ("ocpp1.6", "ocpp2.0.1"):
        yield Job(f"memory {version}", partial(_compiled, version, max(1, effort.rounds // 50)))


def imports(rounds: int, statements: Sequence[tuple[str, str, str]] = ours.IMPORTS) -> list[Record]:
    """Time `statements` (contender, statement, EVCORE_BACKEND) in `rounds` fresh interpreters each."""
    lines = [("python", "pass", ""), *statements]
    samples: list[list[float]] = [[] for _ in lines]
    for turn in range(rounds + 1):
        for found, (_, line, backend) in zip(samples, lines, strict=True):
            start = perf_counter_ns()
            run_python(line, backend)
            if turn:
                found.append((perf_counter_ns() - start) / 1e6)
    empty = samples[0]
    records = []
    for (name, line, _), found in zip(lines[1:], samples[1:], strict=True):
        beyond = [whole - nothing for whole, nothing in zip(found, empty, strict=True)]
        best = min(found) - min(empty)
        records.append(_record("import", line, name, "ms", best, median(beyond), min(found) / min(empty)))
    return records


def _compiled(version: str, rounds: int) -> list[Record]:
    found: list[Record] = []
    for name, setup, work in _COMPILERS:
        runs = []
        for _ in range(rounds):
            spent, resident, _ = run_python(_COMPILE.format(version=version, setup=setup, work=work)).split()
            runs.append((int(spent) / 1e6, int(resident) / 1024))
        times, sizes = zip(*runs, strict=True)
        found.append(_record("memory", version, name, "ms", min(times), median(times), 1.0))
        found.append(_record("memory", version, name, "kB", min(sizes), median(sizes), 1.0))
    return found


def _record(bench: str, case: str, name: str, unit: str, best: float, middle: float, ratio: float) -> Record:
    return Record(
        bench=bench,
        case=case,
        variant="plain",
        contender=name,
        judges="",
        gc=True,
        unit=unit,
        best=best,
        median=middle,
        ratio=ratio,
        best_ratio=ratio,
    )


def run_python(code: str, backend: str = "") -> str:
    """What `code` prints in a fresh interpreter."""
    environment = {**os.environ, "EVCORE_BACKEND": backend}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )
    if done.returncode:
        raise RuntimeError(f"python -c {code.strip().splitlines()[0]!r} failed: {done.stderr.strip()[-500:]}")
    return done.stdout
