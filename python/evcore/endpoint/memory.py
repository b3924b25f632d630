"""The answers given to one station, so that a CALL that is sent again is answered again and not carried out twice.

Comes in: fingerprints of CALL frames, the answers given to them, the time. Goes out: the answer given before. Bounded
in number and age by two generations: entries go into the young one; when that is full or aged it takes the place of the
old one, which is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

__all__ = ["TRANSACTION_ACTIONS", "Memory", "Waiting"]

#: Actions a station repeats until they are answered (OCPP 1.6 section 3.7, 2.x E13): remembered across a reconnect.
TRANSACTION_ACTIONS: Final = frozenset({"StartTransaction", "StopTransaction", "MeterValues", "TransactionEvent"})


class Waiting(Protocol):
    """Somebody who waits for the answer to a CALL that an earlier connection is still at work on."""

    def adopt(self, fingerprint: int, reply: bytes, now: float | None) -> None: ...


class Memory:
    """Answers by fingerprint: `hash()` of the CALL's frame, so id, action and payload all count.

    Holds at most `size` answers, 2 or more, and gives none that is older than `seconds`; keeps each for half as many
    further answers and half as many seconds at least. Knows at most as many CALLs as `running`. It may outlive the
    connection: after `reconnected` only answers to transaction-related CALLs are kept, because a restarted station may
    use the ids of its other CALLs again, and an old answer to them (the time in a Heartbeat's) would be wrong.

    Raises ValueError for a smaller size.
    """

    __slots__ = ("_begun", "_half", "_old", "_running", "_seconds", "_young")

    def __init__(self, size: int = 32, seconds: float = 600.0) -> None:
        if size < 2:
            raise ValueError("a memory holds 2 answers at least")
        self._half = size // 2
        self._seconds = seconds
        self._begun = 0.0
        # Fingerprint -> (answer, time, whether it outlives a reconnect). None until needed: most stations are idle.
        self._young: dict[int, tuple[bytes, float, bool]] | None = None
        self._old: dict[int, tuple[bytes, float, bool]] | None = None
        self._running: dict[int, Waiting | None] | None = None

    def __len__(self) -> int:
        return len(self._young or ()) + len(self._old or ())

    def store(self, fingerprint: int, reply: bytes, now: float, lasting: bool) -> None:
        young = self._young
        if young is None:
            self._begun = now
            self._young = {fingerprint: (reply, now, lasting)}
        elif len(young) >= self._half or now - self._begun > self._seconds / 2:
            self._old, self._begun = young, now
            self._young = {fingerprint: (reply, now, lasting)}
        else:
            young[fingerprint] = (reply, now, lasting)

    def find(self, fingerprint: int, now: float) -> bytes | None:
        """The answer given to this CALL, or None."""
        known = None
        if self._young is not None:
            known = self._young.get(fingerprint)
        if known is None and self._old is not None:
            known = self._old.get(fingerprint)
        if known is None or now - known[1] > self._seconds:
            return None
        return known[0]

    def reconnected(self) -> None:
        """A new connection of the same station: forgets what its restart may have made wrong."""
        for answers in (self._young, self._old):
            if answers is not None:
                for fingerprint in [key for key, (_, _, lasting) in answers.items() if not lasting]:
                    del answers[fingerprint]

    # -- CALLs that an earlier connection has not answered yet ---------------------------------------------------------

    def running(self, fingerprint: int) -> None:
        """The connection ended while this CALL was at work; its answer is yet to come."""
        running = self._running
        if running is None:
            running = self._running = {}
        elif fingerprint not in running and len(running) >= 2 * self._half:
            # Owners that never answer: the oldest that nobody waits for is given up, for it will hardly be answered.
            oldest = next((key for key, waiting in running.items() if waiting is None), None)
            if oldest is None:
                return
            del running[oldest]
        running[fingerprint] = None

    def knows(self, fingerprint: int, now: float) -> bool:
        """Whether this CALL was answered, or is at work for an earlier connection."""
        young = self._young
        if (young is None or fingerprint not in young) and self._old is None and self._running is None:
            return False
        return self.find(fingerprint, now) is not None or self.is_running(fingerprint)

    def is_running(self, fingerprint: int) -> bool:
        return self._running is not None and fingerprint in self._running

    def join(self, fingerprint: int, waiting: Waiting) -> bool:
        """Whether this CALL is at work for an earlier connection; if so, `waiting` gets the answer."""
        if self._running is None or fingerprint not in self._running:
            return False
        self._running[fingerprint] = waiting
        return True

    def part(self, fingerprint: int, waiting: Waiting) -> None:
        """The end of `join`: who waited is gone."""
        if self.is_awaited(fingerprint) and self._running is not None and self._running[fingerprint] is waiting:
            self._running[fingerprint] = None

    def is_awaited(self, fingerprint: int) -> bool:
        """Whether somebody waits for the answer to this CALL."""
        return self._running is not None and self._running.get(fingerprint) is not None

    def finished(self, fingerprint: int, reply: bytes, now: float | None) -> None:
        """The answer to a CALL that was `running`. `now`: None where it was refused."""
        if self._running is None or fingerprint not in self._running:
            return
        waiting = self._running.pop(fingerprint)
        if not self._running:
            self._running = None
        if waiting is not None:
            waiting.adopt(fingerprint, reply, now)

    # -- hand-over between processes -----------------------------------------------------------------------------------

    def export(self) -> dict[str, Any]:
        """The lasting answers, for `restore` in another process that has the same hash seed."""
        kept = {**(self._old or {}), **(self._young or {})}
        return {"answers": [[key, reply.decode()] for key, (reply, _, lasting) in kept.items() if lasting]}

    def restore(self, state: Mapping[str, Any], now: float) -> None:
        for fingerprint, reply in state.get("answers", ())[: 2 * self._half]:
            self.store(int(fingerprint), str(reply).encode(), now, True)
