"""What a run ran on: processor, Python, packages; and keeping it on one CPU."""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benches.peers import OPTIONAL, REQUIRED


def pin() -> str:
    """Keep this process on the last CPU it may use, where the system can; says what came of it."""
    if not hasattr(os, "sched_setaffinity"):
        return "not pinned: this system has no CPU affinity"
    cpu = max(os.sched_getaffinity(0))
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError as error:
        return f"not pinned: {error.strerror}"
    return f"pinned to CPU {cpu}"


def machine(pinned: str) -> dict[str, str]:
    """Processor, system and Python of this process."""
    return {
        "processor": f"{_processor()}, {os.cpu_count()} CPUs, {pinned}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}, {' '.join(platform.libc_ver())}",
        "python": f"{platform.python_implementation()} {platform.python_version()}, {platform.python_compiler()}",
        "native module": native_toolchain() or "not built",
    }


def versions() -> dict[str, str]:
    """Package name to installed version, ours first."""
    import evcore

    found = {"evcore": evcore.__version__}
    for name in (*REQUIRED, *OPTIONAL):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def native_module() -> Path | None:
    """The file of evcore's native module, without importing it."""
    import evcore

    found = sorted(path for folder in evcore.__path__ for path in Path(folder).glob("_native*.so"))
    return found[0] if found else None


def native_toolchain() -> str | None:
    """The compiler that built the native module, read out of the module itself; None when there is no module."""
    path = native_module()
    if path is None:
        return None
    data = path.read_bytes()
    if found := re.search(rb"rustc version (\d[\w.\-]*)", data):
        return f"rustc {found[1].decode()}"
    if found := re.search(rb"/rustc/([0-9a-f]{40})/", data):
        return f"rustc commit {found[1][:10].decode()}"
    return "unknown rustc"


def _processor() -> str:
    if sys.platform == "linux":
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or platform.machine()


def simd() -> str:
    """The widest vector instructions of this processor that libraries choose their code by."""
    if sys.platform != "linux":
        return ""
    flags = set(re.findall(r"\w+", Path("/proc/cpuinfo").read_text("utf-8")))
    return next((name for name in ("avx512bw", "avx2", "sse4_2", "asimd") if name in flags), "")
