"""The two ways to serve: all in this process, or with workers that this process looks after."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

from evcore.cli.common import fail, load_engine, on_signals, set_up_logging, usage
from evcore.cli.service import Service, cannot_listen, url
from evcore.cli.table import Row, Screen, screen, show, together
from evcore.net import metrics_http
from evcore.net.metrics import Snapshot, add
from evcore.net.workers.supervisor import Supervisor, WorkersFailed
from evcore.net.workers.worker import CannotStart

if TYPE_CHECKING:
    from evcore.settings.model import ServeSettings

__all__ = ["several", "single"]

log = logging.getLogger("evcore.serve")


class _Counted:
    """Snapshots of workers, summed. Counters of workers that are gone stay in the sum, or rates would jump."""

    #: What a dead worker has no more of.
    _GAUGES = frozenset({"connections", "inbox", "waiting", "memory"})

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


class _Ends:
    """The wish to end: the first one is for a graceful end, the second for one at once."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()

    def wish(self) -> None:
        (self.second if self.first.is_set() else self.first).set()

    async def unless_first(self, work: Awaitable[Any]) -> bool:
        """Waits for this work; a wish cancels it. Returns whether it came to its end. Raises what the work raises."""
        return await self._unless(self.first, work)

    async def unless_twice(self, graceful: Awaitable[Any]) -> bool:
        """The same for a graceful end, which a second wish cancels."""
        return await self._unless(self.second, graceful)

    async def _unless(self, wish: asyncio.Event, work: Awaitable[Any]) -> bool:
        doing = asyncio.ensure_future(work)
        wished = asyncio.ensure_future(wish.wait())
        await asyncio.wait((doing, wished), return_when=asyncio.FIRST_COMPLETED)
        wished.cancel()
        if not doing.done():
            doing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await doing
            return False
        doing.result()
        return True


async def single(settings: ServeSettings) -> None:
    """Serves in this process until a signal comes."""
    ends = _Ends()
    set_up_logging(settings.log_level)
    try:
        service = Service(settings)
        on_signals(ends.wish, _reload(service.reload, ends))
        await service.start()
    except CannotStart as error:
        fail(str(error))

    async def snapshot() -> Snapshot:
        return add(await service.snapshot(), {"workers": {"": 1}, "restarts": {"": 0}})

    async def shown(room: int) -> Screen:
        return screen(service.csms, room)

    # Metrics are served until the last station is gone.
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_http(settings, snapshot, lambda: not ends.first.is_set()))
            await _until(ends, settings, service.port, shown)
        finally:
            await ends.unless_twice(service.stop())


async def several(settings: ServeSettings) -> None:
    """Serves with workers until a signal comes."""
    load_engine(settings.engine)
    if not hasattr(socket, "SO_REUSEPORT"):
        usage("this system has no SO_REUSEPORT, which --workers needs: serve with one")
    ends = _Ends()
    try:
        reserved = _reserve(settings)
    except OSError as error:
        fail(cannot_listen(error, settings))
    port = reserved[0].getsockname()[1]
    console = _on_terminal(settings)
    told = {
        "settings": settings.model_dump(mode="json"),
        "port": port,
        "log": "up" if console else "stderr",
    }
    counted = _Counted()
    supervisor = Supervisor(
        (sys.executable, "-P", "-m", "evcore.cli.worker"),
        settings.workers,
        lambda index: told,
        on_lost=counted.lost,
        on_log=lambda level, text: log.log(level, "%s", text),
    )

    async def snapshot() -> Snapshot:
        total = counted.total(await supervisor.ask("snapshot"))
        return add(total, {"workers": {"": supervisor.up}, "restarts": {"": supervisor.restarts}})

    async def shown(room: int) -> Screen:
        screens = await supervisor.ask("screen", room)
        return together(
            [Screen([Row(*row) for row in rows], known, online) for rows, known, online in screens.values()], room
        )

    codes: list[int] = []

    async def stop() -> None:
        codes.extend(await supervisor.stop(settings.drain_seconds + settings.drain_grace + GRACE_SECONDS))

    def healthy() -> bool:
        return supervisor.up == settings.workers and not ends.first.is_set()

    on_signals(ends.wish, _reload(supervisor.reload, ends))
    set_up_logging(settings.log_level)
    with contextlib.ExitStack() as stack:
        try:
            if await ends.unless_first(supervisor.start()):
                stack.enter_context(_http(settings, snapshot, healthy))
                await _until(ends, settings, port, shown, supervisor.failed())
        except WorkersFailed as error:
            fail(str(error))
        finally:
            await ends.unless_twice(stop())
            for held in reserved:
                held.close()
    if any(codes):
        fail(f"not every worker ended well: their exit codes are {', '.join(map(str, codes))}")


async def _until(
    ends: _Ends,
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


def _reload(reload: Callable[[], None], ends: _Ends) -> Callable[[], None]:
    """What SIGHUP means: to a daemon that files have changed, to a program on a terminal that the terminal is gone."""
    return ends.wish if sys.stdout.isatty() else reload


def _on_terminal(settings: ServeSettings) -> bool:
    return settings.table == "on" or (settings.table == "auto" and sys.stdout.isatty())


@contextlib.contextmanager
def _http(
    settings: ServeSettings, snapshot: Callable[[], Awaitable[Snapshot]], healthy: Callable[[], bool]
) -> Iterator[None]:
    """`/metrics` and `/healthz`, if they are wanted."""
    if settings.http_port is None:
        yield
        return
    host, port = settings.http_host, settings.http_port
    try:
        listening = metrics_http.listen(host, port, snapshot, healthy)
    except OSError as error:
        if "http_port" in settings.model_fields_set or "http_host" in settings.model_fields_set:
            fail(
                f"cannot serve metrics on {host}:{port}: {error.strerror or error}; choose another --http-port, or none"
            )
        # Nobody asked for this very port: a second server on one machine is no reason to fail.
        listening = metrics_http.listen(host, 0, snapshot, healthy)
    log.info("metrics on http://%s:%d/metrics", f"[{host}]" if ":" in host else host, listening.port)
    try:
        yield
    finally:
        listening.close()


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
