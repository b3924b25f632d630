"""Passwords and permessage-deflate between evcore and what others wrote, either way."""

from __future__ import annotations

import pytest

from evcore.net.auth import Credential, Credentials
from evcore.net.engine import ENGINES, ConnectError
from evcore.net.secret import Secret
from tests.interop.messages import ANSWERS, UNICODE, boot, data_transfer
from tests.interop.peers import Refused

PASSWORD = "Qm7-x0Zt:4kP_w9Rr2Lj"

#: The peers that tell what was agreed on.
TELLING = ("ocpp", "ocpp-rpc")


async def test_password_of_a_station(serving, engine, peer, version, strict) -> None:
    """The right one gets in; a wrong one and none get 401."""
    stations = Credentials([Credential("CP1", frozenset({1}), (Secret.of_key(PASSWORD.encode()),))])
    async with serving(engine, authenticator=stations) as server:
        for password in ("wrong", None):
            with pytest.raises(Refused) as refused:
                await peer.connect(server.url, "CP1", version, password=password, strict=strict)
            assert refused.value.code == "401"
        await peer.connect(server.url, "CP1", version, password=PASSWORD, strict=strict)
        assert (await peer.call("BootNotification", boot(version)))["status"] == "Accepted"


async def test_password_of_evcore(peer, version, station, strict) -> None:
    for action, answer in ANSWERS[version].items():
        await peer.answer(action, answer)
    url = await peer.listen(version, password=PASSWORD, strict=strict)
    for password in ("wrong", None):
        with pytest.raises(ConnectError, match="401"):
            async with station(url, version, {}, password=password):
                pass
    async with station(url, version, {}, password=PASSWORD) as side:
        assert (await side.call("BootNotification", boot(version)))["status"] == "Accepted"


async def test_a_station_offers_deflate(central, peer, pair, version, strict) -> None:
    """Agreed on from 2.0.1 on; large messages and small ones pass both ways."""
    answer = {"status": "Accepted", "data": data_transfer(version, UNICODE[::-1] * 1000)["data"]}
    async with central({version: {**ANSWERS[version], "DataTransfer": answer}}) as server:
        await peer.answer("DataTransfer", answer)
        said = await peer.connect(server.url, "CP1", version, deflate=True, strict=strict)
        if pair[0] in TELLING:
            assert ("permessage-deflate" in said["extensions"]) == (version != "ocpp1.6")
        side = server.sides["CP1"]
        for length in (1, 1000, 1):
            message = data_transfer(version, UNICODE * length)
            assert await peer.call("DataTransfer", message) == answer
            assert await side.call("DataTransfer", message) == answer
            assert side.asked.pop() == ("DataTransfer", message)
            await peer.until("call")
            assert peer.happened.pop().payload == message


@pytest.mark.parametrize("own", ENGINES)
async def test_evcore_offers_deflate(peer, pair, version, station, strict, own) -> None:
    answer = {"status": "Accepted", "data": data_transfer(version, UNICODE[::-1] * 1000)["data"]}
    await peer.answer("DataTransfer", answer)
    url = await peer.listen(version, deflate=True, strict=strict)
    async with station(url, version, {"DataTransfer": answer}, engine=own, deflate=True) as side:
        await peer.until("open")
        if pair[0] in TELLING:
            assert peer.happened[0].payload == "permessage-deflate"
        for length in (1, 1000, 1):
            message = data_transfer(version, UNICODE * length)
            assert await side.call("DataTransfer", message) == answer
            assert await peer.call("DataTransfer", message) == answer
            assert side.asked.pop() == ("DataTransfer", message)
            await peer.until("call")
            assert peer.happened.pop().payload == message
