"""``python -m benches.soak``: half an hour of load with churn and bad manners; memory and objects must stay flat."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import evcore
from benches.server.client import WrongAnswer
from benches.soak.crowd import Crowd
from benches.soak.verdict import MIB, Sample, judge, slope

ROOT: Final = Path(__file__).parents[2]

#: How often is looked, in a run: often enough for medians, seldom enough to disturb nobody.
LOOKS: Final = 90

#: From this length on the slope is told.
SLOPE_SECONDS: Final = 300


@dataclass
class Server:
    """The server's process, seen from outside but for the census it is asked for."""

    process: asyncio.subprocess.Process
    port: int
    began: float

    async def look(self) -> Sample:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"\n")
        said = json.loads(await asyncio.wait_for(self.process.stdout.readline(), 60))
        folder = Path("/proc") / str(self.process.pid)
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        files = len(list((folder / "fd").iterdir()))
        rss = int(status["VmRSS"].split()[0]) * 1024
        return Sample(time.monotonic() - self.began, rss, files, said["blocks"], said["types"])

    async def end(self) -> int:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 60)


async def serve(engine: str, log: IO[str]) -> Server:
    path = os.pathsep.join((str(Path(evcore.__file__).parents[1]), str(ROOT)))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EVCORE_")}
    if backend := os.environ.get("EVCORE_BACKEND"):
        kept["EVCORE_BACKEND"] = backend
    options = ("--port", "0", "--http-port", "none", "--engine", engine, "--log-level", "error", "--drain-seconds", "0")
    short = ("--handshake-seconds", "5", "--stall-seconds", "5")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benches.soak.server", "serve", *options, *short),
        env={**kept, "PYTHONPATH": path},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=log,
        limit=MIB,
    )
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    if not line.startswith("listening on "):
        await process.wait()
        raise WrongAnswer(f"the server did not start, its log is in {log.name}: {line}")
    return Server(process, int(line.rpartition(":")[2]), time.monotonic())


@contextlib.contextmanager
def shown(console: Console, seconds: float) -> Iterator[Progress]:
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=console, transient=True
    ) as progress:
        progress.add_task("warming up", total=seconds)
        yield progress


async def soak(options: argparse.Namespace, console: Console, log: IO[str]) -> list[str]:
    """Runs it and returns what is wrong."""
    seconds = options.minutes * 60
    server = await serve(options.engine, log)
    samples: list[Sample] = []
    wrong: list[str] = []
    crowd = Crowd(
        server.port,
        stations=options.stations,
        rate=options.rate,
        life=options.life,
        troubles=options.troubles,
        seed=options.seed,
    )
    load = asyncio.create_task(crowd.run())
    try:
        with shown(console, seconds) as progress:
            while not load.done() and (gone := time.monotonic() - server.began) < seconds:
                await asyncio.wait((load,), timeout=min(seconds / LOOKS, seconds - gone))
                sample = await server.look()
                samples.append(sample)
                description = (
                    f"{sample.rss / MIB:.1f} MiB, {sum(sample.types.values()):,} objects, {sample.files} files"
                )
                description += f"; {crowd.counts.answered:,} answers, {crowd.counts.connections:,} connections"
                progress.update(progress.task_ids[0], completed=sample.at, description=description)
    finally:
        load.cancel()
        for error in await asyncio.gather(load, return_exceptions=True):
            if isinstance(error, BaseExceptionGroup):
                wrong += [str(each) for each in error.exceptions]
        with contextlib.suppress(ProcessLookupError):
            status = await server.end()
            wrong += [f"the server's exit status is {status}"] if status else []
    wrong += judge(samples)
    counts = crowd.counts
    console.print(
        f"{counts.answered:,} CALLs answered in {samples[-1].at / 60:.1f} minutes; {counts.connections:,} connections, "
        f"{counts.ends:,} of them ended by their stations; {counts.troubles:,} times trouble."
    )
    # A slope of seconds says nothing about hours.
    steep = f", slope {slope(samples):+.2f} MiB an hour" if samples[-1].at >= SLOPE_SECONDS else ""
    console.print(
        f"Resident memory {samples[0].rss / MIB:.1f} MiB at first, {samples[-1].rss / MIB:.1f} MiB in the end{steep}; "
        f"{sum(samples[-1].types.values()):,} objects, {samples[-1].files} files."
    )
    if options.json is not None:
        options.json.write_text(json.dumps([vars(replace(each, types={})) for each in samples]))
    return wrong


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benches.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (%(default)g)")
    parser.add_argument("--stations", type=int, default=500, help="connected at any time (%(default)d)")
    parser.add_argument("--rate", type=float, default=1000.0, help="CALLs a second (%(default)g)")
    parser.add_argument("--life", type=float, default=30.0, help="seconds a connection lives, mean (%(default)g)")
    parser.add_argument("--troubles", type=float, default=10.0, help="troublemakers a second (%(default)g)")
    parser.add_argument("--engine", choices=("picows", "websockets"), default="picows", help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (%(default)d)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the samples there")
    options = parser.parse_args(arguments)
    if sys.platform != "linux":
        print("benches.soak: needs Linux (/proc)", file=sys.stderr)
        return 2
    console = Console()
    with tempfile.NamedTemporaryFile("w", suffix=".log") as log:
        wrong = asyncio.run(soak(options, console, log))
        said = Path(log.name).read_text()
    if "Traceback" in said:
        wrong.append(f"the server's log has a traceback:\n{said[said.index('Traceback') :][:2000]}")
    for sentence in wrong:
        console.print(f"[red]{sentence}[/red]")
    console.print("not flat" if wrong else "flat")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
