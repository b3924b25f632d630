"""The real command line as a process: `python -m evcore`."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import evcore
from evcore.net.engine import ENGINES

VERSIONS = ("1.6", "2.0.1", "2.1")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("engine", ENGINES)
async def test_signals_end_it_with_stations_connected(cli, number, engine) -> None:
    process = cli("serve", "--port", "0", "--engine", engine)
    url = await asyncio.to_thread(process.listening)
    async with connect(f"{url}/A", subprotocols=["ocpp1.6"]) as a, connect(f"{url}/B", subprotocols=["ocpp2.1"]) as b:
        await a.send('[2,"1","Heartbeat",{}]')
        assert json.loads(await a.recv())[0] == 3
        ending = asyncio.create_task(asyncio.to_thread(process.end, number))
        for station in (a, b):
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(station.recv(), 10)
            assert station.close_code == 1001
        status, out, err = await ending
    assert (status, out) == (0, "")
    assert "Traceback" not in err
    assert "A: connected from 127.0.0.1:" in err


def test_it_ends_while_it_simulates(cli) -> None:
    process = cli("serve", "--port", "0", "--simulate", "3", "--log-level", "debug")
    url = process.listening()
    for line in process.process.stderr:
        if "SIM-003 boot: Accepted" in line:
            break
    status, _, err = process.end(signal.SIGTERM)
    assert status == 0
    assert "Traceback" not in err
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))


def test_simulated_stations_are_known_to_a_server_that_rejects_others(cli) -> None:
    process = cli("serve", "--port", "0", "--simulate", "1", "--unknown", "reject", "--log-level", "debug")
    process.listening()
    assert any("SIM-001 boot: Accepted" in line for line in process.process.stderr)


def test_port_in_use(cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for engine in ENGINES:
            status, out, err = cli("serve", "--port", str(port), "--engine", engine).end()
            assert (status, out) == (1, "")
            assert err == (
                f"evcore: cannot listen on 127.0.0.1:{port}: the port is in use; "
                "stop the other program or choose another --port\n"
            )


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        (("serve", "--host", "203.0.113.7"), 1, "cannot listen on 203.0.113.7:9000: "),
        (("serve", "--max-frame", "1"), 2, "--max-frame cannot be 1"),
        (("serve", "--config", "none.toml"), 2, "the settings file none.toml cannot be read"),
        (("serve", "--message-log", "no/such/folder"), 1, "the message log no/such/folder cannot be written"),
        (("serve", "--engine", "other"), 2, "'other' is not one of 'picows', 'websockets'"),
        (("nonsense",), 2, "No such command 'nonsense'"),
        (("simulate", "--url", "ws://127.0.0.1:1"), 1, "no connection to ws://127.0.0.1:1 as CP1: "),
        (("simulate", "--url", "ws://127.0.0.1:1", "--engine", "websockets"), 1, "is a CSMS running there?"),
        (("simulate", "--url", "nonsense"), 1, "no connection to nonsense as CP1: "),
        (("simulate", "--version", "2.0"), 2, "'2.0' is not one of '1.6', '2.0.1', '2.1'"),
    ],
)
def test_what_goes_wrong_is_said_in_a_sentence(cli, arguments, status, part) -> None:
    found, out, err = cli(*arguments).end()
    assert found == status
    # A simulated station tells what happens to it; everything else says nothing but what is wrong.
    assert out == "" or arguments[0] == "simulate"
    assert part in " ".join(err.replace("│", "").split())
    assert "Traceback" not in err
    if err.startswith("evcore:"):
        assert err.count("\n") == 1


def test_environment_and_file_reach_the_server(cli, tmp_path) -> None:
    (tmp_path / "evcore.toml").write_text('port = 0\nunknown = "reject"\nstations = ["KNOWN"]\nengine = "websockets"\n')
    url = cli("serve", EVCORE_HEARTBEAT_INTERVAL="77").listening()

    async def visit() -> None:
        async with connect(f"{url}/KNOWN", subprotocols=["ocpp1.6"]) as station:
            await station.send('[2,"1","BootNotification",{"chargePointVendor":"V","chargePointModel":"M"}]')
            assert json.loads(await station.recv())[2]["interval"] == 77

    asyncio.run(visit())
    status, _, err = cli("simulate", "--url", url, "--id", "STRANGER").end()
    assert status == 1
    assert "the server refused the upgrade with HTTP status 404" in err


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("engine", ENGINES)
def test_simulate_against_serve(cli, tmp_path, version, engine) -> None:
    server = cli("serve", "--port", "0", "--engine", engine, "--message-log", "messages.jsonl")
    url = server.listening()
    run = cli("simulate", "--url", url, "--version", version, "--speed", "50000", "--seed", "1", "--engine", engine)
    status, out, err = run.end()
    assert (status, err) == (0, ""), out
    lines = out.splitlines()
    for part in ("boot: Accepted", "a car plugs in", "begins at", " kW, ", "ends (", "the car unplugs"):
        assert part in out
    assert lines[-1].startswith("1 charge, ")
    assert ", 0 failed; answers took " in lines[-1]
    assert float(lines[-1].split()[2]) > 5, "kWh"
    status, _, err = server.end(signal.SIGTERM)
    assert status == 0
    assert "WARNING" not in err
    frames = [json.loads(line) for line in (tmp_path / "messages.jsonl").read_text().splitlines()]
    actions = [json.loads(frame["frame"])[2] for frame in frames if json.loads(frame["frame"])[0] == 2]
    wanted = {"BootNotification", "StatusNotification", "Authorize"}
    wanted |= {"StartTransaction", "MeterValues", "StopTransaction"} if version == "1.6" else {"TransactionEvent"}
    assert wanted <= set(actions)
    assert ("NotifyEVChargingNeeds" in actions) == (version == "2.1")
    assert actions[0] == "BootNotification"
    assert len({frame["direction"] for frame in frames}) == 2
    calls = [json.loads(frame["frame"])[2:] for frame in frames if frame["frame"].startswith("[2,")]
    check_transaction(version, calls, float(lines[-1].split()[2]) * 1000)


def check_transaction(version: str, calls: list[list[Any]], wh: float) -> None:
    """One whole transaction: begun, sampled in order, ended; the register never falls and ends where it was said to."""
    if version == "1.6":
        (start,) = (payload for action, payload in calls if action == "StartTransaction")
        (stop,) = (payload for action, payload in calls if action == "StopTransaction")
        values = [payload for action, payload in calls if action == "MeterValues"]
        assert {value["transactionId"] for value in values} == {stop["transactionId"]}
        samples = [value["meterValue"][0]["sampledValue"][0] for value in values]
        registers = [start["meterStart"], *(round(float(sample["value"])) for sample in samples), stop["meterStop"]]
    else:
        events = [payload for action, payload in calls if action == "TransactionEvent"]
        assert [event["eventType"] for event in events] == ["Started", *["Updated"] * (len(events) - 2), "Ended"]
        assert [event["seqNo"] for event in events] == list(range(len(events)))
        assert len({event["transactionInfo"]["transactionId"] for event in events}) == 1
        assert events == sorted(events, key=lambda event: event["timestamp"])
        samples = [event["meterValue"][0]["sampledValue"][0] for event in events if "meterValue" in event]
        registers = [sample["value"] for sample in samples]
        samples = samples[1:]
    assert {sample["measurand"] for sample in samples} == {"Energy.Active.Import.Register"}
    assert registers == sorted(registers)
    assert len(registers) > 10
    assert registers[-1] - registers[0] == pytest.approx(wh, abs=10)


def test_simulated_charges_are_repeatable(cli) -> None:
    url = cli("serve", "--port", "0").listening()
    charges = set()
    for _ in range(2):
        status, out, _ = cli("simulate", "--url", url, "--speed", "50000", "--seed", "7").end()
        assert status == 0
        charges.add(next(line.partition(" a car")[2] for line in out.splitlines() if "plugs in" in line))
    assert len(charges) == 1


def test_simulate_is_interrupted_cleanly(cli) -> None:
    url = cli("serve", "--port", "0").listening()
    station = cli("simulate", "--url", url, "--loop")
    assert any("boot: Accepted" in line for line in station.process.stdout)
    status, out, err = station.end(signal.SIGINT)
    assert (status, err) == (0, "")
    assert out.endswith("interrupted\n")


def test_simulate_tells_when_the_server_goes(cli) -> None:
    server = cli("serve", "--port", "0")
    station = cli("simulate", "--url", server.listening(), "--loop")
    assert any("boot: Accepted" in line for line in station.process.stdout)
    server.end(signal.SIGTERM)
    status, _, err = station.end()
    assert status == 1
    assert err.startswith("evcore: ")
    assert err.count("\n") == 1


def test_doctor(cli) -> None:
    status, out, _ = cli("doctor", "--json").end()
    findings = json.loads(out)
    assert findings["schemas"]["files"] == {"ocpp1.6": 78, "ocpp2.0.1": 128, "ocpp2.1": 181}
    assert findings["backend"]["name"] in ("native", "pure")
    assert findings["engines"] == ["picows", "websockets"]
    assert (findings["backend"]["native_module"] is None) == (status == 1) == bool(findings["problems"])
    status_text, text, _ = cli("doctor").end()
    assert status_text == status
    assert f"backend     {findings['backend']['name']}: " in text


WITHOUT_NATIVE = """
import sys, warnings
sys.modules["evcore._native"] = None
warnings.simplefilter("ignore")
from evcore.cli import main
sys.argv = ["evcore", "doctor"]
main()
"""

WITHOUT = """
import importlib.util, sys
hidden, find = set(sys.argv[1].split(",")), importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in hidden else find(name, package)
sys.argv = ["evcore", *sys.argv[2:]]
from evcore.cli import main
main()
"""


def run_code(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={"PYTHONPATH": str(Path(evcore.__file__).parents[1]), "PATH": "", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_doctor_is_loud_about_a_missing_native_module() -> None:
    found = run_code(WITHOUT_NATIVE)
    assert found.returncode == 1
    assert "backend     pure: the native module is missing" in found.stdout
    assert "native      MISSING" in found.stdout
    assert "PROBLEM: the native module evcore._native is missing" in found.stdout


@pytest.mark.parametrize(
    ("hidden", "arguments", "sentence"),
    [
        ("typer", ("serve",), "typer not installed, run: pip install 'evcore[cli]'"),
        ("typer,rich", ("--help",), "typer and rich not installed, run: pip install 'evcore[cli]'"),
        ("pydantic_settings", ("serve",), "pydantic_settings not installed, run: pip install 'evcore[server]'"),
        ("picows", ("simulate",), "picows not installed, run: pip install 'evcore[server]'"),
        ("picows", ("serve", "--port", "0"), "picows not installed, run: pip install 'evcore[server]'"),
    ],
)
def test_missing_extras_are_named(hidden, arguments, sentence, tmp_path) -> None:
    found = run_code(WITHOUT, hidden, *arguments, EVCORE_BACKEND="pure")
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == f"evcore: {sentence}\n"


@pytest.mark.parametrize("command", [(), ("serve",), ("simulate",), ("doctor",)])
def test_help_everywhere(cli, command) -> None:
    status, out, _ = cli(*command, "--help").end()
    assert status == 0
    assert "Usage: evcore" in out


def test_version(cli) -> None:
    status, out, _ = cli("--version").end()
    assert status == 0
    assert out.startswith("evcore ")


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_profile_3_without_a_list(cli, tmp_path, workers) -> None:
    """The certificate alone says who a station is: its own identity gets in, another one and none do not."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server = str(tmp_path / "server.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(server)
    process = cli(
        *("serve", "--port", "0", "--http-port", "none", "--workers", workers, "--security-profile", "3"),
        *("--tls-certificate", server, "--tls-key", server, "--tls-client-ca", str(tmp_path / "ca.pem")),
    )
    url = (await asyncio.to_thread(process.process.stdout.readline)).strip().removeprefix("listening on ")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    authority.issue_cert(common_name="CP1").configure_cert(context)
    async with connect(f"{url}/CP1", subprotocols=["ocpp1.6"], ssl=context) as station:
        await station.send('[2,"1","Heartbeat",{}]')
        assert '"currentTime"' in await asyncio.wait_for(station.recv(), 20)
    bare = ssl.create_default_context()
    authority.configure_trust(bare)
    for identity, shown in (("CP2", context), ("CP1", bare)):
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{url}/{identity}", subprotocols=["ocpp1.6"], ssl=shown)
        assert refused.value.response.status_code == 403
    status, _, err = await asyncio.to_thread(process.end, signal.SIGTERM)
    assert status == 0
    assert "Traceback" not in err
