"""Frames of MQTT over WebSocket: both directions against the websockets library, any pieces, frames nobody may send."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Protocol, Side, State
from websockets.server import ServerProtocol

from evcore.mqtt.address import Address
from evcore.mqtt.websocket import Frames, WebSocketError, answered, framed, request


def frame(opcode: Opcode, data: bytes, *, fin: bool = True, mask: bool = False) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=mask)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at, turn = [], 0, 0
    while at < len(data):
        pieces.append(data[at : at + sizes[turn % len(sizes)]])
        at += sizes[turn % len(sizes)]
        turn += 1
    return pieces


@given(
    st.lists(
        st.tuples(st.sampled_from(["data", "parts", "ping", "pong", "empty"]), st.binary(max_size=200)), max_size=6
    ),
    st.lists(st.integers(1, 50), min_size=1),
    st.booleans(),
)
def test_what_comes_is_unframed(frames: list[tuple[str, bytes]], sizes: list[int], take: bool) -> None:
    stream, expected, pings = b"", b"", []
    for kind, data in frames:
        if kind == "data":
            stream += frame(Opcode.BINARY, data)
            expected += data
        elif kind == "parts":
            half = len(data) // 2
            stream += frame(Opcode.BINARY, data[:half], fin=False) + frame(Opcode.PING, b"between")
            stream += frame(Opcode.CONT, data[half:])
            expected += data
            pings.append(b"between")
        elif kind == "empty":
            stream += frame(Opcode.BINARY, b"")
        else:
            stream += frame(Opcode.PING if kind == "ping" else Opcode.PONG, data[:125])
            if kind == "ping":
                pings.append(data[:125])
    web, got, replies = Frames(), b"", b""
    for piece in cut(stream, sizes):
        got += web.feed(piece)
        if take:
            replies += bytes(web.replies)
            web.replies.clear()
    assert got == expected
    assert unframed(replies + bytes(web.replies)) == [(Opcode.PONG, ping) for ping in pings]


def unframed(data: bytes) -> list[tuple[Opcode, bytes]]:
    """What a server reads."""
    server = Protocol(Side.SERVER, state=State.OPEN, max_size=None)
    server.receive_data(data)
    return [(event.opcode, bytes(event.data)) for event in server.events_received() if isinstance(event, Frame)]


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_what_is_sent_is_framed_and_masked(messages: list[bytes]) -> None:
    assert unframed(b"".join(map(framed, messages))) == [(Opcode.BINARY, message) for message in messages]


@pytest.mark.parametrize("size", [125, 126, 65_535, 65_536, 300_000])
def test_frames_of_all_sizes(size: int) -> None:
    assert unframed(framed(bytes(size))) == [(Opcode.BINARY, bytes(size))]
    assert Frames().feed(frame(Opcode.BINARY, bytes(size))) == bytes(size)


def test_close_is_the_end() -> None:
    web = Frames()
    stream = frame(Opcode.BINARY, b"last") + frame(Opcode.CLOSE, b"\x03\xe8") + frame(Opcode.BINARY, b"more")
    assert web.feed(stream) == b"last" and web.closed
    assert web.feed(frame(Opcode.BINARY, b"more")) == b""


@pytest.mark.parametrize(
    "raw",
    [
        frame(Opcode.TEXT, b"x"),
        frame(Opcode.BINARY, b"x", mask=True),
        b"\xc2\1x",
        b"\x83\0",
        b"\x89\x7e\0\x80" + bytes(128),
        b"\x09\1x",
    ],
)
def test_frames_a_broker_may_not_send(raw: bytes) -> None:
    with pytest.raises(WebSocketError):
        Frames().feed(raw)


@given(st.binary(max_size=200))
def test_any_bytes_give_data_or_an_error_and_keep_nothing(data: bytes) -> None:
    web = Frames()
    try:
        for piece in cut(data, [7]):
            web.feed(piece)
    except WebSocketError:
        return
    assert len(web._raw) + len(web._control) < 140 or web.closed


def answer(data: bytes) -> bytes:
    server = ServerProtocol(subprotocols=["mqtt"])  # type: ignore[list-item]
    server.receive_data(data)
    (asked,) = server.events_received()
    assert isinstance(asked, Request)
    server.send_response(server.accept(asked))
    return b"".join(server.data_to_send())


def test_the_handshake_is_one_that_a_server_takes() -> None:
    for url in ("ws://h:8083/mqtt", "ws://[::1]/x"):
        asked, key = request(Address.parse(url))
        said = answer(asked)
        assert b"101" in said
        for size in range(len(said)):
            assert answered(said[:size], key) is None
        assert answered(said, key) == b""
        assert answered(said + b"rest", key) == b"rest"
        with pytest.raises(WebSocketError, match="not one"):
            answered(said, key[::-1])


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "404"),
        (b"SSH-2.0\r\n\r\n", "HTTP"),
        (b"HTTP/1.1\r\n\r\n", "HTTP"),
        (b"x" * 20_000, "does not end"),
        (b"HTTP/1.1 101 x\r\nUpgrade: h2c\r\n\r\n", "not one"),
    ],
)
def test_answers_that_are_no_handshake(said: bytes, why: str) -> None:
    with pytest.raises(WebSocketError, match=why):
        answered(said, "key")


@settings(max_examples=50)
@given(st.binary(max_size=300))
def test_any_answer_is_taken_or_refused(said: bytes) -> None:
    with contextlib.suppress(WebSocketError):
        assert answered(b"HTTP/1.1 101 " + said, "key") is None
