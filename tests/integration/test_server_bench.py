"""The server benches run, and every answer in them is checked; no figure of theirs is judged here."""

import dataclasses
import json
import sys

import pytest

from benches.server import __main__ as server_bench
from benches.server import handshakes, memory, servers, tables
from benches.server.client import Fleet, Target, WrongAnswer
from benches.server.rtt import CALLS
from benches.server.servers import EVCORE_PICOWS, GC_OFF_PEERS, PICOWS, PYTHON_PEERS, Server, Unavailable
from benches.server.wire import template
from evcore import CallError, Codec

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the client of the benches asks for epoll")

EVCORE = next(peer for peer in PYTHON_PEERS if peer.name == EVCORE_PICOWS)
PICOWS_ECHO = next(peer for peer in PYTHON_PEERS if peer.name == PICOWS)


@pytest.fixture
def figures(tmp_path, capsys):
    """Runs benches, short; gives the document they write."""

    def run(*arguments):
        target = tmp_path / "figures.json"
        assert server_bench.main(["--short", "--json", str(target), *arguments]) == 0, capsys.readouterr().err
        return json.loads(target.read_text())

    return run


def test_every_python_server_answers_every_call(figures):
    document = figures("--only", "rtt", "--peers", "python")
    seen = {(record["peer"], record["action"]) for record in document["rtt"]}
    assert seen == {(peer.name, action) for peer in (*PYTHON_PEERS, *GC_OFF_PEERS) for _, action in CALLS}
    assert all(record["count"] > 0 and record["cpu_us"] > 0 for record in document["rtt"])


def test_stations_are_held_and_come_back(figures):
    document = figures("--only", "hold", "--only", "storm", "--stations", "200", "--processes", "2")
    (held,) = document["hold"]
    assert (held["stations"], held["processes"]) == (200, 2)
    assert held["sent"] > 0
    assert (held["lost"], held["dropped"]) == (0, 0)
    (storm,) = document["storm"]
    assert storm["seconds"] > 0
    assert storm["heartbeats"] > 0
    assert (storm["lost"], storm["dropped"]) == (0, 0)


def test_connections_are_weighed_over_tls(tmp_path):
    records = memory.measure([EVCORE], ["TLS", "mTLS"], [50], tmp_path, str)
    assert [(record["kind"], record["stations"]) for record in records] == [("TLS", 50), ("mTLS", 50)]


def test_stations_come_in_by_every_kind_of_handshake(tmp_path):
    records = handshakes.measure([EVCORE], 10, 1, tmp_path, str)
    assert [record["kind"] for record in records] == ["plain", "TLS", "TLS RSA", "mTLS"]
    assert all(record["cpu_us"] > 0 for record in records)


def test_a_wrong_answer_is_noticed():
    fleet = Fleet()
    try:
        with Server(PICOWS_ECHO) as server:
            fleet.open([Target(server.ports["ocpp1.6"], echo=True)])
            assert fleet.race(template("ocpp1.6", "Heartbeat", echo=True), 0.0)[0] == 1
            with pytest.raises(WrongAnswer, match="instead of"):
                fleet.race(template("ocpp1.6", "Heartbeat"), 0.0)
    finally:
        fleet.close()


def test_a_station_that_cannot_be_opened_is_a_sentence():
    fleet = Fleet()
    try:
        with Server(PICOWS_ECHO) as server:
            port = server.ports["ocpp1.6"]
        with pytest.raises(TimeoutError, match=r"0 of 1 stations are open.*ECONNREFUSED"):
            fleet.open([Target(port)], patience=0.3)
    finally:
        fleet.close()


@pytest.mark.parametrize(
    ("version", "action"), [*CALLS, ("ocpp1.6", "BootNotification"), ("ocpp2.0.1", "BootNotification")]
)
def test_what_is_sent_is_a_valid_call_with_another_id_each_time(version, action):
    call = template(version, action)
    for number in (1, 9_999_999_999):
        frame = bytes(call.stamped(number))
        size = len(frame) - (8 if frame[1] & 0x7F == 126 else 6)
        mask = frame[-size - 4 : -size]
        text = bytes(byte ^ mask[index % 4] for index, byte in enumerate(frame[-size:]))
        message = Codec(version).decode(text)
        assert message.action == action
        assert int(message.id[-10:]) == number
        answer = Codec(version).encode(CallError(message.id, "InternalError"))
        assert answer.replace(b"[4,", b"[3,").startswith(call.answer(number))


def test_a_server_that_does_not_start_is_a_sentence():
    broken = dataclasses.replace(PICOWS_ECHO, command=(sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(Unavailable, match=r"did not say where it listens, its status is 3"):
        Server(broken)


def test_a_missing_tool_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(servers.shutil, "which", lambda tool: None)
    monkeypatch.setattr(servers, "GO", tmp_path / "not-built")
    with pytest.raises(Unavailable, match=r"needs `go`, which was not found: https://go.dev"):
        servers.build("go")


def test_a_page_gets_the_tables_it_asks_for_and_no_others(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- capacity:rtt -->\nstale\n<!-- /capacity -->\n<!-- capacity:hold -->\nkept\n<!-- /capacity -->\n"
    )
    record = {
        "peer": EVCORE_PICOWS,
        "judges": "yes",
        "action": "MeterValues",
        "cpu_us": 12.5,
        "ratio": 1.5,
        "per_second": 1,
        "count": 1,
    }
    document = {
        "when": {"rtt": "now"},
        "machine": {},
        "versions": {},
        "commands": {"rtt": "repeat me"},
        "rtt": [record],
    }
    assert tables.paste(document, page) == ["rtt"]
    text = page.read_text()
    assert "12.5" in text
    assert "repeat me" in text
    assert "stale" not in text
    assert "kept" in text
