"""MQTT over WebSocket (RFC 6455; MQTT 5.0 §6): a socket that frames what is sent and unframes what comes.

In: a connected socket, with or without TLS, and an address. Out: the same as a socket of MQTT bytes. Refused, with
WebSocketError of one sentence: answers that are no WebSocket, frames a broker may not send. Nothing is kept but the
rest of a header: a frame is handed on as it comes, however large it says it is.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Final

from evcore.mqtt.address import Address

__all__ = ["WebSocket", "WebSocketError", "accepted", "request"]

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: Bytes of the answer to the handshake.
HEADER_MOST: Final = 16_384
#: Bytes of control frames waiting to be sent.
_CONTROL_MOST: Final = 4096

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


async def accepted(read: Callable[[], Awaitable[bytes]], key: str) -> bytes:
    """Reads the answer; returns what came after it. Raises WebSocketError."""
    data = bytearray()
    while (end := data.find(b"\r\n\r\n")) < 0:
        if len(data) > HEADER_MOST:
            raise WebSocketError("the answer to the WebSocket handshake does not end")
        chunk = await read()
        if not chunk:
            raise WebSocketError("the connection ended during the WebSocket handshake")
        data += chunk
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


def _masked(opcode: int, payload: bytes) -> bytes:
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


class WebSocket:
    """What a client library takes for its socket: `recv` and `send` as a non-blocking socket has them."""

    def __init__(self, line: socket.socket | ssl.SSLSocket, rest: bytes) -> None:
        self._line = line
        self._raw = bytearray(rest)
        #: Bytes to come of the frame being read; whether they are MQTT, or a control frame's.
        self._left = 0
        self._opcode = _BINARY
        self._control = bytearray()
        #: A frame that is partly sent, and the bytes of MQTT in it; control frames to be sent after it.
        self._out = b""
        self._claimed = 0
        self._answers = bytearray()
        self._closed = False

    def recv(self, size: int) -> bytes:
        """MQTT bytes; empty at the end. Raises BlockingIOError, ssl.SSLWantReadError, WebSocketError."""
        while True:
            if data := self._unframe(size):
                return data
            if self._closed:
                return b""
            chunk = self._line.recv(size)
            if not chunk:
                return b""
            self._raw += chunk

    def _unframe(self, size: int) -> bytes:
        """MQTT bytes from what has come, across frames; empty when there are none yet."""
        found = bytearray()
        raw = self._raw
        while not self._closed and len(found) < size:
            if not self._left and not self._header():
                break
            take = min(self._left, len(raw), size - len(found))
            if self._left and not take:
                break
            part = raw[:take]
            del raw[:take]
            self._left -= take
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
            self._closed = True
        elif self._opcode == _PING and len(self._answers) < _CONTROL_MOST:
            self._answers += _masked(_PONG, payload)
            if not self._out:
                self._push()

    def _push(self) -> None:
        """Sends answers to pings as far as the socket takes them; the rest goes with the next packet."""
        try:
            sent = self._line.send(self._answers)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return
        # A part of a frame is sent: nothing may come between.
        self._out = bytes(self._answers[sent:])
        self._claimed = 0
        self._answers.clear()

    def send(self, data: bytes | bytearray) -> int:
        """All of `data`, or BlockingIOError: then the same is to be given again."""
        if not self._claimed:
            self._out += bytes(self._answers) + _masked(_BINARY, bytes(data))
            self._answers.clear()
            self._claimed = len(data)
        while self._out:
            self._out = self._out[self._line.send(self._out) :]
        claimed, self._claimed = self._claimed, 0
        return claimed

    def pending(self) -> int:
        """Bytes that were taken from the socket already, so that nothing will tell of them."""
        return self._line.pending() if isinstance(self._line, ssl.SSLSocket) else 0

    def fileno(self) -> int:
        return self._line.fileno()

    def setblocking(self, flag: bool) -> None:
        self._line.setblocking(flag)

    def close(self) -> None:
        self._line.close()
