"""The event loop simulated stations run on: uvloop where it is installed."""

from __future__ import annotations

import asyncio
import importlib.util

__all__ = ["runner"]


def runner() -> asyncio.Runner:
    factory = None
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop

        factory = uvloop.new_event_loop
    return asyncio.Runner(loop_factory=factory)
