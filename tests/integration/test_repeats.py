"""A CALL sent twice is carried out once: on one connection, and for transactions also over a reconnect."""

from __future__ import annotations

import asyncio
from typing import Any

START = {"connectorId": 1, "idTag": "A", "meterStart": 0, "timestamp": "2026-03-01T10:00:00Z"}


async def test_same_bytes_same_answer(serving, engine) -> None:
    async with serving(engine) as server, server.station() as station:
        first = await station.ask([2, "1", "StartTransaction", START])
        assert await station.ask([2, "1", "StartTransaction", START]) == first
        assert len(server.csms.stations["CP1"].transactions) == 1
        other = await station.ask([2, "2", "StartTransaction", START])
        assert other[2]["transactionId"] != first[2]["transactionId"]


async def test_other_bytes_are_another_call(serving) -> None:
    async with serving() as server, server.station() as station:
        first = await station.ask([2, "1", "StartTransaction", START])
        second = await station.ask([2, "1", "StartTransaction", {**START, "meterStart": 7}])
        assert first[2]["transactionId"] != second[2]["transactionId"]


async def test_over_a_reconnect(serving) -> None:
    async with serving() as server:
        async with server.station() as station:
            first = await station.ask([2, "1", "StartTransaction", START])
            await station.ask([2, "2", "Heartbeat", {}])
        memory = server.csms.stations["CP1"].memory
        assert len(memory) == 2
        async with server.station() as station:
            assert len(memory) == 1, "an old Heartbeat answer would set the station's clock wrong"
            assert await station.ask([2, "1", "StartTransaction", START]) == first


async def test_not_over_a_change_of_version(serving) -> None:
    frame = [2, "1", "MeterValues", {"connectorId": 1, "meterValue": []}]
    async with serving() as server:
        async with server.station() as station:
            assert (await station.ask(frame))[0] == 3
        async with server.station("ocpp2.0.1") as station:
            await station.ask(frame)
        assert server.csms.stations["CP1"].violations > 0


async def test_memory_is_bounded(serving) -> None:
    async with serving() as server, server.station() as station:
        first = await station.ask([2, "0", "StartTransaction", START])
        for number in range(1, 50):
            await station.ask([2, str(number), "Heartbeat", {}])
        assert 16 <= len(server.csms.stations["CP1"].memory) <= 32
        again = await station.ask([2, "0", "StartTransaction", START])
        assert again[2]["transactionId"] != first[2]["transactionId"]


async def test_while_the_first_is_at_work(serving) -> None:
    """One answer serves both; other bytes under the id in flight are refused."""
    release = asyncio.Event()
    runs = 0

    async def slow(station: Any, payload: Any) -> Any:
        nonlocal runs
        runs += 1
        await release.wait()
        return {"status": "Accepted"}

    async with serving() as server, server.station() as station:
        server.csms.tables["ocpp1.6"].on("DataTransfer")(slow)
        frame = '[2,"1","DataTransfer",{"vendorId":"v"}]'
        await station.socket.send(frame)
        await station.socket.send(frame)
        assert await station.ask('[2,"1","DataTransfer",{"vendorId":"w"}]') == [
            4,
            "1",
            "ProtocolError",
            "message id is in use",
            {},
        ]
        await station.socket.send('[2,"2","Heartbeat",{}]')
        release.set()
        assert await station.answer() == [3, "1", {"status": "Accepted"}]
        assert (await station.answer())[1] == "2"
        assert runs == 1
        assert await station.is_usable()


async def test_handlers_that_go_wrong_cost_one_callerror(serving, caplog) -> None:
    def raising(station: Any, payload: Any) -> Any:
        raise RuntimeError("secret detail")

    async def raising_later(station: Any, payload: Any) -> Any:
        await asyncio.sleep(0)
        raise KeyError("secret detail")

    def invalid(station: Any, payload: Any) -> Any:
        return {"status": "NoSuchStatus"}

    def unserialisable(station: Any, payload: Any) -> Any:
        return {"status": {1, 2}}

    async def with_wrong_names(station: Any, payload: Any) -> Any:
        return {"no": "such member"}

    wrong = (raising, raising_later, invalid, unserialisable, with_wrong_names, lambda s, p: None, lambda s, p: "text")
    async with serving() as server, server.station() as station:
        for number, handler in enumerate(wrong):
            server.csms.tables["ocpp1.6"].on("DataTransfer")(handler)
            caplog.clear()
            reply = await station.ask([2, str(number), "DataTransfer", {"vendorId": "v"}])
            assert reply == [4, str(number), "InternalError", "", {}]
            assert "DataTransfer" in caplog.text
            assert await station.is_usable()


async def test_a_handler_may_call_the_station_back(serving) -> None:
    async def curious(station: Any, payload: Any) -> Any:
        answer = await station.connection.call("GetConfiguration", {"key": ["A"]})
        return {"status": "Accepted", "data": answer["unknownKey"][0]}

    async with serving() as server, server.station() as station:
        server.csms.tables["ocpp1.6"].on("DataTransfer")(curious)
        kind, message_id, action, payload = await station.ask([2, "1", "DataTransfer", {"vendorId": "v"}])
        assert (kind, action, payload) == (2, "GetConfiguration", {"key": ["A"]})
        reply = await station.ask([3, message_id, {"unknownKey": ["A"]}])
        assert reply == [3, "1", {"status": "Accepted", "data": "A"}]
