"""What one process counts: connections, handshakes, messages. Cheap where messages pass, summed up when somebody asks.

Comes in: what connections tell their observer, and what the server counts itself. Goes out: a snapshot, numbers
by part and label that can be sent as JSON and added to those of another process (`add`); `evcore.net.metrics_http`
writes them as Prometheus metrics. Labels never hold what a peer sent: an action that no schema knows counts as `other`.

A program that embeds the server puts a `Metrics` around its application, `Server(metrics.application(mine), engine)`,
and asks `await metrics.snapshot(server)`.
"""

from __future__ import annotations

import asyncio
import os
import time
from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from evcore.endpoint import Answer, Event, Failure, Fault, Gated, Repeat, Stray
from evcore.errors import FrameError
from evcore.message import Call, CallError, Send
from evcore.net.connection import Observer
from evcore.net.server import Application, Link, Server
from evcore.schema import VERSIONS, actions

__all__ = ["BOUNDS", "Measured", "Metrics", "Snapshot", "Version", "add", "process"]

C = TypeVar("C")

#: Upper bounds of the latency buckets in seconds; a last one takes the rest.
BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

#: By part (`evcore.net.metrics_http` lists them), then by label values joined with a tab: a number, or for `latency`
#: one count for each bound, one for the rest, and the sum of seconds.
Snapshot = dict[str, dict[str, Any]]

_OTHER: Final = "other"
#: Connections looked at before the loop gets its turn.
_SLICE: Final = 2000


def add(total: Snapshot, more: Mapping[str, Any]) -> Snapshot:
    """Adds a snapshot to another one in place, and returns that."""
    for part, values in more.items():
        into = total.setdefault(part, {})
        for labels, value in values.items():
            if isinstance(value, list):
                known = into.get(labels)
                into[labels] = list(value) if known is None else [a + b for a, b in zip(known, value)]
            else:
                into[labels] = into.get(labels, 0) + value
    return total


def process() -> tuple[float, int]:
    """CPU seconds and resident bytes of this process; 0 bytes where the system has no /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return time.process_time(), 0
    return time.process_time(), pages * os.sysconf("SC_PAGE_SIZE")


def _count(into: dict[str, int], key: str, by: int = 1) -> None:
    into[key] = into.get(key, 0) + by


class Version:
    """What is counted of all connections of one OCPP version: an `Observer` they share.

    On the path of each message stands `answered` alone: a bisection and additions into a list.
    """

    __slots__ = ("_known", "answers", "calls", "errors", "faults", "gated", "latency", "repeats", "violations")

    def __init__(self, name: str) -> None:
        self._known = frozenset(action for kind in actions(name).values() for action in kind)
        self.gated = 0
        self.repeats = 0
        self.latency: dict[str, list[float]] = {}
        self.violations: dict[str, int] = {}
        self.errors: dict[str, int] = {}
        self.faults: dict[str, int] = {}
        self.answers: dict[str, int] = {}
        self.calls: dict[str, int] = {}

    def answered(self, call: Call, seconds: float, code: str | None) -> None:
        row = self.latency.get(call.action)
        if row is None:
            row = self.latency.setdefault(self._label(call.action), [0] * (len(BOUNDS) + 1) + [0.0])
        row[bisect_left(BOUNDS, seconds)] += 1
        row[-1] += seconds
        if code is not None:
            _count(self.errors, code)
        if call.violations:
            _count(self.violations, self._label(call.action), len(call.violations))

    def happened(self, event: Event) -> None:
        if isinstance(event, Answer):
            _count(self.calls, "refused" if isinstance(event.result, CallError) else "answered")
        elif isinstance(event, Failure):
            _count(self.calls, event.reason)
        elif isinstance(event, Stray):
            _count(self.answers, event.reason)
        elif isinstance(event, Repeat):
            self.repeats += 1
        elif isinstance(event, Gated):
            self.gated += 1
            if isinstance(event.message, Call):
                _count(self.errors, "SecurityError")
        elif isinstance(event, Fault):
            error = event.error
            if error.reply is not None:
                _count(self.errors, error.code)
            if isinstance(error, FrameError):
                _count(self.faults, error.reason)
            else:
                message = error.message
                action = message.action if isinstance(message, (Call, Send)) else "answer"
                _count(self.violations, self._label(action), len(error.violations))

    def _label(self, action: str) -> str:
        return action if action in self._known or action == "answer" else _OTHER


class _Observers:
    """Two observers as one."""

    __slots__ = ("_first", "_second")

    def __init__(self, first: Observer, second: Observer) -> None:
        self._first = first
        self._second = second

    def happened(self, event: Event) -> None:
        self._first.happened(event)
        self._second.happened(event)

    def answered(self, call: Call, seconds: float, code: str | None) -> None:
        self._first.answered(call, seconds, code)
        self._second.answered(call, seconds, code)


class Measured(Generic[C]):
    """An `Application` like another one, whose connections are counted."""

    def __init__(self, application: Application[C], metrics: Metrics) -> None:
        self._application = application
        self._metrics = metrics
        self.knows = application.knows
        self.connected = application.connected
        self.disconnected = application.disconnected

    def link(self, identity: str, version: str) -> Link[C]:
        link = self._application.link(identity, version)
        counting = self._metrics.version(version)
        observer = counting if link.observer is None else _Observers(link.observer, counting)
        return link._replace(observer=observer)


class Metrics:
    """All counters of one process."""

    def __init__(self) -> None:
        self._versions: dict[str, Version] = {}

    def version(self, name: str) -> Version:
        """The counters of an OCPP version, for connections that no `application` of ours made."""
        found = self._versions.get(name)
        if found is None:
            found = self._versions[name] = Version(name)
        return found

    def application(self, application: Application[C]) -> Measured[C]:
        """The application, measured."""
        return Measured(application, self)

    async def snapshot(self, server: Server[Any]) -> Snapshot:
        """All counters as they are now. Other work goes on while the connections are looked through."""
        inbox = waiting = 0
        for number, connection in enumerate(list(server), 1):
            peers, own = connection.endpoint.waiting
            inbox += peers
            waiting += own
            if number % _SLICE == 0:
                await asyncio.sleep(0)
        handshake = server.handshake
        taken: Snapshot = {
            "connections": dict(server.connections),
            "handshakes": {"101": handshake.admitted, **{str(key): n for key, n in handshake.refused.items()}},
            "replaced": {"": server.replaced},
            "cut": {"silent": server.silent},
            "inbox": {"": inbox},
            "waiting": {"": waiting},
        }
        for name in VERSIONS:
            if (version := self._versions.get(name)) is not None:
                _add_version(taken, name, version)
        return taken


def _add_version(taken: Snapshot, name: str, version: Version) -> None:
    for part in ("latency", "violations", "errors", "faults", "answers", "calls"):
        into = taken.setdefault(part, {})
        for label, value in getattr(version, part).items():
            into[f"{name}\t{label}"] = list(value) if isinstance(value, list) else value
    for part in ("gated", "repeats"):
        taken.setdefault(part, {})[name] = getattr(version, part)
