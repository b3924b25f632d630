"""The bus against a model, in histories nobody thought of; events against hostile JSON.

The model is lists and loops: it knows no router, no queue with two ends, no futures. It says what each subscription can
read and has lost, in which order sinks were called, which publishers still wait, and what is retained.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import Any

import jsonschema_rs
from hypothesis import given, settings
from hypothesis import strategies as st

from evcore import Router
from evcore.bus import BY_NAME, Bus, Closed, Event, EventError, Subscription, bodies, level, schema, unlevel
from evcore.bus.fields import fields

# Topics


NAMES = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="/+#$% \0\x7f%2FfEDA-{}a\ud800\udc00\ufffeé", max_size=12),
    st.from_regex(r"%[0-9A-Fa-f]{2}", fullmatch=True),
)
STRICT = Router(controls="refuse", forbidden=" \x7f")


@given(NAMES)
@settings(max_examples=500)
def test_a_level_is_one_level_and_comes_back(name: str) -> None:
    written = level(name)
    assert unlevel(written) == name
    assert STRICT.match(f"{written}/a") == [] == STRICT.match(written)
    assert not set(written) & set("+#/") and not written.startswith("$") and written
    router = Router()
    router.add("+", name)
    router.add(f"{written}/a", name)
    assert router.match(written) == [name]
    assert [(route.filter, route.captures) for route in router.routes(f"{written}/a")] == [(f"{written}/a", {})]


@given(NAMES, NAMES)
def test_different_names_are_different_levels(one: str, other: str) -> None:
    assert (level(one) == level(other)) == (one == other)


@given(NAMES)
@settings(max_examples=500)
def test_what_is_read_was_written(written: str) -> None:
    """There is one way to write a name: what reads as one is written so again, anything else is refused."""
    try:
        name = unlevel(written)
    except ValueError:
        return
    assert level(name) == written


# The model


def fits(pattern: str, topic: str) -> bool:
    wanted, levels = pattern.split("/"), topic.split("/")
    if wanted[-1] == "#":
        del wanted[-1]
        if len(levels) < len(wanted):
            return False
        del levels[len(wanted) :]
    if len(wanted) != len(levels):
        return False
    return all(want == "+" or want.startswith("{") or want == found for want, found in zip(wanted, levels))


class ModelToken:
    """One publication: the subscriptions that have not taken it."""

    def __init__(self, patient: bool) -> None:
        self.patient = patient
        self.blocked: list[ModelQueue] = []


class ModelQueue:
    def __init__(self, filters: tuple[str, ...], limit: int, policy: str, replay: list[tuple[str, str]]) -> None:
        self.filters = filters
        self.limit = limit
        self.policy = policy
        self.events = list(replay)
        self.replayed = len(replay)
        self.late: list[tuple[tuple[str, str], ModelToken]] = []
        self.dropped = 0
        self.closed = False

    def take(self, event: tuple[str, str], token: ModelToken) -> None:
        room = len(self.events) - self.replayed < self.limit
        if self.policy == "conflate":
            for place in range(self.replayed, len(self.events)):
                if self.events[place][0] == event[0]:
                    self.events[place] = event
                    return
        if self.policy == "block" and not room:
            self.late.append((event, token))
            token.blocked.append(self)
            return
        if not room:
            del self.events[self.replayed]
            self.dropped += 1
        self.events.append(event)

    def read(self) -> tuple[str, str]:
        event = self.events.pop(0)
        if self.replayed:
            self.replayed -= 1
        elif self.late:
            late, token = self.late.pop(0)
            self.events.append(late)
            token.blocked.remove(self)
        return event

    def withdraw(self, token: ModelToken) -> None:
        kept = [pair for pair in self.late if pair[1] is not token]
        self.dropped += len(self.late) - len(kept)
        self.late = kept

    def close(self) -> None:
        self.closed = True
        for _, token in self.late:
            token.blocked.remove(self)
        self.late = []


class ModelSink:
    def __init__(self, number: int, filters: tuple[str, ...], echo: bool) -> None:
        self.number = number
        self.filters = filters
        self.echo = echo


class Model:
    def __init__(self, most: int) -> None:
        self.most = most
        self.listeners: list[ModelQueue | ModelSink] = []
        self.retained: dict[str, str] = {}
        self.calls: list[tuple[int, str]] = []

    def publish(self, topic: str, serial: str, patient: bool) -> ModelToken:
        first = ModelToken(patient)
        pending = [(topic, serial, first)]
        for place, serial, token in pending:
            if place.endswith("/connection") or "/connectors/" in place:
                self.retained[place] = serial
                if len(self.retained) > self.most:
                    del self.retained[next(iter(self.retained))]
            for listener in self.listeners:
                if not any(fits(pattern, place) for pattern in listener.filters):
                    continue
                if isinstance(listener, ModelQueue):
                    listener.take((place, serial), token)
                    continue
                self.calls.append((listener.number, serial))
                if listener.echo and place.endswith("/firmware"):
                    station = place.split("/")[1]
                    pending.append((f"stations/{station}/log", f"{serial}+{listener.number}", ModelToken(False)))
        for _, _, token in pending:
            if not token.patient:
                self.withdraw(token)
        return first

    def withdraw(self, token: ModelToken) -> None:
        for queue in token.blocked:
            queue.withdraw(token)
        token.blocked = []

    def last(self, pattern: str) -> list[tuple[str, str]]:
        return [(topic, serial) for topic, serial in self.retained.items() if fits(pattern, topic)]


# Histories


FILTERS = st.sampled_from(
    [
        *(
            "#",
            "stations/#",
            "stations/A/#",
            "+/+/connection",
            "stations/{station}/firmware",
            "stations/B/connectors/1/+",
        ),
        *("stations/{s}/log", "stations/A/connectors/#", "stations/B/firmware", "stations/A/connection", "devices/#"),
    ]
)
WHICH = st.integers(0, 5)
PUBLISH = st.tuples(
    st.just("publish"),
    st.sampled_from("AB"),
    st.sampled_from(["online", "offline", "one", "two", "firmware", "firmware"]),
    st.booleans(),
)
SUBSCRIBE = st.tuples(
    st.just("subscribe"),
    st.lists(FILTERS, min_size=1, max_size=3).map(tuple),
    st.integers(1, 3),
    st.sampled_from(["block", "drop_oldest", "conflate"]),
    st.booleans(),
)
ATTACH = st.tuples(st.just("attach"), FILTERS, st.booleans())
OTHER = st.tuples(st.sampled_from(["read", "read", "close", "lose", "detach", "cancel"]), WHICH)
FORGET = st.tuples(st.just("forget"), FILTERS)
STEPS = st.builds(
    lambda first, rest: [*first, *rest],
    st.lists(st.one_of(SUBSCRIBE, ATTACH), max_size=5),
    st.lists(st.one_of(PUBLISH, PUBLISH, PUBLISH, OTHER, OTHER, SUBSCRIBE, ATTACH, FORGET), max_size=60),
)


def body_of(station: str, what: str, serial: str) -> tuple[str, Any]:
    if what == "online":
        return f"stations/{station}/connection", bodies.StationOnline(station=station, version=serial)
    if what == "offline":
        return f"stations/{station}/connection", bodies.StationOffline(station=station, version=serial)
    if what == "firmware":
        return f"stations/{station}/firmware", bodies.FirmwareProgress(station=station, status=serial)
    connector = 1 if what == "one" else 2
    body = bodies.ConnectorStatus(station=station, evse=1, connector=connector, status=serial)
    return f"stations/{station}/connectors/1/{connector}", body


def said(event: Event) -> tuple[str, str]:
    """An event as the model writes it."""
    return event.topic, getattr(event.body, "version", None) or event.body.status


class History:
    """A bus and the model of it, side by side."""

    def __init__(self, most: int) -> None:
        self.bus = Bus(most=most)
        self.model = Model(most)
        self.queues: list[tuple[Subscription, ModelQueue]] = []
        self.sinks: list[tuple[Any, ModelSink]] = []
        self.waiting: list[tuple[asyncio.Task[None], ModelToken]] = []
        self.calls: list[tuple[int, str]] = []
        self.serial = 0

    def publish(self, station: str, what: str, patient: bool) -> None:
        self.serial += 1
        topic, body = body_of(station, what, str(self.serial))
        token = self.model.publish(topic, str(self.serial), patient)
        if patient:
            task = asyncio.get_running_loop().create_task(wait_for(self.bus.publish(body)))
            self.waiting.append((task, token))
        else:
            self.bus.publish(body)

    def subscribe(self, filters: tuple[str, ...], limit: int, policy: Any, retained: bool) -> None:
        kept = [pair for pair in self.model.last("#") if any(fits(pattern, pair[0]) for pattern in filters)]
        queue = ModelQueue(filters, limit, policy, kept if retained else [])
        self.model.listeners.append(queue)
        self.queues.append((self.bus.subscribe(*filters, limit=limit, policy=policy, retained=retained), queue))

    def attach(self, pattern: str, echo: bool) -> None:
        sink = ModelSink(len(self.sinks) + 1000 * self.serial, (pattern,), echo)

        def call(event: Event) -> None:
            self.calls.append((sink.number, said(event)[1]))
            if sink.echo and event.kind.name == "firmware.progress":
                body = bodies.LogProgress(station=event.body.station, status=f"{event.body.status}+{sink.number}")
                self.bus.publish(body)

        self.model.listeners.append(sink)
        self.sinks.append((self.bus.attach(pattern, call), sink))

    async def read(self, which: int) -> None:
        if not self.queues:
            return
        events, queue = self.queues[which % len(self.queues)]
        if queue.events:
            assert said(await events.get()) == queue.read()
        elif queue.closed:
            try:
                await events.get()
            except Closed:
                return
            raise AssertionError("read from what is closed and empty")

    def close(self, which: int) -> None:
        if self.queues:
            events, queue = self.queues[which % len(self.queues)]
            events.close()
            self.leave(queue)

    def lose(self, which: int) -> None:
        if self.queues:
            self.leave(self.queues.pop(which % len(self.queues))[1])

    def leave(self, queue: ModelQueue) -> None:
        queue.close()
        if queue in self.model.listeners:
            self.model.listeners.remove(queue)

    def detach(self, which: int) -> None:
        if self.sinks:
            detach, sink = self.sinks[which % len(self.sinks)]
            detach()
            if sink in self.model.listeners:
                self.model.listeners.remove(sink)

    async def cancel(self, which: int) -> None:
        if self.waiting:
            task, token = self.waiting.pop(which % len(self.waiting))
            task.cancel()
            await asyncio.wait([task])
            self.model.withdraw(token)

    def forget(self, pattern: str) -> None:
        gone = self.model.last(pattern)
        assert self.bus.forget(pattern) == len(gone)
        for topic, _ in gone:
            del self.model.retained[topic]

    async def compare(self) -> None:
        for _ in range(4):
            await asyncio.sleep(0)
        assert self.calls == self.model.calls
        assert [said(event) for event in self.bus.last("#")] == self.model.last("#")
        for events, queue in self.queues:
            assert (events.waiting, events.dropped) == (len(queue.events), queue.dropped)
        for task, token in self.waiting:
            assert task.done() == (not token.blocked)
        self.waiting = [pair for pair in self.waiting if not pair[0].done()]


async def wait_for(waits: Awaitable[None] | None) -> None:
    if waits is not None:
        await waits


async def live(steps: list[Any], most: int) -> None:
    history = History(most)
    for name, *arguments in steps:
        done = getattr(history, name)(*arguments)
        if done is not None:
            await done
        await history.compare()
    # What is left comes out as the model says, and then nobody waits any more.
    for events, queue in history.queues:
        while queue.events:
            assert said(await events.get()) == queue.read()
        assert events.waiting == 0
    await history.compare()
    assert not history.waiting


@given(STEPS, st.sampled_from([1, 2, 3, 100]))
@settings(deadline=None, max_examples=1000)
def test_histories(steps: list[Any], most: int) -> None:
    asyncio.run(live(steps, most))


@given(
    st.lists(st.tuples(WHICH, st.integers(0, 3)), max_size=80),
    st.lists(st.sampled_from(["block", "drop_oldest"]), min_size=1, max_size=3),
)
@settings(deadline=None, max_examples=300)
def test_each_publisher_is_heard_in_order_by_all(turns: list[tuple[int, int]], policies: list[Any]) -> None:
    """Publishers and readers as tasks that come round in any order: nobody hears two events of one publisher the wrong
    way round, and `block` loses none.
    """

    async def run() -> None:
        bus = Bus()
        readers = [bus.subscribe("#", limit=2, policy=policy) for policy in policies]
        heard: list[list[tuple[str, int]]] = [[] for _ in readers]

        async def listen(place: int) -> None:
            async for event in readers[place]:
                heard[place].append((event.body.station, int(event.body.status)))
                for _ in range(turns[len(heard[place]) % len(turns)][1] if turns else 0):
                    await asyncio.sleep(0)

        async def publish(station: str) -> None:
            for number, (who, pause) in enumerate(turns):
                if who == int(station):
                    await wait_for(bus.publish(bodies.FirmwareProgress(station=station, status=str(number))))
                    for _ in range(pause):
                        await asyncio.sleep(0)

        listeners = [asyncio.create_task(listen(place)) for place in range(len(readers))]
        await asyncio.gather(*(publish(str(who)) for who in range(6)))
        for events in readers:
            events.close()
        await asyncio.gather(*listeners)
        for policy, events, found in zip(policies, readers, heard):
            for who in range(6):
                numbers = [number for station, number in found if station == str(who)]
                assert numbers == sorted(numbers)
            assert len(found) + events.dropped == len(turns)
            assert policy == "drop_oldest" or events.dropped == 0

    asyncio.run(run())


# Hostile JSON


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXT,
    "number": NUMBERS,
    "integer": st.integers(-(2**53) + 1, 2**53 - 1),
    "boolean": st.booleans(),
    "object": st.dictionaries(TEXT, JSON, max_size=3),
}
VALIDATORS = {name: jsonschema_rs.validator_for(schema.schema(kind)) for name, kind in BY_NAME.items()}


def values_of(node: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What a schema allows."""
    if "const" in node:
        return st.just(node["const"])
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if "pattern" in node:
        times = st.sampled_from(["2026-11-20T18:59:27.679Z", "1970-01-01T00:00:00.000Z", "2999-12-31T23:59:59.999Z"])
        return times if node["pattern"].endswith("Z$") else st.sampled_from(["0" * 26, "7" + "Z" * 25])
    if isinstance(node["type"], list):
        return st.one_of([VALUES[name] for name in node["type"]])
    if node["type"] == "array":
        return st.lists(values_of(node["items"]), max_size=3)
    if "properties" not in node:
        return VALUES[node["type"]]
    inner = {name: values_of(item) for name, item in node["properties"].items()}
    optional = {name: item for name, item in inner.items() if name not in node["required"]}
    return st.fixed_dictionaries({name: inner[name] for name in node["required"]}, optional=optional)


EVENTS = st.sampled_from([kind.name for kind in BY_NAME.values()]).flatmap(
    lambda name: values_of(schema.schema(BY_NAME[name]))
)


@given(EVENTS)
@settings(max_examples=300)
def test_what_a_schema_allows_is_an_event_and_comes_back(values: dict[str, Any]) -> None:
    event = Event.parse(json.loads(json.dumps(values)))
    written = event.json()
    again = Event.parse(json.loads(json.dumps(written)))
    assert again == event and again.json() == written
    assert VALIDATORS[event.kind.name].is_valid(written)
    defaults = {field.name: field.default for field in fields(event.kind.body) if not field.required}
    for name, value in written.items():
        expected = values[name] if name in values else defaults[name]
        assert value == (list(expected) if isinstance(expected, tuple) else expected)


@given(EVENTS, st.data())
@settings(max_examples=1000)
def test_parse_agrees_with_the_schema(values: dict[str, Any], data: st.DataObject) -> None:
    """One thing is changed to anything at all: what the schema allows is taken, what it does not is refused."""
    what = data.draw(st.sampled_from(["replace", "remove", "add", "inside"]))
    name = data.draw(st.sampled_from([*values]))
    if what == "remove":
        del values[name]
    elif what == "add":
        values[data.draw(st.one_of(st.text(max_size=8), st.sampled_from(["evse", "time", "samples"])))] = data.draw(
            JSON
        )
    elif what == "inside" and isinstance(values.get("samples"), list) and values["samples"]:
        sample = data.draw(st.sampled_from(values["samples"]))
        sample[data.draw(st.sampled_from(["value", "unit", "phase", "more"]))] = data.draw(JSON)
    else:
        values[name] = data.draw(JSON)
    kind = values.get("kind")
    judge = VALIDATORS.get(kind) if isinstance(kind, str) else None
    valid = judge is not None and is_unicode(values) and judge.is_valid(values)
    event = parsed(values)
    assert (event is not None) == valid
    assert event is None or Event.parse(event.json()) == event


def parsed(values: Any) -> Event | None:
    """Raises nothing but an AssertionError, whatever it is."""
    try:
        return Event.parse(values)
    except EventError as error:
        refusal = str(error)
    assert len(refusal) < 200
    return None


def is_unicode(values: Any) -> bool:
    try:
        json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@given(JSON)
@settings(max_examples=300)
def test_anything_else_is_refused(values: Any) -> None:
    assert parsed(values) is None
