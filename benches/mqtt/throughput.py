"""throughput: from a station's frame to a subscriber of the broker, as many as go, at each QoS.

In: how long, how often. Out: a `Record` per peer and QoS: microseconds of processor time of the server process for one
event, and events a second that a subscriber saw, from the first frame until the last message. Every station has a
StatusNotification outstanding, which becomes one retained message. Every answer is checked, and every message must
arrive, as large as everybody else's. The server has a CPU of its own; stations, broker and subscriber share another.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from time import monotonic_ns, sleep
from typing import Final, TypedDict

from benches.mqtt.broker import broker
from benches.mqtt.peers import NAMES, OFF, peer
from benches.mqtt.subscriber import Subscriber
from benches.server.client import Fleet, Target, WrongAnswer
from benches.server.servers import Server, apart
from benches.server.wire import template

ACTION: Final = "StatusNotification"
#: Payloads of two peers may differ by so much.
_TOLERANCE: Final = 0.1


@dataclass(frozen=True)
class Effort:
    """`repeats` slices of `seconds` for every peer and QoS, over `connections` connections. `rest`: seconds for what
    a start leaves to be done.
    """

    seconds: float = 2.0
    repeats: int = 9
    connections: int = 32
    collectors: tuple[bool, ...] = (True, False)
    rest: float = 1.0


SHORT: Final = Effort(seconds=0.1, repeats=1, connections=8, collectors=(True,), rest=0.2)


class Record(TypedDict):
    peer: str
    qos: int
    cpu_us: float
    per_second: float
    count: int
    payload: float
    """Bytes of a payload, on average."""


def measure(
    effort: Effort,
    folder: Path,
    say: Callable[[str], None],
    names: Sequence[str] = NAMES,
    levels: Sequence[int] = (0, 1, 2),
) -> list[Record]:
    return [
        record
        for collector in effort.collectors
        for qos in levels
        for record in _measure(effort, folder, qos, collector, names, say)
    ]


def _measure(
    effort: Effort, folder: Path, qos: int, collector: bool, names: Sequence[str], say: Callable[[str], None]
) -> list[Record]:
    call = template("ocpp1.6", ACTION)
    with ExitStack() as stack:
        server_cpu = stack.enter_context(apart())
        port = stack.enter_context(broker(folder))
        subscriber = stack.enter_context(Subscriber(port, "chargers/+/status"))
        lanes: list[tuple[Server, Fleet]] = []
        for index, name in enumerate(names):
            made = peer(name, port, qos, folder, collector=collector)
            server = stack.enter_context(Server(made, cpu=server_cpu))
            fleet = Fleet(first=index * effort.connections)
            stack.callback(fleet.close)
            fleet.open([Target(server.ports["ocpp1.6"])] * effort.connections)
            fleet.race(call, effort.seconds / 4)
            lanes.append((server, fleet))
        sleep(effort.rest)
        samples: dict[str, list[tuple[float, float, int, float]]] = {}
        dice = random.Random(qos)
        for turn in range(effort.repeats):
            dice.shuffle(lanes)
            for server, fleet in lanes:
                say(f"throughput at QoS {qos}, round {turn + 1} of {effort.repeats}: {server.peer.name}")
                for _, other in lanes:
                    other.idle(0.0, patience=0.0)
                samples.setdefault(server.peer.name, []).append(_slice(server, fleet, subscriber, effort, qos))
    records = [
        Record(
            peer=name,
            qos=qos,
            cpu_us=median(cpu for cpu, _, _, _ in found) * 1e6,
            per_second=median(rate for _, rate, _, _ in found),
            count=sum(count for _, _, count, _ in found),
            payload=mean(size for _, _, _, size in found),
        )
        for name, found in samples.items()
    ]
    sizes = [record["payload"] for record in records]
    if max(sizes) > min(sizes) * (1 + _TOLERANCE):
        raise WrongAnswer(f"the payloads are not alike: {sizes} bytes")
    return sorted(records, key=lambda record: names.index(record["peer"].removesuffix(OFF)))


def _slice(
    server: Server, fleet: Fleet, subscriber: Subscriber, effort: Effort, qos: int
) -> tuple[float, float, int, float]:
    subscriber.begin()
    spent, begun = server.cpu_seconds(), monotonic_ns()
    count, _ = fleet.race(template("ocpp1.6", ACTION), effort.seconds)
    seen = subscriber.wait(count, 120.0)
    sleep(0.2)  # acknowledgements that are still on their way
    spent = server.cpu_seconds() - spent
    if seen["count"] != count:
        raise WrongAnswer(f"{server.peer.name}, QoS {qos}: {seen['count']} messages of {count} events arrived")
    return spent / count, count / ((seen["times"][-1] - begun) / 1e9), count, mean(seen["sizes"])
