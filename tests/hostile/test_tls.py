"""What comes to a port where TLS is spoken, and is not, or ends in the midst of it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import pytest

from tests.hostile.attacker import ACTIONS, Raw, call, frame, noise, request


def hello() -> bytes:
    """The first flight of a TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


HELLO = hello()

FIRST = {
    "nothing": b"",
    "a request in the clear": request("BAD"),
    "half a hello": HELLO[: len(HELLO) // 2],
    "a hello and nothing more": HELLO,
    "a hello and noise": HELLO + noise(2000),
    "two hellos": HELLO * 2,
    "a record that is too long": b"\x16\x03\x01\xff\xff" + bytes(65535),
    "SSL 2": bytes.fromhex("802e010002001500000010010080"),
    "alerts": b"\x15\x03\x03\x00\x02\x01\x00" * 1000,
    "application data": b"\x17\x03\x03\x10\x00" + noise(4096),
    "noise": noise(100_000),
}


@pytest.mark.parametrize("how", ACTIONS)
@pytest.mark.parametrize("what", FIRST)
async def test_handshakes_that_break_off(secure, what, how) -> None:
    files = secure.files()

    async def one() -> None:
        raw = await Raw.open(secure.port)
        raw.send(FIRST[what])
        await raw.flush()
        await raw.end(how)

    for _ in range(3):
        await asyncio.gather(*(one() for _ in range(10)))
    await secure.until(lambda: secure.files() <= files)


async def test_handshakes_without_end(secure) -> None:
    """Hellos that come a byte at a time, that stop, and that never begin: all are cut off in time."""
    files = secure.files()
    raws = [await Raw.open(secure.port) for _ in range(60)]

    async def drip(raw: Raw) -> None:
        with contextlib.suppress(ConnectionError):
            for byte in HELLO:
                raw.send(bytes([byte]))
                await asyncio.sleep(0.2)
                if raw.reader.at_eof():
                    return

    for raw in raws[20:40]:
        raw.send(HELLO)
    dripping = [asyncio.create_task(drip(raw)) for raw in raws[40:]]
    await asyncio.gather(*(raw.drained() for raw in raws))
    await asyncio.gather(*dripping)
    for raw in raws:
        await raw.end()
    await secure.until(lambda: secure.files() <= files)


@pytest.mark.parametrize("how", ACTIONS)
async def test_ends_after_the_handshake(secure, how) -> None:
    """Without a close_notify: before the request, within it, after it, within a frame, after a hundred calls."""
    files = secure.files()
    whole = request("GONE")
    for data in (b"", whole[:40], whole, whole + frame(b"x" * 60_000)[:-9], whole + call("a") * 100):

        async def one(data: bytes = data) -> None:
            raw = await Raw.open(secure.port, tls=secure.tls)
            raw.send(data)
            await raw.flush()
            await raw.end(how)

        await asyncio.gather(*(one() for _ in range(10)))
    await secure.until(lambda: secure.files() <= files)


async def test_a_request_after_a_slow_handshake(secure) -> None:
    """The time is one for both: TLS does not buy a station more for its request."""
    files = secure.files()
    raw = await Raw.open(secure.port, tls=secure.tls)
    raw.send(request("SLOW")[:-1])
    await raw.drained()
    await raw.end()
    await secure.until(lambda: secure.files() <= files)
