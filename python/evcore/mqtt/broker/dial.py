"""From an address to a connection that is ready for CONNECT: name, TCP, TLS, WebSocket. Nothing of it blocks the loop,
and all of it ends when it is cancelled.

In: an address, TLS settings. Out: a `Line`, or LinkError with one sentence for the log that says what is
wrong and shows no secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, cast

from evcore.mqtt.broker.address import Address
from evcore.mqtt.broker.options import TlsOptions
from evcore.mqtt.broker.websocket import WebSocket, WebSocketError
from evcore.net.tls import KeyPair, TlsError, client_context

__all__ = ["Dialer", "Line", "LinkError", "tls_sentence"]

#: Bytes waiting for the socket above which pings are not answered: who asks without reading gets no memory of ours.
_PONGS: Final = 65_536

#: OpenSSL's verification errors worth words of their own (X509_V_ERR_*).
_CERTIFICATE: Final = {
    9: "is not valid yet",
    10: "has expired",
    18: "is self-signed and not trusted",
    19: "was signed by an authority that is not trusted",
    20: "was signed by an authority that is not trusted",
    21: "was signed by an authority that is not trusted",
    23: "is revoked",
    62: "is for another host",
    64: "is for another host",
}

#: What the other end says to a certificate of ours, by a part of OpenSSL's reason.
_ALERTS: Final = {
    "CERTIFICATE_REQUIRED": "the broker wants a client certificate",
    "ALERT_UNKNOWN_CA": "the broker does not trust the authority that signed our certificate",
    "ALERT_BAD_CERTIFICATE": "the broker does not take our certificate",
    "ALERT_CERTIFICATE_EXPIRED": "the broker says that our certificate has expired",
    "ALERT_CERTIFICATE_REVOKED": "the broker says that our certificate is revoked",
    "ALERT_CERTIFICATE_UNKNOWN": "the broker does not take our certificate",
    "ALERT_HANDSHAKE_FAILURE": "the broker ended the TLS handshake (it may want a client certificate)",
    "ALERT_PROTOCOL_VERSION": "the broker speaks no version of TLS that we do",
    "UNSUPPORTED_PROTOCOL": "the broker speaks no version of TLS that we do",
    "WRONG_VERSION_NUMBER": "the other end does not speak TLS",
    "UNEXPECTED_EOF_WHILE_READING": "the broker ended the connection during TLS",
    "RECORD_LAYER_FAILURE": "the other end does not speak TLS",
}


#: Seconds for finding out whether somebody listens; and in which who is at its end throws out again: only a broker on
#: this machine can be met in between, others have been gone for half a round trip.
_KNOCK: Final = 1.0
_THROWN: Final = 0.01
_KNOCKS: Final = 6


class LinkError(Exception):
    """No connection, or none any more; the text is a sentence. `gone`: nobody listens there."""

    def __init__(self, sentence: str, *, gone: bool = False) -> None:
        super().__init__(sentence)
        self.gone = gone


def tls_sentence(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        what = _CERTIFICATE.get(error.verify_code)
        return f"the broker's certificate {what}" if what else f"the broker's certificate: {error.verify_message}"
    reason = error.reason or ""
    for part, sentence in _ALERTS.items():
        if part in reason:
            return sentence
    return f"TLS failed: {reason.lower().replace('_', ' ') or 'the connection ended'}"


def _context(options: TlsOptions) -> ssl.SSLContext:
    pair = None
    if options.certificate is not None:
        pair = KeyPair(options.certificate, options.key, options.key_password)
    context = client_context(ca=options.ca, pair=pair)
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Line(asyncio.Protocol):
    """A connection of the loop's own kind, in the clothes of a socket for paho: what it sends goes out at once or waits
    in the transport. Sockets tied to a loop by their number would do, but uvloop never tells of one that was reset.
    """

    def __init__(self, web: WebSocket | None = None) -> None:
        loop = asyncio.get_running_loop()
        #: Done when the connection is over, with the reason if there is one.
        self.lost: asyncio.Future[Exception | None] = loop.create_future()
        #: Done when the WebSocket is open.
        self.opened: asyncio.Future[None] = loop.create_future()
        self._web = web
        self._taker: Callable[[bytes], None] | None = None
        self._early = bytearray()
        self._transport: asyncio.Transport | None = None
        self._error: Exception | None = None

    def listen(self, taker: Callable[[bytes], None]) -> None:
        """`taker` gets what comes."""
        self._taker = taker
        if self._early:
            taker(bytes(self._early))
            self._early.clear()

    @property
    def waiting(self) -> int:
        """Bytes the socket has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._reply()

    def data_received(self, data: bytes) -> None:
        web = self._web
        if web is not None:
            try:
                data = web.feed(data)
            except WebSocketError as error:
                self._error = error
                self.abort()
                return
            self._reply()
            if web.opened and not self.opened.done():
                self.opened.set_result(None)
            if web.closed:
                self.close()
        if not data:
            return
        if self._taker is None:
            self._early += data
        else:
            self._taker(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._web is not None and self._error is None:
            try:
                self._web.ended()
            except WebSocketError as error:
                self._error = error
        self.lost.set_result(self._error or exc)

    def _reply(self) -> None:
        """Sends what the WebSocket has to say."""
        if self._web is not None and self._web.replies:
            if self.waiting < _PONGS:
                self._put(bytes(self._web.replies))
            self._web.replies.clear()

    def _put(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    # What paho takes for a socket

    def send(self, data: bytes | bytearray) -> int:
        self._put(bytes(data) if self._web is None else self._web.framed(bytes(data)))
        return len(data)

    def recv(self, _size: int) -> bytes:
        raise BlockingIOError

    def close(self) -> None:
        """What waits goes out first."""
        if self._transport is not None and not self.lost.done():
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None and not self.lost.done():
            self._transport.abort()

    def fileno(self) -> int:
        return -1

    def setblocking(self, _flag: bool) -> None:
        """It never blocks."""


class Dialer:
    """Connects. One for all attempts of a session: a name that is still being looked up is not looked up twice."""

    def __init__(self, tls: TlsOptions) -> None:
        self._tls = tls
        self._lookups: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    async def dial(self, address: Address, timeout: float) -> Line:
        """Raises LinkError, also when it takes longer than `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                return await self._dial(address, timeout)
        except TimeoutError:
            raise LinkError(f"no connection within {timeout:g} s") from None

    async def gone(self, address: Address) -> bool:
        """Whether nobody listens there. A broker in the middle of being killed lets in and throws out: it is asked
        again. False when a network does not say within a second.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_KNOCK):
                for turn in range(_KNOCKS):
                    try:
                        line = await self._connect(address, _KNOCK, None, None)
                    except LinkError as error:
                        return error.gone
                    await asyncio.wait({line.lost}, timeout=_THROWN)
                    thrown_out = line.lost.done()
                    line.abort()
                    if not thrown_out:
                        return False
                    await asyncio.sleep(0.001 * 2**turn)
        return False

    async def _dial(self, address: Address, timeout: float) -> Line:
        context = None
        if address.tls:
            try:
                # The files are read anew for each connection: certificates are renewed while the program runs.
                context = await asyncio.to_thread(_context, self._tls)
            except TlsError as error:
                raise LinkError(str(error)) from None
        if not address.websocket:
            return await self._connect(address, timeout, context, None)
        try:
            web = WebSocket(address)
        except WebSocketError as error:
            raise LinkError(str(error)) from None
        line = await self._connect(address, timeout, context, web)
        try:
            first: set[asyncio.Future[Any]] = {line.opened, line.lost}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if not line.opened.done():
                reason = line.lost.result()
                if isinstance(reason, WebSocketError):
                    raise LinkError(str(reason))
                if isinstance(reason, ssl.SSLError):
                    raise LinkError(tls_sentence(reason))
                raise LinkError("the connection ended during the WebSocket handshake")
        except BaseException:
            line.abort()
            raise
        return line

    async def _connect(
        self, address: Address, timeout: float, context: ssl.SSLContext | None, web: WebSocket | None
    ) -> Line:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        found = await self._resolve(address.host, address.port)
        problem: Exception = TimeoutError()
        for index, host in enumerate(found):
            # One address that swallows packets must leave time for the next one.
            left = max(0.01, (end - loop.time()) / (len(found) - index))
            try:
                async with asyncio.timeout(left):
                    _, line = await loop.create_connection(
                        lambda: Line(web),
                        host,
                        address.port,
                        ssl=context,
                        server_hostname=address.host if context is not None else None,
                        ssl_handshake_timeout=timeout if context is not None else None,
                    )
                return line
            except ssl.SSLError as error:
                raise LinkError(tls_sentence(error)) from None
            except (ConnectionResetError, ConnectionAbortedError, BrokenPipeError) as error:
                if context is not None:
                    raise LinkError("the broker ended the connection during the TLS handshake") from None
                problem = error
            except OSError as error:
                problem = error
        if isinstance(problem, ConnectionRefusedError):
            raise LinkError("nobody listens there", gone=True)
        if isinstance(problem, TimeoutError):
            raise LinkError(f"no connection within {timeout:g} s")
        raise LinkError(f"no connection: {getattr(problem, 'strerror', None) or type(problem).__name__}")

    async def _resolve(self, host: str, port: int) -> list[str]:
        """IP addresses."""
        with contextlib.suppress(ValueError):
            return [str(ipaddress.ip_address(host))]
        lookup = self._lookups.get((host, port))
        if lookup is None:
            lookup = asyncio.ensure_future(self._look_up(host, port))
            self._lookups[host, port] = lookup
            # A look-up that nobody waits for any more may fail unseen.
            lookup.add_done_callback(lambda done: self._looked_up(host, port, done))
        try:
            return await asyncio.shield(lookup)
        except (OSError, UnicodeError):
            raise LinkError("the name cannot be resolved") from None

    def _looked_up(self, host: str, port: int, lookup: asyncio.Future[list[str]]) -> None:
        del self._lookups[host, port]
        if not lookup.cancelled():
            lookup.exception()

    async def _look_up(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [str(where[0]) for *_, where in found]
