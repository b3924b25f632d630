"""Many server processes and many stations at once: what hold and storm have in common.

In: how many stations, how many server processes. Out: the running servers (one evcore process a port), the processor
time that servers and stations have used, percentiles.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from benches.server.load import STATIONS, Loads
from benches.server.servers import Peer, Server

WINDOW: Final = 256
"""Stations a load process has on their way at a time."""
PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9, 100.0)


@dataclass
class Crowd:
    servers: list[Server]
    loads: Loads

    def cpu(self) -> tuple[float, float]:
        """Processor seconds so far: of all servers, of all stations."""
        return sum(server.cpu_seconds() for server in self.servers), sum(map(cpu_seconds, self.loads.pids))

    @property
    def ports(self) -> list[int]:
        return [server.ports["ocpp1.6"] for server in self.servers]


@contextmanager
def crowd(peer: Peer, stations: int, processes: int | None) -> Iterator[Crowd]:
    """`processes` servers and as many load processes; None: as many as the stations need."""
    count = processes or max(1, -(-stations // STATIONS))
    with ExitStack() as stack:
        servers = [stack.enter_context(Server(peer)) for _ in range(count)]
        yield Crowd(servers, stack.enter_context(Loads(stations, count)))


def cpu_seconds(pid: int) -> float:
    return time.clock_gettime((~pid << 3) | 2)


def percentiles(answers: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Milliseconds by percentile, over all load processes; empty without a latency."""
    latencies = sorted(latency for answer in answers for latency in answer["latencies"])
    if not latencies:
        return {}
    last = len(latencies) - 1
    return {f"{percent:g}": latencies[round(last * percent / 100)] / 1000 for percent in PERCENTILES}
