"""Messages as rows of the file, and back.

In: messages with any content; rows. Out: rows that a bit changed by the disk does not pass for; messages. Refused:
a message that is none (ValueError); a row whose content is not what was written (also ValueError).
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from evcore.mqtt.message import Message
from evcore.mqtt.spool.entry import Entry

__all__ = ["COLUMNS", "RANKS", "Held", "Put", "decode", "encode", "packed", "unpacked"]

#: Who gives way for whom: lower ranks first, nobody for a lower one, the highest never.
RANKS: Final = {"telemetry": 0, "status": 1, "command": 1, "billing": 2}

#: In the order of `decode`.
COLUMNS: Final = "seq, class, time, size, released, expires, crc, qos, retain, id, topic, properties, payload"

#: Bytes a row takes beside its content, roughly.
_ROW: Final = 128

Row: TypeAlias = tuple[Any, ...]


class Put(NamedTuple):
    """A message on its way into the file."""

    message: Message
    qos_class: str
    id: str
    size: int
    #: crc, qos, retain, id, topic, properties, payload
    row: Row


@dataclass(slots=True)
class Held:
    """A message of the file in memory; `time` and `expires` by the spool's clock."""

    entry: Entry
    qos_class: str
    time: float
    size: int
    expires: float | None


def packed(text: str) -> bytes:
    """Any text, lone surrogates too, which SQLite's text does not take."""
    return text.encode("utf-8", "surrogatepass")


def unpacked(data: bytes) -> str:
    """Raises ValueError."""
    return data.decode("utf-8", "surrogatepass")


def encode(message: Message, qos_class: str, id: str) -> Put:
    """Raises ValueError."""
    if qos_class not in RANKS:
        raise ValueError(f"qos_class must be one of {', '.join(RANKS)}, not {qos_class!r}")
    if message.qos not in (1, 2):
        raise ValueError(f"messages of QoS 1 and 2 are kept, not of {message.qos!r}")
    topic, name, payload = packed(message.topic), packed(id), bytes(message.payload)
    properties = _properties(message)
    size = len(topic) + len(payload) + len(name) + len(properties or b"") + _ROW
    row = (_sum(topic, properties, payload), message.qos, int(message.retain), name, topic, properties, payload)
    return Put(message, qos_class, id, size, row)


def decode(row: Row) -> Held:
    """Raises ValueError."""
    seq, qos_class, time, size, released, expires, crc, qos, retain, name, topic, properties, payload = row
    try:
        if crc != _sum(topic, properties, payload):
            raise ValueError("the content is not what was written")
        rest = _read(properties) if properties is not None else {}
        message = Message(topic=unpacked(topic), payload=payload, qos=qos, retain=bool(retain), **rest)
        entry = Entry(seq, message, bool(released), unpacked(name))
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(str(error)) from error
    return Held(entry, qos_class, time, size, expires)


def _sum(topic: bytes, properties: bytes | None, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(properties or b"", zlib.crc32(topic)))


def _properties(message: Message) -> bytes | None:
    correlation = message.correlation.hex() if message.correlation is not None else None
    values = (message.expiry, message.content_type, message.response_topic, correlation, message.user)
    if values == (None, None, None, None, ()):
        return None
    return json.dumps(values, separators=(",", ":")).encode("ascii")


def _read(properties: bytes) -> dict[str, Any]:
    expiry, content_type, response_topic, correlation, user = json.loads(properties)
    return {
        "expiry": expiry,
        "content_type": content_type,
        "response_topic": response_topic,
        "correlation": bytes.fromhex(correlation) if correlation is not None else None,
        "user": tuple((name, value) for name, value in user),
    }
