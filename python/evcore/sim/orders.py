"""What both families of versions do with an order of the CSMS, once its words are translated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from evcore.sim.clock import parse
from evcore.sim.connector import Connector, Remote, Reservation
from evcore.sim.profiles import Profiles
from evcore.sim.visit import start_remotely

if TYPE_CHECKING:
    from evcore.sim.station import Order, Station

__all__ = [
    "ACCEPTED",
    "REJECTED",
    "Orders",
    "cancel_reservation",
    "charging_connector",
    "composite",
    "connectors",
    "report_again",
    "reserve",
    "sample",
    "set_operative",
    "start_charge",
    "stop_charge",
    "tell",
    "update_list",
]

ACCEPTED: Final = {"status": "Accepted"}
REJECTED: Final = {"status": "Rejected"}
_LONGEST: Final = 365 * 86_400


class Orders(dict[str, "Order"]):
    """A table from action to what is done."""

    def on(self, *actions: str) -> Callable[[Order], Order]:
        """Decorator: this function for these actions."""

        def register(order: Order) -> Order:
            for action in actions:
                self[action] = order
            return order

        return register


def connectors(station: Station, number: int | None) -> Iterator[Connector]:
    """The connector of this number; all of them for 0 and None."""
    return (each for each in station.connectors if not number or each.number == number)


def start_charge(station: Station, number: int | None, remote: Remote, token: str) -> bool:
    """Whether a charge begins at the connector, or any."""
    for connector in connectors(station, number):
        free = connector.idle_status == "Available" or (
            connector.reservation is not None
            and connector.fault is None
            and connector.operative
            and station.dialect.token_text(connector.reservation.token) == token
        )
        if connector.charge is None and connector.remote is None and free:
            station.say("is asked to start a transaction at connector {}", connector.number)
            start_remotely(station, connector, remote)
            return True
    return False


def stop_charge(station: Station, transaction: str) -> bool:
    connector = charging_connector(station, transaction)
    if connector is None:
        return False
    station.say("is asked to stop its transaction")
    connector.stop = "Remote"
    station.wake(connector.visit)
    return True


def charging_connector(station: Station, transaction: str) -> Connector | None:
    for connector in station.connectors:
        if connector.charge is not None and station.dialect.transaction_id(connector.charge) == transaction:
            return connector
    return None


def set_operative(station: Station, number: int | None, operative: bool) -> str:
    """AvailabilityStatus: `Scheduled` where somebody charges and it is for later."""
    found = list(connectors(station, number))
    if not found:
        return "Rejected"
    for connector in found:
        connector.operative = operative
    scheduled = not operative and any(connector.visit is not None for connector in found)
    for connector in found:
        if connector.visit is None:
            report_idle(station, connector)
    return "Scheduled" if scheduled else "Accepted"


def report_idle(station: Station, connector: Connector) -> None:
    """The status of a connector nobody uses, after the order is answered."""

    async def report() -> None:
        if connector.visit is None:
            connector.status = connector.idle_status
            await station.dialect.report(station, connector)

    station.spawn(report())


def reserve(station: Station, number: int | None, reservation: int, token: Any, expires: str) -> str:
    """ReservationStatus."""
    until = parse(expires) - station.fleet.clock.start
    if until <= station.now:
        return "Rejected"
    for connector in connectors(station, number):
        known = connector.reservation
        if (connector.idle_status == "Available" and connector.visit is None) or (known and known.id == reservation):
            connector.reservation = Reservation(reservation, token, until)
            report_idle(station, connector)
            station.spawn(_expire(station, connector, reservation, until - station.now))
            return "Accepted"
    statuses = {connector.idle_status for connector in connectors(station, number)}
    return next((status for status in ("Faulted", "Unavailable") if statuses == {status}), "Occupied")


async def _expire(station: Station, connector: Connector, reservation: int, seconds: float) -> None:
    await station.sleep(min(seconds, _LONGEST))
    known = connector.reservation
    if known is not None and known.id == reservation and known.expires <= station.now:
        connector.reservation = None
        report_idle(station, connector)
        if station.dialect.version != "1.6":
            expired = {"reservationId": reservation, "reservationUpdateStatus": "Expired"}
            await station.call("ReservationStatusUpdate", expired)


def cancel_reservation(station: Station, reservation: int) -> Mapping[str, Any]:
    for connector in station.connectors:
        if connector.reservation is not None and connector.reservation.id == reservation:
            connector.reservation = None
            report_idle(station, connector)
            return ACCEPTED
    return REJECTED


def update_list(station: Station, version: int, full: bool, entries: list[tuple[str, str | None]]) -> str:
    """UpdateStatus / SendLocalListStatus. `entries`: token and status; None removes the token."""
    if not full and version <= station.list_version:
        return "VersionMismatch"
    known = {} if full or station.local_list is None else dict(station.local_list)
    for token, status in entries:
        if status is None:
            known.pop(token, None)
        else:
            known[token] = status
    if len(known) > station.settings.whole("LocalAuthListMaxLength"):
        return "Failed"
    station.local_list, station.list_version = known or None, version
    return "Accepted"


def composite(station: Station, number: int, seconds: int, unit: str | None) -> dict[str, Any] | None:
    """A composite schedule with the members both families have; None for a connector it has not got."""
    if number < 0 or number > len(station.connectors) or not 0 < seconds <= _LONGEST:
        return None
    unit = unit or ("W" if station.supply.phases == 0 else "A")
    charge = station.connectors[number - 1].charge if number else None
    supply = station.supply if number else station.supply._replace(power=station.supply.power * len(station.connectors))
    periods = (station.profiles or Profiles()).composite(
        number, station.fleet.clock.unix(station.now), seconds, station.charging(charge), supply,
        sum(each.charge is not None for each in station.connectors),
    )  # fmt: skip
    return {
        "duration": seconds,
        "chargingRateUnit": unit,
        "chargingSchedulePeriod": [
            {"startPeriod": start, "limit": round(limit if unit == "W" else supply.amperes(limit), 1)}
            for start, limit in periods
        ],
    }


async def tell(station: Station, action: str, payload: Mapping[str, Any]) -> None:
    await station.call(action, payload)


async def sample(station: Station, connector: Connector) -> None:
    """Meter values of the charge, now."""
    charge = connector.charge
    message = None if charge is None else station.dialect.sample(station, connector, charge, "Trigger")
    if message is not None:
        await station.deliver(message[0], message[1], *message[2])


async def report_again(station: Station, number: int | None) -> None:
    """StatusNotification for a connector or all, although the CSMS knows."""
    for connector in connectors(station, number):
        connector.reported = None
        await station.dialect.report(station, connector)
