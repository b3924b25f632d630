"""Who gets in, under which name and version."""

from __future__ import annotations

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from evcore.net.engine import Refuse
from evcore.net.handshake import choose, identity

IDENTITIES = {
    "/CP1": "CP1",
    "/ocpp/CP1": "CP1",
    "///CP1": "CP1",
    "/ws://host:9000/CP1": "CP1",
    "/ocpp1.6/RDAM%20123": "RDAM 123",
    "/RDAM%7C123": "RDAM|123",
    "/a%2Fb": "a/b",
    "/CP1?token=1": "CP1",
    "/%C3%A4": "ä",
    "/" + "x" * 48: "x" * 48,
    "/" + "%C3%A4" * 48: "ä" * 48,
    "/CP:1": "CP:1",
    "/%2541": "%41",
    "/": 404,
    "/CP1/": 404,
    "//": 404,
    "/?id=CP1": 404,
    "/" + "x" * 49: 400,
    "/a%00b": 400,
    "/a%0Ab": 400,
    "/a%1Bb": 400,
    "/a%7Fb": 400,
    "/a%C2%85b": 400,
    "/%zz": 400,
    "/%4": 400,
    "/%FF": 400,
    "/%ED%A0%80": 400,
}


@pytest.mark.parametrize("path", IDENTITIES)
def test_identity(path) -> None:
    found = identity(path)
    assert (found.status if isinstance(found, Refuse) else found) == IDENTITIES[path]


@pytest.mark.parametrize("path", [path for path in IDENTITIES if path.isascii()])
async def test_identity_over_the_wire(serving, engine, path) -> None:
    expected = IDENTITIES[path]
    async with serving(engine) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n".encode()
        )
        status = int((await reader.readline()).split()[1])
        assert status == (101 if isinstance(expected, str) else expected)
        assert list(server.csms.stations) == ([expected] if isinstance(expected, str) else [])
        writer.close()


CHOICES = [
    (("ocpp1.6",), None, ("ocpp1.6", "ocpp1.6")),
    (("ocpp2.1", "ocpp2.0.1", "ocpp1.6"), None, ("ocpp2.1", "ocpp2.1")),
    (("ocpp1.6", "ocpp2.1"), None, ("ocpp1.6", "ocpp1.6")),
    (("ocpp0.1", "ocpp2.0.1"), None, ("ocpp2.0.1", "ocpp2.0.1")),
    (("ocpp2.0",), None, None),
    (("OCPP1.6",), None, None),
    (("ocpp0.1",), "ocpp1.6", None),
    ((), None, None),
    ((), "ocpp1.6", ("ocpp1.6", None)),
]


@pytest.mark.parametrize(("offered", "assume", "chosen"), CHOICES)
def test_choice(offered, assume, chosen) -> None:
    assert choose(offered, assume) == chosen


@pytest.mark.parametrize(("offered", "assume", "chosen"), CHOICES)
async def test_choice_over_the_wire(serving, engine, offered, assume, chosen) -> None:
    async with serving(engine, assume=assume) as server:
        url = f"{server.url}/CP1"
        if chosen is None:
            with pytest.raises(InvalidStatus) as refused:
                await connect(url, subprotocols=list(offered) or None)
            assert refused.value.response.status_code == 400
            assert b"ocpp1.6, ocpp2.0.1, ocpp2.1" in refused.value.response.body
            assert not server.csms.stations
        else:
            async with connect(url, subprotocols=list(offered) or None) as socket:
                assert socket.subprotocol == chosen[1]
                assert server.csms.stations["CP1"].version == chosen[0]


@pytest.mark.parametrize("offered", [["ocpp0.1"], None])
async def test_upgrade_and_close(serving, engine, offered) -> None:
    async with serving(engine, mismatch="close") as server:
        async with connect(f"{server.url}/CP1", subprotocols=offered) as socket:
            assert socket.subprotocol is None
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(socket.recv(), 10)
            assert socket.close_code == 1002
        assert not server.csms.stations


async def test_unknown_stations_are_refused(serving, engine) -> None:
    async with serving(engine, known={"CP1"}) as server:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{server.url}/CP2", subprotocols=["ocpp1.6"])
        assert refused.value.response.status_code == 404
        async with server.station() as station:
            assert await station.is_usable()


async def test_version_belongs_to_the_connection(serving, engine) -> None:
    async with serving(engine) as server:
        for version in ("ocpp1.6", "ocpp2.0.1", "ocpp1.6", "ocpp2.1"):
            async with server.station(version) as station:
                assert await station.is_usable()
                assert server.csms.stations["CP1"].version == version


async def test_newest_connection_wins(serving, engine, until) -> None:
    """The late end of the replaced connection must not take its successor away."""
    async with serving(engine) as server, server.station() as old:
        assert await old.is_usable()
        first = server.server.connection("CP1")
        async with server.station() as new:
            assert await new.is_usable()
            second = server.server.connection("CP1")
            assert second is not None
            assert second is not first
            with pytest.raises(ConnectionClosed):
                await old.answer()
            await until(lambda: not first.is_open)
            assert server.server.connection("CP1") is second
            assert server.csms.stations["CP1"].connection is second
            assert await new.is_usable()
        await until(lambda: server.server.connection("CP1") is None)
        assert server.csms.stations["CP1"].connection is None


@pytest.mark.parametrize(
    "request_text",
    ["GET /CP1 HTTP/1.1\r\nHost: x\r\n\r\n", "POST /CP1 HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\r\n\r\n"],
)
async def test_what_is_no_upgrade(serving, engine, request_text) -> None:
    async with serving(engine) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
        writer.write(request_text.encode("latin-1"))
        answer = await asyncio.wait_for(reader.read(), 10)
        assert b" 101 " not in answer
        writer.close()
        async with server.station() as station:
            assert await station.is_usable()
