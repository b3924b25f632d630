"""MQTT over WebSocket: both directions against the library's server, any pieces, frames and answers nobody may send."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Protocol, Side, State
from websockets.server import ServerProtocol

from evcore.mqtt.broker.address import Address
from evcore.mqtt.broker.websocket import ANSWER_MOST, WebSocket, WebSocketError

ADDRESS = Address.parse("ws://h:8083/mqtt")


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
    web, got, replies = opened(), b"", b""
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
    assert unframed(b"".join(map(opened().framed, messages))) == [(Opcode.BINARY, message) for message in messages]


@pytest.mark.parametrize("size", [125, 126, 65_535, 65_536, 300_000])
def test_frames_of_all_sizes(size: int) -> None:
    assert unframed(opened().framed(bytes(size))) == [(Opcode.BINARY, bytes(size))]
    assert opened().feed(frame(Opcode.BINARY, bytes(size))) == bytes(size)


def test_a_frame_is_handed_on_before_it_ends() -> None:
    """NATS sends all that waits as one frame: 64 MB of it, and more, are never kept."""
    web = opened()
    piece, size = bytes(65_536), 1 << 40
    assert web.feed(b"\x82\x7f" + size.to_bytes(8, "big")) == b""
    for _ in range(100):
        assert web.feed(piece) == piece
        assert not web._raw and not web._protocol.reader.buffer


def test_close_is_the_end() -> None:
    web = opened()
    stream = frame(Opcode.BINARY, b"last") + frame(Opcode.CLOSE, b"\x03\xe8") + frame(Opcode.BINARY, b"more")
    assert web.feed(stream) == b"last" and web.closed
    assert unframed(bytes(web.replies)) == [(Opcode.CLOSE, b"\x03\xe8")]
    assert web.feed(frame(Opcode.BINARY, b"more")) == b"" and not web._raw
    assert web.framed(b"late") == b""


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (frame(Opcode.TEXT, b"x"), "not binary"),
        (frame(Opcode.TEXT, b"x", fin=False), "not binary"),
        (frame(Opcode.BINARY, b"x", mask=True), "incorrect masking"),
        (b"\xc2\1x", "reserved bits"),
        (b"\x83\0", "opcode"),
        (b"\x8b\0", "opcode"),
        (b"\x89\x7e\0\x80" + bytes(128), "too large"),
        (b"\x89\x7f", "too large"),
        (b"\x09\1x", "fragmented control frame"),
        (frame(Opcode.CONT, b"x"), "unexpected continuation"),
        (frame(Opcode.BINARY, b"x", fin=False) + frame(Opcode.BINARY, b"x"), "expected a continuation"),
        (frame(Opcode.CLOSE, b"x"), "close frame too short"),
        (b"\x88\4\x03\xe8\xff\xff", "cannot be read"),
    ],
)
def test_frames_a_broker_may_not_send(raw: bytes, why: str) -> None:
    for size in (1, len(raw)):
        with pytest.raises(WebSocketError, match=why):
            feed_all(opened(), raw, size)


def feed_all(web: WebSocket, data: bytes, size: int) -> bytes:
    return b"".join(web.feed(piece) for piece in cut(data, [size]))


@given(st.binary(max_size=200))
def test_any_bytes_give_data_or_an_error_and_keep_nothing(data: bytes) -> None:
    web = opened()
    with contextlib.suppress(WebSocketError):
        feed_all(web, data, 7)
    assert len(web._raw) + len(web._protocol.reader.buffer) < 140


def answer(data: bytes) -> bytes:
    server = ServerProtocol(subprotocols=["mqtt"])  # type: ignore[list-item]
    server.receive_data(data)
    (asked,) = server.events_received()
    assert isinstance(asked, Request)
    server.send_response(server.accept(asked))
    return b"".join(server.data_to_send())


def asking(url: str = str(ADDRESS)) -> tuple[WebSocket, bytes]:
    """One that has said what it wants, and what it said."""
    web = WebSocket(Address.parse(url))
    asked = bytes(web.replies)
    web.replies.clear()
    return web, asked


def opened() -> WebSocket:
    web, asked = asking()
    assert web.feed(answer(asked)) == b"" and web.opened
    return web


@pytest.mark.parametrize(
    ("url", "lines"),
    [
        ("ws://user:secret@h:8083/mqtt", [b"GET /mqtt HTTP/1.1", b"Host: h:8083"]),
        ("ws://[::1]/x", [b"GET /x HTTP/1.1", b"Host: [::1]"]),
        ("wss://h/d\xe9p\xf4t", [b"GET /d%C3%A9p%C3%B4t HTTP/1.1", b"Host: h"]),
    ],
)
def test_the_handshake_is_one_that_a_server_takes(url: str, lines: list[bytes]) -> None:
    _, asked = asking(url)
    assert asked.split(b"\r\n")[:2] == lines and b"Authorization" not in asked
    rest = frame(Opcode.BINARY, b"first") + frame(Opcode.BINARY, b"second\nline")
    for size in (1, 7, 10_000):
        web, asked = asking(url)
        said = answer(asked)
        assert feed_all(web, said[:-1], size) == b"" and not web.opened
        assert web.feed(said[-1:] + rest[:3]) + feed_all(web, rest[3:], size) == b"firstsecond\nline" and web.opened
        web.ended()
    with pytest.raises(WebSocketError, match="not one"):
        asking(url)[0].feed(said)  # to somebody else's key


def test_an_address_that_cannot_be_asked_for() -> None:
    with pytest.raises(WebSocketError, match="URL"):
        WebSocket(Address("ws", "x" * 100 + "\xe9", 80, "/mqtt"))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone", "HTTP status 404"),
        (b"HTTP/1.1 204 \r\n\r\n", "HTTP status 204"),
        (b"SSH-2.0\r\n", "HTTP"),
        (b"HTTP/1.1\r\n\r\n", "HTTP"),
        (b"HTTP/1.1 101 x\n", "HTTP"),
        (b"x" * 20_000, "not one"),
        (b"HTTP/1.1 101 x\r\n" + b"A: b\r\n" * 1000, "HTTP"),
        (b"HTTP/1.1 101 x\r\n" + b"A: " + b"b" * 20_000, "HTTP"),
        (b"HTTP/1.1 101 x\r\n" + (b"A: " + b"b" * 8000 + b"\r\n") * 100, "does not end"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n" + b"no\n" * 30_000, "HTTP status 404"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 90000\r\n\r\n" + b"no\n" * 30_000, "does not end"),
        (b"HTTP/1.1 101 x\r\nUpgrade: h2c\r\n\r\n", "not one"),
    ],
)
def test_answers_that_are_no_handshake(said: bytes, why: str) -> None:
    for size in (997, len(said)):
        web, _ = asking()
        with pytest.raises(WebSocketError, match=why):
            feed_all(web, said, size)
        assert not web.opened
        web.ended()


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (b"Protocol: mqtt", b"Protocol: ocpp1.6", "another protocol"),
        (b"Sec-WebSocket-Protocol", b"Sec-WebSocket-Extensions: permessage-deflate\r\nX-Rest", "or an extension"),
        (b"Sec-WebSocket-Protocol: mqtt\r\n", b"", "does not say that it speaks MQTT"),
        (b"Connection: Upgrade\r\n", b"", "not one"),
    ],
)
def test_answers_of_a_websocket_that_is_not_ours(before: bytes, after: bytes, why: str) -> None:
    web, asked = asking()
    said = answer(asked)
    assert before in said
    with pytest.raises(WebSocketError, match=why):
        web.feed(said.replace(before, after))


def test_a_refusal_that_ends_with_the_connection() -> None:
    web, _ = asking()
    assert web.feed(b"HTTP/1.1 403 Forbidden\r\n\r\nno") == b""
    with pytest.raises(WebSocketError, match="HTTP status 403"):
        web.ended()
    web, _ = asking()
    web.feed(b"HTTP/1.1 1")
    web.ended()  # the connection ended, and that is all


@settings(max_examples=50)
@given(st.binary(max_size=300), st.integers(1, 300))
def test_any_answer_is_taken_or_refused(said: bytes, size: int) -> None:
    web, _ = asking()
    with contextlib.suppress(WebSocketError):
        assert feed_all(web, b"HTTP/1.1 101 " + said, size) == b""
        assert not web.opened and len(web._protocol.reader.buffer) <= ANSWER_MOST
    with contextlib.suppress(WebSocketError):
        web.ended()
