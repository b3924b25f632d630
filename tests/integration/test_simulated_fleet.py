"""Fleets of simulated stations against a real server: scenarios, seeds, quirks, lost connections, the command line."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import evcore
from evcore import Codec
from evcore.csms import tables
from evcore.net.connection import CallFailed
from evcore.net.engine import load
from evcore.sim.fleet import Credentials, Fleet, FleetPlan
from evcore.sim.quirks import QUIRKS
from evcore.sim.run import play
from evcore.sim.scenario import BUNDLED, Arrivals, Cars, Drops, Faults, Model, Network, Scenario, bundled
from evcore.sim.station import Station
from evcore.sim.stats import Tally

START = 1_772_431_200.0  # a Monday, 06:00 UTC
WELL_BEHAVED = [name for name in BUNDLED if name != "misbehaving"]
#: Cars come at once, charge, and go.
BUSY = Scenario(
    name="busy",
    duration=3 * 3600,
    models=(Model(connectors=2),),
    arrivals=Arrivals(within=(60, 1200), busy=1.0),
    cars=Cars(capacity=(20, 30), power=(11.0, 22.0)),
    ramp_up=1000,
)


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[bytes]]:
    """What each station sends and receives, in order."""
    seen: dict[str, list[bytes]] = {}
    flush, receive = Station._flush, Station.frame

    class Tap:
        def __init__(self, station: Station, wire: Any) -> None:
            self.station, self.wire = station, wire

        def __getattr__(self, name: str) -> Any:
            return getattr(self.wire, name)

        def send(self, frame: bytes) -> None:
            seen.setdefault(self.station.identity, []).append(b">" + frame)
            self.wire.send(frame)

    def flushing(station: Station) -> None:
        if station.wire is not None and not isinstance(station.wire, Tap):
            station.wire = Tap(station, station.wire)
        flush(station)

    def receiving(station: Station, frame: bytes) -> None:
        seen.setdefault(station.identity, []).append(b"<" + frame)
        receive(station, frame)

    monkeypatch.setattr(Station, "_flush", flushing)
    monkeypatch.setattr(Station, "frame", receiving)
    return seen


async def played(url: str, scenario: Scenario, stations: int = 5, speed: float = 20_000, **more: Any) -> Tally:
    plan = FleetPlan(url, scenario, stations=stations, speed=speed, start=START, **more)
    async with asyncio.timeout(100):
        return await Fleet(plan, load("picows")).run()


@pytest.mark.parametrize("name", WELL_BEHAVED)
async def test_bundled_scenarios_play_without_a_refusal(serving, name, caplog) -> None:
    scenario = bundled(name)
    async with serving() as server:
        tally = await played(server.url, scenario, 12, max(scenario.duration / 4, 500), ramp_up=200)
        assert tally.losses == {}, tally.codes
        assert (tally.booted, tally.stations, tally.broken, tally.faults, tally.invalid) == (12, 12, 0, 0, 0)
        assert tally.connected == 0
        assert sum(station.violations for station in server.csms.stations.values()) == 0
        assert len(server.csms.stations) == 12
    if name not in ("idle", "storm"):
        assert tally.charges > 0
        assert tally.energy > 0
    if name in ("flaky", "storm"):
        assert tally.reconnects > 6
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_the_misbehaving_scenario_is_refused_where_it_says_only(serving) -> None:
    async with serving() as server:
        tally = await played(server.url, bundled("misbehaving"), 40, 3000, ramp_up=200)
        assert tally.losses == {}, tally.codes
        assert tally.refused_as_expected > 0
        assert tally.booted == 40


async def test_the_same_seed_sends_the_same_messages(serving, frames) -> None:
    scenario = BUSY.model_copy(
        update={"faults": Faults(every=4 * 3600), "network": Network(drops=Drops(every=3600, offline=(5, 600)))}
    )

    def sent() -> dict[str, list[bytes]]:
        # Transaction ids are the CSMS's choice.
        return {
            identity: [re.sub(rb'"transactionId":\d+', b'"transactionId":0', each) for each in seen if each[:1] == b">"]
            for identity, seen in frames.items()
        }

    runs = []
    for seed, engine in ((1, "picows"), (1, "websockets"), (2, "picows")):
        frames.clear()
        async with serving(engine) as server:
            tally = await played(server.url, scenario, 6, seed=seed)
        assert tally.losses == {}
        runs.append(sent())
    first, again, other = runs
    assert first.keys() == again.keys()
    for identity, messages in first.items():
        assert len(messages) > 50
        assert messages == again[identity]
        assert messages[:20] != other[identity][:20]


async def test_a_fleet_divided_is_the_same_fleet(serving, frames) -> None:
    """Stations are what they are in whatever process they run."""
    kinds = []
    for parts in (1, 3):
        frames.clear()
        async with serving() as server:
            for first in range(parts):
                await played(server.url, BUSY.model_copy(update={"duration": 600.0}), 9, first=first, step=parts)
            stations = server.csms.stations.values()
            kinds.append({station.identity: (station.version, station.model) for station in stations})
    assert kinds[0] == kinds[1]
    assert len(kinds[0]) == 9
    assert len({version for version, _ in kinds[0].values()}) > 1


# -- quirks -----------------------------------------------------------------------------------------------------------

QUIRK_CASES = [(number, version) for number, quirk in QUIRKS.items() for version in quirk.versions]


@pytest.mark.parametrize(("number", "version"), QUIRK_CASES)
async def test_a_quirk_is_sent_and_answered_as_documented(serving, frames, number, version) -> None:
    """The server answers every CALL, with a CALLERROR where the quirk says so and nowhere else; the line stays up."""
    quirk = QUIRKS[number]
    async with serving() as server:
        scenario = BUSY.model_copy(update={"duration": 5400.0, "models": (Model(),)})
        plan = FleetPlan(server.url, scenario, version, speed=20_000, start=START, quirks=(number,))
        fleet = Fleet(plan, load("picows"))
        running = asyncio.ensure_future(fleet.run())
        (station,) = fleet.stations
        asked = False
        while not running.done():
            await asyncio.sleep(0.01)
            live = server.csms.stations.get(station.identity)
            if quirk.result and not asked and live is not None and live.connection is not None and station.online:
                asked = True
                order = ("GetConfiguration", {}) if version == "1.6" else ("ClearCache", {})
                # An answer that breaks its schema fails the CALL.
                with contextlib.suppress(CallFailed):
                    await live.connection.call(*order)
        tally = await running
    seen = frames[station.identity]
    sent = [each[1:] for each in seen if each[:1] == b">"]
    received = [json.loads(each[1:]) for each in seen if each[:1] == b"<"]
    assert tally.lost_connections == 0
    assert tally.losses == {}, tally.codes
    assert tally.booted == 1
    codes = Counter(message[2] for message in received if message[0] == 4 and message[1] != "-1")
    if quirk.refused:
        assert tally.refused_as_expected > 0
        wanted = {"FormationViolation", "FormatViolation", "PropertyConstraintViolation"}
        assert set(codes) <= wanted
    elif number == "Q11" and version == "2.0.1":
        assert set(codes) == {"MessageTypeNotSupported"}
    else:
        assert not codes
    if number == "Q46":
        assert tally.charges == 0, "a driver who is refused does not charge"
    else:
        assert tally.charges > 0
    assert bent(number, version, sent), sent[:12]


def bent(number: str, version: str, sent: list[bytes]) -> bool:
    """Whether the quirk can be seen in what was sent."""
    if number in ("Q85", "Q92", "Q95"):
        return True
    codec = Codec(f"ocpp{version}")
    if number == "Q21":
        return all(re.fullmatch(r"\d{20}", json.loads(frame)[1]) for frame in sent)
    if number in ("Q13", "Q14"):
        kind = b"[2," if number == "Q13" else b"[3,"
        return any(one == other and one.startswith(kind) for one, other in itertools.pairwise(sent))
    if number in ("Q08", "Q09", "Q11", "Q12", "Q94"):
        return any(message in sent for message in QUIRKS[number].beside)
    if number == "Q05":
        return all(b"\n" in frame for frame in sent if frame.startswith(b"[\n  2"))
    text = b"\n".join(sent)
    marks = {
        "Q22": b'"Heartbeat",null]', "Q28": b'endor":""' if version == "1.6" else b'"vendorName":""',
        "Q29": b'"iccid":""',
        "Q33": b"0-", "Q34": b'"transactionId":-1', "Q35": b'"transactionId":null', "Q36": b'"transactionId":0',
        "Q38": b'"meterStop":-1', "Q39": b"9223372036854775807", "Q41": b'"Reason"', "Q42": b'"transactionData":[]',
        "Q43": b'"sampledValue":[]', "Q50": b'"sampledValue":[]', "Q49": b'"meterValue":{', "Q52": b'"value":""',
        "Q53": b'"Hz"', "Q54": b'"Celcius"', "Q55": b"Request.Energy", "Q56": b"Import\\n", "Q57": b"Sample.Whatever",
        "Q63": b'"errorCode":"Error"', "Q64": b"00:10:00", "Q65": b"vendorErrorCode", "Q80": b"2022-02-29",
        "Q81": b"1970-01-01",
        "Q79": b'+00"', "Q82": b".1234567+00:00", "Q06": b"\x00", "Q66": b"x" * 551,
    }  # fmt: skip
    if number in marks:
        return marks[number] in text
    if number in ("Q37", "Q51", "Q76", "Q78", "Q46", "Q59", "Q60", "Q67", "Q68"):
        finds: dict[str, Any] = {
            "Q37": lambda action, payload: action == "StopTransaction" and "meterStop" not in payload,
            "Q51": lambda action, payload: re.search(r'"value": \d', json.dumps(payload)),
            "Q76": lambda action, payload: action == "TransactionEvent" and "triggerReason" not in payload,
            "Q78": lambda action, payload: re.search(r'"timestamp": "[^"Z]+"', json.dumps(payload)),
            "Q46": lambda action, payload: action == "Authorize" and "connectorId" in payload,
            "Q59": lambda action, payload: '"Power.Active.Import", "unit": "Wh"' in json.dumps(payload),
            "Q60": lambda action, payload: '"SoC", "unit": "V"' in json.dumps(payload),
        }
        if number in finds:
            calls = [json.loads(frame) for frame in sent if frame.startswith(b"[2,")]
            return any(finds[number](call[2], call[3]) for call in calls)
        results = [json.loads(frame)[2]["configurationKey"] for frame in sent if frame.startswith(b"[3,")]
        member = "value" if number == "Q67" else "readonly"
        return any(type(key[member]) is int for keys in results for key in keys)
    assert codec is None, f"{number} has no mark"
    return False


# -- boot, lines, losses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
async def test_pending_and_rejected_are_obeyed(serving, frames, monkeypatch, version) -> None:
    """Two declined boots: nothing but BootNotification is sent, each after the interval the CSMS gave."""
    verdicts = iter(["Pending", "Rejected", "Accepted"])

    def answer(station: Any, payload: Any) -> Any:
        return {"currentTime": "2026-03-01T10:00:00Z", "interval": 77, "status": next(verdicts, "Accepted")}

    monkeypatch.setitem(tables._ALL[f"ocpp{version}"], "BootNotification", answer)
    async with serving() as server:
        tally = await played(server.url, bundled("idle"), 1, 2000, version=version, duration=600.0)
    assert tally.losses == {}
    calls = [json.loads(each[1:])[2] for each in frames["SIM-000001"] if each.startswith(b">[2,")]
    assert calls[:4] == ["BootNotification"] * 3 + ["StatusNotification"]
    beats = [each for each in calls if each == "Heartbeat"]
    assert 4 <= len(beats) <= 6, "every 77 s, from the interval of the last answer"


async def test_offline_charges_are_delivered_afterwards(serving, frames) -> None:
    """The line is cut in the middle of charges; every transaction begins, ends and is in order in the end."""
    network = Network(drops=Drops(every=900, offline=(60, 1800)), backoff_minimum=5, backoff_random=5)
    scenario = BUSY.model_copy(update={"network": network})
    async with serving() as server:
        tally = await played(server.url, scenario, 8, 3000, seed=5)
    assert tally.losses == {}
    assert tally.drops > 8
    assert tally.queued == 0
    offline = 0
    for seen in frames.values():
        calls = [json.loads(each[1:]) for each in seen if each.startswith(b">[2,")]
        # What was cut off before its answer came is sent again, with its id.
        calls = list({call[1]: call for call in calls}.values())
        events = [call[3] for call in calls if call[2] == "TransactionEvent"]
        offline += sum(event.get("offline", False) for event in events)
        by_transaction: dict[str, list[Any]] = {}
        for event in events:
            by_transaction.setdefault(event["transactionInfo"]["transactionId"], []).append(event)
        for transaction in by_transaction.values():
            assert [event["seqNo"] for event in transaction] == list(range(len(transaction)))
            assert transaction[0]["eventType"] == "Started"
        for call in calls:
            if call[2] in ("StopTransaction", "MeterValues"):
                assert call[3]["transactionId"] > 0, "an id the CSMS gave, although the beginning was sent late"
    assert offline > 0


async def test_stations_come_back_when_the_csms_sends_them_away(serving, until) -> None:
    scenario = BUSY.model_copy(update={"network": Network(backoff_minimum=200, backoff_random=100), "duration": 2e5})
    async with serving() as server:
        fleet = Fleet(FleetPlan(server.url, scenario, stations=6, speed=2000, start=START), load("picows"))
        running = asyncio.ensure_future(fleet.run())
        await until(lambda: fleet.tally.booted == 6)
        for station in server.csms.stations.values():
            assert station.connection is not None
            station.connection.close(1001)
        await until(lambda: fleet.tally.lost_connections == 6)
        await until(lambda: fleet.tally.connected == 6)
        assert fleet.tally.reconnects == 6
        fleet.stop()
        await running
        assert fleet.tally.losses.keys() <= {"cut off before the answer"}


async def test_stations_on_their_way_in_are_no_loss() -> None:
    """The run is over before the CSMS has answered the upgrade."""
    for waited, losses in ((600.0, {}), (0.1, {"stations never accepted": 2})):
        network = Network(message_timeout=waited)
        scenario = bundled("idle").model_copy(update={"ramp_up": 1000.0, "network": network, "duration": 1000.0})
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"ws://127.0.0.1:{silent.getsockname()[1]}"
            fleet = Fleet(FleetPlan(url, scenario, stations=2, speed=1000, start=START), load("picows"))
            # Nobody waits for the handshake: it is what the run is cut in.
            fleet._catch_up = _at_once  # type: ignore[method-assign]
            async with asyncio.timeout(60):
                tally = await fleet.run()
        assert (tally.stations, tally.booted, tally.losses) == (2, 0, losses)
        assert tally.connecting == 2 - losses.get("stations never accepted", 0)


async def _at_once() -> None:
    return None


async def test_stations_that_are_never_let_in_are_a_loss(serving) -> None:
    async with serving(known={"SIM-000001"}) as server:
        tally = await played(server.url, bundled("idle"), 3, 1000, duration=1200.0)
    assert tally.losses == {"stations never accepted": 2}
    assert tally.connect_failures >= 2


async def test_basic_credentials_are_sent(monkeypatch) -> None:
    credentials = Credentials(password="pw-{identity}-{number}")
    assert credentials.headers("A:B", 3) == {"Authorization": "Basic QTpCOnB3LUE6Qi0z"}
    # The vector of OCPP-J 1.6 section 6.2.2.
    key = Credentials(key="0001020304050607FFFFFFFFFFFFFFFFFFFFFFFF")
    assert key.headers("AL1000", 1) == {"Authorization": "Basic QUwxMDAwOgABAgMEBQYH////////////////"}
    with pytest.raises(ValueError, match="hexadecimal"):
        Credentials(key="xyz").headers("A", 1)
    assert Credentials().headers("A", 1) is None


async def test_several_processes(serving, until) -> None:
    async with serving() as server:
        plan = FleetPlan(server.url, bundled("idle"), stations=7, speed=600, duration=1800.0, ramp_up=100)
        shown: list[int] = []
        stop = asyncio.Event()
        tally = await play(plan, "picows", 2, lambda tally: shown.append(tally.connected), stop)
        assert tally.losses == {}
        assert (tally.stations, tally.booted) == (7, 7)
        assert max(shown) == 7
        assert tally.latency["Heartbeat"].count >= 7 * 5
        # One that would go on for ever is ended from outside.
        plan = replace(plan, duration=1e9)
        running = asyncio.ensure_future(play(plan, "picows", 2, lambda tally: shown.append(tally.booted), stop))
        shown.clear()
        await until(lambda: 7 in shown)
        stop.set()
        assert (await running).losses == {}


# -- the command line -------------------------------------------------------------------------------------------------


def test_a_fleet_from_the_command_line(cli) -> None:
    url = cli("serve", "--port", "0", "--heartbeat-interval", "60").listening()
    common = ("simulate", "--url", url, "--stations", "5", "--scenario", "idle", "--speed", "600", "--duration", "15m")
    status, out, err = cli(*common).end()
    assert (status, err) == (0, ""), out
    assert "5 of 5 stations accepted" in out
    assert re.search(r"Heartbeat +\d+ +\d+\.\d\d", out)
    status, out, err = cli(*common, "--json", "--quirk", "Q63", "--version", "1.6").end()
    report = json.loads(out)
    assert (status, report["losses"]) == (0, {})
    assert report["refused_as_expected"] == 10, "two connectors each"
    assert report["latency"]["Heartbeat"]["count"] >= 5 * 12
    assert report["latency"]["all"]["p99_ms"] > 0


def test_stations_connect_from_addresses_of_their_own(cli, engine) -> None:
    server = cli("serve", "--port", "0")
    url = server.listening()
    run = cli(
        "simulate", "--url", url, "--stations", "4", "--source", "127.0.0.2-127.0.0.3", "--scenario", "idle",
        "--speed", "600", "--duration", "1m", "--ramp-up", "100", "--engine", engine,
    )  # fmt: skip
    assert run.end()[0] == 0
    _, _, err = server.end(signal.SIGTERM)
    assert sorted(re.findall(r"connected from (127\.0\.0\.\d):", err)) == ["127.0.0.2"] * 2 + ["127.0.0.3"] * 2


def test_stations_with_passwords_over_tls(cli, tmp_path) -> None:
    """A certificate that is trusted and a password that is right let a station in; each of the two is needed."""
    pair = [str(tmp_path / name) for name in ("certificate.pem", "key.pem")]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-out", pair[0], "-keyout", pair[1]],
        check=True, capture_output=True,
    )  # fmt: skip
    for number in (1, 2):
        subprocess.run(
            [sys.executable, "-m", "evcore", "credential", "add", "stations", f"S{number}", "--password-stdin"],
            cwd=tmp_path, check=True, capture_output=True, text=True, input=f"password-of-S{number}-{number}",
            env={**os.environ, "PYTHONPATH": str(Path(evcore.__file__).parents[1])},
        )  # fmt: skip
    server = cli(
        "serve", "--port", "0", "--tls-certificate", pair[0], "--tls-key", pair[1], "--credentials", "stations"
    )
    assert server.process.stdout is not None
    url = server.process.stdout.readline().split()[-1]
    assert url.startswith("wss://")
    fleet = ("simulate", "--url", url, "--stations", "2", "--id", "S{number}", "--scenario", "idle", "--speed", "600",
             "--duration", "5m")  # fmt: skip
    right = ("--tls-ca", pair[0], "--password", "password-of-{identity}-{number}")
    status, out, err = cli(*fleet, *right).end()
    assert (status, err) == (0, ""), out
    for wrong in (right[:2], (*right[:3], "another-password"), right[2:]):
        status, _, err = cli(*fleet, *wrong).end()
        assert (status, err) == (1, "evcore: not all went well: 2 stations never accepted\n")


def test_losses_are_an_exit_status(cli) -> None:
    url = cli("serve", "--port", "0", "--unknown", "reject", "--stations", "A1").listening()
    run = cli(
        "simulate", "--url", url, "--stations", "2", "--id", "A{number}", "--scenario", "idle", "--speed", "1000",
        "--duration", "10m",
    )  # fmt: skip
    status, _, err = run.end()
    assert status == 1
    assert err == "evcore: not all went well: 1 stations never accepted\n"


def test_an_interrupted_fleet_reports(cli) -> None:
    url = cli("serve", "--port", "0").listening()
    run = cli("simulate", "--url", url, "--stations", "3", "--scenario", "home", "--speed", "10", "--progress", "on")
    assert run.process.stderr is not None
    seen = ""
    while "3 of 3 connected" not in seen:
        seen += run.process.stderr.read(1)
    status, out, _ = run.end(signal.SIGINT)
    assert status == 0
    assert "3 of 3 stations accepted" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--scenario", "rush"), "there is no scenario 'rush': choose idle, "),
        (("--stations", "2", "--id", "X"), "--id must have {number} in it"),
        (("--stations", "2", "--id", "X{n}"), "--id must be text with {number} in it at most"),
        (("--quirk", "Q49,Q1"), "--quirk does not know Q1; known are "),
        (("--duration", "soon"), "--duration must be a time"),
        (("--start", "noon"), "--start must be a date and time"),
        (("--source", "127.0.0.9-127.0.0.2"), "--source must be addresses"),
        (("--authorization-key", "xyz"), "--authorization-key must be hexadecimal digits"),
        (("--url", "wss://a.example", "--tls-ca", "none.pem"), "the TLS files cannot be used: "),
    ],
)
def test_wrong_options_are_said(cli, arguments, sentence) -> None:
    status, out, err = cli("simulate", *arguments).end()
    assert (status, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1


def test_scenarios_are_listed(cli) -> None:
    status, out, _ = cli("simulate", "--list-scenarios").end()
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == list(BUNDLED)
