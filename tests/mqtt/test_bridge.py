"""The whole way within one process: a station's frames, a bus, a bridge, a real broker, and back."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from evcore.bus import Bus
from evcore.csms.application import Csms, CsmsOptions
from evcore.csms.orders import StationOrders
from evcore.mqtt.bridge import Bridge, BridgeOptions
from evcore.mqtt.broker.address import Address
from evcore.mqtt.broker.session import SessionOptions
from evcore.mqtt.commands.options import CommandOptions
from evcore.mqtt.publisher.options import PublishOptions
from evcore.mqtt.spool import SpoolOptions
from evcore.net.engine import load
from evcore.net.server import Server, ServerOptions
from tests.mqtt.brokers import Mosquitto
from tests.mqtt.observer import Observer, fetch, publish

NOW = "2026-03-01T10:00:00Z"
VERSIONS = ("5", "3.1.1")


@dataclass
class Backend:
    """A server with a bridge."""

    bus: Bus
    csms: Csms
    server: Server[Any]
    bridge: Bridge

    @contextlib.asynccontextmanager
    async def station(self, identity: str = "CP1") -> AsyncIterator[Station]:
        where = f"ws://127.0.0.1:{self.server.port}/{identity}"
        async with connect(where, subprotocols=["ocpp1.6"]) as socket:
            station = Station(socket)
            boot = {"chargePointVendor": "V", "chargePointModel": "M"}
            assert (await station.ask("boot", "BootNotification", boot))[0] == 3
            yield station


@dataclass
class Station:
    socket: ClientConnection

    async def ask(self, message_id: str, action: str, payload: Any) -> Any:
        await self.socket.send(json.dumps([2, message_id, action, payload]))
        return await self.hear()

    async def hear(self) -> Any:
        async with asyncio.timeout(10):
            return json.loads(await self.socket.recv())


@contextlib.asynccontextmanager
async def backend(broker: Mosquitto, folder: Path, version: str, **changed: Any) -> AsyncIterator[Backend]:
    bus = Bus()
    csms = Csms(bus=bus, options=CsmsOptions(gate={"ocpp1.6": "off", "ocpp2.0.1": "off", "ocpp2.1": "off"}))
    options = BridgeOptions(
        session=SessionOptions(
            addresses=(Address.parse(broker.url),),
            identifier="evcore",
            version=version,
            backoff_first=0.05,
            backoff_most=0.2,
        ),
        spool=SpoolOptions(path=folder / "spool.db"),
        publish=PublishOptions(node="here", grace=0.1, heartbeat_interval=0.5),
        commands=CommandOptions(allow=("Reset",)),
    )
    bridge = Bridge(bus, StationOrders(csms), replace(options, **changed))
    await bridge.start()
    server = Server(csms, load("picows"), ServerOptions(port=0))
    await server.start()
    try:
        yield Backend(bus, csms, server, bridge)
    finally:
        await server.stop()
        await bridge.stop()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_charge_and_a_command(mosquitto: Mosquitto, tmp_path: Path, version: str) -> None:
    async with Observer(mosquitto, "#") as seen, backend(mosquitto, tmp_path, version) as here:
        assert (await seen.on("system/availability/here")).payload == b"online"
        async with here.station() as station:
            start = {"connectorId": 1, "idTag": "TAG", "meterStart": 5, "timestamp": NOW}
            number = (await station.ask("1", "StartTransaction", start))[2]["transactionId"]
            stop = {"transactionId": number, "meterStop": 1005, "timestamp": NOW}
            await station.ask("2", "StopTransaction", stop)
            bills = await seen.until(lambda all_: len([one for one in all_ if one.qos == 2]) >= 2)
            told = [one.json() for one in bills if one.qos == 2]
            assert [(one["kind"], one["meter"], one.get("energy")) for one in told] == [
                ("transaction.started", 5.0, None),
                ("transaction.ended", 1005.0, 1000.0),
            ]
            assert {one.topic for one in bills if one.qos == 2} == {"chargers/CP1/events"}
            assert all("token" not in one for one in told)
            status = await fetch(mosquitto, "chargers/CP1/status")
            assert (status.json()["online"], status.json()["vendor"]) == (True, "V")

            order = {"id": "c-1", "action": "Reset", "payload": {"type": "Soft"}}
            await publish(mosquitto, "chargers/CP1/command", json.dumps(order).encode(), qos=1)
            kind, call_id, action, payload = await station.hear()
            assert (kind, action, payload) == (2, "Reset", {"type": "Soft"})
            await station.socket.send(json.dumps([3, call_id, {"status": "Accepted"}]))
            result = (await seen.on("chargers/CP1/result")).json()
            assert (result["id"], result["status"], result["payload"]) == ("c-1", "accepted", {"status": "Accepted"})
        await seen.until(
            lambda all_: [o for o in all_ if o.topic == "chargers/CP1/availability"][-1].payload == b"offline"
        )
    assert (await fetch(mosquitto, "system/availability/here")).payload == b"offline"


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_broker_that_is_away_stops_nobody(
    broker_factory: Callable[..., Mosquitto], tmp_path: Path, version: str
) -> None:
    broker = broker_factory(start=False)
    async with backend(broker, tmp_path, version) as here, here.station() as station:
        for meter in range(50):
            start = {"connectorId": 1, "idTag": "TAG", "meterStart": meter, "timestamp": NOW}
            assert (await station.ask(str(meter), "StartTransaction", start))[0] == 3
        assert not here.bridge.session.state.connected
        assert here.bridge.spool.backlog.messages >= 50
        broker.start()
        async with asyncio.timeout(20):
            while here.bridge.spool.backlog.messages:  # noqa: ASYNC110 - the spool tells nobody that it is empty
                await asyncio.sleep(0.02)
        assert here.bridge.session.counts.acked[2] == 50


async def test_what_was_answered_outlives_the_bridge(broker_factory: Callable[..., Mosquitto], tmp_path: Path) -> None:
    broker = broker_factory(start=False)
    async with backend(broker, tmp_path, "5", flush=0.1) as here, here.station() as station:
        start = {"connectorId": 1, "idTag": "TAG", "meterStart": 7, "timestamp": NOW}
        number = (await station.ask("1", "StartTransaction", start))[2]["transactionId"]
    broker.start()
    async with Observer(broker, "#") as seen, backend(broker, tmp_path, "5"):
        found = await seen.until(lambda all_: [one for one in all_ if one.qos == 2])
        (told,) = (one.json() for one in found if one.qos == 2)
        assert (told["kind"], told["transaction"], told["meter"]) == ("transaction.started", str(number), 7.0)


async def test_a_full_spool_refuses_bills_and_nothing_else(
    broker_factory: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = broker_factory(start=False)
    small = SpoolOptions(path=tmp_path / "spool.db", max_bytes=100_000)
    async with backend(broker, tmp_path, "5", spool=small, flush=0.1) as here, here.station() as station:
        kinds = []
        for number in range(4000):
            start = {"connectorId": 1, "idTag": "TAG", "meterStart": number, "timestamp": NOW}
            answer = await station.ask(str(number), "StartTransaction", start)
            kinds.append(answer[0])
            if answer[0] == 4:
                assert answer[2] == "InternalError"
                break
        assert kinds[-1] == 4
        status = {"connectorId": 1, "errorCode": "NoError", "status": "Charging"}
        assert (await station.ask("s", "StatusNotification", status))[0] == 3
        assert (await station.ask("h", "Heartbeat", {}))[0] == 3
        broker.start()
        async with asyncio.timeout(20):
            while True:
                answer = await station.ask("again", "StartTransaction", start)
                if answer[0] == 3:
                    break
                await asyncio.sleep(0.05)
