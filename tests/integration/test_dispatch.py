"""Handlers behind real sockets, on both engines: order, call-backs, handlers that go on for ever, stations beside each
other.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from evcore.csms.application import CsmsOptions
from evcore.dispatch import Refusal

YES = {"status": "Accepted"}
START = {"connectorId": 1, "idTag": "A", "meterStart": 0, "timestamp": "2026-03-01T10:00:00Z"}


def transfer(call_id: str) -> str:
    return json.dumps([2, call_id, "DataTransfer", {"vendorId": "v"}])


async def test_order_is_kept_whatever_a_handler_waits_for(serving, engine) -> None:
    async with serving(engine) as server, server.station() as station:
        pauses = iter([0.05, 0.0, 0.02, 0.0, 0.01])

        async def slow(context: Any, payload: Any) -> Any:
            await asyncio.sleep(next(pauses))
            return YES

        server.csms.tables["ocpp1.6"].on("DataTransfer")(slow)
        for number in range(5):
            await station.socket.send(transfer(f"t{number}"))
            await station.socket.send(f'[2,"h{number}","Heartbeat",{{}}]')
        ids = [(await station.answer())[1] for _ in range(10)]
        assert ids == [f"{kind}{number}" for number in range(5) for kind in "th"]


async def test_stations_do_not_wait_for_each_other(serving, engine) -> None:
    async with serving(engine) as server, server.station() as one, server.station(identity="CP2") as other:
        go = asyncio.Event()

        async def waits(context: Any, payload: Any) -> Any:
            await go.wait()
            return YES

        server.csms.tables["ocpp1.6"].on("DataTransfer")(waits)
        await one.socket.send(transfer("t"))
        for _ in range(3):
            assert await other.is_usable()
        go.set()
        assert await one.answer() == [3, "t", YES]


async def test_handlers_call_back_while_the_station_calls(serving, engine) -> None:
    """Several rounds in one handler, with CALLs of the station crossing them."""
    async with serving(engine) as server, server.station() as station:

        async def curious(context: Any, payload: Any) -> Any:
            said = [(await context.connection.call("ClearCache", {}))["status"] for _ in range(3)]
            return {"status": "Accepted", "data": " ".join(said)}

        server.csms.tables["ocpp1.6"].on("DataTransfer")(curious)
        await station.socket.send(transfer("t"))
        for number, status in enumerate(("Accepted", "Rejected", "Accepted")):
            kind, call_id, action, _ = await station.answer()
            assert (kind, action) == (2, "ClearCache")
            await station.socket.send(f'[2,"crossing {number}","Heartbeat",{{}}]')
            await station.socket.send(json.dumps([3, call_id, {"status": status}]))
        assert await station.answer() == [3, "t", {"status": "Accepted", "data": "Accepted Rejected Accepted"}]
        assert [(await station.answer())[1] for _ in range(3)] == [f"crossing {number}" for number in range(3)]


async def test_a_handler_that_never_returns(serving, engine, caplog) -> None:
    options = CsmsOptions(handler_timeout=0.1, gate={"ocpp1.6": "off"})
    async with serving(engine, csms=options) as server, server.station() as station:
        cancelled = asyncio.Event()

        async def never(context: Any, payload: Any) -> Any:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                cancelled.set()
            return YES

        server.csms.tables["ocpp1.6"].on("DataTransfer")(never)
        assert await station.ask(transfer("t")) == [4, "t", "InternalError", "", {}]
        assert "did not end within 0.1 s" in caplog.text
        async with asyncio.timeout(10):
            await cancelled.wait()
        assert await station.is_usable(), "and its late result is no answer to anything"


async def test_hooks_and_middleware(serving, engine) -> None:
    async with serving(engine) as server, server.station() as station:
        table = server.csms.tables["ocpp1.6"]
        seen: list[Any] = []

        @table.before
        def closed(context: Any, call: Any) -> Any:
            return Refusal("SecurityError", "closed") if call.id == "closed" else None

        @table.wrap
        async def audit(context: Any, call: Any, proceed: Any) -> Any:
            outcome = await proceed()
            seen.append((str(context), call.action, outcome))
            return outcome

        @table.after
        def timing(context: Any, call: Any, outcome: Any, seconds: float) -> None:
            seen.append((call.id, outcome == YES or outcome[0]))

        table.on("DataTransfer")(lambda context, payload: YES)
        assert await station.ask(transfer("1")) == [3, "1", YES]
        assert await station.ask(transfer("closed")) == [4, "closed", "SecurityError", "closed", {}]
        assert seen == [("CP1", "DataTransfer", YES), ("1", True), ("closed", "SecurityError")]


async def test_a_station_that_comes_back_while_its_call_is_at_work(serving, engine, until) -> None:
    """Its old connection is replaced, and the StartTransaction it repeats is carried out once."""
    async with serving(engine) as server, server.station() as old:
        go, runs = asyncio.Event(), 0

        async def start(context: Any, payload: Any) -> Any:
            nonlocal runs
            runs += 1
            await go.wait()
            return {"transactionId": 7, "idTagInfo": YES}

        server.csms.tables["ocpp1.6"].on("StartTransaction")(start)
        frame = json.dumps([2, "s", "StartTransaction", START])
        await old.socket.send(frame)
        await until(lambda: runs == 1)
        async with server.station() as new:
            await new.socket.send(frame)
            await new.socket.send('[2,"h","Heartbeat",{}]')
            await until(lambda: server.csms.stations["CP1"].connection.received == 2)
            go.set()
            assert await new.answer() == [3, "s", {"transactionId": 7, "idTagInfo": YES}]
            assert (await new.answer())[1] == "h"
    assert runs == 1
