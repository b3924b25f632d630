"""The event loop simulated stations run on: uvloop where it is installed; connections may have an address of their own.

In: the address to connect from, in the context of whoever connects. Out: a runner. One address has some 28,000 ports
to give to connections to one server; loopback has many addresses.
"""

from __future__ import annotations

import asyncio
import importlib.util
from contextvars import ContextVar
from typing import Any, Final

__all__ = ["SOURCE", "runner"]

#: The own address connections are made from.
SOURCE: Final[ContextVar[str | None]] = ContextVar("SOURCE", default=None)


def _base() -> type[Any]:
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop

        return uvloop.Loop
    return asyncio.SelectorEventLoop


def runner() -> asyncio.Runner:
    """A runner whose loop looks at `SOURCE`."""
    base = _base()

    class Loop(base):  # type: ignore[misc, valid-type]
        async def create_connection(self, *arguments: Any, **options: Any) -> Any:
            source = SOURCE.get()
            if source is not None:
                options["local_addr"] = (source, 0)
            return await super().create_connection(*arguments, **options)

    return asyncio.Runner(loop_factory=Loop)
