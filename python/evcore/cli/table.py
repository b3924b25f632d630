"""The live table of stations on a terminal. What stations say of themselves is shown as plain text, never as markup.

Rows are plain values, because those of several workers come together here.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from evcore.csms.payload import printable

if TYPE_CHECKING:
    from evcore.csms.application import Csms
    from evcore.csms.station import Station

__all__ = ["Row", "Screen", "draw", "render", "screen", "show", "together"]

_COLOURS: Final = {
    "Available": "green",
    "Preparing": "yellow",
    "Occupied": "yellow",
    "Charging": "cyan",
    "Finishing": "yellow",
    "Faulted": "red",
    "Unavailable": "red",
    "offline": "dim",
}


class Row(NamedTuple):
    """One station. `last_seen` is a Unix time, `energy` Wh."""

    identity: str
    version: str
    state: str
    make: str
    last_seen: float
    last_action: str
    messages: int
    violations: int
    transaction: str
    running: bool
    energy: float | None


class Screen(NamedTuple):
    """What is shown: the stations heard of last, and how many there are and are online."""

    rows: list[Row]
    known: int
    online: int


async def show(take: Callable[[int], Awaitable[Screen]], console: Console, url: str) -> None:
    """Draws until cancelled, twice a second. `take(n)` gives a screen of at most n rows."""
    with Live(draw(Screen([], 0, 0), url), console=console, auto_refresh=False) as live:
        while True:
            live.update(draw(await take(_room(console.height)), url), refresh=True)
            await asyncio.sleep(0.5)


def render(csms: Csms, url: str, height: int) -> RenderableType:
    """The table of one application's stations on a screen of this many lines."""
    return draw(screen(csms, _room(height)), url)


def screen(csms: Csms, room: int) -> Screen:
    """At most `room` rows; when not all fit, the stations heard of last, first those."""
    stations = list(csms.stations.values())
    online = sum(station.connection is not None for station in stations)
    known = len(stations)
    if known > room:
        stations = heapq.nlargest(room, stations, key=lambda station: station.last_seen or 0.0)
    return Screen([_row(station) for station in stations], known, online)


def together(screens: list[Screen], room: int) -> Screen:
    """The screens of several workers as one."""
    rows = [row for each in screens for row in each.rows]
    known = sum(each.known for each in screens)
    rows = heapq.nlargest(room, rows, key=lambda row: row.last_seen) if known > room else sorted(rows)
    return Screen(rows, known, sum(each.online for each in screens))


def _room(height: int) -> int:
    return max(1, height - 8)


def draw(shown: Screen, url: str) -> RenderableType:
    """The table."""
    title = f"{url}/IDENTITY    {shown.online} of {shown.known} online"
    table = Table(title=title, title_justify="left", title_style="bold", expand=True)
    for name in ("station", "OCPP", "state", "vendor, model", "last message"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    for name in ("messages", "violations", "transaction", "energy"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in shown.rows:
        table.add_row(*_cells(row))
    if shown.known > len(shown.rows):
        table.caption = f"and {shown.known - len(shown.rows)} more"
    elif not shown.rows:
        table.caption = "no station has connected yet"
    return table


def _row(station: Station) -> Row:
    state = "offline"
    if station.connection is not None:
        # The connector in the most telling state; 1.6 connector 0 and 2.x EVSE 0 are the station itself.
        states = [status for (evse, _), status in station.connectors.items() if evse] or ["online"]
        state = next((status for status in states if status != "Available"), states[0])
    running = next(reversed(station.transactions.values()), None)
    charge = running or station.last_transaction
    if running is not None and state == "Occupied":
        state = "Charging"
    return Row(
        station.identity,
        station.version.removeprefix("ocpp"),
        state,
        ", ".join(part for part in (station.vendor, station.model) if part),
        station.last_seen or 0.0,
        station.last_action,
        station.messages,
        station.violations,
        "" if running is None else printable(running.id, 13),
        running is not None,
        None if charge is None else charge.energy,
    )


def _cells(row: Row) -> tuple[Text, ...]:
    last = row.last_action
    if row.last_seen:
        last = f"{datetime.fromtimestamp(row.last_seen, UTC).astimezone():%H:%M:%S} {last}"
    return (
        Text(row.identity),
        Text(row.version),
        Text(row.state, style=_COLOURS.get(row.state, "")),
        Text(row.make),
        Text(last),
        Text(str(row.messages)),
        Text(str(row.violations), style="red" if row.violations else ""),
        Text(row.transaction),
        Text("" if row.energy is None else f"{row.energy / 1000:.2f} kWh", style="" if row.running else "dim"),
    )
