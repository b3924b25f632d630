"""Frames no station should send: the exact answer, and a connection that goes on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from evcore.net.engine import ListenOptions

BOOT = {"chargePointVendor": "V", "chargePointModel": "M"}
DEEP = "[" * 5000 + "]" * 5000


def error(message_id: str, code: str, description: str) -> list[Any]:
    return [4, message_id, code, description, {}]


UNKNOWN_16 = error("a", "NotImplemented", "payload is not an action of ocpp1.6")
WRONG_WAY = error("a", "NotSupported", "this action is not supported here")

ANSWERED_16 = {
    "three elements": ('[2,"a","Heartbeat"]', error("a", "FormationViolation", "CALL must have 4 elements, has 3")),
    "five elements": (
        '[2,"a","Heartbeat",{},1]',
        error("a", "FormationViolation", "CALL must have 4 elements, has 5"),
    ),
    "action is a number": ('[2,"a",5,{}]', error("a", "FormationViolation", "action is not a string")),
    "action is an array": ('[2,"a",["x"],{}]', error("a", "FormationViolation", "action is not a string")),
    "action unknown": ('[2,"a","NoSuchAction",{}]', UNKNOWN_16),
    "action of another version": ('[2,"a","TransactionEvent",{}]', UNKNOWN_16),
    "action in lower case": ('[2,"a","heartbeat",{}]', UNKNOWN_16),
    "action is a path": ('[2,"a","../../v201/schemas/HeartbeatRequest",{}]', UNKNOWN_16),
    "wrong direction": ('[2,"a","Reset",{"type":"Soft"}]', WRONG_WAY),
    "wrong direction, signed": ('[2,"a","GetLocalListVersion",{}]', WRONG_WAY),
    "payload is an array": (
        '[2,"a","Heartbeat",[]]',
        error("a", "FormationViolation", "payload must be object, is array"),
    ),
    "property missing": (
        '[2,"a","BootNotification",{"chargePointVendor":"V"}]',
        error("a", "ProtocolError", "payload lacks the required property chargePointModel"),
    ),
    "property unknown": (
        '[2,"a","Heartbeat",{"<script>":1}]',
        error("a", "FormationViolation", "payload holds a member that is not a property of this object"),
    ),
    "wrong type": (
        '[2,"a","Authorize",{"idTag":5}]',
        error("a", "TypeConstraintViolation", "/idTag must be string, is integer"),
    ),
    "too long": (
        json.dumps([2, "a", "Authorize", {"idTag": "x" * 21}]),
        error("a", "PropertyConstraintViolation", "/idTag is longer than 20 characters"),
    ),
}

SILENT_16 = {
    "empty text": "",
    "white space": " \n",
    "pong": "pong",
    "not an array": '{"a":1}',
    "empty array": "[]",
    "null": "null",
    "kind is text": '["2","a","Heartbeat",{}]',
    "kind is a fraction": '[2.0,"a","Heartbeat",{}]',
    "kind is true": '[true,"a","Heartbeat",{}]',
    "kind 0": '[0,"a","Heartbeat",{}]',
    "kind 1": '[1,"a","Heartbeat",{}]',
    "kind 5 is not of 1.6": '[5,"a","GenericError","",{}]',
    "kind 6 is not of 1.6": '[6,"a","NotifyPeriodicEventStream",{}]',
    "deep nesting": DEEP,
    "a number with 5,000 digits": "9" * 5000,
    "id is a number": '[2,7,"Heartbeat",{}]',
    "id is empty": '[2,"","Heartbeat",{}]',
    "CALLRESULT to nothing": '[3,"never-asked",{}]',
    "CALLRESULT cut off": '[3,"never-asked",{"configurationKey":[]',
    "CALLERROR to nothing": '[4,"never-asked","GenericError","",{}]',
    "CALLERROR with four elements": '[4,"never-asked","FormationViolation",""]',
    "CALLERROR with null details": '[4,"never-asked","NoSuchCode",null,null]',
    "byte order mark": '\ufeff[2,"a","Heartbeat",{}]',
}


@pytest.mark.parametrize("case", ANSWERED_16)
async def test_answered(serving, engine, case) -> None:
    frame, answer = ANSWERED_16[case]
    async with serving(engine) as server, server.station() as station:
        assert await station.ask(frame) == answer
        assert await station.is_usable()


@pytest.mark.parametrize(
    "rest", ['"Heartbeat",{"x":}]', '"MeterValues",{"a":[,1]}]', '"Heartbeat",{}] []', "Reset,{}]"]
)
async def test_broken_json_with_a_readable_head(serving, engine, rest) -> None:
    async with serving(engine) as server, server.station() as station:
        reply = await station.ask(f'[2,"a",{rest}')
        assert reply[:3] == [4, "a", "FormationViolation"]
        assert reply[3].startswith("frame is not JSON at byte ")
        assert await station.is_usable()


async def test_ignored(serving, engine) -> None:
    """All of them on one connection: the next answer is that to the probe, so nothing was sent for any."""
    async with serving(engine) as server, server.station() as station:
        for name, frame in SILENT_16.items():
            await station.socket.send(frame)
            assert await station.is_usable(), name


@pytest.mark.parametrize(
    ("version", "frame", "answer"),
    [
        ("ocpp2.0.1", '[2,7,"Heartbeat",{}]', [4, "-1", "RpcFrameworkError"]),
        ("ocpp2.0.1", "{}", [4, "-1", "RpcFrameworkError"]),
        ("ocpp2.0.1", "pong", [4, "-1", "RpcFrameworkError"]),
        ("ocpp2.0.1", DEEP, [4, "-1", "RpcFrameworkError"]),
        ("ocpp2.0.1", '[9,"a",{}]', [4, "a", "MessageTypeNotSupported"]),
        ("ocpp2.0.1", '[2,"a","Heartbeat",{"x":1}]', [4, "a", "FormatViolation"]),
        ("ocpp2.0.1", '[2,"a","BootNotification",{}]', [4, "a", "OccurrenceConstraintViolation"]),
        ("ocpp2.0.1", '[2,"a","GetVariables",{"getVariableData":[]}]', [4, "a", "OccurrenceConstraintViolation"]),
        ("ocpp2.0.1", '[2,"a","BatterySwap",{}]', [4, "a", "NotImplemented"]),
        ("ocpp2.1", '[2,"a","ClearCache",{}]', [4, "a", "NotSupported"]),
        ("ocpp2.1", '[2,"a","NotifyPeriodicEventStream",{}]', [4, "a", "NotImplemented"]),
        ("ocpp2.1", "[[", [4, "-1", "RpcFrameworkError"]),
    ],
)
async def test_answered_in_2x(serving, version, frame, answer) -> None:
    async with serving() as server, server.station(version) as station:
        reply = await station.ask(frame)
        assert reply[:3] == answer
        assert len(reply) == 5
        assert len(reply[3]) <= 255
        assert reply[4] == {}
        assert await station.is_usable()


async def test_ignored_in_21(serving) -> None:
    """2.1 ignores unknown kinds and never answers a SEND or a result nobody waits for."""
    frames = (
        '[9,"a",{}]',
        '[6,"a","NotifyPeriodicEventStream",{}]',
        '[6,"a","Heartbeat",{}]',
        '[3,"never-asked",{}]',
        '[3,"never-asked",[',
        '[5,"never-asked","GenericError","",{}]',
    )
    async with serving() as server, server.station("ocpp2.1") as station:
        for frame in frames:
            await station.socket.send(frame)
            assert await station.is_usable(), frame


BILLING = {
    "stop without meterStop": ("ocpp1.6", "StopTransaction", {"transactionId": 1, "timestamp": "2026-03-01T10:00:00Z"}),
    "stop with null id": (
        "ocpp1.6",
        "StopTransaction",
        {"transactionId": None, "meterStop": 1, "timestamp": "2026-03-01T10:00:00Z"},
    ),
    "stop of transaction -1": (
        "ocpp1.6",
        "StopTransaction",
        {"transactionId": -1, "meterStop": 1, "timestamp": "2026-03-01T10:00:00Z"},
    ),
    "stop of transaction 0": (
        "ocpp1.6",
        "StopTransaction",
        {"transactionId": 0, "meterStop": 1, "timestamp": "2026-03-01T10:00:00Z"},
    ),
    "stop of an INT64_MAX transaction": (
        "ocpp1.6",
        "StopTransaction",
        {"transactionId": 9223372036854775807, "meterStop": -1, "timestamp": "2022-02-29T07:02:33.000Z"},
    ),
    "stop with a long tag and a wrong key": (
        "ocpp1.6",
        "StopTransaction",
        {"idTag": "x" * 21, "Reason": "Local", "transactionId": 4, "meterStop": 1, "timestamp": "now"},
    ),
    "start with nothing": ("ocpp1.6", "StartTransaction", {}),
    "start with everything wrong": (
        "ocpp1.6",
        "StartTransaction",
        {"connectorId": [], "idTag": {}, "meterStart": {}, "timestamp": []},
    ),
    "meter values as object": ("ocpp1.6", "MeterValues", {"connectorId": 1, "meterValue": {"timestamp": 1}}),
    "meter values as numbers": (
        "ocpp1.6",
        "MeterValues",
        {
            "connectorId": 1,
            "transactionId": 1,
            "meterValue": [{"timestamp": "x", "sampledValue": [{"value": 604.213}, 7, {"value": "NaN"}, None]}],
        },
    ),
    "event with nothing": ("ocpp2.0.1", "TransactionEvent", {}),
    "event with everything wrong": (
        "ocpp2.0.1",
        "TransactionEvent",
        {
            "eventType": 1,
            "transactionInfo": {"transactionId": "t"},
            "idToken": {"idToken": 5},
            "evse": {"id": "x"},
            "meterValue": [{"sampledValue": [{"value": 1, "unitOfMeasure": {"multiplier": 10**9}}]}],
        },
    ),
    "2.1 event without a reason": ("ocpp2.1", "TransactionEvent", {"eventType": "Ended", "transactionInfo": {}}),
    "2.x meter values": ("ocpp2.1", "MeterValues", {"evseId": "one"}),
}


@pytest.mark.parametrize("case", BILLING)
async def test_billing_messages_are_answered_whatever_is_in_them(serving, case, caplog) -> None:
    version, action, payload = BILLING[case]
    async with serving() as server, server.station(version) as station:
        reply = await station.ask([2, "a", action, payload])
        assert reply[:2] == [3, "a"], reply
        if action == "StartTransaction":
            assert reply[2]["transactionId"] > 0
        assert await station.is_usable()
        valid = case in ("stop of transaction -1", "stop of transaction 0")
        assert (server.csms.stations["CP1"].violations == 0) == valid
    assert ("breaks its schema" in caplog.text) == (not valid)


async def test_billing_payload_that_is_no_object(serving) -> None:
    async with serving() as server, server.station() as station:
        for number, payload in enumerate(([], "x", 5, [[]])):
            reply = await station.ask([2, str(number), "StopTransaction", payload])
            assert reply[0] in (3, 4)
        assert await station.is_usable()


async def test_binary_is_closed_with_1003(serving, engine) -> None:
    async with serving(engine) as server, server.station() as station:
        await station.socket.send(b'[2,"a","Heartbeat",{}]')
        with pytest.raises(ConnectionClosed):
            await station.answer()
        assert station.socket.close_code == 1003


@pytest.mark.parametrize("fragments", [1, 3])
async def test_too_large_is_closed_with_1009(serving, engine, fragments) -> None:
    async with serving(engine, max_frame=100_000) as server, server.station() as station:
        part = "x" * (100_002 // fragments)
        await station.socket.send(part if fragments == 1 else [part] * (fragments + 1))
        with pytest.raises(ConnectionClosed):
            await station.answer()
        assert station.socket.close_code == 1009


async def test_giant_frame_harms_nobody_else(serving, engine) -> None:
    async with serving(engine, max_frame=100_000) as server, server.station("ocpp1.6", "GOOD") as good:
        bad = await connect(f"{server.url}/BAD", subprotocols=["ocpp1.6"])
        with contextlib.suppress(ConnectionClosed):  # the rest of it is not read
            await bad.send("x" * 5_000_000)
        with pytest.raises(ConnectionClosed):
            await bad.recv()
        assert await good.is_usable()


async def test_largest_frame_is_still_answered(serving, engine) -> None:
    """Up to the limit it is the codec that judges; here a string beyond its own limit."""
    frame = '[2,"a","Authorize",{"idTag":"' + "x" * 300_000 + '"}]'
    async with serving(engine) as server, server.station() as station:
        assert await station.ask(frame) == error(
            "a", "FormationViolation", "string is longer than 262144 bytes at byte 28"
        )
        assert await station.is_usable()


async def test_fragmented_message_and_pings(serving, engine) -> None:
    async with serving(engine) as server, server.station() as station:
        await station.socket.send(['[2,"a",', '"Heart', 'beat",{}]'])
        await (await station.socket.ping())
        assert (await station.answer())[:2] == [3, "a"]
        assert await station.is_usable()


async def test_calls_in_a_row_are_answered_in_order(serving, engine) -> None:
    async with serving(engine) as server, server.station() as station:
        for number in range(200):
            await station.socket.send(json.dumps([2, str(number), "Heartbeat", {}]))
        assert [(await station.answer())[1] for _ in range(200)] == [str(number) for number in range(200)]


UPGRADE = (
    b"GET /BAD HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
)


def masked(opcode: int, body: bytes) -> bytes:
    """A short frame of a client; the mask is zero."""
    return bytes([0x80 | opcode, 0x80 | len(body)]) + b"\0\0\0\0" + body


@contextlib.asynccontextmanager
async def deaf(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """An upgraded station that does not read, with small buffers."""
    plain = socket.socket()
    for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        plain.setsockopt(socket.SOL_SOCKET, buffer, 16384)
    plain.setblocking(False)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=plain, limit=1024)
    writer.write(UPGRADE)
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.pause_reading()
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


ODD_CALL = b'[2,"a","NoSuchAction",{}]'
ODD_ANSWER = b'[4,"a","NotImplemented","payload is not an action of ocpp1.6",{}]'


@pytest.mark.parametrize(
    ("frame", "answer"),
    [(masked(1, ODD_CALL), 2 + len(ODD_ANSWER)), (masked(9, b"p" * 100), 102)],
    ids=["calls", "pings"],
)
async def test_a_peer_that_does_not_read_is_not_read(serving, engine, frame, answer) -> None:
    """Its unread answers do not pile up in memory, and none is lost when it reads at last."""
    async with serving(engine) as server, server.station("ocpp1.6", "GOOD") as good:
        async with deaf(server.server.port) as (reader, writer):
            sent, stalled = 0, False
            while sent < 1_000_000 and not stalled:
                writer.write(frame * 1000)
                sent += 1000
                try:
                    await asyncio.wait_for(writer.drain(), 2)
                except TimeoutError:
                    stalled = True
            assert stalled
            assert await good.is_usable()
            writer.transport.resume_reading()
            due = sent * answer
            while due > 0:
                due -= len(await reader.read(65536))
            assert due == 0
        assert await good.is_usable()


async def test_a_peer_that_never_reads_again_is_cut_off(serving, engine, until) -> None:
    async with (
        serving(engine, listen=ListenOptions(stall_seconds=0.2)) as server,
        deaf(server.server.port) as (_, writer),
    ):
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                writer.write(masked(1, ODD_CALL) * 1000)
                await asyncio.wait_for(writer.drain(), 20)
        await until(lambda: server.csms.stations["BAD"].connection is None)


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999, None])
async def test_close_of_the_peer_is_answered(serving, engine, code, until) -> None:
    async with serving(engine) as server:
        station = await connect(f"{server.url}/CP1", subprotocols=["ocpp1.6"], close_timeout=5)
        if code is None:
            station.protocol.send_close()
            station.transport.write(b"".join(station.protocol.data_to_send()))
            await station.wait_closed()
        else:
            await station.close(code)
            assert station.protocol.close_rcvd is not None
            assert station.close_code == code
        await until(lambda: server.csms.stations["CP1"].connection is None)


async def test_sudden_end_of_the_connection(serving, engine, until) -> None:
    async with serving(engine) as server:
        async with connect(f"{server.url}/CP1", subprotocols=["ocpp1.6"]) as station:
            await station.send(json.dumps([2, "1", "BootNotification", BOOT]))
            await until(lambda: server.csms.stations["CP1"].last_action == "BootNotification")
            station.transport.abort()
        await until(lambda: server.csms.stations["CP1"].connection is None)
        async with server.station() as again:
            assert await again.is_usable()
