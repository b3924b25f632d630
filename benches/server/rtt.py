"""rtt: what a server's processor spends on one CALL and its answer, from socket to socket.

In: peers. Out: a `Record` per peer and action: microseconds of processor time of the server process (user and system,
all threads) for each answered CALL, the median of several interleaved slices, and the answers a second seen. The server
has a CPU of its own, the client another; a few dozen connections have one CALL outstanding each, every one with an id
of its own. Every answer is checked.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Final, TypeAlias, TypedDict

from benches.server.client import Fleet, Target
from benches.server.servers import Peer, Server, apart
from benches.server.wire import Template, template

CALLS: Final = (
    ("ocpp1.6", "Heartbeat"),
    ("ocpp1.6", "StatusNotification"),
    ("ocpp1.6", "MeterValues"),
    ("ocpp2.0.1", "TransactionEvent"),
)
"""Version and action; the first is also what a server is warmed up with."""


@dataclass(frozen=True)
class Effort:
    """`repeats` slices of `seconds` for every peer and action, over `connections` connections."""

    seconds: float = 0.25
    repeats: int = 20
    connections: int = 32
    warm: float = 0.5


SHORT: Final = Effort(seconds=0.05, repeats=1, connections=8, warm=0.0)


Lane: TypeAlias = tuple[Peer, Server, Fleet, Template]


class Record(TypedDict):
    peer: str
    judges: str
    action: str
    cpu_us: float
    ratio: float
    """Median over the rounds of this cost over the first peer's in the same round."""
    per_second: float
    count: int


def measure(peers: Sequence[Peer], effort: Effort, say: Callable[[str], None]) -> list[Record]:
    """Run all `peers` at once and measure them in turn."""
    samples: dict[tuple[str, str], list[tuple[float, float, int]]] = {}
    with ExitStack() as stack:
        server_cpu = stack.enter_context(apart())
        lanes: list[Lane] = []
        for peer in peers:
            server = stack.enter_context(Server(peer, cpu=server_cpu))
            for version, action in CALLS:
                fleet = Fleet(first=len(lanes) * effort.connections)
                stack.callback(fleet.close)
                fleet.open([Target(server.ports[version], version, echo=peer.echo)] * effort.connections)
                call = template(version, action, echo=peer.echo)
                fleet.race(call, effort.warm)
                lanes.append((peer, server, fleet, call))
                _answer_pings(lanes)
        dice = random.Random(effort.repeats)
        for turn in range(effort.repeats):
            dice.shuffle(lanes)
            for peer, server, fleet, call in lanes:
                say(f"rtt, round {turn + 1} of {effort.repeats}: {peer.name}, {call.action}")
                _answer_pings(lanes)
                spent = server.cpu_seconds()
                count, seconds = fleet.race(call, effort.seconds)
                spent = server.cpu_seconds() - spent
                samples.setdefault((peer.name, call.action), []).append((spent / count, count / seconds, count))
    return [
        Record(
            peer=peer.name,
            judges=peer.judges,
            action=action,
            cpu_us=median(cpu for cpu, _, _ in found) * 1e6,
            ratio=median(mine[0] / floor[0] for mine, floor in zip(found, samples[peers[0].name, action], strict=True)),
            per_second=median(rate for _, rate, _ in found),
            count=sum(count for _, _, count in found),
        )
        for peer in peers
        for _, action in CALLS
        if (found := samples[peer.name, action])
    ]


def _answer_pings(lanes: Sequence[Lane]) -> None:
    """Of all servers: some cut off who has not answered for 20 s, and a round takes longer."""
    for _, _, fleet, _ in lanes:
        fleet.idle(0.0, patience=0.0)
