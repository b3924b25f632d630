"""`/metrics` for Prometheus and `/healthz` for load balancers, on a port of their own.

Comes in: HTTP requests, and snapshots of `evcore.net.metrics`. Goes out: the text format. The HTTP side runs in threads
beside the event loop, which only makes the snapshots; requests beyond a few at the same time are cut, slow ones end.
Everything but GET of these two paths is refused.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from evcore.net.metrics import BOUNDS, Snapshot

__all__ = ["COUNTERS", "GAUGES", "Listening", "families", "listen"]

#: Seconds for a snapshot, and for a request to come in.
SNAPSHOT_SECONDS: Final = 10.0
REQUEST_SECONDS: Final = 5.0
#: Requests at the same time.
REQUESTS: Final = 8

#: Part of a snapshot: metric, its labels, what it says.
COUNTERS: Final[dict[str, tuple[str, tuple[str, ...], str]]] = {
    "handshakes": ("evcore_handshakes", ("status",), "Upgrade requests by HTTP status; 101 are the accepted ones."),
    "cut": ("evcore_connections_cut", ("reason",), "Connections ended from here for what the peer did, by reason."),
    "replaced": ("evcore_connections_replaced", (), "Connections that gave way to a newer one in the same worker."),
    "moved": ("evcore_connections_moved", (), "Connections that gave way to a newer one in another worker."),
    "violations": ("evcore_violations", ("version", "action"), "Broken schema rules in messages of stations."),
    "errors": ("evcore_callerrors_sent", ("version", "code"), "CALLERRORs sent, by error code."),
    "faults": ("evcore_unreadable_frames", ("version", "reason"), "Frames that are no OCPP-J, by reason."),
    "answers": ("evcore_stray_answers", ("version", "reason"), "Answers to no CALL that waits for one."),
    "calls": ("evcore_own_calls", ("version", "outcome"), "Ends of CALLs to stations."),
    "gated": ("evcore_gated_calls", ("version",), "CALLs and SENDs held back by the boot gate."),
    "repeats": ("evcore_repeated_calls", ("version",), "CALLs that came again and were answered as before."),
    "restarts": ("evcore_worker_restarts", (), "Workers that died and were started again."),
    "cpu": ("evcore_worker_cpu_seconds", ("worker",), "CPU time of each worker."),
    "feed_sent": ("evcore_feed_sent", (), "Events sent to the bridge, repetitions included."),
    "feed_kept": ("evcore_feed_kept", (), "Events the bridge has acknowledged."),
    "feed_not_kept": ("evcore_feed_not_kept", (), "Events that had to be kept and were not."),
    "feed_dropped": ("evcore_feed_dropped", (), "Telemetry dropped because the bridge was away or behind."),
    "feed_events": ("evcore_feed_events", ("outcome",), "Events that the bridge had from its feeds."),
    "mqtt_published": ("evcore_mqtt_published", ("class",), "Messages handed over, by QoS class."),
    "mqtt_unpublished": ("evcore_mqtt_unpublished", ("class",), "Messages that could not be handed over."),
    "mqtt_expired": ("evcore_mqtt_spool_dropped", ("class", "reason"), "Messages dropped from the spool."),
    "mqtt_not_kept": ("evcore_mqtt_spool_refused", ("class", "reason"), "Messages the spool did not take."),
    "mqtt_sent": ("evcore_mqtt_sent", ("qos",), "Messages sent to the broker, repetitions included."),
    "mqtt_acked": ("evcore_mqtt_acked", ("qos",), "Messages the broker has acknowledged."),
    "mqtt_repeated": ("evcore_mqtt_repeated", (), "Messages sent once more."),
    "mqtt_unsent": ("evcore_mqtt_unsent", ("reason",), "Messages the connection dropped."),
    "mqtt_altered": ("evcore_mqtt_altered", (), "Messages sent with a lower QoS, or not retained."),
    "mqtt_oversize": ("evcore_mqtt_oversize", (), "Packets from the broker that were too large to be taken."),
    "mqtt_received": ("evcore_mqtt_received", ("qos",), "Messages received from the broker."),
    "mqtt_connects": ("evcore_mqtt_connects", (), "Connections the broker accepted."),
    "mqtt_failures": ("evcore_mqtt_connect_failures", (), "Attempts to connect that failed."),
    "mqtt_takeovers": ("evcore_mqtt_takeovers", (), "Connections lost to another client of the same identifier."),
    "mqtt_commands": ("evcore_mqtt_commands", ("outcome",), "Commands, by how they ended."),
    "mqtt_commands_refused": ("evcore_mqtt_commands_refused", ("code",), "Commands refused, by why."),
    "mqtt_commands_repeated": ("evcore_mqtt_commands_repeated", (), "Commands that came again."),
    "mqtt_commands_unanswered": ("evcore_mqtt_commands_unanswered", (), "Commands that got no answer."),
}
GAUGES: Final[dict[str, tuple[str, tuple[str, ...], str]]] = {
    "connections": ("evcore_connections", ("version",), "Open connections."),
    "inbox": ("evcore_inbox_calls", (), "CALLs of stations that wait for their answers."),
    "waiting": ("evcore_own_calls_waiting", (), "CALLs to stations that wait for their answers or their turn."),
    "workers": ("evcore_workers_up", (), "Workers that serve stations."),
    "memory": ("evcore_worker_resident_memory_bytes", ("worker",), "Resident memory of each worker."),
    "feed_connected": ("evcore_feed_connected", ("worker",), "Whether the bridge hears this worker."),
    "feed_waiting": ("evcore_feed_waiting", ("worker",), "Events the bridge has not acknowledged yet."),
    "feeds": ("evcore_feed_connections", (), "Server processes that feed the bridge."),
    "mqtt_connected": ("evcore_mqtt_connected", (), "Whether there is a connection to the broker."),
    "mqtt_backlog": ("evcore_mqtt_spool_messages", (), "Messages in the spool."),
    "mqtt_backlog_bytes": ("evcore_mqtt_spool_bytes", (), "Their bytes."),
    "mqtt_backlog_age": ("evcore_mqtt_spool_oldest_seconds", (), "Age of the oldest of them."),
    "mqtt_spool_fails": ("evcore_mqtt_spool_fails", (), "Whether the disk takes nothing at present."),
}


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """The metrics of a snapshot; parts it does not have are left out."""
    for part, (name, labels, text) in COUNTERS.items():
        if part in snapshot:
            yield _filled(CounterMetricFamily(name, text, labels=labels), snapshot[part])
    for part, (name, labels, text) in GAUGES.items():
        if part in snapshot:
            yield _filled(GaugeMetricFamily(name, text, labels=labels), snapshot[part])
    if "latency" in snapshot:
        latency = HistogramMetricFamily(
            "evcore_call_seconds",
            "From a station's CALL to its answer.",
            labels=("version", "action"),
        )
        for key, row in snapshot["latency"].items():
            buckets, seen = [], 0
            for bound, count in zip((*map(str, BOUNDS), "+Inf"), row):
                seen += count
                buckets.append((bound, seen))
            latency.add_metric(key.split("\t"), buckets, row[-1])
        yield latency


def _filled(family: Any, values: dict[str, float]) -> Metric:
    for key, value in values.items():
        family.add_metric(key.split("\t") if key else (), value)
    found: Metric = family
    return found


class _Collector:
    """What Prometheus' client asks when it is scraped; runs in a thread of the listener."""

    def __init__(self, snapshot: Callable[[], Awaitable[Snapshot]], loop: asyncio.AbstractEventLoop) -> None:
        self._snapshot = snapshot
        self._loop = loop

    def collect(self) -> Iterable[Metric]:
        async def take() -> Snapshot:
            return await self._snapshot()

        taken: Future[Snapshot] = asyncio.run_coroutine_threadsafe(take(), self._loop)
        try:
            snapshot = taken.result(SNAPSHOT_SECONDS)
        finally:
            taken.cancel()
        yield from families(snapshot)


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape is no news."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._room = threading.BoundedSemaphore(REQUESTS)
        super().__init__(*arguments, **named)

    def server_bind(self) -> None:
        # The library asks the name service for the host's name, which may take seconds and is of no use here.
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away, or never say anything, are no news either."""


class Listening:
    """A listener that runs until `close`."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port in use."""
        return int(self._server.server_port)

    def close(self) -> None:
        """Stops listening; does not wait for requests at work."""
        threading.Thread(target=self._server.shutdown, daemon=True).start()
        self._server.server_close()


def listen(host: str, port: int, snapshot: Callable[[], Awaitable[Snapshot]], healthy: Callable[[], bool]) -> Listening:
    """Serves `/metrics` from `snapshot`, which is awaited on the running loop, and `/healthz`: 200 while `healthy`,
    else 503. Port 0 takes a free one. Raises OSError.
    """
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    registry.register(_Collector(snapshot, asyncio.get_running_loop()))
    metrics = make_wsgi_app(registry)

    def app(environ: dict[str, Any], respond: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            found: Iterable[bytes] = metrics(environ, respond)
            return found
        if path == "/healthz":
            fine = healthy()
            status, body = ("200 OK", b"ok\n") if fine else ("503 Service Unavailable", b"not serving\n")
        else:
            status, body = "404 Not Found", b"there are /metrics and /healthz\n"
        respond(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
        return [body]

    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    kind = type("_Server", (_Server,), {"address_family": family})
    return Listening(make_server(host, port, app, kind, _Handler))
