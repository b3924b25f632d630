"""Brokers for the MQTT tests. What a broker said is shown with the test that failed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mqtt.brokers import Mosquitto, MosquittoOptions, NatsCluster, Process
from tests.mqtt.certificates import Certificates

_BROKERS = pytest.StashKey[list[Process]]()

#: Characters of a broker's log that are shown.
_SHOWN = 6000


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and report.when == "call":
        for process in item.stash.get(_BROKERS, []):
            report.sections.append((f"the log of {process.name}", process.said()[-_SHOWN:]))
    return report


def _remember(request: pytest.FixtureRequest, *processes: Process) -> None:
    request.node.stash.setdefault(_BROKERS, []).extend(processes)


@pytest.fixture
def broker_factory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """`broker_factory(**MosquittoOptions)` → a Mosquitto that runs (`start=False`: is down). All end with the test."""
    made: list[Mosquitto] = []

    def make(*, start: bool = True, **options: Any) -> Mosquitto:
        name = f"mosquitto-{len(made)}"
        broker = Mosquitto(tmp_path / name, MosquittoOptions(**options), name=name)
        made.append(broker)
        _remember(request, broker)
        if start:
            broker.start()
        return broker

    yield make
    for broker in made:
        broker.kill()


@pytest.fixture
def mosquitto(broker_factory: Callable[..., Mosquitto]) -> Mosquitto:
    """A Mosquitto that lets everybody in and keeps sessions over a `restart`."""
    return broker_factory()


@pytest.fixture
def nats(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NatsCluster]:
    """Three NATS servers, one cluster, all running."""
    cluster = NatsCluster(tmp_path / "nats")
    _remember(request, *(node.process for node in cluster.nodes))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """One authority for all tests of a run."""
    return Certificates(tmp_path_factory.mktemp("certificates"))
