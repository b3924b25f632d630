"""Books of a run: what was sent, acknowledged to the station, received at the broker, and what follows from these."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.mqtt.observer import Seen

#: A message of a station: its identity, and the running number it gave the message.
Key: TypeAlias = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Figures:
    """One row of the loss table.

    sent: messages of stations. acknowledged: those answered with a CALLRESULT, once each. received: those a subscriber
    got. duplicated: events that came more than once, told by their id, every further copy counted. repeated: further
    events of a message which a station sent again because its answer did not come. lost: acknowledged, never received.
    disordered: first copies that came after a later one of the same station.
    """

    sent: int
    acknowledged: int
    received: int
    duplicated: int
    repeated: int
    lost: int
    disordered: int


@dataclass
class Books:
    sent: set[Key] = field(default_factory=set)
    acknowledged: set[Key] = field(default_factory=set)
    #: CALLERRORs the stations got.
    refused: int = 0

    def missing(self, seen: Iterable[Seen]) -> set[Key]:
        """What was acknowledged and is not there."""
        return self.acknowledged - {key for key, _ in entries(seen)}

    def close(self, seen: Iterable[Seen]) -> Figures:
        """Adds it all up. Raises AssertionError for an event of a message nobody sent."""
        ids: Counter[str] = Counter()
        events: defaultdict[Key, set[str]] = defaultdict(set)
        latest: dict[str, int] = {}
        disordered = 0
        for key, identifier in entries(seen):
            assert key in self.sent, f"an event of a message that was never sent: {key}"
            station, number = key
            if key not in events:
                disordered += number < latest.get(station, -1)
                latest[station] = max(number, latest.get(station, -1))
            events[key].add(identifier)
            ids[identifier] += 1
        return Figures(
            sent=len(self.sent),
            acknowledged=len(self.acknowledged),
            received=len(events),
            duplicated=sum(count - 1 for count in ids.values()),
            repeated=sum(len(different) - 1 for different in events.values()),
            lost=len(self.acknowledged - events.keys()),
            disordered=disordered,
        )


def entries(seen: Iterable[Seen]) -> Iterable[tuple[Key, str]]:
    """Of every event of a transaction: whose message it is, and its id."""
    for one in list(seen):
        if one.payload[:1] != b"{":
            continue
        event = json.loads(one.payload)
        if str(event.get("kind", "")).startswith("transaction.") and event.get("sequence") is not None:
            yield (event["station"], event["sequence"]), event["id"]
