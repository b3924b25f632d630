"""One connection on a wire that only takes notes: what it does with handlers, and how it is held, left and closed.

On real sockets: tests/integration/test_dispatch.py.
"""

from __future__ import annotations

import asyncio
import json
from time import monotonic
from typing import Any

import pytest

from evcore import Codec
from evcore.dispatch import Refusal, Table
from evcore.endpoint import Boot, Endpoint, EndpointError, Memory
from evcore.net.connection import MAX_HELD, CallFailed, Connection, Host

CODEC = Codec("ocpp1.6")
YES = {"status": "Accepted"}
START = {"connectorId": 1, "idTag": "A", "meterStart": 0, "timestamp": "2026-03-01T10:00:00Z"}


class Wire:
    peer = "nobody"

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.closed: list[tuple[int, str]] = []
        self.pings = 0
        self.aborted = False

    def send(self, frame: bytes) -> None:
        assert not self.closed, "nothing can be sent after the closing handshake has begun"
        self.sent.append(json.loads(frame))

    def ping(self) -> None:
        self.pings += 1

    def close(self, code: int, reason: str = "") -> None:
        self.closed.append((code, reason))

    def abort(self) -> None:
        self.aborted = True


class Notes:
    def __init__(self) -> None:
        self.events: list[str] = []
        self.answers: list[tuple[str, str | None]] = []

    def happened(self, event: Any) -> None:
        self.events.append(type(event).__name__)

    def answered(self, call: Any, seconds: float, code: str | None) -> None:
        assert seconds >= 0
        self.answers.append((call.id, code))


class Station:
    """A connection of a CSMS, its table, its wire, and notes of what was heard."""

    def __init__(self, *, memory: Memory | None = None, timeout: float = 60.0, **options: Any) -> None:
        self.table: Table[Any] = Table(timeout=timeout)
        self.wire = Wire()
        self.notes = Notes()
        self.connection = Connection(
            Endpoint(CODEC, memory=memory, **options), self.table, "CP1", host=Host(), observer=self.notes
        )
        self.connection.opened(self.wire)

    def says(self, *frame: Any) -> None:
        self.connection.frame(json.dumps(frame).encode())

    def transfers(self, call_id: str) -> None:
        self.says(2, call_id, "DataTransfer", {"vendorId": "v"})

    @property
    def sent(self) -> list[Any]:
        """What was sent since the last look."""
        sent, self.wire.sent = self.wire.sent, []
        return sent


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# -- handlers ---------------------------------------------------------------------------------------------------------


class Awaitable:
    def __init__(self, result: Any) -> None:
        self.result = result

    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        return self.result


class Odd:
    """Awaits what nobody can wait for."""

    def __await__(self) -> Any:
        yield 7


class OwnRefusal(Refusal):
    __slots__ = ()


async def slow(context: Any, payload: Any) -> Any:
    await asyncio.sleep(0)
    return YES


async def cancelled(context: Any, payload: Any) -> Any:
    raise asyncio.CancelledError


async def cancels_itself(context: Any, payload: Any) -> Any:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


def future(context: Any, payload: Any) -> Any:
    waiting = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(waiting.set_result, YES)
    return waiting


@pytest.mark.parametrize(
    ("handler", "code"),
    [
        (lambda context, payload: YES, None),
        (slow, None),
        (future, None),
        (lambda context, payload: Awaitable(YES), None),
        (lambda context, payload: Awaitable(None), "InternalError"),
        (lambda context, payload: Odd(), "InternalError"),
        (lambda context, payload: asyncio.ensure_future(slow(context, payload)), None),
        (cancelled, "InternalError"),
        (cancels_itself, "InternalError"),
        (lambda context, payload: 1 / 0, "InternalError"),
        (lambda context, payload: {"status": "Nonsense"}, "InternalError"),
        (lambda context, payload: {"status": object()}, "InternalError"),
        (lambda context, payload: {7: "x"}, "InternalError"),
        (lambda context, payload: None, "InternalError"),
        (lambda context, payload: Refusal("GenericError", "no"), "GenericError"),
        (lambda context, payload: OwnRefusal("GenericError", "no"), "GenericError"),
        (lambda context, payload: Refusal("NoSuchCode"), "InternalError"),
        (lambda context, payload: Refusal(7, 8), "InternalError"),  # type: ignore[arg-type]
    ],
)
async def test_whatever_a_handler_does_costs_one_answer(handler, code) -> None:
    station = Station()
    station.table.on("DataTransfer")(handler)
    for number in range(2):
        station.transfers(f"t{number}")
    for number in range(100):
        if len(station.wire.sent) == 2:
            break
        await asyncio.sleep(0.001 * (number > 20))
    assert [frame[:2] for frame in station.wire.sent] == [[3 if code is None else 4, f"t{n}"] for n in range(2)]
    if code is not None:
        assert {frame[2] for frame in station.wire.sent} == {code}
    assert station.notes.answers == [("t0", code), ("t1", code)]
    assert not station.connection.is_busy


async def test_a_handler_that_never_returns(caplog) -> None:
    station = Station(timeout=5.0)
    end, ended, go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @station.table.on("DataTransfer")
    async def stubborn(context: Any, payload: Any) -> Any:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await end.wait()
        ended.set()
        return {"status": "Rejected"}

    station.transfers("t")
    await turns()
    station.says(2, "behind", "Heartbeat", {})
    station.connection.tick(monotonic() + 4)
    assert not station.sent
    station.connection.tick(monotonic() + 6)
    assert [frame[:3] for frame in station.sent] == [[4, "t", "InternalError"], [4, "behind", "NotSupported"]]

    @station.table.on("DataTransfer")
    async def waits(context: Any, payload: Any) -> Any:
        await go.wait()
        return YES

    station.transfers("next")
    await turns()
    end.set()
    await asyncio.wait_for(ended.wait(), 10)
    await turns()
    assert not station.sent, "what it says after its time is nobody's affair, nor the answer to the next CALL"
    go.set()
    await turns()
    assert station.sent == [[3, "next", YES]]
    assert station.notes.answers == [("t", "InternalError"), ("behind", "NotSupported"), ("next", None)]
    assert "Exception in callback" not in caplog.text


async def test_order_is_kept() -> None:
    station = Station()
    station.table.on("DataTransfer")(slow)
    station.table.on("Heartbeat")(lambda context, payload: {"currentTime": START["timestamp"]})
    for number in range(5):
        station.transfers(f"t{number}")
        station.says(2, f"h{number}", "Heartbeat", {})
    await turns(50)
    assert [frame[1] for frame in station.sent] == [f"{kind}{number}" for number in range(5) for kind in "th"]


async def test_a_handler_may_call_back_and_the_answer_finds_it() -> None:
    station = Station()

    @station.table.on("DataTransfer")
    async def curious(context: Any, payload: Any) -> Any:
        answer = await station.connection.call("ClearCache", {})
        return {"status": "Accepted", "data": answer["status"]}

    station.transfers("t")
    await turns()
    ((kind, call_id, action, _),) = station.sent
    assert (kind, action) == (2, "ClearCache")
    station.says(3, call_id, {"status": "Rejected"})
    await turns()
    assert station.sent == [[3, "t", {"status": "Accepted", "data": "Rejected"}]]


async def test_a_handler_that_closes_its_own_connection() -> None:
    station = Station()

    @station.table.on("DataTransfer")
    def closes(context: Any, payload: Any) -> Any:
        station.connection.close(1000, "enough")
        return YES

    station.transfers("t")
    station.transfers("u")
    assert station.wire.closed == [(1000, "enough")]
    assert not station.sent
    assert station.notes.answers == [("t", None)]


# -- the end ----------------------------------------------------------------------------------------------------------


async def test_closing_ends_own_calls_at_once() -> None:
    station = Station()
    calls = [asyncio.ensure_future(station.connection.call("ClearCache", {})) for _ in range(2)]
    await turns()
    station.connection.close(1000)
    assert station.connection.is_open, "until the peer has closed as well"
    for call in calls:
        with pytest.raises(CallFailed) as failed:
            await call
        assert failed.value.code == "lost"
    with pytest.raises(EndpointError):
        await station.connection.call("ClearCache", {})
    station.connection.closed()
    station.connection.closed()
    assert not station.connection.is_open
    await station.connection.ended()


async def test_a_call_is_carried_out_once_when_the_old_connection_lingers() -> None:
    """A station comes back while the handler of its old connection is at work, and that connection is not over yet."""
    memory, runs, go = Memory(), [], asyncio.Event()

    async def start(context: Any, payload: Any) -> Any:
        runs.append(payload)
        await go.wait()
        return {"transactionId": 7, "idTagInfo": {"status": "Accepted"}}

    old, new = Station(memory=memory), Station(memory=memory)
    for station in (old, new):
        station.table.on("StartTransaction")(start)
    old.says(2, "s", "StartTransaction", START)
    memory.reconnected()
    old.connection.close(1000, "replaced")
    new.says(2, "s", "StartTransaction", START)
    old.says(2, "late", "StartTransaction", START)
    go.set()
    await turns()
    assert len(runs) == 1
    assert [frame[:2] for frame in new.sent] == [[3, "s"]]
    assert not old.sent
    old.connection.closed()


async def test_a_handler_of_a_lost_connection_is_given_up_as_well() -> None:
    """Somebody may wait for its answer: without one the next connection would be stuck."""
    memory = Memory()

    async def deaf(context: Any, payload: Any) -> Any:
        while True:
            try:
                await asyncio.wait_for(over.wait(), 30)
            except asyncio.CancelledError:
                if over.is_set():
                    raise
            else:
                return YES

    over = asyncio.Event()
    old, new = Station(memory=memory, timeout=0.01), Station(memory=memory)
    for station in (old, new):
        station.table.on("DataTransfer")(deaf)
    old.transfers("t")
    old.connection.closed()
    memory.reconnected()
    new.transfers("t")
    async with asyncio.timeout(10):
        while not new.wire.sent:  # noqa: ASYNC110 - a timer of the connection ends it
            await asyncio.sleep(0.01)
    assert [frame[:3] for frame in new.sent] == [[4, "t", "InternalError"]]
    over.set()
    await turns()


async def test_leaving() -> None:
    idle, busy = Station(), Station()
    busy.table.on("DataTransfer")(slow)
    busy.transfers("t")
    for station in (idle, busy):
        station.connection.leave(1012, "restart")
    assert idle.wire.closed == [(1012, "restart")]
    assert not busy.wire.closed, "its CALL is answered first"
    await turns()
    assert [frame[1] for frame in busy.sent] == ["t"]
    assert busy.wire.closed == [(1012, "restart")]


async def test_settled() -> None:
    station = Station(memory=Memory())
    go = asyncio.Event()

    @station.table.on("DataTransfer")
    async def waits(context: Any, payload: Any) -> Any:
        await go.wait()
        return YES

    await asyncio.wait_for(station.connection.settled(), 10)
    station.transfers("t")
    station.connection.closed()
    settled = asyncio.ensure_future(station.connection.settled())
    await turns()
    assert not settled.done()
    go.set()
    await asyncio.wait_for(settled, 10)
    assert station.notes.answers == [("t", None)]


# -- holding ----------------------------------------------------------------------------------------------------------


async def test_holding() -> None:
    station = Station(boot=(boot := Boot()), gate="strict")
    station.table.on("Heartbeat")(lambda context, payload: {"currentTime": START["timestamp"]})
    station.connection.release()
    station.connection.hold()
    station.connection.hold()
    for number in range(3):
        station.says(2, f"h{number}", "Heartbeat", {})
    assert not station.sent
    boot.restore({"status": "accepted", "accepted_before": True})
    station.connection.release()
    assert [frame[:2] for frame in station.sent] == [[3, f"h{number}"] for number in range(3)]
    station.says(2, "h", "Heartbeat", {})
    assert len(station.sent) == 1


async def test_what_is_held_is_bounded() -> None:
    station = Station()
    station.connection.hold()
    for number in range(MAX_HELD + 5):
        station.transfers(f"t{number}")
    assert {code for code, _ in station.wire.closed} == {1008}
    station.connection.release()
    assert not station.sent
    station.connection.closed()


async def test_released_after_the_end() -> None:
    station = Station()
    station.connection.hold()
    station.transfers("t")
    station.connection.closed()
    station.connection.release()
    assert not station.notes.answers


async def test_orders_that_waited_for_the_state_go_on_release() -> None:
    boot = Boot()
    station = Station(role="station", boot=boot)
    call = asyncio.ensure_future(station.connection.call("Heartbeat", {}))
    await turns()
    station.connection.hold()
    boot.restore({"status": "accepted"})
    assert not station.sent
    station.connection.release()
    assert [frame[2] for frame in station.sent] == ["Heartbeat"]
    call.cancel()


async def test_small_things() -> None:
    station = Station()
    assert station.connection.peer == "nobody"
    station.connection.ping()
    station.connection.abort()
    assert (station.wire.pings, station.wire.aborted) == (1, True)
    with pytest.raises(ValueError, match="message type 6"):
        station.connection.send("NotifyPeriodicEventStream", {})
    assert str(CallFailed("Reset", "timeout")) == "Reset: timeout"


async def test_held_again_while_it_is_released() -> None:
    station = Station()

    def once_more(context: Any, payload: Any) -> dict[str, Any]:
        station.connection.hold()
        return {"currentTime": START["timestamp"]}

    station.table.on("Heartbeat")(once_more)
    station.connection.hold()
    for number in range(3):
        station.says(2, f"h{number}", "Heartbeat", {})
    for number in range(3):
        station.connection.release()
        assert [frame[1] for frame in station.sent] == [f"h{number}"], "one at a time, in order"


async def test_a_call_nobody_waits_for_any_more_is_not_sent() -> None:
    station = Station()
    first, second, third = [
        asyncio.create_task(station.connection.call("Reset", {"type": kind})) for kind in ("Soft", "Hard", "Soft")
    ]
    await turns()
    second.cancel()
    first.cancel()
    await turns()
    ((_, sent, _, _),) = station.sent
    station.says(3, sent, {"status": "Accepted"})
    await turns()
    ((_, sent, action, payload),) = station.sent
    assert (action, payload) == ("Reset", {"type": "Soft"}), "the second one was withdrawn, the first was on its way"
    station.says(3, sent, {"status": "Accepted"})
    assert await third == {"status": "Accepted"}
    assert first.cancelled()
    assert second.cancelled()
