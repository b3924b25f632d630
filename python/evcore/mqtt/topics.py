"""Where messages go: topic templates, filled in and read back.

In: templates from the settings, names of stations and other things from outside. Out: topics for publishing, the
filters to subscribe to, the station that a topic of a command names. Refused, with TemplateError when the bridge
starts: a template that is no MQTT topic, has names it cannot fill or lacks one it needs, or could meet another one.

A `{name}` is a whole level, and what fills it is escaped as on the bus (`evcore.bus.topic.level`), and so are `*` and
`>`, which nats-server takes for wildcards: no name leaves its level, and no two names share one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Final, NamedTuple

from evcore.bus.topic import level, unlevel

__all__ = ["TemplateError", "TopicOptions", "Topics"]

_NAME: Final = re.compile(r"\{([a-z_]+)\}")
_MOST_BYTES: Final = 65_535


class TemplateError(ValueError):
    """A topic template that cannot be used; the text says which one, and why."""


class _Rule(NamedTuple):
    """Names a template must have, and those it may have."""

    needs: frozenset[str]
    may: frozenset[str] = frozenset()


_STATION: Final = _Rule(frozenset({"station"}))
_RULES: Final[dict[str, _Rule]] = {
    "status": _STATION,
    "metrics": _Rule(_STATION.needs, frozenset({"evse"})),
    "events": _Rule(_STATION.needs, frozenset({"kind"})),
    "availability": _STATION,
    "command": _STATION,
    "result": _STATION,
    "device": _Rule(frozenset({"device", "type", "instance", "field"})),
    "site": _Rule(frozenset({"site"})),
    "heartbeat": _Rule(frozenset({"node"})),
    "node": _Rule(frozenset({"node"})),
    "raw": _Rule(frozenset({"station", "direction"})),
    "raw_call": _STATION,
}

#: What a broker takes for more than a character, beyond what MQTT does.
_FOREIGN: Final = {"*": "%2A", ">": "%3E"}

#: Levels that can hold these texts only.
_VALUES: Final[dict[str, frozenset[str]]] = {"direction": frozenset({"in", "out"})}


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicOptions:
    """Topic templates. `prefix` stands before each of them, one level or several, without a name.

    `metrics` may have `{evse}` as well, `events` `{kind}`.
    """

    prefix: str = ""
    status: str = "chargers/{station}/status"
    metrics: str = "chargers/{station}/metrics"
    events: str = "chargers/{station}/events"
    availability: str = "chargers/{station}/availability"
    command: str = "chargers/{station}/command"
    result: str = "chargers/{station}/result"
    device: str = "devices/{device}/{type}/{instance}/{field}"
    site: str = "sites/{site}/energy"
    heartbeat: str = "system/heartbeat/{node}"
    node: str = "system/availability/{node}"
    raw: str = "ocpp/{station}/{direction}"
    raw_call: str = "ocpp/{station}/call"


class Topics:
    """The templates of `options`, checked. Names are given as they are; every method escapes them."""

    def __init__(self, options: TopicOptions | None = None) -> None:
        options = options or TopicOptions()
        if options.prefix:
            _check("prefix", options.prefix, _Rule(frozenset()))
        self._templates: dict[str, str] = {}
        for name, rule in _RULES.items():
            template = getattr(options, name)
            _check(name, template, rule)
            self._templates[name] = f"{options.prefix}/{template}" if options.prefix else template
        _check_apart(self._templates)
        # Bound once: this is the way of every event.
        self._status = self._templates["status"].format
        self._metrics = self._templates["metrics"].format
        self._events = self._templates["events"].format
        self._availability = self._templates["availability"].format
        self._device = self._templates["device"].format
        self._command = _levels(self._templates["command"])
        self._raw_call = _levels(self._templates["raw_call"])

    def status(self, station: str) -> str:
        return self._status(station=_escape(station))

    def metrics(self, station: str, evse: int | None) -> str:
        return self._metrics(station=_escape(station), evse=evse or 0)

    def events(self, station: str, kind: str) -> str:
        return self._events(station=_escape(station), kind=_escape(kind))

    def availability(self, station: str) -> str:
        return self._availability(station=_escape(station))

    def result(self, station: str) -> str:
        return self._templates["result"].format(station=_escape(station))

    def device(self, device: str, type: str, instance: str, field: str) -> str:
        return self._device(
            device=_escape(device), type=_escape(type), instance=_escape(instance), field=_escape(field)
        )

    def site(self, site: str) -> str:
        return self._templates["site"].format(site=_escape(site))

    def heartbeat(self, node: str) -> str:
        return self._templates["heartbeat"].format(node=_escape(node))

    def node(self, node: str) -> str:
        """Where this node says that it is there: topic of its birth, its will and its farewell."""
        return self._templates["node"].format(node=_escape(node))

    def raw(self, station: str, direction: str) -> str:
        return self._templates["raw"].format(station=_escape(station), direction=_escape(direction))

    @property
    def command_filter(self) -> str:
        """The filter that all topics of commands match."""
        return _filter(self._templates["command"])

    @property
    def raw_call_filter(self) -> str:
        """The filter that all topics of raw CALLs match."""
        return _filter(self._templates["raw_call"])

    def command(self, station: str) -> str:
        """Where commands to this station are expected."""
        return self._templates["command"].format(station=_escape(station))

    def raw_call(self, station: str) -> str:
        """Where raw CALLs to this station are expected."""
        return self._templates["raw_call"].format(station=_escape(station))

    def command_station(self, topic: str) -> str | None:
        """The station a command's topic names; None for any other topic, and for a name that is not escaped as ours
        are.
        """
        return _read(self._command, topic)

    def raw_call_station(self, topic: str) -> str | None:
        """The station a raw CALL's topic names; None as in `command_station`."""
        return _read(self._raw_call, topic)


assert {field.name for field in fields(TopicOptions)} == {"prefix", *_RULES}


def _check(setting: str, template: str, rule: _Rule) -> None:
    """Raises TemplateError with the first thing that is wrong."""
    here = f"topic template {setting} ({template!r})" if setting != "prefix" else f"topic prefix {template!r}"
    names = _NAME.findall(template)
    allowed = rule.needs | rule.may
    if not template or any(not part for part in template.split("/")):
        raise TemplateError(f"{here} has an empty level: give every level at least one character")
    for part in template.split("/"):
        if ("{" in part or "}" in part) and not _NAME.fullmatch(part):
            raise TemplateError(f"{here}: a name in braces must be a whole level, which {part!r} is not")
        if unfit := next((c for c in part if c in "+#*>" or c.isspace() or not c.isprintable()), None):
            raise TemplateError(f"{here} must not contain {unfit!r}: no wildcards, spaces or control characters")
    if unknown := next((name for name in names if name not in allowed), None):
        known = ", ".join(f"{{{name}}}" for name in sorted(allowed)) or "none"
        raise TemplateError(f"{here} has {{{unknown}}}, which nothing fills: {known} can be used there")
    if missing := next((name for name in sorted(rule.needs) if name not in names), None):
        raise TemplateError(f"{here} lacks {{{missing}}}: without it different things would share a topic")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise TemplateError(f"{here} has {{{twice}}} twice: once is enough")
    if template.startswith("$"):
        raise TemplateError(f"{here} begins with '$', which brokers keep for themselves")
    if len(template.encode("utf-8", "surrogatepass")) > _MOST_BYTES // 2:
        raise TemplateError(f"{here[:80]}… is too long for a topic")


def _check_apart(templates: dict[str, str]) -> None:
    """Raises TemplateError where two templates could give one topic: one message would take the other's place, or be
    taken for a command.
    """
    for (one, first), (other, second) in combinations(templates.items(), 2):
        a, b = first.split("/"), second.split("/")
        if len(a) == len(b) and all(_may_equal(x, y) for x, y in zip(a, b)):
            raise TemplateError(
                f"topic templates {one} ({first!r}) and {other} ({second!r}) could give the same topic: make them "
                "differ"
            )


def _may_equal(one: str, other: str) -> bool:
    first, second = _NAME.fullmatch(one), _NAME.fullmatch(other)
    if first is None and second is None:
        return one == other
    if first is not None and second is not None:
        return True
    name, text = (first, other) if first is not None else (second, one)
    assert name is not None
    values = _VALUES.get(name[1])
    return values is None or text in values


def _levels(template: str) -> list[str]:
    """The levels of a template with `{station}`, that one as an empty text."""
    return ["" if part == "{station}" else part for part in template.split("/")]


def _filter(template: str) -> str:
    return _NAME.sub("+", template)


def _read(levels: list[str], topic: str) -> str | None:
    given = topic.split("/")
    if len(given) != len(levels):
        return None
    found = ""
    for expected, actual in zip(levels, given):
        if not expected:
            found = actual
        elif expected != actual:
            return None
    return _unescape(found)


def _escape(name: str) -> str:
    text = level(name)
    if "*" in text or ">" in text:
        for character, escaped in _FOREIGN.items():
            text = text.replace(character, escaped)
    return text


def _unescape(text: str) -> str | None:
    """None for what `_escape` never gives: a name escaped in another way would be a second topic for one station."""
    if "*" in text or ">" in text:
        return None
    # A `%` of the name itself is `%25` here, so these can only be ours.
    for character, escaped in _FOREIGN.items():
        text = text.replace(escaped, character)
    try:
        return unlevel(text) or None
    except ValueError:
        return None
