"""What differs between the versions for a simulated station: the messages it sends, the orders it obeys."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from evcore.sim.connector import Charge, Connector
from evcore.sim.meter import Reading

if TYPE_CHECKING:
    from evcore.sim.station import Order, Station

__all__ = ["Dialect", "Message", "reading"]

#: A transaction message to be made: action, what makes the payload, from what.
Message: TypeAlias = tuple[str, Callable[..., Any], tuple[Any, ...]]


class Dialect(ABC):
    """One OCPP version as a station speaks it. What is async runs in a strand and sends; a message that cannot be sent
    is dropped, or kept where it is a transaction message. Shared by all stations.
    """

    version: ClassVar[str]
    subprotocol: ClassVar[str]
    orders: Mapping[str, Order]
    #: Transaction messages, which are kept until they are answered.
    stored: ClassVar[frozenset[str]]

    @abstractmethod
    def boot(self, station: Station) -> Mapping[str, Any]:
        """The payload of its BootNotification."""

    @abstractmethod
    async def report(self, station: Station, connector: Connector) -> None:
        """StatusNotification, when the CSMS does not know the status."""

    @abstractmethod
    async def fault(self, station: Station, connector: Connector, code: str, *, cleared: bool) -> None:
        """What is said of a fault beyond the status. `code`: a 1.6 error code."""

    @abstractmethod
    def token(self, station: Station) -> Any:
        """A driver's token, as this version's messages carry it."""

    @abstractmethod
    def token_text(self, token: Any) -> str: ...

    @abstractmethod
    async def authorize(self, station: Station, token: Any) -> bool | None:
        """Authorize; None when there was no answer."""

    @abstractmethod
    def transaction_id(self, charge: Charge) -> str:
        """The id the CSMS knows the transaction by."""

    @abstractmethod
    async def start(self, station: Station, connector: Connector, charge: Charge) -> None:
        """The transaction begins."""

    @abstractmethod
    async def state_changed(self, station: Station, connector: Connector, charge: Charge) -> None: ...

    @abstractmethod
    async def rate_changed(self, station: Station, connector: Connector, charge: Charge) -> None:
        """The limit is another one."""

    @abstractmethod
    def sample(self, station: Station, connector: Connector, charge: Charge, context: str) -> Message | None:
        """Meter values of the transaction, to be delivered; None where none are wanted. `context`: a ReadingContext."""

    @abstractmethod
    async def stop(self, station: Station, connector: Connector, charge: Charge, reason: str) -> None:
        """The transaction ends. `reason`: Remote, Reset, Local, EVDisconnected, DeAuthorized, Fault, Unlock."""

    @abstractmethod
    def dispensable(self, action: str, arguments: tuple[Any, ...]) -> bool:
        """Whether a stored message may be given up when there is no room: readings between begin and end."""

    @abstractmethod
    async def firmware_status(self, station: Station, status: str, request: int | None) -> None:
        """`status`: a 2.x FirmwareStatus. `request`: what asked for it, None for 1.6 UpdateFirmware."""

    @abstractmethod
    async def log_status(self, station: Station, status: str, request: int | None) -> None:
        """`status`: a 2.x UploadLogStatus. `request`: None for 1.6 GetDiagnostics."""


def reading(station: Station, connector: Connector, charge: Charge | None) -> Reading:
    """What the connector's meter shows."""
    voltage = station.supply.voltage + (-3.0 + 6.0 * station.rng.random())
    if charge is None:
        return Reading(station.time(), connector.register, 0.0, 0.0, voltage, 0.0, station.supply.phases)
    car = charge.car
    register = charge.begun + car.drawn
    return Reading(station.time(), register, car.watts, car.current, voltage, car.soc, car.phases)
