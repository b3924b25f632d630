"""memory: what an idle station keeps resident in the server that holds it.

In: peers, how many stations. Out: a `Record` per peer and kind of connection: bytes of resident memory for each station
that is connected, booted and silent, after a garbage collection; and bytes of kernel memory behind its connection,
which no process's resident memory shows: the growth of the system's slabs and socket buffers, both ends in it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypedDict

from benches.server.certificates import Certificates
from benches.server.client import Fleet, Target
from benches.server.servers import Peer, Server

KINDS: Final = ("plain", "TLS", "mTLS")
#: Stations that are there before the first reading: tables have been made, schemas compiled.
_EARLY: Final = 64


class Record(TypedDict):
    peer: str
    kind: str
    stations: int
    resident: float
    """Bytes a station, of the server process."""
    kernel: float
    """Bytes a connection, both ends, of the system's slabs and socket buffers."""
    seconds: float
    """Until all were booted; both sides at work."""


def measure(
    peers: Sequence[Peer], kinds: Sequence[str], counts: Sequence[int], folder: Path, say: Callable[[str], None]
) -> list[Record]:
    """A fresh server for every cell. `folder`: for the certificates of the TLS kinds."""
    certificates = Certificates(folder)
    records = []
    for peer in peers:
        for kind in kinds:
            for count in counts:
                say(f"memory: {peer.name}, {kind}, {count:,} stations")
                with Server(peer, *certificates.arguments(kind)) as server:
                    records.append(_cell(server, kind, count, certificates))
    return records


def _cell(server: Server, kind: str, count: int, certificates: Certificates) -> Record:
    target = Target(server.ports["ocpp1.6"], secure=certificates.client(kind), echo=server.peer.echo)
    fleet = Fleet()
    try:
        fleet.open([target] * _EARLY)
        resident, kernel = _weigh(server, fleet, 0.3)
        opening = fleet.open([target] * count)
        grown = _weigh(server, fleet, 0.3 + count / 5_000)
        return Record(
            peer=server.peer.name,
            kind=kind,
            stations=count,
            resident=(grown[0] - resident) / count,
            kernel=(grown[1] - kernel) / count,
            seconds=opening.seconds,
        )
    finally:
        fleet.close()


def _weigh(server: Server, fleet: Fleet, seconds: float) -> tuple[int, int]:
    """Bytes of the server, of the kernel; `seconds`: for the collection, and for what came with the last handshakes
    (session tickets) to be read.
    """
    fleet.idle(seconds / 2)
    server.collect()
    fleet.idle(seconds)
    return server.resident(), _kernel()


def _kernel() -> int:
    buffers = re.search(r"^TCP:.* mem (\d+)", Path("/proc/net/sockstat").read_text(), re.MULTILINE)
    slabs = re.search(r"^Slab:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    assert buffers is not None
    assert slabs is not None
    return int(buffers[1]) * os.sysconf("SC_PAGESIZE") + int(slabs[1]) * 1024
