"""Home Assistant's discovery at a real broker: kept, published again after its birth, taken back when turned off."""

from __future__ import annotations

from pathlib import Path

import pytest

from evcore.bus import bodies as b
from tests.mqtt.brokers import Mosquitto
from tests.mqtt.observer import Login, Observer, fetch, publish
from tests.mqtt.publishing import Publishing

CONFIG = "homeassistant/device/evcore_CP1/config"
ONLINE = b.StationOnline(station="CP1", version="ocpp1.6")
STATUS = b.ConnectorStatus(station="CP1", evse=1, connector=1, status="Available")


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_home_assistant(mosquitto: Mosquitto, tmp_path: Path, version: str) -> None:
    login = Login(version=version)
    async with Publishing(mosquitto.port, tmp_path / "p", version=version, discovery=True) as publishing:
        await publishing.connected()
        publishing.bus.publish(ONLINE)
        publishing.bus.publish(STATUS)
        found = (await fetch(mosquitto, CONFIG, login=login)).json()
        # Everything it points at is retained at the broker.
        topics = [entry["topic"] for entry in found["availability"]]
        topics.append(found["cmps"]["1_status"]["state_topic"])
        payloads = [(await fetch(mosquitto, topic, login=login)).payload for topic in topics]
        assert payloads == [b"online", b"online", b"Available"]
        async with Observer(mosquitto, CONFIG, *topics[1:], login=login) as observer:
            await observer.count(3)
            await publish(mosquitto, "homeassistant/status", "online", login=login)
            await observer.count(6)
            assert {one.topic for one in observer.seen[3:]} == {CONFIG, *topics[1:]}
    # Stopped: not available any more, and still known.
    assert (await fetch(mosquitto, topics[0], login=login)).payload == b"offline"
    assert (await fetch(mosquitto, CONFIG, login=login)).json() == found
    async with Publishing(mosquitto.port, tmp_path / "p", version=version) as publishing:
        async with Observer(mosquitto, CONFIG, login=login) as observer:
            await observer.until(lambda seen: seen[-1:] and seen[-1].payload == b"")
        await publishing.settled()
    async with Observer(mosquitto, "homeassistant/#", "system/#", login=login) as observer:
        await observer.on("system/availability/n1")
        assert not [one for one in observer.seen if one.topic == CONFIG]
