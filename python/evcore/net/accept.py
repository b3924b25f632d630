"""From a listening socket to a protocol: accepting, the door, TLS, and the time a handshake may take.

Comes in: TCP connections. Goes out: each as a transport under the protocol that `welcome` makes for its `Guest`. Cut
off without a word: whom the door turns away, who fails at TLS, who has not finished its upgrade request in time. The
engines share this file, so that these bounds hold before either library has seen a byte.

A guest is the state of a handshake, dropped when the connection is open: an idle connection pays nothing for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, Final, TypeAlias, cast

from aiofastnet.api_utils import _create_connection_transport

from evcore.net.engine import CLOSE_SECONDS, ListenOptions, said

__all__ = ["MAX_REQUEST", "TLS_BUFFERS", "Guest", "Reception", "Welcome", "receive"]

log = logging.getLogger("evcore.accept")

#: Bytes a TLS connection holds for records, each way. asyncio's own TLS holds 256 KiB, all of it resident, and takes
#: twice the CPU; aiofastnet's public functions allow 16 KiB at the least. Records may be larger than the buffers, and
#: OCPP's messages seldom are.
_TLS_BUFFER: Final = 4096

#: The same for a client, which goes through the public functions.
TLS_BUFFERS: Final[dict[str, Any]] = {"ssl_incoming_bio_size": 16 * 1024, "ssl_outgoing_bio_size": 16 * 1024}

#: Bytes of an upgrade request.
MAX_REQUEST: Final = 16 * 1024

#: Connections accepted before the loop gets to other work.
_BATCH: Final = 32

#: Seconds without accepting when that fails, mostly because the process has no file descriptor left.
_BREATH: Final = 1.0

# With it a close sends a reset, which leaves no TIME_WAIT entry behind.
_RESET: Final = struct.pack("ii", 1, 0)

Welcome: TypeAlias = "Callable[[Guest], asyncio.Protocol | asyncio.BufferedProtocol]"


class Guest:
    """A connection from its accept to the end of its handshake. `leave` is to be called when that is over, well or not.

    `address`: the peer's IP address. `transport`: to be set by the protocol when it gets one.
    """

    __slots__ = ("_reception", "address", "deadline", "task", "transport")

    def __init__(self, reception: Reception, address: str, deadline: float) -> None:
        self._reception: Reception | None = reception
        self.address = address
        self.deadline = deadline
        self.task: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport | None = None

    def leave(self) -> None:
        reception, self._reception = self._reception, None
        if reception is not None:
            reception.left(self)

    def certificate(self) -> dict[str, Any] | None:
        """The peer's verified certificate, once: the transport would hold it for as long as the connection lasts."""
        held = None if self.transport is None else self.transport.get_extra_info("peercert")
        if not held:
            return None
        taken = dict(held)
        held.clear()
        return taken

    def cut(self) -> None:
        if self.transport is not None:
            self.transport.abort()
        elif self.task is not None:
            self.task.cancel()


class _Loop:
    """The event loop as a TLS transport sees it.

    aiofastnet reports a peer that leaves during its handshake as an error of the program, because it passes a class
    where it means an exception; anybody may do that to a server.
    """

    __slots__ = ("_loop",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if context.get("exception") is not ConnectionResetError:
            self._loop.call_exception_handler(context)


class Reception:
    """Listening sockets and those who came in by them. Open connections outlive it."""

    def __init__(self, sockets: list[socket.socket], welcome: Welcome, options: ListenOptions) -> None:
        self._loop = asyncio.get_running_loop()
        self._tls_loop = cast(asyncio.AbstractEventLoop, _Loop(self._loop))
        self._sockets = sockets
        self.port = int(sockets[0].getsockname()[1])
        self._welcome = welcome
        self._options = options
        # All stay for the same time, so the order of coming is the order of leaving.
        self._guests: dict[Guest, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._accepting = [self._loop.create_task(self._accept(listening)) for listening in sockets]

    def close(self) -> None:
        for task in self._accepting:
            task.cancel()
        for listening in self._sockets:
            with contextlib.suppress(NotImplementedError):
                self._loop.remove_reader(listening)
            listening.close()
        for guest in list(self._guests):
            guest.cut()

    async def _accept(self, listening: socket.socket) -> None:
        count = 0
        while True:
            try:
                accepted, peer = await self._loop.sock_accept(listening)
            except ConnectionError:
                continue
            except OSError as error:
                if listening.fileno() < 0:
                    return
                log.error("no connection can be accepted for the moment: %s", error.strerror)
                await asyncio.sleep(_BREATH)
                continue
            try:
                self._enter(accepted, str(peer[0]))
            except Exception:
                log.exception("a connection could not be let in")
                accepted.close()
            count += 1
            if count % _BATCH == 0:
                await asyncio.sleep(0)

    def _enter(self, accepted: socket.socket, address: str) -> None:
        options = self._options
        if options.door is not None and not options.door.enter(address):
            log.debug("%s is turned away at the door", address)
            with contextlib.suppress(OSError):
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            accepted.close()
            return
        guest = Guest(self, address, self._loop.time() + options.handshake_seconds)
        self._guests[guest] = None
        if self._timer is None:
            self._timer = self._loop.call_at(guest.deadline, self._sweep)
        guest.task = self._loop.create_task(self._admit(accepted, guest))

    async def _admit(self, accepted: socket.socket, guest: Guest) -> None:
        tls = self._options.tls
        try:
            if tls is None:
                await self._loop.connect_accepted_socket(lambda: self._welcome(guest), accepted)
            else:
                await _create_connection_transport(
                    self._tls_loop,
                    accepted,
                    lambda: self._welcome(guest),
                    tls.context,
                    "",
                    server_side=True,
                    ssl_handshake_timeout=self._options.handshake_seconds,
                    ssl_shutdown_timeout=CLOSE_SECONDS,
                    ssl_incoming_bio_size=_TLS_BUFFER,
                    ssl_outgoing_bio_size=_TLS_BUFFER,
                )
        except OSError as error:
            log.debug("%s: no connection, the TLS handshake failed: %s", guest.address, said(error))
            accepted.close()
            guest.leave()
        except BaseException:
            accepted.close()
            guest.leave()
            raise
        finally:
            guest.task = None

    def left(self, guest: Guest) -> None:
        del self._guests[guest]
        if self._options.door is not None:
            self._options.door.leave(guest.address)

    def _sweep(self) -> None:
        self._timer = None
        now = self._loop.time()
        for guest in list(self._guests):
            if guest.deadline > now:
                self._timer = self._loop.call_at(guest.deadline, self._sweep)
                return
            log.debug("%s is cut off: no upgrade in %g s", guest.address, self._options.handshake_seconds)
            guest.cut()


async def receive(host: str, port: int, welcome: Welcome, options: ListenOptions) -> Reception:
    """Listens on every address of `host` (all addresses if it is empty). Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, number, _, address in dict.fromkeys(found):
            # The addresses of a name share one port, also where port 0 asked for any.
            chosen = sockets[0].getsockname()[1] if sockets else port
            sockets.append(_listen(family, kind, number, (address[0], chosen, *address[2:]), options))
    except BaseException:
        for listening in sockets:
            listening.close()
        raise
    return Reception(sockets, welcome, options)


def _listen(family: int, kind: int, number: int, address: tuple[object, ...], options: ListenOptions) -> socket.socket:
    listening = socket.socket(family, kind, number)
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if options.reuse_port:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Accepted sockets inherit it.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options.receive_buffer)
        listening.setblocking(False)
        listening.bind(address)
        listening.listen(options.backlog)
    except OSError:
        listening.close()
        raise
    return listening
