"""Commands to stations of the simulator: they answer for themselves, in each version, and do what they are told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from evcore.csms.orders import orderable
from evcore.mqtt.commands.options import CommandOptions
from evcore.net.engine import load
from evcore.schema import VERSIONS
from evcore.sim.run import Plan, simulate
from tests.mqtt.brokers import Mosquitto
from tests.mqtt.commanded import Commanded, commanded
from tests.mqtt.observer import Observer, publish

OPTIONS = CommandOptions(allow=("*",), reconnecting=0.0, station_queue=100)

VARIABLE = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}
#: What a station answers for sure, whatever it is doing.
SURE: dict[str, list[tuple[str, Any, str, str | None]]] = {
    "ocpp1.6": [
        ("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "60"}, "accepted", "Accepted"),
        ("ChangeConfiguration", {"key": "NoSuchKey", "value": "60"}, "rejected", "NotSupported"),
        ("GetConfiguration", {"key": ["HeartbeatInterval"]}, "accepted", None),
        ("TriggerMessage", {"requestedMessage": "Heartbeat"}, "accepted", "Accepted"),
        ("UnlockConnector", {"connectorId": 9}, "rejected", "NotSupported"),
    ],
    "ocpp2.0.1": [
        ("SetVariables", {"setVariableData": [{**VARIABLE, "attributeValue": "60"}]}, "accepted", "Accepted"),
        ("GetVariables", {"getVariableData": [VARIABLE]}, "accepted", "Accepted"),
        ("TriggerMessage", {"requestedMessage": "Heartbeat"}, "accepted", "Accepted"),
        ("UnlockConnector", {"evseId": 9, "connectorId": 1}, "rejected", "UnknownConnector"),
    ],
}
SURE["ocpp2.1"] = SURE["ocpp2.0.1"]


@contextlib.asynccontextmanager
async def simulated(it: Commanded, version: str) -> AsyncIterator[None]:
    plan = Plan(it.here.url, "SIM", version.removeprefix("ocpp"), seed=3, speed=1000.0, loop=True)
    said: list[str] = []
    task = asyncio.create_task(simulate(plan, load("picows"), said.append))
    try:
        async with asyncio.timeout(30):
            while not any("begins at" in line for line in said):
                assert not task.done(), said
                await asyncio.sleep(0.01)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("mqtt", ["5", "3.1.1"])
async def test_a_station_that_charges(mosquitto: Mosquitto, tmp_path: Path, mqtt: str, version: str) -> None:
    async with (
        commanded(mosquitto.url, tmp_path / "spool", OPTIONS, version=mqtt) as it,
        simulated(it, version),
        Observer(mosquitto, "chargers/SIM/result") as observer,
    ):
        for number, (action, payload, _, _) in enumerate(SURE[version]):
            body = {"id": f"sure{number}", "action": action, "payload": payload}
            await publish(mosquitto, "chargers/SIM/command", body)
        # And everything there is, without a payload: each has its result, be it that something is missing in it.
        for action in sorted(orderable(version)):
            await publish(mosquitto, "chargers/SIM/command", {"id": action, "action": action})
        await observer.count(len(SURE[version]) + len(orderable(version)))
    found = {one.json()["id"]: one.json() for one in observer.seen}
    assert len(found) == len(observer.seen)
    for number, (action, _, status, code) in enumerate(SURE[version]):
        result = found[f"sure{number}"]
        assert (result["action"], result["status"], result.get("code")) == (action, status, code), result
    if version == "ocpp1.6":
        (entry,) = found["sure2"]["payload"]["configurationKey"]
        assert entry["value"] == "60"
    for action in orderable(version):
        result = found[action]
        if result["status"] == "refused":
            assert result["code"] == "invalid-payload"
            assert result["violations"]
        else:
            assert result["status"] in ("accepted", "rejected", "error"), result
    assert found["ClearCache"]["status"] in ("accepted", "rejected")
