"""latency: one station that sends a StatusNotification every few milliseconds, at each QoS.

In: how many, how often. Out: a `Record` per peer and QoS: milliseconds from the frame's leaving the station until a
subscriber of the broker has the message, and until the station has its answer; the median and the 99th percentile.
Messages and answers come in order, so that the nth belongs to the nth frame; one that is missing is an error.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns, sleep
from typing import Any, Final, TypedDict, cast

from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from benches.frames import frames
from benches.mqtt.broker import broker
from benches.mqtt.peers import EVCORE, EVCORE_NORMAL, PLAIN_20, peer
from benches.mqtt.subscriber import Subscriber
from benches.server.client import WrongAnswer
from benches.server.servers import Server, apart

#: One CALL is outstanding at a time, so that aiomqtt's limit of publishes under way makes no difference.
NAMES: Final = (EVCORE, EVCORE_NORMAL, PLAIN_20)


@dataclass(frozen=True)
class Effort:
    """`count` frames, `pause` seconds after the answer to the one before; `warm` frames before they count. `rest`:
    seconds for what a start leaves to be done.
    """

    count: int = 1000
    pause: float = 0.005
    warm: int = 100
    rest: float = 1.0


SHORT: Final = Effort(count=20, pause=0.001, warm=2, rest=0.2)


class Record(TypedDict):
    peer: str
    qos: int
    seen_ms: tuple[float, float]
    answered_ms: tuple[float, float]
    count: int


def measure(
    effort: Effort,
    folder: Path,
    say: Callable[[str], None],
    names: Sequence[str] = NAMES,
    levels: Sequence[int] = (0, 1, 2),
) -> list[Record]:
    records = []
    with ExitStack() as stack:
        server_cpu = stack.enter_context(apart())
        port = stack.enter_context(broker(folder))
        subscriber = stack.enter_context(Subscriber(port, "chargers/+/status"))
        for qos in levels:
            for index, name in enumerate(names):
                say(f"latency at QoS {qos}: {name}")
                with Server(peer(name, port, qos, folder), cpu=server_cpu) as server:
                    sleep(effort.rest)
                    records.append(_measure(server, subscriber, f"CP{qos}{index}", qos, effort))
    return records


def _measure(server: Server, subscriber: Subscriber, identity: str, qos: int, effort: Effort) -> Record:
    url = f"ws://127.0.0.1:{server.ports['ocpp1.6']}/{identity}"
    with connect(url, subprotocols=[Subprotocol("ocpp1.6")], compression=None) as socket:
        described = {"chargePointVendor": "Northgrid", "chargePointModel": "KX22"}
        _ask(socket, json.dumps([2, "boot", "BootNotification", described]))
        frame = next(one for one in frames() if (one.version, one.action) == ("ocpp1.6", "StatusNotification"))
        payload = cast("list[Any]", frame.value)[3]
        for number in range(effort.warm):
            _ask(socket, json.dumps([2, f"w{number}", frame.action, payload]))
        sleep(effort.rest)
        subscriber.begin()
        sent, answered = [], []
        pause = threading.Event()
        for number in range(effort.count):
            text = json.dumps([2, f"m{number}", frame.action, payload])
            sent.append(monotonic_ns())
            _ask(socket, text)
            answered.append(monotonic_ns())
            pause.wait(effort.pause)
        seen = subscriber.wait(effort.count, 30.0)
    if seen["count"] != effort.count:
        raise WrongAnswer(f"{server.peer.name}, QoS {qos}: {seen['count']} messages of {effort.count} events arrived")
    return Record(
        peer=server.peer.name,
        qos=qos,
        seen_ms=_percentiles(seen["times"], sent),
        answered_ms=_percentiles(answered, sent),
        count=effort.count,
    )


def _ask(socket: ClientConnection, text: str) -> None:
    socket.send(text)
    while True:
        answer = json.loads(socket.recv(timeout=30))
        if answer[0] == 3:
            return
        if answer[0] == 4:
            raise WrongAnswer(f"{answer} to {text}")


def _percentiles(after: Sequence[int], before: Sequence[int]) -> tuple[float, float]:
    """Median and 99th percentile, in milliseconds."""
    found = sorted((end - start) / 1e6 for start, end in zip(before, after, strict=True))
    return found[len(found) // 2], found[min(len(found) - 1, len(found) * 99 // 100)]
