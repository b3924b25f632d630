"""The asyncio shell around one endpoint: the same for a CSMS and for a station.

Comes in: what the engine tells (`Sink`), orders of the owner (`call`, `close`). Goes out: frames through the wire, and
everything that happened to an `Observer`. Handlers run one after the other, in the order the CALLs came, outside the
reader where they wait, so a handler may call the peer back. A peer that does not read what it asked for is cut off when
more than `MAX_WAITING` bytes wait for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from evcore.dispatch import Outcome, Refusal, Table
from evcore.endpoint import Answer, Endpoint, Event, Failure, Request
from evcore.errors import PayloadError
from evcore.message import Call, CallError
from evcore.net.engine import Wire

__all__ = ["CallFailed", "Connection", "Observer"]

log = logging.getLogger("evcore.connection")

C = TypeVar("C")


class CallFailed(Exception):
    """An own CALL ended without a CALLRESULT: `code` is the peer's error code, or `timeout`, `lost`, `invalid`."""

    def __init__(self, action: str, code: str, description: str = "") -> None:
        super().__init__(action, code, description)
        self.action = action
        self.code = code
        self.description = description

    def __str__(self) -> str:
        return f"{self.action}: {self.code}" + (f" ({self.description})" if self.description else "")


class Observer(Protocol):
    """Hears everything of one connection; must not raise. Frames are the text messages as they are on the wire."""

    def received(self, frame: bytes) -> None: ...

    def sent(self, frame: bytes) -> None: ...

    def happened(self, event: Event) -> None: ...


class Connection(Generic[C]):
    """An endpoint on a wire, with handlers.

    `table` handles the peer's CALLs with `context`; `on_closed` is called once when the connection is over.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        table: Table[C],
        context: C,
        observer: Observer,
        *,
        on_opened: Callable[[Connection[C]], None] | None = None,
        on_closed: Callable[[Connection[C]], None] | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._table = table
        self.context = context
        self._observer = observer
        self._on_opened = on_opened
        self._on_closed = on_closed
        self._wire: Wire | None = None
        self._loop = asyncio.get_running_loop()
        self._calls: dict[str, asyncio.Future[Mapping[str, Any]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._ended = self._loop.create_future()

    @property
    def version(self) -> str:
        return self._endpoint.version

    @property
    def peer(self) -> str:
        return "unknown" if self._wire is None else self._wire.peer

    @property
    def is_open(self) -> bool:
        return self._wire is not None and not self._ended.done()

    # -- Sink ---------------------------------------------------------------------------------------------------------

    def opened(self, wire: Wire) -> None:
        self._wire = wire
        if self._on_opened is not None:
            self._on_opened(self)

    def frame(self, frame: bytes) -> None:
        self._observer.received(frame)
        self._endpoint.receive(frame, self._loop.time())
        self._work()

    def heard(self) -> None:
        """Any sign of life; deadlines are the endpoint's."""

    def closed(self) -> None:
        if self._ended.done():
            return
        self._ended.set_result(None)
        self._endpoint.lost()
        self._work()
        if self._on_closed is not None:
            self._on_closed(self)

    # -- owner --------------------------------------------------------------------------------------------------------

    async def call(self, action: str, payload: Mapping[str, Any], *, timeout: float | None = None) -> Mapping[str, Any]:
        """Sends a CALL and returns the payload of its CALLRESULT.

        Raises CallFailed for a CALLERROR, a timeout, an unusable answer or a lost connection; PayloadError for a
        payload that breaks its schema; EndpointError when too many CALLs wait.
        """
        future: asyncio.Future[Mapping[str, Any]] = self._loop.create_future()
        call_id = self._endpoint.call(action, payload, self._loop.time(), timeout=timeout)
        self._calls[call_id] = future
        self._work()
        return await future

    def tick(self) -> None:
        """Looks after deadlines; to be called about once a second."""
        deadline = self._endpoint.deadline
        if deadline is not None and deadline <= self._loop.time():
            self._endpoint.expire(self._loop.time())
            self._work()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Starts the closing handshake; `ended` tells when it is over."""
        if self._wire is not None:
            self._wire.close(code, reason)

    async def ended(self) -> None:
        """Waits until the connection is over."""
        await asyncio.shield(self._ended)

    # -- between endpoint, handlers and wire --------------------------------------------------------------------------

    def _work(self) -> None:
        # A handler that answers at once makes the endpoint hand out the next CALL: hence the loop.
        while events := self._endpoint.events():
            for event in events:
                self._observer.happened(event)
                if isinstance(event, Request):
                    self._handle(event.call)
                elif isinstance(event, (Answer, Failure)):
                    self._resolve(event)
        self._flush()

    def _flush(self) -> None:
        wire = self._wire
        for frame in self._endpoint.frames():
            if wire is None or self._ended.done():
                return
            wire.send(frame)
            self._observer.sent(frame)

    def _handle(self, call: Call) -> None:
        outcome = self._table.run(self.context, call)
        if isinstance(outcome, (dict, Mapping, Refusal)):
            self._reply(call, outcome)
        else:
            self._task = self._loop.create_task(self._wait(call, outcome))

    async def _wait(self, call: Call, outcome: Awaitable[Outcome]) -> None:
        self._reply(call, await outcome)
        self._work()

    def _reply(self, call: Call, outcome: Outcome) -> None:
        if not isinstance(outcome, Refusal):
            try:
                self._endpoint.answer(call, outcome, self._loop.time())
                return
            except PayloadError as error:
                log.error(
                    "%s: the handler of %s returned a payload that breaks its schema: %s",
                    self.context,
                    call.action,
                    error,
                )
            outcome = Refusal("InternalError")
        try:
            self._endpoint.refuse(call, outcome.code, outcome.description)
        except ValueError as error:
            log.error("%s: the handler of %s refused wrongly: %s", self.context, call.action, error)
            self._endpoint.refuse(call, "InternalError")

    def _resolve(self, event: Answer | Failure) -> None:
        future = self._calls.pop(event.id, None)
        if future is None or future.done():
            return
        if isinstance(event, Failure):
            future.set_exception(CallFailed(event.action, event.reason, str(event.error or "")))
        elif isinstance(event.result, CallError):
            future.set_exception(CallFailed(event.action, event.result.code, event.result.description))
        else:
            future.set_result(event.result.payload)
