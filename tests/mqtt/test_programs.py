"""`evcore serve --mqtt`, `evcore serve --feed` and `evcore bridge` as processes, with a real broker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.mqtt.brokers import Mosquitto
from tests.mqtt.observer import Login, Observer, Seen, fetch, publish
from tests.mqtt.programs import Program, station

NOW = "2026-03-01T10:00:00Z"
QUICK = (
    "--mqtt-node",
    "north",
    "--mqtt-backoff-first",
    "0.1",
    "--mqtt-backoff-most",
    "0.3",
    "--mqtt-grace",
    "1",
    "--mqtt-reconnecting",
    "0",
)
SERVE = ("serve", "--port", "0", "--http-host", "127.0.0.1", "--http-port", "0", "--drain-seconds", "0")
WORKERS = ("1", "2")
NODE_OFFLINE = ("system/availability/north", b"offline")

Start = Callable[..., Program]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    made: list[Program] = []

    def run(*arguments: str, **environment: str) -> Program:
        made.append(Program(tmp_path, *arguments, environment=environment))
        return made[-1]

    yield run
    for program in made:
        program.kill()


def bill(number: int) -> dict[str, Any]:
    return {"connectorId": 1, "idTag": "SECRET-TAG", "meterStart": number, "timestamp": NOW}


async def reset(broker: Mosquitto, name: str, id: str) -> None:
    await publish(broker, f"chargers/{name}/command", {"id": id, "action": "Reset", "payload": {"type": "Soft"}})


def results(seen: list[Seen], name: str) -> dict[str, Any]:
    """Results by the ids of their commands."""
    found = [one.json() for one in seen if one.topic == f"chargers/{name}/result"]
    return {each["id"]: each for each in found}


def started(seen: list[Seen], name: str = "CP1") -> list[int]:
    """The meters of the transactions that began, in order of arrival."""
    events = [one.json() for one in seen if one.topic == f"chargers/{name}/events"]
    return [int(event["meter"]) for event in events if event["kind"] == "transaction.started"]


def states(seen: list[Seen], name: str = "CP1") -> list[str]:
    return [one.payload.decode() for one in seen if one.topic == f"chargers/{name}/availability"]


# evcore serve --mqtt


@pytest.mark.parametrize("workers", WORKERS)
async def test_serve_takes_its_stations_to_a_broker(start: Start, mosquitto: Mosquitto, workers: str) -> None:
    """Events out, commands in, metrics beside it; at the end the stations go first, and nothing is left behind."""
    async with Observer(mosquitto, "#") as observer:
        allow = ("--mqtt-commands", "Reset")
        server = start(*SERVE, "--workers", workers, "--mqtt", mosquitto.url, *QUICK, *allow)
        url = await server.url()
        async with station(url) as one, station(url, "CP2", "ocpp2.1") as two:
            begun = await one.ask("StartTransaction", bill(7))
            assert begun[2]["idTagInfo"]["status"] == "Accepted"
            seen = await observer.until(lambda seen: started(seen))
            (event,) = [each for each in seen if each.topic == "chargers/CP1/events"]
            assert (event.qos, started(seen)) == (2, [7])
            assert "SECRET-TAG" not in event.payload.decode()
            for name, version in (("CP1", {"type": "Hard"}), ("CP2", {"type": "Immediate"})):
                command = {"id": f"reset-{name}", "action": "Reset", "payload": version}
                await publish(mosquitto, f"chargers/{name}/command", command)
                result = (await observer.on(f"chargers/{name}/result")).json()
                assert (result["id"], result["status"]) == (f"reset-{name}", "accepted")
            assert (one.calls, two.calls) == ([("Reset", {"type": "Hard"})], [("Reset", {"type": "Immediate"})])
            metrics = await server.metrics()
            assert metrics["evcore_mqtt_connected"] == 1
            assert metrics['evcore_mqtt_acked_total{qos="2"}'] >= 1
            assert metrics['evcore_mqtt_commands_total{outcome="accepted"}'] == 2
            assert metrics.get("evcore_feed_connections") == (None if workers == "1" else 2)
            assert await server.end() == 0
        seen = await observer.until(lambda seen: (seen[-1].topic, seen[-1].payload) == NODE_OFFLINE)
    assert states(seen) == ["online", "offline"]
    assert states(seen, "CP2") == ["online", "offline"]
    assert (await fetch(mosquitto, "chargers/CP1/availability")).payload == b"offline"


@pytest.mark.parametrize("workers", WORKERS)
async def test_serve_starts_without_a_broker(
    start: Start, broker_factory: Callable[..., Mosquitto], workers: str
) -> None:
    """Bills are kept while it is away, also over the end of the server; the broker gets them when it comes."""
    broker = broker_factory(start=False)
    server = start(*SERVE, "--workers", workers, "--mqtt", broker.url, *QUICK, "--mqtt-flush-seconds", "0.1")
    url = await server.url()
    async with station(url) as one:
        await server.says("nobody listens there")
        for number in range(3):
            assert (await one.ask("StartTransaction", bill(number)))[0] == 3
        assert await server.end() == 0
    broker.start()
    async with Observer(broker, "#") as observer:
        again = start(*SERVE, "--workers", workers, "--mqtt", broker.url, *QUICK)
        async with station(await again.url()) as one:
            assert (await one.ask("StartTransaction", bill(3)))[0] == 3
            await observer.until(lambda seen: len(started(seen)) >= 4)
            assert await again.end() == 0
        await asyncio.sleep(0.2)
    assert started(observer.seen) == [0, 1, 2, 3]


async def test_the_bridge_of_a_server_outlives_its_workers(start: Start, mosquitto: Mosquitto) -> None:
    """A worker is killed: its station is offline and comes back to another process, the others notice nothing."""
    async with Observer(mosquitto, "#") as observer:
        server = start(*SERVE, "--workers", "2", "--mqtt", mosquitto.url, *QUICK, "--mqtt-commands", "Reset")
        url = await server.url()
        names = [f"CP{number}" for number in range(12)]
        async with asyncio.timeout(60):
            open_ = [station(url, name) for name in names]
            stations = dict(zip(names, [await each.__aenter__() for each in open_]))
            await observer.until(lambda seen: sum(one.payload == b"online" for one in seen) >= 13)
            victim = server.workers()[0]
            os.kill(victim, signal.SIGKILL)
            await server.says("died by SIGKILL")
            gone, left = [], []
            for name, each in stations.items():
                try:
                    await each.ask("Heartbeat", {})
                    left.append(name)
                except (ConnectionClosed, TimeoutError):
                    gone.append(name)
            assert gone
            await observer.until(lambda seen: all(states(seen, name) == ["online", "offline"] for name in gone))
            assert all(states(observer.seen, name) == ["online"] for name in left)
            async with station(url, gone[0]) as back:
                assert (await back.ask("StartTransaction", bill(5)))[0] == 3
                await observer.until(lambda seen: started(seen, gone[0]))
                await publish(
                    mosquitto,
                    f"chargers/{gone[0]}/command",
                    {"id": "1", "action": "Reset", "payload": {"type": "Soft"}},
                )
                assert (await observer.on(f"chargers/{gone[0]}/result")).json()["status"] == "accepted"
            assert await server.end() == 0
            for each in open_:
                await each.__aexit__(None, None, None)


async def test_a_station_that_moves_between_workers_is_never_lost(start: Start, mosquitto: Mosquitto) -> None:
    """Each connection replaces one that is still open, on whichever worker it comes. Commands reach the newest one, and
    the late end of an old one does not put the station offline.
    """
    async with Observer(mosquitto, "#") as observer, contextlib.AsyncExitStack() as stack:
        server = start(*SERVE, "--workers", "2", "--mqtt", mosquitto.url, *QUICK, "--mqtt-commands", "Reset")
        url = await server.url()
        for number in range(12):
            newest = await stack.enter_async_context(station(url))
            assert (await newest.ask("StartTransaction", bill(number)))[0] == 3
            await reset(mosquitto, "CP1", str(number))
            await observer.until(lambda seen, number=number: str(number) in results(seen, "CP1"))
            assert results(observer.seen, "CP1")[str(number)]["status"] == "accepted"
            assert len(newest.calls) == 1
        connected = [line for line in server.said if "CP1: connected from" in line]
        assert len({line.partition("CP1")[0][-10:] for line in connected}) == 2, "it was on both workers"
        assert states(observer.seen)[-1] == "online"
        assert started(observer.seen) == list(range(12))
        await stack.aclose()
        await observer.until(lambda seen: states(seen)[-1] == "offline")
        assert await server.end() == 0


async def test_raw_frames_of_all_workers(start: Start, mosquitto: Mosquitto) -> None:
    async with Observer(mosquitto, "ocpp/#") as observer:
        server = start(*SERVE, "--workers", "2", "--mqtt", mosquitto.url, *QUICK, "--mqtt-raw", "out")
        await server.says(f"connected to {mosquitto.url}")
        async with station(await server.url()) as one:
            await one.ask("Authorize", {"idTag": "SECRET-TAG"})
            seen = await observer.until(lambda seen: any(b"Authorize" in each.payload for each in seen))
            assert {each.topic for each in seen} == {"ocpp/CP1/in", "ocpp/CP1/out"}
            assert not any(b"SECRET-TAG" in each.payload for each in seen)
        assert await server.end() == 0


# evcore bridge


async def test_a_bridge_for_two_servers(start: Start, mosquitto: Mosquitto) -> None:
    """Servers that come before it, stations of both, commands to each; one is killed, the other goes on."""
    feeding = (*SERVE, "--feed", "evcore.sock", "--feed-wait", "30")
    one, two = start(*feeding), start(*feeding)
    await one.says("is tried again and again")
    bridge = start("bridge", "--http-port", "0", "--mqtt", mosquitto.url, *QUICK, "--mqtt-commands", "*")
    assert await bridge.says("bridging ") == f"bridging evcore.sock to {mosquitto.url}"
    async with Observer(mosquitto, "#") as observer:
        async with station(await one.url(), "A") as a, station(await two.url(), "B") as b:
            for each in (a, b):
                assert (await each.ask("StartTransaction", bill(1)))[0] == 3
            for name in ("A", "B"):
                await reset(mosquitto, name, name)
                assert (await observer.on(f"chargers/{name}/result")).json()["status"] == "accepted"
            assert (len(a.calls), len(b.calls)) == (1, 1)
            assert (await bridge.metrics())["evcore_feed_connections"] == 2
            assert (await one.metrics())['evcore_feed_connected{worker="1"}'] == 1
            one.process.kill()
            await observer.until(lambda seen: states(seen, "A") == ["online", "offline"])
            await reset(mosquitto, "A", "late")
            await observer.until(lambda seen: "late" in results(seen, "A"))
            late = results(observer.seen, "A")["late"]
            assert (late["status"], late["code"]) == ("refused", "offline")
            assert (await b.ask("StartTransaction", bill(2)))[0] == 3
            await observer.until(lambda seen: started(seen, "B") == [1, 2])
            assert states(observer.seen, "B") == ["online"]
            assert await two.end() == 0
        assert await bridge.end() == 0
        await observer.until(lambda seen: (seen[-1].topic, seen[-1].payload) == NODE_OFFLINE)
    assert states(observer.seen, "B") == ["online", "offline"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_bridge_that_ends_in_the_middle(
    start: Start, mosquitto: Mosquitto, tmp_path: Path, number: signal.Signals
) -> None:
    """Twice, while a station sends bills as fast as they are answered. Each bill that was answered is at the broker,
    in order; the station keeps its connection, and is online when the bridge is back.
    """
    arguments = ("bridge", "--http-port", "none", "--mqtt", mosquitto.url, *QUICK, "--mqtt-flush-seconds", "1")
    server = start(*SERVE, "--feed", "evcore.sock", "--feed-wait", "60")
    bridge = start(*arguments)
    answered: list[int] = []
    async with Observer(mosquitto, "#", persistent=True) as observer, station(await server.url()) as one:

        async def work() -> None:
            for meter in range(300):
                answer = await one.ask("StartTransaction", bill(meter))
                assert answer[0] == 3, answer
                answered.append(meter)

        working = asyncio.create_task(work())
        for part in (100, 200):
            while len(answered) < part:  # noqa: ASYNC110 - the station is at work
                await asyncio.sleep(0.001)
            status = await bridge.end(number)
            assert status == (0 if number == signal.SIGTERM else -9)
            assert (tmp_path / "evcore.sock").exists() == (number == signal.SIGKILL)
            bridge = start(*arguments)
        await working
        await observer.until(lambda seen: set(started(seen)) >= set(range(300)))
        assert list(dict.fromkeys(started(observer.seen))) == list(range(300))
        ids = {one.json()["id"] for one in observer.seen if one.topic == "chargers/CP1/events"}
        assert len(ids) == 300, "what comes twice has the same id"
        if number == signal.SIGTERM:
            assert len(started(observer.seen)) == 300
        assert (await fetch(mosquitto, "chargers/CP1/availability")).payload == b"online"
        assert await server.end() == 0


async def test_a_station_is_not_refused_because_a_bridge_is_away(start: Start) -> None:
    """But for its bills, which it keeps and sends again."""
    server = start(*SERVE, "--feed", "evcore.sock", "--feed-wait", "0.2")
    async with station(await server.url()) as one:
        assert (await one.ask("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Available"}))[
            0
        ] == 3
        refused = await one.ask("StartTransaction", bill(1))
        assert (refused[0], refused[2]) == (4, "InternalError")
        assert (await one.ask("Heartbeat", {}))[0] == 3
        metrics = await server.metrics()
        assert metrics["evcore_feed_not_kept_total"] >= 2
        assert metrics['evcore_feed_connected{worker="1"}'] == 0
        assert await server.end() == 0


# Passwords and files


async def test_the_password_of_each_connection(
    start: Start, broker_factory: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    """From a file, the environment, the URL; a file that changes is read again; nowhere is it repeated."""
    users = {"evcore": "hunter-one", "witness": "witness"}
    broker = broker_factory(users=users)
    login = Login(username="witness", password="witness")
    file = tmp_path / "password"
    file.write_text("hunter-wrong\nsecond line\n")
    user = ("--mqtt-username", "evcore")
    common = ("bridge", "--http-port", "none", "--log-level", "debug", *QUICK)
    url = broker.url

    def bridge(number: int, url: str, *more: str, **environment: str) -> Program:
        own = ("--feed", f"{number}.sock", "--mqtt-spool", f"{number}.db", "--mqtt", url)
        return start(*common, *own, *more, **environment)

    programs = [
        bridge(0, url, *user, "--mqtt-password-file", "password"),
        bridge(1, url, *user, EVCORE_MQTT_PASSWORD="hunter-one"),
        bridge(2, url.replace("//", "//evcore:hunter-one@")),
    ]
    for program in programs[1:]:
        await program.says(f"connected to {broker.url}")
    await programs[0].says("password")
    file.write_text("hunter-one\n")
    await programs[0].says(f"connected to {broker.url}")
    file.unlink()
    programs[0].process.send_signal(signal.SIGHUP)
    await programs[0].says("the next connection to the broker will fail: the password file password cannot be read")
    file.write_text("hunter-one\n")
    programs[0].process.send_signal(signal.SIGHUP)
    await programs[0].says("takes password and certificates as they are now")
    assert (await fetch(broker, "system/availability/north", login=login)).payload == b"online"
    for program in programs:
        assert await program.end() == 0
        assert "hunter" not in program.text


# What is wrong is said


def spool_of_another(path: Path) -> None:
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE groceries (name TEXT)")
    file.close()


async def test_what_cannot_be_is_said_at_the_start(start: Start, tmp_path: Path) -> None:
    """In one line, without a secret, by each way to run a bridge; test_bridging has more of what cannot be."""
    spool_of_another(tmp_path / "other.db")
    broker = ("--mqtt", "mqtt://me:hunter2@broker")
    bridge = ("bridge", "--http-port", "none")
    url = ("--mqtt", "http://me:hunter2@broker")
    expected = [
        ((*bridge, *url), 1, "a broker's URL begins with mqtt://, mqtts://, ws:// or wss://, not 'http'"),
        ((*SERVE, *url), 1, "a broker's URL begins with mqtt://"),
        ((*SERVE, "--workers", "2", *url), 1, "a broker's URL begins with mqtt://"),
        ((*bridge, *broker, "--mqtt-spool", "other.db"), 1, "other.db"),
        ((*SERVE, *broker, "--mqtt-spool", "other.db"), 1, "other.db"),
        ((*SERVE, "--workers", "2", *broker, "--mqtt-spool", "no/folder/spool"), 1, "no/folder/spool"),
        ((*bridge, *broker, "--feed", "no/folder.sock"), 1, "cannot listen on the socket no/folder.sock"),
        ((*bridge, *broker, "--mqtt-window", "0"), 2, "--mqtt-window cannot be 0"),
        (bridge, 2, "a bridge needs mqtt, the URL of its broker"),
    ]
    programs = [start(*arguments) for arguments, _, _ in expected]
    for program, (_, status, sentence) in zip(programs, expected, strict=True):
        assert await program.end(None) == status, program.text
        (said,) = program.said
        assert said.startswith("evcore: ")
        assert sentence in said
        assert "hunter2" not in said


async def test_a_second_bridge_is_refused(start: Start, mosquitto: Mosquitto) -> None:
    """By its socket, before it says a word to the broker; and by its spool."""
    async with Observer(mosquitto, "system/#") as observer:
        first = start("bridge", "--http-port", "none", "--mqtt", mosquitto.url, *QUICK)
        await observer.count(1)
        second = start("bridge", "--http-port", "none", "--mqtt", mosquitto.url, *QUICK, "--mqtt-spool", "other.db")
        assert await second.end(None) == 1
        assert "another bridge does already; stop it or choose another path" in second.text
        third = start("bridge", "--http-port", "none", "--mqtt", mosquitto.url, *QUICK, "--feed", "other.sock")
        assert await third.end(None) == 1
        assert "is in use by another process" in third.text
        assert [one.payload for one in observer.seen if "availability" in one.topic] == [b"online"]
        assert await first.end() == 0


async def test_a_missing_extra_is_said(start: Start, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, package=None: None if name == 'aiomqtt' else find(name, package)\n"
    )
    for arguments in (("bridge",), SERVE, (*SERVE, "--workers", "2")):
        program = start(*arguments, "--mqtt", "mqtt://broker")
        assert await program.end(None) == 2
        assert program.said == ["evcore: aiomqtt not installed, run: pip install 'evcore[mqtt]'"]


async def test_the_doctor_knows_the_extra(start: Start) -> None:
    doctor = start("doctor", "--json")
    assert await doctor.end(None) == 0
    found = {entry["package"]: entry for entry in json.loads(doctor.text)["optional"]}
    assert found["aiomqtt"]["extra"] == found["paho-mqtt"]["extra"] == "mqtt"
    assert found["aiomqtt"]["version"]
