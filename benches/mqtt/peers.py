"""The processes that bring stations' messages to a broker, each started for one broker and one QoS.

`evcore serve --mqtt` as it comes, with a spool that is flushed to the disk (durability full) and one that is not
(normal); aiomqtt as its guide uses it, with one publish under way at a time, and with 20.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from benches.server.servers import Peer

EVCORE: Final = "evcore serve --mqtt"
EVCORE_NORMAL: Final = "evcore, durability normal"
PLAIN: Final = "aiomqtt, one at a time"
PLAIN_20: Final = "aiomqtt, 20 at a time"
NAMES: Final = (EVCORE, EVCORE_NORMAL, PLAIN, PLAIN_20)
OFF: Final = ", collector off"

#: `evcore` in an interpreter that collects no cycles.
_WITHOUT_COLLECTOR: Final = "import gc, sys; gc.disable(); from evcore.cli import main; sys.exit(main())"

_numbers = itertools.count()


def peer(name: str, port: int, qos: int, folder: Path, *, collector: bool = True) -> Peer:
    """`port`: the broker's. `folder`: for the spool."""
    made = _plain(name, port, qos) if name in (PLAIN, PLAIN_20) else _evcore(name, port, qos, folder)
    if collector:
        return made
    command: Sequence[str] = (*made.command, "--no-gc")
    if name in (EVCORE, EVCORE_NORMAL):
        command = [sys.executable, "-c", _WITHOUT_COLLECTOR, *made.command[3:]]
    return replace(made, name=name + OFF, command=tuple(command))


def _plain(name: str, port: int, qos: int) -> Peer:
    given = f"-m benches.mqtt.plain --broker mqtt://127.0.0.1:{port} --qos {qos} --identifier plain-{next(_numbers)}"
    together = "1" if name == PLAIN else "20"
    return Peer(name, (sys.executable, *given.split(), "--together", together), collects=True)


def _evcore(name: str, port: int, qos: int, folder: Path) -> Peer:
    given = "-m evcore serve --port 0 --http-port none --table off --log-level error"
    settings = {
        "EVCORE_MQTT": f"mqtt://127.0.0.1:{port}",
        "EVCORE_MQTT_QOS": f"status={qos}",
        "EVCORE_MQTT_SPOOL": str(folder / f"spool-{next(_numbers)}.db"),
        "EVCORE_MQTT_DURABILITY": "full" if name == EVCORE else "normal",
    }
    return Peer(name, (sys.executable, *given.split()), environment=settings)
