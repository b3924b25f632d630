"""What runs in a worker process: the conversation with the supervisor around whatever is served.

Comes in: the descriptor of the channel. Goes out: the exit status, 0 when the supervisor asked for the end. A worker
whose supervisor is gone ends at once, and on Linux is killed with it, so that none is ever left behind on the port.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from evcore.net.channel import Channel
from evcore.net.workers.claims import Claims

__all__ = ["CannotStart", "Served", "Worker", "die_with_parent", "work"]

log = logging.getLogger("evcore.workers")

_PR_SET_PDEATHSIG: Final = 1


class CannotStart(Exception):
    """What is served cannot start; the text is a sentence for people."""


class Served(Protocol):
    """What a worker does."""

    @property
    def claims(self) -> Claims: ...

    async def start(self) -> None:
        """Returns when stations are served. Raises CannotStart."""

    async def stop(self) -> None:
        """Lets the stations go and returns when all are gone."""

    def reload(self) -> None:
        """Reads files again; what cannot be used is logged."""

    async def ask(self, question: str, *arguments: Any) -> Any:
        """An answer for the supervisor, as JSON values."""
        ...


class Worker:
    """A worker's end of the conversation: its place among the workers, and `send` to the supervisor."""

    def __init__(self, index: int, send: Callable[..., None]) -> None:
        self.index = index
        self.send = send


def die_with_parent() -> None:
    """Has the kernel kill this process when its parent is gone (Linux; elsewhere the channel's end has to do)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def work(descriptor: int, build: Callable[[Worker, Mapping[str, Any]], Served]) -> int:
    """A worker's life; `build` makes what is served of what the supervisor says first. Returns the exit status."""
    loop = asyncio.get_running_loop()
    orders: asyncio.Queue[list[Any]] = asyncio.Queue()
    channel = await Channel.over(
        socket.socket(fileno=descriptor), orders.put_nowait, lambda: orders.put_nowait(["gone"])
    )
    with contextlib.suppress(NotImplementedError):
        loop.add_signal_handler(signal.SIGTERM, orders.put_nowait, ["drain"])
    kind, *rest = await orders.get()
    if kind != "start":
        return 0
    index, start = rest
    try:
        served = build(Worker(index, channel.send), start)
        await served.start()
    except CannotStart as error:
        channel.send("failed", str(error))
        channel.close()
        return 1
    channel.send("ready")
    return await _Conversation(channel, served).follow(orders)


class _Conversation:
    def __init__(self, channel: Channel, served: Served) -> None:
        self._channel = channel
        self._served = served
        self._tasks: set[asyncio.Task[None]] = set()

    async def follow(self, orders: asyncio.Queue[list[Any]]) -> int:
        draining: asyncio.Task[None] | None = None
        while True:
            kind, *rest = await orders.get()
            if kind == "granted":
                self._served.claims.granted(*rest)
            elif kind == "yield":
                self._served.claims.yield_up(*rest)
            elif kind == "ask":
                self._run(self._answer(*rest))
            elif kind == "reload":
                self._served.reload()
            elif kind == "drain":
                if draining is None:
                    draining = self._run(self._served.stop())
                    draining.add_done_callback(lambda _: orders.put_nowait(["drained"]))
            elif kind == "drained":
                self._channel.close()
                return 0
            else:
                # Told to end at once, or nobody is there to serve for.
                return 0

    def _run(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _answer(self, number: int, question: str, *arguments: Any) -> None:
        self._channel.send("answer", number, await self._served.ask(question, *arguments))
