"""hold: a machine full of stations that say something now and then.

In: stations, messages a second, seconds. Out: a `Record`: how long it took until all were booted, what was sent and
what was answered, latency percentiles from the moment a message was due, resident memory of the servers, processor time
of both sides. Stations and servers share the machine; nobody is pinned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypedDict

from benches.server.crowd import WINDOW, crowd, percentiles

ACTIONS: Final = ("Heartbeat", "StatusNotification", "MeterValues")
"""In turn."""


class Record(TypedDict):
    stations: int
    processes: int
    open_seconds: float
    failures: dict[str, int]
    """Tries to connect that were repeated, by reason."""
    rate: float
    seconds: float
    sent: int
    lost: int
    """CALLs without an answer ten seconds after the end."""
    dropped: int
    """Connections that ended without being asked to."""
    latency_ms: dict[str, float]
    resident: float
    """Bytes a station, of all server processes, garbage not collected."""
    server_cpu: float
    """Processor seconds of all servers for each second of the run."""
    client_cpu: float


def measure(stations: int, rate: float, seconds: float, processes: int | None, say: Callable[[str], None]) -> Record:
    with crowd(stations, processes) as found:
        empty = found.server.resident()
        say(f"hold: {stations:,} stations connect to {found.processes} workers")
        openings = found.loads.open(found.port, WINDOW)
        resident = found.server.resident() - empty
        say(f"hold: {rate:,.0f} messages a second for {seconds:g} s")
        before = found.cpu()
        found.loads.pace(rate, seconds, ACTIONS)
        answers = found.loads.answers()
        spent = [after - start for after, start in zip(found.cpu(), before, strict=True)]
        sent, answered = (sum(answer[name] for answer in answers) for name in ("sent", "answered"))
        run = max(answer["seconds"] for answer in answers)
        return Record(
            stations=stations,
            processes=found.processes,
            open_seconds=max(opening["seconds"] for opening in openings),
            failures=merged(openings),
            rate=sent / run,
            seconds=run,
            sent=sent,
            lost=sent - answered,
            dropped=sum(answer["dropped"] for answer in answers),
            latency_ms=percentiles(answers),
            resident=resident / stations,
            server_cpu=spent[0] / run,
            client_cpu=spent[1] / run,
        )


def merged(openings: list[dict[str, dict[str, int]]]) -> dict[str, int]:
    """The failures of all load processes."""
    found: dict[str, int] = {}
    for opening in openings:
        for reason, count in opening["failures"].items():
            found[reason] = found.get(reason, 0) + count
    return found
