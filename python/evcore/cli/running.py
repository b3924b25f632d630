"""What commands that run until they are told to end share: the wish to end, SIGHUP, `/metrics`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

from evcore.cli.common import fail
from evcore.net import metrics_http
from evcore.net.metrics import Snapshot

if TYPE_CHECKING:
    from evcore.settings.model import BridgeSettings, ServeSettings

__all__ = ["Ends", "http", "reload_or_end"]

log = logging.getLogger("evcore.serve")


class Ends:
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


def reload_or_end(reload: Callable[[], None], ends: Ends) -> Callable[[], None]:
    """What SIGHUP means: to a daemon that files have changed, to a program on a terminal that the terminal is gone."""
    return ends.wish if sys.stdout.isatty() else reload


@contextlib.contextmanager
def http(
    settings: ServeSettings | BridgeSettings, snapshot: Callable[[], Awaitable[Snapshot]], healthy: Callable[[], bool]
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
