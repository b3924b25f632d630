"""A station's transaction messages, kept until the CSMS has answered them (OCPP 1.6 section 3.7, 2.x E04 and E13).

Comes in: messages to store, the outcome of each transmission, the time. Goes out: the one to transmit next, in the
order they were stored: while the first is waiting for its next attempt the later ones wait too, and one is on its way
at a time. An outbox outlives the connections of its station; with a `Journal` it outlives the process.

A message that failed waits `interval` times the number of transmissions so far before the next one, and is discarded
after `attempts` of them. A full outbox gives up what a bill can do without: intermediate readings, every second one
first, never the beginning or the end of a transaction; when there is nothing left to give up, storing is refused.

A frame is of the version it was stored under. Over a connection of another version it is not sent: it waits for its
own, and messages of the version at hand pass it. `of_other_versions` tells what waits so, `remove` gives it up.

OCPP 1.6 numbers transactions in the answer to StartTransaction, and what follows has to carry that number. A station
that does not know it yet names the `transaction` of its messages in words of its own and has `UNNUMBERED` in its place
(errata sheet 3.18): the number is put in when it comes, or at once where it has come, until StopTransaction is over.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

__all__ = ["UNNUMBERED", "Journal", "Outbox", "OutboxFull", "Stored", "dispensable"]

#: The transactionId of a 1.6 message whose transaction has no number yet.
UNNUMBERED: Final = -1

#: Transaction ids beyond 64 bits are no transaction's: a peer's number goes into frames and files.
_NUMBERS: Final = 2**63

_MEMBER: Final = b'"transactionId":'


class OutboxFull(Exception):
    """The outbox is full of messages that must not be given up."""


@dataclass(slots=True)
class Stored:
    """A message on its way, as the frame that will be sent. `number` orders them; `transmissions` were made, `losses`
    of them ended with their connection; the next one is not made before `due` (seconds). `dispensable`: the transaction
    can be billed without it. `version`: that of its frame, empty for any. `transaction`: the station's own name of it.
    """

    number: int
    id: str
    action: str
    frame: bytes
    dispensable: bool = False
    transmissions: int = 0
    due: float = 0.0
    losses: int = 0
    version: str = ""
    transaction: str = ""


def dispensable(action: str, payload: Any) -> bool:
    """Whether the transaction can be billed without this message: intermediate readings (2.x E04.FR.07)."""
    if action == "TransactionEvent" and isinstance(payload, Mapping):
        return bool(payload.get("eventType", payload.get("event_type")) == "Updated")
    return action == "MeterValues"


class Journal(Protocol):
    """Where an outbox keeps its messages beyond the process.

    `load`, `numbers` and `stored` may raise OSError, and then nothing was stored. The others must not raise: they are
    called while frames are being handled, and what they fail to note costs one more transmission.
    """

    def load(self) -> Iterable[Stored]:
        """What is left of earlier processes, in order."""
        ...

    def numbers(self) -> Mapping[str, int]:
        """The transactions of 1.6 that have their number and are not over."""
        ...

    def stored(self, stored: Stored) -> None: ...

    def changed(self, stored: Stored) -> None:
        """Its frame, `transmissions` or `losses` are other ones now."""

    def removed(self, stored: Stored) -> None: ...

    def numbered(self, transaction: str, number: int | None) -> None:
        """The transaction has this number; None when it is over."""


class Outbox:
    """`attempts` and `interval` (seconds) are TransactionMessageAttempts and TransactionMessageRetryInterval of 1.6,
    MessageAttempts and MessageAttemptInterval (instance TransactionEvent) of 2.x; they may be set at any time. `size`:
    messages held at most. `losses`: connections that may end while a message waits for its answer without that being
    counted, for the CSMS may never have seen it; beyond, such an end is a failed transmission, so that a message that
    makes the CSMS hang up does not hold up the others for good.

    Raises ValueError; OSError of the journal.
    """

    __slots__ = (
        "_dropped",
        "_journal",
        "_number",
        "_numbers",
        "_out",
        "_stored",
        "attempts",
        "interval",
        "losses",
        "size",
    )

    def __init__(
        self,
        *,
        attempts: int = 3,
        interval: float = 60.0,
        size: int = 1000,
        losses: int = 10,
        journal: Journal | None = None,
    ) -> None:
        if attempts < 1 or interval < 0 or size < 1 or losses < 0:
            raise ValueError("attempts and size must be at least 1, interval and losses at least 0")
        self.attempts = attempts
        self.interval = interval
        self.size = size
        self.losses = losses
        self._journal = journal
        self._stored: OrderedDict[int, Stored] = OrderedDict()
        self._out: Stored | None = None
        self._dropped: list[Stored] = []
        self._number = 0
        self._numbers: OrderedDict[str, int] = OrderedDict()
        if journal is not None:
            for stored in journal.load():
                self._stored[stored.number] = stored
                self._number = max(self._number, stored.number)
            self._numbers.update(journal.numbers())

    def __len__(self) -> int:
        return len(self._stored)

    def __iter__(self) -> Iterator[Stored]:
        """What waits, in order; a copy is needed where it may change meanwhile."""
        return iter(self._stored.values())

    def put(
        self, call_id: str, action: str, frame: bytes, dispensable: bool, *, version: str = "", transaction: str = ""
    ) -> Stored:
        """Stores a message as the last. Raises OutboxFull; OSError of the journal, and then it is not stored."""
        if len(self._stored) >= self.size:
            self._make_room()
        if transaction in self._numbers and action != "StartTransaction":
            frame = _numbered(frame, self._numbers[transaction])
        stored = Stored(self._number + 1, call_id, action, frame, dispensable, version=version, transaction=transaction)
        if self._journal is not None:
            self._journal.stored(stored)
        self._number += 1
        self._stored[stored.number] = stored
        if action == "StartTransaction":
            # Another charge by the same name.
            self._forget_number(transaction)
        return stored

    def head(self, now: float, version: str = "") -> Stored | None:
        """The message to transmit now over a connection of `version`."""
        stored = self._first(version)
        return stored if stored is not None and stored.due <= now else None

    def due(self, version: str = "") -> float | None:
        """When the first message may be transmitted over a connection of `version`, or None."""
        stored = self._first(version)
        return None if stored is None else stored.due

    def of_other_versions(self, version: str) -> list[Stored]:
        """What cannot be sent over a connection of `version`."""
        return [stored for stored in self._stored.values() if stored.version not in ("", version)]

    def transmitted(self, stored: Stored) -> None:
        """It is about to go out; noted before it does."""
        self._out = stored
        stored.transmissions += 1
        if self._journal is not None:
            self._journal.changed(stored)

    def answered(self, stored: Stored, payload: Any = None) -> None:
        """The CSMS has taken it. `payload`: that of the CALLRESULT, where there was one that could be read."""
        if stored.action == "StartTransaction" and stored.transaction and isinstance(payload, Mapping):
            number = payload.get("transactionId", payload.get("transaction_id"))
            # Numbers first: if the process ends between the two, the StartTransaction is sent again and answered again.
            if type(number) is int and abs(number) < _NUMBERS:
                self._number_transaction(stored, number)
        self.remove(stored)

    def answered_late(self, call_id: str, payload: Any) -> bool:
        """A CALLRESULT came after its transmission was given up: the message need not be sent again. Tells whether
        there was such a message.
        """
        for stored in self._stored.values():
            if stored.id == call_id:
                if stored is self._out:
                    return False
                self.answered(stored, payload)
                return True
        return False

    def failed(self, stored: Stored, now: float) -> bool:
        """No answer, or a CALLERROR. Tells whether that was the last attempt and the message is discarded."""
        if stored.transmissions >= self.attempts:
            self.remove(stored)
            return True
        self._out = None
        stored.due = now + self.interval * stored.transmissions
        return False

    def lost(self, stored: Stored) -> bool:
        """The connection went with the answer outstanding. Due at once on the next one, and not counted unless that has
        happened too often; tells whether the message is discarded.
        """
        self._out = None
        stored.losses += 1
        stored.due = 0.0
        if stored.losses <= self.losses:
            stored.transmissions -= 1
        elif stored.transmissions >= self.attempts:
            self.remove(stored)
            return True
        if self._journal is not None:
            self._journal.changed(stored)
        return False

    def remove(self, stored: Stored) -> None:
        """It need not be sent any more."""
        if stored is self._out:
            self._out = None
        if self._stored.pop(stored.number, None) is not None and self._journal is not None:
            self._journal.removed(stored)
        if stored.action == "StopTransaction":
            self._forget_number(stored.transaction)

    def dropped(self) -> list[Stored]:
        """What was given up for room since the last reading."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def _first(self, version: str) -> Stored | None:
        if self._out is not None:
            return None
        for stored in self._stored.values():
            if not version or stored.version in ("", version):
                return stored
        return None

    def _number_transaction(self, start: Stored, number: int) -> None:
        for stored in self._stored.values():
            if stored.number <= start.number or stored.transaction != start.transaction:
                continue
            if stored.action == "StartTransaction":
                # Another charge by the same name.
                return
            frame = _numbered(stored.frame, number)
            if frame != stored.frame:
                stored.frame = frame
                if self._journal is not None:
                    self._journal.changed(stored)
        while len(self._numbers) >= self.size:
            # Charges that never stop are no reason to grow.
            self._forget_number(next(iter(self._numbers)))
        self._numbers[start.transaction] = number
        if self._journal is not None:
            self._journal.numbered(start.transaction, number)

    def _forget_number(self, transaction: str) -> None:
        if self._numbers.pop(transaction, None) is not None and self._journal is not None:
            self._journal.numbered(transaction, None)

    def _make_room(self) -> None:
        dispensable = [stored for stored in self._stored.values() if stored.dispensable and stored is not self._out]
        if not dispensable:
            raise OutboxFull(f"{len(self._stored)} transaction messages are waiting and none can be given up")
        for stored in dispensable[::2]:
            self.remove(stored)
            self._dropped.append(stored)


def _numbered(frame: bytes, number: int) -> bytes:
    """The frame of a 1.6 message with `number` in place of UNNUMBERED.

    In JSON a quote within a string stands behind a backslash, so the member's name with its quotes and colon is found
    nowhere but where it is a member; the messages that have it have it once.
    """
    before, member, after = frame.partition(_MEMBER)
    old = str(UNNUMBERED).encode()
    if not member or not after.startswith(old) or after[len(old) : len(old) + 1] not in (b",", b"}"):
        return frame
    return b"%b%b%d%b" % (before, member, number, after[len(old) :])
