"""MQTT over WebSocket (RFC 6455; MQTT 5.0 §6). Without I/O.

In: an address, MQTT bytes to send, whatever bytes come. Out: the opening handshake, frames, MQTT bytes. Refused, with
WebSocketError of one sentence: answers that are no WebSocket, frames a broker may not send. Nothing is kept but the
rest of a header and a control frame: MQTT is handed on as it comes, however large its frame says it is.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import struct
from typing import Final

from evcore.mqtt.address import Address

__all__ = ["Frames", "WebSocketError", "answered", "framed", "request"]

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: Bytes of the answer to the handshake.
HEADER_MOST: Final = 16_384

_CONTINUATION: Final = 0
_BINARY: Final = 2
_CLOSE: Final = 8
_PING: Final = 9
_PONG: Final = 10


class WebSocketError(OSError):
    """The other end does not speak MQTT over WebSocket; the text says how."""


def request(address: Address) -> tuple[bytes, str]:
    """The opening handshake, and the key it was made with."""
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    host = f"[{address.host}]" if ":" in address.host else address.host
    lines = (
        f"GET {address.path} HTTP/1.1",
        f"Host: {host}:{address.port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: mqtt",
        "\r\n",
    )
    return "\r\n".join(lines).encode(), key


def answered(data: bytes | bytearray, key: str) -> bytes | None:
    """What came after the answer to the handshake; None while it is not all there. Raises WebSocketError."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) > HEADER_MOST:
            raise WebSocketError("the answer to the WebSocket handshake does not end")
        return None
    status, *lines = bytes(data[:end]).decode("latin-1").split("\r\n")
    words = status.split(None, 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.1"):
        raise WebSocketError("the other end does not speak HTTP")
    if words[1] != "101":
        raise WebSocketError(f"no WebSocket there: HTTP status {words[1][:3]}")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    digest = hashlib.sha1(key.encode() + _GUID).digest()  # noqa: S324 - RFC 6455 names it
    if (
        fields.get("upgrade", "").lower() != "websocket"
        or fields.get("sec-websocket-accept") != base64.b64encode(digest).decode()
    ):
        raise WebSocketError("the answer to the WebSocket handshake is not one")
    if fields.get("sec-websocket-protocol", "mqtt") != "mqtt":
        raise WebSocketError("the WebSocket there does not speak MQTT")
    return bytes(data[end + 4 :])


def framed(payload: bytes, opcode: int = _BINARY) -> bytes:
    """A whole masked frame."""
    size = len(payload)
    if size < 126:
        header = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65_536:
        header = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        header = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    mask = secrets.token_bytes(4)
    stream = (mask * (size // 4 + 1))[:size]
    mixed = int.from_bytes(payload, "little") ^ int.from_bytes(stream, "little")
    return header + mask + mixed.to_bytes(size, "little")


class Frames:
    """What comes, unframed. `replies`: frames to be sent, for the caller to take. `closed`: by the other end."""

    def __init__(self) -> None:
        self.replies = bytearray()
        self.closed = False
        self._raw = bytearray()
        #: Bytes to come of the frame being read, and what it is.
        self._left = 0
        self._opcode = _BINARY
        self._control = bytearray()

    def feed(self, data: bytes) -> bytes:
        """The MQTT bytes in it, across frames. Raises WebSocketError."""
        raw = self._raw
        raw += data
        found = bytearray()
        while not self.closed and (self._left or self._header()):
            part = raw[: self._left]
            if self._left and not part:
                break
            del raw[: len(part)]
            self._left -= len(part)
            if self._opcode in (_BINARY, _CONTINUATION):
                found += part
            else:
                self._control += part
                if not self._left:
                    self._controlled()
        return bytes(found)

    def _header(self) -> bool:
        """Reads the next frame's header; False when it is not all there."""
        raw = self._raw
        if len(raw) < 2:
            return False
        size = raw[1] & 0x7F
        width = {126: 2, 127: 8}.get(size, 0)
        if len(raw) < 2 + width:
            return False
        if width:
            size = int.from_bytes(raw[2 : 2 + width], "big")
        opcode = raw[0] & 0x0F
        if raw[0] & 0x70 or raw[1] & 0x80:
            raise WebSocketError("the broker sent a WebSocket frame that is masked or extended")
        if opcode not in (_CONTINUATION, _BINARY, _CLOSE, _PING, _PONG):
            raise WebSocketError("the broker sent a WebSocket frame that is not binary")
        if opcode >= _CLOSE and (size > 125 or not raw[0] & 0x80):
            raise WebSocketError("the broker sent a WebSocket control frame that is too large")
        del raw[: 2 + width]
        self._left = size
        self._opcode = opcode
        return True

    def _controlled(self) -> None:
        payload = bytes(self._control)
        self._control.clear()
        if self._opcode == _CLOSE:
            self.closed = True
        elif self._opcode == _PING:
            self.replies += framed(payload, _PONG)
