"""The live state of one station, as its messages tell it. Kept in memory only and bounded against any peer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic, time
from typing import Any, Final

from evcore.bus import Bus
from evcore.endpoint import Boot, Memory
from evcore.net.connection import Connection
from evcore.net.limits import BootShaper

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
    """What handlers need of the CSMS: a clock, transaction ids, the answers to boots, the heartbeat interval in
    seconds before it is spread; the bus, where somebody wants to hear of the stations.
    """

    now: Callable[[], datetime]
    transaction_ids: Iterator[int]
    heartbeat_interval: int
    boots: BootShaper
    bus: Bus | None = None


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
    boot: Boot = field(default_factory=Boot)
    last_action: str = ""
    violations: int = 0
    connectors: dict[tuple[int, int], str] = field(default_factory=dict)
    transactions: dict[str, Transaction] = field(default_factory=dict)
    last_transaction: Transaction | None = None
    _seen: float | None = None
    _messages: int = 0

    @property
    def last_seen(self) -> float | None:
        """Unix time of the last sign of life."""
        connection = self.connection
        return self._seen if connection is None else time() - (monotonic() - connection.heard_at)

    @property
    def messages(self) -> int:
        """Messages of both directions, over all connections."""
        connection = self.connection
        return self._messages + (0 if connection is None else connection.received + connection.sent)

    def connected(self, connection: Connection[Station]) -> None:
        """Its connection from now on."""
        self.disconnected()
        self.connection = connection

    def disconnected(self) -> None:
        """It is away; what its connection counted is kept."""
        self._seen, self._messages, self.connection = self.last_seen, self.messages, None

    def __str__(self) -> str:
        return self.identity

    def clock(self) -> str:
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
            self.last_transaction = transaction

    # -- hand-over between processes -----------------------------------------------------------------------------------

    def export(self) -> dict[str, Any]:
        """What must not be lost when the station's next connection is to another process, as JSON values."""
        return {
            "version": self.version,
            "vendor": self.vendor,
            "model": self.model,
            "boot": self.boot.export(),
            "memory": self.memory.export(),
            "connectors": [[*place, status] for place, status in self.connectors.items()],
            "transactions": [[t.id, t.evse, t.first, t.last] for t in self.transactions.values()],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes over what another process exported."""
        self.vendor, self.model = str(state["vendor"]), str(state["model"])
        self.boot.restore(state["boot"])
        if state["version"] == self.version:
            # Answers and connector numbers mean what they mean in their version only.
            self.memory.restore(state["memory"], monotonic())
            self.connectors = {(evse, connector): status for evse, connector, status in state["connectors"]}
        for transaction in state["transactions"]:
            self.transactions[transaction[0]] = Transaction(*transaction)


def _bound(entries: dict[Any, Any]) -> None:
    if len(entries) > MAX_ENTRIES:
        del entries[next(iter(entries))]
