"""Other implementations as stations against evcore's server, on both engines."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evcore.net.connection import CallFailed
from tests.interop.messages import ANSWERS, BAD_ANSWER, ORDERS, UNHANDLED, UNICODE, WRONG, charge, data_transfer
from tests.interop.peers import Refused

#: What each peer answers to an action it knows but does not handle. `ocpp` has the two codes the other way round, and
#: says nothing at all in 2.1; ocpp-rpc does not tell them apart.
UNHANDLED_BY = {
    ("ocpp", "ocpp1.6"): "NotImplemented",
    ("ocpp", "ocpp2.0.1"): "NotImplemented",
    ("ocpp", "ocpp2.1"): "timeout",
    ("ocpp-go", "ocpp1.6"): "NotSupported",
    ("ocpp-go", "ocpp2.0.1"): "NotSupported",
    ("ocpp-rpc", "ocpp1.6"): "NotImplemented",
    ("ocpp-rpc", "ocpp2.0.1"): "NotImplemented",
    ("ocpp-rpc", "ocpp2.1"): "NotImplemented",
}


async def test_a_whole_charge(serving, engine, peer, version, strict) -> None:
    async with serving(engine) as server:
        await peer.connect(server.url, "CP1", version, strict=strict)
        energy = await charge(version, peer.call)
        live = server.csms.stations["CP1"]
        assert (live.vendor, live.model, live.version) == ("Vendor", "Model", version)
        assert live.last_transaction.energy == energy
        assert not live.transactions
        assert live.violations == 0


async def test_a_call_back_while_the_station_waits(central, peer, version, strict) -> None:
    """The handler of the station's CALL orders four things of the station before it answers."""
    results: list[Any] = []

    async def heartbeat(side: Any, _: Any) -> Any:
        results.extend([await side.call(order.action, order.payload) for order in ORDERS[version]])
        return ANSWERS[version]["Heartbeat"]

    async with central({version: {"Heartbeat": heartbeat}}) as server:
        for order in ORDERS[version]:
            await peer.answer(order.action, order.answer)
        await peer.connect(server.url, "CP1", version, strict=strict)
        assert (await peer.call("Heartbeat", {}))["currentTime"]
        assert results == [order.answer for order in ORDERS[version]]
        await peer.until("call", len(ORDERS[version]))
        assert peer.calls() == [order.payload for order in ORDERS[version]]
        assert not server.sides["CP1"].faults


async def test_calls_that_cross_on_the_wire(central, peer, version, strict) -> None:
    async with central({version: ANSWERS[version]}) as server:
        order = ORDERS[version][2]
        await peer.answer(order.action, order.answer)
        await peer.connect(server.url, "CP1", version, strict=strict)
        side = server.sides["CP1"]
        for _ in range(10):
            asked = [side.call(order.action, order.payload) for _ in range(2)]
            said, *answers = await asyncio.gather(peer.call("Heartbeat", {}), *asked)
            assert said["currentTime"]
            assert answers == [order.answer] * 2
        assert not side.faults


@pytest.mark.parametrize("length", [1, 1000], ids=["short", "40 kB"])
async def test_unicode_both_ways(central, peer, version, length, strict) -> None:
    """Short, and in one message of more than 40 kB each way."""
    sent, answered = (data_transfer(version, text * length)["data"] for text in (UNICODE, UNICODE[::-1]))
    answer = {"status": "Accepted", "data": answered}
    async with central({version: {"DataTransfer": answer}}) as server:
        await peer.answer("DataTransfer", answer)
        await peer.connect(server.url, "CP1", version, strict=strict)
        message = data_transfer(version, UNICODE * length)
        assert message["data"] == sent
        assert await peer.call("DataTransfer", message) == answer
        side = server.sides["CP1"]
        assert side.asked == [("DataTransfer", message)]
        assert await side.call("DataTransfer", message) == answer
        await peer.until("call")
        assert peer.calls() == [message]


async def test_refusals_of_evcore(serving, engine, peer, version) -> None:
    """An action nobody knows, one that is not a station's to send, one that breaks its schema; then all goes on."""
    action, payload, code = WRONG[version]
    async with serving(engine) as server:
        await peer.connect(server.url, "CP1", version, strict=False)
        for asked, given, expected in (
            ("NoSuchAction", {"data": "x"}, "NotImplemented"),
            (*UNHANDLED[version], "NotSupported"),
            (action, payload, code),
        ):
            with pytest.raises(Refused) as refused:
                await peer.call(asked, given)
            assert refused.value.code == expected, asked
        assert (await peer.call("Heartbeat", {}))["currentTime"]


async def test_refusals_of_the_peer(central, peer, pair, version) -> None:
    """A CALLERROR of its handler, an action it does not handle, an answer that breaks its schema; then all goes on."""
    change, variables = ORDERS[version][1], ORDERS[version][2]
    async with central({version: ANSWERS[version]}) as server:
        await peer.answer(change.action, {"$error": {"code": "SecurityError", "description": "not today"}})
        await peer.answer(variables.action, variables.answer)
        await peer.connect(server.url, "CP1", version, strict=False)
        side = server.sides["CP1"]
        with pytest.raises(CallFailed) as failed:
            await side.call(change.action, change.payload)
        assert (failed.value.code, failed.value.description) == ("SecurityError", "not today")
        with pytest.raises(CallFailed) as failed:
            await side.call(*UNHANDLED[version], timeout=20 if UNHANDLED_BY[pair] != "timeout" else 0.5)
        assert failed.value.code == UNHANDLED_BY[pair]
        await peer.answer(change.action, BAD_ANSWER)
        with pytest.raises(CallFailed) as failed:
            await side.call(change.action, change.payload)
        assert failed.value.code == "invalid"
        assert await side.call(variables.action, variables.payload) == variables.answer
        assert (await peer.call("Heartbeat", {}))["currentTime"]


async def test_the_same_identity_again(central, make_peer, version, strict) -> None:
    """The new connection is served, the old one closed, and its late end harms nobody."""
    order = ORDERS[version][2]
    async with central({version: ANSWERS[version]}) as server:
        old, new = await make_peer(), await make_peer()
        for peer in (old, new):
            await peer.answer(order.action, order.answer)
        await old.connect(server.url, "CP1", version, strict=strict)
        assert (await old.call("Heartbeat", {}))["currentTime"]
        await new.connect(server.url, "CP1", version, strict=strict)
        await old.until("closed")
        side = server.sides["CP1"]
        assert side.connections == 2
        assert await side.call(order.action, order.payload) == order.answer
        await new.until("call")
        assert (len(old.calls()), len(new.calls())) == (0, 1)
        assert (await new.call("Heartbeat", {}))["currentTime"]


async def test_a_clean_close_of_either_side(central, make_peer, version, until, strict) -> None:
    async with central({version: ANSWERS[version]}) as server:
        station = await make_peer()
        await station.connect(server.url, "CP1", version, strict=strict)
        side = server.sides["CP1"]
        assert (await station.call("Heartbeat", {}))["currentTime"]
        await station.drop()
        await until(lambda: side.connection is None)
        again = await make_peer()
        await again.connect(server.url, "CP1", version, strict=strict)
        assert (await again.call("Heartbeat", {}))["currentTime"]
        side.connection.close(1000)
        await again.until("closed")
        await until(lambda: side.connection is None)


@pytest.mark.parametrize("pair", [("ocpp-go", "ocpp2.0.1")], indirect=True, ids=" ".join)
async def test_the_null_of_ocpp_go(central, peer) -> None:
    """ocpp-go 0.19 answers Reset with `"statusInfo": null`, which no schema allows: a failed call, no lost station."""
    async with central({"ocpp2.0.1": ANSWERS["ocpp2.0.1"]}) as server:
        await peer.answer("Reset", {"status": "Accepted"})
        await peer.connect(server.url, "CP1", "ocpp2.0.1")
        with pytest.raises(CallFailed, match="/statusInfo must be object, is null") as failed:
            await server.sides["CP1"].call("Reset", {"type": "Immediate"})
        assert failed.value.code == "invalid"
        assert (await peer.call("Heartbeat", {}))["currentTime"]
