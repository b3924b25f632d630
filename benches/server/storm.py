"""storm: all stations are gone at once and come back at once, but for a few that stay and must not notice.

In: stations, bystanders. Out: a `Record`: seconds from the drop until the last station was connected, upgraded and
booted again, and the latency of the bystanders' heartbeats before and during the storm. The stations close their
connections without a word and come back as fast as they are let in; servers learn of the drop while the first are back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypedDict

from benches.server.crowd import WINDOW, crowd, percentiles
from benches.server.hold import merged
from benches.server.load import Loads

CALM_SECONDS: Final = 5.0
BEAT_SECONDS: Final = 5.0
"""Each bystander sends a Heartbeat this often."""


class Record(TypedDict):
    stations: int
    bystanders: int
    processes: int
    open_seconds: float
    seconds: float
    """From the drop until all were booted again."""
    failures: dict[str, int]
    calm_ms: dict[str, float]
    storm_ms: dict[str, float]
    heartbeats: int
    """Sent by bystanders during the storm."""
    lost: int
    dropped: int
    server_cpu: float
    """Processor seconds of all servers for each second of the storm."""
    client_cpu: float


def measure(stations: int, bystanders: int, processes: int | None, say: Callable[[str], None], calm: float) -> Record:
    with crowd(stations, processes) as found, Loads(bystanders, 1, first=stations) as others:
        say(f"storm: {stations:,} stations connect to {found.processes} workers, and {bystanders:,} bystanders")
        openings = found.loads.open(found.port, WINDOW)
        others.open(found.port, WINDOW)
        rate = bystanders / BEAT_SECONDS
        others.pace(rate, calm, ["Heartbeat"])
        quiet = others.answers()
        say("storm: all connections but the bystanders' drop at once")
        others.pace(rate, None, ["Heartbeat"])
        time.sleep(0.5)
        before = found.cpu()
        found.loads.order(do="storm", window=WINDOW)
        back = found.loads.answers()
        spent = [after - start for after, start in zip(found.cpu(), before, strict=True)]
        others.order(do="end")
        beats = others.answers()
        seconds = max(answer["ended"] for answer in back) - min(answer["begun"] for answer in back)
        return Record(
            stations=stations,
            bystanders=bystanders,
            processes=found.processes,
            open_seconds=max(opening["seconds"] for opening in openings),
            seconds=seconds,
            failures=merged(back),
            calm_ms=percentiles(quiet),
            storm_ms=percentiles(beats),
            heartbeats=sum(answer["sent"] for answer in beats),
            lost=sum(answer["sent"] - answer["answered"] for answer in [*quiet, *beats]),
            dropped=sum(answer["dropped"] for answer in [*quiet, *beats]),
            server_cpu=spent[0] / seconds,
            client_cpu=spent[1] / seconds,
        )
