"""loss: what is gone when something breaks between a station and a subscriber, and what comes twice.

In: how many stations, messages and faults. Out: a `Record` per fault, QoS and way to the broker: `evcore serve --mqtt`,
and aiomqtt as its guide uses it, a publish waited for before the station is answered, and not. Faults, stations and
books are those of the tests (`tests/mqtt/faults`), and longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final, TypedDict

from benches.server.servers import Unavailable
from tests.mqtt.brokers import MissingBrokerError
from tests.mqtt.faults.books import Figures
from tests.mqtt.faults.faults import FAULTS, Case
from tests.mqtt.faults.stage import Effort, play, staged
from tests.mqtt.faults.subjects import Kind

__all__ = ["LONG", "SHORT", "Record", "measure"]

WAYS: Final[dict[Kind, str]] = {
    "serve": "evcore",
    "plain": "aiomqtt, waited for",
    "forget": "aiomqtt, not waited for",
}
LONG: Final = Effort(stations=8, messages=100, pause=0.01, outage=2.0, rounds=3, longest=600.0)
SHORT: Final = Effort(stations=2, messages=15, pause=0.005, outage=0.2, rounds=1)

#: Seconds after which nothing more is expected of a way that keeps nothing.
_PATIENCE: Final = 5.0


class Record(TypedDict):
    fault: str
    qos: int
    way: str
    figures: dict[str, int]


def measure(
    effort: Effort,
    folder: Path,
    say: Callable[[str], None],
    *,
    faults: Sequence[Case] = FAULTS,
    ways: Sequence[Kind] = tuple(WAYS),
    levels: Sequence[int] = (0, 1, 2),
) -> list[Record]:
    """Raises Unavailable without a broker."""
    records = []
    for number, case in enumerate(faults):
        for qos in levels:
            for kind in ways:
                say(f"loss: {case.name}, QoS {qos}, {WAYS[kind]}")
                place = folder / f"{number}-{qos}-{kind}"
                place.mkdir()
                try:
                    figures = asyncio.run(_one(effort, place, case, qos, kind))
                except MissingBrokerError as error:
                    raise Unavailable(str(error)) from error
                records.append(Record(fault=case.name, qos=qos, way=WAYS[kind], figures=asdict(figures)))
    return records


async def _one(effort: Effort, folder: Path, case: Case, qos: int, kind: Kind) -> Figures:
    if kind != "serve" or qos == 0:
        effort = replace(effort, patience=_PATIENCE)
    async with staged(folder, kind, qos, effort, witness=case.witness, **case.prepare(folder)) as stage:
        return await play(stage, case.fault)
