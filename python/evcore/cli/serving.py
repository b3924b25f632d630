"""The two ways to serve: all in this process, or with workers that this process looks after."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evcore.bus import Bus
from evcore.cli.common import fail, load_engine, need, on_signals, set_up_logging, usage
from evcore.cli.running import Ends, http, reload_or_end
from evcore.cli.service import Service, cannot_listen, url
from evcore.cli.table import Row, Screen, screen, show, together
from evcore.net.metrics import Snapshot, add
from evcore.net.workers.supervisor import Supervisor, WorkersFailed
from evcore.net.workers.worker import CannotStart
from evcore.settings.options import MQTT

if TYPE_CHECKING:
    from evcore.cli.bridging import Bridging, Gathering
    from evcore.settings.model import ServeSettings

__all__ = ["several", "single"]

log = logging.getLogger("evcore.serve")


class _Counted:
    """Snapshots of workers, summed. Counters of workers that are gone stay in the sum, or rates would jump."""

    #: What a dead worker has no more of.
    _GAUGES = frozenset({"connections", "inbox", "waiting", "memory", "feed_connected", "feed_waiting"})

    def __init__(self) -> None:
        self._last: dict[int, Snapshot] = {}
        self._gone: Snapshot = {}

    def total(self, snapshots: dict[int, Snapshot]) -> Snapshot:
        """The sum, with what workers said last that say nothing now."""
        self._last |= snapshots
        total = add({}, self._gone)
        for snapshot in self._last.values():
            add(total, snapshot)
        return total

    def lost(self, index: int) -> None:
        """A worker died."""
        last = self._last.pop(index, {})
        add(self._gone, {part: values for part, values in last.items() if part not in self._GAUGES})


#: Time a worker may take beyond what the settings allow before it is killed.
GRACE_SECONDS = 10.0


async def single(settings: ServeSettings) -> None:
    """Serves in this process until a signal comes."""
    ends = Ends()
    set_up_logging(settings.log_level)
    bus = Bus() if settings.mqtt else None
    bridging: Bridging | None = None
    try:
        service = Service(settings, bus=bus, feed=settings.feed)
        if bus is not None:
            bridging = _load_bridging().Bridging(settings, bus, service.orders)

        def reload() -> None:
            service.reload()
            if bridging is not None:
                bridging.reload()

        on_signals(ends.wish, reload_or_end(reload, ends))
        if bridging is not None:
            await bridging.start()
    except CannotStart as error:
        fail(str(error))

    async def snapshot() -> Snapshot:
        taken = add(await service.snapshot(), {"workers": {"": 1}, "restarts": {"": 0}})
        return taken if bridging is None else add(taken, bridging.snapshot())

    async def shown(room: int) -> Screen:
        return screen(service.csms, room)

    async def stop() -> None:
        # Stations go first: what they say last is in the spool before that is emptied.
        await service.stop()
        if bridging is not None:
            await bridging.stop()

    # Metrics are served until the last station is gone.
    with contextlib.ExitStack() as stack:
        try:
            await service.start()
            stack.enter_context(http(settings, snapshot, lambda: not ends.first.is_set()))
            await _until(ends, settings, service.port, shown)
        except CannotStart as error:
            fail(str(error))
        finally:
            await ends.unless_twice(stop())


async def several(settings: ServeSettings) -> None:
    """Serves with workers until a signal comes."""
    load_engine(settings.engine)
    if not hasattr(socket, "SO_REUSEPORT"):
        usage("this system has no SO_REUSEPORT, which --workers needs: serve with one")
    ends = Ends()
    set_up_logging(settings.log_level)
    console = _on_terminal(settings)
    counted = _Counted()
    with contextlib.ExitStack() as stack:
        feed = None if settings.feed is None else settings.feed.absolute()
        gathering: Gathering | None = None
        try:
            if settings.mqtt:
                # A folder of its own, which nobody else may look into, and a path that is short enough for a socket.
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="evcore-"))
                feed = Path(folder) / "feed"
                gathering = _load_bridging().Gathering(settings, feed)
            reserved = _reserve(settings)
        except CannotStart as error:
            fail(str(error))
        except OSError as error:
            fail(cannot_listen(error, settings))
        port = reserved[0].getsockname()[1]
        told = {
            # What is about the broker stays here, passwords among it.
            "settings": settings.model_dump(mode="json", exclude={name for name in MQTT if name != "mqtt_raw"}),
            "port": port,
            "log": "up" if console else "stderr",
            "feed": None if feed is None else str(feed),
        }
        supervisor = Supervisor(
            (sys.executable, "-P", "-m", "evcore.cli.worker"),
            settings.workers,
            lambda index: told,
            on_lost=counted.lost,
            on_log=lambda level, text: log.log(level, "%s", text),
        )

        async def snapshot() -> Snapshot:
            total = counted.total(await supervisor.ask("snapshot"))
            total = add(total, {"workers": {"": supervisor.up}, "restarts": {"": supervisor.restarts}})
            return total if gathering is None else add(total, gathering.snapshot())

        async def shown(room: int) -> Screen:
            screens = await supervisor.ask("screen", room)
            return together(
                [Screen([Row(*row) for row in rows], known, online) for rows, known, online in screens.values()], room
            )

        codes: list[int] = []

        async def start() -> None:
            if gathering is not None:
                await gathering.start()
            await supervisor.start()

        async def stop() -> None:
            seconds = settings.drain_seconds + settings.drain_grace + GRACE_SECONDS
            codes.extend(await supervisor.stop(seconds if feed is None else seconds + settings.feed_wait))
            if gathering is not None:
                await gathering.stop()

        def healthy() -> bool:
            return supervisor.up == settings.workers and not ends.first.is_set()

        def reload() -> None:
            supervisor.reload()
            if gathering is not None:
                gathering.reload()

        on_signals(ends.wish, reload_or_end(reload, ends))
        try:
            if await ends.unless_first(start()):
                stack.enter_context(http(settings, snapshot, healthy))
                await _until(ends, settings, port, shown, supervisor.failed())
        except (CannotStart, WorkersFailed) as error:
            fail(str(error))
        finally:
            await ends.unless_twice(stop())
            for held in reserved:
                held.close()
    if any(codes):
        fail(f"not every worker ended well: their exit codes are {', '.join(map(str, codes))}")


def _load_bridging() -> Any:
    """The part that needs the extra `mqtt`."""
    need("mqtt", "aiomqtt", "paho")
    from evcore.cli import bridging

    return bridging


async def _until(
    ends: Ends,
    settings: ServeSettings,
    port: int,
    take: Callable[[int], Awaitable[Screen]],
    *more: Awaitable[Any],
) -> None:
    """Says that stations are served, and shows and simulates what is wanted, until the end is wished for."""
    work = [asyncio.ensure_future(each) for each in (ends.first.wait(), *more)]
    where = url(settings, port)
    ready = f"listening on {where}"
    try:
        if _on_terminal(settings):
            from rich.console import Console

            console = Console()
            console.print(ready, highlight=False, markup=False)
            set_up_logging(settings.log_level, console)
            work.append(asyncio.ensure_future(show(take, console, where)))
        else:
            print(ready, flush=True)
        if settings.simulate:
            from evcore.sim.run import simulate_fleet

            # A server on all interfaces is reached on the loopback one.
            near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host)  # noqa: S104
            fleet = simulate_fleet(
                settings.simulate,
                url(settings, port, near),
                load_engine(settings.engine),
                speed=settings.simulate_speed,
            )
            work.append(asyncio.ensure_future(fleet))
        done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.result()
    finally:
        for each in work:
            each.cancel()
        await asyncio.gather(*work, return_exceptions=True)


def _on_terminal(settings: ServeSettings) -> bool:
    return settings.table == "on" or (settings.table == "auto" and sys.stdout.isatty())


def _reserve(settings: ServeSettings) -> list[socket.socket]:
    """Sockets that keep the port for the workers, bound but not listening, one for each address of the host.

    Raises OSError, also when somebody else shares the port already: that would share out the stations, too.
    """
    found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    held: list[socket.socket] = []
    port = settings.port
    try:
        for family, kind, protocol, _, address in found:
            where = (address[0], port, *address[2:])
            with _bound(family, kind, protocol, where, shared=False) as alone:
                where = alone.getsockname()
            held.append(_bound(family, kind, protocol, where, shared=True))
            port = where[1]
    except OSError:
        for each in held:
            each.close()
        raise
    return held


def _bound(family: int, kind: int, protocol: int, address: Any, *, shared: bool) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made
