"""What differs between the versions for a simulated station: the messages of its scenario, the answers it gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from evcore.dispatch import Table
from evcore.sim.charge import Car
from evcore.sim.station import Charge, SimulatedStation

__all__ = ["Dialect"]

VENDOR = "evcore"
MODEL = "Simulator"


class Dialect(ABC):
    """One OCPP version as a station speaks it. Methods that send raise CallFailed."""

    version: ClassVar[str]
    table: ClassVar[Table[SimulatedStation]]

    @abstractmethod
    async def boot(self, station: SimulatedStation, reason: str) -> Mapping[str, Any]:
        """BootNotification; returns its answer. `reason` is a 2.x BootReason."""

    @abstractmethod
    def connector_status(self, status: str) -> str:
        """A 1.6 connector status in this version's words."""

    @abstractmethod
    async def send_status(self, station: SimulatedStation) -> None:
        """StatusNotification of the connector."""

    @abstractmethod
    def token(self, station: SimulatedStation) -> Mapping[str, Any]:
        """A driver's token, as this version's messages carry it."""

    @abstractmethod
    async def authorize(self, station: SimulatedStation, token: Mapping[str, Any]) -> bool:
        """Authorize; whether the token was accepted."""

    @abstractmethod
    async def start(self, station: SimulatedStation, car: Car, token: Mapping[str, Any], remote: int | None) -> Charge:
        """Begins a transaction. `remote`: the 2.x remoteStartId that asked for it."""

    @abstractmethod
    async def sample(self, station: SimulatedStation, charge: Charge, context: str) -> None:
        """Meter values of the transaction. `context`: a ReadingContext."""

    @abstractmethod
    async def stop(self, station: SimulatedStation, charge: Charge, reason: str) -> None:
        """Ends the transaction. `reason`: Remote, Reset, Local or EVDisconnected."""


def random_token(station: SimulatedStation) -> str:
    """The UID of a seven-byte RFID card, as hex digits."""
    return f"04{station.rng.getrandbits(48):012X}"
