"""permessage-deflate on both engines, with the library websockets on the other side and with raw frames."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import zlib
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory

from evcore.net.deflate import Disagreement, agree, confirm, offer
from evcore.net.engine import ENGINES, ConnectError, load
from tests.integration.engines import Notes, close_code, frame, listening, raw

TEXT = "".join(f'{{"sampledValue":[{{"value":"{number * 7919}"}}]}},' for number in range(300))
LEAST = 512


def deflated(message: bytes, window: int = 15) -> bytes:
    packer = zlib.compressobj(wbits=-window)
    return (packer.compress(message) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


OFFERS: dict[str, dict[str, Any]] = {
    "as the library offers": {},
    "takeover wanted": {"client_max_window_bits": None},
    "small windows": {"server_max_window_bits": 9, "client_max_window_bits": 9},
    "no takeover": {"server_no_context_takeover": True, "client_no_context_takeover": True},
    "largest windows": {"server_max_window_bits": 15, "client_max_window_bits": 15},
}


@pytest.mark.parametrize("terms", OFFERS.values(), ids=OFFERS)
async def test_the_library_as_a_station(engine, terms) -> None:
    async with (
        listening(engine, deflate=True) as server,
        connect(
            server.url(), subprotocols=["ocpp1.6"], extensions=[ClientPerMessageDeflateFactory(**terms)], max_size=None
        ) as station,
    ):
        agreed = station.protocol.extensions[0]
        assert (agreed.remote_no_context_takeover, agreed.local_no_context_takeover) == (True, True)
        assert agreed.remote_max_window_bits <= 11
        if terms.get("client_max_window_bits", True) is not None:
            assert agreed.local_max_window_bits <= 11
        for message in ("", "x", TEXT[: LEAST - 1], TEXT[:LEAST], TEXT, TEXT * 50, TEXT):
            await station.send(message)
            assert await station.recv() == message
        await station.send([TEXT[:1000], "", TEXT[1000:]])
        assert await station.recv() == TEXT
        assert server.sinks[0].frames[-1] == TEXT.encode()


@pytest.mark.parametrize("terms", [{}, {"server_max_window_bits": 10, "client_max_window_bits": 10}], ids=["any", "10"])
async def test_the_library_as_a_server(engine, until, terms) -> None:
    agreed: list[Any] = []

    async def echo(socket: Any) -> None:
        agreed.extend(socket.protocol.extensions)
        async for message in socket:
            await socket.send(message)

    async with serve(
        echo, "127.0.0.1", 0, subprotocols=["ocpp2.1"], extensions=[ServerPerMessageDeflateFactory(**terms)]
    ) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/CP1"
        sink = Notes(echo=False)
        await load(engine).connect(url, ("ocpp2.1",), sink, max_frame=1_000_000, deflate=True)
        messages = [b"x", TEXT.encode(), TEXT.encode() * 10, b""]
        for message in messages:
            sink.wire.send(message)
        await until(lambda: sink.frames == messages)
        assert (agreed[0].remote_no_context_takeover, agreed[0].local_no_context_takeover) == (True, True)
        sink.wire.close(1000)
        await until(lambda: "closed" in sink.happened)


@pytest.mark.parametrize("client", ENGINES)
async def test_both_ends_are_ours(engine, client, until) -> None:
    async with listening(engine, deflate=True) as server:
        sink = Notes(echo=False)
        await load(client).connect(server.url(), ("ocpp1.6",), sink, max_frame=1_000_000, deflate=True)
        sink.wire.send(TEXT.encode())
        await until(lambda: sink.frames == [TEXT.encode()])


async def test_only_what_is_worth_it_is_compressed(engine) -> None:
    async with (
        listening(engine, deflate=True) as server,
        raw(server.port, "Sec-WebSocket-Extensions: permessage-deflate") as (reader, writer),
    ):
        small, large = TEXT[: LEAST - 1].encode(), TEXT.encode()
        writer.write(frame(1, small) + frame(1, deflated(large), rsv=4))
        async with asyncio.timeout(10):
            assert await reader.readexactly(4 + len(small)) == b"\x81\x7e\x01\xff" + small
            first, size, high, low = await reader.readexactly(4)
            assert (first, size) == (0xC1, 126)
            payload = await reader.readexactly(high << 8 | low)
        assert len(payload) < len(large) // 3
        assert zlib.decompressobj(wbits=-11).decompress(payload + b"\x00\x00\xff\xff") == large


async def test_a_compressed_message_in_parts_with_a_ping_between(engine, until) -> None:
    async with (
        listening(engine, deflate=True) as server,
        raw(server.port, "Sec-WebSocket-Extensions: permessage-deflate") as (_, writer),
    ):
        payload = deflated(TEXT.encode())
        writer.write(frame(1, payload[:100], fin=False, rsv=4) + frame(9, b"p"))
        writer.write(frame(0, payload[100:], fin=False) + frame(0, b"") + frame(1, b"plain again"))
        await until(lambda: server.sinks[0].frames == [TEXT.encode(), b"plain again"])


LIMIT = 100_000


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(1, deflated(bytes(LIMIT + 1)), rsv=4), 1009),
        (frame(1, deflated(bytes(80_000_000)), rsv=4), 1009),
        (frame(1, deflated(bytes(50_000_000))[:20_000], rsv=4, fin=False) + frame(0, b"x" * 30_000), 1009),
        (frame(1, b"\xff\xff\xff\xff", rsv=4), 1002),
        (frame(1, deflated(b"x"), rsv=4, fin=False) + frame(0, b"x", rsv=4), 1002),
        (frame(9, b"x", rsv=4), 1002),
        (frame(1, b"x", rsv=2), 1002),
    ],
    ids=[
        "one byte over",
        "a bomb",
        "a bomb in parts",
        "not deflate",
        "RSV1 on a continuation",
        "RSV1 on a ping",
        "RSV2",
    ],
)
async def test_messages_that_end_a_connection(engine, until, sent, code) -> None:
    async with (
        listening(engine, deflate=True, max_frame=LIMIT) as server,
        raw(server.port, "Sec-WebSocket-Extensions: permessage-deflate") as (reader, writer),
    ):
        writer.write(frame(1, deflated(bytes(LIMIT)), rsv=4))
        await until(lambda: server.sinks[0].frames == [bytes(LIMIT)])
        writer.write(sent)
        assert await close_code(reader) == code
        assert server.sinks[0].frames == [bytes(LIMIT)]


async def test_nothing_is_agreed_on_where_it_is_not_wanted(engine, caplog) -> None:
    caplog.set_level("INFO", "evcore.engine")
    async with listening(engine, deflate=False) as server:
        async with connect(server.url(), subprotocols=["ocpp1.6"]) as station:
            assert station.protocol.extensions == []
        async with raw(server.port, "Sec-WebSocket-Extensions: permessage-deflate") as (reader, writer):
            writer.write(frame(1, deflated(b"x"), rsv=4))
            assert await close_code(reader) == 1002
    assert "compressed messages, which was not agreed on" in caplog.text


async def test_a_malformed_offer_is_a_400(engine) -> None:
    async with listening(engine, deflate=True) as server:
        with pytest.raises(AssertionError, match=" 400 "):
            async with raw(server.port, "Sec-WebSocket-Extensions: permessage-deflate; ="):
                pass


async def test_a_server_that_agrees_to_what_was_not_offered(engine) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = next(line.split(": ")[1] for line in asked.split("\r\n") if line.lower().startswith("sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: ocpp1.6\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/CP1"
        for deflate in (False, True):
            with pytest.raises(ConnectError, match=r"(?i)extension|takeover"):
                await load(engine).connect(url, ("ocpp1.6",), Notes(), max_frame=1000, deflate=deflate)


def test_terms() -> None:
    answer, terms = agree(["x-other, permessage-deflate; client_max_window_bits"], 11, LEAST) or pytest.fail("no terms")
    assert answer == (
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
        "server_max_window_bits=11; client_max_window_bits=11"
    )
    assert terms.inflate(terms.deflate(TEXT.encode()), len(TEXT)) == TEXT.encode()
    assert "encoder" not in vars(terms)
    assert "decoder" not in vars(terms)
    assert agree(["x-other"], 11, LEAST) is None
    assert agree(["permessage-deflate; server_max_window_bits=8"], 11, LEAST) is None
    second = "permessage-deflate; server_max_window_bits=8, permessage-deflate"
    assert agree([second], 11, LEAST) is not None
    assert agree(["permessage-deflate"], 9, LEAST) is not None
    assert offer(11) == (
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=11"
    )
    assert confirm([], 11, LEAST) is None
    for wrong in ("x-other", "permessage-deflate", "permessage-deflate; server_no_context_takeover; nonsense", "=;"):
        with pytest.raises(Disagreement):
            confirm([wrong], 11, LEAST)
