"""The live state of one station, as its messages tell it. Kept in memory only and bounded against any peer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from evcore.endpoint import Memory
from evcore.net.connection import Connection

__all__ = ["Backend", "Station", "Transaction"]

#: Connectors and running transactions remembered for one station; the oldest give way.
MAX_ENTRIES: Final = 64


@dataclass(slots=True)
class Transaction:
    """A charge under way. Energies are register readings in Wh; None until the station reported one."""

    id: str
    evse: int | None = None
    first: float | None = None
    last: float | None = None

    def read(self, register: float | None) -> None:
        """Takes a reading of the energy register, in Wh."""
        if register is not None:
            self.first = register if self.first is None else self.first
            self.last = register

    @property
    def energy(self) -> float | None:
        """Energy charged so far, in Wh."""
        return None if self.first is None or self.last is None else self.last - self.first


@dataclass(slots=True)
class Backend:
    """What handlers need of the CSMS: a clock, transaction ids, the heartbeat interval in seconds."""

    now: Callable[[], datetime]
    transaction_ids: Iterator[int]
    heartbeat_interval: int


@dataclass(slots=True, eq=False)
class Station:
    """A charging station. `connection` is None while it is away; the rest outlives its connections."""

    identity: str
    backend: Backend
    version: str = ""
    vendor: str = ""
    model: str = ""
    connection: Connection[Station] | None = None
    memory: Memory = field(default_factory=Memory)
    last_action: str = ""
    last_seen: float | None = None
    """Unix time of the last frame or connection."""
    messages: int = 0
    violations: int = 0
    connectors: OrderedDict[tuple[int, int], str] = field(default_factory=OrderedDict)
    transactions: OrderedDict[str, Transaction] = field(default_factory=OrderedDict)
    last_transaction: Transaction | None = None

    def __str__(self) -> str:
        return self.identity

    def time(self) -> str:
        """The CSMS clock as OCPP wants it: UTC, whole seconds, `Z` (some firmware reads nothing else)."""
        return self.backend.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def set_status(self, evse: int, connector: int, status: str) -> None:
        self.connectors[evse, connector] = status
        _bound(self.connectors)

    def begin(self, transaction_id: str, evse: int | None, register: float | None = None) -> Transaction:
        """The running transaction of this id, begun if it is not known. `evse`: the 1.6 connector or 2.x EVSE, where
        given.

        One place carries one transaction: an older one there was never stopped and gives way.
        """
        transaction = self.transactions.get(transaction_id)
        if transaction is None:
            for old in [old for old in self.transactions.values() if evse is not None and old.evse == evse]:
                del self.transactions[old.id]
            transaction = self.transactions[transaction_id] = Transaction(transaction_id, evse)
            _bound(self.transactions)
        transaction.read(register)
        self.last_transaction = transaction
        return transaction

    def end(self, transaction_id: str, register: float | None = None) -> None:
        """Ends a transaction; one that is not known is an orphan and of no consequence for the live state."""
        transaction = self.transactions.pop(transaction_id, None)
        if transaction is not None:
            transaction.read(register)


def _bound(entries: OrderedDict[tuple[int, int], str] | OrderedDict[str, Transaction]) -> None:
    if len(entries) > MAX_ENTRIES:
        entries.popitem(last=False)
