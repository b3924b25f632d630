"""Connections that end without a word, in every state they can be in."""

from __future__ import annotations

import asyncio

import pytest

from tests.hostile.attacker import ACTIONS, CLOSE, Raw, call, frame, request

HALF = frame('[2,"a","Heartbeat",{}]')

#: What is sent before the end, after the upgrade.
STATES = {
    "after 101": b"",
    "within a head": HALF[:1],
    "within a mask": HALF[:4],
    "within a payload": HALF[:-3],
    "within a long frame": frame(b"x" * 60_000)[:-1],
    "within a message": frame("[2", fin=False),
    "after a call": HALF,
    "after a thousand calls": b"".join(call(str(number)) for number in range(1000)),
    "after a close": frame(b"\x03\xe8", CLOSE),
    "within a close": frame(b"\x03\xe8", CLOSE)[:-1],
    "after a bad frame": frame("[]", masked=False),
}


@pytest.mark.parametrize("how", ACTIONS)
@pytest.mark.parametrize("upto", [0, 1, 40, -1, None], ids=["accept", "a byte", "a line", "all but one", "request"])
async def test_before_the_upgrade(victim, how, upto) -> None:
    """After the TCP accept, within the request, and after it, without reading the answer."""
    files = victim.files()
    for _ in range(5):
        raws = await asyncio.gather(*(Raw.open(victim.port) for _ in range(10)))
        for raw in raws:
            raw.send(request("GONE")[:upto])
        await asyncio.gather(*(raw.end(how) for raw in raws))
    await victim.until(lambda: victim.files() <= files)


@pytest.mark.parametrize("how", ACTIONS)
@pytest.mark.parametrize("state", STATES)
async def test_after_the_upgrade(victim, how, state) -> None:
    files = victim.files()
    for _ in range(5):
        raws = await asyncio.gather(*(Raw.upgraded(victim.port, f"GONE{number}") for number in range(10)))
        for raw in raws:
            raw.send(STATES[state])
        await asyncio.gather(*(raw.end(how) for raw in raws))
    await victim.until(lambda: victim.files() <= files)
    good = await Raw.upgraded(victim.port, "GONE1")
    assert (await good.ask("1"))[:2] == [3, "1"]
    await good.end()


@pytest.mark.parametrize("how", ACTIONS)
async def test_when_the_next_one_has_come(victim, how) -> None:
    """The old connection ends when its identity has a new one: the new one is served."""
    files = victim.files()
    old = await Raw.upgraded(victim.port, "SAME")
    for number in range(30):
        new = await Raw.upgraded(victim.port, "SAME")
        await old.end(how)
        assert (await new.ask(str(number)))[:2] == [3, str(number)]
        old = new
    await old.end(how)
    await victim.until(lambda: victim.files() <= files)


WISH = {"vendorId": "V", "messageId": "sleep", "data": "0.3"}


@pytest.mark.parametrize("how", ACTIONS)
async def test_while_a_handler_runs(caller, how) -> None:
    files = caller.files()
    raws = [await Raw.upgraded(caller.port, f"GONE{number}") for number in range(20)]
    for raw in raws:
        raw.send(call("a", "DataTransfer", WISH) + call("b"))
        await raw.flush()
    # The server is at the handler when it has answered somebody who came later.
    last = await Raw.upgraded(caller.port, "LAST")
    assert (await last.ask("1"))[:2] == [3, "1"]
    for raw in (*raws, last):
        await raw.end(how)
    await caller.until(lambda: caller.files() <= files)


@pytest.mark.parametrize("how", ACTIONS)
async def test_while_a_call_of_the_server_waits(caller, how) -> None:
    """The station is called back by its handler and goes instead of answering."""
    files = caller.files()
    wish = {**WISH, "messageId": "call", "data": "30"}
    raws = [await Raw.upgraded(caller.port, f"GONE{number}") for number in range(20)]
    for raw in raws:
        raw.send(call("a", "DataTransfer", wish))
        kind, _, action, _ = await raw.answer()
        assert (kind, action) == (2, "ClearCache")
    await asyncio.gather(*(raw.end(how) for raw in raws))
    await caller.until(lambda: caller.files() <= files)


@pytest.mark.parametrize("how", ACTIONS)
async def test_within_a_close_of_the_server(victim, how) -> None:
    """A second connection makes the server close the first, which ends in the midst of it."""
    files = victim.files()
    for _ in range(10):
        old = await Raw.upgraded(victim.port, "TWICE")
        new = await Raw.upgraded(victim.port, "TWICE")
        got = await old.frame()
        assert got is not None
        assert got[0] == CLOSE
        old.send(frame(b"\x03\xe8", CLOSE)[:-1])
        await old.end(how)
        assert (await new.ask("1"))[:2] == [3, "1"]
        await new.end(how)
    await victim.until(lambda: victim.files() <= files)
