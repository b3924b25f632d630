"""The sign of life of this node.

In: what to count. Out: a NodeHeartbeat on the bus at intervals, from which its message is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from evcore import __version__
from evcore.bus import Bus
from evcore.bus.bodies import NodeHeartbeat

__all__ = ["beat"]


async def beat(
    bus: Bus, node: str, interval: float, *, stations: Callable[[], int], backlog: Callable[[], int]
) -> None:
    """Publishes one at once and then every `interval` seconds, until it is cancelled."""
    started = monotonic()
    while True:
        uptime = round(monotonic() - started, 3)
        bus.publish(
            NodeHeartbeat(node=node, version=__version__, uptime=uptime, stations=stations(), backlog=backlog())
        )
        await asyncio.sleep(interval)
