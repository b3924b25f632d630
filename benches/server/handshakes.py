"""tls: what it costs a server to let a station in.

In: peers and kinds of connection. Out: a `Record`: processor time of the server process for each station that came in,
TCP accept, TLS handshake and upgrade together, and how many a second one core takes of them by that. All handshakes are
full ones of TLS 1.3; stations drop out as soon as they are booted. The plain row is what all others have in them too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import TypedDict

from benches.server.certificates import KINDS, Certificates
from benches.server.client import Fleet, Target
from benches.server.servers import Peer, Server, apart


class Record(TypedDict):
    peer: str
    kind: str
    cpu_us: float
    """Of the server, for each station let in, booted and gone."""
    count: int


def measure(
    peers: Sequence[Peer], stations: int, repeats: int, folder: Path, say: Callable[[str], None]
) -> list[Record]:
    with apart() as cpu:
        return _measure(peers, stations, repeats, Certificates(folder), cpu, say)


def _measure(
    peers: Sequence[Peer], stations: int, repeats: int, certificates: Certificates, cpu: int, say: Callable[[str], None]
) -> list[Record]:
    records = []
    for peer in peers:
        for kind in KINDS:
            say(f"tls: {peer.name}, {kind}")
            with Server(peer, *certificates.arguments(kind), cpu=cpu) as server:
                target = Target(server.ports["ocpp1.6"], secure=certificates.client(kind), echo=peer.echo)
                samples = [_round(server, target, stations) for _ in range(1 + repeats)][1:]
            records.append(Record(peer=peer.name, kind=kind, cpu_us=median(samples) * 1e6, count=stations * repeats))
    return records


def _round(server: Server, target: Target, stations: int) -> float:
    fleet = Fleet()
    try:
        spent = server.cpu_seconds()
        fleet.open([target] * stations, window=32)
        fleet.drop()
        # The ends of the last connections belong to them.
        fleet.idle(0.3)
        return (server.cpu_seconds() - spent) / stations
    finally:
        fleet.close()
