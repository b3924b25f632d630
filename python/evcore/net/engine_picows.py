"""The engine on picows: framing in C, a callback per frame, no task and no timer per connection.

A connection is picows' protocol, its transport, and one `_Peer` that is everything else: listener, wire and logger. TCP
runs on the event loop's own transports: those of aiofastnet are no faster here and hold 5 kB more each.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, cast

import picows
from picows.picows import WSProtocol  # type: ignore[attr-defined]

from evcore.net import deflate as compression
from evcore.net.accept import TLS_BUFFERS, Guest, Reception, receive
from evcore.net.engine import (
    CLOSE_SECONDS,
    HANDSHAKE_SECONDS,
    Accept,
    Brake,
    ConnectError,
    Decide,
    ListenOptions,
    Refuse,
    Sink,
    Upgrade,
    address,
    limit_waiting,
    offered,
    raw,
    said,
)

__all__ = ["ENGINE"]

log = logging.getLogger("evcore.engine")

# picows makes an enum member of each frame's kind: members are compared by identity, and sent as numbers.
_TEXT: Final = picows.WSMsgType.TEXT
_CONTINUATION: Final = picows.WSMsgType.CONTINUATION
_PING: Final = picows.WSMsgType.PING
_PONG: Final = picows.WSMsgType.PONG
_CLOSE: Final = picows.WSMsgType.CLOSE
_SEND_TEXT: Final[Any] = 1

_NO_HEADERS: Final[Any] = None

#: The smallest buffer picows takes.
_READ_BUFFER: Final = 2048

#: picows ends a connection rudely when a frame is beyond its limit, before reading it. Frames slightly beyond ours are
#: read, so that their sender gets its close code 1009 for certain.
_SLACK: Final = 64 * 1024

#: Pongs are small, and a transport keeps an object for each that waits: a peer that leaves so many bytes of its own
#: unread while it pings is not read until it has read them.
_PONGS: Final = 4096


class _Parts:
    """A message whose frames are still coming."""

    __slots__ = ("count", "data", "deflated")

    def __init__(self, deflated: bool) -> None:
        self.data = bytearray()
        self.count = 0
        self.deflated = deflated


class _Peer(picows.WSListener):
    """One connection, from its accept: what picows calls, and the `Wire` of its sink."""

    __slots__ = (
        "_brake",
        "_closing",
        "_deflate",
        "_guest",
        "_options",
        "_parts",
        "_ready",
        "_sink",
        "_slow",
        "_timer",
        "_transport",
    )

    def __init__(self, options: ListenOptions, sink: Sink | None = None) -> None:
        self._options = options
        self._sink = sink
        # The sink while the next text frame may be handed on as it is: open, and no message in parts under way.
        self._ready: Sink | None = None
        # Whether a message takes more than a write: it may be compressed, it may have to wait, the connection is over.
        self._slow = True
        self._closing = False
        self._transport: picows.WSTransport | None = None
        self._guest: Guest | None = None
        self._deflate: compression.Deflate | None = None
        self._parts: _Parts | None = None
        self._brake: Brake | None = None
        self._timer: asyncio.TimerHandle | None = None

    # -- picows.WSListener --------------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self._transport = transport
        # picows keeps request and response for good; nobody reads them again.
        transport.request.headers = transport.response.headers = _NO_HEADERS
        limit_waiting(transport.underlying_transport, self._options)
        if self._guest is not None:
            self._guest.leave()
            self._guest = None
        self._slow = self._deflate is not None
        sink = self._ready = self._sink
        assert sink is not None
        sink.opened(self)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        sink, self._sink = self._sink, None
        self._ready = self._transport = self._parts = None
        self._closing = self._slow = True
        if self._timer is not None:
            self._timer.cancel()
        if self._brake is not None:
            self._brake.release()
        if sink is not None:
            sink.closed()

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        sink = self._ready
        if (
            sink is not None
            and frame.msg_type is _TEXT
            and frame.fin
            and not (frame.rsv1 or frame.rsv2 or frame.rsv3)
            and frame.payload_size <= self._options.max_frame
        ):
            # The payload is a view of picows' buffer and dies with this call: copied here.
            sink.frame(frame.get_payload_as_bytes())
        else:
            self._other(transport, frame, frame.msg_type)

    def pause_writing(self) -> None:
        if self._brake is None and self._transport is not None:
            self._slow = True
            self._brake = Brake(self._transport.underlying_transport, self._options)

    def resume_writing(self) -> None:
        brake, self._brake = self._brake, None
        if brake is not None:
            brake.resume()
            self._slow = self._closing or self._deflate is not None

    def _other(self, transport: picows.WSTransport, frame: picows.WSFrame, kind: picows.WSMsgType) -> None:
        """Frames that are no whole plain message."""
        sink = self._sink
        if sink is None:
            return
        if kind is _CLOSE:
            self._answer_close(transport, frame)
        elif self._closing:
            return
        elif kind is _PING or kind is _PONG:
            if frame.rsv1 or frame.rsv2 or frame.rsv3:
                self.close(1002, "reserved bits are set")
                return
            if kind is _PING:
                self._pong(transport, frame)
            sink.heard()
        elif frame.rsv2 or frame.rsv3 or (frame.rsv1 and (self._deflate is None or kind is _CONTINUATION)):
            if frame.rsv1 and self._deflate is None:
                log.info("%s sends compressed messages, which was not agreed on: is there a proxy between?", self.peer)
            self.close(1002, "reserved bits are set, no extension was agreed on")
        elif kind is _TEXT and self._parts is None:
            self._parts = _Parts(bool(frame.rsv1))
            self._part(sink, frame)
        elif kind is _CONTINUATION and self._parts is not None:
            self._part(sink, frame)
        elif kind is _TEXT or kind is _CONTINUATION:
            self.close(1002, "frames of a message are out of order")
        else:
            self.close(1003, "OCPP messages are text")

    def _pong(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        under = transport.underlying_transport
        if self._brake is None and under.get_write_buffer_size() >= _PONGS:
            under.set_write_buffer_limits(high=_PONGS)
        transport.send_pong(frame.get_payload_as_bytes())

    def _part(self, sink: Sink, frame: picows.WSFrame) -> None:
        parts, limit = self._parts, self._options.max_frame
        assert parts is not None
        parts.count += 1
        self._ready = None
        if len(parts.data) + frame.payload_size > limit:
            self.close(1009, f"message is larger than {limit} bytes")
        elif parts.count > self._options.max_parts:
            self.close(1008, f"message comes in more than {self._options.max_parts} frames")
        else:
            parts.data += frame.get_payload_as_memoryview()
            if not frame.fin:
                sink.heard()
                return
            self._parts, self._ready = None, sink
            self._whole(sink, bytes(parts.data), parts.deflated)

    def _whole(self, sink: Sink, message: bytes, deflated: bool) -> None:
        if deflated and self._deflate is not None:
            try:
                message = self._deflate.inflate(message, self._options.max_frame)
            except compression.TooLong as error:
                self.close(1009, str(error))
                return
            except compression.BadMessage as error:
                self.close(1002, str(error))
                return
        sink.frame(message)

    def _answer_close(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if not self._closing:
            code = frame.get_close_code()
            transport.send_close(picows.WSCloseCode.OK if code == picows.WSCloseCode.NO_INFO else code)
            self._shut()
        transport.disconnect()

    def _shut(self) -> None:
        """No message goes either way any more; the peer has a moment for its half of the closing handshake."""
        self._closing = self._slow = True
        self._ready = self._parts = None
        if self._transport is not None:
            transport = self._transport
            self._timer = asyncio.get_running_loop().call_later(CLOSE_SECONDS, transport.disconnect, False)

    # -- Wire ---------------------------------------------------------------------------------------------------------

    @property
    def peer(self) -> str:
        return "unknown" if self._transport is None else address(self._transport.underlying_transport)

    def send(self, frame: bytes) -> None:
        if self._slow:
            self._send_slowly(frame)
        else:
            self._transport.send(_SEND_TEXT, frame)  # type: ignore[union-attr]

    def _send_slowly(self, frame: bytes) -> None:
        if self._closing or self._transport is None:
            return
        terms = self._deflate
        if terms is not None and len(frame) >= terms.least:
            self._transport.send(_SEND_TEXT, terms.deflate(frame), True, True)
        else:
            self._transport.send(_SEND_TEXT, frame)
        if self._brake is not None:
            self._brake.check()

    def ping(self) -> None:
        if self._transport is not None and not self._closing:
            self._transport.send_ping()

    def close(self, code: int, reason: str = "") -> None:
        if self._transport is not None and not self._closing:
            self._transport.send_close(picows.WSCloseCode(code), reason.encode()[:120])
            self._shut()

    def abort(self) -> None:
        self._closing = self._slow = True
        self._ready = None
        if self._transport is not None:
            self._transport.disconnect(False)

    # -- the logger of picows -----------------------------------------------------------------------------------------
    #
    # picows makes a logger for each connection, 1.5 kB, unless it is given something else; and it tells of frames it
    # does not parse to nobody but its logger.

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name is logging's
        return False

    def debug(self, message: str, *args: object) -> None:
        """Who connects and who goes is for those to log who know the station."""

    info = log = debug

    def error(self, message: str, *args: object) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, picows.WSProtocolError):
            log.error("%s: a bug, or a broken peer: %s", self.peer, message % args, exc_info=error)
        elif self._transport is not None:
            code, reason = int(error.code), str(error.args[1])
            if code == 1009:
                reason = f"message is larger than {self._options.max_frame} bytes"
            log.debug("%s is closed with %d: %s", self.peer, code, reason)
            transport = self._transport.underlying_transport
            self.close(code, reason)
            # picows disconnects in a moment; what comes until then would fill its buffer, however large the frame.
            transport.pause_reading()

    warning = exception = error

    # -- the upgrade --------------------------------------------------------------------------------------------------

    def entered(self, guest: Guest, transport: asyncio.Transport) -> None:
        guest.transport = transport
        self._guest = guest

    def over(self) -> None:
        """The transport is gone, whether or not there was an upgrade."""
        guest, self._guest = self._guest, None
        if guest is not None:
            guest.leave()

    def confirm(self, extensions: list[str], asked: bool) -> None:
        """A client's part of the agreement on compression. Raises Disagreement."""
        if extensions and not asked:
            raise compression.Disagreement("the server agreed to an extension that was not offered")
        options = self._options
        self._deflate = compression.confirm(extensions, options.deflate_window, options.deflate_least)

    def upgrade(self, decide: Decide, request: picows.WSUpgradeRequest) -> picows.WSUpgradeResponseWithListener:
        headers = request.headers
        # Proxies send "keep-alive, Upgrade"; picows knows the single token only.
        if any(token.strip().lower() == "upgrade" for token in headers.get("Connection", "").split(",")):
            headers["Connection"] = "Upgrade"
        try:
            verdict = decide(self._request(request))
            if isinstance(verdict, Accept):
                return self._accepted(verdict, headers.getall("Sec-WebSocket-Extensions", []))
        except compression.Disagreement as error:
            verdict = Refuse(400, str(error))
        except Exception:
            log.exception("an upgrade request could not be decided on")
            verdict = Refuse(500, "internal error")
        response = picows.WSUpgradeResponse.create_error_response(
            verdict.status, f"{verdict.reason}\n".encode(), verdict.headers
        )
        return picows.WSUpgradeResponseWithListener(response, None)

    def _request(self, request: picows.WSUpgradeRequest) -> Upgrade:
        assert self._guest is not None
        headers = request.headers
        return Upgrade(
            request.path.decode("ascii", "surrogateescape"),
            offered(headers.getall("Sec-WebSocket-Protocol", [])),
            raw(headers.getall("Authorization", [])),
            self._guest.address,
            self._options.tls is not None,
            self._guest.certificate(),
        )

    def _accepted(self, verdict: Accept, extensions: list[str]) -> picows.WSUpgradeResponseWithListener:
        options, extra = self._options, []
        if verdict.subprotocol is not None:
            extra.append(("Sec-WebSocket-Protocol", verdict.subprotocol))
        if verdict.deflate and extensions:
            agreed = compression.agree(extensions, options.deflate_window, options.deflate_least)
            if agreed is not None:
                extra.append(("Sec-WebSocket-Extensions", agreed[0]))
                self._deflate = agreed[1]
        self._sink = verdict.sink
        return picows.WSUpgradeResponseWithListener(picows.WSUpgradeResponse.create_101_response(extra), self)


class _Protocol(WSProtocol):  # type: ignore[misc]
    """picows' side of an accepted connection, with the handshake bounded by its guest instead of a timer."""

    __slots__ = ("_guest", "_peer")

    def __init__(self, peer: _Peer, guest: Guest, decide: Decide, options: ListenOptions) -> None:
        super().__init__(
            host_port=None,
            ws_path=None,
            is_client_side=False,
            ws_listener_factory=partial(peer.upgrade, decide),
            logger=peer,
            disconnect_on_exception=True,
            websocket_handshake_timeout=None,
            enable_auto_ping=False,
            auto_ping_idle_timeout=None,
            auto_ping_reply_timeout=None,
            auto_ping_strategy=picows.WSAutoPingStrategy.PING_WHEN_IDLE,
            enable_auto_pong=False,
            max_frame_size=options.max_frame + _SLACK,
            extra_headers=None,
            read_buffer_init_size=_READ_BUFFER,
        )
        self._peer = peer
        self._guest: Guest | None = guest

    def connection_made(self, transport: asyncio.Transport) -> None:
        guest, self._guest = self._guest, None
        assert guest is not None
        self._peer.entered(guest, transport)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._peer.over()


class _Picows:
    async def listen(self, host: str, port: int, decide: Decide, options: ListenOptions) -> Reception:
        return await receive(host, port, lambda guest: _Protocol(_Peer(options), guest, decide, options), options)

    async def connect(
        self,
        url: str,
        subprotocols: tuple[str, ...],
        sink: Sink,
        *,
        max_frame: int,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        deflate: bool = False,
        agreed: Callable[[str], None] | None = None,
    ) -> None:
        options = ListenOptions(max_frame=max_frame)
        peer = _Peer(options, sink)
        asked = {**(headers or {}), "Sec-WebSocket-Protocol": ", ".join(subprotocols)}
        if deflate:
            asked["Sec-WebSocket-Extensions"] = compression.offer(options.deflate_window)

        def upgraded(request: picows.WSUpgradeRequest, response: picows.WSUpgradeResponse) -> _Peer:
            chosen = response.headers.get("Sec-WebSocket-Protocol")
            if chosen not in subprotocols:
                raise ConnectError(f"the server agreed to {chosen or 'no subprotocol'}")
            peer.confirm(response.headers.getall("Sec-WebSocket-Extensions", []), deflate)
            if agreed is not None:
                agreed(chosen)
            return peer

        secure = url.startswith("wss:")
        try:
            await picows.ws_connect(
                upgraded,
                url,
                ssl_context=tls,
                extra_headers=asked,
                websocket_handshake_timeout=HANDSHAKE_SECONDS,
                max_frame_size=max_frame + _SLACK,
                read_buffer_init_size=_READ_BUFFER,
                enable_auto_pong=False,
                logger_name=cast(logging.Logger, peer),
                max_redirects=0,
                use_aiofastnet=secure,
                **(TLS_BUFFERS if secure else {}),
            )
        except picows.WSInvalidStatusError as error:
            status = "?" if error.response is None else int(error.response.status)
            raise ConnectError(f"the server refused the upgrade with HTTP status {status}") from error
        except (OSError, picows.WSError, picows.WSInvalidURL, compression.Disagreement, TimeoutError) as error:
            raise (error if isinstance(error, ConnectError) else ConnectError(said(error))) from error


ENGINE = _Picows()
