"""Who is put under faults: a process that takes messages of stations and brings them to a broker.

`serve`: the command line with a broker. `driver`: evcore's spool and session behind a bare server. `plain`, `forget`:
aiomqtt as its guide uses it, a publish waited for or not. Each can be killed and started again on the same port with
the same files.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from tests.mqtt.brokers import Process, free_port, listens

ROOT: Final = Path(__file__).resolve().parents[3]

Kind = Literal["plain", "forget", "driver", "serve"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """`addresses`: URLs of the broker. `qos`: that of transactions. `identifier`: the client id at the broker; None:
    the subject's own. `settings`: further ones of `evcore serve` (names without EVCORE_).
    """

    addresses: Sequence[str]
    qos: int
    version: str = "5"
    identifier: str | None = None
    ca: Path | None = None
    settings: dict[str, str] = field(default_factory=dict)


class Subject(Process):
    def __init__(
        self, name: str, folder: Path, arguments: Sequence[str], port: int, environment: dict[str, str]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        paths = os.pathsep.join((str(ROOT), str(ROOT / "python")))
        super().__init__(
            name,
            [sys.executable, "-X", "faulthandler", *arguments],
            folder,
            lambda: listens(port),
            {"PYTHONPATH": paths, **environment},
        )
        self.folder = folder
        self.port = port

    def workers(self) -> list[int]:
        """Process ids of its workers, in the order in which they were started."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(child) for child in children if b"evcore.cli.worker" in Path(f"/proc/{child}/cmdline").read_bytes()]


def _plain(name: str, folder: Path, setup: Setup) -> Subject:
    port = free_port()
    arguments = [
        *("-m", "benches.mqtt.plain", "--port", str(port), "--broker", setup.addresses[0]),
        *("--qos", str(setup.qos), "--version", setup.version, "--identifier", setup.identifier or name),
        *("--hand-over", "forget" if name == "forget" else "await"),
        *(("--ca", str(setup.ca)) if setup.ca else ()),
    ]
    return Subject(name, folder, arguments, port, {})


def _driver(name: str, folder: Path, setup: Setup) -> Subject:
    port = free_port()
    arguments = [
        *("-m", "tests.mqtt.faults.driver", "--port", str(port), "--qos", str(setup.qos)),
        *("--version", setup.version, "--spool", str(folder / "spool.db")),
    ]
    for address in setup.addresses:
        arguments += ["--broker", address]
    if setup.identifier is not None:
        arguments += ["--identifier", setup.identifier]
    if setup.ca is not None:
        arguments += ["--ca", str(setup.ca)]
    return Subject(name, folder, arguments, port, {})


def _serve(name: str, folder: Path, setup: Setup) -> Subject:
    port = free_port()
    settings = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "HTTP_PORT": "none",
        "TABLE": "off",
        "LOG_LEVEL": "info",
        "DRAIN_SECONDS": "0",
        "MQTT": ",".join(setup.addresses),
        "MQTT_VERSION": setup.version,
        "MQTT_QOS": f"billing={setup.qos}",
        "MQTT_SPOOL": str(folder / "spool.db"),
        "MQTT_SHUFFLE": "false",
        "MQTT_BACKOFF_FIRST": "0.1",
        "MQTT_BACKOFF_MOST": "0.5",
        "MQTT_CONNECT_TIMEOUT": "2",
        "MQTT_ACK_TIMEOUT": "3",
        "MQTT_KEEPALIVE": "2",
        **({} if setup.identifier is None else {"MQTT_CLIENT_ID": setup.identifier}),
        **({} if setup.ca is None else {"MQTT_CA": str(setup.ca)}),
        **setup.settings,
    }
    return Subject(name, folder, ["-m", "evcore", "serve"], port, {f"EVCORE_{key}": settings[key] for key in settings})


def make(kind: Kind, name: str, folder: Path, setup: Setup) -> Subject:
    """A subject that does not run yet."""
    return {"plain": _plain, "forget": _plain, "driver": _driver, "serve": _serve}[kind](name, folder, setup)
