"""Many server processes and many stations at once: what hold and storm have in common.

In: how many stations, how many server processes. Out: the running server, `evcore serve` with that many workers on one
port, the processor time that it and the stations have used, percentiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from benches.server.load import STATIONS, Loads
from benches.server.servers import Server, cpu_seconds, serve_peer

WINDOW: Final = 256
"""Stations a load process has on their way at a time."""
PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9, 100.0)


@dataclass
class Crowd:
    server: Server
    loads: Loads
    processes: int

    def cpu(self) -> tuple[float, float]:
        """Processor seconds so far: of the server, of all stations."""
        return self.server.cpu_seconds(), sum(map(cpu_seconds, self.loads.pids))

    @property
    def port(self) -> int:
        return self.server.ports["ocpp1.6"]


@contextmanager
def crowd(stations: int, processes: int | None) -> Iterator[Crowd]:
    """`processes` workers and as many load processes; None: as many as the stations need."""
    count = processes or max(1, -(-stations // STATIONS))
    with Server(serve_peer(count)) as server, Loads(stations, count) as loads:
        yield Crowd(server, loads, count)


def percentiles(answers: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Milliseconds by percentile, over all load processes; empty without a latency."""
    latencies = sorted(latency for answer in answers for latency in answer["latencies"])
    if not latencies:
        return {}
    last = len(latencies) - 1
    return {f"{percent:g}": latencies[round(last * percent / 100)] / 1000 for percent in PERCENTILES}
