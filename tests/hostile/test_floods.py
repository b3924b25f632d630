"""Stations that send too much, too deep, too fast, or do not read."""

from __future__ import annotations

import asyncio
import contextlib
import json
from functools import cache

import pytest

from tests.hostile.attacker import CLOSE, CONTINUATION, PING, PONG, TEXT, Raw, call, deflated, frame, noise

MIB = 1024 * 1024


@pytest.mark.parametrize("claimed", [2 * MIB + 1, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
async def test_giant_frames(victim, claimed) -> None:
    """What a frame claims to be is not believed, and what it brings is not kept."""
    raw = await Raw.upgraded(victim.port)
    raw.send(frame(b"x", size=claimed))
    with contextlib.suppress(ConnectionError):
        for _ in range(100):
            raw.send(b"x" * MIB)
            await raw.writer.drain()
            if raw.reader.at_eof():
                break
    assert await raw.over() in (1009, 1002, None)
    await raw.end()


async def test_many_unfinished_messages(victim) -> None:
    """A hundred stations, each with most of a message that never ends; their memory comes back."""
    raws = [await Raw.upgraded(victim.port, f"BAD{number}") for number in range(100)]
    for raw in raws:
        raw.send(frame(b"[" + b" " * (MIB - MIB // 4), fin=False))
        await raw.flush()
    for raw in raws:
        await raw.end()


async def test_a_message_of_many_fragments(victim) -> None:
    """Some hundred fragments, of one byte and of none, with pings between them, are a message like any other."""
    raw = await Raw.upgraded(victim.port)
    raw.send(frame('[2,"a","Heartbeat",{}', fin=False))
    for _ in range(200):
        raw.send(frame(b" ", CONTINUATION, fin=False) + frame(b"p", PING) + frame(b"", CONTINUATION, fin=False))
    raw.send(frame("]", CONTINUATION))
    for _ in range(200):
        assert await raw.frame() == (PONG, b"p")
    assert (await raw.answer())[:2] == [3, "a"]
    await raw.end()


@pytest.mark.parametrize("size", [0, 1, 1000])
async def test_a_message_without_end(victim, size) -> None:
    """However small its fragments are, the connection is closed, and what was sent after that is not kept."""
    raw = await Raw.upgraded(victim.port)
    raw.send(frame("[", fin=False))
    flood = frame(b" " * size, CONTINUATION, fin=False) * 500
    with contextlib.suppress(ConnectionError):
        for _ in range(200):
            raw.send(flood)
            await raw.writer.drain()
    assert await raw.over() in (1008, 1009, None)
    await raw.end()


@pytest.mark.parametrize("opcode", [PING, PONG], ids=["pings", "pongs"])
async def test_a_flood_of_control_frames(victim, opcode) -> None:
    raw = await Raw.upgraded(victim.port)

    async def read() -> int:
        seen = 0
        while (got := await raw.frame()) is not None and got[0] != TEXT:
            seen += 1
        return seen

    reading = asyncio.create_task(read())
    for _ in range(50):
        raw.send(frame(b"p" * 125, opcode) * 1000)
        await raw.flush()
    raw.send(call("end"))
    assert await reading == (50_000 if opcode == PING else 0)
    await raw.end()


HEAVY = {
    "arrays in arrays": "[" * 500_000,
    "objects in objects": '[2,"a","Heartbeat",' + '{"a":' * 150_000,
    "a number without end": '[2,"a","Heartbeat",{"a":' + "9" * 900_000 + "}]",
    "a float without end": '[2,"a","Heartbeat",{"a":1e' + "9" * 900_000 + "}]",
    "a string without end": '[2,"a","Heartbeat",{"a":"' + "x" * 900_000,
    "a string of escapes": '[2,"a","Authorize",{"idTag":"' + "\\u0041" * 40_000 + '"}]',
    "surrogates": '[2,"a","Authorize",{"idTag":"' + "\\ud83d" * 40_000 + '"}]',
    "many members": '[2,"a","Heartbeat",{' + ",".join(f'"k{number}":1' for number in range(60_000)) + "}]",
    "the same member": '[2,"a","Heartbeat",{' + ",".join(['"k":1'] * 100_000) + "}]",
    "many elements": '[2,"a","Heartbeat",[' + "1," * 400_000 + "1]]",
    "many violations": json.dumps(
        [2, "a", "MeterValues", {"connectorId": 1, "meterValue": [{"sampledValue": [{"value": 1}] * 100}] * 100}]
    ),
    "white space": " " * 900_000 + "[]",
    "bytes that are no text": b"\xff\xfe" * 400_000,
    "noise": noise(900_000),
    "long id": '[2,"' + "i" * 500_000 + '","Heartbeat",{}]',
    "long action": '[2,"a","' + "A" * 500_000 + '",{}]',
    "answers nobody waits for": '[3,"a",' + '{"a":' * 60 + "1" + "}" * 60 + "]",
}


@pytest.mark.parametrize("what", HEAVY)
async def test_heavy_json(victim, what) -> None:
    """Each is answered or dropped; the connection goes on, or was closed with a reason where the text was no text."""
    data = HEAVY[what]
    bad = frame(data)
    raw = await Raw.upgraded(victim.port)
    for _ in range(10):
        raw.send(bad)
        await raw.flush()
    raw.send(call("end"))
    while (got := await raw.frame()) is not None and got[0] != CLOSE:
        answer = json.loads(got[1])
        if answer[:2] == [3, "end"]:
            break
        assert answer[:2] in ([3, "a"], [4, answer[1]])
    if got is None or got[0] == CLOSE:
        assert isinstance(data, bytes)
        assert got is not None
        assert got[1][:2] in (b"\x03\xef", b"\x03\xea")
    await raw.end()


BAD = [
    b"",
    b"{}",
    b"[]",
    b"[2]",
    b'[2,"a"]',
    b'[2,"a","Heartbeat"]',
    b'[2,"a","Heartbeat",{"x":1}]',
    b'[2,"a","NoSuchAction",{}]',
    b'[2,"a","Authorize",{"idTag":5}]',
    b'[2,"a","MeterValues",{',
    b'[3,"never-asked",{}]',
    b'[4,"never-asked","X","",{}]',
    b'[5,"never-asked","X","",{}]',
    b'[6,"a","Heartbeat",{}]',
    b'[9,"a",{}]',
    b'["2","a","Heartbeat",{}]',
    b"null",
    b"pong",
]


@pytest.mark.parametrize("version", ["ocpp1.6", "ocpp2.0.1", "ocpp2.1"])
async def test_bad_frames_by_the_ten_thousand(victim, version) -> None:
    """As fast as the server takes them; the good ones among them are answered, each once and in order."""
    raw = await Raw.upgraded(victim.port, "BAD", version)
    rounds = 1200

    async def read() -> list[str]:
        good: list[str] = []
        while len(good) < rounds and (got := await raw.frame()) is not None:
            answer = json.loads(got[1])
            if answer[1].startswith("good"):
                good.append(answer[1])
        return good

    reading = asyncio.create_task(read())
    flood = b"".join(map(frame, BAD))
    for number in range(rounds):
        raw.send(flood + call(f"good{number}"))
        if number % 50 == 0:
            await raw.flush()
    assert await reading == [f"good{number}" for number in range(rounds)]
    await raw.end()


async def test_a_crowd_of_bad_stations(victim) -> None:
    """Twenty at a time, and every connection is used until the server or the test ends it."""

    async def one(number: int) -> None:
        raw = await Raw.upgraded(victim.port, f"BAD{number}", "ocpp2.0.1")
        for each in BAD * 20:
            raw.send(frame(each))
        await raw.flush()
        await raw.end(("FIN", "RST")[number % 2])

    for start in range(0, 200, 20):
        await asyncio.gather(*(one(number) for number in range(start, start + 20)))


BROKEN = {
    "no mask": frame("[]", masked=False),
    "opcode 3": frame("[]", 3),
    "opcode 15": frame("[]", 15),
    "rsv1 without an extension": frame("[]", rsv1=True),
    "a fragmented ping": frame("x", PING, fin=False),
    "a ping of 126 bytes": frame(b"x" * 126, PING),
    "a continuation of nothing": frame("[]", CONTINUATION),
    "a text within a text": frame("[", fin=False) + frame("]"),
    "a close of one byte": frame(b"\x03", CLOSE),
    "a close with 1005": frame(b"\x03\xed", CLOSE),
    "a close with 0": frame(b"\x00\x00", CLOSE),
    "a close with 65535": frame(b"\xff\xff", CLOSE),
    "a close that is no text": frame(b"\x03\xe8\xff\xff", CLOSE),
    "a close of 200 bytes": frame(b"\x03\xe8" + b"x" * 198, CLOSE),
    "two closes": frame(b"\x03\xe8", CLOSE) * 2,
    "a call after a close": frame(b"\x03\xe8", CLOSE) + call("late"),
    "noise": noise(5000),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_broken_framing(victim, what) -> None:
    """The connection ends, that of nobody else."""

    async def one(number: int) -> None:
        raw = await Raw.upgraded(victim.port, f"BAD{number}")
        raw.send(BROKEN[what])
        await raw.flush()
        # Noise may begin like a long frame that is yet to come.
        if what == "noise":
            raw.no_more()
        await raw.drained()
        await raw.end()

    files = victim.files()
    await asyncio.gather(*(one(number) for number in range(10)))
    await victim.until(lambda: victim.files() <= files)


@cache
def bomb() -> bytes:
    return deflated(b" " * (256 * MIB)) * 2


@pytest.mark.parametrize("version", ["ocpp1.6", "ocpp2.0.1"])
@pytest.mark.parametrize("offered", [True, False], ids=["offered", "not offered"])
async def test_compression_bombs(victim, version, offered) -> None:
    """Half a megabyte that stands for half a gigabyte, whole and in fragments."""
    more = ("Sec-WebSocket-Extensions: permessage-deflate",) if offered else ()
    whole = bomb()
    for parts in (1, 4):
        raw = await Raw.upgraded(victim.port, "BAD", version, *more)
        size = len(whole) // parts
        for number in range(parts):
            last = number == parts - 1
            piece = whole[number * size :] if last else whole[number * size : (number + 1) * size]
            raw.send(frame(piece, CONTINUATION if number else TEXT, fin=last, rsv1=number == 0))
        await raw.flush()
        assert await raw.over() in (1009, 1002, None)
        await raw.end()


async def test_compressed_nonsense(victim) -> None:
    """What is said to be compressed and is not, and compressed frames that are no JSON."""
    for data in (noise(1000), b"", b"\0", deflated(noise(1000)), deflated(b"[" * 100_000)):
        raw = await Raw.upgraded(
            victim.port, "BAD", "ocpp2.0.1", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
        )
        raw.send(frame(data, rsv1=True) * 3 + frame(b"\x03\xe8", CLOSE))
        await raw.flush()
        await raw.drained()
        await raw.end()


async def test_slow_readers(victim) -> None:
    """Stations that ask, or ping, and never read are cut off; what waits for them is bounded meanwhile."""
    files = victim.files()
    floods = (frame(b"p" * 125, PING) * 500, frame('[2,"a","NoSuchAction",{}]') * 500)
    raws = [await Raw.upgraded(victim.port, f"BAD{number}", small=True) for number in range(10)]

    async def ask(raw: Raw, flood: bytes) -> None:
        raw.writer.transport.pause_reading()
        with contextlib.suppress(ConnectionError):
            while True:
                raw.send(flood)
                await raw.writer.drain()

    asking = [asyncio.create_task(ask(raw, floods[number % 5 == 0])) for number, raw in enumerate(raws)]
    await victim.until(lambda: victim.files() <= files)
    await asyncio.gather(*asking)
    for raw in raws:
        await raw.end()
