"""Commands through a real broker to stations of a real server, and back."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from evcore.bus import Bus
from evcore.mqtt.commands.options import CommandOptions
from evcore.schema import VERSIONS
from tests.mqtt.brokers import Mosquitto
from tests.mqtt.commanded import commanded
from tests.mqtt.observer import Login, Observer, Seen, publish, publish_many
from tests.unit.test_orders import RESET

MQTT = ("5", "3.1.1")
ALL = CommandOptions(allow=("*",), reconnecting=0.0)


def results(seen: list[Seen], station: str = "CP1") -> list[Any]:
    return [one.json() for one in seen if one.topic == f"chargers/{station}/result"]


async def answered(observer: Observer, count: int) -> list[Any]:
    """So many results, and no more for a moment."""
    await observer.until(lambda seen: sum(one.topic.endswith("/result") for one in seen) >= count)
    await asyncio.sleep(0.2)
    found = [one.json() for one in observer.seen if one.topic.endswith("/result")]
    assert len(found) == count, found
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("mqtt", MQTT)
async def test_from_the_broker_to_the_station_and_back(
    mosquitto: Mosquitto, tmp_path: Path, mqtt: str, version: str
) -> None:
    answer = {"status": "Rejected"}
    async with (
        commanded(mosquitto.url, tmp_path / "spool", ALL, version=mqtt) as it,
        it.here.station("CP1", version, {"Reset": answer}) as station,
        Observer(mosquitto, "chargers/+/result") as observer,
    ):
        login = Login(version=mqtt)
        body = {"id": "a", "action": "Reset", "payload": RESET[version]}
        await publish(mosquitto, "chargers/CP1/command", body, login=login)
        await publish(mosquitto, "chargers/CP1/command", {"id": "b", "action": "ClearCache"}, login=login)
        await publish(mosquitto, "chargers/CP1/command", {"id": "c", "action": "Heartbeat"}, login=login)
        await publish(mosquitto, "chargers/CP1/command", {"id": "d", "action": "Reset"}, login=login)
        await publish(mosquitto, "chargers/CP9/command", {"id": "e", "action": "Reset"}, login=login)
        found = {result["id"]: result for result in await answered(observer, 5)}
        assert station.calls == [("Reset", RESET[version]), ("ClearCache", {})]
        assert (found["a"]["status"], found["a"]["payload"]) == ("rejected", answer)
        assert (found["b"]["status"], found["b"]["code"]) == ("accepted", "Accepted")
        assert found["c"]["code"] == "unsupported-action"
        assert found["d"]["code"] == "invalid-payload"
        assert any("type" in violation for violation in found["d"]["violations"])
        assert (found["e"]["station"], found["e"]["code"]) == ("CP9", "unknown-station")


async def test_request_and_response_of_mqtt_5(mosquitto: Mosquitto, tmp_path: Path) -> None:
    options = CommandOptions(allow=("*",), replies=("answers/#",), reconnecting=0.0)
    async with (
        commanded(mosquitto.url, tmp_path / "spool", options) as it,
        it.here.station() as station,
        Observer(mosquitto, "answers/#", "chargers/+/result", "+/+/command", "$x/#") as observer,
    ):

        async def ask(topic: str | None = None, **more: Any) -> None:
            if topic is not None:
                more["ResponseTopic"] = topic
            await publish(mosquitto, "chargers/CP1/command", {"action": "ClearCache"}, **more)

        await ask("answers/me", CorrelationData=b"\x00\xff1")
        told = await observer.on("answers/me")
        assert told.properties["CorrelationData"] == "00ff31"
        assert told.properties["ContentType"] == "application/json"
        assert (told.json()["id"], told.json()["status"]) == ("00ff31", "accepted")
        own = await observer.on("chargers/CP1/result")
        assert own.payload == told.payload
        for number, topic in enumerate(("elsewhere", "chargers/CP2/command")):
            await ask(topic, CorrelationData=f"{number}".encode())
        await ask(CorrelationData=b"late", MessageExpiryInterval=3600)
        await observer.until(lambda seen: sum(one.topic == "chargers/CP1/result" for one in seen) == 4)
        codes = {one.json()["id"]: one.json()["code"] for one in observer.seen if "result" in one.topic}
        assert codes == {
            "00ff31": "Accepted",
            "30": "not-allowed",
            "31": "not-allowed",
            b"late".hex(): "Accepted",
        }
        assert len(station.calls) == 2


async def test_a_command_that_expired_with_the_bridge_away(mosquitto: Mosquitto, tmp_path: Path) -> None:
    """The broker keeps it; what it does not drop itself is refused as too late."""
    async with commanded(mosquitto.url, tmp_path / "spool", ALL, version="3.1.1"):
        pass
    old = {"id": "old", "action": "ClearCache", "expires": "2026-01-01T00:00:00Z"}
    await publish(mosquitto, "chargers/CP1/command", old)
    await publish(mosquitto, "chargers/CP1/command", {"id": "new", "action": "ClearCache"})
    options = CommandOptions(allow=("*",))
    async with (
        Observer(mosquitto, "chargers/+/result") as observer,
        commanded(mosquitto.url, tmp_path / "spool", options, version="3.1.1") as it,
        it.here.station() as station,
    ):
        found = {result["id"]: result["code"] for result in await answered(observer, 2)}
        assert found == {"old": "too-late", "new": "Accepted"}
        assert len(station.calls) == 1


@pytest.mark.parametrize("mqtt", MQTT)
async def test_retained_commands(mosquitto: Mosquitto, tmp_path: Path, mqtt: str) -> None:
    await publish(mosquitto, "chargers/CP1/command", {"id": "a", "action": "ClearCache"}, retain=True)
    async with (
        Observer(mosquitto, "chargers/+/result") as observer,
        commanded(mosquitto.url, tmp_path / "spool", ALL, version=mqtt) as it,
        it.here.station() as station,
    ):
        (result,) = await answered(observer, 1)
        assert (result["code"], station.calls) == ("retained", [])


@pytest.mark.parametrize("mqtt", MQTT)
async def test_raw_frames(mosquitto: Mosquitto, tmp_path: Path, mqtt: str) -> None:
    options = CommandOptions(allow=("*",), raw=True, reconnecting=0.0)
    async with (
        commanded(mosquitto.url, tmp_path / "spool", options, version=mqtt) as it,
        it.here.station() as station,
        Observer(mosquitto, "ocpp/#", "chargers/#") as observer,
    ):
        await publish(mosquitto, "ocpp/CP1/call", [2, "7", "ClearCache", {}])
        await publish(mosquitto, "ocpp/CP1/call", [2, "8", "GetVariables", {}])
        frames = await observer.until(lambda seen: len([1 for one in seen if one.topic == "ocpp/CP1/result"]) == 2)
        told = [one.json() for one in frames if one.topic == "ocpp/CP1/result"]
        assert told[0] == [3, "7", {"status": "Accepted"}]
        assert told[1][:3] == [4, "8", "NotSupported"]
        await observer.until(lambda seen: len(results(seen)) == 2)
        assert len(station.calls) == 1


@pytest.mark.parametrize("mqtt", MQTT)
async def test_repeated_commands(mosquitto: Mosquitto, tmp_path: Path, mqtt: str) -> None:
    async with (
        commanded(mosquitto.url, tmp_path / "spool", ALL, version=mqtt) as it,
        it.here.station() as station,
        Observer(mosquitto, "chargers/+/result") as observer,
    ):
        body = {"id": "a", "action": "ClearCache"}
        for count in range(1, 4):
            await publish(mosquitto, "chargers/CP1/command", body)
            await answered(observer, count)
        assert len({one.payload for one in observer.seen}) == 1
        assert len(station.calls) == 1


@pytest.mark.parametrize("mqtt", MQTT)
async def test_a_slow_station_and_a_thousand_commands(mosquitto: Mosquitto, tmp_path: Path, mqtt: str) -> None:
    """One station never answers; the commands of the others go on, in order, though brokers wait for acknowledgements
    after 20 messages.
    """
    names = [f"CP{number}" for number in range(10)]
    options = CommandOptions(allow=("*",), reconnecting=0.0, station_queue=200)
    async with (
        commanded(mosquitto.url, tmp_path / "spool", options, version=mqtt) as it,
        it.here.station("slow", answer=lambda *_: None) as slow,
        Observer(mosquitto, "chargers/+/result") as observer,
        contextlib.AsyncExitStack() as stack,
    ):
        stations = [await stack.enter_async_context(it.here.station(name)) for name in names]
        command = json.dumps({"id": "slow", "action": "ClearCache", "timeout": 200}).encode()
        bodies = [("chargers/slow/command", command)]
        for number in range(100):
            payload = {"vendorId": "x", "data": f"{number}"}
            body = json.dumps({"id": f"{number}", "action": "DataTransfer", "payload": payload}).encode()
            bodies += [(f"chargers/{name}/command", body) for name in names]
        await asyncio.to_thread(publish_many, mosquitto, bodies)
        await observer.count(1000, 60)
        assert len(slow.calls) == 1
        for station in stations:
            assert [payload["data"] for _, payload in station.calls] == [f"{number}" for number in range(100)]
        assert {one.json()["status"] for one in observer.seen} == {"accepted"}
        assert it.commands.waiting == 1


async def test_a_flood_of_rubbish(mosquitto: Mosquitto, tmp_path: Path) -> None:
    options = CommandOptions(allow=("*",), answers=0.01, answers_burst=20, reconnecting=0.0)
    rubbish = [b"", b"\xff" * 1000, b"[" * 10_000, b"{}", b'{"id":"x"}', json.dumps(["x" * 50_000]).encode()]
    async with (
        commanded(mosquitto.url, tmp_path / "spool", options) as it,
        it.here.station(),
        Observer(mosquitto, "chargers/+/result") as observer,
    ):
        flood = [(f"chargers/CP{number % 7}/command", rubbish[number % len(rubbish)]) for number in range(900)]
        await asyncio.to_thread(publish_many, mosquitto, flood)
        await publish(mosquitto, "chargers/CP1/command", {"id": "a", "action": "ClearCache"})
        await observer.until(lambda seen: any(one.json().get("id") == "a" for one in seen))
        assert len(observer.seen) == 21
        assert max(len(one.payload) for one in observer.seen) < 400
        assert it.commands.counts.received == 901
        assert it.commands.counts.unanswered == 880


async def test_the_bus_hears_of_them(mosquitto: Mosquitto, tmp_path: Path) -> None:
    bus = Bus()
    async with (
        bus.subscribe("stations/CP1/commands/#") as events,
        commanded(mosquitto.url, tmp_path / "spool", ALL, bus=bus) as it,
        it.here.station(),
    ):
        await publish(mosquitto, "chargers/CP1/command", {"id": "a", "action": "ClearCache"})
        async with asyncio.timeout(20):
            requested, result = await anext(events), await anext(events)
        assert (requested.body.command, requested.body.source, result.body.status) == ("a", "mqtt", "accepted")
