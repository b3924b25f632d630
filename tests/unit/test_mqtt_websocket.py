"""Frames of MQTT over WebSocket: both directions against the websockets library, any pieces, frames nobody may send."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Protocol, Side, State
from websockets.server import ServerProtocol

from evcore.mqtt.address import Address
from evcore.mqtt.websocket import WebSocket, WebSocketError, accepted, request


class Line:
    """A socket of a test: gives `pieces`, takes `room` bytes at a time, then nothing for once."""

    def __init__(self, pieces: list[bytes], room: int = 1 << 30) -> None:
        self.pieces = pieces
        self.sent = bytearray()
        self.room = room
        self.blocked = False

    def recv(self, size: int) -> bytes:
        if not self.pieces:
            raise BlockingIOError
        piece = self.pieces.pop(0)
        if len(piece) > size:
            self.pieces.insert(0, piece[size:])
        return piece[:size]

    def send(self, data: bytes | bytearray) -> int:
        self.blocked = not self.blocked
        if self.room < 1 << 30 and self.blocked:
            raise BlockingIOError
        self.sent += data[: self.room]
        return min(len(data), self.room)


def web(line: Line, rest: bytes = b"") -> WebSocket:
    return WebSocket(line, rest)  # type: ignore[arg-type]


def frame(opcode: Opcode, data: bytes, *, fin: bool = True, mask: bool = False) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=mask)


def drain(socket: WebSocket, size: int = 65_536) -> bytes:
    found = bytearray()
    while True:
        try:
            data = socket.recv(size)
        except BlockingIOError:
            return bytes(found)
        if not data:
            return bytes(found)
        found += data


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
    st.integers(1, 300),
)
def test_what_comes_is_unframed(frames: list[tuple[str, bytes]], sizes: list[int], size: int) -> None:
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
    line = Line(cut(stream, sizes))
    assert drain(web(line), size) == expected
    assert unframed(bytes(line.sent)) == [(Opcode.PONG, ping) for ping in pings]


def unframed(data: bytes) -> list[tuple[Opcode, bytes]]:
    """What a server reads."""
    server = Protocol(Side.SERVER, state=State.OPEN, max_size=None)
    server.receive_data(data)
    return [(event.opcode, bytes(event.data)) for event in server.events_received() if isinstance(event, Frame)]


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5), st.integers(1, 60))
def test_what_is_sent_is_framed_and_masked(messages: list[bytes], room: int) -> None:
    line = Line([], room)
    socket = web(line)
    for message in messages:
        while True:
            try:
                assert socket.send(message) == len(message)
                break
            except BlockingIOError:
                continue
    assert unframed(bytes(line.sent)) == [(Opcode.BINARY, message) for message in messages]


@pytest.mark.parametrize("size", [125, 126, 65_535, 65_536, 300_000])
def test_frames_of_all_sizes(size: int) -> None:
    line = Line([])
    web(line).send(bytes(size))
    assert unframed(bytes(line.sent)) == [(Opcode.BINARY, bytes(size))]
    assert len(drain(web(Line([frame(Opcode.BINARY, bytes(size))])))) == size


def test_a_ping_does_not_break_into_a_frame_that_is_half_sent() -> None:
    line = Line([frame(Opcode.PING, b"p")], room=7)
    socket = web(line)
    with pytest.raises(BlockingIOError):
        socket.send(b"x" * 50)
    drain(socket)
    while True:
        try:
            socket.send(b"x" * 50)
            break
        except BlockingIOError:
            continue
    while True:
        try:
            socket.send(b"y")
            break
        except BlockingIOError:
            continue
    assert unframed(bytes(line.sent)) == [(Opcode.BINARY, b"x" * 50), (Opcode.PONG, b"p"), (Opcode.BINARY, b"y")]


def test_close_is_the_end() -> None:
    socket = web(
        Line([frame(Opcode.BINARY, b"last") + frame(Opcode.CLOSE, b"\x03\xe8") + frame(Opcode.BINARY, b"more")])
    )
    assert drain(socket) == b"last"
    assert socket.recv(10) == b""


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
        drain(web(Line([raw])))


@given(st.binary(max_size=200))
def test_any_bytes_give_data_or_an_error_and_keep_nothing(data: bytes) -> None:
    line = Line(cut(data, [7]))
    socket = web(line)
    try:
        drain(socket)
    except WebSocketError:
        return
    assert len(socket._raw) < 14 or socket._closed


def answer(data: bytes) -> bytes:
    server = ServerProtocol(subprotocols=["mqtt"])  # type: ignore[list-item]
    server.receive_data(data)
    (asked,) = server.events_received()
    assert isinstance(asked, Request)
    server.send_response(server.accept(asked))
    return b"".join(server.data_to_send())


def reader(*pieces: bytes) -> Any:
    left = list(pieces)

    async def read() -> bytes:
        return left.pop(0) if left else b""

    return read


def test_the_handshake_is_one_that_a_server_takes() -> None:
    for url in ("ws://h:8083/mqtt", "ws://[::1]/x"):
        asked, key = request(Address.parse(url))
        said = answer(asked)
        assert b"101" in said
        for size in (1, 7, 4096):
            assert asyncio.run(accepted(reader(*cut(said + b"rest", [size])), key))[:4] in (
                b"",
                b"r",
                b"rest",
                b"re",
                b"res",
            )
        with pytest.raises(WebSocketError, match="not one"):
            asyncio.run(accepted(reader(said), key[::-1]))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "ended"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "404"),
        (b"SSH-2.0\r\n\r\n", "HTTP"),
        (b"HTTP/1.1\r\n\r\n", "HTTP"),
        (b"x" * 20_000, "does not end"),
        (b"HTTP/1.1 101 x\r\nUpgrade: h2c\r\n\r\n", "not one"),
    ],
)
def test_answers_that_are_no_handshake(said: bytes, why: str) -> None:
    with pytest.raises(WebSocketError, match=why):
        asyncio.run(accepted(reader(*cut(said, [4096])), "key"))


@settings(max_examples=50)
@given(st.binary(max_size=300))
def test_any_answer_is_taken_or_refused(said: bytes) -> None:
    with pytest.raises(WebSocketError):
        asyncio.run(accepted(reader(b"HTTP/1.1 101 " + said), "key"))
