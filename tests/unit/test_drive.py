"""Handlers' coroutines run at once: the same results as a Task of their own, and no trace of it for them to see."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from evcore.net.drive import Driver

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")
Work = Callable[[], Coroutine[Any, Any, Any]]


async def started(work: Work, loop_turns: int = 0) -> Any:
    """What `Driver.start` returns when it is called from a callback, as connections do."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    driver = Driver()

    def call() -> None:
        try:
            done.set_result(driver.start(work()))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test is to see it
            done.set_exception(error)

    loop.call_soon(call)
    result = await done
    return await result if isinstance(result, asyncio.Task) else result


async def at_once() -> str:
    return "done"


async def after_a_turn() -> str:
    await asyncio.sleep(0)
    return "done"


async def after_a_timer() -> str:
    await asyncio.sleep(0.01)
    await asyncio.sleep(0)
    return "done"


async def fails() -> None:
    raise KeyError("x")


async def fails_later() -> None:
    await asyncio.sleep(0)
    raise KeyError("x")


@pytest.mark.parametrize("work", [at_once, after_a_turn, after_a_timer])
async def test_results(work: Work) -> None:
    assert await started(work) == "done"


@pytest.mark.parametrize("work", [fails, fails_later])
async def test_exceptions(work: Work) -> None:
    with pytest.raises(KeyError):
        await started(work)


async def test_a_task_only_for_those_that_wait() -> None:
    loop, driver, kinds = asyncio.get_running_loop(), Driver(), []

    def call() -> None:
        kinds.extend(type(driver.start(work())) for work in (at_once, after_a_timer, at_once, after_a_timer))

    loop.call_soon(call)
    await asyncio.sleep(0.05)
    assert [issubclass(kind, asyncio.Task) for kind in kinds] == [False, True, False, True]


async def test_the_current_task_is_the_same_throughout() -> None:
    async def work() -> bool:
        first = asyncio.current_task()
        await asyncio.sleep(0)
        return first is not None and first is asyncio.current_task() and first in asyncio.all_tasks()

    assert await started(work)


async def test_timeouts_and_groups_that_begin_in_the_first_step() -> None:
    async def with_timeout() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(60)
        except TimeoutError:
            return "timed out"
        return "?"

    async def with_group() -> list[int]:
        async with asyncio.TaskGroup() as group:
            found = [group.create_task(asyncio.sleep(0, number)) for number in range(3)]
        return [task.result() for task in found]

    async def at_zero() -> str:
        try:
            async with asyncio.timeout(0):
                await asyncio.sleep(60)
        except TimeoutError:
            return "timed out"
        return "?"

    assert await started(with_timeout) == "timed out"
    assert await started(at_zero) == "timed out"
    assert await started(with_group) == [0, 1, 2]


@pytest.mark.parametrize("turns", [0, 1, 5])
async def test_cancelling(turns: int) -> None:
    """At once after the take-over, before the task has come round to it, as much as later."""
    loop, driver = asyncio.get_running_loop(), Driver()
    inner = loop.create_task(asyncio.sleep(60))
    seen: list[str] = []

    async def work() -> None:
        try:
            await inner
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    task: asyncio.Task[None] | None = None

    def call() -> None:
        nonlocal task
        task = driver.start(work())
        if turns == 0:
            task.cancel()

    loop.call_soon(call)
    for _ in range(max(1, turns)):
        await asyncio.sleep(0)
    assert task is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]
    assert task.cancelled()
    assert inner.cancelled()


async def test_a_handler_that_survives_its_cancelling() -> None:
    loop, driver = asyncio.get_running_loop(), Driver()

    async def work() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "stayed"

    tasks: list[asyncio.Task[str]] = []
    loop.call_soon(lambda: tasks.append(driver.start(work())))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks[0].cancel()
    assert await tasks[0] == "stayed"


async def test_context_variables_stay_within_one_handler() -> None:
    async def leaves_it() -> str:
        before = VARIABLE.get()
        VARIABLE.set("left behind")
        return before

    async def over_a_wait() -> str:
        token = VARIABLE.set("mine")
        await asyncio.sleep(0)
        found = VARIABLE.get()
        VARIABLE.reset(token)
        return found

    VARIABLE.set("of the server")
    loop, driver = asyncio.get_running_loop(), Driver()
    found: list[Any] = []

    def call() -> None:
        found.extend(driver.start(work()) for work in (leaves_it, leaves_it, over_a_wait, leaves_it))
        found.append(VARIABLE.get())

    loop.call_soon(call)
    await asyncio.sleep(0.01)
    found = [await item if isinstance(item, asyncio.Task) else item for item in found]
    assert found == ["of the server", "of the server", "mine", "of the server", "of the server"]


async def test_a_kept_current_task_does_no_harm() -> None:
    loop, driver = asyncio.get_running_loop(), Driver()
    kept: list[asyncio.Task[Any]] = []

    async def keeps() -> None:
        task = asyncio.current_task()
        assert task is not None
        kept.append(task)

    results: list[Any] = []
    loop.call_soon(lambda: driver.start(keeps()))
    await asyncio.sleep(0)
    kept[0].cancel()
    loop.call_soon(lambda: results.append(driver.start(after_a_turn())))
    await asyncio.sleep(0)
    assert await results[0] == "done"


async def test_from_within_a_task_and_within_a_first_step() -> None:
    driver = Driver()
    assert await driver.start(at_once()) == "done"
    loop = asyncio.get_running_loop()

    async def outer() -> Any:
        return driver.start(at_once())

    results: list[Any] = []
    loop.call_soon(lambda: results.append(driver.start(outer())))
    await asyncio.sleep(0)
    assert await results[0] == "done"


def test_nothing_is_left_when_the_loop_ends() -> None:
    async def main() -> None:
        loop, driver, started = asyncio.get_running_loop(), Driver(), []
        loop.call_soon(lambda: started.append(driver.start(after_a_turn())))
        while not started:  # noqa: ASYNC110 - two turns of the loop
            await asyncio.sleep(0)
        assert await started[0] == "done"
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(main(), debug=True)
        gc.collect()
