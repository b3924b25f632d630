"""The live table of stations on a terminal. What stations say of themselves is shown as plain text, never as markup."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from evcore.csms.payload import printable

if TYPE_CHECKING:
    from evcore.csms.application import Csms
    from evcore.csms.station import Station

__all__ = ["render", "show"]

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


async def show(csms: Csms, console: Console, url: str) -> None:
    """Draws until cancelled, twice a second."""
    with Live(render(csms, url, console.height), console=console, auto_refresh=False) as live:
        while True:
            await asyncio.sleep(0.5)
            live.update(render(csms, url, console.height), refresh=True)


def render(csms: Csms, url: str, height: int) -> RenderableType:
    """The table; as many stations as fit, the last heard of first when not all do."""
    stations = list(csms.stations.values())
    online = sum(station.connection is not None for station in stations)
    room = max(1, height - 8)
    hidden = len(stations) - room
    if hidden > 0:
        stations.sort(key=lambda station: station.last_seen or 0.0, reverse=True)
        del stations[room:]
    title = f"{url}/IDENTITY    {online} of {online + sum(s.connection is None for s in csms.stations.values())} online"
    table = Table(title=title, title_justify="left", title_style="bold", expand=True)
    for name in ("station", "OCPP", "state", "vendor, model", "last message"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    for name in ("messages", "violations", "transaction", "energy"):
        table.add_column(name, justify="right", no_wrap=True)
    for station in stations:
        table.add_row(*_row(station))
    if hidden > 0:
        table.caption = f"and {hidden} more"
    elif not stations:
        table.caption = "no station has connected yet"
    return table


def _row(station: Station) -> tuple[Text, ...]:
    state = "offline"
    if station.connection is not None:
        # The connector in the most telling state; 1.6 connector 0 and 2.x EVSE 0 are the station itself.
        states = [status for (evse, _), status in station.connectors.items() if evse] or ["online"]
        state = next((status for status in states if status != "Available"), states[0])
    running = next(reversed(station.transactions.values()), None)
    shown = running or station.last_transaction
    energy = "" if shown is None or shown.energy is None else f"{shown.energy / 1000:.2f} kWh"
    last = station.last_action
    if station.last_seen is not None:
        last = f"{datetime.fromtimestamp(station.last_seen, UTC).astimezone():%H:%M:%S} {last}"
    if running is not None and state == "Occupied":
        state = "Charging"
    return (
        Text(station.identity),
        Text(station.version.removeprefix("ocpp")),
        Text(state, style=_COLOURS.get(state, "")),
        Text(", ".join(part for part in (station.vendor, station.model) if part)),
        Text(last),
        Text(str(station.messages)),
        Text(str(station.violations), style="red" if station.violations else ""),
        Text("" if running is None else printable(running.id, 13)),
        Text(energy, style="" if running is not None else "dim"),
    )
