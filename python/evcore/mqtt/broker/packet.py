"""The packets of the data path as bytes: PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP (MQTT 3.1.1 and 5.0 §3.3 to §3.7).

In: messages to send, and whatever bytes come from a broker. Out: packets to send, packets that came, one by one.
Refused: messages no broker may take, with Unsendable; bytes that are no MQTT, with Malformed; packets that are too
large are read past without being kept. Without I/O.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from evcore.mqtt.message import Message, Received

__all__ = [
    "PUBACK",
    "PUBCOMP",
    "PUBLISH",
    "PUBREC",
    "PUBREL",
    "Malformed",
    "Oversize",
    "Splitter",
    "Unsendable",
    "acknowledgement",
    "answer",
    "publish",
    "publish_identifier",
    "received",
]

PUBLISH: Final = 0x30
PUBACK: Final = 0x40
PUBREC: Final = 0x50
PUBREL: Final = 0x62
PUBCOMP: Final = 0x70

#: The largest Remaining Length (§2.2.3 of 3.1.1, §1.5.5 of 5.0).
_MOST: Final = 268_435_455
#: Topic and packet identifier of a PUBLISH fit into this many bytes of its body.
_HEAD: Final = 2 + 65_535 + 2

_pair = struct.Struct("!BBH").pack
_int16 = struct.Struct("!H").pack
_int32 = struct.Struct("!I").pack
_read16 = struct.Struct("!H").unpack_from
_read32 = struct.Struct("!I").unpack_from


class Malformed(ValueError):
    """What came is no MQTT; the connection has to end (§4.13 of 5.0)."""


class Unsendable(ValueError):
    """A message that MQTT forbids; the text says why."""


class Oversize(NamedTuple):
    """A PUBLISH that was read past. `head`: the beginning of its body, with the topic and the packet identifier."""

    header: int
    head: bytes
    size: int


# To the broker


def _length(size: int) -> bytes:
    """A Variable Byte Integer."""
    if size < 128:
        return bytes((size,))
    if size > _MOST:
        raise Unsendable(f"a packet of {size} bytes is larger than MQTT can say")
    found = bytearray()
    while size:
        size, low = divmod(size, 128)
        found.append(low | 0x80 if size else low)
    return bytes(found)


def _text(text: str, what: str) -> bytes:
    try:
        found = text.encode()
    except UnicodeEncodeError:
        raise Unsendable(f"{what} is no Unicode text") from None
    if len(found) > 65_535:
        raise Unsendable(f"{what} has more than 65,535 bytes")
    if b"\0" in found:
        raise Unsendable(f"{what} has a NUL in it")
    return _int16(len(found)) + found


def _topic(topic: str, what: str) -> bytes:
    if not topic:
        raise Unsendable(f"{what} is empty")
    if "+" in topic or "#" in topic:
        raise Unsendable(f"{what} has a wildcard in it")
    return _text(topic, what)


def _properties(message: Message) -> bytes:
    """§3.3.2.3 of 5.0."""
    found = b""
    if message.expiry is not None:
        if not 0 <= message.expiry <= 0xFFFF_FFFF:
            raise Unsendable("the expiry is out of range")
        found += b"\x02" + _int32(message.expiry)
    if message.content_type is not None:
        found += b"\x03" + _text(message.content_type, "the content type")
    if message.response_topic is not None:
        found += b"\x08" + _topic(message.response_topic, "the response topic")
    if message.correlation is not None:
        if len(message.correlation) > 65_535:
            raise Unsendable("the correlation data has more than 65,535 bytes")
        found += b"\x09" + _int16(len(message.correlation)) + message.correlation
    for name, value in message.user:
        found += b"\x26" + _text(name, "a user property") + _text(value, "a user property")
    return _length(len(found)) + found


def publish(message: Message, *, qos: int, retain: bool, dup: bool = False, mid: int = 0, five: bool) -> bytes:
    """A PUBLISH packet; `mid` counts for QoS 1 and 2 only. Raises Unsendable."""
    body = _topic(message.topic, "the topic")
    if qos:
        body += _int16(mid)
    if five:
        body += _properties(message)
    payload = message.payload
    header = PUBLISH | dup << 3 | qos << 1 | retain
    return b"".join((bytes((header,)), _length(len(body) + len(payload)), body, payload))


def answer(kind: int, mid: int) -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP that says yes."""
    return _pair(kind, 2, mid)


# From the broker


def acknowledgement(body: bytes | bytearray, *, five: bool) -> tuple[int, int]:
    """Packet identifier and reason code of PUBACK, PUBREC, PUBREL or PUBCOMP. Properties are not looked at."""
    size = len(body)
    if size < 2 or (size > 2 and not five):
        raise Malformed(f"an acknowledgement of {size} bytes")
    return body[0] << 8 | body[1], body[2] if size > 2 else 0


class _Reader:
    """Takes the parts of a body off, one after the other. Raises Malformed where it ends too early."""

    __slots__ = ("at", "body", "end")

    def __init__(self, body: bytes | bytearray) -> None:
        self.body = body
        self.at = 0
        self.end = len(body)

    def take(self, size: int) -> bytes:
        start = self.at
        self.at = start + size
        if self.at > self.end:
            raise Malformed("a field is longer than its packet")
        return bytes(self.body[start : self.at])

    def byte(self) -> int:
        return self.take(1)[0]

    def int16(self) -> int:
        found: int = _read16(self.take(2))[0]
        return found

    def int32(self) -> int:
        found: int = _read32(self.take(4))[0]
        return found

    def variable(self) -> int:
        found = 0
        for shift in (0, 7, 14, 21):
            byte = self.byte()
            found |= (byte & 0x7F) << shift
            if byte < 0x80:
                return found
        raise Malformed("a Variable Byte Integer of more than four bytes")

    def binary(self) -> bytes:
        return self.take(self.int16())

    def text(self) -> str:
        try:
            found = self.binary().decode()
        except UnicodeDecodeError:
            raise Malformed("a text is no UTF-8") from None
        if "\0" in found:
            raise Malformed("a text has a NUL in it")
        return found


def _text_pair(reader: _Reader) -> tuple[str, str]:
    return reader.text(), reader.text()


#: What a PUBLISH may carry: Payload Format Indicator, Message Expiry Interval, Content Type, Response Topic,
#: Correlation Data, Subscription Identifier, Topic Alias, User Property.
_FIELDS: Final[dict[int, Callable[[_Reader], object]]] = {
    0x01: _Reader.byte,
    0x02: _Reader.int32,
    0x03: _Reader.text,
    0x08: _Reader.text,
    0x09: _Reader.binary,
    0x0B: _Reader.variable,
    0x23: _Reader.int16,
    0x26: _text_pair,
}
_NAMES: Final[dict[int, str]] = {0x02: "expiry", 0x03: "content_type", 0x08: "response_topic", 0x09: "correlation"}


def _read_properties(reader: _Reader) -> dict[str, object]:
    size = reader.variable()
    whole = reader.end
    reader.end = reader.at + size
    if reader.end > whole:
        raise Malformed("properties are longer than their packet")
    found: dict[str, object] = {}
    pairs: list[object] = []
    seen: set[int] = set()
    while reader.at < reader.end:
        identifier = reader.variable()
        field = _FIELDS.get(identifier)
        if field is None:
            raise Malformed(f"a PUBLISH with the property 0x{identifier:02X}")
        if identifier in seen and identifier not in (0x0B, 0x26):
            raise Malformed(f"the property 0x{identifier:02X} twice")
        seen.add(identifier)
        value = field(reader)
        if identifier == 0x26:
            pairs.append(value)
        elif name := _NAMES.get(identifier):
            found[name] = value
    reader.end = whole
    if pairs:
        found["user"] = tuple(pairs)
    return found


def publish_identifier(header: int, head: bytes) -> int:
    """The packet identifier of a PUBLISH from the beginning of its body; 0 at QoS 0."""
    if not header & 0x06:
        return 0
    reader = _Reader(head)
    reader.binary()
    return reader.int16()


def received(
    header: int, body: bytes | bytearray, *, five: bool, acknowledge: Callable[[int, int], Callable[[], None]]
) -> Received:
    """What a PUBLISH holds. `acknowledge(qos, mid)` gives the function that acknowledges it, for QoS 1 and 2."""
    qos = header >> 1 & 3
    if qos == 3:
        raise Malformed("a PUBLISH of QoS 3")
    reader = _Reader(body)
    topic = reader.text()
    if not topic or "+" in topic or "#" in topic:
        raise Malformed("a PUBLISH whose topic is empty or has a wildcard")  # a Topic Alias was never allowed
    mid = reader.int16() if qos else 0
    if qos and not mid:
        raise Malformed("a PUBLISH with the packet identifier 0")
    more = _read_properties(reader) if five else {}
    payload = bytes(body[reader.at :])
    flags = {"qos": qos, "retain": bool(header & 1), "dup": bool(header & 8)}
    if qos:
        return Received(topic, payload, **flags, **more, acknowledge=acknowledge(qos, mid))  # type: ignore[arg-type]
    return Received(topic, payload, **flags, **more)  # type: ignore[arg-type]


class Splitter:
    """Cuts a stream into packets. `most`: bytes of the largest packet that is kept."""

    __slots__ = ("_head", "_header", "_left", "_most", "_rest", "_size")

    def __init__(self, most: int) -> None:
        self._most = most
        self._rest = bytearray()
        # A PUBLISH that is being read past: bytes of it to come, what is kept of them, its header and size.
        self._left = 0
        self._head = b""
        self._header = 0
        self._size = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes | bytearray] | Oversize]:
        """The packets that `data` completes: first byte and body. Raises Malformed. To be iterated to the end, or
        else not used again.
        """
        buffer: bytes | bytearray = data
        if self._left:
            skipped = min(self._left, len(data))
            self._keep(data[:skipped])
            self._left -= skipped
            if self._left:
                return
            yield Oversize(self._header, self._head, self._size)
            buffer = data[skipped:]
        elif self._rest:
            self._rest += data
            buffer = self._rest
        at = 0
        size = len(buffer)
        while size - at >= 2:
            header = buffer[at]
            length = buffer[at + 1]
            start = at + 2
            if length >= 0x80:
                length &= 0x7F
                shift = 7
                more = True
                while more and start < size:
                    if shift > 21:
                        raise Malformed("a Remaining Length of more than four bytes")
                    byte = buffer[start]
                    start += 1
                    length |= (byte & 0x7F) << shift
                    shift += 7
                    more = byte >= 0x80
                if more:
                    break
            end = start + length
            if end - at > self._most:
                if header & 0xF0 != PUBLISH:
                    raise Malformed(f"a packet of {length} bytes that is no PUBLISH")
                self._header, self._head, self._size = header, b"", end - at
                self._keep(bytes(buffer[start:end]))
                if end > size:
                    self._left = end - size
                    at = size
                    break
                yield Oversize(header, self._head, self._size)
            elif end > size:
                break
            else:
                yield header, buffer[start:end]
            at = end
        if buffer is self._rest:
            del self._rest[:at]
        elif at < size:
            self._rest += buffer[at:]

    def _keep(self, data: bytes) -> None:
        self._head += data[: max(0, _HEAD - len(self._head))]
