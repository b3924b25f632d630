"""The engine on websockets: its sans-I/O protocols under a plain asyncio protocol, so that sending needs no task."""

from __future__ import annotations

import asyncio
import logging
import ssl
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final, cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

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

# The library logs each handshake; ours come from the layers that know the station.
_log: Final = logging.getLogger("evcore.websockets")
_log.setLevel(logging.CRITICAL)


class _Peer(asyncio.Protocol, ABC):
    """One connection: moves bytes between the transport and the library's protocol object."""

    def __init__(self, protocol: ServerProtocol | ClientProtocol, options: ListenOptions) -> None:
        self._protocol = protocol
        self._options = options
        self._transport: asyncio.Transport | None = None
        self._brake: Brake | None = None
        self._sink: Sink | None = None
        self._parts: bytearray | None = None
        self._timer: asyncio.TimerHandle | None = None

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the interface without the base class.
        self._transport = cast(asyncio.Transport, transport)
        self._brake = Brake(self._transport, self._options.stall_seconds)
        self._timer = asyncio.get_running_loop().call_later(self._options.handshake_seconds, self._transport.abort)

    def pause_writing(self) -> None:
        if self._brake is not None:
            self._brake.pause()

    def resume_writing(self) -> None:
        if self._brake is not None:
            self._brake.resume()

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        self._pump()

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
        sink, self._sink = self._sink, None
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
        transport = self._transport
        if transport is None:
            return
        for data in self._protocol.data_to_send():
            if data:
                transport.write(data)
            elif transport.can_write_eof():
                transport.write_eof()
        if self._protocol.close_expected() and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CLOSE_SECONDS, transport.abort)

    @abstractmethod
    def _handshake(self, event: Any) -> None: ...

    def _open(self, sink: Sink) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._sink = sink
        sink.opened(self)

    def _frame(self, frame: Frame) -> None:
        if self._sink is None or self._protocol.state is not State.OPEN:
            return
        if frame.opcode is Opcode.BINARY:
            self.close(1003, "OCPP messages are text")
        elif frame.opcode is Opcode.TEXT and frame.fin:
            self._sink.frame(bytes(frame.data))
        elif frame.opcode is Opcode.PING or frame.opcode is Opcode.PONG:
            self._sink.heard()
        elif frame.opcode is Opcode.TEXT:
            self._parts = bytearray(frame.data)
            self._sink.heard()
        elif frame.opcode is Opcode.CONT and self._parts is not None:
            self._parts += frame.data
            if frame.fin:
                whole, self._parts = bytes(self._parts), None
                self._sink.frame(whole)
            else:
                self._sink.heard()

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
            self._protocol.send_close(code, reason.encode()[:120].decode(errors="ignore"))
            self._flush()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class _ServerPeer(_Peer):
    def __init__(self, decide: Decide, options: ListenOptions) -> None:
        # A plain function: the library binds it to its own object.
        self._server = ServerProtocol(
            max_size=options.max_frame, logger=_log, select_subprotocol=lambda _, __: self._subprotocol
        )
        super().__init__(self._server, options)
        self._decide = decide
        self._subprotocol: Subprotocol | None = None

    def _handshake(self, event: Any) -> None:
        assert isinstance(event, Request)
        values = event.headers.get_all("Sec-WebSocket-Protocol")
        authorization = event.headers.get("Authorization")
        verdict = self._decide(
            Upgrade(
                event.path,
                offered(values),
                None if authorization is None else authorization.encode("ascii", "surrogateescape"),
            )
        )
        if not isinstance(verdict, Accept):
            refusal = self._server.reject(verdict.status, f"{verdict.reason}\n")
            refusal.headers.update(verdict.headers)
            self._server.send_response(refusal)
            return
        self._subprotocol = None if verdict.subprotocol is None else Subprotocol(verdict.subprotocol)
        response = self._server.accept(event)
        self._server.send_response(response)
        if response.status_code == 101:
            self._flush()
            self._open(verdict.sink)


class _ClientPeer(_Peer):
    def __init__(
        self,
        client: ClientProtocol,
        sink: Sink,
        opened: asyncio.Future[None],
        headers: Mapping[str, str],
        options: ListenOptions,
    ) -> None:
        super().__init__(client, options)
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
            self._open(self._waiting)


class _Socket:
    __slots__ = ("_server",)

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server

    @property
    def port(self) -> int:
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        self._server.close()


class _Websockets:
    async def listen(self, host: str, port: int, decide: Decide, options: ListenOptions) -> _Socket:
        loop = asyncio.get_running_loop()
        return _Socket(
            await loop.create_server(
                lambda: _ServerPeer(decide, options),
                host,
                port,
                backlog=options.backlog,
                reuse_port=options.reuse_port,
                ssl=None if options.tls is None else options.tls.context,
            )
        )

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
        loop = asyncio.get_running_loop()
        options = ListenOptions(max_frame=max_frame)
        opened: asyncio.Future[None] = loop.create_future()
        try:
            uri = parse_uri(url)
            client = ClientProtocol(
                uri, subprotocols=[Subprotocol(name) for name in subprotocols], max_size=max_frame, logger=_log
            )
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                await loop.create_connection(
                    lambda: _ClientPeer(client, sink, opened, headers or {}, options),
                    uri.host,
                    uri.port,
                    ssl=(tls or True) if uri.secure else None,
                )
                await opened
        except InvalidStatus as error:
            status = error.response.status_code
            raise ConnectError(f"the server refused the upgrade with HTTP status {status}") from error
        except (OSError, WebSocketException, InvalidHandshake, InvalidURI, TimeoutError) as error:
            raise (
                error if isinstance(error, ConnectError) else ConnectError(str(error) or "no answer in time")
            ) from error


ENGINE = _Websockets()
