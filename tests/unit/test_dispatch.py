"""Handler tables without a connection: what may be a handler, hooks, middleware, what a wrong result becomes."""

from __future__ import annotations

import functools
from types import MappingProxyType
from typing import Any

import pytest

from evcore.dispatch import FAILED, Refusal, Table
from evcore.message import Call

CALL = Call("1", "DataTransfer", {"vendorId": "v"})
YES = {"status": "Accepted"}


async def outcome(table: Table[Any], call: Call = CALL) -> Any:
    result = table.run("station", call)
    return table.checked("station", call, await result if hasattr(result, "__await__") else result)


def two(context: Any, payload: Any) -> Any:
    return {"got": [context, payload]}


def three(context: Any, payload: Any, call: Call) -> Any:
    return {"got": [context, payload], "id": call.id}


def own_default(context: Any, payload: Any, call: Any = "mine") -> Any:
    return {"got": [context, payload], "own": call}


async def waiting(context: Any, payload: Any) -> Any:
    return two(context, payload)


class Handlers:
    def two(self, context: Any, payload: Any) -> Any:
        return two(context, payload)

    def three(self, context: Any, payload: Any, call: Call) -> Any:
        return three(context, payload, call)

    @classmethod
    def of_class(cls, context: Any, payload: Any, call: Call) -> Any:
        return three(context, payload, call)

    @staticmethod
    def plain(context: Any, payload: Any) -> Any:
        return two(context, payload)

    def __call__(self, context: Any, payload: Any, call: Call) -> Any:
        return three(context, payload, call)


GOT = {"got": ["station", CALL.payload]}


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (two, GOT),
        (three, {**GOT, "id": "1"}),
        (own_default, {**GOT, "own": "mine"}),
        (waiting, GOT),
        (Handlers().two, GOT),
        (Handlers().three, {**GOT, "id": "1"}),
        (Handlers.of_class, {**GOT, "id": "1"}),
        (Handlers.plain, GOT),
        (Handlers(), {**GOT, "id": "1"}),
        (functools.partial(three, call=CALL), {**GOT, "id": "1"}),
        (functools.partial(lambda fixed, context, payload: {"fixed": fixed}, 7), {"fixed": 7}),
        (functools.partial(lambda fixed, context, payload, call: {"id": call.id}, 7), {"id": "1"}),
        (lambda *arguments: {"count": len(arguments)}, {"count": 2}),
        (lambda context, payload, *, extra=1: {"extra": extra}, {"extra": 1}),
    ],
)
async def test_what_may_be_a_handler(handler, expected) -> None:
    table: Table[Any] = Table({"DataTransfer": handler})
    assert await outcome(table) == expected
    assert table.actions == {"DataTransfer"}


@pytest.mark.parametrize(
    "handler",
    [lambda: {"no": "place"}, lambda one: {}, lambda a, b, c, d: {}, lambda a, b, *, needed: {}, 7, None, "text"],
)
def test_what_may_not(handler) -> None:
    with pytest.raises(TypeError):
        Table().on("DataTransfer")(handler)


async def test_the_last_handler_counts_whatever_it_takes() -> None:
    table: Table[Any] = Table()
    for handler, expected in ((two, GOT), (three, {**GOT, "id": "1"}), (two, GOT)):
        assert table.on("DataTransfer", "Heartbeat")(handler) is handler
        assert await outcome(table) == expected
    assert table.actions == {"DataTransfer", "Heartbeat"}


async def test_no_handler() -> None:
    found = await outcome(Table())
    assert isinstance(found, Refusal)
    assert found.code == "NotSupported"


@pytest.mark.parametrize("result", [None, 7, "text", b"bytes", [YES], (), object(), {"status"}, True])
async def test_nonsense_is_an_internal_error(result, caplog) -> None:
    assert await outcome(Table({"DataTransfer": lambda context, payload: result})) == FAILED
    assert "station: the handler of DataTransfer returned" in caplog.text


@pytest.mark.parametrize("result", [YES, {}, MappingProxyType(YES), Refusal("GenericError")])
async def test_mappings_and_refusals_are_not(result) -> None:
    assert await outcome(Table({"DataTransfer": lambda context, payload: result})) is result


async def test_hooks_before() -> None:
    seen: list[Any] = []
    table: Table[Any] = Table({"DataTransfer": lambda context, payload: seen.append("handler") or YES})
    answer: Any = None

    @table.before
    def first(context: Any, call: Call) -> Any:
        seen.append(("first", context, call.id))

    @table.before
    def second(context: Any, call: Call) -> Any:
        seen.append("second")
        return answer

    assert await outcome(table) == YES
    assert seen == [("first", "station", "1"), "second", "handler"]
    seen.clear()
    for answer in (Refusal("SecurityError"), {"status": "Rejected"}):
        assert await outcome(table) == answer
    assert "handler" not in seen


async def test_middleware() -> None:
    """The first one added is the outermost; hooks come before all of it."""
    seen: list[str] = []
    table: Table[Any] = Table({"DataTransfer": two, "Heartbeat": waiting})

    def around(name: str) -> None:
        @table.wrap
        async def middleware(context: Any, call: Call, proceed: Any) -> Any:
            seen.append(f"{name} in")
            result = await proceed()
            seen.append(f"{name} out")
            return {**result, name: call.action}

    around("outer")
    around("inner")
    table.before(lambda context, call: seen.append("hook"))
    assert await outcome(table) == {**GOT, "outer": "DataTransfer", "inner": "DataTransfer"}
    assert seen == ["hook", "outer in", "inner in", "inner out", "outer out"]
    assert (await outcome(table, Call("2", "Heartbeat", {})))["outer"] == "Heartbeat", "around handlers that wait, too"


async def test_middleware_may_answer_itself_and_sees_what_failed() -> None:
    table: Table[Any] = Table({"DataTransfer": lambda context, payload: 1 / 0})

    @table.wrap
    async def guard(context: Any, call: Call, proceed: Any) -> Any:
        if call.id == "closed":
            return Refusal("SecurityError")
        try:
            return await proceed()
        except ZeroDivisionError:
            return Refusal("GenericError", "caught")

    assert await outcome(table) == Refusal("GenericError", "caught")
    assert await outcome(table, Call("closed", "DataTransfer", {})) == Refusal("SecurityError")


async def test_middleware_around_no_handler() -> None:
    table: Table[Any] = Table()

    @table.wrap
    async def through(context: Any, call: Call, proceed: Any) -> Any:
        return await proceed()

    assert (await outcome(table)).code == "NotSupported"


def test_hooks_after(caplog) -> None:
    table: Table[Any] = Table()
    seen: list[Any] = []
    assert not table.timed

    @table.after
    def fails(context: Any, call: Call, found: Any, seconds: float) -> None:
        raise RuntimeError("in a hook")

    @table.after
    def sees(context: Any, call: Call, found: Any, seconds: float) -> None:
        seen.append((context, call.id, found, seconds))

    assert table.timed
    table.finished("station", CALL, YES, 0.5)
    assert seen == [("station", "1", YES, 0.5)]
    assert "a hook after DataTransfer failed" in caplog.text
