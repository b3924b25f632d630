"""Tables from action to handler, without I/O.

A handler takes the context its owner chose (the station, in a CSMS) and the payload of a CALL, and returns the payload
of the CALLRESULT, at once or as an awaitable. Whatever it does else, the peer gets exactly one answer: no handler is
NotSupported (the codec has already refused actions the version does not know), an exception or a result that is no
mapping is InternalError with a log line and no details for the peer. `Refusal` may be returned for a CALLERROR of the
handler's own choice.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from evcore.message import Call

__all__ = ["Handler", "Outcome", "Refusal", "Table"]

log = logging.getLogger("evcore.dispatch")

C = TypeVar("C")


class Refusal(NamedTuple):
    """A CALLERROR to send: error code of the OCPP version, description for the peer."""

    code: str
    description: str = ""


Outcome: TypeAlias = Mapping[str, Any] | Refusal
Handler: TypeAlias = Callable[[C, Any], Outcome | Awaitable[Outcome]]

_FAILED = Refusal("InternalError")


class Table(Generic[C]):
    """Handlers by action, built once and shared by all connections of a version.

    `timeout`: seconds an asynchronous handler may take before the CALL is answered with InternalError.
    """

    __slots__ = ("_handlers", "_timeout")

    def __init__(self, handlers: Mapping[str, Handler[C]] | None = None, *, timeout: float = 60.0) -> None:
        self._handlers: dict[str, Handler[C]] = dict(handlers or {})
        self._timeout = timeout

    @property
    def actions(self) -> frozenset[str]:
        return frozenset(self._handlers)

    def on(self, *actions: str) -> Callable[[Handler[C]], Handler[C]]:
        """Decorator: this handler for these actions."""

        def register(handler: Handler[C]) -> Handler[C]:
            for action in actions:
                self._handlers[action] = handler
            return handler

        return register

    def run(self, context: C, call: Call) -> Outcome | Awaitable[Outcome]:
        """The outcome of a CALL, or an awaitable of it; neither raises."""
        handler = self._handlers.get(call.action)
        if handler is None:
            return Refusal("NotSupported", "this action is not supported here")
        try:
            result = handler(context, call.payload)
        except Exception:
            log.exception("%s: the handler of %s failed", context, call.action)
            return _FAILED
        # A dict, by far the most common result, is looked for first.
        if not isinstance(result, dict) and inspect.isawaitable(result):
            return self._wait(context, call, result)
        return _checked(context, call, result)

    async def _wait(self, context: C, call: Call, result: Awaitable[Outcome]) -> Outcome:
        try:
            async with asyncio.timeout(self._timeout):
                return _checked(context, call, await result)
        except TimeoutError:
            log.error("%s: the handler of %s did not end within %g s", context, call.action, self._timeout)
        except Exception:
            log.exception("%s: the handler of %s failed", context, call.action)
        return _FAILED


def _checked(context: Any, call: Call, result: Any) -> Outcome:
    if isinstance(result, (dict, Mapping, Refusal)):
        return result
    log.error("%s: the handler of %s returned %s, a mapping is due", context, call.action, type(result).__name__)
    return _FAILED
