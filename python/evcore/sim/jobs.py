"""What a station does on an order and takes a while: firmware updates, log uploads, resets.

In: an order that was accepted. Out: status messages through the dialect, a restart. A job of a kind replaces the one
before it.
"""

from __future__ import annotations

import re
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from evcore.sim import visit
from evcore.sim.clock import parse

if TYPE_CHECKING:
    from evcore.sim.station import Station

__all__ = ["reset", "running", "start", "update_firmware", "upload"]

_SCHEMES: Final = frozenset(("ftp", "ftps", "http", "https", "sftp"))
#: The version in the name of a firmware file.
_VERSION: Final = re.compile(r"\d+(?:\.\d+)+")
#: Seconds between two looks whether the last charge is over, and looks at most.
_LOOK: Final = 60.0
_LOOKS: Final = 24 * 60


def running(station: Station, kind: str) -> bool:
    job = (station.jobs or {}).get(kind)
    return job is not None and not job.over


def start(station: Station, kind: str, coroutine: Coroutine[None, Any, None]) -> None:
    """Begins a job of a kind: `firmware`, `log`, `reset`. One of this kind that is under way ends."""
    if station.jobs is None:
        station.jobs = {}
    before = station.jobs.get(kind)
    if before is not None:
        before.end()
    station.jobs[kind] = station.spawn(coroutine)


async def _stop_charges(station: Station, reason: str) -> None:
    """Ends all charges and waits until their last messages are on their way."""
    for connector in station.connectors:
        if connector.charge is not None:
            connector.stop = reason
            station.wake(connector.visit)
    await _until_idle(station, 1.0)


async def _until_idle(station: Station, look: float) -> None:
    for _ in range(_LOOKS):
        if all(connector.charge is None for connector in station.connectors):
            return
        await station.sleep(look)


async def reset(station: Station, *, on_idle: bool) -> None:
    """Reset (1.6 section 5.14, 2.x B11, B12): charges are ended, or waited for."""
    if on_idle:
        await _until_idle(station, _LOOK)
    else:
        await _stop_charges(station, "Reset")
    await station.quiet()
    station.restart("ScheduledReset" if on_idle else "RemoteReset", 10.0)


async def update_firmware(station: Station, location: str, retrieve: str, request: int | None, *, signed: bool) -> None:
    """1.6 section 6.19, 2.x L01 and L02: downloads at its time, installs when nobody charges, restarts.

    Statuses are those of 2.x; the dialect leaves out what its version does not have.
    """
    dialect = station.dialect
    wait = _until(station, retrieve)
    if wait > 0:
        await dialect.firmware_status(station, "DownloadScheduled", request)
        await station.sleep(wait)
    await dialect.firmware_status(station, "Downloading", request)
    await station.sleep(station.rng.uniform(20, 120))
    if urlsplit(location).scheme not in _SCHEMES:
        await dialect.firmware_status(station, "DownloadFailed", request)
        return
    await dialect.firmware_status(station, "Downloaded", request)
    if signed:
        await dialect.firmware_status(station, "SignatureVerified", request)
    if any(connector.charge is not None for connector in station.connectors):
        await dialect.firmware_status(station, "InstallScheduled", request)
        await _until_idle(station, _LOOK)
    await dialect.firmware_status(station, "Installing", request)
    await station.sleep(station.rng.uniform(30, 180))
    await dialect.firmware_status(station, "InstallRebooting", request)
    await station.quiet()
    station.firmware = _named(location, station.firmware)
    station.restart("FirmwareUpdate", station.rng.uniform(20, 60))
    for _ in range(_LOOKS):
        if station.online:
            break
        await station.sleep(_LOOK)
    await dialect.firmware_status(station, "Installed", request)


def _until(station: Station, moment: str) -> float:
    return parse(moment) - station.fleet.clock.unix(station.now)


def _named(location: str, before: str) -> str:
    """The version a file is named after, else the next one."""
    named = _VERSION.search(location.rpartition("/")[2])
    if named is not None:
        return named[0][:50]
    head, dot, last = before.rpartition(".")
    return f"{head}{dot}{int(last) + 1}" if last.isdigit() else f"{before[:47]}.1"


async def upload(station: Station, location: str, request: int | None) -> None:
    """A log or diagnostics file (1.6 section 6.5, 2.x N01)."""
    await station.dialect.log_status(station, "Uploading", request)
    await station.sleep(station.rng.uniform(10, 60))
    failed = urlsplit(location).scheme not in _SCHEMES
    await station.dialect.log_status(station, "UploadFailure" if failed else "Uploaded", request)


def abandon_all(station: Station) -> None:
    """The simulation is over for this station: nothing of it goes on but its transaction messages."""
    for job in (station.jobs or {}).values():
        job.end()
    for connector in station.connectors:
        visit.abandon(station, connector)
