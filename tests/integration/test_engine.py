"""Both engines behind the one interface: what they tell, what they bound, what they leave behind."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import socket
import struct
import sys
import weakref
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from evcore.net.engine import ENGINES, Accept, ConnectError, ListenOptions, Refuse, Upgrade, load
from tests.integration.engines import CountingDoor, Notes, close_code, frame, listening, raw, request, resident

REFUSED = Refuse(401, "who are you", (("WWW-Authenticate", 'Basic realm="OCPP"'), ("Retry-After", "30")))


async def test_what_a_sink_is_told(engine, until) -> None:
    async with listening(engine) as server, raw(server.port) as (_, writer):
        writer.write(frame(9, b"a") + frame(10, b"b") + frame(1, b"whole"))
        writer.write(frame(1, b"in ", fin=False) + frame(9, b"") + frame(0, b"three ", fin=False) + frame(0, b"parts"))
        sink = server.sinks[0]
        await until(lambda: len(sink.frames) == 2)
        assert sink.frames == [b"whole", b"in three parts"]
        assert sink.happened == ["opened", "heard", "heard", "frame", "heard", "heard", "heard", "frame"]
        writer.transport.abort()
        await until(lambda: "closed" in sink.happened)
        assert sink.happened.count("closed") == 1


async def test_pings_both_ways(engine, until) -> None:
    async with listening(engine) as server, connect(server.url(), subprotocols=["ocpp1.6"]) as station:
        await (await station.ping(b"mine"))
        sink = server.sinks[0]
        sink.wire.ping()
        await until(lambda: sink.happened == ["opened", "heard", "heard"])


async def test_upgrade_says_who_asks(engine) -> None:
    async with listening(engine) as server:
        async with raw(server.port, "Authorization: Basic \xff\xfeQQ=="):
            pass
        assert server.upgrades == [
            Upgrade("/CP1", ("ocpp1.6",), b"Basic \xff\xfeQQ==", "127.0.0.1", secure=False, certificate=None)
        ]
        async with raw(server.port, "Authorization: Basic QQ==", "Authorization: Basic Qg=="):
            pass
        assert server.upgrades[1].authorization is None


async def test_refusal_carries_its_headers(engine) -> None:
    door = CountingDoor()
    async with listening(engine, lambda _: REFUSED, door=door) as server:
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.url(), subprotocols=["ocpp1.6"])
        response = refused.value.response
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == 'Basic realm="OCPP"'
        assert response.headers["Retry-After"] == "30"
        assert response.body == b"who are you\n"
    assert door.entered == door.left == ["127.0.0.1"]


async def test_a_decision_that_fails_is_a_500_and_tells_nothing(engine, caplog) -> None:
    def decide(upgrade: Upgrade) -> Accept | Refuse:
        raise RuntimeError("the secret of the house")

    async with listening(engine, decide) as server:
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.url())
        assert refused.value.response.status_code == 500
        assert b"secret" not in (refused.value.response.body or b"")
    assert "could not be decided on" in caplog.text


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /", b"GET /CP1 HTTP/1.1\r\nHost: x\r\n", b"\x16\x03\x01\x02\x00\x01\x00"],
    ids=["nothing", "a line begun", "headers begun", "a TLS client"],
)
async def test_a_handshake_has_its_time(engine, until, sent, caplog) -> None:
    door = CountingDoor()
    async with listening(engine, door=door, handshake_seconds=0.3) as server, raw(server.port) as (other, writer):
        slow, slow_writer = await asyncio.open_connection("127.0.0.1", server.port)
        slow_writer.write(sent)
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                await slow.read()
        slow_writer.close()
        await until(lambda: len(door.left) == 2)
        writer.write(frame(1, b"still there"))
        async with asyncio.timeout(10):
            assert (await other.readexactly(13))[2:] == b"still there"
    assert len(server.upgrades) == 1
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


async def test_headers_without_end_are_cut_off(engine) -> None:
    async with listening(engine, handshake_seconds=60.0) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        with contextlib.suppress(ConnectionError):
            writer.write(b"GET /CP1 HTTP/1.1\r\n")
            for number in range(1000):
                writer.write(b"X-%d: %s\r\n" % (number, b"x" * 100))
                await writer.drain()
            async with asyncio.timeout(10):
                await reader.read()
        writer.transport.abort()
        assert not server.upgrades


async def test_the_door_turns_away_before_a_byte_is_read(engine) -> None:
    door = CountingDoor(open_=False)
    async with listening(engine, door=door) as server:
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(request())
                assert await reader.read() == b""
                writer.transport.abort()
        assert (server.upgrades, door.left) == ([], [])
        door.open = True
        async with raw(server.port):
            assert door.entered == door.left == ["127.0.0.1"]


async def test_accepting_goes_on_after_a_door_that_fails_and_a_process_without_descriptors(
    engine, caplog, monkeypatch
) -> None:
    class Failing(CountingDoor):
        def enter(self, address: str) -> bool:
            if not self.entered:
                self.entered.append("failed")
                raise RuntimeError("a bug")
            return super().enter(address)

    monkeypatch.setattr("evcore.net.accept._BREATH", 0.01)
    loop, failures = asyncio.get_running_loop(), [OSError(errno.EMFILE, "Too many open files")]
    real = loop.sock_accept

    async def accept(listener: socket.socket) -> Any:
        if failures:
            raise failures.pop()
        return await real(listener)

    monkeypatch.setattr(loop, "sock_accept", accept)
    async with listening(engine, door=Failing()) as server:
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                assert await reader.read() == b""
                writer.transport.abort()
        async with raw(server.port):
            assert len(server.upgrades) == 1
    assert "no connection can be accepted for the moment: Too many open files" in caplog.text
    assert "RuntimeError: a bug" in caplog.text


async def test_a_peer_that_does_not_read_may_have_so_much_waiting(engine, until, caplog) -> None:
    async with listening(engine, max_waiting=200_000) as server, raw(server.port) as (reader, _):
        reader._transport.pause_reading()
        sink = server.sinks[0]
        for _ in range(1000):
            sink.wire.send(b"x" * 50_000)
            if "closed" in sink.happened:
                break
            await asyncio.sleep(0)
        await until(lambda: "closed" in sink.happened)
    assert "200000 may" in caplog.text


async def test_a_peer_that_reads_again_in_time_gets_it_all(engine, until) -> None:
    async with (
        listening(engine, max_waiting=20_000_000, stall_seconds=30.0) as server,
        raw(server.port) as (reader, writer),
    ):
        sink = server.sinks[0]
        for _ in range(200):
            sink.wire.send(b"x" * 50_000)
        writer.write(frame(1, b"not read while it waits"))
        async with asyncio.timeout(20):
            await reader.readexactly(200 * 50_004)
        await until(lambda: sink.frames == [b"not read while it waits"])


async def test_a_peer_that_stalls_is_cut_off(engine, until, caplog) -> None:
    async with listening(engine, max_waiting=50_000_000, stall_seconds=0.2) as server, raw(server.port) as (reader, _):
        reader._transport.pause_reading()
        for _ in range(200):
            server.sinks[0].wire.send(b"x" * 100_000)
        await until(lambda: "closed" in server.sinks[0].happened)
    assert "has not read what was sent to it for 0.2 s" in caplog.text


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(1, b"x" * 1001), 1009),
        (frame(1, b"x" * 1000, fin=False) + frame(0, b"x"), 1009),
        (frame(1, b"x", length=1 << 40), 1009),
        (frame(1, b"x", fin=False) + frame(0, b"", fin=False) * 20, 1008),
        (frame(2, b"x"), 1003),
        (frame(0, b"x"), 1002),
        (frame(1, b"x", fin=False) + frame(1, b"x"), 1002),
        (frame(1, b"x", rsv=4), 1002),
        (frame(1, b"x", rsv=1), 1002),
        (frame(9, b"x", rsv=2), 1002),
        (frame(3, b"x"), 1002),
        (frame(9, b"x" * 126), 1002),
    ],
    ids=[
        "one byte over",
        "one byte over, in parts",
        "a terabyte announced",
        "empty parts",
        "binary",
        "continuation of nothing",
        "message in a message",
        "compressed without agreement",
        "reserved bit",
        "ping with a reserved bit",
        "opcode 3",
        "large ping",
    ],
)
async def test_framing_that_ends_a_connection(engine, until, sent, code) -> None:
    async with listening(engine, max_frame=1000, max_parts=20) as server, raw(server.port) as (reader, writer):
        writer.write(frame(1, b"x" * 1000) + frame(1, b"y" * 1000, fin=False) + frame(0, b""))
        await until(lambda: len(server.sinks[0].frames) == 2)
        writer.write(sent)
        assert await close_code(reader) == code
        writer.write(frame(8, struct.pack("!H", code)))
        await until(lambda: "closed" in server.sinks[0].happened)
        assert server.sinks[0].frames == [b"x" * 1000, b"y" * 1000]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_floods_do_not_grow_memory(engine, until) -> None:
    """A giant frame, endless parts, pings of one who reads nothing: hundreds of megabytes sent, a few held."""
    async with listening(engine, max_frame=100_000, max_parts=1 << 30, stall_seconds=30.0) as server:
        floods = [
            frame(1, b"x" * 65536, length=1 << 40),
            frame(1, b"", fin=False) + frame(0, b"", fin=False) * 10_000,
            frame(9, b"") * 10_000,
        ]
        before = resident()
        for flood in floods:
            async with raw(server.port) as (reader, writer):
                reader._transport.pause_reading()
                with contextlib.suppress(ConnectionError, TimeoutError):
                    async with asyncio.timeout(1):
                        for _ in range(2000):
                            writer.write(flood if flood is not floods[1] else frame(0, b"", fin=False) * 10_000)
                            await writer.drain()
        assert resident() - before < 16_000_000


async def test_what_came_before_a_close_counts(engine, until) -> None:
    async with listening(engine) as server, raw(server.port) as (reader, writer):
        writer.write(frame(1, b"last words") + frame(8, struct.pack("!H", 1000)) + frame(1, b"too late"))
        assert await close_code(reader) == 1000
        sink = server.sinks[0]
        await until(lambda: "closed" in sink.happened)
        assert sink.frames == [b"last words"]


async def test_a_sink_that_fails_costs_its_own_connection(engine, until, caplog) -> None:
    class Broken(Notes):
        def frame(self, frame: bytes) -> None:
            raise RuntimeError("a bug")

    broken = Broken()
    sinks = [broken, Notes()]
    async with (
        listening(engine, lambda _: Accept("ocpp1.6", sinks.pop(0))) as server,
        raw(server.port) as (reader, writer),
        raw(server.port) as (other, other_writer),
    ):
        writer.write(frame(1, b"x"))
        assert await close_code(reader) == 1011
        other_writer.write(frame(1, b"fine"))
        async with asyncio.timeout(10):
            assert (await other.readexactly(6))[2:] == b"fine"
        await until(lambda: "closed" in broken.happened)
    assert "RuntimeError: a bug" in caplog.text


async def test_a_peer_that_does_not_close_is_cut_off(engine, until) -> None:
    async with listening(engine) as server, raw(server.port) as (reader, _):
        sink = server.sinks[0]
        sink.wire.close(1001, "going")
        sink.wire.close(1001, "again")
        sink.wire.send(b"nothing after a close")
        assert await close_code(reader) == 1001
        await until(lambda: "closed" in sink.happened)
        for _ in range(2):
            sink.wire.send(b"x")
            sink.wire.ping()
            sink.wire.close(1000)
            sink.wire.abort()
        assert sink.wire.peer == "unknown"
        assert sink.happened == ["opened", "closed"]


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="no SO_REUSEPORT here")
async def test_two_listeners_share_a_port(engine) -> None:
    async with listening(engine, reuse_port=True) as server:
        second = await load(engine).listen(
            "127.0.0.1", server.port, server.decide, ListenOptions(reuse_port=True, backlog=16)
        )
        assert second.port == server.port
        second.close()
        with pytest.raises(OSError, match="in use"):
            await load(engine).listen("127.0.0.1", server.port, server.decide, ListenOptions())
        async with raw(server.port):
            pass


async def test_closed_connections_are_freed_without_the_collector(engine, until) -> None:
    """Reference counts alone: cycles would keep a hundred thousand of them until a collection that takes seconds."""
    async with listening(engine) as server:
        gc.collect()
        gc.disable()
        try:
            for end in ("peer", "abort", "close", "error"):
                async with raw(server.port) as (reader, writer):
                    sink = server.sinks.pop()
                    known, kind = weakref.ref(sink), type(sink.wire)
                    if end == "abort":
                        sink.wire.abort()
                    elif end == "close":
                        sink.wire.close(1000)
                        await close_code(reader)
                        writer.write(frame(8, struct.pack("!H", 1000)))
                    elif end == "error":
                        writer.write(frame(3, b""))
                        await close_code(reader)
                    if end == "peer":
                        writer.write(frame(1, b"x", fin=False))
                        writer.transport.abort()
                    await until(lambda sink=sink: "closed" in sink.happened)
                    del sink

                def left(known=known, kind=kind) -> tuple[Notes | None, int]:
                    return known(), sum(type(thing) is kind for thing in gc.get_objects())

                with contextlib.suppress(TimeoutError):
                    await until(lambda left=left: left() == (None, 0))
                assert left() == (None, 0), end
        finally:
            gc.enable()


@pytest.mark.parametrize("client", ENGINES)
async def test_client(engine, client, until) -> None:
    sink = Notes(echo=False)
    async with listening(engine) as server:
        await load(client).connect(
            server.url(), ("ocpp2.0.1", "ocpp1.6"), sink, max_frame=1000, headers={"Authorization": "Basic QTpC"}
        )
        assert sink.happened == ["opened"]
        assert server.upgrades[0].authorization == b"Basic QTpC"
        assert server.upgrades[0].subprotocols == ("ocpp2.0.1", "ocpp1.6")
        sink.wire.send(b"hello")
        await until(lambda: sink.frames == [b"hello"])
        server.sinks[0].wire.ping()
        await until(lambda: server.sinks[0].happened == ["opened", "frame", "heard"])
        server.sinks[0].wire.send(b"x" * 1001)
        await until(lambda: "closed" in sink.happened and "closed" in server.sinks[0].happened)
        assert sink.frames == [b"hello"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [(REFUSED, "HTTP status 401"), (Accept(None, Notes()), "agreed to no subprotocol")],
    ids=["refused", "no subprotocol"],
)
async def test_client_is_told_why_not(engine, answer, says) -> None:
    async with listening(engine, lambda _: answer) as server:
        with pytest.raises(ConnectError, match=says):
            await load(engine).connect(server.url(), ("ocpp1.6",), Notes(), max_frame=1000)
        port = server.port
    with pytest.raises(ConnectError):
        await load(engine).connect(f"ws://127.0.0.1:{port}/CP1", ("ocpp1.6",), Notes(), max_frame=1000)


async def test_others_are_served_while_many_come(engine) -> None:
    async with listening(engine) as server, raw(server.port) as (reader, writer):
        coming = [asyncio.create_task(_come(server.port)) for _ in range(200)]
        for number in range(20):
            writer.write(frame(1, b"%04d" % number))
            async with asyncio.timeout(20):
                assert (await reader.readexactly(6))[2:] == b"%04d" % number
        await asyncio.gather(*coming)
        assert len(server.sinks) == 201


async def _come(port: int) -> None:
    async with raw(port) as (reader, writer):
        writer.write(frame(1, b"me"))
        async with asyncio.timeout(20):
            assert await reader.readexactly(4) == b"\x81\x02me"


@pytest.mark.parametrize("client", ENGINES)
def test_on_uvloop(engine, client) -> None:
    uvloop: Any = pytest.importorskip("uvloop")

    async def talk() -> None:
        async with listening(engine) as server, connect(server.url(), subprotocols=["ocpp1.6"]) as station:
            for size in (0, 1, 200, 70_000, 900_000):
                await station.send("x" * size)
                assert await station.recv() == "x" * size
            await station.close()
            with pytest.raises(ConnectionClosed):
                await station.recv()
            sink = Notes(echo=False)
            await load(client).connect(server.url(), ("ocpp1.6",), sink, max_frame=1000)
            assert sink.wire is not None
            sink.wire.close(1000)
            async with asyncio.timeout(10):
                while "closed" not in sink.happened:  # noqa: ASYNC110 - nothing of the sink can be awaited
                    await asyncio.sleep(0.01)

    uvloop.run(talk())
