"""How a station changes its worker, without I/O: the supervisor's half of it, `claims` is the workers'.

Comes in: claims, ends of connections, states that were handed over, deaths of workers. Goes out, through `send(worker,
kind, …)`: `yield` to the worker that has to give a station up, `granted` to the one that claimed it, with the state it
had elsewhere or None. Every claim of a living worker is granted, as soon as nobody has anything more to hand over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evcore.net.workers.ledger import Ledger

__all__ = ["Exchange"]


class Exchange:
    def __init__(self, workers: int, send: Callable[..., None]) -> None:
        self._ledger = Ledger(workers)
        self._send = send
        # Token of the claim that gives way -> token of the claim that waits for its state.
        self._moves: dict[int, int] = {}

    def claim(self, identity: str, token: int) -> None:
        """A station has connected; the claim's token says to which worker."""
        former = self._ledger.claim(identity, token)
        if former is None:
            self._grant(token, None)
        else:
            self._moves[former] = token
            self._send(self._ledger.worker(former), "yield", identity, former)

    def leave(self, identity: str, token: int) -> None:
        """The connection of a claim is over."""
        self._ledger.leave(identity, token)

    def state(self, former: int, state: Any) -> None:
        """What the worker of a claim that gave way hands over."""
        token = self._moves.pop(former, None)
        if token is not None:
            self._grant(token, state)

    def lost(self, worker: int) -> None:
        """A worker died: what it has not handed over will not come."""
        self._ledger.lost(worker)
        for former, token in list(self._moves.items()):
            if self._ledger.worker(token) == worker:
                del self._moves[former]
            elif self._ledger.worker(former) == worker:
                del self._moves[former]
                self._grant(token, None)

    def _grant(self, token: int, state: Any) -> None:
        self._send(self._ledger.worker(token), "granted", token, state)
