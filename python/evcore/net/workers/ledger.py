"""Which worker owns which station, without I/O.

Comes in: claims of workers (a station has connected there), in the order the supervisor reads them, and the ends of
their connections. Goes out: which earlier claim has to give way. The claim read last wins. A claim is named by a token,
a number no other claim of a living worker has; its remainder by the number of workers is the worker.

A station that went away is remembered, because its state is with the worker that had it last: at most `away` of them,
the longest gone give way.
"""

from __future__ import annotations

from typing import Final

__all__ = ["AWAY", "Ledger"]

#: Stations remembered while they are away; identities are the peers' choice, so their number needs a bound.
AWAY: Final = 100_000


class Ledger:
    def __init__(self, workers: int, away: int = AWAY) -> None:
        self._workers = workers
        self._limit = away
        self._here: dict[str, int] = {}
        self._away: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._here) + len(self._away)

    def owner(self, identity: str) -> int | None:
        """The token of the claim that holds a station now, None where it is away or unknown."""
        return self._here.get(identity)

    def worker(self, token: int) -> int:
        """The worker that made a claim."""
        return token % self._workers

    def claim(self, identity: str, token: int) -> int | None:
        """Notes a claim. Returns the token of the claim that has to give way and hand over its state, or None where no
        other worker knows the station.
        """
        former = self._here.pop(identity, None)
        if former is None:
            former = self._away.pop(identity, None)
        self._here[identity] = token
        return former if former is not None and self.worker(former) != self.worker(token) else None

    def leave(self, identity: str, token: int) -> None:
        """The connection of a claim is over. The late end of one that gave way changes nothing."""
        if self._here.get(identity) != token:
            return
        del self._here[identity]
        self._away.pop(identity, None)
        self._away[identity] = token
        if len(self._away) > self._limit:
            del self._away[next(iter(self._away))]

    def lost(self, worker: int) -> None:
        """A worker died, and with it all it knew."""
        for claims in (self._here, self._away):
            for identity in [name for name, token in claims.items() if self.worker(token) == worker]:
                del claims[identity]
