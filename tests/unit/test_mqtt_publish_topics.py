"""Topic templates: what is refused at the start, what names become, which station a command's topic names."""

from __future__ import annotations

import pytest

from evcore.mqtt.publisher.options import PublishOptions
from evcore.mqtt.topics import TemplateError, TopicOptions, Topics
from evcore.route import Router


def test_defaults() -> None:
    topics = Topics()
    assert topics.status("CP1") == "chargers/CP1/status"
    assert topics.metrics("CP1", 2) == "chargers/CP1/metrics"
    assert topics.events("CP1", "transaction.started") == "chargers/CP1/events"
    assert topics.availability("CP1") == "chargers/CP1/availability"
    assert topics.command("CP1") == "chargers/CP1/command"
    assert topics.result("CP1") == "chargers/CP1/result"
    assert topics.device("m1", "meter", "0", "power") == "devices/m1/meter/0/power"
    assert topics.site("north") == "sites/north/energy"
    assert topics.heartbeat("n1") == "system/heartbeat/n1"
    assert topics.node("n1") == "system/availability/n1"
    assert topics.raw("CP1", "in") == "ocpp/CP1/in"
    assert topics.raw_call("CP1") == "ocpp/CP1/call"
    assert topics.command_filter == "chargers/+/command"
    assert topics.raw_call_filter == "ocpp/+/call"


def test_prefix_stands_before_all() -> None:
    topics = Topics(TopicOptions(prefix="ev/berlin"))
    assert topics.status("CP1") == "ev/berlin/chargers/CP1/status"
    assert topics.node("n1") == "ev/berlin/system/availability/n1"
    assert topics.command_filter == "ev/berlin/chargers/+/command"
    assert topics.command_station("ev/berlin/chargers/CP1/command") == "CP1"
    assert topics.command_station("chargers/CP1/command") is None


def test_names_that_templates_may_have() -> None:
    topics = Topics(TopicOptions(metrics="m/{station}/{evse}", events="e/{station}/{kind}"))
    assert topics.metrics("CP1", None) == "m/CP1/0"
    assert topics.events("CP1", "connector.status") == "e/CP1/connector.status"


@pytest.mark.parametrize(
    ("setting", "template", "says"),
    [
        ("status", "chargers/{staton}/status", "{staton}, which nothing fills: {station} can be used there"),
        ("status", "chargers/status", "lacks {station}"),
        ("status", "chargers/+/{station}", "must not contain '+'"),
        ("status", "chargers/#/{station}", "must not contain '#'"),
        ("status", "my chargers/{station}", "must not contain ' '"),
        ("status", "chargers/{station}/a\0b", "must not contain '\\x00'"),
        ("status", "chargers/{station}/\ud800", "must not contain '\\ud800'"),
        ("status", "chargers//{station}", "has an empty level"),
        ("status", "/chargers/{station}", "has an empty level"),
        ("status", "", "has an empty level"),
        ("status", "chargers/cp-{station}/status", "must be a whole level, which 'cp-{station}' is not"),
        ("status", "chargers/{station/status", "must be a whole level"),
        ("status", "{station}/{station}", "has {station} twice"),
        ("status", "$SYS/{station}", "begins with '$'"),
        ("status", "a" * 40_000 + "/{station}", "is too long"),
        ("device", "devices/{device}/{field}", "lacks {instance}"),
        ("heartbeat", "beats/{station}", "{station}, which nothing fills: {node} can be used there"),
        ("prefix", "ev/{station}", "{station}, which nothing fills: none can be used there"),
        ("prefix", "ev/", "has an empty level"),
        ("events", "chargers/{station}/status", "status ('chargers/{station}/status') and events"),
        ("events", "chargers/{station}/{kind}", "could give the same topic"),
        ("raw_call", "chargers/{station}/command", "could give the same topic"),
        ("raw_call", "ocpp/{station}/in", "could give the same topic"),
    ],
)
def test_templates_that_are_refused(setting: str, template: str, says: str) -> None:
    options = TopicOptions(**{setting: template})
    with pytest.raises(TemplateError) as refused:
        Topics(options)
    assert says in str(refused.value)
    assert str(refused.value).count("\n") == 0
    with pytest.raises(TemplateError):
        PublishOptions(node="n1", topics=options)


HOSTILE = [
    "a/b",
    "a+b",
    "#",
    "+",
    "$SYS",
    " ",
    "a b",
    "\0",
    "%",
    "%2F",
    "é",
    "日本",
    "../x",
    "\ud800",
    "*",
    ">",
    ".",
    "x" * 500,
]


@pytest.mark.parametrize("station", HOSTILE)
def test_no_name_leaves_its_level(station: str) -> None:
    topics = Topics()
    router = Router()
    router.add("chargers/+/command", "here")
    topic = topics.command(station)
    assert router.match(topic) == ["here"]
    assert topics.command_station(topic) == station
    assert not set("\0 +#") & set(topic)


@pytest.mark.parametrize(
    "topic",
    [
        "chargers/CP1/status",
        "chargers/CP1",
        "chargers/CP1/command/more",
        "other/CP1/command",
        "chargers//command",
        "chargers/%/command",
        "chargers/%41/command",
        "chargers/a%2fb/command",
        "chargers/%FF/command",
        "chargers/a b/command",
        "chargers/*/command",
        "chargers/a>/command",
        "",
    ],
)
def test_topics_that_name_no_station(topic: str) -> None:
    assert Topics().command_station(topic) is None
