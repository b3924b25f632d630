"""Stations that have gone, and nobody told the server."""

from __future__ import annotations

import asyncio
import contextlib

from websockets.asyncio.client import connect

from tests.hostile.attacker import PING, Raw, frame


async def test_they_cost_memory_alone(victim) -> None:
    files = victim.files()
    raws = [await Raw.upgraded(victim.port, f"GONE{number}") for number in range(500)]
    assert victim.files() >= files + 500
    for raw in raws:
        await raw.end()
    await victim.until(lambda: victim.files() <= files)


async def test_silence_is_cut_off(pinger) -> None:
    """Those that answer no ping go; those that answer, or ping themselves, or send a message bit by bit, stay."""
    files = pinger.files()
    gone = [await Raw.upgraded(pinger.port, f"GONE{number}") for number in range(50)]
    async with contextlib.AsyncExitStack() as stack:
        quiet = [
            await stack.enter_async_context(
                connect(f"{pinger.url}/QUIET{number}", subprotocols=["ocpp1.6"], ping_interval=None)
            )
            for number in range(5)
        ]
        pinging, slow = [await Raw.upgraded(pinger.port, name) for name in ("PINGING", "SLOW")]
        slow.send(frame('[2,"a","Heartbeat",{}', fin=False))

        async def live() -> None:
            while True:
                pinging.send(frame(b"", PING))
                slow.send(frame(b" ", 0, fin=False))
                await asyncio.sleep(0.3)

        living = asyncio.create_task(live())
        await asyncio.gather(*(raw.drained() for raw in gone))
        living.cancel()
        for socket in quiet:
            await socket.send('[2,"a","Heartbeat",{}]')
            assert str(await socket.recv()).startswith('[3,"a"')
        assert pinger.files() >= files + 7
        slow.send(frame("]", 0))
        while (got := await slow.frame()) is not None and got[0] == PING:
            continue
        assert got is not None
        assert got[1].startswith(b'[3,"a"')
    for raw in (*gone, pinging, slow):
        await raw.end()
    await pinger.until(lambda: pinger.files() <= files)
