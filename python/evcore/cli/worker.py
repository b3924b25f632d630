"""A worker of `evcore serve --workers N`: `python -m evcore.cli.worker DESCRIPTOR`, started by the supervisor alone."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evcore.cli.common import run, set_up_logging
from evcore.cli.service import Service
from evcore.net.workers.worker import Worker, die_with_parent, work
from evcore.settings.model import ServeSettings

__all__ = ["main"]


class _Upwards(logging.Handler):
    """Log lines to the supervisor, which shows them above its live table."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def emit(self, record: logging.LogRecord) -> None:
        self._worker.send("log", record.levelno, self.format(record))


def _build(worker: Worker, start: Mapping[str, Any]) -> Service:
    settings = ServeSettings.model_validate(start["settings"])
    name = f"worker {worker.index + 1}"
    handler = _Upwards(worker) if start["log"] == "up" else None
    set_up_logging(settings.log_level, handler=handler, name=name)
    feed = start["feed"]
    return Service(settings, worker=worker, port=start["port"], feed=None if feed is None else Path(feed))


def main() -> None:
    """Ends with status 0 when the supervisor wanted the end."""
    # Ctrl-C and the end of the terminal are the supervisor's to judge.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    die_with_parent()
    sys.exit(run(work(int(sys.argv[1]), _build)))


if __name__ == "__main__":
    main()
