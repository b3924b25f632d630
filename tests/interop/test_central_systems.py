"""Other implementations as central systems, with evcore's station before them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evcore.net.connection import CallFailed
from tests.interop.messages import ANSWERS, ORDERS, UNICODE, charge, data_transfer
from tests.interop.peers import Refused

#: The peers that can send an action their version does not have.
ODD = {"ocpp", "ocpp-rpc"}

#: A CALL of the central system that breaks its schema, and the error code of docs/codec.md.
_CHANGE_2 = ("ChangeAvailability", {"operationalStatus": "Perhaps"}, "PropertyConstraintViolation")
WRONG_ORDER = {
    "ocpp1.6": ("ChangeAvailability", {"connectorId": 1, "type": "Perhaps"}, "PropertyConstraintViolation"),
    "ocpp2.0.1": _CHANGE_2,
    "ocpp2.1": _CHANGE_2,
}

UNREGISTERED = {"ocpp1.6": ("ClearCache", {}), "ocpp2.0.1": ("ClearCache", {}), "ocpp2.1": ("ClearCache", {})}

SHORT = {"ocpp1.6": "1.6", "ocpp2.0.1": "2.0.1", "ocpp2.1": "2.1"}


async def listen(peer: Any, version: str, **options: Any) -> str:
    for action, answer in ANSWERS[version].items():
        await peer.answer(action, answer)
    url: str = await peer.listen(version, **options)
    return url


def orders(version: str) -> dict[str, Any]:
    return {order.action: order.answer for order in ORDERS[version]}


async def test_a_whole_charge(peer, version, station, strict) -> None:
    async with station(await listen(peer, version, strict=strict), version, {}) as side:
        await charge(version, side.call)
        assert not side.faults
    assert not peer.count("bad")


async def test_a_whole_charge_of_the_simulated_station(peer, version, cli, strict) -> None:
    url = await listen(peer, version, strict=strict)
    run = cli("simulate", "--url", url, "--id", "CP1", "--version", SHORT[version], "--seed", "1", "--speed", "100000")
    status, out, err = await asyncio.to_thread(run.end)
    assert status == 0, out + err
    actions = peer.actions()
    assert actions[0] == "BootNotification"
    if version == "ocpp1.6":
        begun, ended = actions.index("StartTransaction"), actions.index("StopTransaction")
        assert begun < actions.index("MeterValues") < ended
        assert all(payload["transactionId"] == 42 for payload in peer.calls("MeterValues"))
    else:
        kinds = [payload["eventType"] for payload in peer.calls("TransactionEvent")]
        assert (kinds[0], kinds[-1]) == ("Started", "Ended")
        assert set(kinds[1:-1]) == {"Updated"}
    assert {"Authorize", "StatusNotification"} <= set(actions)
    assert not peer.count("bad")


async def test_orders_that_cross_the_stations_calls(peer, version, station, strict) -> None:
    async with station(await listen(peer, version, strict=strict), version, orders(version)) as side:
        await peer.until("open")
        for order in ORDERS[version] * 3:
            beat, answer = await asyncio.gather(side.call("Heartbeat", {}), peer.call(order.action, order.payload))
            assert beat["currentTime"]
            assert answer == order.answer
        assert side.asked == [(order.action, order.payload) for order in ORDERS[version] * 3]
        assert not side.faults


@pytest.mark.parametrize("length", [1, 1000], ids=["short", "40 kB"])
async def test_unicode_both_ways(peer, version, station, length, strict) -> None:
    message = data_transfer(version, UNICODE * length)
    answer = {"status": "Accepted", "data": data_transfer(version, UNICODE[::-1] * length)["data"]}
    url = await listen(peer, version, strict=strict)
    await peer.answer("DataTransfer", answer)
    async with station(url, version, {"DataTransfer": answer}) as side:
        await peer.until("open")
        assert await side.call("DataTransfer", message) == answer
        assert await peer.call("DataTransfer", message) == answer
        await peer.until("call")
        assert peer.calls() == [message]
        assert side.asked == [("DataTransfer", message)]


async def test_refusals_of_evcore(peer, pair, version, station) -> None:
    url = await listen(peer, version, strict=False)
    async with station(url, version, orders(version)) as side:
        await peer.until("open")
        cases = [(*UNREGISTERED[version], "NotSupported"), WRONG_ORDER[version]]
        if pair[0] in ODD:
            cases.append(("NoSuchAction", {}, "NotImplemented"))
        for action, payload, code in cases:
            with pytest.raises(Refused) as refused:
                await peer.call(action, payload)
            assert refused.value.code == code, action
        order = ORDERS[version][2]
        assert await peer.call(order.action, order.payload) == order.answer
        assert (await side.call("Heartbeat", {}))["currentTime"]


async def test_refusals_of_the_peer(peer, version, station) -> None:
    """A CALLERROR, then an answer that breaks its schema: each is one failed call."""
    url = await listen(peer, version, strict=False)
    await peer.answer("DataTransfer", {"$error": {"code": "SecurityError", "description": "not today"}})
    async with station(url, version, {}) as side:
        with pytest.raises(CallFailed) as failed:
            await side.call("DataTransfer", data_transfer(version, "x"))
        assert (failed.value.code, failed.value.description) == ("SecurityError", "not today")
        await peer.answer("DataTransfer", {"status": "Perhaps"})
        with pytest.raises(CallFailed) as failed:
            await side.call("DataTransfer", data_transfer(version, "x"))
        assert failed.value.code == "invalid"
        assert (await side.call("Heartbeat", {}))["currentTime"]


async def test_reconnect_and_close(peer, version, station, strict) -> None:
    """The station closes and comes again; then the central system closes."""
    url = await listen(peer, version, strict=strict)
    async with station(url, version, {}) as side:
        assert (await side.call("Heartbeat", {}))["currentTime"]
    await peer.until("closed")
    async with station(url, version, {}) as side:
        assert (await side.call("Heartbeat", {}))["currentTime"]
        await peer.drop()
        async with asyncio.timeout(20):
            await side.connection.ended()
        with pytest.raises(Exception, match=r"closed|lost"):
            await side.call("Heartbeat", {})
    assert peer.count("open") == 2
