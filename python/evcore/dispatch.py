"""Tables from action to handler, without I/O.

A handler takes the context its owner chose (the station, in a CSMS), the payload of a CALL and, if it has a third
parameter, the CALL itself (`id`, `action`, `raw`, `violations`); it returns the payload of the CALLRESULT, at once or
as an awaitable. Payloads have the names of the endpoint's codec, on the wire or snake. Whatever a handler does else,
the peer gets exactly one answer: no handler is NotSupported (the codec has already refused actions the version does not
know), an exception, or a result that is no mapping, is InternalError with a log line and no details for the peer.
`Refusal` may be returned for a CALLERROR of the handler's own choice.

A table is built once and shared by all connections. Around its handlers stand hooks and middleware; a table without
them does not look for any.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from evcore.message import Call

__all__ = ["FAILED", "After", "Before", "Handler", "Middleware", "Outcome", "Refusal", "Table"]

log = logging.getLogger("evcore.dispatch")

C = TypeVar("C")


class Refusal(NamedTuple):
    """A CALLERROR to send: error code of the OCPP version, description for the peer."""

    code: str
    description: str = ""


Outcome: TypeAlias = Mapping[str, Any] | Refusal
Handler: TypeAlias = (
    Callable[[C, Any], Outcome | Awaitable[Outcome]] | Callable[[C, Any, Call], Outcome | Awaitable[Outcome]]
)
#: Sees a CALL before its handler; an outcome other than None is the answer, and the handler is not asked.
Before: TypeAlias = Callable[[C, Call], Outcome | None]
#: Sees a CALL, what was answered, and the seconds from its hand-over to its answer.
After: TypeAlias = Callable[[C, Call, Outcome, float], None]
#: Stands around the handler: awaits `proceed()` for its outcome, or does not.
Middleware: TypeAlias = Callable[[C, Call, Callable[[], Awaitable[Outcome]]], Awaitable[Outcome]]

#: The answer to a CALL whose handler failed.
FAILED = Refusal("InternalError")
_NOT_SUPPORTED = Refusal("NotSupported", "this action is not supported here")


class Table(Generic[C]):
    """Handlers by action. `timeout`: seconds an asynchronous handler may take before the CALL is answered with
    InternalError and the handler cancelled.
    """

    __slots__ = ("_after", "_before", "_handlers", "_middleware", "_plain", "_with_call", "timed", "timeout")

    def __init__(self, handlers: Mapping[str, Handler[C]] | None = None, *, timeout: float = 60.0) -> None:
        self._handlers: dict[str, Callable[[C, Any], Any]] = {}
        self._with_call: dict[str, Callable[[C, Any, Call], Any]] = {}
        self._before: list[Before[C]] = []
        self._after: list[After[C]] = []
        self._middleware: list[Middleware[C]] = []
        self._plain = True
        #: Whether somebody wants to be told how long answers took.
        self.timed = False
        self.timeout = timeout
        for action, handler in (handlers or {}).items():
            self.on(action)(handler)

    @property
    def actions(self) -> frozenset[str]:
        return frozenset(self._handlers) | frozenset(self._with_call)

    def on(self, *actions: str) -> Callable[[Handler[C]], Handler[C]]:
        """Decorator: this handler for these actions, in place of an earlier one."""

        def register(handler: Handler[C]) -> Handler[C]:
            into: dict[str, Any] = self._with_call if _takes_call(handler) else self._handlers
            for action in actions:
                self._handlers.pop(action, None)
                self._with_call.pop(action, None)
                into[action] = handler
            return handler

        return register

    def before(self, hook: Before[C]) -> Before[C]:
        """Decorator: this hook before every handler, after the hooks added earlier."""
        self._before.append(hook)
        self._plain = False
        return hook

    def after(self, hook: After[C]) -> After[C]:
        """Decorator: this hook after every answer, after the hooks added earlier."""
        self._after.append(hook)
        self.timed = True
        return hook

    def wrap(self, middleware: Middleware[C]) -> Middleware[C]:
        """Decorator: this middleware around every handler, within the middleware added earlier."""
        self._middleware.append(middleware)
        self._plain = False
        return middleware

    def run(self, context: C, call: Call) -> Any:
        """What the handler of a CALL returns: an outcome, or an awaitable of one, neither checked yet. May raise what
        the handler raises.
        """
        if self._plain:
            handler = self._handlers.get(call.action)
            return self._run(context, call) if handler is None else handler(context, call.payload)
        return self._run_wrapped(context, call)

    def _run(self, context: C, call: Call) -> Any:
        handler = self._handlers.get(call.action)
        if handler is not None:
            return handler(context, call.payload)
        with_call = self._with_call.get(call.action)
        return _NOT_SUPPORTED if with_call is None else with_call(context, call.payload, call)

    def _run_wrapped(self, context: C, call: Call) -> Any:
        for hook in self._before:
            outcome = hook(context, call)
            if outcome is not None:
                return outcome
        if not self._middleware:
            return self._run(context, call)

        async def innermost() -> Outcome:
            result = self._run(context, call)
            outcome: Outcome = await result if inspect.isawaitable(result) else result
            return outcome

        proceed: Callable[[], Awaitable[Outcome]] = innermost
        for middleware in reversed(self._middleware):
            proceed = _around(middleware, context, call, proceed)
        return proceed()

    def finished(self, context: C, call: Call, outcome: Outcome, seconds: float) -> None:
        """Tells the `after` hooks; what they raise is logged and goes no further."""
        for hook in self._after:
            try:
                hook(context, call, outcome, seconds)
            except Exception:
                log.exception("%s: a hook after %s failed", context, call.action)

    def checked(self, context: C, call: Call, result: Any) -> Outcome:
        """The outcome, or InternalError in place of what is none."""
        if isinstance(result, (dict, Mapping, Refusal)):
            return result
        log.error("%s: the handler of %s returned %s, a mapping is due", context, call.action, type(result).__name__)
        return FAILED


def _around(
    middleware: Middleware[C], context: C, call: Call, proceed: Callable[[], Awaitable[Outcome]]
) -> Callable[[], Awaitable[Outcome]]:
    return lambda: middleware(context, call, proceed)


def _takes_call(handler: Callable[..., Any]) -> bool:
    """Whether the handler has a place for the CALL. Raises TypeError for one that cannot be called with two or
    three.
    """
    try:
        signature = inspect.signature(handler)
    except ValueError:
        # Some callables written in C do not tell.
        return False
    for arguments in ((0, 0, 0), (0, 0)):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        optional = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        # A third parameter with a default is the handler's own affair.
        return len(arguments) == 3 and len(optional) > 2 and optional[2].default is inspect.Parameter.empty
    raise TypeError(
        f"{handler!r} cannot be a handler: it takes neither (context, payload) nor (context, payload, call)"
    )
