"""From an address to a socket that is ready for CONNECT: name, TCP, TLS, WebSocket. Nothing of it blocks the loop,
and all of it ends when it is cancelled.

In: an address, TLS settings. Out: a non-blocking socket, or LinkError with one sentence for the log that says what is
wrong and shows no secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from typing import Any, Final, TypeAlias

from evcore.mqtt.address import Address
from evcore.mqtt.session_options import TlsOptions
from evcore.mqtt.websocket import WebSocket, WebSocketError, accepted, request
from evcore.net.tls import KeyPair, TlsError, client_context

__all__ = ["Dialer", "Line", "LinkError", "tls_sentence"]

Line: TypeAlias = socket.socket | ssl.SSLSocket | WebSocket
_Family: TypeAlias = tuple[int, Any]

_CHUNK: Final = 4096

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


class LinkError(Exception):
    """No connection, or none any more; the text is a sentence."""


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


async def _ready(line: socket.socket | ssl.SSLSocket, *, write: bool) -> None:
    """Waits until the socket can be read, or written."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    number = line.fileno()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    (loop.add_writer if write else loop.add_reader)(number, wake)
    try:
        await ready
    finally:
        (loop.remove_writer if write else loop.remove_reader)(number)


async def _read(line: socket.socket | ssl.SSLSocket) -> bytes:
    while True:
        try:
            return line.recv(_CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError):
            await _ready(line, write=False)
        except ssl.SSLWantWriteError:
            await _ready(line, write=True)


async def _write(line: socket.socket | ssl.SSLSocket, data: bytes) -> None:
    while data:
        try:
            data = data[line.send(data) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            await _ready(line, write=True)
        except ssl.SSLWantReadError:
            await _ready(line, write=False)


class Dialer:
    """Connects. One for all attempts of a session: a name that is still being looked up is not looked up twice."""

    def __init__(self, tls: TlsOptions) -> None:
        self._tls = tls
        self._lookups: dict[tuple[str, int], asyncio.Future[list[_Family]]] = {}

    async def dial(self, address: Address, timeout: float) -> Line:
        """Raises LinkError, also when it takes longer than `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                return await self._dial(address, timeout)
        except TimeoutError:
            raise LinkError(f"no connection within {timeout:g} s") from None

    async def _dial(self, address: Address, timeout: float) -> Line:
        line: socket.socket | ssl.SSLSocket = await self._connect(address, timeout)
        try:
            if address.tls:
                line = await self._secure(line, address.host)
            if not address.websocket:
                return line
            opening, key = request(address)
            try:
                await _write(line, opening)
                return WebSocket(line, await accepted(lambda: _read(line), key))
            except ssl.SSLError as error:
                raise LinkError(tls_sentence(error)) from None
            except WebSocketError as error:
                raise LinkError(str(error)) from None
            except OSError:
                raise LinkError("the connection ended during the WebSocket handshake") from None
        except BaseException:
            line.close()
            raise

    async def _connect(self, address: Address, timeout: float) -> socket.socket:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        found = await self._resolve(address.host, address.port)
        problem: OSError = TimeoutError()
        for index, (family, where) in enumerate(found):
            line = socket.socket(family, socket.SOCK_STREAM)
            try:
                line.setblocking(False)
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                # One address that swallows packets must leave time for the next one.
                async with asyncio.timeout((end - loop.time()) / (len(found) - index)):
                    await loop.sock_connect(line, where)
                return line
            except OSError as error:
                line.close()
                problem = error
            except BaseException:
                line.close()
                raise
        if isinstance(problem, ConnectionRefusedError):
            raise LinkError("nobody listens there")
        if isinstance(problem, TimeoutError):
            raise LinkError(f"no connection within {timeout:g} s")
        raise LinkError(f"no connection: {problem.strerror or type(problem).__name__}")

    async def _resolve(self, host: str, port: int) -> list[_Family]:
        with contextlib.suppress(ValueError):
            number = ipaddress.ip_address(host)
            return [(socket.AF_INET if number.version == 4 else socket.AF_INET6, (host, port))]
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

    def _looked_up(self, host: str, port: int, lookup: asyncio.Future[list[_Family]]) -> None:
        del self._lookups[host, port]
        if not lookup.cancelled():
            lookup.exception()

    async def _look_up(self, host: str, port: int) -> list[_Family]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [(family, where) for family, _, _, _, where in found]

    async def _secure(self, line: socket.socket, host: str) -> ssl.SSLSocket:
        try:
            # The files are read anew for each connection: certificates are renewed while the program runs.
            context = await asyncio.to_thread(_context, self._tls)
        except TlsError as error:
            raise LinkError(str(error)) from None
        try:
            secure = context.wrap_socket(line, server_hostname=host, do_handshake_on_connect=False)
        except (ValueError, OSError) as error:
            raise LinkError(f"TLS failed: {error}") from None
        try:
            while True:
                try:
                    secure.do_handshake()
                    return secure
                except ssl.SSLWantReadError:
                    await _ready(secure, write=False)
                except ssl.SSLWantWriteError:
                    await _ready(secure, write=True)
        except ssl.SSLError as error:
            secure.close()
            raise LinkError(tls_sentence(error)) from None
        except OSError:
            secure.close()
            raise LinkError("the broker ended the connection during the TLS handshake") from None
        except BaseException:
            secure.close()
            raise
