"""The end of a server: stations are told to go, answers that are due are sent first, and signals are obeyed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from evcore.csms.application import Csms
from evcore.csms.station import Station
from evcore.net.auth import Credential
from evcore.net.credentials import edit
from evcore.net.engine import EngineName, load
from evcore.net.secret import Secret
from evcore.net.server import Server, ServerOptions

QUIET = ("--port", "0", "--http-port", "none")
WORKERS = ("1", "2")


async def ask(station: ClientConnection, frame: Any) -> Any:
    await station.send(json.dumps(frame))
    async with asyncio.timeout(20):
        return json.loads(await station.recv())


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def many(url: str, count: int) -> list[ClientConnection]:
    return [await connect(f"{url}/CP{number}", subprotocols=["ocpp1.6"]) for number in range(count)]


@pytest.mark.parametrize("workers", WORKERS)
async def test_no_answer_is_lost(cli, tmp_path, workers) -> None:
    """Under load: every CALL that reached the server was answered, and the answer reached the station."""
    process = cli("serve", *QUIET, "--workers", workers, "--message-log", "all.jsonl", "--drain-seconds", "1")
    url = await asyncio.to_thread(process.listening)
    stations = await many(url, 20)
    answered: set[tuple[int, str]] = set()

    async def work(number: int, station: ClientConnection) -> int | None:
        message = 0
        try:
            while True:
                message += 1
                kind, name, _ = await ask(station, [2, str(message), "Heartbeat", {}])
                assert (kind, name) == (3, str(message))
                answered.add((number, name))
        except ConnectionClosed:
            return station.close_code

    working = [asyncio.create_task(work(number, station)) for number, station in enumerate(stations)]
    while len(answered) < 200:  # noqa: ASYNC110 - the stations are at work
        await asyncio.sleep(0.01)
    status, _, err = await asyncio.to_thread(process.end, signal.SIGTERM)
    assert status == 0
    assert "Traceback" not in err
    assert await asyncio.wait_for(asyncio.gather(*working), 20) == [1001] * 20
    came: set[tuple[int, str]] = set()
    went: set[tuple[int, str]] = set()
    for file in tmp_path.glob("all*.jsonl"):
        for line in file.read_text().splitlines():
            entry = json.loads(line)
            name = (int(entry["station"].removeprefix("CP")), json.loads(entry["frame"])[1])
            (came if entry["direction"] == "in" else went).add(name)
    assert came == went == answered


@pytest.mark.parametrize("code", ["1001", "1012"])
@pytest.mark.parametrize("workers", WORKERS)
async def test_the_code_they_are_told(cli, workers, code) -> None:
    process = cli("serve", *QUIET, "--workers", workers, "--drain-code", code)
    url = await asyncio.to_thread(process.listening)
    async with connect(f"{url}/CP1", subprotocols=["ocpp2.1"]) as station:
        ending = asyncio.create_task(asyncio.to_thread(process.end, signal.SIGINT))
        await asyncio.wait_for(station.wait_closed(), 20)
        assert station.close_code == int(code)
    assert (await ending)[0] == 0


@pytest.mark.parametrize("workers", WORKERS)
async def test_a_second_signal_ends_it_at_once(cli, workers, until) -> None:
    """The first one would take an hour; meanwhile nobody new gets in, and those who are in are served."""
    process = cli("serve", *QUIET, "--workers", workers, "--drain-seconds", "3600", "--log-level", "debug")
    url = await asyncio.to_thread(process.listening)
    stations = await many(url, 16)
    process.process.send_signal(signal.SIGTERM)
    waiting = [asyncio.create_task(station.wait_closed()) for station in stations]
    # The first of each worker goes at once.
    await until(lambda: sum(each.done() for each in waiting) == int(workers))
    left = [station for station in stations if station.state.name == "OPEN"]
    assert 0 < len(left) < 16
    assert (await ask(left[0], [2, "1", "Heartbeat", {}]))[0] == 3
    with pytest.raises((OSError, InvalidStatus)):
        await connect(f"{url}/NEW", subprotocols=["ocpp1.6"])
    status, _, err = await asyncio.to_thread(process.end, signal.SIGTERM)
    assert status == 0
    assert "Traceback" not in err
    await asyncio.wait_for(asyncio.gather(*waiting), 20)


async def test_a_signal_to_the_whole_group_is_one_wish(cli) -> None:
    """systemd sends SIGTERM to every process of a service: the workers do not take it for a second one."""
    process = cli("serve", *QUIET, "--workers", "2", "--drain-seconds", "2")
    url = await asyncio.to_thread(process.listening)
    stations = await many(url, 8)
    pid = process.process.pid
    for child in children(pid):
        os.kill(child, signal.SIGTERM)
    status, _, _ = await asyncio.to_thread(process.end, signal.SIGTERM)
    assert status == 0
    for station in stations:
        await asyncio.wait_for(station.wait_closed(), 20)
        assert station.close_code == 1001


async def serve_slowly(engine: EngineName, handler: Callable[..., Any], stop_seconds: float) -> Server[Station]:
    """A server whose DataTransfer of 1.6 is answered by this handler."""
    csms = Csms()
    csms.tables["ocpp1.6"].on("DataTransfer")(handler)
    server = Server(csms, load(engine), ServerOptions(port=0, stop_seconds=stop_seconds))
    await server.start()
    return server


async def test_a_handler_at_work_is_waited_for(engine, until) -> None:
    """Its answer is sent before the farewell, and so are those to the CALLs behind it."""
    release = asyncio.Event()

    async def slow(station: Any, payload: Any) -> Any:
        await release.wait()
        return {"status": "Accepted"}

    server = await serve_slowly(engine, slow, 60)
    idle, busy = await many(f"ws://127.0.0.1:{server.port}", 2)
    await busy.send('[2,"1","DataTransfer",{"vendorId":"v"}]')
    await busy.send('[2,"2","Heartbeat",{}]')
    await until(lambda: server.connection("CP1").endpoint.waiting[0] == 2)
    stopping = asyncio.create_task(server.stop())
    await asyncio.wait_for(idle.wait_closed(), 20)
    assert idle.close_code == 1001
    assert busy.state.name == "OPEN"
    release.set()
    assert json.loads(await asyncio.wait_for(busy.recv(), 20)) == [3, "1", {"status": "Accepted"}]
    assert json.loads(await asyncio.wait_for(busy.recv(), 20))[:2] == [3, "2"]
    await asyncio.wait_for(busy.wait_closed(), 20)
    assert busy.close_code == 1001
    await asyncio.wait_for(stopping, 20)


async def test_a_handler_that_never_ends_is_not_waited_for_ever(engine, until) -> None:
    async def never(station: Any, payload: Any) -> Any:
        await asyncio.Event().wait()

    server = await serve_slowly(engine, never, 0.2)
    (station,) = await many(f"ws://127.0.0.1:{server.port}", 1)
    await station.send('[2,"1","DataTransfer",{"vendorId":"v"}]')
    await until(lambda: server.connection("CP0").is_busy)
    await asyncio.wait_for(server.stop(), 20)
    await asyncio.wait_for(station.wait_closed(), 20)


# SIGHUP


def password(file: Path, station: str, key: bytes) -> None:
    with edit(file, create=True) as stations:
        stations.put(Credential(station, frozenset({1}), (Secret.of_key(key),)))


async def attempt(url: str, station: str, key: str) -> int:
    """The HTTP status an upgrade gets."""
    header = {"Authorization": f"Basic {b64encode(f'{station}:{key}'.encode()).decode()}"}
    try:
        async with connect(f"{url}/{station}", subprotocols=["ocpp1.6"], additional_headers=header):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


@pytest.mark.parametrize("workers", WORKERS)
async def test_credentials_are_read_again(cli, tmp_path, workers) -> None:
    file = tmp_path / "stations.jsonl"
    password(file, "CP1", b"0123456789abcdef")
    process = cli("serve", *QUIET, "--workers", workers, "--credentials", str(file), "--security-profile", "1")
    url = await asyncio.to_thread(process.listening)
    assert await attempt(url, "CP1", "0123456789abcdef") == 101
    assert await attempt(url, "CP2", "0123456789abcdef") == 401
    password(file, "CP2", b"0123456789abcdef")
    process.process.send_signal(signal.SIGHUP)
    loaded = 0
    async with asyncio.timeout(20):
        while loaded < int(workers):
            loaded += "2 stations in the credentials file" in await asyncio.to_thread(process.process.stderr.readline)
    assert await attempt(url, "CP2", "0123456789abcdef") == 101
    file.write_text("nonsense\n")
    process.process.send_signal(signal.SIGHUP)
    refused = 0
    async with asyncio.timeout(20):
        while refused < int(workers):
            refused += "the stations stay as they were" in await asyncio.to_thread(process.process.stderr.readline)
    assert await attempt(url, "CP2", "0123456789abcdef") == 101
    assert (await asyncio.to_thread(process.end, signal.SIGTERM))[0] == 0


@pytest.mark.parametrize("workers", WORKERS)
async def test_certificates_are_read_again(cli, tmp_path, workers) -> None:
    """New connections get the new certificate; the URL that is printed says TLS."""
    authority = trustme.CA()

    def issue(name: str) -> None:
        made = authority.issue_cert("127.0.0.1", organization_name=name)
        made.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")

    def served(port: int) -> str:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        with (
            socket.create_connection(("127.0.0.1", port), 20) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            subject = dict(entry[0] for entry in secure.getpeercert()["subject"])
            return subject["organizationName"]

    issue("first")
    pem = str(tmp_path / "server.pem")
    process = cli("serve", *QUIET, "--workers", workers, "--tls-certificate", pem, "--tls-key", pem)
    line = await asyncio.to_thread(process.process.stdout.readline)
    assert line.startswith("listening on wss://127.0.0.1:")
    port = int(line.rpartition(":")[2])
    assert await asyncio.to_thread(served, port) == "first"
    issue("second")
    process.process.send_signal(signal.SIGHUP)
    loaded = 0
    async with asyncio.timeout(20):
        while loaded < int(workers):
            loaded += "certificates loaded" in await asyncio.to_thread(process.process.stderr.readline)
    assert {await asyncio.to_thread(served, port) for _ in range(8)} == {"second"}
    assert (await asyncio.to_thread(process.end, signal.SIGTERM))[0] == 0
