"""A station's transaction messages, kept until the CSMS has answered them (OCPP 1.6 section 3.7, 2.x E04 and E13).

Comes in: messages to store, the outcome of each transmission, the time. Goes out: the one to transmit next, in the
order they were stored: while the first is waiting for its next attempt the later ones wait too. An outbox outlives the
connections of its station; with a `Journal` it outlives the process.

A message that failed waits `interval` times the number of transmissions so far before the next one, and is discarded
after `attempts` of them. A full outbox gives up what a bill can do without: intermediate readings, every second one
first, never the beginning or the end of a transaction; when there is nothing left to give up, storing is refused.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Journal", "Outbox", "OutboxFull", "Stored"]


class OutboxFull(Exception):
    """The outbox is full of messages that must not be given up."""


@dataclass(slots=True)
class Stored:
    """A message on its way, as the frame that will be sent. `number` orders them; `transmissions` were made; the next
    one is not made before `due` (seconds). `dispensable`: the transaction can be billed without it.
    """

    number: int
    id: str
    action: str
    frame: bytes
    dispensable: bool = False
    transmissions: int = 0
    due: float = 0.0


def dispensable(action: str, payload: Any) -> bool:
    """Whether the transaction can be billed without this message: intermediate readings (2.x E04.FR.07)."""
    if action == "TransactionEvent" and isinstance(payload, Mapping):
        return bool(payload.get("eventType", payload.get("event_type")) == "Updated")
    return action == "MeterValues"


class Journal(Protocol):
    """Where an outbox keeps its messages beyond the process. May raise OSError in `stored`: then nothing was stored."""

    def load(self) -> Iterable[Stored]:
        """What is left of earlier processes, in order."""
        ...

    def stored(self, stored: Stored) -> None: ...

    def transmitted(self, stored: Stored) -> None: ...

    def removed(self, stored: Stored) -> None: ...


class Outbox:
    """`attempts` and `interval` (seconds) are TransactionMessageAttempts and TransactionMessageRetryInterval of 1.6,
    MessageAttempts and MessageAttemptInterval (instance TransactionEvent) of 2.x. `size`: messages held at most.
    """

    __slots__ = ("_dropped", "_journal", "_number", "_stored", "attempts", "interval", "size")

    def __init__(
        self, *, attempts: int = 3, interval: float = 60.0, size: int = 1000, journal: Journal | None = None
    ) -> None:
        if attempts < 1 or interval < 0 or size < 1:
            raise ValueError("attempts and size must be at least 1, interval at least 0")
        self.attempts = attempts
        self.interval = interval
        self.size = size
        self._journal = journal
        self._stored: OrderedDict[int, Stored] = OrderedDict()
        self._dropped: list[Stored] = []
        self._number = 0
        if journal is not None:
            for stored in journal.load():
                self._stored[stored.number] = stored
                self._number = max(self._number, stored.number)

    def __len__(self) -> int:
        return len(self._stored)

    def put(self, call_id: str, action: str, frame: bytes, dispensable: bool) -> Stored:
        """Stores a message as the last. Raises OutboxFull; OSError of the journal."""
        if len(self._stored) >= self.size:
            self._make_room()
        stored = Stored(self._number + 1, call_id, action, frame, dispensable)
        if self._journal is not None:
            self._journal.stored(stored)
        self._number += 1
        self._stored[stored.number] = stored
        return stored

    def head(self, now: float) -> Stored | None:
        """The message to transmit now."""
        for stored in self._stored.values():
            return stored if stored.due <= now else None
        return None

    @property
    def due(self) -> float | None:
        """When the first message may be transmitted, or None."""
        for stored in self._stored.values():
            return stored.due
        return None

    def transmitted(self, stored: Stored) -> None:
        """It is on the wire."""
        stored.transmissions += 1
        if self._journal is not None:
            self._journal.transmitted(stored)

    def answered(self, stored: Stored) -> None:
        """The CSMS has taken it."""
        self._remove(stored)

    def failed(self, stored: Stored, now: float) -> bool:
        """No answer, or a CALLERROR. Tells whether that was the last attempt and the message is discarded."""
        if stored.transmissions >= self.attempts:
            self._remove(stored)
            return True
        stored.due = now + self.interval * stored.transmissions
        return False

    def lost(self, stored: Stored) -> None:
        """The connection went with the answer outstanding: due at once on the next one, and not counted, because the
        CSMS may never have seen it.
        """
        stored.transmissions -= 1
        stored.due = 0.0

    def dropped(self) -> list[Stored]:
        """What was given up for room since the last reading."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def _remove(self, stored: Stored) -> None:
        if self._stored.pop(stored.number, None) is not None and self._journal is not None:
            self._journal.removed(stored)

    def _make_room(self) -> None:
        # The first may be on the wire at this moment: it stays.
        dispensable = [stored for stored in list(self._stored.values())[1:] if stored.dispensable]
        if not dispensable:
            raise OutboxFull(f"{len(self._stored)} transaction messages are waiting and none can be given up")
        for stored in dispensable[::2]:
            self._remove(stored)
            self._dropped.append(stored)
