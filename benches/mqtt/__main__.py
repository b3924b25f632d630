"""``python -m benches.mqtt``: what it costs to bring stations' messages to a broker, and what gets lost on the way."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from benches import machine, report
from benches.mqtt import latency, loss, memory, tables, throughput
from benches.server.client import WrongAnswer
from benches.server.servers import ROOT, Unavailable

PAGE: Final = ROOT / "docs" / "mqtt.md"
LATEST: Final = ROOT / "benches" / "out" / "mqtt.json"

Say = Callable[[str], None]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benches.mqtt", description=__doc__)
    parser.add_argument("--only", action="append", choices=tables.BENCHES, help="run this bench alone; may be repeated")
    parser.add_argument("--loss", action="store_true", help="the loss table alone: --only loss")
    parser.add_argument("--quick", action="store_true", help="a smoke run: answers checked, no figure worth reading")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument(
        "--pages",
        action="store_true",
        help=f"put the tables into {PAGE.relative_to(ROOT)} afterwards; with --only those of the other benches stay",
    )
    options = parser.parse_args(arguments)
    if sys.platform != "linux":
        print("benches.mqtt: needs Linux (epoll, /proc)", file=sys.stderr)
        return 1

    console = Console(stderr=True)
    document = _document()
    try:
        with tempfile.TemporaryDirectory(prefix="evcore-bench-") as folder:
            for name in ["loss"] if options.loss else options.only or tables.BENCHES:
                document["commands"][name] = _command(name, quick=options.quick)
                document["when"][name] = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
                document[name] = _run(name, options.quick, Path(folder), lambda text: console.print(f"[dim]{text}"))  # type: ignore[literal-required]
    except (Unavailable, WrongAnswer, AssertionError, TimeoutError, ConnectionError) as error:
        print(f"benches.mqtt: {error}", file=sys.stderr)
        return 1
    out = Console(width=None if sys.stdout.isatty() else 240)
    for table in tables.tables(document):
        out.print(report.rich_table(table))
    if options.json:
        _write(document, options.json)
    if options.pages:
        if LATEST.exists():
            document = tables.merged(json.loads(LATEST.read_text("utf-8")), document)
        _write(document, LATEST)
        print(f"{PAGE.relative_to(ROOT)}: {', '.join(tables.paste(document, PAGE)) or 'no marker'}")
    return 0


def _write(document: tables.Document, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def _run(name: str, quick: bool, folder: Path, say: Say) -> list[Any]:
    match name:
        case "throughput":
            return list(throughput.measure(throughput.SHORT if quick else throughput.Effort(), folder, say))
        case "latency":
            return list(latency.measure(latency.SHORT if quick else latency.Effort(), folder, say))
        case "memory":
            return list(memory.measure(500 if quick else memory.TOPICS, folder, say))
        case _:
            if quick:
                few = [case for case in loss.FAULTS if case.name in ("nothing happens", "evcore killed and restarted")]
                return list(loss.measure(loss.SHORT, folder, say, faults=few, levels=(1,)))
            return list(loss.measure(loss.LONG, folder, say))


def _command(name: str, *, quick: bool) -> str:
    return shlex.join(["python", "-m", "benches.mqtt", "--only", name, *(["--quick"] if quick else [])])


def _document() -> tables.Document:
    return tables.Document(
        machine=machine.machine("server on a CPU of its own but for memory and loss"),
        versions=_versions(),
        commands={},
        when={},
    )


def _versions() -> dict[str, str]:
    import evcore

    found = {"evcore": evcore.__version__}
    for name in ("aiomqtt", "paho-mqtt", "picows", "uvloop"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    try:
        said = subprocess.run(["mosquitto", "-h"], capture_output=True, text=True, check=False).stdout
        found["mosquitto"] = said.split("\n", 1)[0].removeprefix("mosquitto version ").strip()
    except OSError:
        found["mosquitto"] = "not installed"
    return found


if __name__ == "__main__":
    sys.exit(main())
