"""What happens at the connectors: cars come, charge and go, connectors fail and recover.

In: the scenario's figures, a station's random numbers, wishes of the CSMS (remote start and stop, availability,
reservations). Out: messages through the station's dialect, lines for people.
"""

from __future__ import annotations

import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from evcore.sim.car import Car
from evcore.sim.connector import Charge, Connector, Remote
from evcore.sim.rng import Rng

if TYPE_CHECKING:
    from evcore.sim.station import Station

__all__ = ["abandon", "begin", "start_remotely"]

_DAY: Final = 86_400.0
#: A car draws no less than this from AC: 6 A on one phase.
_LEAST: Final = 1_380.0
_NEVER: Final = float("inf")
#: Longest sleep of a parked car, so that a timer of a lost cause does not live for ever.
_LONGEST: Final = 7 * _DAY


def begin(station: Station) -> None:
    """The life of a station that has just been accepted after a start."""
    scenario, rng = station.fleet.scenario, station.rng
    for connector in station.connectors:
        soonest = _next_arrival(station)
        if rng.random() < scenario.arrivals.busy:
            soonest = rng.uniform(0.0, 300.0)
        _expect(station, connector, soonest)
        _expect_fault(station, connector)
    _expect_drop(station)
    for number, storm in enumerate(scenario.network.storms):
        # Drawn apart, so that a restart does not draw again.
        drawn = Rng(station.fleet.seed, f"{station}/storm{number}")
        if storm.at >= station.now and drawn.random() < storm.share:
            seconds = drawn.between(storm.offline)
            station.push(storm.at - station.now, partial(_offline, seconds=seconds))


def _offline(station: Station, seconds: float) -> None:
    station.spawn(station.go_offline(seconds))


def _expect_drop(station: Station) -> None:
    drops = station.fleet.scenario.network.drops
    if drops.every:
        station.push(station.net.exponential(drops.every), _drop)


def _drop(station: Station) -> None:
    station.spawn(station.go_offline(station.net.between(station.fleet.scenario.network.drops.offline)))
    _expect_drop(station)


# -- arrivals ---------------------------------------------------------------------------------------------------------


def _next_arrival(station: Station) -> float:
    """Seconds until the next car would come to a free connector."""
    arrivals, rng = station.fleet.scenario.arrivals, station.rng
    soonest = _NEVER
    if arrivals.within is not None:
        soonest = rng.between(arrivals.within)
    elif arrivals.every:
        soonest = rng.exponential(arrivals.every)
    now = station.fleet.clock.unix(station.now)
    for time in arrivals.times:
        # The sum of twelve is as good as normal, with unit variance.
        off = arrivals.spread * (sum(rng.random() for _ in range(12)) - 6.0)
        after = (time - now) % _DAY + off
        soonest = min(soonest, after if after > 0 else after + _DAY)
    return soonest


def _expect(station: Station, connector: Connector, seconds: float) -> None:
    if seconds < _NEVER:
        station.push(seconds, partial(_arrive, connector=connector))


def _arrive(station: Station, connector: Connector) -> None:
    if connector.visit is not None or station.leaving:
        return
    token: Any = None
    if connector.idle_status == "Reserved" and connector.reservation is not None and station.rng.random() < 0.5:
        # Every second car is the one it is reserved for.
        token = connector.reservation.token
    elif connector.idle_status != "Available":
        _expect(station, connector, _next_arrival(station))
        return
    connector.visit = station.spawn(_visit(station, connector, token, None))


def start_remotely(station: Station, connector: Connector, remote: Remote) -> None:
    """The CSMS wants a charge: on the car that stands there, or one that comes now."""
    if connector.visit is None:
        connector.visit = station.spawn(_visit(station, connector, None, remote))
    else:
        connector.remote = remote
        station.wake(connector.visit)


def abandon(station: Station, connector: Connector) -> None:
    """A restart: nobody is at the connector any more."""
    if connector.visit is not None:
        connector.visit.end()
    if connector.charge is not None:
        station.fleet.tally.charging -= 1
    connector.visit = connector.charge = connector.remote = connector.stop = None
    connector.plugged = False
    connector.reported = None


def _draw_car(station: Station) -> Car:
    cars, rng, supply = station.fleet.scenario.cars, station.rng, station.supply
    power = rng.choice(cars.power)
    phases = 0 if supply.phases == 0 else 1 if power <= 7.4 else supply.phases
    watts = min(1000 * power, supply.power * (phases or 1) / (supply.phases or 1) if supply.phases else supply.power)
    capacity, soc = 1000 * rng.between(cars.capacity), rng.between(cars.arrive)
    target = max(rng.between(cars.target), min(100.0, soc + 1))
    return Car(capacity, soc, target, watts, phases, supply.voltage)


def _charge_of(station: Station, connector: Connector, car: Car, token: Any, remote: Remote | None) -> Charge:
    number = uuid.UUID(int=station.rng.bits() << 64 | station.rng.bits(), version=4)
    charge = Charge(str(number), car, token, station.now, connector.register, remote)
    if connector.reservation is not None and connector.reservation.token == token:
        charge.reservation = connector.reservation.id
        connector.reservation = None
    return charge


async def _visit(station: Station, connector: Connector, token: Any, remote: Remote | None) -> None:
    """A car comes, charges where it may, and goes."""
    scenario, rng = station.fleet.scenario, station.rng
    car = _draw_car(station)
    stay = _NEVER if scenario.cars.stay is None else rng.between(scenario.cars.stay)
    leaves = station.now + stay
    connector.stop, connector.plugged = None, True
    await _set_status(station, connector, "Preparing")
    station.say("a car plugs in, {:.0f} % full, wants {:.0f} %", car.soc, car.target)
    if remote is None:
        remote, token = await _wait_for_driver(station, connector, token, leaves)
    if token is not None or remote is not None:
        charge = await _authorized(station, connector, car, token, remote)
        if charge is not None:
            await _charge(station, connector, charge, leaves)
            await _set_status(station, connector, "Finishing")
            await station.sleep(rng.uniform(5, 20))
        else:
            station.say("the token is refused")
            await station.sleep(rng.uniform(5, 20))
    station.say("the car unplugs")
    connector.plugged = False
    connector.visit = None
    await _set_status(station, connector, connector.idle_status)
    station.visits += 1
    if scenario.arrivals.visits and station.visits >= scenario.arrivals.visits:
        if all(each.visit is None for each in station.connectors) and not station.outbox:
            await station.quiet()
            station.leave()
        return
    if connector.visit is None:
        _expect(station, connector, _next_arrival(station))


async def _wait_for_driver(
    station: Station, connector: Connector, token: Any, leaves: float
) -> tuple[Remote | None, Any]:
    """Until the driver shows a token or the CSMS starts the charge; neither: ConnectionTimeOut is over."""
    patience = station.rng.uniform(5, 20)
    if station.fleet.scenario.cars.remote_only:
        patience = min(float(station.settings.whole("ConnectionTimeOut")) or _LONGEST, leaves - station.now)
    end = station.now + patience
    while connector.remote is None and connector.stop is None and station.now < end:
        await station.sleep(end - station.now)
    remote, connector.remote = connector.remote, None
    if remote is None and token is None and connector.stop is None and not station.fleet.scenario.cars.remote_only:
        token = station.dialect.token(station)
    return remote, token


async def _authorized(
    station: Station, connector: Connector, car: Car, token: Any, remote: Remote | None
) -> Charge | None:
    """The charge that may begin."""
    if remote is not None:
        token = remote.token
    ask = remote is None or station.settings.true("AuthorizeRemoteTxRequests")
    if ask and not await _authorize(station, token):
        return None
    if connector.fault is not None or connector.stop is not None:
        return None
    return _charge_of(station, connector, car, token, remote)


async def _authorize(station: Station, token: Any) -> bool:
    name = station.dialect.token_text(token)
    settings = station.settings
    known = (station.local_list or {}).get(name) if settings.true("LocalAuthListEnabled") else None
    if known == "Accepted" and settings.true("LocalPreAuthorize"):
        return True
    if station.online:
        accepted = await station.dialect.authorize(station, token)
        if accepted is not None or station.failure not in ("offline", "lost", "timeout"):
            return bool(accepted)
    if known is not None and settings.true("LocalAuthorizeOffline"):
        return known == "Accepted"
    return settings.true("AllowOfflineTxForUnknownId")


# -- the charge -------------------------------------------------------------------------------------------------------


async def _charge(station: Station, connector: Connector, charge: Charge, leaves: float) -> None:
    dialect, tally, car = station.dialect, station.fleet.tally, charge.car
    connector.charge = charge
    tally.charging += 1
    if charge.remote is not None and charge.remote.profile is not None:
        station.install(connector.number, charge.remote.profile)
    charge.limit = station.limit(connector)
    await dialect.start(station, connector, charge)
    station.say("transaction {} begins at {:.0f} Wh", dialect.transaction_id(charge), charge.begun)
    await _set_state(station, connector, charge, "Charging")
    reason = await _flow(station, connector, charge, leaves)
    car.stop()
    register = connector.register = charge.begun + car.drawn
    await dialect.stop(station, connector, charge, reason)
    connector.charge, connector.stop = None, None
    tally.charging -= 1
    tally.charges += 1
    tally.energy += car.drawn
    if station.profiles is not None:
        station.profiles.ended(connector.number)
    station.limits_changed()
    station.say(
        "transaction {} ends ({}) at {:.0f} Wh: {:.2f} kWh",
        dialect.transaction_id(charge), reason, register, car.drawn / 1000,
    )  # fmt: skip


async def _flow(station: Station, connector: Connector, charge: Charge, leaves: float) -> str:
    """Charges until the car is done, leaves, or somebody says so; returns why it ended."""
    dialect, car = station.dialect, charge.car
    parked = leaves < _NEVER
    sampled = station.now
    while True:
        if connector.stop is not None:
            return connector.stop
        if charge.refused and station.settings.true("StopTransactionOnInvalidId"):
            return "DeAuthorized"
        full = car.full
        if full and not parked:
            return "EVDisconnected" if station.rng.random() < 0.3 else "Local"
        if station.now >= leaves:
            return "Local"
        limit = station.supply.power if station.profiles is None else station.limit(connector)
        if limit != charge.limit:
            charge.limit = limit
            station.say("may draw {:.1f} kW from now on", limit / 1000)
            await dialect.rate_changed(station, connector, charge)
        suspended = (limit < _LEAST and car.phases > 0) or limit <= 0
        state = "SuspendedEVSE" if suspended else "SuspendedEV" if full else "Charging"
        if state != charge.state:
            await _set_state(station, connector, charge, state)
        interval = station.sample_interval
        due = sampled + interval if interval else station.now + _LONGEST
        wait = min(due, leaves) - station.now
        if station.profiles is not None:
            wait = min(wait, station.limit_changes(connector))
        elapsed = await station.sleep(max(0.01, wait))
        car.charge(elapsed, 0.0 if suspended else limit)
        connector.register = charge.begun + car.drawn
        if interval and station.now >= sampled + interval and connector.stop is None and not (car.full and not parked):
            sampled = station.now
            message = dialect.sample(station, connector, charge, "Sample.Periodic")
            if message is not None and not station.post(*message):
                await station.deliver(message[0], message[1], *message[2])
            if station.fleet.say is not None:
                station.say("{:.1f} kW, {:.0f} %, {:.0f} Wh", car.watts / 1000, car.soc, connector.register)


async def _set_state(station: Station, connector: Connector, charge: Charge, state: str) -> None:
    """Another 2.x ChargingState, which for 1.6 is a status."""
    charge.state = state
    if state == "Charging":
        charge.car.watts = min(charge.car.willing(), charge.limit or 0.0)
    else:
        charge.car.stop()
    await station.dialect.state_changed(station, connector, charge)
    await _set_status(station, connector, state)


async def _set_status(station: Station, connector: Connector, status: str) -> None:
    if connector.fault is not None:
        status = "Faulted"
    if status != connector.status:
        connector.status = status
        await station.dialect.report(station, connector)


# -- faults -----------------------------------------------------------------------------------------------------------


def _expect_fault(station: Station, connector: Connector) -> None:
    faults = station.fleet.scenario.faults
    if faults.every and connector.fault is None:
        station.push(station.rng.exponential(faults.every), partial(_fail, connector=connector))


def _fail(station: Station, connector: Connector) -> None:
    station.begin(_fault(station, connector))


async def _fault(station: Station, connector: Connector) -> None:
    faults, rng = station.fleet.scenario.faults, station.rng
    code = rng.choice(faults.codes)
    connector.fault = code
    connector.stop = "Fault"
    station.say("connector {} fails: {}", connector.number, code)
    connector.status = "Faulted"
    await station.dialect.report(station, connector)
    await station.dialect.fault(station, connector, code, cleared=False)
    station.wake(connector.visit)
    await station.sleep(rng.between(faults.last))
    connector.fault = None
    station.say("connector {} has recovered", connector.number)
    await station.dialect.fault(station, connector, code, cleared=True)
    if connector.visit is None:
        connector.stop = None
        await _set_status(station, connector, connector.idle_status)
    _expect_fault(station, connector)
