"""MQTT over WebSocket (RFC 6455; MQTT 5.0 §6), spoken by the library websockets. Without I/O.

In: an address, MQTT bytes to send, whatever bytes come. Out: the opening handshake, frames, answers to pings and to a
close, MQTT bytes. Refused, with WebSocketError of one sentence: answers that are no WebSocket for MQTT, frames a broker
may not send.

The library keeps a frame until all of it is there, and a broker may put all that waits into one (NATS does, up to its
max_pending of 64 MB). So the content of data frames goes past the library, as it comes, however large the frame says it
is; the library judges all that is around it. Kept is the answer to the handshake, or a header and a control frame.
"""

from __future__ import annotations

import logging
from typing import Final

from websockets.client import ClientProtocol
from websockets.exceptions import (
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
    NegotiationError,
    ProtocolError,
)
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from evcore.mqtt.broker.address import Address

__all__ = ["WebSocket", "WebSocketError"]

#: Bytes of the answer to the handshake that are read, the page of a refusal among them.
ANSWER_MOST: Final = 65_536
#: Bytes in a control frame (RFC 6455 §5.5).
CONTROL_MOST: Final = 125

_MQTT: Final = Subprotocol("mqtt")

# The library logs each frame at DEBUG; what an operator is to know is in our errors.
_quiet: Final = logging.getLogger("evcore.mqtt.broker.websocket")
_quiet.setLevel(logging.CRITICAL + 1)


class WebSocketError(OSError):
    """The other end does not speak MQTT over WebSocket; the text says how."""


class WebSocket:
    """One connection. `replies`: what is to be sent, for the caller to take; the opening handshake to begin with.
    Raises WebSocketError for an address that cannot be asked for.
    """

    def __init__(self, address: Address) -> None:
        try:
            uri = parse_uri(str(address))
        except (InvalidURI, UnicodeError):
            raise WebSocketError("no WebSocket can be asked for at this URL") from None
        self._protocol = ClientProtocol(uri, subprotocols=[_MQTT], max_size=CONTROL_MOST, logger=_quiet)
        #: Bytes of the answer so far.
        self._answer = 0
        self._raw = bytearray()
        #: Bytes to come of the data frame being read.
        self._left = 0
        self._protocol.send_request(self._protocol.connect())
        self.replies = bytearray(self._written())

    @property
    def opened(self) -> bool:
        """The handshake is over."""
        return self._protocol.state in (State.OPEN, State.CLOSING)

    @property
    def closed(self) -> bool:
        """The other end said so: nothing of it is read any more."""
        return self._protocol.close_rcvd is not None

    def framed(self, payload: bytes) -> bytes:
        """A whole masked frame; nothing when it is closed."""
        if self._protocol.state is not State.OPEN:
            return b""
        self._protocol.send_binary(payload)
        return self._written()

    def feed(self, data: bytes) -> bytes:
        """The MQTT bytes in it, across frames. Raises WebSocketError, and is not to be called again then."""
        if self._protocol.state is State.CONNECTING:
            data = self._opening(data)
        raw = self._raw
        raw += data
        found = bytearray()
        while self._protocol.state is State.OPEN and (self._left or self._header()):
            if self._left:
                part = raw[: self._left]
                if not part:
                    break
                del raw[: len(part)]
                self._left -= len(part)
                found += part
        if self.closed:
            raw.clear()
        return bytes(found)

    def ended(self) -> None:
        """Nothing more comes. Raises WebSocketError if that completes a refusal."""
        if not self.opened and self._protocol.handshake_exc is None:
            self._protocol.receive_eof()
            if isinstance(self._protocol.handshake_exc, InvalidStatus):
                raise _refusal(self._protocol.handshake_exc)

    def _opening(self, data: bytes) -> bytes:
        """What came after the answer."""
        protocol = self._protocol
        at = 0
        # By lines: an answer ends with one, and frames right behind it are not for the library.
        while at < len(data) and protocol.state is State.CONNECTING:
            end = data.find(b"\n", at) + 1 or len(data)
            self._answer += end - at
            if self._answer > ANSWER_MOST:
                self.ended()
                raise WebSocketError("the answer to the WebSocket handshake does not end")
            protocol.receive_data(data[at:end])
            if protocol.handshake_exc is not None:
                raise _refusal(protocol.handshake_exc)
            at = end
        if protocol.state is State.OPEN:
            protocol.events_received()
            if protocol.subprotocol != _MQTT:
                raise WebSocketError("the WebSocket there does not say that it speaks MQTT")
        return data[at:]

    def _header(self) -> bool:
        """Reads the next header, or all of a control frame; False when that is not all there."""
        raw = self._raw
        if len(raw) < 2:
            return False
        size = raw[1] & 0x7F
        if raw[0] & 0x08:
            if size > CONTROL_MOST:
                raise WebSocketError("the broker sent a WebSocket control frame that is too large")
            end = 2 + size
            shown = bytes(raw[:end])
            left = 0
        else:
            # The library sees an empty frame.
            end = 2 + {126: 2, 127: 8}.get(size, 0)
            shown = bytes((raw[0], raw[1] & 0x80))
            left = size if end == 2 else int.from_bytes(raw[2:end], "big")
        if len(raw) < end:
            return False
        del raw[:end]
        self._left = left
        protocol = self._protocol
        protocol.receive_data(shown)
        if protocol.parser_exc is not None:
            why = str(protocol.parser_exc) if isinstance(protocol.parser_exc, ProtocolError) else "it cannot be read"
            raise WebSocketError(f"the broker sent a WebSocket frame against the rules: {why}")
        for event in protocol.events_received():
            if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                raise WebSocketError("the broker sent a WebSocket frame that is not binary")
        self.replies += self._written()
        return True

    def _written(self) -> bytes:
        return b"".join(self._protocol.data_to_send())


def _refusal(error: Exception) -> WebSocketError:
    """Why the handshake failed."""
    if isinstance(error, InvalidStatus):
        return WebSocketError(f"no WebSocket there: HTTP status {error.response.status_code}")
    if isinstance(error, NegotiationError):
        return WebSocketError("the WebSocket there speaks another protocol than MQTT, or an extension that we do not")
    if isinstance(error, InvalidHandshake) and not isinstance(error, InvalidMessage):
        return WebSocketError("the answer to the WebSocket handshake is not one")
    return WebSocketError("the other end does not speak HTTP")
