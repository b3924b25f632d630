"""A process full of stations, led by lines of JSON: for benches that need more of them than one process can hold.

Comes in, on standard input, one order a line: ``open`` (`count` stations at `port`), ``pace`` (`rate` CALLs
a second for `seconds`, or without `seconds` until the next line comes), ``storm`` (drop all connections, open them
again), ``end``. Goes out, on standard output: one line of JSON for each order. A failure ends the process with a
sentence. `Loads` is the other end of it.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

from benches.server.client import Fleet, Pace, Target
from benches.server.servers import ROOT
from benches.server.wire import template

STATIONS: Final = 17_000
"""At most so many in a process: a process may usually have 20,000 files open."""


class Load:
    """One process of stations, numbered from `first`."""

    def __init__(self, first: int) -> None:
        command = [sys.executable, "-m", "benches.server.load", str(first)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid

    def order(self, **order: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a load process ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class Loads:
    """Several processes, `stations` in all."""

    def __init__(self, stations: int, processes: int, first: int = 0) -> None:
        share, more = divmod(stations, processes)
        self._counts = [share + (index < more) for index in range(processes)]
        self._loads = [Load(first + sum(self._counts[:index])) for index in range(processes)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for load in self._loads:
            load.stop()

    @property
    def pids(self) -> list[int]:
        return [load.pid for load in self._loads]

    def open(self, port: int, window: int) -> list[dict[str, Any]]:
        for load, count in zip(self._loads, self._counts, strict=True):
            load.order(do="open", port=port, count=count, window=window)
        return self.answers()

    def pace(self, rate: float, seconds: float | None, actions: Sequence[str]) -> None:
        for load in self._loads:
            load.order(do="pace", rate=rate / len(self._loads), seconds=seconds, actions=list(actions))

    def order(self, **order: Any) -> None:
        for load in self._loads:
            load.order(**order)

    def answers(self) -> list[dict[str, Any]]:
        return [load.answer() for load in self._loads]


def main() -> int:
    fleet = Fleet(int(sys.argv[1]))
    # Without a buffer: an order that waits in one would be invisible to select.
    with open(0, "rb", buffering=0, closefd=False) as orders:
        while line := orders.readline():
            order = json.loads(line)
            try:
                answer = _obey(fleet, order)
            except (OSError, AssertionError) as error:
                print(f"load process {sys.argv[1]}: {order['do']}: {error}", file=sys.stderr)
                return 1
            print(json.dumps(answer), flush=True)
    fleet.close()
    return 0


def _obey(fleet: Fleet, order: dict[str, Any]) -> dict[str, Any]:
    match order["do"]:
        case "open":
            return asdict(fleet.open([Target(order["port"])] * order["count"], order["window"]))
        case "storm":
            begun = monotonic()
            fleet.drop()
            dropped = monotonic()
            opening = fleet.reopen(order["window"])
            return {**asdict(opening), "begun": begun, "dropped": dropped, "ended": monotonic()}
        case "pace":
            seconds = order["seconds"]
            calls = [template("ocpp1.6", action) for action in order["actions"]]
            paced = fleet.pace(calls, order["rate"], lambda gone: _over(gone, seconds))
            return _paced(paced)
        case "end":
            return {}
        case other:
            raise LookupError(f"no order {other!r}")


def _over(gone: float, seconds: float | None) -> bool:
    if seconds is not None:
        return gone >= seconds
    ready, _, _ = select.select([0], [], [], 0)
    return bool(ready)


def _paced(paced: Pace) -> dict[str, Any]:
    return {
        "seconds": paced.seconds,
        "sent": paced.sent,
        "answered": paced.answered,
        "dropped": paced.dropped,
        "latencies": paced.latencies.tolist(),
    }


if __name__ == "__main__":
    sys.exit(main())
