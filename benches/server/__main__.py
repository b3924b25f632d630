"""``python -m benches.server``: what messages, connections and bad days cost a server; tables and figures."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import ssl
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
from benches.server import handshakes, hold, memory, rtt, storm, tables
from benches.server.client import WrongAnswer
from benches.server.servers import (
    GC_OFF_PEERS,
    HOLDING_PEERS,
    OTHER_PEERS,
    PYTHON_PEERS,
    ROOT,
    Peer,
    Unavailable,
    build,
)

PAGE: Final = ROOT / "docs" / "capacity.md"
LATEST: Final = ROOT / "benches" / "out" / "server.json"
STATIONS: Final = 100_000
RATE: Final = 2_000.0
SECONDS: Final = 300.0
_SHORT_STATIONS: Final = 200

Say = Callable[[str], None]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benches.server", description=__doc__)
    parser.add_argument("--only", action="append", choices=tables.BENCHES, help="run this bench alone; may be repeated")
    parser.add_argument("--short", action="store_true", help="a smoke run: answers checked, no figure worth reading")
    parser.add_argument(
        "--peers", choices=("all", "python"), default="all", help="python: without those in Go and Node"
    )
    parser.add_argument("--seconds", type=float, help=f"hold: how long messages are sent ({SECONDS:g})")
    parser.add_argument("--stations", type=int, help=f"hold and storm: how many ({STATIONS:,})")
    parser.add_argument("--processes", type=int, help="hold and storm: server processes (as many as the stations need)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument(
        "--pages",
        action="store_true",
        help=f"put the tables into {PAGE.relative_to(ROOT)} afterwards; with --only those of the other benches stay",
    )
    options = parser.parse_args(arguments)
    if sys.platform != "linux":
        print("benches.server: needs Linux (epoll, /proc)", file=sys.stderr)
        return 1

    console = Console(stderr=True)
    document = _document()
    try:
        with tempfile.TemporaryDirectory(prefix="evcore-bench-") as folder:
            for name in options.only or tables.BENCHES:
                document["commands"][name] = _command(name, options)
                document["when"][name] = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
                document[name] = _run(name, options, Path(folder), lambda text: console.print(f"[dim]{text}"))  # type: ignore[literal-required]
    except (Unavailable, WrongAnswer, TimeoutError, ConnectionError) as error:
        print(f"benches.server: {error}", file=sys.stderr)
        return 1
    out = Console(width=None if sys.stdout.isatty() else 200)
    for table in reversed(tables.tables(document)):
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


def _run(name: str, options: argparse.Namespace, folder: Path, say: Say) -> list[Any]:
    short = options.short
    stations = options.stations or (_SHORT_STATIONS if short else STATIONS)
    match name:
        case "rtt":
            return list(rtt.measure(_peers(options, say), rtt.SHORT if short else rtt.Effort(), say))
        case "memory":
            counts = (_SHORT_STATIONS,) if short else (2_000, 15_000)
            return list(memory.measure(HOLDING_PEERS, memory.KINDS, counts, folder, say))
        case "hold":
            seconds = options.seconds or (2.0 if short else SECONDS)
            rate = RATE / 10 if short else RATE
            return [hold.measure(stations, rate, seconds, options.processes, say)]
        case "storm":
            bystanders, calm = (50, 1.0) if short else (1_000, storm.CALM_SECONDS)
            return [storm.measure(stations, bystanders, options.processes, say, calm)]
        case _:
            return list(handshakes.measure(HOLDING_PEERS, *((20, 1) if short else (500, 5)), folder, say))


def _peers(options: argparse.Namespace, say: Say) -> list[Peer]:
    """Those that can be measured here; a short run does without what cannot be built."""
    others = []
    for peer in OTHER_PEERS if options.peers == "all" else ():
        try:
            build(peer.build or "")
        except Unavailable as error:
            if not options.short:
                raise
            say(f"without {peer.name}: {error}")
        else:
            others.append(peer)
    return [*PYTHON_PEERS, *GC_OFF_PEERS, *others]


def _command(name: str, options: argparse.Namespace) -> str:
    words = ["python", "-m", "benches.server", "--only", name]
    if options.short:
        words.append("--short")
    if name == "rtt" and options.peers != "all":
        words += ["--peers", options.peers]
    for option in ("seconds", "stations", "processes"):
        value = getattr(options, option)
        if value is not None and (name == "hold" or (name == "storm" and option != "seconds")):
            words += [f"--{option}", f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(words)


def _document() -> tables.Document:
    return tables.Document(
        machine=machine.machine("server and client on a CPU each but for hold and storm")
        | {"TLS": ssl.OPENSSL_VERSION},
        versions=_versions(),
        commands={},
        when={},
    )


def _versions() -> dict[str, str]:
    import evcore

    found = {"evcore": evcore.__version__}
    for name in ("picows", "aiofastnet", "websockets", "uvloop", "ocpp"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    peers = Path(__file__).parent / "peers"
    go = (peers / "go" / "go.mod").read_text("utf-8")
    found["ocpp-go"] = go.split("ocpp-go ", 1)[1].split()[0]
    found["ocpp-rpc"] = json.loads((peers / "node" / "package.json").read_text("utf-8"))["dependencies"]["ocpp-rpc"]
    for name, command in (("Go", ["go", "env", "GOVERSION"]), ("Node", ["node", "--version"])):
        try:
            found[name] = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        except OSError:
            found[name] = "not installed"
    return found


if __name__ == "__main__":
    # Told to end, it leaves no server behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
