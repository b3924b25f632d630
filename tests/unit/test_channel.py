"""Messages between processes: what is no message ends the channel, a side that does not read is not written to."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from evcore.net.channel import MAX_MESSAGE, Channel, encode


class End:
    """A channel over one end of a socket pair, what it heard, and the other end."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.gone = asyncio.Event()
        self.drained = asyncio.Event()

    async def open(self) -> tuple[Channel, socket.socket]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        _, channel = await loop.create_unix_connection(
            lambda: Channel(self.heard.append, self.gone.set, self.drained.set), sock=ours
        )
        return channel, theirs


@pytest.mark.parametrize(
    "hostile",
    [
        (MAX_MESSAGE + 1).to_bytes(4, "big"),
        b"\xff\xff\xff\xffxx",
        b"\0\0\0\0",
        b"\0\0\0\x02{}",
        b"\0\0\0\x02[]",
        b"\0\0\0\x03\xff\xfe\xfd",
        b"\0\0\0\x01[",
        (200_000).to_bytes(4, "big") + b"[" * 200_000,
    ],
    ids=["too long", "very long", "empty", "object", "empty array", "not UTF-8", "not JSON", "deep"],
)
async def test_what_is_no_message_ends_the_channel(hostile: bytes) -> None:
    """What came before it was heard, what comes after it is not."""
    end = End()
    _, theirs = await end.open()
    with theirs:
        await asyncio.get_running_loop().sock_sendall(theirs, encode("before", 1) + hostile + encode("after"))
        await asyncio.wait_for(end.gone.wait(), 20)
    assert end.heard == [["before", 1]]


async def test_nothing_is_heard_after_the_end() -> None:
    """Whoever closes the channel while it hears a message hears no more of those that came with it."""
    end = End()
    channel, theirs = await end.open()
    heard: list[Any] = []

    def hear(message: list[Any]) -> None:
        heard.append(message)
        channel.close()

    channel._heard = hear
    with theirs:
        await asyncio.get_running_loop().sock_sendall(theirs, encode("first") + encode("second"))
        await asyncio.wait_for(end.gone.wait(), 20)
    assert heard == [["first"]]
    assert not channel.is_open


async def test_a_side_that_does_not_read_makes_it_full() -> None:
    end = End()
    channel, theirs = await end.open()
    with theirs:
        sent = 0
        while not channel.is_full:
            channel.send("event", "x" * 10_000)
            sent += 1
            assert sent < 10_000, "never full"
        buffer = b""
        loop = asyncio.get_running_loop()
        while len(buffer) < sent * len(encode("event", "x" * 10_000)):
            buffer += await asyncio.wait_for(loop.sock_recv(theirs, 1 << 20), 20)
        await asyncio.wait_for(end.drained.wait(), 20)
        assert not channel.is_full
        assert json.loads(buffer[4:10_020].partition(b"]")[0] + b"]")[0] == "event"
        channel.abort()


async def test_a_pause_keeps_what_was_sent() -> None:
    end = End()
    channel, theirs = await end.open()
    with theirs:
        channel.pause()
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(theirs, encode("one"))
        for _ in range(20):
            await asyncio.sleep(0)
        assert end.heard == []
        channel.resume()
        async with asyncio.timeout(20):
            while not end.heard:  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(0.001)
        channel.close()
        await asyncio.wait_for(end.gone.wait(), 20)
