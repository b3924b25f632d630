"""The client of all server benches: many stations in one loop over epoll, prebuilt frames, every answer checked.

In: where to connect to and what to send. Out: how many were answered and how fast. A station has one CALL outstanding;
its answer must be a CALLRESULT with the id of that CALL (or, from an echo, the CALL itself), else `WrongAnswer` is
raised. Pings are answered. Nothing here knows which server it talks to. Each station has an address of its own among
127.0.0.0/8, as stations have, so that neither ports run out nor a server takes them for one. It asks for Linux.
"""

from __future__ import annotations

import errno
import select
import socket
import ssl
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from benches.server.wire import CLOSE, PING, PONG, TEXT, Template, client_frame, split, template

_IP_BIND_ADDRESS_NO_PORT: Final = 24
_RETRY_SECONDS: Final = 1.0
_BYTES: Final = 65536
_IN: Final = select.EPOLLIN
_OUT: Final = select.EPOLLOUT


class WrongAnswer(AssertionError):
    """A server answered something else than what it was asked."""


class Dropped(ConnectionError):
    """A server ended a connection that was to stay."""


@dataclass(frozen=True)
class Target:
    """Where a station connects to. `secure`: over TLS with this context. `echo`: the server sends back what it gets."""

    port: int
    version: str = "ocpp1.6"
    secure: ssl.SSLContext | None = None
    echo: bool = False


class Station:
    """One connection of one station."""

    __slots__ = ("due", "expected", "number", "rest", "sock", "step", "target")

    def __init__(self, number: int, target: Target) -> None:
        self.number = number
        self.target = target
        self.sock: socket.socket | None = None
        self.step: Callable[[Station], None] | None = None
        """What to do when the socket is ready, while it is being opened."""
        self.expected: bytes | None = None
        """How the text that is waited for must begin; None: nothing is."""
        self.due = 0.0
        """When the CALL that is outstanding was due to be sent."""
        self.rest = b""
        """Bytes of a frame that is not whole yet."""


@dataclass
class Opening:
    """What it took to open stations: `seconds` until the last was booted; `failures`: tries in vain, by reason."""

    count: int = 0
    seconds: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)


@dataclass
class Pace:
    """An open-loop run. Latencies are microseconds from the moment a CALL was due, so that a server that stands still
    cannot hide the CALLs which had to wait for it.
    """

    seconds: float = 0.0
    sent: int = 0
    answered: int = 0
    dropped: int = 0
    """Connections the server ended."""
    latencies: array[int] = field(default_factory=lambda: array("I"))


class Fleet:
    """The stations of one process; `first` is the number of the first of them."""

    def __init__(self, first: int = 0) -> None:
        self._next = first
        self._epoll = select.epoll()
        self._by_fd: dict[int, Station] = {}
        self._calls = 0
        self._boots: dict[tuple[str, bool], Template] = {}
        self._opening = Opening()
        self._busy = 0
        self._again: deque[tuple[float, Station]] = deque()
        self.stations: list[Station] = []

    # -- opening ------------------------------------------------------------------------------------------------------

    def open(self, targets: Sequence[Target], window: int = 64, patience: float = 60.0) -> Opening:
        """Connect, upgrade and boot one station more for each of `targets`, at most `window` at a time.

        A try in vain is repeated a second later. Raises TimeoutError after `patience` seconds without a station more.
        """
        fresh = [Station(self._next + index, target) for index, target in enumerate(targets)]
        self._next += len(fresh)
        self.stations += fresh
        return self._open(fresh, window, patience)

    def reopen(self, window: int = 64, patience: float = 60.0) -> Opening:
        """Open every station again that has no connection."""
        return self._open([station for station in self.stations if station.sock is None], window, patience)

    def _open(self, wanted: Sequence[Station], window: int, patience: float) -> Opening:
        opening = self._opening = Opening()
        waiting = deque(wanted)
        begun = moved = monotonic()
        while opening.count < len(wanted):
            now = monotonic()
            while self._again and self._again[0][0] <= now:
                waiting.append(self._again.popleft()[1])
            while waiting and self._busy < window:
                self._connect(waiting.popleft())
            before = opening.count
            self.idle(0.0, patience=0.05)
            if opening.count > before:
                moved = monotonic()
            elif monotonic() - moved > patience:
                raise TimeoutError(f"{opening.count} of {len(wanted)} stations are open; failures: {opening.failures}")
        opening.seconds = monotonic() - begun
        return opening

    def _connect(self, station: Station) -> None:
        self._busy += 1
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = station.number
        sock.bind((f"127.{64 + (number >> 16 & 63)}.{number >> 8 & 255}.{number & 255}", 0))
        self._adopt(station, sock, _OUT, self._connected)
        status = sock.connect_ex(("127.0.0.1", station.target.port))
        if status not in {0, errno.EINPROGRESS}:
            self._failed(station, errno.errorcode.get(status, str(status)))

    def _adopt(self, station: Station, sock: socket.socket, mask: int, step: Callable[[Station], None]) -> None:
        station.sock, station.step, station.rest = sock, step, b""
        self._by_fd[sock.fileno()] = station
        self._epoll.register(sock.fileno(), mask)

    def _connected(self, station: Station) -> None:
        sock = _socket(station)
        status = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if status:
            self._failed(station, errno.errorcode.get(status, str(status)))
        elif station.target.secure is None:
            self._request(station)
        else:
            self._epoll.unregister(sock.fileno())
            sock = station.target.secure.wrap_socket(sock, server_hostname="localhost", do_handshake_on_connect=False)
            self._adopt(station, sock, _OUT, self._handshake)
            self._handshake(station)

    def _handshake(self, station: Station) -> None:
        sock = _socket(station)
        assert isinstance(sock, ssl.SSLSocket)
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            self._epoll.modify(sock.fileno(), _IN)
        except ssl.SSLWantWriteError:
            self._epoll.modify(sock.fileno(), _OUT)
        else:
            self._request(station)

    def _request(self, station: Station) -> None:
        sock = _socket(station)
        self._epoll.modify(sock.fileno(), _IN)
        station.step = self._upgraded
        sock.send(
            b"GET /CP%06d HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIGJlbmNoIGNvbWVzIQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: %s\r\n\r\n" % (station.number, station.target.version.encode())
        )

    def _upgraded(self, station: Station) -> None:
        station.rest += _read(station)
        head, end, station.rest = station.rest.partition(b"\r\n\r\n")
        if not end:
            station.rest = head
            return
        status = head.split(b" ", 2)[1]
        if status != b"101":
            self._failed(station, f"HTTP {status.decode()}")
            return
        target = station.target
        boot = self._boots.get((target.version, target.echo))
        if boot is None:
            boot = self._boots[target.version, target.echo] = template(
                target.version, "BootNotification", echo=target.echo
            )
        station.step = self._booted
        self._send(station, boot)

    def _booted(self, station: Station) -> None:
        if self._receive(station):
            station.step = None
            self._busy -= 1
            self._opening.count += 1

    def _failed(self, station: Station, reason: str) -> None:
        self._forget(station)
        self._busy -= 1
        self._opening.failures[reason] = self._opening.failures.get(reason, 0) + 1
        self._again.append((monotonic() + _RETRY_SECONDS, station))

    # -- one frame ----------------------------------------------------------------------------------------------------

    def _send(self, station: Station, call: Template) -> None:
        self._calls += 1
        station.expected = call.answer(self._calls)
        _socket(station).send(call.stamped(self._calls))

    def _receive(self, station: Station) -> bool:
        """Whether the answer has come. Raises Dropped, WrongAnswer, and what the socket raises."""
        return self._parse(station, _read(station))

    def _parse(self, station: Station, data: bytes) -> bool:
        data = station.rest + data
        answered = False
        while found := split(data):
            opcode, payload, data = found
            if opcode == TEXT:
                if station.expected is None or not payload.startswith(station.expected):
                    raise WrongAnswer(f"CP{station.number:06d}: {payload[:200]!r} instead of {station.expected!r}")
                station.expected, answered = None, True
            elif opcode == PING:
                _socket(station).send(client_frame(PONG, payload))
            elif opcode == CLOSE:
                raise Dropped(f"CP{station.number:06d}: closed with {payload[:2].hex()} {payload[2:]!r}")
        station.rest = data
        return answered

    def _forget(self, station: Station) -> None:
        sock, station.sock, station.step, station.expected = station.sock, None, None, None
        if sock is not None and sock.fileno() >= 0:
            del self._by_fd[sock.fileno()]
            sock.close()

    def drop(self) -> None:
        """Close every connection without a word."""
        for station in self.stations:
            self._forget(station)

    def close(self) -> None:
        self.drop()
        self._epoll.close()

    # -- loops --------------------------------------------------------------------------------------------------------

    def idle(self, seconds: float, patience: float = 0.2) -> None:
        """Look after connections for so long: open what is being opened, answer pings. At least one turn."""
        end = monotonic() + seconds
        while True:
            for fd, _ in self._epoll.poll(patience):
                station = self._by_fd.get(fd)
                if station is None:
                    continue
                if station.step is None:
                    self._receive(station)
                    continue
                try:
                    station.step(station)
                except (OSError, ssl.SSLError) as error:
                    self._failed(station, type(error).__name__)
            if monotonic() >= end:
                return

    def race(self, call: Template, seconds: float) -> tuple[int, float]:
        """Closed loop: every station sends its next CALL when it has the answer to its last. Returns how many CALLs
        were answered, and in how many seconds; none is left outstanding.
        """
        count, begun = 0, monotonic()
        end = begun + seconds
        for station in self.stations:
            self._send(station, call)
        outstanding, heard = len(self.stations), begun
        by_fd, poll, number = self._by_fd, self._epoll.poll, self._calls
        while outstanding:
            # Asks without waiting: a client that sleeps must be woken by the server's `send`, and a server would pay
            # the more for that the slower it is.
            ready = poll(0.0)
            now = monotonic()
            if not ready:
                if now > heard + 20.0:
                    raise TimeoutError(f"{outstanding} CALLs of {call.action} have had no answer for 20 s")
                continue
            heard = now
            going = now < end
            for fd, _ in ready:
                station = by_fd[fd]
                sock = station.sock
                data = sock.recv(_BYTES)  # type: ignore[union-attr]
                # The common case, one short text frame: two comparisons. Anything else takes the long way.
                if len(data) > 2 and data[0] == TEXT and data[1] == len(data) - 2 and not station.rest:
                    if not data.startswith(station.expected, 2):  # type: ignore[arg-type]
                        raise WrongAnswer(f"CP{station.number:06d}: {data[:200]!r} instead of {station.expected!r}")
                elif not data:
                    raise Dropped(f"CP{station.number:06d}: the server ended the connection")
                elif not self._parse(station, data):
                    continue
                count += 1
                if going:
                    number += 1
                    station.expected = call.answer(number)
                    sock.send(call.stamped(number))  # type: ignore[union-attr]
                else:
                    station.expected = None
                    outstanding -= 1
        self._calls = number
        return count, monotonic() - begun

    def pace(self, calls: Sequence[Template], rate: float, until: Callable[[float], bool]) -> Pace:
        """Open loop: `rate` CALLs a second, station after station, the kinds of `calls` in turn, until `until` says so
        (it gets the seconds gone, about ten times a second); then ten seconds for what is outstanding.
        """
        done = Pace()
        turn, kinds = 0, len(calls)
        begun = monotonic()
        look, ended = begun, None
        while True:
            now = monotonic()
            if ended is None and now >= look:
                look = now + 0.1
                if until(now - begun):
                    ended = now
                    done.seconds = now - begun
            if ended is not None and (done.sent == done.answered or now > ended + 10.0):
                return done
            due = begun + done.sent / rate
            for fd, _ in self._epoll.poll(0.05 if ended is not None else max(0.0, min(due - now, 0.1))):
                station = self._by_fd.get(fd)
                if station is not None and self._answered(station, done):
                    done.answered += 1
                    done.latencies.append(int((monotonic() - station.due) * 1e6))
            while ended is None and due <= monotonic():
                for _ in range(len(self.stations)):
                    station = self.stations[turn % len(self.stations)]
                    turn += 1
                    # One CALL a station: the slow one is passed over, its own CALL counts its latency.
                    if station.sock is not None and station.expected is None:
                        break
                else:
                    break
                station.due = due
                self._send(station, calls[done.sent % kinds])
                done.sent += 1
                due = begun + done.sent / rate

    def _answered(self, station: Station, done: Pace) -> bool:
        try:
            return self._receive(station)
        except OSError:
            done.dropped += 1
            self._forget(station)
            return False


def _socket(station: Station) -> socket.socket:
    assert station.sock is not None
    return station.sock


def _read(station: Station) -> bytes:
    try:
        data = _socket(station).recv(_BYTES)
    except (ssl.SSLWantReadError, BlockingIOError):
        return b""
    if not data:
        raise Dropped(f"CP{station.number:06d}: the server ended the connection")
    return data
