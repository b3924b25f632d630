"""Events: kinds, topics, ids, and the JSON form with its schemas."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import random
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from evcore import Router
from evcore.bus import BY_NAME, CLASSES, KINDS, Event, EventError, Kind, bodies, schema
from evcore.bus.event import Stamp, topic_of
from evcore.bus.fields import fields

PAGE = Path(__file__).resolve().parents[2] / "docs" / "events.md"
NOW = 1_795_201_167.679

#: Every field of every body that has no default.
VALUES: dict[str, Any] = {
    **dict.fromkeys(("vendor", "model", "code", "message", "source", "frame", "unit", "quantity", "since"), "text"),
    "station": "CP/1",
    "version": "ocpp1.6",
    "transaction": "12",
    "status": "accepted",
    "type": "meter",
    "evse": 1,
    "connector": 2,
    "command": "c 1",
    "action": "Reset",
    "direction": "in",
    "device": "d",
    "instance": "0",
    "field": "power",
    "value": 1.5,
    "site": "s",
    "energy": 7200.5,
    "stations": 3,
    "charging": 1,
    "node": "n",
    "uptime": 60.0,
    "backlog": 0,
    "samples": (bodies.Sample(quantity="SoC", value=50, unit="Percent"),),
}


def smallest(kind: Kind) -> Any:
    return kind.body(**{field.name: VALUES[field.name] for field in fields(kind.body) if field.required})


def event(body: Any) -> Event:
    return Event(KINDS[type(body)], topic_of(body), body, *Stamp().next(NOW))


each = pytest.mark.parametrize("kind", BY_NAME.values(), ids=lambda kind: kind.name)


# Kinds


def test_every_body_is_a_kind() -> None:
    classes = {getattr(bodies, name) for name in bodies.__all__} - {bodies.Sample}
    assert set(KINDS) == classes
    assert [kind.name for kind in KINDS.values()] == list(BY_NAME)
    assert {kind.qos_class for kind in KINDS.values()} == set(CLASSES)


@each
def test_a_kind_holds_together(kind: Kind) -> None:
    """Its topic is of fields the body has, its class is documented, and the JSON form has room for all of it."""
    names = {field.name for field in fields(kind.body)}
    router = Router()
    router.add(kind.topic, kind)
    found = router.routes(topic_of(smallest(kind)))
    assert set(found[0].captures) <= names
    assert not names & {"id", "kind", "published"}
    assert (kind.body.__doc__ or "").endswith(".")
    station = fields(kind.body)[0].name == "station"
    assert station == ("{station}" in kind.topic)


@pytest.mark.parametrize(
    ("body", "topic"),
    [
        (bodies.StationOnline(station="CP 1/é", version="ocpp1.6"), "stations/CP%201%2Fé/connection"),
        (bodies.StationOnline(station="{x}", version="ocpp1.6"), "stations/%7Bx%7D/connection"),
        (bodies.Readings(station="a", samples=()), "stations/a/readings/0"),
        (bodies.Readings(station="a", evse=3, samples=()), "stations/a/readings/3"),
        (bodies.ConnectorStatus(station="a", evse=0, connector=1, status=""), "stations/a/connectors/0/1"),
        (bodies.TransactionEnded(station="a", transaction=""), "stations/a/transactions/%/ended"),
        (
            bodies.DeviceReading(device="$d", type="t+", instance="#", field="%", value=1),
            "devices/%24d/t%2B/%23/%25",
        ),
        (bodies.RawFrame(station="a", direction="out", frame="[]"), "stations/a/frames/out"),
    ],
)
def test_topics(body: Any, topic: str) -> None:
    assert topic_of(body) == topic


@each
def test_bodies_are_immutable_and_whole(kind: Kind) -> None:
    body = smallest(kind)
    name = fields(kind.body)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(body, name, "other")
    assert not hasattr(body, "__dict__")
    with pytest.raises(TypeError):
        kind.body("CP1")
    with pytest.raises(TypeError):
        kind.body()
    for twin in (copy.copy(body), copy.deepcopy(body), pickle.loads(pickle.dumps(body)), dataclasses.replace(body)):
        assert twin == body and type(twin) is type(body)
    seen = event(body)
    with pytest.raises(dataclasses.FrozenInstanceError):
        seen.topic = "other"
    assert pickle.loads(pickle.dumps(seen)) == seen


# Ids


def test_ids_are_unique_and_sorted() -> None:
    """Whatever the clock does."""
    stamp = Stamp()
    clock = random.Random(7)
    now = NOW
    given = []
    for _ in range(20_000):
        now += clock.choice((0, 0, 0, 0.0004, 0.5, -3))
        given.append(stamp.next(now))
    ids = [ident for ident, _ in given]
    assert ids == sorted(set(ids))
    assert [time for _, time in given] == sorted(time for _, time in given)
    assert {len(ident) for ident in ids} == {26}
    assert not {stamp.next(NOW)[0] for _ in range(100)} & {Stamp().next(NOW)[0] for _ in range(100)}


def test_an_id_tells_its_time() -> None:
    ident, time = Stamp().next(NOW)
    digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    milliseconds = 0
    for digit in ident[:10]:
        milliseconds = milliseconds * 32 + digits.index(digit)
    assert milliseconds == round(time * 1000) == 1_795_201_167_679


def test_ids_go_on_when_a_millisecond_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evcore.bus.event._COUNTS", 1000)
    stamp = Stamp()
    given = [stamp.next(NOW) for _ in range(2500)]
    ids = [ident for ident, _ in given]
    assert ids == sorted(set(ids))
    assert round(given[-1][1] - given[0][1], 6) == 0.002


# JSON


def test_json_is_flat_and_leaves_none_out() -> None:
    body = bodies.ConnectorStatus(station="CP1", evse=1, connector=2, status="Available", time="yesterday")
    seen = Event(KINDS[type(body)], "", body, "0" * 26, 1_795_201_167.679)
    assert seen.json() == {
        "id": "0" * 26,
        "kind": "connector.status",
        "published": "2026-11-20T18:59:27.679Z",
        "station": "CP1",
        "evse": 1,
        "connector": 2,
        "status": "Available",
        "time": "yesterday",
    }


def test_json_of_samples_and_keys() -> None:
    sample = bodies.Sample(quantity="SoC", value=50, unit="Percent", phase="L1")
    assert (
        event(bodies.Readings(station="a", samples=(sample, sample))).json()["samples"]
        == [{"quantity": "SoC", "value": 50, "unit": "Percent", "phase": "L1"}] * 2
    )
    assert event(bodies.ConfigurationProgress(station="a", keys=("x", "y"))).json()["keys"] == ["x", "y"]


@each
def test_parse_is_the_inverse(kind: Kind) -> None:
    seen = event(smallest(kind))
    text = json.dumps(seen.json())
    assert Event.parse(json.loads(text)) == seen


@pytest.mark.parametrize("published", [0.0, 0.001, 1e9 + 0.999, NOW, 4_102_444_800.123])
def test_times_survive(published: float) -> None:
    seen = dataclasses.replace(event(smallest(BY_NAME["fault"])), time=published)
    assert Event.parse(seen.json()).time == published


FAULT = {"id": "0" * 26, "kind": "fault", "published": "2026-11-20T18:59:27.679Z", "station": "CP1", "code": "secret"}


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "nothing"},
        {"kind": None},
        {"kind": ["fault"]},
        {"id": 1},
        {"id": "0" * 25},
        {"id": "8" + "0" * 25},
        {"id": "0" * 25 + "U"},
        {"id": "0" * 26 + "\n"},
        {"published": 5},
        {"published": "2026-11-20T18:59:27Z"},
        {"published": "2026-13-20T18:59:27.679Z"},
        {"published": "0000-01-01T00:00:00.000Z"},
        {"published": "２026-11-20T18:59:27.679Z"},
        {"station": None},
        {"station": 5},
        {"station": "\ud800"},
        {"station": "x" * 70_000},
        {"station": "\u20ac" * 21_900},
        {"evse": "1"},
        {"evse": True},
        {"evse": 1.5},
        {"evse": 2**53},
        {"evse": None},
        {"topic": "stations/CP2/faults"},
        {5: "x"},
    ],
    ids=repr,
)
def test_parse_refuses(change: dict[str, Any]) -> None:
    assert Event.parse(FAULT).body.code == "secret"
    with pytest.raises(EventError) as caught:
        Event.parse(FAULT | change)
    assert "secret" not in str(caught.value) and len(str(caught.value)) < 120


@pytest.mark.parametrize("missing", FAULT)
def test_parse_refuses_what_is_not_whole(missing: str) -> None:
    with pytest.raises(EventError):
        Event.parse({name: value for name, value in FAULT.items() if name != missing})


@pytest.mark.parametrize("values", [None, [], "fault", 5])
def test_parse_refuses_what_is_no_object(values: Any) -> None:
    with pytest.raises(EventError):
        Event.parse(values)


def nested(depth: int) -> Any:
    found: Any = {}
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("readings", {"samples": {}}),
        ("readings", {"samples": ["x"]}),
        ("readings", {"samples": [{"quantity": "a", "unit": "b"}]}),
        ("readings", {"samples": [{"quantity": "a", "unit": "b", "value": "1"}]}),
        ("readings", {"samples": [{"quantity": "a", "unit": "b", "value": True}]}),
        ("readings", {"samples": [{"quantity": "a", "unit": "b", "value": float("nan")}]}),
        ("readings", {"samples": [{"quantity": "a", "unit": "b", "value": 10**400}]}),
        ("readings", {"samples": [{"quantity": "a", "unit": "b", "value": 1, "x": 1}]}),
        ("configuration.progress", {"keys": "ab"}),
        ("configuration.progress", {"keys": ["a", 1]}),
        ("configuration.progress", {"last": 1}),
        ("command.result", {"status": "perhaps"}),
        ("command.result", {"payload": []}),
        ("command.result", {"payload": {"a": "\ud800"}}),
        ("command.result", {"payload": {"a": float("inf")}}),
        ("command.result", {"payload": {"a": 10**400}}),
        ("command.result", {"payload": {5: 1}}),
        ("command.result", {"payload": {"a": {1, 2}}}),
        ("command.result", {"payload": {"a": nested(63)}}),
        ("command.result", {"payload": {"a": nested(5000)}}),
        ("device.reading", {"value": None}),
        ("device.reading", {"value": []}),
        ("device.reading", {"value": float("nan")}),
        ("device.reading", {"value": "\udfff"}),
        ("station.frame", {"direction": "sideways"}),
        ("station.frame", {"direction": ["in"]}),
    ],
)
def test_parse_refuses_bodies(kind: str, change: dict[str, Any]) -> None:
    values = event(smallest(BY_NAME[kind])).json()
    Event.parse(values)
    with pytest.raises(EventError):
        Event.parse(values | change)


def test_parse_takes_what_json_may_write() -> None:
    """5.0 is an integer, and an integer is a number; a payload is anything that can be written again."""
    assert Event.parse(FAULT | {"evse": 5.0}).topic == "stations/CP1/faults"
    payload = {"a": [None, True, 1, 1.5, "x", {"b": nested(59)}]}
    values = event(smallest(BY_NAME["command.result"])).json() | {"payload": payload}
    assert Event.parse(values).json()["payload"] == payload
    for value in (5, 5.5, "on", True, -(2**60)):
        values = event(smallest(BY_NAME["device.reading"])).json() | {"value": value}
        assert Event.parse(values).body.value == value


# Schemas


def test_schema_files_are_of_this_code() -> None:
    found = {file.name: file.read_text("utf-8") for file in schema.FOLDER.iterdir()}
    assert found == schema.files(), "python -m evcore.bus docs/events.md"


def test_the_page_is_of_this_code() -> None:
    text = PAGE.read_text("utf-8")
    assert schema.renew(text) == text, "python -m evcore.bus docs/events.md"
    for kind in BY_NAME.values():
        assert f"| `{kind.topic}` | {kind.qos_class} | {'yes' if kind.retain else ''} |" in text
    with pytest.raises(ValueError):
        schema.renew("a page without marks")


@each
def test_a_schema_is_whole(kind: Kind) -> None:
    found = json.loads((schema.FOLDER / f"{kind.name}.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(found)
    assert found["$id"].endswith(kind.name)
    assert [found["x-evcore-topic"], found["x-evcore-qos-class"], found["x-evcore-retain"]] == list(kind[1:4])

    def visit(node: Any) -> None:
        if "properties" in node:
            assert node["additionalProperties"] is False
            for name, item in node["properties"].items():
                assert item.get("description"), name
                visit(item)
        if "items" in node:
            visit(node["items"])

    visit(found)
    jsonschema.Draft202012Validator(found).validate(event(smallest(kind)).json())


def test_every_energy_and_power_has_its_unit() -> None:
    for kind in BY_NAME.values():
        for field in fields(kind.body):
            if field.hint is float and field.name != "value":
                assert field.description.endswith((", Wh", ", W", ", s")), f"{kind.name} {field.name}"
