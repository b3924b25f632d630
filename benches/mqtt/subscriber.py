"""A subscriber that costs little: one socket, no client library, PUBLISH packets counted as they come.

Comes in, on standard input, one order a line: ``begin`` (count anew), ``wait`` (until `count` messages have come since
then, or for `seconds`), ``end``. Goes out, on standard output, one line of JSON each: how many came, when each did and
how large they were. Times are nanoseconds of the monotonic clock, which all processes share. It subscribes to the
topics it is told at QoS 0 with MQTT 3.1.1. `Subscriber` is the other end.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import subprocess
import sys
from time import monotonic_ns
from types import TracebackType
from typing import Any, Final, Self

from benches.server.servers import ROOT

_BYTES: Final = 1 << 18


class Subscriber:
    """The process, and what it says."""

    def __init__(self, port: int, topics: str = "chargers/#") -> None:
        command = [sys.executable, "-m", "benches.mqtt.subscriber", str(port), topics]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def begin(self) -> None:
        self._order(order="begin")

    def wait(self, count: int, seconds: float = 60.0) -> dict[str, Any]:
        """`count` (which may be more, or less when the time is over), `times`, `sizes` (payload bytes), `first` (the
        first payload).
        """
        return self._order(order="wait", count=count, seconds=seconds)

    def _order(self, **order: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ConnectionError(f"the subscriber ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


class _Packets:
    """Cuts what comes into PUBLISH packets and notes them."""

    def __init__(self) -> None:
        self.rest = b""
        self.begin()

    def begin(self) -> None:
        self.times: list[int] = []
        self.sizes: list[int] = []
        self.first = b""

    def take(self, data: bytes) -> None:
        now = monotonic_ns()
        data = self.rest + data if self.rest else data
        at, end = 0, len(data)
        while at + 2 <= end:
            size, start, shift = 0, at + 1, 0
            while start < end:
                byte = data[start]
                size |= (byte & 127) << shift
                start, shift = start + 1, shift + 7
                if byte < 128:
                    break
            else:
                break
            if start + size > end:
                break
            if data[at] & 0xF0 == 0x30:
                topic = data[start] << 8 | data[start + 1]
                self.times.append(now)
                self.sizes.append(size - topic - 2)
                if not self.first:
                    self.first = data[start + topic + 2 : start + size]
            at = start + size
        self.rest = data[at:]


def _connect(port: int, topics: str) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", port))
    name = b"bench-subscriber"
    line.sendall(bytes([0x10, 12 + len(name)]) + b"\0\4MQTT\4\2\0\0" + struct.pack("!H", len(name)) + name)
    assert line.recv(4) == b"\x20\x02\0\0", "no CONNACK"
    wanted = topics.encode()
    line.sendall(bytes([0x82, 5 + len(wanted)]) + b"\0\1" + struct.pack("!H", len(wanted)) + wanted + b"\0")
    assert line.recv(5) == b"\x90\x03\0\1\0", "no SUBACK"
    return line


def main(port: int, topics: str) -> None:
    line = _connect(port, topics)
    packets = _Packets()
    poll = select.poll()
    poll.register(line, select.POLLIN)
    poll.register(sys.stdin, select.POLLIN)
    waiting: dict[str, Any] | None = None
    deadline = 0
    print("{}", flush=True)
    while True:
        ready = {fd for fd, _ in poll.poll(20)}
        if line.fileno() in ready:
            data = line.recv(_BYTES)
            if not data:
                sys.exit("the broker ended the connection")
            packets.take(data)
        if waiting is not None and (len(packets.times) >= waiting["count"] or monotonic_ns() > deadline):
            found = {"count": len(packets.times), "times": packets.times, "sizes": packets.sizes}
            print(json.dumps(found | {"first": packets.first.decode(errors="replace")}), flush=True)
            waiting = None
        if sys.stdin.fileno() in ready:
            order = json.loads(sys.stdin.readline() or '{"order": "end"}')
            match order["order"]:
                case "begin":
                    packets.begin()
                    print("{}", flush=True)
                case "wait":
                    waiting, deadline = order, monotonic_ns() + int(order["seconds"] * 1e9)
                case _:
                    return


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
