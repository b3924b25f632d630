"""/metrics says what has happened: traffic that is counted here is compared with what Prometheus' own parser reads."""

from __future__ import annotations

import asyncio
import bisect
import json
import os
import re
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from evcore.csms.application import Csms
from evcore.message import Call
from evcore.net import metrics_http
from evcore.net.engine import load
from evcore.net.metrics import BOUNDS, Metrics, Version, add
from evcore.net.server import Server, ServerOptions

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(where: str) -> Samples:
    """All samples of a /metrics page."""
    with urllib.request.urlopen(where, timeout=20) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        text = answer.read().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


def status(where: str) -> int:
    try:
        with urllib.request.urlopen(where, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code


def metrics_of(process: Any) -> str:
    """The base URL of /metrics, from the log."""
    for line in process.process.stderr:
        if found := re.search(r"metrics on (http://\S+)/metrics", line):
            return found[1]
    raise AssertionError("no metrics")


async def ask(station: ClientConnection, frame: Any) -> Any:
    await station.send(frame if isinstance(frame, str) else json.dumps(frame))
    async with asyncio.timeout(20):
        return json.loads(await station.recv())


@pytest.mark.parametrize("workers", ["1", "3"])
async def test_counted_traffic(cli, workers) -> None:
    process = cli(
        *("serve", "--port", "0", "--http-port", "0", "--workers", workers, "--boot-gate-ocpp2", "off"),
        *("--unknown", "reject", "--stations", ",".join(f"CP{number}" for number in range(10))),
    )
    url = await asyncio.to_thread(process.listening)
    base = await asyncio.to_thread(metrics_of, process)
    assert await asyncio.to_thread(status, f"{base}/healthz") == 200
    assert await asyncio.to_thread(status, f"{base}/other") == 404
    stations = []
    for number in range(10):
        version = "ocpp1.6" if number < 7 else "ocpp2.0.1"
        stations.append(await connect(f"{url}/CP{number}", subprotocols=[version]))
    with pytest.raises(InvalidStatus):
        await connect(f"{url}/STRANGER", subprotocols=["ocpp1.6"])
    for _ in range(3):
        with pytest.raises(InvalidStatus):
            await connect(f"{url}/CP1", subprotocols=["ocpp9"])
    for number, station in enumerate(stations):
        for message in range(number + 1):
            assert (await ask(station, [2, f"h{message}", "Heartbeat", {}]))[0] == 3
        first = await ask(station, [2, "twice", "Heartbeat", {}])
        assert await ask(station, [2, "twice", "Heartbeat", {}]) == first
        assert (await ask(station, [2, "u", "InventedByThisTest", {}]))[2] == "NotImplemented"
        assert (await ask(station, [2, "w", "ClearCache", {}]))[2] == "NotSupported"
        await station.send('[3,"nobody asked",{}]')
        await station.send("{")
        await station.send('[2,"b","BootNotification",{}]')
    old = stations[0]
    again = await connect(f"{url}/CP0", subprotocols=["ocpp1.6"])
    await asyncio.wait_for(old.wait_closed(), 20)
    for station in (again, *stations[1:]):
        await station.send('[2,"last","Heartbeat",{}]')
        while json.loads(await asyncio.wait_for(station.recv(), 20))[1] != "last":
            pass
    found = await asyncio.to_thread(scrape, f"{base}/metrics")
    assert value(found, "evcore_connections", version="ocpp1.6") == 7
    assert value(found, "evcore_connections", version="ocpp2.0.1") == 3
    assert value(found, "evcore_connections", version="ocpp2.1") == 0
    assert value(found, "evcore_handshakes_total", status="101") == 11
    assert value(found, "evcore_handshakes_total", status="404") == 1
    assert value(found, "evcore_handshakes_total", status="400") == 3
    moved = value(found, "evcore_connections_moved_total")
    assert value(found, "evcore_connections_replaced_total") + moved == 1
    for version, numbers in (("ocpp1.6", range(7)), ("ocpp2.0.1", range(7, 10))):
        heartbeats = sum(number + 3 for number in numbers)
        labels = {"version": version, "action": "Heartbeat"}
        assert value(found, "evcore_call_seconds_count", **labels) == heartbeats
        assert value(found, "evcore_call_seconds_bucket", le="+Inf", **labels) == heartbeats
        assert value(found, "evcore_call_seconds_sum", **labels) > 0
        assert value(found, "evcore_repeated_calls_total", version=version) == len(numbers)
        assert value(found, "evcore_violations_total", version=version, action="other") == len(numbers)
        assert value(found, "evcore_violations_total", version=version, action="BootNotification") >= len(numbers)
        assert value(found, "evcore_callerrors_sent_total", version=version, code="NotImplemented") == len(numbers)
        assert value(found, "evcore_callerrors_sent_total", version=version, code="NotSupported") == len(numbers)
        assert value(found, "evcore_unreadable_frames_total", version=version, reason="json") == len(numbers)
        assert value(found, "evcore_stray_answers_total", version=version, reason="unknown") == len(numbers)
    assert value(found, "evcore_inbox_calls") == 0
    assert value(found, "evcore_workers_up") == int(workers)
    assert value(found, "evcore_worker_restarts_total") == 0
    for number in range(int(workers)):
        assert value(found, "evcore_worker_resident_memory_bytes", worker=str(number + 1)) > 1_000_000
        assert value(found, "evcore_worker_cpu_seconds_total", worker=str(number + 1)) > 0
    assert value(found, "process_resident_memory_bytes") > 1_000_000
    words = {word for _, labels in found for _, word in labels}
    assert not [word for word in words if "Invented" in word or re.match(r"CP\d", word)]
    for station in (again, *stations[1:]):
        await station.close()
    assert (await asyncio.to_thread(process.end, signal.SIGTERM))[0] == 0


async def test_counters_survive_a_worker(cli, until) -> None:
    """A counter that falls would be a burst of traffic to Prometheus."""
    process = cli("serve", "--port", "0", "--http-port", "0", "--workers", "2")
    url = await asyncio.to_thread(process.listening)
    base = await asyncio.to_thread(metrics_of, process)
    for number in range(12):
        async with connect(f"{url}/CP{number}", subprotocols=["ocpp1.6"]) as station:
            await ask(station, [2, "1", "Heartbeat", {}])
    labels = {"version": "ocpp1.6", "action": "Heartbeat"}
    before = await asyncio.to_thread(scrape, f"{base}/metrics")
    assert value(before, "evcore_call_seconds_count", **labels) == 12
    pid = process.process.pid
    os.kill(first_child(pid), signal.SIGKILL)
    found: Samples = {}
    async with asyncio.timeout(30):
        while not value(found, "evcore_worker_restarts_total") or value(found, "evcore_workers_up") < 2:
            found = await asyncio.to_thread(scrape, f"{base}/metrics")
            assert value(found, "evcore_call_seconds_count", **labels) == 12
    assert value(found, "evcore_handshakes_total", status="101") == 12
    assert value(found, "evcore_worker_restarts_total") == 1
    assert await asyncio.to_thread(status, f"{base}/healthz") == 200


def first_child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


async def test_silent_and_rude_http_clients_hold_nothing_up(cli) -> None:
    process = cli("serve", "--port", "0", "--http-port", "0")
    url = await asyncio.to_thread(process.listening)
    base = await asyncio.to_thread(metrics_of, process)
    port = int(base.rpartition(":")[2])
    silent = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(50)]
    for rude in silent[::2]:
        rude.sendall(b"\x00\xff" * 100)
    async with connect(f"{url}/CP1", subprotocols=["ocpp1.6"]) as station:
        for message in range(20):
            assert (await ask(station, [2, str(message), "Heartbeat", {}]))[0] == 3
    for each in silent:
        each.close()
    async with asyncio.timeout(30):
        while True:
            try:
                found = await asyncio.to_thread(scrape, f"{base}/metrics")
            except OSError:
                continue
            break
    assert value(found, "evcore_call_seconds_count", version="ocpp1.6", action="Heartbeat") == 20
    code, _, err = await asyncio.to_thread(process.end, signal.SIGTERM)
    assert code == 0
    assert "Traceback" not in err


def test_the_port_of_metrics(cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, out, err = cli("serve", "--port", "0", "--http-port", port).end()
        assert (code, out) == (1, "")
        assert err.startswith(f"evcore: cannot serve metrics on 127.0.0.1:{port}: Address already in use; choose")
    process = cli("serve", "--port", "0", "--http-port", "none")
    process.listening()
    assert "metrics" not in process.end(signal.SIGTERM)[2]
    first, second = cli("serve", "--port", "0"), cli("serve", "--port", "0")
    first.listening()
    second.listening()
    assert metrics_of(first) != metrics_of(second), "8080 was not asked for"


async def test_in_a_program() -> None:
    """As docs/serve.md has it, without the command line; an observer of the application's own still hears all."""
    metrics = Metrics()
    csms = Csms()
    server = Server(metrics.application(csms), load("websockets"), ServerOptions(port=0))
    await server.start()
    listening = metrics_http.listen("127.0.0.1", 0, lambda: metrics.snapshot(server), lambda: False)
    try:
        async with connect(f"ws://127.0.0.1:{server.port}/CP1", subprotocols=["ocpp1.6"]) as station:
            await ask(station, [2, "1", "Heartbeat", {}])
            asked = asyncio.create_task(server.connection("CP1").call("GetConfiguration", {}))
            _, name, *_ = json.loads(await station.recv())
            found = await asyncio.to_thread(scrape, f"http://127.0.0.1:{listening.port}/metrics")
            assert value(found, "evcore_own_calls_waiting") == 1
            await station.send(json.dumps([3, name, {}]))
            await asked
        found = await asyncio.to_thread(scrape, f"http://127.0.0.1:{listening.port}/metrics")
        assert value(found, "evcore_call_seconds_count", version="ocpp1.6", action="Heartbeat") == 1
        assert value(found, "evcore_own_calls_total", version="ocpp1.6", outcome="answered") == 1
        assert await asyncio.to_thread(status, f"http://127.0.0.1:{listening.port}/healthz") == 503
        assert csms.stations["CP1"].last_action == "Heartbeat"
    finally:
        listening.close()
        await server.stop()


@given(st.lists(st.floats(0, 100), min_size=1), st.lists(st.floats(0, 100)))
def test_buckets_against_counting(one: list[float], other: list[float]) -> None:
    """Two processes' latencies, added and exported: each bucket holds what is not above its bound."""
    total: dict[str, Any] = {}
    for seconds in (one, other):
        version = Version("ocpp1.6")
        for each in seconds:
            version.answered(Call("1", "Heartbeat", {}), each, None)
        add(total, {"latency": {f"ocpp1.6\t{action}": row for action, row in version.latency.items()}})
    (family,) = metrics_http.families(total)
    every = sorted([*one, *other])
    for sample in family.samples:
        if sample.name.endswith("_bucket"):
            bound = float(sample.labels["le"])
            assert sample.value == bisect.bisect_right(every, bound)
            assert bound in (*BOUNDS, float("inf"))
        elif sample.name.endswith("_sum"):
            assert sample.value == pytest.approx(sum(every))


def test_adding_changes_nothing_but_the_total() -> None:
    part = {"latency": {"a": [1, 2]}, "handshakes": {"101": 1}}
    total: dict[str, Any] = add({}, part)
    add(total, {"latency": {"a": [1, 1], "b": [5, 5]}, "handshakes": {"404": 2}})
    assert part == {"latency": {"a": [1, 2]}, "handshakes": {"101": 1}}
    assert total == {"latency": {"a": [2, 3], "b": [5, 5]}, "handshakes": {"101": 1, "404": 2}}
