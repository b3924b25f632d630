"""The process that starts the workers and looks after them.

Comes in: what workers say (ready, claims, answers), their deaths, orders of the owner. Goes out: processes, orders to
them, and verdicts of the `Exchange`. A worker that dies is started again, later each time; one that keeps dying at once
ends it all, because what kills it would not go away. Workers never outlive the supervisor: they end when their channel
does.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from evcore.net.channel import Channel
from evcore.net.workers.exchange import Exchange

__all__ = ["Supervisor", "WorkersFailed"]

log = logging.getLogger("evcore.workers")

#: A worker that lived for less has died at once. So many such deaths of one worker in a row are the end.
AT_ONCE_SECONDS: Final = 10.0
DEATHS: Final = 5
#: Wait before the first restart in a row; doubled for each further one.
BACK_OFF_SECONDS: Final = 0.1
#: Time for an answer to `ask`, and for the last words of a worker that was told to end at once.
ASK_SECONDS: Final = 5.0
QUIT_SECONDS: Final = 2.0


class WorkersFailed(Exception):
    """The workers cannot do their work; the text is a sentence for people."""


class _Worker:
    """One place among the workers and the process that fills it now."""

    __slots__ = ("channel", "deaths", "gone", "index", "process", "questions", "ready")

    def __init__(self, index: int) -> None:
        self.index = index
        self.process: asyncio.subprocess.Process | None = None
        self.channel: Channel | None = None
        self.gone = asyncio.Event()
        self.ready = False
        self.deaths = 0
        self.questions: dict[int, asyncio.Future[Any]] = {}

    @property
    def name(self) -> str:
        return f"worker {self.index + 1}"


class Supervisor:
    """`command`: what a worker is started with; the number of its channel's descriptor is appended. `start(index)`:
    what is told to it first, JSON values. `on_lost(index)` is called when a worker died, `on_log(level, text)` for a
    log line of a worker.
    """

    def __init__(
        self,
        command: Sequence[str],
        workers: int,
        start: Callable[[int], Mapping[str, Any]],
        *,
        on_lost: Callable[[int], None] | None = None,
        on_log: Callable[[int, str], None] | None = None,
    ) -> None:
        self._command = tuple(command)
        self._start = start
        self._on_lost = on_lost
        self._on_log = on_log
        self._workers = [_Worker(index) for index in range(workers)]
        self._exchange = Exchange(workers, self._send)
        self._numbers = itertools.count()
        self._keepers: list[asyncio.Task[None]] = []
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._all_ready = asyncio.Event()
        self._ending = False
        self.restarts = 0
        self._environment = {
            **os.environ,
            # Workers import what this process imports, whatever directory it was started in.
            "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
            # Hashes of frames move between workers with the memory of answered CALLs.
            "PYTHONHASHSEED": str(1 + secrets.randbelow(2**32 - 1)),
        }

    @property
    def up(self) -> int:
        """How many workers are ready."""
        return sum(worker.ready for worker in self._workers)

    @property
    def pids(self) -> dict[int, int]:
        """Process ids of the workers that are ready, by index."""
        return {
            worker.index: worker.process.pid for worker in self._workers if worker.ready and worker.process is not None
        }

    async def start(self) -> None:
        """Starts all workers and returns when all are ready. Raises WorkersFailed."""
        self._keepers = [asyncio.create_task(self._keep(worker)) for worker in self._workers]
        ready = asyncio.ensure_future(self._all_ready.wait())
        await asyncio.wait((ready, self._failed), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._failed.done():
            self._failed.result()

    async def failed(self) -> None:
        """Waits until the workers cannot go on. Raises WorkersFailed then."""
        await asyncio.shield(self._failed)

    def reload(self) -> None:
        """Tells the workers to read their files again."""
        self._tell("reload")

    async def ask(self, question: str, *arguments: Any) -> dict[int, Any]:
        """What each worker answers, by its index; those that do not answer in time are missing."""
        asked: dict[int, asyncio.Future[Any]] = {}
        number = next(self._numbers)
        for worker in self._workers:
            if worker.ready and worker.channel is not None:
                asked[worker.index] = worker.questions[number] = asyncio.get_running_loop().create_future()
                worker.channel.send("ask", number, question, *arguments)
        if asked:
            await asyncio.wait(asked.values(), timeout=ASK_SECONDS)
        for worker in self._workers:
            worker.questions.pop(number, None)
        return {index: answer.result() for index, answer in asked.items() if answer.done() and not answer.cancelled()}

    async def stop(self, seconds: float) -> list[int]:
        """Tells the workers to let their stations go and end, kills those that take longer than `seconds`, and returns
        their exit codes. When cancelled, all are told to end at once.
        """
        self._ending = True
        living = [worker.process for worker in self._workers if worker.process is not None]
        living = [process for process in living if process.returncode is None]
        self._tell("drain")
        try:
            await self._ended(seconds)
        except asyncio.CancelledError:
            self._tell("quit")
            await self._ended(QUIT_SECONDS)
            raise
        return [process.returncode for process in living if process.returncode is not None]

    async def _ended(self, seconds: float) -> None:
        if self._keepers:
            _, late = await asyncio.wait(self._keepers, timeout=seconds)
            if late:
                self._kill()
                await asyncio.wait(late)

    def _kill(self) -> None:
        for worker in self._workers:
            if worker.process is not None and worker.process.returncode is None:
                log.warning("%s does not end and is killed", worker.name)
                with contextlib.suppress(ProcessLookupError):
                    worker.process.kill()

    def _tell(self, *message: Any) -> None:
        for worker in self._workers:
            if worker.channel is not None:
                worker.channel.send(*message)

    def _is_over(self) -> bool:
        return self._ending or self._failed.done()

    # -- one worker ---------------------------------------------------------------------------------------------------

    async def _keep(self, worker: _Worker) -> None:
        while not self._is_over():
            born = time.monotonic()
            was_ready, status = await self._live(worker)
            if self._is_over():
                return
            at_once = not was_ready or time.monotonic() - born < AT_ONCE_SECONDS
            worker.deaths = worker.deaths + 1 if at_once else 1
            if at_once and worker.deaths >= DEATHS:
                self._fail(f"{worker.name} died {DEATHS} times in a row, the last time {status}")
                return
            pause = BACK_OFF_SECONDS * 2 ** (worker.deaths - 1)
            log.error("%s died %s; it is started again in %.1f s", worker.name, status, pause)
            await asyncio.sleep(pause)
            self.restarts += 1

    async def _live(self, worker: _Worker) -> tuple[bool, str]:
        """A worker's life. Returns whether it was ready, and how it ended."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                str(theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                # Ctrl-C on a terminal reaches the supervisor alone, which tells the workers.
                start_new_session=True,
                env=self._environment,
            )
        worker.process = process
        worker.gone.clear()
        worker.channel = await Channel.over(ours, lambda message: self._heard(worker, message), worker.gone.set)
        worker.channel.send("start", worker.index, dict(self._start(worker.index)))
        if self._ending:
            worker.channel.send("quit")
        code = await process.wait()
        await worker.gone.wait()
        was_ready, worker.ready, worker.channel = worker.ready, False, None
        self._lost(worker.index)
        for answer in worker.questions.values():
            answer.cancel()
        status = f"with status {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
        return was_ready, status

    def _lost(self, index: int) -> None:
        self._exchange.lost(index)
        if self._on_lost is not None:
            self._on_lost(index)

    def _fail(self, sentence: str) -> None:
        if not self._failed.done():
            self._failed.set_exception(WorkersFailed(sentence))

    def _heard(self, worker: _Worker, message: list[Any]) -> None:
        kind, *rest = message
        if kind == "claim":
            self._exchange.claim(*rest)
        elif kind == "leave":
            self._exchange.leave(*rest)
        elif kind == "state":
            self._exchange.state(*rest)
        elif kind == "answer":
            number, answer = rest
            asked = worker.questions.pop(number, None)
            if asked is not None and not asked.done():
                asked.set_result(answer)
        elif kind == "log":
            if self._on_log is not None:
                self._on_log(*rest)
        elif kind == "ready":
            worker.ready = True
            if self.up == len(self._workers):
                self._all_ready.set()
        elif kind == "failed":
            # What hinders a worker at the start hinders all; later it may pass, and counts as a death.
            if self._all_ready.is_set():
                log.error("%s cannot start: %s", worker.name, rest[0])
            else:
                self._fail(rest[0])

    def _send(self, index: int, *message: Any) -> None:
        channel = self._workers[index].channel
        if channel is not None:
            channel.send(*message)
