"""Instruction counts of single calls, by callgrind: the same on a busy machine as on an idle one.

In: `benches.counted`, run under valgrind with hash seed and addresses fixed. Out: instructions per call and case, the
empty loop subtracted. Refused, with a sentence: a machine without valgrind.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from benches.process import ROOT

FEW: Final = 20
MANY: Final = 220
WARM: Final = 50
NULL: Final = "empty loop"


class CountsUnavailable(RuntimeError):
    """There is no valgrind, or it could not run the driver; the message says what to do."""


def instructions() -> dict[str, int]:
    """Case to instructions per call. Takes about half a minute."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise CountsUnavailable("valgrind was not found; install it (`apt install valgrind`, `dnf install valgrind`)")
    with tempfile.TemporaryDirectory(prefix="evcore-gate-") as folder:
        out = Path(folder) / "counts"
        command = [
            *_fixed_addresses(),
            valgrind,
            "--tool=callgrind",
            f"--callgrind-out-file={out}",
            "--dump-before=getppid",
            sys.executable,
            "-m",
            "benches.counted",
        ]
        environment = {**os.environ, "PYTHONHASHSEED": "0", "EVCORE_BACKEND": "native"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CountsUnavailable(f"valgrind could not run the driver: {done.stderr.strip()[-800:]}")
        names: list[str] = json.loads(done.stdout)
        # Dump 1 ends at the first mark: start-up and warming. Then two dumps for every case.
        spans = [_total(out.with_name(f"{out.name}.{2 + index}")) for index in range(2 * len(names))]
    per_call = {name: (spans[2 * index + 1] - spans[2 * index]) / (MANY - FEW) for index, name in enumerate(names)}
    empty = per_call.pop(NULL)
    return {name: round(count - empty) for name, count in per_call.items()}


def toolchain() -> dict[str, str]:
    """What instruction counts depend on besides the code: counts of another one cannot be compared."""
    from benches.machine import native_toolchain, simd

    version = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    return {
        "python": f"{platform.python_version()}, {platform.python_compiler()}",
        "rust": native_toolchain() or "not built",
        "valgrind": version,
        "libc": " ".join(platform.libc_ver()),
        "processor": f"{platform.machine()} {simd()}".strip(),
    }


def _total(path: Path) -> int:
    found = re.search(r"^(?:summary|totals): (\d+)", path.read_text("utf-8", "replace"), re.MULTILINE)
    if found is None:
        raise CountsUnavailable(f"callgrind left no count in {path.name}: was the mark (getppid) not seen?")
    return int(found[1])


def _fixed_addresses() -> list[str]:
    """The prefix that turns address randomisation off, where the system lets us."""
    command = ["setarch", platform.machine(), "-R"]
    if shutil.which("setarch") and not subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        return command
    return []
