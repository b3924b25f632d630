"""Runs coroutines of handlers without a Task where they do not wait.

Comes in: a coroutine that has not begun. Goes out: its result, when it ends at its first step; otherwise a Task that
carries it on. A Task costs more than all else that is done for a message, and most handlers never wait.

A coroutine may ask for the current task at any time (`asyncio.timeout`, `TaskGroup`), and the one it gets must be the
one that will be cancelled later. So there is always a spare Task, waiting at a gate: it is the current one during the
first step, and takes the coroutine over if that step ends in waiting. The first step runs in the spare's own context,
as it would in a Task; a context in which something was set and left is not used again.
"""

from __future__ import annotations

import asyncio
import contextvars
from asyncio import tasks
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, Final

__all__ = ["Driver"]

_enter: Final = tasks._enter_task
_leave: Final = tasks._leave_task


class Driver:
    """One for each loop, made while it runs."""

    __slots__ = ("_base", "_context", "_gate", "_loop", "_spare")

    _context: contextvars.Context
    _gate: asyncio.Future[tuple[Coroutine[Any, Any, Any], Any]]
    _spare: asyncio.Task[Any]

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._base = contextvars.copy_context()
        self._renew()

    def start(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The coroutine's result, or the Task that will have it. Raises what the coroutine raises at its first step."""
        if self._gate.done():
            # A handler kept its current task and cancelled it when it was none of its any more.
            self._renew()
        loop, spare = self._loop, self._spare
        try:
            _enter(loop, spare)
        except RuntimeError:
            # Called from within a task, or from within another first step.
            return loop.create_task(work)
        try:
            waited = self._context.run(work.send, None)
        except BaseException as end:
            if self._context != self._base:
                self._gate.cancel()
                self._renew()
            if type(end) is StopIteration:
                return end.value
            raise
        finally:
            _leave(loop, spare)
        self._gate.set_result((work, waited))
        tasks._register_task(spare)
        spare._log_destroy_pending = True  # type: ignore[attr-defined]
        self._renew()
        return spare

    def _renew(self) -> None:
        self._context = self._base.copy()
        self._gate = self._loop.create_future()
        self._spare = asyncio.Task(_carry(self._gate), loop=self._loop, context=self._context)
        # Nobody who waits for all tasks, or ends the loop, has anything to do with a task that does nothing yet.
        tasks._unregister_task(self._spare)
        self._spare._log_destroy_pending = False  # type: ignore[attr-defined]


async def _carry(gate: asyncio.Future[tuple[Coroutine[Any, Any, Any], Any]]) -> Any:
    """What the spare runs: waits at the gate, then carries a coroutine on that has begun."""
    try:
        work, waited = await gate
    except asyncio.CancelledError as cancelled:
        if gate.cancelled() or not gate.done():
            raise
        # Cancelled after it took the coroutine over and before it came round to it.
        work, waited = gate.result()
        if waited is not None:
            waited.cancel()
        return await _resume(work, waited, cancelled)
    return await _resume(work, waited, None)


@coroutine
def _resume(
    work: Coroutine[Any, Any, Any], waited: Any, cancelled: asyncio.CancelledError | None
) -> Generator[Any, Any, Any]:
    """`yield from` for a coroutine whose first step is done and yielded `waited`."""
    try:
        if cancelled is not None:
            waited = work.throw(cancelled)
        while True:
            try:
                sent = yield waited
            except GeneratorExit:
                work.close()
                raise
            except BaseException as error:  # noqa: BLE001 - a task throws whatever its future raised
                waited = work.throw(error)
            else:
                waited = work.send(sent)
    except StopIteration as stop:
        return stop.value
