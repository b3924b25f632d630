"""Several workers on one port: one owner for each station, deaths of workers and of the supervisor."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

import evcore
from evcore.cli.table import Row, Screen, together
from evcore.csms.application import Csms
from evcore.net.channel import Channel
from evcore.net.engine import ENGINES, EngineName, load
from evcore.net.server import Server, ServerOptions
from evcore.net.workers.application import Claimed
from evcore.net.workers.claims import Claims
from evcore.net.workers.exchange import Exchange
from evcore.net.workers.ledger import Ledger

START = {"connectorId": 1, "idTag": "A", "meterStart": 0, "timestamp": "2026-03-01T10:00:00Z"}
BOOT_V16 = {"chargePointVendor": "V", "chargePointModel": "M"}
BOOT_V2 = {"reason": "PowerUp", "chargingStation": {"vendorName": "V", "model": "M"}}


class Station:
    """A station that notes which worker it is on, as the log tells."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def ask(self, frame: Any) -> Any:
        await self.socket.send(json.dumps(frame))
        async with asyncio.timeout(20):
            return json.loads(await self.socket.recv())


@pytest.fixture
async def station() -> AsyncIterator[Callable[..., Awaitable[Station]]]:
    """Connects stations; those that are still there at the end of the test are cut off."""
    made: list[Station] = []

    async def connected(url: str, identity: str, version: str = "ocpp1.6") -> Station:
        made.append(Station(await connect(f"{url}/{identity}", subprotocols=[version])))
        return made[-1]

    yield connected
    for each in made:
        each.socket.transport.abort()
    await asyncio.gather(*(each.socket.wait_closed() for each in made))


class Lines:
    """The log lines of a process, as they come."""

    def __init__(self, process: Any) -> None:
        self.all: list[str] = []
        self._process = process
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        self.all.extend(self._process.stderr)

    def of(self, part: str) -> list[str]:
        return [line for line in self.all if part in line]

    def workers(self, identity: str) -> list[int]:
        """The workers this station has connected to, in order."""
        pattern = re.compile(rf"worker (\d+): {identity}: connected from ")
        return [int(found[1]) for line in self.all if (found := pattern.search(line))]

    async def until(self, part: str, count: int = 1) -> None:
        await eventually(lambda: len(self.of(part)) >= count)


class Three:
    """A server with three workers: process, URL, log lines."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "evcore", "serve", "--port", "0", "--http-port", "none", "--workers", "3"],
            env={**os.environ, "PYTHONPATH": str(Path(evcore.__file__).parents[1])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip().removeprefix("listening on ")
        self.lines = Lines(self.process)

    def end(self) -> None:
        self.process.kill()
        self.lines.thread.join()
        self.process.communicate()


@pytest.fixture(scope="module")
def three() -> Iterator[Three]:
    """For tests that leave it as it is; each has stations of its own."""
    server = Three()
    yield server
    server.end()


@pytest.fixture
def mortal() -> Iterator[Three]:
    """For tests that kill something."""
    server = Three()
    yield server
    server.end()


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.01)


def children(pid: int) -> list[int]:
    """Process ids of the children, youngest last."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in found]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


# Without processes: who owns a station


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    step = st.one_of(
        st.tuples(st.just("open"), st.sampled_from("AB"), st.integers(0, 2)),
        st.tuples(st.just("close"), st.integers(0, 20)),
        st.tuples(st.just("die"), st.integers(0, 2)),
    )
    return draw(st.lists(step, max_size=30))


@given(histories())
def test_the_newest_claim_owns_the_station(history: list[tuple[Any, ...]]) -> None:
    """Against a plain account of all claims: the last one of a station that is neither closed nor dead owns it, and
    whoever had it before is told to hand it over exactly when it is another worker.
    """
    ledger, opened, next_token = Ledger(3), [], [3, 4, 5]
    last: dict[str, int | None] = {}
    live: dict[str, int | None] = {}
    for kind, *rest in history:
        if kind == "open":
            identity, worker = rest
            token = next_token[worker]
            next_token[worker] += 3
            opened.append((identity, token))
            former = last.get(identity)
            wanted = former if former is not None and former % 3 != worker else None
            assert ledger.claim(identity, token) == wanted
            last[identity] = live[identity] = token
        elif kind == "close" and rest[0] < len(opened):
            identity, token = opened[rest[0]]
            ledger.leave(identity, token)
            if live.get(identity) == token:
                live[identity] = None
        elif kind == "die":
            ledger.lost(rest[0])
            for book in (last, live):
                for identity, token in book.items():
                    if token is not None and token % 3 == rest[0]:
                        book[identity] = None
        assert {identity: ledger.owner(identity) for identity in live} == live


def test_stations_that_are_away_are_bounded() -> None:
    ledger = Ledger(2, away=100)
    for number in range(1000):
        ledger.claim(f"CP{number}", 2 + 2 * number)
        if number >= 50:
            ledger.leave(f"CP{number}", 2 + 2 * number)
    assert len(ledger) == 150, "those that are here are never forgotten"
    assert ledger.claim("CP999", 3) == 2 + 2 * 999
    assert ledger.claim("CP500", 5) is None


class Held:
    """A connection that only notes what is done to it."""

    is_busy = False

    def __init__(self) -> None:
        self.held = False
        self.closed: list[int] = []

    def hold(self) -> None:
        self.held = True

    def release(self) -> None:
        self.held = False

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed.append(code)


class Kept:
    def __init__(self) -> None:
        self.states: dict[str, Any] = {}

    def export(self, identity: str) -> Any:
        return self.states.get(identity)

    def restore(self, identity: str, state: Any) -> None:
        self.states[identity] = state

    def forget(self, identity: str) -> None:
        self.states.pop(identity, None)


async def test_a_station_whose_state_does_not_come_is_served_all_the_same() -> None:
    sent: list[tuple[Any, ...]] = []
    claims = Claims(lambda *message: sent.append(message), 0, 2, Kept(), seconds=0.02)
    first, second = Held(), Held()
    claims.opened("A", first)
    claims.opened("B", second)
    assert [message[0] for message in sent] == ["claim", "claim"]
    assert first.held and second.held
    claims.granted(sent[1][2], None)
    assert not second.held
    await eventually(lambda: not first.held)
    claims.granted(sent[0][2], {"late": True})


async def test_a_station_that_moves_on_before_its_state_has_come_takes_it_along() -> None:
    sent: list[tuple[Any, ...]] = []
    kept = Kept()
    claims = Claims(lambda *message: sent.append(message), 1, 3, kept)
    connection = Held()
    claims.opened("A", connection)
    token = sent[0][2]
    claims.yield_up("A", token)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert connection.closed == [1000]
    assert len(sent) == 1, "there is nothing to hand over yet"
    claims.granted(token, {"from": "elsewhere"})
    await eventually(lambda: len(sent) == 2)
    assert sent[1] == ("state", token, {"from": "elsewhere"})
    assert kept.states == {}
    claims.closed("A", connection)
    assert len(sent) == 2, "the late end of a connection that gave way is nobody's business"


async def test_channel_keeps_messages_apart() -> None:
    """Messages arrive whole and in order, however the bytes are cut."""
    left, right = socket.socketpair()
    heard: list[Any] = []
    gone = asyncio.Event()
    channel = await Channel.over(right, heard.append, gone.set)
    messages = [["a", "x" * size, {"n": size}] for size in (0, 1, 5, 70_000)]
    data = b"".join(len(body).to_bytes(4, "big") + body for body in (json.dumps(m).encode() for m in messages))
    left.setblocking(False)
    loop = asyncio.get_running_loop()
    rng = random.Random(1)
    while data:
        cut = rng.choice((1, 2, 3, 7, 10_000))
        await loop.sock_sendall(left, data[:cut])
        await asyncio.sleep(0)
        data = data[cut:]
    left.close()
    await asyncio.wait_for(gone.wait(), 10)
    assert heard == messages
    channel.send("to nobody")


class Pair:
    """Two servers in this process that are workers of one exchange: here the test says where a station connects."""

    def __init__(self, engine: EngineName) -> None:
        self.claims: list[Claims] = []
        self.csms = [Csms(), Csms()]
        self._exchange = Exchange(2, self._to_worker)
        self.servers = []
        for index, csms in enumerate(self.csms):
            csms.number_transactions(1000 + index, 2)
            self.claims.append(Claims(self._to_supervisor, index, 2, csms))
            self.servers.append(Server(Claimed(csms, self.claims[index]), load(engine), ServerOptions(port=0)))

    def _to_supervisor(self, kind: str, *rest: Any) -> None:
        # As over the channel: later, in order, and as JSON.
        message = json.loads(json.dumps(rest))
        asyncio.get_running_loop().call_soon(lambda: getattr(self._exchange, kind)(*message))

    def _to_worker(self, index: int, kind: str, *rest: Any) -> None:
        message = json.loads(json.dumps(rest))
        told = {"granted": self.claims[index].granted, "yield": self.claims[index].yield_up}[kind]
        asyncio.get_running_loop().call_soon(lambda: told(*message))

    def url(self, index: int) -> str:
        return f"ws://127.0.0.1:{self.servers[index].port}"


@pytest.fixture
async def pair(engine) -> AsyncIterator[Pair]:
    pair = Pair(engine)
    for server in pair.servers:
        await server.start()
    yield pair
    for server in pair.servers:
        await server.stop()


@pytest.mark.parametrize("closed", [False, True])
async def test_a_handler_at_work_during_a_move_answers_the_repeated_call(pair, station, closed) -> None:
    """The station gives up waiting, connects elsewhere and asks again: one transaction, the answer of the first."""
    release, runs = asyncio.Event(), []

    async def slow(context: Any, payload: Any) -> Any:
        runs.append(payload)
        await release.wait()
        return {"transactionId": 7, "idTagInfo": {"status": "Accepted"}}

    for csms in pair.csms:
        csms.tables["ocpp1.6"].on("StartTransaction")(slow)
    first = await station(pair.url(0), "CP1")
    await first.ask([2, "0", "BootNotification", BOOT_V16])
    frame = json.dumps([2, "1", "StartTransaction", START])
    await first.socket.send(frame)
    await eventually(lambda: bool(runs))
    if closed:
        await first.socket.close()
        await eventually(lambda: pair.servers[0].connection("CP1") is None)
    second = await station(pair.url(1), "CP1")
    await second.socket.send(frame)
    await asyncio.wait_for(first.socket.wait_closed(), 20)
    assert first.socket.close_code == 1000
    release.set()
    assert json.loads(await asyncio.wait_for(second.socket.recv(), 20))[:2] == [3, "1"]
    assert len(runs) == 1
    await eventually(lambda: "CP1" not in pair.csms[0].stations)
    assert pair.csms[1].stations["CP1"].boot.stage == "accepted"
    assert pair.csms[1].stations["CP1"].vendor == "V"


async def test_a_station_is_known_to_its_last_worker_alone(pair, station) -> None:
    """There and back, with and without an end between: what it did goes with it each time."""
    connected = await station(pair.url(0), "CP1")
    answer = await connected.ask([2, "1", "StartTransaction", START])
    for number in range(1, 7):
        if number % 3 == 0:
            await connected.socket.close()
        connected = await station(pair.url(number % 2), "CP1")
        assert await connected.ask([2, "1", "StartTransaction", START]) == answer
        await eventually(lambda: [len(csms.stations) for csms in pair.csms].count(1) == 1)
        here = pair.csms[number % 2].stations["CP1"]
        assert list(here.transactions) == [str(answer[2]["transactionId"])]
    assert [claims.moved for claims in pair.claims] != [0, 0]


def test_a_worker_that_died_hands_nothing_over() -> None:
    """Whoever waits for it is served; whoever it waited for owes nobody."""
    sent: list[tuple[Any, ...]] = []
    exchange = Exchange(3, lambda *message: sent.append(message))
    exchange.claim("A", 3)
    exchange.claim("A", 4)
    exchange.claim("B", 7)
    exchange.claim("B", 6)
    assert sent == [
        (0, "granted", 3, None),
        (0, "yield", "A", 3),
        (1, "granted", 7, None),
        (1, "yield", "B", 7),
    ]
    exchange.lost(0)
    assert sent[4:] == [(1, "granted", 4, None)]
    exchange.state(7, {"of": "B"})
    assert len(sent) == 5, "the worker that claimed B is gone"


def test_the_table_of_several_workers() -> None:
    """All stations while they fit; then those heard of last, whichever worker has them."""
    rows = [Row(f"CP{n}", "1.6", "online", "", float(n % 7), "", 0, 0, "", False, None) for n in range(9)]
    screens = [Screen(rows[:4], 4, 3), Screen(rows[4:], 5, 5)]
    assert together(screens, 20) == Screen(rows, 9, 8)
    shown = together(screens, 3)
    assert (shown.known, shown.online) == (9, 8)
    assert [row.last_seen for row in shown.rows] == [6, 5, 4]


# With processes


async def test_one_connection_for_each_station(three, station) -> None:
    """Stations that come back all the time, to whatever worker: one connection of each is open, and it is the last."""
    url, lines = three.url, three.lines
    names = [f"ONE{number}" for number in range(4)]

    async def come_and_go(name: str) -> list[Station]:
        rng, seen = random.Random(name), []
        for _ in range(15):
            seen.append(await station(url, name))
            if rng.random() < 0.3:
                await seen[-1].socket.close()
            elif rng.random() < 0.5:
                assert (await seen[-1].ask([2, "1", "Heartbeat", {}]))[0] == 3
        seen.append(await station(url, name))
        return seen

    for seen in await asyncio.gather(*map(come_and_go, names)):
        *old, last = seen
        assert (await last.ask([2, "1", "Heartbeat", {}]))[0] == 3
        for each in old:
            await asyncio.wait_for(each.socket.wait_closed(), 20)
        assert last.socket.state.name == "OPEN"
        assert (await last.ask([2, "2", "Heartbeat", {}]))[0] == 3
        await last.socket.close()
    await eventually(lambda: all(lines.of(f"{name}: disconnected") for name in names))
    assert {worker for name in names for worker in lines.workers(name)} == {1, 2, 3}
    assert not lines.of("without the state")
    assert not lines.of("Traceback")


async def test_a_transaction_message_is_answered_as_before_after_a_move(three, station) -> None:
    """The same StartTransaction over many reconnects, closed or not: one transaction."""
    url, lines = three.url, three.lines
    first = None
    for number in range(12):
        connected = await station(url, "TX")
        if number == 0:
            await connected.ask([2, "boot", "BootNotification", BOOT_V16])
        answer = await connected.ask([2, "1", "StartTransaction", START])
        first = first or answer
        assert answer == first
        if number % 2:
            await connected.socket.close()
    assert len(set(lines.workers("TX"))) > 1, "it has moved"
    other = await (await station(url, "TX")).ask([2, "2", "StartTransaction", START])
    assert other[2]["transactionId"] != first[2]["transactionId"]


async def test_transaction_ids_of_all_workers_differ(three, station) -> None:
    url, lines = three.url, three.lines
    ids = []
    for number in range(24):
        connected = await station(url, f"ID{number}")
        answers = [await connected.ask([2, str(message), "StartTransaction", START]) for message in range(4)]
        ids += [answer[2]["transactionId"] for answer in answers]
    await eventually(lambda: all(lines.workers(f"ID{number}") for number in range(24)))
    assert {worker for number in range(24) for worker in lines.workers(f"ID{number}")} == {1, 2, 3}
    assert len(set(ids)) == len(ids)


async def test_a_station_that_was_accepted_stays_so_after_a_move(three, station) -> None:
    """In 2.x nothing but a BootNotification is answered before acceptance, and acceptance is the station's."""
    url, lines = three.url, three.lines
    connected = await station(url, "BOOT", "ocpp2.0.1")
    assert (await connected.ask([2, "0", "Heartbeat", {}]))[2] == "SecurityError"
    assert (await connected.ask([2, "1", "BootNotification", BOOT_V2]))[2]["status"] == "Accepted"
    for number in range(12):
        connected = await station(url, "BOOT", "ocpp2.0.1")
        assert (await connected.ask([2, f"h{number}", "Heartbeat", {}]))[0] == 3
    assert len(set(lines.workers("BOOT"))) > 1


async def test_frames_sent_at_once_wait_for_the_move(three, station) -> None:
    """What a station sends with its first packet is answered in order, after its state has arrived."""
    url = three.url
    for number in range(10):
        connected = await station(url, "HELD", "ocpp2.0.1")
        if number == 0:
            await connected.ask([2, "b", "BootNotification", BOOT_V2])
        for message in range(5):
            await connected.socket.send(json.dumps([2, str(message), "Heartbeat", {}]))
        for message in range(5):
            kind, name, _ = json.loads(await asyncio.wait_for(connected.socket.recv(), 20))
            assert (kind, name) == (3, str(message))


async def test_a_killed_worker_comes_back_and_the_others_do_not_notice(mortal, station) -> None:
    process, url, lines = mortal.process, mortal.url, mortal.lines
    stations = {f"CP{number}": await station(url, f"CP{number}") for number in range(24)}
    await lines.until("connected from", 24)
    pids = children(process.pid)
    assert len(pids) == 3
    os.kill(pids[0], signal.SIGKILL)
    await lines.until("died by SIGKILL")
    (line,) = lines.of("died by SIGKILL")
    dead = int(re.search(r"worker (\d) died", line)[1])
    cut = {name for name in stations if lines.workers(name) == [dead]}
    assert 0 < len(cut) < 24
    for name, connected in stations.items():
        if name in cut:
            with pytest.raises(ConnectionClosed):
                await connected.ask([2, "1", "Heartbeat", {}])
        else:
            assert (await connected.ask([2, "1", "Heartbeat", {}]))[0] == 3
    await eventually(lambda: len(children(process.pid)) == 3)
    # New ones come to all three again.
    number = 0
    async with asyncio.timeout(30):
        while not any(dead in lines.workers(f"NEW{each}") for each in range(number)):
            try:
                again = await station(url, f"NEW{number}")
            except OSError:
                await asyncio.sleep(0.05)
                continue
            number += 1
            assert (await again.ask([2, "1", "Heartbeat", {}]))[0] == 3
    for name in cut:
        assert (await (await station(url, name)).ask([2, "1", "Heartbeat", {}]))[0] == 3


async def test_no_worker_outlives_a_killed_supervisor(mortal, station) -> None:
    process, url = mortal.process, mortal.url
    connected = await station(url, "CP1")
    pids = children(process.pid)
    assert len(pids) == 3
    process.kill()
    with pytest.raises(ConnectionClosed):
        await asyncio.wait_for(connected.socket.recv(), 20)
    await eventually(lambda: not any(map(alive, pids)))


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_signal_ends_all_of_them(cli, engine, station) -> None:
    process = cli("serve", "--port", "0", "--http-port", "none", "--workers", "2", "--engine", engine)
    url = await asyncio.to_thread(process.listening)
    stations = [await station(url, f"CP{number}") for number in range(8)]
    pids = children(process.process.pid)
    ending = asyncio.create_task(asyncio.to_thread(process.end, signal.SIGTERM))
    for connected in stations:
        await asyncio.wait_for(connected.socket.wait_closed(), 20)
        assert connected.socket.close_code == 1001
    status, out, err = await ending
    assert (status, out) == (0, "")
    assert "Traceback" not in err
    assert not any(map(alive, pids))


def test_what_no_worker_can_do_is_said_once(cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, out, err = cli("serve", "--port", port, "--workers", "2").end()
    assert (status, out) == (1, "")
    assert f"evcore: cannot listen on 127.0.0.1:{port}: the port is in use" in err
    arguments = ("--workers", "2", "--port", "0", "--tls-certificate", "no.pem", "--tls-key", "no.key")
    status, out, err = cli("serve", *arguments).end()
    assert (status, out) == (1, "")
    assert err == "evcore: no.key cannot be read: No such file or directory\n"


def test_a_second_server_does_not_share_the_port(cli) -> None:
    """SO_REUSEPORT would let it, and half of the stations would come to the wrong server."""
    first = cli("serve", "--port", "0", "--http-port", "none", "--workers", "2")
    port = first.listening().rpartition(":")[2]
    for workers in ("1", "2"):
        status, _, err = cli("serve", "--port", port, "--http-port", "none", "--workers", workers).end()
        assert status == 1
        assert "the port is in use" in err


def test_workers_that_die_at_once_end_the_server(cli, tmp_path) -> None:
    """Something kills every worker after the start: the server gives up with a sentence instead of trying for ever."""
    (tmp_path / "killer").mkdir()
    # Python runs this in every process of the test's server; it strikes in workers alone.
    (tmp_path / "killer" / "sitecustomize.py").write_text(
        "import os, sys, threading, time\n"
        "def strike():\n"
        "    while not os.path.exists('strike'):\n"
        "        time.sleep(0.01)\n"
        "    os._exit(7)\n"
        "if 'evcore.cli.worker' in ' '.join(sys.orig_argv):\n"
        "    threading.Thread(target=strike, daemon=True).start()\n"
    )
    path = os.pathsep.join((str(tmp_path / "killer"), str(Path(evcore.__file__).parents[1])))
    process = cli("serve", "--port", "0", "--http-port", "none", "--workers", "2", PYTHONPATH=path)
    process.listening()
    (tmp_path / "strike").touch()
    status, _, err = process.end()
    assert status == 1
    assert re.search(r"evcore: worker \d died 5 times in a row, the last time with status 7\n", err)


async def test_each_worker_has_a_message_log(cli, tmp_path, station) -> None:
    process = cli("serve", "--port", "0", "--http-port", "none", "--workers", "2", "--message-log", "all.jsonl")
    url = await asyncio.to_thread(process.listening)
    for number in range(12):
        await (await station(url, f"CP{number}")).ask([2, "1", "Heartbeat", {}])
    assert (await asyncio.to_thread(process.end, signal.SIGTERM))[0] == 0
    stations = [
        {json.loads(line)["station"] for line in (tmp_path / f"all.worker{number}.jsonl").read_text().splitlines()}
        for number in (1, 2)
    ]
    assert stations[0] | stations[1] == {f"CP{number}" for number in range(12)}
    assert not stations[0] & stations[1]
