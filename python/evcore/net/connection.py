"""The asyncio shell around one endpoint: the same for a CSMS and for a station.

Comes in: what the engine tells (`Sink`), orders of the owner (`call`, `send`, `close`). Goes out: frames through the
wire, and what happened to an `Observer`. Handlers run one after the other, in the order the CALLs came; one that does
not wait is run at once and without a Task, one that waits goes on outside the reader, so a handler may call the peer
back. Nothing a handler does and no bytes of the peer raise through the loop.

A connection that does nothing costs its few slots: no task, no timer, no future, no queue. Deadlines are looked after
by `tick`, which the owner calls about once a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from inspect import isawaitable
from time import monotonic
from types import CoroutineType
from typing import Any, Final, Generic, Protocol, TypeVar

from evcore.dispatch import FAILED, Outcome, Refusal, Table
from evcore.endpoint import Answer, Endpoint, Event, Failure, Request
from evcore.errors import PayloadError
from evcore.message import Call, CallError
from evcore.net.drive import Driver
from evcore.net.engine import Wire

__all__ = ["CallFailed", "Connection", "Host", "Observer", "Tap"]

log = logging.getLogger("evcore.connection")

C = TypeVar("C")

#: Frames kept while a connection is held; a station has one CALL outstanding, and few send more before an answer.
MAX_HELD: Final = 64


class CallFailed(Exception):
    """An own CALL ended without a CALLRESULT: `code` is the peer's error code, or `timeout`, `expired`, `lost`,
    `invalid`.
    """

    def __init__(self, action: str, code: str, description: str = "") -> None:
        super().__init__(action, code, description)
        self.action = action
        self.code = code
        self.description = description

    def __str__(self) -> str:
        return f"{self.action}: {self.code}" + (f" ({self.description})" if self.description else "")


class Observer(Protocol):
    """Hears what happens on one connection; must not raise."""

    def happened(self, event: Event) -> None:
        """Every event of the endpoint but a Request."""

    def answered(self, call: Call, seconds: float, code: str | None) -> None:
        """A CALL of the peer was answered, `seconds` after it was handed to its handler: by a CALLRESULT, or by a
        CALLERROR with this `code`.
        """


class Tap(Protocol):
    """Sees the text messages of one connection as they are on the wire; must not raise."""

    def received(self, frame: bytes) -> None: ...

    def sent(self, frame: bytes) -> None: ...


class Host(Generic[C]):
    """What the connections of one owner share. `opened` and `closed` are called once for each connection."""

    def __init__(self) -> None:
        self.driver = Driver()
        self.loop = asyncio.get_running_loop()

    def opened(self, connection: Connection[C]) -> None:
        """The connection is open."""

    def closed(self, connection: Connection[C]) -> None:
        """The connection is over."""


class _Running:
    """A handler that waits. `deadline`: when it is given up."""

    __slots__ = ("begun", "call", "deadline", "task")

    def __init__(self, call: Call, task: asyncio.Task[Any], begun: float, deadline: float) -> None:
        self.call = call
        self.task = task
        self.begun = begun
        self.deadline = deadline


class Connection(Generic[C]):
    """An endpoint on a wire, with handlers.

    `table` handles the peer's CALLs with `context`. `name` and `epoch` are the owner's: a server sets the identity of
    the station, and a number that is higher for a later connection.
    """

    __slots__ = (
        "_calls",
        "_ended",
        "_endpoint",
        "_held",
        "_host",
        "_leaving",
        "_observer",
        "_open",
        "_running",
        "_table",
        "_tap",
        "_wire",
        "context",
        "epoch",
        "heard_at",
        "name",
        "received",
        "sent",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        table: Table[C],
        context: C,
        *,
        host: Host[C],
        observer: Observer | None = None,
        tap: Tap | None = None,
        name: str = "",
        epoch: int = 0,
    ) -> None:
        self._endpoint = endpoint
        self._table = table
        self.context = context
        self._host = host
        self._observer = observer
        self._tap = tap
        self.name = name
        self.epoch = epoch
        self._wire: Wire | None = None
        self._open = False
        self._calls: dict[str, asyncio.Future[Mapping[str, Any]]] | None = None
        self._running: _Running | None = None
        self._held: list[bytes] | None = None
        self._leaving: tuple[int, str] | None = None
        self._ended: asyncio.Future[None] | None = None
        #: Time of the last sign of life, on the monotonic clock; how many messages went each way.
        self.heard_at = 0.0
        self.received = 0
        self.sent = 0

    @property
    def version(self) -> str:
        return self._endpoint.version

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint

    @property
    def peer(self) -> str:
        return "unknown" if self._wire is None else self._wire.peer

    @property
    def is_open(self) -> bool:
        return self._open

    @property
    def is_busy(self) -> bool:
        """Whether a CALL of the peer waits for its answer."""
        return self._endpoint.waiting[0] > 0

    # -- Sink ---------------------------------------------------------------------------------------------------------

    def opened(self, wire: Wire) -> None:
        self._wire = wire
        self._open = True
        self.heard_at = monotonic()
        self._endpoint.wake = self._woken
        self._host.opened(self)

    def frame(self, frame: bytes) -> None:
        now = monotonic()
        self.heard_at = now
        self.received += 1
        if self._tap is not None:
            self._tap.received(frame)
        if self._held is not None:
            if len(self._held) >= MAX_HELD:
                self.close(1008, "too many messages before the first answer")
            else:
                self._held.append(frame)
            return
        self._endpoint.receive(frame, now)
        self._work(now)

    def heard(self) -> None:
        self.heard_at = monotonic()

    def closed(self) -> None:
        if not self._open:
            return
        self._open = False
        self._held = None
        self._endpoint.lost()
        self._work(monotonic())
        running = self._running
        if running is not None:
            # Its answer is for the memory now; nobody ticks any more.
            self._host.loop.call_later(max(0.0, running.deadline - monotonic()), self._give_up, running)
        # The wire knows this connection: a closed one must not wait for the garbage collector.
        self._endpoint.wake = self._wire = None
        self._host.closed(self)
        if self._ended is not None:
            self._ended.set_result(None)

    # -- owner --------------------------------------------------------------------------------------------------------

    async def call(
        self,
        action: str,
        payload: Mapping[str, Any],
        *,
        timeout: float | None = None,
        patience: float | None = None,
    ) -> Mapping[str, Any]:
        """Sends a CALL and returns the payload of its CALLRESULT.

        `timeout`: seconds to wait for the answer once it is sent (default: the endpoint's). `patience`: seconds it may
        wait for its turn (default: as long as the connection lasts).

        Raises CallFailed for a CALLERROR, a timeout, an unusable answer or a lost connection; PayloadError for a
        payload that breaks its schema; EndpointError when too many CALLs wait or the boot gate is closed for it. When
        it is cancelled while the CALL waits for its turn, the CALL is not sent.
        """
        now = monotonic()
        call_id = self._endpoint.call(action, payload, now, timeout=timeout, patience=patience)
        future: asyncio.Future[Mapping[str, Any]] = self._host.loop.create_future()
        if self._calls is None:
            self._calls = {}
        self._calls[call_id] = future
        self._work(now)
        try:
            return await future
        except asyncio.CancelledError:
            # Nobody wants it any more: a station must not be reset because of a caller who has left.
            self._endpoint.withdraw(call_id)
            self._calls.pop(call_id, None)
            raise

    def send(self, action: str, payload: Mapping[str, Any]) -> None:
        """Sends a SEND (2.1). Raises PayloadError, EndpointError; ValueError before 2.1."""
        self._endpoint.send(action, payload)
        self._flush()

    def store(self, action: str, payload: Mapping[str, Any], *, transaction: str = "") -> str:
        """Puts a transaction message into the endpoint's outbox and returns its id.

        Raises what `Endpoint.store` raises.
        """
        now = monotonic()
        call_id = self._endpoint.store(action, payload, now, transaction=transaction)
        self._work(now)
        return call_id

    def tick(self, now: float) -> None:
        """Looks after deadlines; to be called about once a second with the time of the monotonic clock."""
        endpoint = self._endpoint
        deadline = endpoint.deadline
        if deadline is not None and deadline <= now:
            endpoint.expire(now)
            self._work(now)
        running = self._running
        if running is not None and running.deadline <= now:
            self._give_up(running)

    def ping(self) -> None:
        """Asks the peer for a sign of life."""
        if self._wire is not None:
            self._wire.ping()

    def hold(self) -> None:
        """Keeps the frames that come until `release`."""
        if self._held is None:
            self._held = []

    def release(self) -> None:
        """Takes the frames that were held, and goes on."""
        held, self._held = self._held, None
        if held is None:
            return
        now = monotonic()
        self._endpoint.booted(now)
        self._work(now)
        for number, frame in enumerate(held):
            if self._is_held():
                # Held again meanwhile, by a handler say.
                self._held = held[number:] + (self._held or [])
                return
            if self._open:
                now = monotonic()
                self._endpoint.receive(frame, now)
                self._work(now)

    def _is_held(self) -> bool:
        return self._held is not None

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Starts the closing handshake; `ended` tells when it is over.

        Nothing can be sent from here on, so own CALLs fail at once, and no more CALLs of the peer are carried out: it
        will send them again on its next connection, which may be there before this one is over.
        """
        if self._wire is not None:
            self._flush()
            self._wire.close(code, reason)
            self._endpoint.lost()
            self._work(monotonic())

    def leave(self, code: int, reason: str = "") -> None:
        """Closes as soon as no CALL of the peer waits for its answer."""
        self._leaving = (code, reason)
        if not self.is_busy:
            self.close(code, reason)

    def abort(self) -> None:
        """Cuts the connection."""
        if self._wire is not None:
            self._wire.abort()

    async def settled(self) -> None:
        """Waits until no handler is at work any more; for a connection that is closing or over."""
        while self._running is not None:
            await asyncio.wait((self._running.task,))
            # The handler's answer is given in a callback of its task, after this one was added.
            await asyncio.sleep(0)

    async def ended(self) -> None:
        """Waits until the connection is over."""
        if not self._open and self.heard_at:
            return
        if self._ended is None:
            self._ended = self._host.loop.create_future()
        await asyncio.shield(self._ended)

    # -- between endpoint, handlers and wire --------------------------------------------------------------------------

    def _work(self, now: float) -> None:
        endpoint = self._endpoint
        # A handler that answers at once makes the endpoint hand out the next CALL: hence the loop.
        while events := endpoint.events():
            for event in events:
                if type(event) is Request:
                    self._handle(event.call, now)
                    continue
                if isinstance(event, (Answer, Failure)):
                    self._resolve(event)
                if self._observer is not None:
                    self._observer.happened(event)
        self._flush()

    def _woken(self) -> None:
        self._work(monotonic())

    def _flush(self) -> None:
        frames = self._endpoint.frames()
        if not frames:
            return
        wire = self._wire
        if wire is None or not self._open:
            return
        for frame in frames:
            wire.send(frame)
            self.sent += 1
            if self._tap is not None:
                self._tap.sent(frame)
        if self._leaving is not None and not self.is_busy:
            self.close(*self._leaving)

    def _handle(self, call: Call, now: float) -> None:
        try:
            result = self._table.run(self.context, call)
            if type(result) is not dict:
                if type(result) is CoroutineType:
                    result = self._host.driver.start(result)
                elif isawaitable(result):
                    result = self._host.driver.start(_awaited(result))
                if type(result) is not dict:
                    if isinstance(result, asyncio.Task):
                        self._running = _Running(call, result, now, now + self._table.timeout)
                        result.add_done_callback(self._finished)
                        return
                    result = self._table.checked(self.context, call, result)
        except (Exception, asyncio.CancelledError):
            log.exception("%s: the handler of %s failed", self.context, call.action)
            result = FAILED
        self._reply(call, result, now, now)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        """A handler that waited is over."""
        running = self._running
        if running is None or running.task is not task:
            # Given up before.
            if not task.cancelled():
                task.exception()
            return
        self._running = None
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            outcome = self._table.checked(self.context, running.call, task.result())
        else:
            log.error("%s: the handler of %s failed", self.context, running.call.action, exc_info=error)
            outcome = FAILED
        now = monotonic()
        self._reply(running.call, outcome, running.begun, now)
        self._work(now)

    def _give_up(self, running: _Running) -> None:
        """The handler has had its time. What it does from here on is its own affair."""
        if self._running is not running:
            return
        self._running = None
        running.task.cancel()
        log.error(
            "%s: the handler of %s did not end within %g s", self.context, running.call.action, self._table.timeout
        )
        now = monotonic()
        self._reply(running.call, FAILED, running.begun, now)
        self._work(now)

    def _reply(self, call: Call, outcome: Outcome, begun: float, now: float) -> None:
        code = None
        if isinstance(outcome, Refusal):
            code = self._refuse(call, outcome)
        else:
            try:
                self._endpoint.answer(call, outcome, now)
            except PayloadError as error:
                log.error(
                    "%s: the handler of %s returned a payload that breaks its schema: %s",
                    self.context,
                    call.action,
                    error,
                )
                outcome, code = FAILED, self._refuse(call, FAILED)
        if self._observer is not None:
            self._observer.answered(call, monotonic() - begun, code)
        if self._table.timed:
            self._table.finished(self.context, call, outcome, monotonic() - begun)

    def _refuse(self, call: Call, refusal: Refusal) -> str:
        try:
            self._endpoint.refuse(call, refusal.code, refusal.description)
        except (ValueError, TypeError, PayloadError) as error:
            log.error("%s: the handler of %s refused wrongly: %s", self.context, call.action, error)
            self._endpoint.refuse(call, FAILED.code)
            return FAILED.code
        return refusal.code

    def _resolve(self, event: Answer | Failure) -> None:
        future = None if self._calls is None else self._calls.pop(event.id, None)
        if future is None or future.done():
            return
        if isinstance(event, Failure):
            future.set_exception(CallFailed(event.action, event.reason, str(event.error or "")))
        elif isinstance(event.result, CallError):
            future.set_exception(CallFailed(event.action, event.result.code, event.result.description))
        else:
            future.set_result(event.result.payload)


async def _awaited(result: Awaitable[Outcome]) -> Outcome:
    return await result
