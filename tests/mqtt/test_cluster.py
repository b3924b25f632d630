"""Three NATS servers as one MQTT 3.1.1 broker: the node under the bridge is killed, it goes on with another one."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.mqtt.brokers import NatsCluster
from tests.mqtt.faults.books import Books
from tests.mqtt.faults.stage import settle
from tests.mqtt.faults.stations import Stream
from tests.mqtt.faults.subjects import Setup, make
from tests.mqtt.observer import Login, Observer, publish

STATIONS, MESSAGES = 4, 120


def _node_of(said: str, cluster: NatsCluster) -> int:
    """The index of the node that the bridge connected to last."""
    return max(range(len(cluster.nodes)), key=lambda index: said.rfind(f"connected to {cluster.nodes[index].url}"))


async def test_the_bridge_resumes_on_another_node_and_nothing_acknowledged_is_lost(
    nats: NatsCluster, tmp_path: Path
) -> None:
    """Transactions go out at QoS 2, their witness is on a node that lives; at the end a command takes the other way."""
    login = Login(version="3.1.1")
    settings = {"MQTT_COMMANDS": "*", "MQTT_RECONNECTING": "0"}
    setup = Setup(addresses=nats.urls, qos=2, version="3.1.1", settings=settings)
    subject = make("serve", "serve", tmp_path / "serve", setup)
    books = Books()
    async with Observer(nats.nodes[2], "chargers/#", qos=2, login=login, persistent=True) as observer:
        await asyncio.to_thread(subject.start)
        try:
            async with asyncio.timeout(20):
                while "connected to mqtt" not in subject.said():  # noqa: ASYNC110 - another process writes it
                    await asyncio.sleep(0.02)
            first = _node_of(subject.said(), nats)
            assert first == 0, "the first address is tried first when they are not shuffled"
            async with asyncio.timeout(90), asyncio.TaskGroup() as group:
                for index in range(STATIONS):
                    group.create_task(Stream(f"CP{index}", subject.port, books, MESSAGES, 0.005).run())
                while len(books.acknowledged) < STATIONS * MESSAGES // 3:  # noqa: ASYNC110 - streams are many
                    await asyncio.sleep(0.005)
                await asyncio.to_thread(nats.kill, first)
            await settle(books, observer, 40)
            figures = books.close(observer.seen)
            assert (figures.lost, figures.acknowledged) == (0, STATIONS * MESSAGES), f"{figures}\n{subject.said()}"
            second = _node_of(subject.said(), nats)
            assert second != first
            assert "Traceback" not in subject.said()
            # What is asked on a third node reaches the bridge where it is now.
            asked = {"id": "after", "action": "ClearCache"}
            await publish(nats.nodes[2], "chargers/CP0/command", asked, login=login)
            answer = await observer.on("chargers/CP0/result", 30)
            assert answer.json()["id"] == "after"
        finally:
            await asyncio.to_thread(subject.kill)
