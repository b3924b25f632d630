"""Which commands a broker's clients may give, and what they may cost: the settings of `evcore.mqtt.commands.commands`.

In: settings. Out: the same, checked; who may do what to which station, and where results may go. Refused: with
ValueError and one sentence, what can never be meant: actions no version has, filters that are none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Final

from evcore.csms.orders import orderable
from evcore.errors import TopicError
from evcore.mqtt.commands.command import Reading
from evcore.mqtt.topics import Topics
from evcore.route import Router
from evcore.schema import VERSIONS

__all__ = ["Allowed", "CommandOptions", "Replies"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOptions:
    """`allow`: rules, `ACTION` or `STATION:ACTION`, `*` in either stands for any characters; none allow nothing.
    `replies`: MQTT filters of the topics at which clients may ask for results, besides the station's result topic.
    """

    allow: tuple[str, ...] = ()
    #: Whether CALL frames are taken too, on the raw topic; the same rules hold.
    raw: bool = False
    replies: tuple[str, ...] = ()
    #: Seconds a command is good for that does not say how long, from when it came.
    lifetime: float = 60.0
    #: Seconds a command is good for at most; one that says more is good for this.
    longest_lifetime: float = 86_400.0
    #: Seconds a command may give the station for its answer at most.
    longest_timeout: float = 300.0
    #: Seconds after the start in which a command waits for a station that is not here: after a restart of the server
    #: they all have to come back.
    reconnecting: float = 60.0
    #: Bytes of a command, and of a result; a result that is longer goes without the station's payload.
    command_bytes: int = 262_144
    result_bytes: int = 262_144
    #: Commands of one station that may wait, with the one at work; commands of all stations.
    station_queue: int = 64
    queue: int = 10_000
    #: Answers a second, and at once, to commands that are not carried out or repeated; 0: no limit.
    answers: float = 20.0
    answers_burst: int = 200
    #: QoS of results, 1 or 2.
    qos: int = 1

    def __post_init__(self) -> None:
        Allowed(self.allow)
        _filters(self.replies)
        if self.qos not in (1, 2):
            raise ValueError(f"qos of results must be 1 or 2, not {self.qos!r}")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("allow", "raw", "replies", "qos"):
                continue
            if not (math.isfinite(value) and (value > 0 or (field.name in ("answers", "reconnecting") and value == 0))):
                raise ValueError(f"{field.name} must be above 0, not {value!r}")

    @property
    def reading(self) -> Reading:
        return Reading(
            bytes=self.command_bytes,
            lifetime=self.lifetime,
            longest=self.longest_lifetime,
            timeout=self.longest_timeout,
        )


class Allowed:
    """Rules of `CommandOptions.allow`. Raises ValueError for one that can allow nothing."""

    def __init__(self, rules: Iterable[str]) -> None:
        known: set[str] = set().union(*(orderable(version) for version in VERSIONS))
        self._rules: list[tuple[re.Pattern[str], re.Pattern[str]]] = []
        for rule in rules:
            # Identities have no rule against a colon before 2.x, actions have none.
            station, _, action = rule.rpartition(":")
            actions = _pattern(action)
            if not any(actions.fullmatch(name) for name in known):
                raise ValueError(
                    f"{rule!r} allows nothing: {action!r} is no action that stations are told in any version of OCPP"
                )
            self._rules.append((_pattern(station or "*"), actions))

    def __bool__(self) -> bool:
        return bool(self._rules)

    def permits(self, station: str, action: str) -> bool:
        return any(actions.fullmatch(action) and stations.fullmatch(station) for stations, actions in self._rules)


_STARS: Final = re.compile(r"\*+")


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in _STARS.split(text)), re.DOTALL)


class Replies:
    """Where results may go: a client that names a topic has this bridge publish there with this bridge's rights."""

    def __init__(self, filters: Iterable[str], topics: Topics) -> None:
        self._allowed = _filters(filters)
        self._own = _filters([topics.command_filter, topics.raw_call_filter])

    def fault(self, topic: str) -> str | None:
        """Why no result may go to this topic, or None."""
        try:
            allowed, own = self._allowed.match(topic), self._own.match(topic)
        except TopicError:
            return "the topic for the reply is not a topic"
        if topic.startswith("$") or own or not allowed:
            return "no result may go to the topic for the reply"
        return None


def _filters(filters: Iterable[str]) -> Router:
    """Raises ValueError for what is no filter, or is of topics the broker keeps for itself."""
    router = Router(captures=False, share="refuse")
    for text in filters:
        if text.startswith("$"):
            raise ValueError(f"{text!r} is no filter for replies: topics that begin with $ are the broker's")
        try:
            router.add(text, text)
        except TopicError as error:
            raise ValueError(f"{text!r} is no filter for replies: {error}") from None
    return router
