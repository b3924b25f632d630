"""Commands over a journal and stations that are played: what is refused, in which order things happen, and that every
command is carried out at most once and has one result, wherever the process ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evcore.bus.orders import Order, Outcome
from evcore.mqtt.commands.commands import Commands
from evcore.mqtt.commands.options import Allowed, CommandOptions
from evcore.mqtt.message import Message, Received
from evcore.mqtt.spool.entry import Command as Journaled
from evcore.mqtt.spool.errors import SpoolNoRoom
from evcore.mqtt.topics import TopicOptions, Topics

ACCEPTED = Outcome(status="accepted", code="Accepted", payload={"status": "Accepted"})


@dataclass
class World:
    """What outlives a process: the journal's file, the messages in the spool, what stations did, what a broker keeps.

    `steps` counts what a process does to it. At step `end` the process ends, before or after (`after`) that step.
    """

    commands: dict[str, Journaled] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    carried: list[Order] = field(default_factory=list)
    steps: int = 0
    end: int | None = None
    after: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def step(self, write: Callable[[], Any]) -> Any:
        if self.ended.is_set():
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        if self.ended.is_set():
            await asyncio.Event().wait()
        self.steps += 1
        if self.steps == self.end:
            if self.after:
                write()
            self.ended.set()
            await asyncio.Event().wait()
        return write()


class Spool:
    """The journal in a world. `fails`: how many times writing fails from now on."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.fails = 0

    async def _write(self, write: Callable[[], Any]) -> Any:
        if self.fails:
            self.fails -= 1
            raise SpoolNoRoom("the disk is full")
        return await self.world.step(write)

    def journal(self, id: str, topic: str, body: bytes) -> Awaitable[Literal["new", "known"]]:
        def write() -> str:
            if id in self.world.commands or id in self.world.outcomes:
                return "known"
            self.world.commands[id] = Journaled(id, topic, body, False)
            return "new"

        return self._write(write)

    def started(self, id: str) -> Awaitable[None]:
        def write() -> None:
            if id in self.world.commands:
                old = self.world.commands[id]
                self.world.commands[id] = Journaled(id, old.topic, old.body, True)

        return self._write(write)

    def finish(
        self, id: str, outcome: str, messages: Sequence[Message] = (), *, qos_class: str = "command"
    ) -> Awaitable[bool]:
        assert qos_class == "command"

        def write() -> bool:
            self.world.commands.pop(id, None)
            self.world.outcomes[id] = outcome
            self.world.messages.extend(messages)
            return True

        return self._write(write)

    async def outcome(self, id: str) -> str | None:
        await asyncio.sleep(0)
        return self.world.outcomes.get(id)

    async def unfinished(self) -> list[Journaled]:
        return list(self.world.commands.values())

    def put(self, message: Message, *, qos_class: str, id: str) -> Awaitable[None]:
        assert qos_class == "command"
        return self._write(lambda: self.world.messages.append(message))


class Stations:
    """Carries orders out. `hold`: stations that do not answer until `release`."""

    def __init__(self, world: World, outcome: Outcome = ACCEPTED) -> None:
        self.world = world
        self.outcome = outcome
        self.held: dict[str, asyncio.Event] = {}

    def hold(self, station: str) -> asyncio.Event:
        return self.held.setdefault(station, asyncio.Event())

    async def carry_out(self, order: Order) -> Outcome:
        await self.world.step(lambda: self.world.carried.append(order))
        if order.station in self.held:
            await self.held[order.station].wait()
        await asyncio.sleep(0)
        return self.outcome


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Life:
    """A process: from its start to its end."""

    def __init__(self, world: World | None = None, options: CommandOptions | None = None, **more: Any) -> None:
        self.world = world or World()
        self.spool = Spool(self.world)
        self.stations = Stations(self.world)
        self.clock = Clock()
        self.subscribed: list[tuple[str, int]] = []
        self.acks: list[str] = []
        options = options or CommandOptions(allow=("*",), **{"reconnecting": 0.0, **more})
        self.commands = Commands(self, self.spool, self.stations, options, clock=self.clock)

    def subscribe(self, filter: str, qos: int = 1) -> None:
        self.subscribed.append((filter, qos))

    def say(self, body: Any, station: str = "CP1", *, topic: str = "", name: str = "", **more: Any) -> bool:
        """A message comes."""
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        name = name or (body.get("id", "") if isinstance(body, dict) else "")

        def ack() -> None:
            if not self.world.ended.is_set():
                self.acks.append(name)

        topic = topic or f"chargers/{station}/command"
        return self.commands.received(Received(topic, payload, 1, **more, acknowledge=ack))

    async def settle(self) -> None:
        """Until nothing is left to do, the process has ended, or all that is left is held."""
        for _ in range(400):
            if self.world.ended.is_set():
                break
            await asyncio.sleep(0)

    async def results(self) -> list[dict[str, Any]]:
        """The results on the result topics so far."""
        await self.settle()
        return [json.loads(m.payload) for m in self.world.messages if m.topic.startswith("chargers/")]

    async def kill(self) -> None:
        """Nothing it does from here on has an effect."""
        self.world.ended.set()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def command(id: str = "a", action: str = "Reset", **more: Any) -> dict[str, Any]:
    return {"id": id, "action": action, "payload": {"type": "Soft"}, **more}


# Carried out


async def test_a_command_and_its_result() -> None:
    life = Life()
    await life.commands.start()
    assert life.subscribed == [("chargers/+/command", 1)]
    assert life.say(command())
    assert life.acks == []
    (result,) = await life.results()
    assert result.pop("time") == "2027-01-15T08:00:00.000Z"
    assert result == {
        "id": "a",
        "station": "CP1",
        "action": "Reset",
        "status": "accepted",
        "code": "Accepted",
        "payload": {"status": "Accepted"},
    }
    (order,) = life.world.carried
    assert order == Order(
        id="a",
        station="CP1",
        action="Reset",
        payload={"type": "Soft"},
        source="mqtt",
        expires=life.clock.now + 60,
    )
    (message,) = life.world.messages
    assert (message.topic, message.qos, message.retain) == ("chargers/CP1/result", 1, False)
    assert message.content_type == "application/json"
    assert life.acks == ["a"]
    assert life.commands.waiting == 0


async def test_messages_of_others_are_left_alone() -> None:
    life = Life()
    await life.commands.start()
    for topic in ("homeassistant/status", "chargers/CP1/result", "ocpp/CP1/call", "chargers/CP1/command/x"):
        assert not life.say(command(), topic=topic)
    assert await life.results() == []


async def test_topics_that_name_no_station() -> None:
    life = Life()
    await life.commands.start()
    for station in ("CP%201%", "CP 1", "%2e", "", "x" * 256, "%00"):
        assert life.say(command(), station)
    assert await life.results() == []
    assert life.acks == ["a"] * 6
    assert life.commands.counts.unanswered == 6


async def test_templates_are_settings() -> None:
    life = Life()
    topics = Topics(TopicOptions(prefix="site/7", command="{station}/do", result="{station}/done"))
    life.commands = Commands(life, life.spool, life.stations, CommandOptions(allow=("*",)), topics, clock=life.clock)
    await life.commands.start()
    assert life.subscribed == [("site/7/+/do", 1)]
    life.say(command(), topic="site/7/CP%2F1/do")
    await life.settle()
    assert life.world.carried[0].station == "CP/1"
    assert life.world.messages[0].topic == "site/7/CP%2F1/done"


async def test_in_order_and_side_by_side() -> None:
    """A slow station delays neither the others nor any acknowledgement."""
    life = Life()
    await life.commands.start()
    slow = life.stations.hold("CP1")
    for number in range(5):
        life.say(command(f"{number}"), "CP1")
        life.say(command(f"{number}"), "CP2")
    results = await life.results()
    assert [result["id"] for result in results] == ["0", "1", "2", "3", "4"]
    assert {result["station"] for result in results} == {"CP2"}
    assert len(life.acks) == 10
    slow.set()
    results = await life.results()
    assert [result["id"] for result in results if result["station"] == "CP1"] == ["0", "1", "2", "3", "4"]
    assert [order.id for order in life.world.carried if order.station == "CP1"] == ["0", "1", "2", "3", "4"]


async def test_busy() -> None:
    life = Life(station_queue=2, queue=5)
    await life.commands.start()
    for number in range(4):
        life.stations.hold(f"CP{number}")
        for name in "abc":
            life.say(command(name), f"CP{number}")
    results = await life.results()
    # Two for each of the first two stations, one for the third: five in all.
    assert [(r["station"], r["id"], r["code"]) for r in results] == [
        ("CP0", "c", "busy"),
        ("CP1", "c", "busy"),
        ("CP2", "b", "busy"),
        ("CP2", "c", "busy"),
        *[("CP3", name, "busy") for name in "abc"],
    ]
    assert life.commands.waiting == 5
    for event in life.stations.held.values():
        event.set()
    assert len(await life.results()) == 12
    # A refused id is used up: it has its one result.
    life.say(command("c"), "CP0")
    assert (await life.results())[-1]["code"] == "busy"
    assert len(life.world.carried) == 5


async def test_expiry() -> None:
    life = Life()
    await life.commands.start()
    slow = life.stations.hold("CP1")
    life.say(command("a"))
    life.say(command("b", ttl=5))
    life.say(command("c"), expiry=5)
    life.say(command("late", expires="2027-01-15T07:59:59Z"))
    life.say(command("later"), expiry=0)
    await life.settle()
    life.clock.now += 6
    slow.set()
    found = {result["id"]: (result["status"], result.get("code")) for result in await life.results()}
    assert found == {
        "a": ("accepted", "Accepted"),
        "b": ("expired", None),
        "c": ("expired", None),
        "late": ("refused", "too-late"),
        "later": ("refused", "too-late"),
    }
    assert [order.id for order in life.world.carried] == ["a"]


async def test_a_failure_of_orders_is_an_unknown_fate(monkeypatch: pytest.MonkeyPatch) -> None:
    life = Life()
    await life.commands.start()

    async def fail(order: Order) -> Outcome:
        raise RuntimeError

    monkeypatch.setattr(life.stations, "carry_out", fail)
    life.say(command("a"))
    life.say(command("b"))
    assert [result["status"] for result in await life.results()] == ["unknown", "unknown"]


async def test_a_result_that_is_too_long() -> None:
    life = Life(result_bytes=1000)
    await life.commands.start()
    life.stations.outcome = Outcome(status="accepted", payload={"x": "y" * 1000})
    life.say(command())
    (result,) = await life.results()
    assert result["status"] == "accepted"
    assert "payload" not in result
    assert "1128 bytes" in result["message"]


async def test_stations_come_back_after_a_restart() -> None:
    life = Life(reconnecting=30.0)
    await life.commands.start()
    for code in ("offline", "unknown-station"):
        life.stations.outcome = Outcome(status="refused", code=code)
        life.say(command(code), code)
        assert await life.results() == []
    life.stations.outcome = ACCEPTED
    async with asyncio.timeout(20):
        while len(await life.results()) < 2:  # noqa: ASYNC110 - stations are tried again after a while
            await asyncio.sleep(0.05)
    assert {result["status"] for result in await life.results()} == {"accepted"}


async def test_no_command_waits_for_a_station_beyond_its_time() -> None:
    life = Life(reconnecting=30.0)
    await life.commands.start()
    life.stations.outcome = Outcome(status="refused", code="offline")
    life.say(command(ttl=5))
    assert await life.results() == []
    life.clock.now += 6
    async with asyncio.timeout(20):
        while not await life.results():  # noqa: ASYNC110 - stations are tried again after a while
            await asyncio.sleep(0.05)
    assert [result["code"] for result in await life.results()] == ["offline"]


async def test_stopped_while_it_waits_for_its_station() -> None:
    """It was not sent, and is not called unknown."""
    life = Life(reconnecting=30.0)
    await life.commands.start()
    life.stations.outcome = Outcome(status="refused", code="offline")
    life.say(command())
    await life.settle()
    await life.commands.stop(0.01)
    assert [result["code"] for result in await life.results()] == ["offline"]


# Refused


async def test_nothing_is_allowed_until_somebody_allows_it() -> None:
    life = Life(options=CommandOptions())
    await life.commands.start()
    life.say(command())
    (result,) = await life.results()
    assert (result["status"], result["code"], result["id"]) == ("refused", "not-allowed", "a")
    assert life.world.carried == []


@pytest.mark.parametrize(
    ("rules", "station", "action", "expected"),
    [
        ((), "CP1", "Reset", False),
        (("Reset",), "CP1", "Reset", True),
        (("Reset",), "CP1", "ResetX", False),
        (("RemoteStart*",), "CP1", "RemoteStartTransaction", True),
        (("RemoteStart*",), "CP1", "RemoteStopTransaction", False),
        (("CP-1*:Reset",), "CP-17", "Reset", True),
        (("CP-1*:Reset",), "CP-27", "Reset", False),
        (("CP-1*:Reset",), "XCP-1", "Reset", False),
        (("a:b:*",), "a:b", "Reset", True),
        (("a:b:*",), "b", "Reset", False),
        (("*",), "any\nthing", "Reset", True),
        (("[A-Z]*:*",), "CP1", "Reset", False),
        (("[A-Z]*:*",), "[A-Z]1", "Reset", True),
        (("CP?:*",), "CP1", "Reset", False),
        ((":Reset",), "CP1", "Reset", True),
        (("*" * 50 + "x" + "*" * 50 + ":Reset",), "a" * 255, "Reset", False),
        (("Get*", "CP1:Re*"), "CP1", "Reset", True),
    ],
)
def test_rules(rules: tuple[str, ...], station: str, action: str, expected: bool) -> None:
    assert Allowed(rules).permits(station, action) is expected


@pytest.mark.parametrize("rule", ["", "reset", "CP1:", "Rest", "BootNotification", "CP1:Heart*", "Reset:CP1"])
def test_rules_that_allow_nothing(rule: str) -> None:
    with pytest.raises(ValueError, match="allows nothing"):
        CommandOptions(allow=("Reset", rule))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"replies": ("a/#/b",)}, "no filter"),
        ({"replies": ("$SYS/#",)}, "the broker's"),
        ({"replies": ("$share/a/b",)}, "the broker's"),
        ({"qos": 0}, "1 or 2"),
        ({"lifetime": 0}, "above 0"),
        ({"longest_timeout": float("inf")}, "above 0"),
        ({"answers": -1}, "above 0"),
        ({"station_queue": 0}, "above 0"),
    ],
)
def test_settings_that_cannot_be_meant(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        CommandOptions(**options)


async def test_retained() -> None:
    life = Life()
    await life.commands.start()
    life.say(command("a"), retain=True)
    life.say(command("b"))
    await life.settle()
    # A retained command that came live is carried out, and its result told again with each new subscription.
    life.say(command("b"), retain=True)
    assert [(r["id"], r["status"], r["code"]) for r in await life.results()] == [
        ("a", "refused", "retained"),
        ("b", "accepted", "Accepted"),
        ("b", "accepted", "Accepted"),
    ]
    assert [order.id for order in life.world.carried] == ["b"]


RUBBISH = {
    "nothing": b"",
    "no JSON": b"Reset",
    "no object": b"[]",
    "no id": b'{"action":"Reset"}',
    "a long id": json.dumps(command("x" * 100_000)).encode(),
    "a long action": json.dumps(command(action="x" * 100_000)).encode(),
    "too much": b'{"id":"a","action":"Reset","payload":{"x":"' + b"y" * 300_000 + b'"}}',
    "too deep": b'{"id":"a","action":"Reset","payload":' + b'{"x":' * 5_000 + b"1" + b"}" * 5_001,
    "a name twice": b'{"id":"a","id":"b","action":"Reset"}',
    "names nobody knows": json.dumps(command(**{"x" * 100_000: 1})).encode(),
}


@pytest.mark.parametrize("body", RUBBISH.values(), ids=RUBBISH)
async def test_rubbish_is_answered_shortly(body: bytes) -> None:
    life = Life()
    await life.commands.start()
    life.say(body, name="x")
    (result,) = await life.results()
    assert (result["station"], result["status"], result["code"]) == ("CP1", "refused", "malformed")
    assert len(life.world.messages[0].payload) < 400
    assert life.acks == ["x"]


async def test_a_flood_fills_nothing() -> None:
    life = Life(answers=0.001, answers_burst=10)
    await life.commands.start()
    for number in range(500):
        life.say(b"rubbish", name="x")
        life.say(command(f"{number}", retain=1), name="x")
        life.say(command("a", action="Reset"), f"CP{number}", retain=True, name="x")
    await life.settle()
    assert len(life.world.messages) == 10
    assert len(life.world.outcomes) <= 10
    assert life.acks == ["x"] * 1500
    assert life.commands.counts.unanswered == 1490


async def test_a_flood_of_repetitions_fills_nothing() -> None:
    life = Life(answers=0.001, answers_burst=10)
    await life.commands.start()
    for _ in range(100):
        life.say(command("a"))
        await life.settle()
    assert len(life.world.carried) == 1
    assert len(life.world.messages) == 11
    assert len(life.acks) == 100


async def test_a_flood_for_unknown_stations_fills_nothing() -> None:
    life = Life(answers=0.001, answers_burst=10)
    await life.commands.start()
    life.stations.outcome = Outcome(status="refused", code="unknown-station")
    for number in range(100):
        life.say(command(f"{number}"), f"CP{number}")
        await life.settle()
    assert len(life.world.messages) == 10
    assert len(life.acks) == 100


async def test_nothing_of_a_payload_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    life = Life(options=CommandOptions(allow=("Reset",)))
    await life.commands.start()
    life.say({"id": "a", "action": "Reset", "payload": {"type": "hush"}})
    life.say({"id": "b", "action": "ClearCache", "payload": {"type": "hush"}})
    life.say(b'{"hush')
    life.say({"id": "c", "action": "Reset", "hush": "hush"})
    assert len(await life.results()) == 4
    assert "refused" in caplog.text
    assert "hush" not in caplog.text


# Where results go


async def test_correlation_data_comes_back() -> None:
    life = Life()
    await life.commands.start()
    life.say(command("a"), correlation=b"\x00\xff")
    life.say({"action": "ClearCache"}, correlation=b"\x01", name="b")
    life.say(b"rubbish", correlation=b"\x02", name="c")
    life.say(b"rubbish", correlation=b"\x03" * 200, name="d")
    await life.settle()
    found = {message.correlation: json.loads(message.payload) for message in life.world.messages}
    assert found[b"\x00\xff"]["id"] == "a"
    assert found[b"\x01"]["id"] == "01"
    assert found[b"\x02"]["code"] == "malformed"
    assert found[None]["code"] == "malformed"
    # A repeated command is answered with the correlation data it has now.
    life.say(command("a"), correlation=b"again")
    await life.settle()
    assert (life.world.messages[-1].correlation, json.loads(life.world.messages[-1].payload)["id"]) == (b"again", "a")


@pytest.mark.parametrize("where", ["response topic", "body"])
async def test_a_topic_for_the_reply(where: str) -> None:
    life = Life(replies=("answers/+/x", "all/#"))
    await life.commands.start()

    def ask(name: str, topic: str) -> None:
        if where == "body":
            life.say(command(name, reply=topic))
        else:
            life.say(command(name), response_topic=topic)

    good = {"a": "answers/me/x", "b": "all", "c": "chargers/CP1/result"}
    bad = ["answers/me", "$SYS/x", "all/+", "all/#", "", "all/\0", "chargers/CP2/result", "chargers/CP1/command"]
    for name, topic in good.items():
        ask(name, topic)
    for number, topic in enumerate(bad):
        ask(f"bad{number}", topic)
    await life.settle()
    went = defaultdict(list)
    for message in life.world.messages:
        went[json.loads(message.payload)["id"]].append(message.topic)
    own = "chargers/CP1/result"
    assert went == {
        "a": [own, "answers/me/x"],
        "b": [own, "all"],
        "c": [own],
        **{f"bad{number}": [own] for number in range(len(bad))},
    }
    assert {order.id for order in life.world.carried} == {"a", "b", "c"}


async def test_no_result_becomes_a_command() -> None:
    """Whatever may be answered to: not the topics that are listened to."""
    life = Life(replies=("#",), raw=True)
    await life.commands.start()
    for number, topic in enumerate(("chargers/CP2/command", "ocpp/CP2/call", "$x", "else/where")):
        life.say(command(f"{number}"), response_topic=topic)
    await life.settle()
    assert {message.topic for message in life.world.messages} == {"chargers/CP1/result", "else/where"}


async def test_raw_frames() -> None:
    life = Life(raw=True)
    await life.commands.start()
    assert life.subscribed == [("chargers/+/command", 1), ("ocpp/+/call", 1)]
    life.say([2, "7", "Reset", {"type": "Soft"}], topic="ocpp/CP1/call", correlation=b"c")
    await life.settle()
    life.say(command("7"))
    life.say([2, "7", "Reset", {"type": "Soft"}], topic="ocpp/CP1/call")
    life.say([2, "8", "Reset"], topic="ocpp/CP1/call")
    await life.settle()
    assert [order.id for order in life.world.carried] == ["7", "7"]
    frames = [m for m in life.world.messages if m.topic == "ocpp/CP1/result"]
    told = [json.loads(m.payload) for m in frames]
    assert told.count([3, "7", {"status": "Accepted"}]) == 2
    assert [frame[:3] for frame in told if frame[0] == 4] == [[4, "-1", "ProtocolError"]]
    assert len(told) == 3
    assert frames[0].correlation == b"c"
    assert len([m for m in life.world.messages if m.topic == "chargers/CP1/result"]) == 4


# The journal


async def test_acknowledged_when_it_is_in_the_journal_and_in_order() -> None:
    life = Life()
    await life.commands.start()
    life.spool.fails = 1
    life.say(command("a"))
    life.say(command("b"), "CP2")
    life.say(b"rubbish", name="c")
    await life.settle()
    assert life.acks == []
    async with asyncio.timeout(20):
        while len(life.acks) < 3:  # noqa: ASYNC110 - the journal is tried again after a while
            await asyncio.sleep(0.01)
    assert life.acks == ["a", "b", "c"]
    assert {order.id for order in life.world.carried} == {"a", "b"}


async def test_repeated_while_it_is_under_way() -> None:
    life = Life()
    await life.commands.start()
    slow = life.stations.hold("CP1")
    for _ in range(3):
        life.say(command("a"))
    await life.settle()
    life.say(command("a"), dup=True)
    assert life.acks == ["a"] * 4
    slow.set()
    assert len(await life.results()) == 1
    assert len(life.world.carried) == 1
    assert life.commands.counts.repeated == 3


async def test_a_stop_waits_and_then_says_so() -> None:
    life = Life()
    await life.commands.start()
    quick, _ = life.stations.hold("CP1"), life.stations.hold("CP2")
    for station in ("CP1", "CP2"):
        for name in "ab":
            life.say(command(name), station)
    await life.settle()
    asyncio.get_running_loop().call_later(0.05, quick.set)
    await life.commands.stop(0.5)
    found = {(r["station"], r["id"]): r["status"] for r in await life.results()}
    assert found == {("CP1", "a"): "accepted", ("CP2", "a"): "unknown"}
    assert life.say(command("c"))
    assert len(life.acks) == 4
    # The rest is for the next one.
    after = Life(life.world)
    await after.commands.start()
    found = {(r["station"], r["id"]): r["status"] for r in await after.results()}
    assert found == {
        ("CP1", "a"): "accepted",
        ("CP2", "a"): "unknown",
        ("CP1", "b"): "accepted",
        ("CP2", "b"): "accepted",
    }


async def test_rules_may_have_changed_meanwhile() -> None:
    life = Life()
    await life.commands.start()
    life.stations.hold("CP1")
    life.say(command("a"))
    life.say(command("b"))
    await life.settle()
    await life.kill()
    world = World(commands=life.world.commands, outcomes=life.world.outcomes, carried=life.world.carried)
    after = Life(world, CommandOptions(allow=("ClearCache",)))
    await after.commands.start()
    assert {r["id"]: r.get("code", r["status"]) for r in await after.results()} == {"a": "unknown", "b": "not-allowed"}


async def test_a_journal_of_another_release() -> None:
    world = World(commands={"x": Journaled("x", "t", b"\x00", False), "y": Journaled("y", "t", b'{"id":"a"}', True)})
    life = Life(world)
    await life.commands.start()
    await life.settle()
    assert world.commands == {}
    assert world.messages == []


# Wherever the process ends

SCENARIO: list[tuple[str, Any, dict[str, Any]]] = [
    ("CP1", command("a"), {}),
    ("CP1", command("b"), {}),
    ("CP2", command("a"), {"correlation": b"c", "response_topic": "answers"}),
    ("CP1", command("no", action="ClearCache"), {}),
    ("CP2", b"rubbish", {}),
    ("CP1", command("a"), {"dup": True}),
    ("CP1", command("kept"), {"retain": True}),
    ("CP1", command("c"), {}),
    ("CP1", command("no", action="ClearCache"), {}),
]


async def live(world: World, unacknowledged: list[int], options: CommandOptions) -> tuple[list[int], int]:
    """One life: takes what the broker has not been told of, in order; what is left when it ends, and how many steps."""
    world.steps = 0
    world.ended = asyncio.Event()
    life = Life(world, options)
    await life.commands.start()
    for number in unacknowledged:
        station, body, more = SCENARIO[number]
        life.say(body, station, name=f"{number}", **more)
        await asyncio.sleep(0)
    await life.settle()
    acknowledged = {int(name) for name in life.acks}
    await life.kill()
    return [number for number in unacknowledged if number not in acknowledged], world.steps


async def check(ends: list[tuple[int, bool]]) -> int:
    """Lives through all of these ends, and one life without; returns the steps of the first."""
    options = CommandOptions(allow=("Reset",), replies=("answers",))
    world = World()
    left = list(range(len(SCENARIO)))
    first = 0
    for end, after in [*ends, (0, False)]:
        world.end, world.after = end or None, after
        left, steps = await live(world, left, options)
        first = first or steps
    assert left == []
    assert world.commands == {}
    done = [(order.station, order.id) for order in world.carried]
    assert len(done) == len(set(done)), "carried out twice"
    told = defaultdict(set)
    for message in world.messages:
        result = json.loads(message.payload)
        told[result["station"], result.get("id")].add(message.payload)
    once = {("CP1", "a"), ("CP1", "b"), ("CP2", "a"), ("CP1", "c"), ("CP1", "no"), ("CP1", "kept")}
    assert set(told) == once | {("CP2", None)}
    for name in once:
        assert len(told[name]) == 1, f"{name} has several results"
        status = json.loads(next(iter(told[name])))["status"]
        if name[1] in ("no", "kept"):
            assert status == "refused"
        elif name in done:
            assert status in ("accepted", "unknown")
        else:
            # Its start was written, and then came the end.
            assert status == "unknown"
    if not ends:
        assert sorted(done) == [("CP1", "a"), ("CP1", "b"), ("CP1", "c"), ("CP2", "a")]
    return first


async def test_wherever_the_process_ends() -> None:
    steps = await check([])
    assert steps > 20
    for end in range(1, steps + 1):
        for after in (False, True):
            await check([(end, after)])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=6))
def test_wherever_several_processes_end(ends: list[tuple[int, bool]]) -> None:
    asyncio.run(check(ends))
