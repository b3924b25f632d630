"""What the commands share: ends with a sentence, extras, the event loop, log lines."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from evcore.net.engine import Engine, EngineName

__all__ = ["EngineChoice", "fail", "load_engine", "need", "on_signals", "run", "set_up_logging", "usage"]

T = TypeVar("T")


class EngineChoice(StrEnum):
    """The WebSocket libraries, as an option's words."""

    picows = "picows"
    websockets = "websockets"


def fail(sentence: str) -> NoReturn:
    """It did not work: exit status 1."""
    typer.echo(f"evcore: {sentence}", err=True)
    raise typer.Exit(1)


def usage(sentence: str) -> NoReturn:
    """It was called wrongly, or a part is missing: exit status 2."""
    typer.echo(f"evcore: {sentence}", err=True)
    raise typer.Exit(2)


def need(extra: str, *modules: str) -> None:
    """Ends the command when modules of an extra are not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        usage(f"{' and '.join(missing)} not installed, run: pip install 'evcore[{extra}]'")


def load_engine(name: EngineName) -> Engine:
    need("server", name)
    from evcore.net.engine import load

    return load(name)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs on uvloop where it is installed."""
    factory = None
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


def on_signals(end: Callable[[], object], reload: Callable[[], object] | None = None) -> None:
    """Calls `end` on SIGINT and SIGTERM, each time, and `reload` on SIGHUP.

    Loops without signal handlers (Windows) cancel the main task on Ctrl-C.
    """
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end)
        if reload is not None:
            loop.add_signal_handler(signal.SIGHUP, reload)


def set_up_logging(
    level: str, console: Console | None = None, *, handler: logging.Handler | None = None, name: str | None = None
) -> None:
    """Log lines to `handler`, above the live table of `console`, or to stderr; `name` says which process wrote them."""
    who = f"{name}: " if name is not None else ""
    if handler is not None:
        handler.setFormatter(logging.Formatter(f"{who}%(message)s"))
    elif console is None:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)-7s {who}%(message)s"))
    else:
        from rich.highlighter import NullHighlighter
        from rich.logging import RichHandler

        handler = RichHandler(
            console=console, show_path=False, highlighter=NullHighlighter(), log_time_format="%H:%M:%S"
        )
    root = logging.getLogger("evcore")
    root.handlers = [handler]
    root.propagate = False
    root.setLevel(level.upper())
