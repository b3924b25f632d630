"""Connections that never become stations."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.hostile.attacker import Raw, noise, request

WHOLE = request("BAD")


async def test_slowloris(victim) -> None:
    """Requests that come a byte at a time, and connections that say nothing, are cut off in time."""
    files = victim.files()
    raws = [await Raw.open(victim.port) for _ in range(200)]

    async def drip(raw: Raw) -> None:
        with contextlib.suppress(ConnectionError):
            for byte in WHOLE[:-1]:
                raw.send(bytes([byte]))
                await asyncio.sleep(0.25)
                if raw.reader.at_eof():
                    return

    dripping = [asyncio.create_task(drip(raw)) for raw in raws[:100]]
    await asyncio.gather(*(raw.drained() for raw in raws))
    for task in dripping:
        task.cancel()
    await asyncio.gather(*dripping, return_exceptions=True)
    for raw in raws:
        await raw.end()
    await victim.until(lambda: victim.files() <= files)


async def test_a_request_without_end(victim) -> None:
    """A header line, and header lines, of many megabytes."""
    for part in (b"x" * 65536, b"X-Header: x\r\n" * 5000):
        raw = await Raw.open(victim.port)
        raw.send(WHOLE[:-2] + b"X-Long: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(500):
                raw.send(part)
                await raw.writer.drain()
                if raw.reader.at_eof():
                    break
        await raw.drained()
        await raw.end()


NOT_UPGRADES = {
    "TLS": bytes.fromhex("16030100f1010000ed0303") + bytes(230),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "noise": noise(4096),
    "zeros": bytes(4096),
    "a plain GET": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a POST": b"POST /BAD HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n" + b"x" * 4096,
    "chunks": WHOLE[:-2] + b"Transfer-Encoding: chunked\r\n\r\n" + b"FFFFFFFFFFFFFFFF\r\n" * 100,
    "empty lines": b"\r\n" * 4096,
    "HTTP/0.9": b"GET /BAD\r\n\r\n",
    "no version": b"GET /BAD \r\n\r\n",
    "a version of tomorrow": WHOLE.replace(b"HTTP/1.1", b"HTTP/9.9"),
    "a folded header": WHOLE[:-2] + b"X-Folded: a\r\n b\r\n\r\n",
    "a header without a name": WHOLE[:-2] + b": x\r\n\r\n",
    "a header that is no header": WHOLE[:-2] + b"\x00\xff\r\n\r\n",
    "a key that is none": WHOLE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"!"),
    "an old WebSocket": WHOLE.replace(b"Version: 13", b"Version: 0"),
    "no Host": WHOLE.replace(b"Host: x\r\n", b""),
    "a path of control characters": WHOLE.replace(b"/BAD", b"/\x01\x02%00%0a%0d"),
    "a path that cannot be decoded": WHOLE.replace(b"/BAD", b"/%ff%zz%"),
    "a path of slashes": WHOLE.replace(b"/BAD", b"/" * 2000),
    "a path too long": WHOLE.replace(b"/BAD", b"/" + b"x" * 60_000),
    "a hundred subprotocols": WHOLE.replace(b"ocpp1.6", b",".join([b"a" * 50] * 100)),
    "a bad subprotocol": WHOLE.replace(b"ocpp1.6", b"ocpp1.6\xff\x00"),
    "wrong Basic": WHOLE[:-2] + b"Authorization: Basic " + b"=" * 4000 + b"\r\n\r\n",
    "extensions": WHOLE[:-2] + b"Sec-WebSocket-Extensions: " + b"permessage-deflate; x=1, " * 200 + b"x\r\n\r\n",
}


@pytest.mark.parametrize("what", NOT_UPGRADES)
async def test_what_is_no_upgrade(victim, what) -> None:
    """Refused or cut, soon and every time; the next station gets in."""
    files = victim.files()
    for _ in range(20):
        raw = await Raw.open(victim.port)
        raw.send(NOT_UPGRADES[what])
        await raw.flush()
        raw.no_more()
        await raw.drained()
        await raw.end("FIN")
    good = await Raw.upgraded(victim.port, "GOOD")
    assert (await good.ask("1"))[:2] == [3, "1"]
    await good.end()
    await victim.until(lambda: victim.files() <= files)


async def test_a_storm_of_connections(victim) -> None:
    """Thousands that connect and go at once, and as many whose upgrade is refused."""
    files = victim.files()
    for data in (b"", b"GET / HTTP/1.1\r\n\r\n", request("")):
        for _ in range(40):
            raws = await asyncio.gather(*(Raw.open(victim.port) for _ in range(25)))
            for raw in raws:
                raw.send(data)
            await asyncio.gather(*(raw.end() for raw in raws))
    await victim.until(lambda: victim.files() <= files)
