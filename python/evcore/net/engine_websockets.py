"""The engine on websockets: its sans-I/O protocols under a plain asyncio protocol, so that sending needs no task."""

from __future__ import annotations

import asyncio
import logging
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import aiofastnet
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI, ProtocolError, WebSocketException
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from evcore.net.accept import MAX_REQUEST, TLS_BUFFERS, Guest, Reception, receive
from evcore.net.deflate import Offer, Terms
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

# The library logs each handshake; ours come from the layers that know the station.
_quiet: Final = logging.getLogger("evcore.websockets")
_quiet.setLevel(logging.CRITICAL)

_PIECE: Final = 16 * 1024


class _Peer(asyncio.Protocol, ABC):
    """One connection: moves bytes between the transport and the library's protocol object."""

    __slots__ = (
        "_brake",
        "_closing",
        "_options",
        "_parts",
        "_parts_count",
        "_protocol",
        "_received",
        "_sink",
        "_timer",
        "_transport",
    )

    def __init__(self, protocol: ServerProtocol | ClientProtocol, options: ListenOptions) -> None:
        self._protocol = protocol
        self._options = options
        self._transport: asyncio.Transport | None = None
        self._brake: Brake | None = None
        self._sink: Sink | None = None
        self._parts: bytearray | None = None
        self._parts_count = 0
        self._received = 0
        self._closing = False
        self._timer: asyncio.TimerHandle | None = None

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the interface without the base class.
        self._transport = cast(asyncio.Transport, transport)
        limit_waiting(self._transport, self._options)

    def pause_writing(self) -> None:
        if self._brake is None and self._transport is not None:
            self._brake = Brake(self._transport, self._options)

    def resume_writing(self) -> None:
        brake, self._brake = self._brake, None
        if brake is not None:
            brake.resume()

    def data_received(self, data: bytes) -> None:
        protocol = self._protocol
        if protocol.state is State.CONNECTING:
            self._received += len(data)
            if self._received > MAX_REQUEST:
                log.debug("%s is cut off: more than %d bytes and no upgrade", self.peer, MAX_REQUEST)
                self.abort()
                return
        # In pieces: the library makes objects of all the frames in one before any of them is looked at.
        for start in range(0, len(data), _PIECE):
            protocol.receive_data(data[start : start + _PIECE])
            self._pump()
        if protocol.parser_exc is not None:
            self._failed(protocol.parser_exc)

    def eof_received(self) -> bool:
        self._protocol.receive_eof()
        self._pump()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._brake is not None:
            self._brake.release()
        if self._protocol.state is not State.CLOSED:
            self._protocol.receive_eof()
        # Its traceback leads to the parser's frame, which holds the last message and the way back here: a cycle with up
        # to a megabyte in it, for each connection that ends without a closing handshake.
        self._protocol.parser_exc = None
        sink, self._sink = self._sink, None
        self._transport = self._parts = None
        if sink is not None:
            sink.closed()

    def _pump(self) -> None:
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._frame(event)
            else:
                self._handshake(event)
        self._flush()

    def _flush(self) -> None:
        transport, writes = self._transport, self._protocol.data_to_send()
        if transport is None or not writes:
            return
        # In one piece: a transport that has to wait keeps an object for each.
        data = writes[0] if len(writes) == 1 else b"".join(writes)
        if data:
            transport.write(data)
        if not writes[-1]:
            self._end(transport)
        if self._brake is not None:
            self._brake.check()
        if self._timer is None and self._protocol.close_expected():
            self._timer = asyncio.get_running_loop().call_later(CLOSE_SECONDS, transport.abort)

    def _end(self, transport: asyncio.Transport) -> None:
        if transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()

    def _failed(self, error: Exception) -> None:
        log.debug("%s is closed: %s", self.peer, error)
        if isinstance(error, ProtocolError) and "reserved bits" in str(error) and not self._protocol.extensions:
            log.info("%s sends compressed messages, which was not agreed on: is there a proxy between?", self.peer)

    @abstractmethod
    def _handshake(self, event: Any) -> None: ...

    def _frame(self, frame: Frame) -> None:
        sink = self._sink
        # Not the library's state: it has looked further already, and what came before a close frame counts.
        if sink is None or self._closing:
            return
        if frame.opcode is Opcode.TEXT and frame.fin:
            self._hand(sink, bytes(frame.data))
        elif frame.opcode is Opcode.PING or frame.opcode is Opcode.PONG:
            sink.heard()
        elif frame.opcode is Opcode.TEXT:
            self._parts, self._parts_count = bytearray(frame.data), 1
            sink.heard()
        elif frame.opcode is Opcode.CONT and self._parts is not None:
            self._parts += frame.data
            self._parts_count += 1
            if self._parts_count > self._options.max_parts:
                self.close(1008, f"message comes in more than {self._options.max_parts} frames")
            elif frame.fin:
                whole, self._parts = bytes(self._parts), None
                self._hand(sink, whole)
            else:
                sink.heard()
        elif frame.opcode is Opcode.BINARY:
            self.close(1003, "OCPP messages are text")

    def _hand(self, sink: Sink, message: bytes) -> None:
        try:
            sink.frame(message)
        except Exception:
            log.exception("%s: a bug: a message could not be taken", self.peer)
            self.close(1011)

    # -- Wire ---------------------------------------------------------------------------------------------------------

    @property
    def peer(self) -> str:
        return "unknown" if self._transport is None else address(self._transport)

    def send(self, frame: bytes) -> None:
        if self._protocol.state is State.OPEN:
            self._protocol.send_text(frame)
            self._flush()

    def ping(self) -> None:
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"")
            self._flush()

    def close(self, code: int, reason: str = "") -> None:
        if self._protocol.state is State.OPEN:
            self._closing, self._parts = True, None
            self._protocol.send_close(code, reason.encode()[:120].decode(errors="ignore"))
            self._flush()

    def abort(self) -> None:
        self._closing = True
        if self._transport is not None:
            self._transport.abort()


class _Server(ServerProtocol):
    """The library's server, answering with what was decided."""

    chosen: Subprotocol | None = None

    def select_subprotocol(self, subprotocols: Any) -> Subprotocol | None:
        return self.chosen


class _ServerPeer(_Peer):
    __slots__ = ("_decide", "_guest", "_server")

    def __init__(self, guest: Guest, decide: Decide, options: ListenOptions) -> None:
        self._server = _Server(max_size=options.max_frame, logger=_quiet)
        super().__init__(self._server, options)
        self._guest: Guest | None = guest
        self._decide: Decide | None = decide

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self._guest is not None
        self._guest.transport = self._transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._left()
        super().connection_lost(exc)

    def _left(self) -> None:
        guest, self._guest = self._guest, None
        if guest is not None:
            guest.leave()

    def _handshake(self, event: Any) -> None:
        assert isinstance(event, Request)
        decide, self._decide = self._decide, None
        assert decide is not None
        try:
            verdict = decide(self._request(event))
        except Exception:
            log.exception("an upgrade request could not be decided on")
            verdict = Refuse(500, "internal error")
        if not isinstance(verdict, Accept):
            refusal = self._server.reject(verdict.status, f"{verdict.reason}\n")
            refusal.headers.update(verdict.headers)
            self._server.send_response(refusal)
            return
        options = self._options
        self._server.chosen = None if verdict.subprotocol is None else Subprotocol(verdict.subprotocol)
        if verdict.deflate:
            self._server.available_extensions = [Terms(options.deflate_window, options.deflate_least)]
        response = self._server.accept(event)
        self._server.available_extensions = None
        self._server.send_response(response)
        if response.status_code == 101:
            self._flush()
            self._left()
            self._sink = verdict.sink
            verdict.sink.opened(self)

    def _request(self, request: Request) -> Upgrade:
        assert self._guest is not None
        return Upgrade(
            request.path,
            offered(request.headers.get_all("Sec-WebSocket-Protocol")),
            raw(request.headers.get_all("Authorization")),
            self._guest.address,
            self._options.tls is not None,
            self._guest.certificate(),
        )


class _ClientPeer(_Peer):
    __slots__ = ("_agreed", "_client", "_headers", "_opened", "_waiting")

    def __init__(
        self,
        client: ClientProtocol,
        sink: Sink,
        opened: asyncio.Future[None],
        headers: Mapping[str, str],
        options: ListenOptions,
        agreed: Callable[[str], None] | None,
    ) -> None:
        super().__init__(client, options)
        self._agreed = agreed
        self._client = client
        self._headers = headers
        self._waiting = sink
        self._opened = opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        request = self._client.connect()
        request.headers.update(self._headers)
        self._client.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        error = self._client.handshake_exc
        if error is not None and not self._opened.done():
            self._opened.set_exception(error)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if not self._opened.done():
            self._opened.set_exception(ConnectError("the server closed the connection during the upgrade"))

    def _handshake(self, event: Any) -> None:
        assert isinstance(event, Response)
        if self._client.handshake_exc is not None or self._opened.done():
            return
        if self._client.subprotocol is None:
            self._opened.set_exception(ConnectError("the server agreed to no subprotocol"))
            self.abort()
        else:
            self._opened.set_result(None)
            if self._agreed is not None:
                self._agreed(self._client.subprotocol)
            self._sink = self._waiting
            self._sink.opened(self)


class _Websockets:
    async def listen(self, host: str, port: int, decide: Decide, options: ListenOptions) -> Reception:
        return await receive(host, port, lambda guest: _ServerPeer(guest, decide, options), options)

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
        loop = asyncio.get_running_loop()
        options = ListenOptions(max_frame=max_frame)
        opened: asyncio.Future[None] = loop.create_future()
        try:
            uri = parse_uri(url)
            client = ClientProtocol(
                uri,
                extensions=[Offer(options.deflate_window, options.deflate_least)] if deflate else None,
                subprotocols=[Subprotocol(name) for name in subprotocols],
                max_size=max_frame,
                logger=_quiet,
            )

            def peer() -> _ClientPeer:
                return _ClientPeer(client, sink, opened, headers or {}, options, agreed)

            async with asyncio.timeout(HANDSHAKE_SECONDS):
                if uri.secure:
                    context = ssl.create_default_context() if tls is None else tls
                    transport, _ = await aiofastnet.create_connection(
                        loop, peer, uri.host, uri.port, ssl=context, ssl_shutdown_timeout=CLOSE_SECONDS, **TLS_BUFFERS
                    )
                else:
                    transport, _ = await loop.create_connection(peer, uri.host, uri.port)
                try:
                    await opened
                except BaseException:
                    transport.abort()
                    raise
        except InvalidStatus as error:
            status = error.response.status_code
            raise ConnectError(f"the server refused the upgrade with HTTP status {status}") from error
        except (OSError, WebSocketException, InvalidHandshake, InvalidURI, TimeoutError) as error:
            raise (error if isinstance(error, ConnectError) else ConnectError(said(error))) from error
        finally:
            opened.cancel()


ENGINE = _Websockets()
