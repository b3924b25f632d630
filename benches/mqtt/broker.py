"""The broker of a bench: Mosquitto without limits that would be measured instead of its clients."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benches.server.servers import Unavailable
from tests.mqtt.brokers import MissingBrokerError, Mosquitto, MosquittoOptions


@contextmanager
def broker(folder: Path) -> Iterator[int]:
    """Its port. Raises Unavailable when Mosquitto is not installed."""
    options = MosquittoOptions(persistence=False, max_queued=0, quiet=True)
    try:
        server = Mosquitto(Path(tempfile.mkdtemp(prefix="broker-", dir=folder)), options)
    except MissingBrokerError as error:
        raise Unavailable(str(error)) from error
    server.start()
    try:
        yield server.port
    finally:
        server.kill()
