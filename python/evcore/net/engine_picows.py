"""The engine on picows: framing in C, a callback per frame, no task per connection."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping
from typing import Final

import picows

from evcore.net.engine import (
    CLOSE_SECONDS,
    HANDSHAKE_SECONDS,
    Accept,
    Brake,
    ConnectError,
    Decide,
    ListenOptions,
    Sink,
    Upgrade,
    address,
    offered,
)

__all__ = ["ENGINE"]

#: picows ends a connection rudely when a frame is beyond its limit, before reading it. Frames up to this multiple of
#: ours are read, so that a peer slightly over the limit gets its close code 1009 for certain; memory stays bounded.
_SLACK: Final = 2

_READ_BUFFER: Final = 2048

# picows logs a line or more per connection; ours come from the layers that know the station.
_log = logging.getLogger("evcore.picows")
_log.setLevel(logging.CRITICAL)


class _Wire:
    __slots__ = ("_transport", "closing")

    def __init__(self, transport: picows.WSTransport) -> None:
        self._transport = transport
        self.closing = False

    @property
    def peer(self) -> str:
        return address(self._transport.underlying_transport)

    def send(self, frame: bytes) -> None:
        if not self.closing and not self._transport.is_disconnected:
            self._transport.send(picows.WSMsgType.TEXT, frame)

    def ping(self) -> None:
        if not self.closing and not self._transport.is_disconnected:
            self._transport.send_ping()

    def close(self, code: int, reason: str = "") -> None:
        if self.closing or self._transport.is_disconnected:
            return
        self.closing = True
        self._transport.send_close(picows.WSCloseCode(code), reason.encode()[:120])
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._transport.disconnect, False)

    def abort(self) -> None:
        self.closing = True
        self._transport.disconnect(False)


class _Listener(picows.WSListener):
    def __init__(self, sink: Sink, options: ListenOptions) -> None:
        self._sink = sink
        self._options = options
        self._max_frame = options.max_frame
        self._parts: bytearray | None = None
        self._wire: _Wire | None = None
        self._brake: Brake | None = None

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self._wire = _Wire(transport)
        self._brake = Brake(transport.underlying_transport, self._options.stall_seconds)
        self._sink.opened(self._wire)

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        if self._brake is not None:
            self._brake.release()
        self._sink.closed()

    def pause_writing(self) -> None:
        if self._brake is not None:
            self._brake.pause()

    def resume_writing(self) -> None:
        if self._brake is not None:
            self._brake.resume()

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        wire = self._wire
        if wire is None:
            return
        kind = frame.msg_type
        if kind == picows.WSMsgType.CLOSE:
            if not wire.closing:
                wire.closing = True
                code = frame.get_close_code()
                transport.send_close(picows.WSCloseCode.OK if code == picows.WSCloseCode.NO_INFO else code)
            transport.disconnect()
        elif wire.closing:
            return
        elif kind == picows.WSMsgType.PONG or kind == picows.WSMsgType.PING:
            if kind == picows.WSMsgType.PING:
                transport.send_pong(frame.get_payload_as_bytes())
            self._sink.heard()
        elif frame.rsv1 or frame.rsv2 or frame.rsv3:
            wire.close(1002, "reserved bits are set, no extension was agreed on")
        elif kind == picows.WSMsgType.BINARY:
            wire.close(1003, "OCPP messages are text")
        elif kind == picows.WSMsgType.TEXT and self._parts is None:
            if frame.payload_size > self._max_frame:
                wire.close(1009, f"message is larger than {self._max_frame} bytes")
            elif frame.fin:
                # The payload is a view of picows' buffer and dies with this call: copied here.
                self._sink.frame(frame.get_payload_as_bytes())
            else:
                self._parts = bytearray(frame.get_payload_as_memoryview())
                self._sink.heard()
        elif kind == picows.WSMsgType.CONTINUATION and self._parts is not None:
            if len(self._parts) + frame.payload_size > self._max_frame:
                self._parts = None
                wire.close(1009, f"message is larger than {self._max_frame} bytes")
                return
            self._parts += frame.get_payload_as_memoryview()
            if frame.fin:
                whole, self._parts = bytes(self._parts), None
                self._sink.frame(whole)
            else:
                self._sink.heard()
        else:
            wire.close(1002, "frames of a message are out of order")


class _Socket:
    """A listening socket. The open connections are the owner's to close."""

    __slots__ = ("_server",)

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server

    @property
    def port(self) -> int:
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        self._server.close()


class _Picows:
    async def listen(self, host: str, port: int, decide: Decide, options: ListenOptions) -> _Socket:
        def upgrade(request: picows.WSUpgradeRequest) -> picows.WSUpgradeResponseWithListener:
            headers = request.headers
            # Proxies send "keep-alive, Upgrade"; picows knows the single token only.
            if any(token.strip().lower() == "upgrade" for token in headers.get("Connection", "").split(",")):
                headers["Connection"] = "Upgrade"
            authorization = headers.get("Authorization")
            verdict = decide(
                Upgrade(
                    request.path.decode("ascii", "surrogateescape"),
                    offered(headers.getall("Sec-WebSocket-Protocol", [])),
                    None if authorization is None else authorization.encode("ascii", "surrogateescape"),
                )
            )
            if isinstance(verdict, Accept):
                extra = None if verdict.subprotocol is None else {"Sec-WebSocket-Protocol": verdict.subprotocol}
                response = picows.WSUpgradeResponse.create_101_response(extra)
                return picows.WSUpgradeResponseWithListener(response, _Listener(verdict.sink, options))
            body = f"{verdict.reason}\n".encode()
            return picows.WSUpgradeResponseWithListener(
                picows.WSUpgradeResponse.create_error_response(verdict.status, body, verdict.headers), None
            )

        server = await picows.ws_create_server(
            upgrade,
            host,
            port,
            websocket_handshake_timeout=options.handshake_seconds,
            max_frame_size=_SLACK * options.max_frame,
            read_buffer_init_size=_READ_BUFFER,
            enable_auto_pong=False,
            logger_name=_log,
            backlog=options.backlog,
            reuse_port=options.reuse_port,
            ssl=None if options.tls is None else options.tls.context,
        )
        return _Socket(server)

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
    ) -> None:
        options = ListenOptions(max_frame=max_frame)

        def upgraded(request: picows.WSUpgradeRequest, response: picows.WSUpgradeResponse) -> _Listener:
            chosen = response.headers.get("Sec-WebSocket-Protocol")
            if chosen not in subprotocols:
                raise picows.WSHandshakeError(f"the server agreed to {chosen or 'no subprotocol'}")
            return _Listener(sink, options)

        try:
            await picows.ws_connect(
                upgraded,
                url,
                ssl_context=tls,
                extra_headers={**(headers or {}), "Sec-WebSocket-Protocol": ", ".join(subprotocols)},
                enable_auto_pong=False,
                websocket_handshake_timeout=HANDSHAKE_SECONDS,
                max_frame_size=_SLACK * max_frame,
                read_buffer_init_size=_READ_BUFFER,
                logger_name=_log,
                max_redirects=0,
            )
        except picows.WSInvalidStatusError as error:
            status = "?" if error.response is None else int(error.response.status)
            raise ConnectError(f"the server refused the upgrade with HTTP status {status}") from error
        except (OSError, picows.WSError, picows.WSInvalidURL, TimeoutError) as error:
            raise ConnectError(str(error) or type(error).__name__) from error


ENGINE = _Picows()
