"""The packets of the data path: both directions against paho's own codec, any cut of the stream, any bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import MQTTProtocolVersion

from evcore.mqtt.broker import packet
from evcore.mqtt.message import Message, Received

#: paho's codec, which is a module of its own since 2.2.
_packet = pytest.importorskip("paho.mqtt._packet")

TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0\ufeff"), max_size=30)
TOPIC = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0+#\ufeff"), min_size=1, max_size=30)
MESSAGE = st.builds(
    Message,
    topic=TOPIC,
    payload=st.binary(max_size=300),
    qos=st.integers(0, 2),
    retain=st.booleans(),
    expiry=st.none() | st.integers(0, 0xFFFF_FFFF),
    content_type=st.none() | TEXT,
    response_topic=st.none() | TOPIC,
    correlation=st.none() | st.binary(max_size=40),
    user=st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple),
)


def whole(data: bytes, most: int = 1 << 20) -> list[Any]:
    return list(packet.Splitter(most).feed(data))


def receive(header: int, body: bytes | bytearray, *, five: bool) -> Received:
    return packet.received(header, body, five=five, acknowledge=lambda qos, mid: lambda: None)


@given(MESSAGE, st.booleans(), st.booleans(), st.integers(1, 65_535))
def test_what_is_written_is_read_back_and_paho_reads_the_same(
    message: Message, five: bool, dup: bool, mid: int
) -> None:
    dup = dup and message.qos > 0
    data = packet.publish(message, qos=message.qos, retain=message.retain, dup=dup, mid=mid, five=five)
    ((header, body),) = whole(data)
    back = receive(header, body, five=five)
    for name in Message.__slots__:
        expected = getattr(message, name)
        if not five and name not in ("topic", "payload", "qos", "retain"):
            expected = () if name == "user" else None
        assert getattr(back, name) == expected, name
    assert back.dup == dup
    version = MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311
    other = _packet.decode_publish(header, bytearray(body), version)
    assert (other.topic.decode(), bytes(other.payload), other.qos, other.retain, other.dup) == (
        message.topic,
        message.payload,
        message.qos,
        message.retain,
        dup,
    )
    assert other.mid == (mid if message.qos else 0)
    if five:
        assert getattr(other.properties, "CorrelationData", None) == message.correlation
        assert getattr(other.properties, "MessageExpiryInterval", None) == message.expiry
        assert tuple(map(tuple, getattr(other.properties, "UserProperty", []))) == message.user


@given(st.lists(st.tuples(MESSAGE, st.integers(1, 65_535)), max_size=5), st.lists(st.integers(1, 40), min_size=1))
def test_a_stream_may_come_in_any_pieces(messages: list[tuple[Message, int]], sizes: list[int]) -> None:
    stream = b"".join(
        packet.publish(message, qos=message.qos, retain=False, mid=mid, five=True) for message, mid in messages
    )
    for most in (1 << 20, 120):
        splitter, found, at, turn = packet.Splitter(most), [], 0, 0
        while at < len(stream):
            size = sizes[turn % len(sizes)]
            found += list(splitter.feed(stream[at : at + size]))
            at += size
            turn += 1
        expected = whole(stream, most)
        assert found == expected and len(found) == len(messages)
        for (message, mid), one in zip(messages, expected):
            if isinstance(one, packet.Oversize):
                assert most == 120 < one.size
                assert packet.publish_identifier(one.header, one.head) == (mid if message.qos else 0)
            else:
                assert receive(one[0], one[1], five=True).payload == message.payload


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_packets_or_malformed(data: bytes, five: bool) -> None:
    try:
        for found in whole(data, 100):
            if isinstance(found, packet.Oversize):
                packet.publish_identifier(found.header, found.head)
            elif found[0] & 0xF0 == packet.PUBLISH:
                receive(*found, five=five)
            else:
                packet.acknowledgement(found[1], five=five)
    except packet.Malformed:
        pass


@given(st.binary(max_size=60), st.integers(0x30, 0x3F), st.booleans())
def test_a_publish_that_is_taken_is_one_that_paho_takes(body: bytes, header: int, five: bool) -> None:
    try:
        mine = receive(header, body, five=five)
    except packet.Malformed:
        return
    version = MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311
    if "\ufeff" in f"{mine.content_type}{mine.response_topic}{mine.user}":
        return  # paho refuses what the standard allows
    other = _packet.decode_publish(header, bytearray(body), version)
    assert other.topic.decode() == mine.topic and bytes(other.payload) == mine.payload


@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 16_383, 16_384, 2_097_152])
def test_remaining_lengths(size: int) -> None:
    data = packet.publish(Message("t", bytes(size)), qos=0, retain=False, five=False)
    ((_, body),) = whole(data, 1 << 24)
    assert len(body) == size + 3


def test_what_is_read_past_is_not_kept() -> None:
    splitter = packet.Splitter(1000)
    size = 200_000_000
    head = b"\x32" + bytes([0x80 | size & 127, 0x80 | size >> 7 & 127, 0x80 | size >> 14 & 127, size >> 21])
    assert not list(splitter.feed(head + struct.pack("!H", 1) + b"t" + b"\0\7"))
    piece = bytes(1 << 20)
    found: list[Any] = []
    left = size - 5
    while left > 0:
        found += splitter.feed(
            piece[: min(left, len(piece))] + (packet.answer(packet.PUBACK, 3) if left <= 1 << 20 else b"")
        )
        left -= len(piece)
        assert len(splitter._head) <= 70_000 and not splitter._rest
    oversize, acknowledgement = found
    assert oversize.size == size + 5 and packet.publish_identifier(oversize.header, oversize.head) == 7
    assert acknowledgement == (packet.PUBACK, b"\0\3")


@pytest.mark.parametrize(
    "message",
    [
        Message("", b""),
        Message("a+", b""),
        Message("#", b""),
        Message("\0", b""),
        Message("é" * 32_768, b""),
        Message("\udfff", b""),
        Message("a", b"", content_type="\0"),
        Message("a", b"", content_type="x" * 65_536),
        Message("a", b"", response_topic="a/+"),
        Message("a", b"", response_topic=""),
        Message("a", b"", correlation=bytes(65_536)),
        Message("a", b"", expiry=1 << 32),
        Message("a", b"", user=(("\ud800", ""),)),
    ],
)
def test_what_mqtt_forbids_is_not_written(message: Message) -> None:
    with pytest.raises(packet.Unsendable):
        packet.publish(message, qos=1, retain=False, mid=1, five=True)


def test_acknowledgements() -> None:
    assert packet.answer(packet.PUBREL, 0x1234) == b"\x62\2\x12\x34"
    assert packet.acknowledgement(b"\1\2", five=False) == (0x0102, 0)
    assert packet.acknowledgement(b"\1\2\x87\0", five=True) == (0x0102, 0x87)
    bad: list[tuple[bytes, bool]] = [(b"", True), (b"\1", True), (b"\1\2\0", False)]
    for body, five in bad:
        with pytest.raises(packet.Malformed):
            packet.acknowledgement(body, five=five)


def test_acknowledging_is_once() -> None:
    asked: list[tuple[int, int]] = []

    def acknowledge(qos: int, mid: int) -> Callable[[], None]:
        return lambda: asked.append((qos, mid))

    body = b"\0\1t\0\7x"
    message = packet.received(0x32, body, five=False, acknowledge=acknowledge)
    message.ack()
    assert asked == [(1, 7)]
    assert message == packet.received(0x32, body, five=False, acknowledge=acknowledge), "what is told counts"
    Received("t", b"").ack()
