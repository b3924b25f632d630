"""One side of one OCPP-J connection, without I/O: frames in, events and frames out, time passed in.

Comes in: text frames as they arrived (`receive`), orders of the owner (`call`, `send`, `answer`, `refuse`), the passing
of time (`expire`), the end of the connection (`lost`). Goes out: `events()` for the owner, `frames()` for the wire;
both are emptied by reading them. Times are seconds of a monotonic clock of the owner's choice.

Rules kept here (OCPP-J 1.6 section 4.1, OCPP 2.x Part 4 section 4): one own CALL is outstanding at a time, further ones
wait in a bounded queue; CALLs of the peer are handed out one after the other, in the order they came, while own CALLs
may cross them; a repeated CALL is answered again from a bounded memory and handed out once; a CALLRESULT is judged
against the action it answers; nothing is ever sent in answer to an answer, but for CALLRESULTERROR in 2.1; pending
CALLs fail at once when the connection is lost. No bytes from the wire raise.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from evcore import Codec
from evcore.errors import FrameError, PayloadError
from evcore.message import Call, CallError, CallResult, CallResultError, Send

__all__ = [
    "Answer",
    "Endpoint",
    "EndpointError",
    "Event",
    "Failure",
    "Fault",
    "Memory",
    "Notice",
    "Repeat",
    "Request",
    "Stray",
]

#: Actions a station retries until they are answered (OCPP 1.6 section 3.7, 2.x E13): remembered across a reconnect.
TRANSACTION_ACTIONS: Final = frozenset({"StartTransaction", "StopTransaction", "MeterValues", "TransactionEvent"})


class EndpointError(Exception):
    """An order the endpoint cannot take: the queue of own CALLs is full, or the connection is gone."""


class Request(NamedTuple):
    """The peer's CALL; the next one is handed out after `answer` or `refuse`."""

    call: Call


class Notice(NamedTuple):
    """The peer's SEND (2.1); never answered."""

    send: Send


class Answer(NamedTuple):
    """The end of an own CALL: its CALLRESULT, judged, or the peer's CALLERROR."""

    id: str
    action: str
    result: CallResult | CallError


class Failure(NamedTuple):
    """The end of an own CALL without a usable answer. `error` is set where the answer could not be accepted."""

    id: str
    action: str
    reason: Literal["timeout", "lost", "invalid"]
    error: FrameError | PayloadError | None = None


class Repeat(NamedTuple):
    """A CALL that came before with the same id and bytes; its one answer serves both."""

    call: Call


class Stray(NamedTuple):
    """An answer to nothing: after the timeout (`late`), to no known id (`unknown`), or a refusal of our answer
    (`refused`).
    """

    message: CallResult | CallError | CallResultError
    reason: Literal["late", "unknown", "refused"]


class Fault(NamedTuple):
    """A frame that was not accepted; the answer due, if any, is already among the frames to send."""

    error: FrameError | PayloadError


Event: TypeAlias = Request | Notice | Answer | Failure | Repeat | Stray | Fault


class _Answered(NamedTuple):
    digest: bytes
    reply: bytes
    time: float
    lasting: bool


class Memory:
    """The last answers given to one station, so that a retried CALL is not carried out twice.

    Holds at most `size` answers, none older than `seconds`. It may outlive the connection: after `reconnected` only
    answers to transaction-related CALLs are kept, because a restarted station may use the ids of its other CALLs again,
    and an old answer to them (the time in a Heartbeat's) would be wrong.
    """

    __slots__ = ("_answers", "_seconds", "_size")

    def __init__(self, size: int = 32, seconds: float = 600.0) -> None:
        self._answers: OrderedDict[str, _Answered] = OrderedDict()
        self._size = size
        self._seconds = seconds

    def __len__(self) -> int:
        return len(self._answers)

    def store(self, call_id: str, digest: bytes, reply: bytes, now: float, *, lasting: bool) -> None:
        self._answers.pop(call_id, None)
        self._answers[call_id] = _Answered(digest, reply, now, lasting)
        if len(self._answers) > self._size:
            self._answers.popitem(last=False)

    def find(self, call_id: str, digest: bytes, now: float) -> bytes | None:
        """The answer given to these very bytes, or None."""
        known = self._answers.get(call_id)
        if known is None or known.digest != digest or now - known.time > self._seconds:
            return None
        return known.reply

    def reconnected(self) -> None:
        for call_id in [key for key, known in self._answers.items() if not known.lasting]:
            del self._answers[call_id]


class _Outgoing(NamedTuple):
    id: str
    action: str
    frame: bytes
    timeout: float


class _Incoming(NamedTuple):
    call: Call
    digest: bytes


class Endpoint:
    """The RPC state of one side of a connection.

    `codec` fixes the version and what is tolerated. `call_timeout`: seconds to wait for the answer to an own CALL.
    `queue`: own CALLs that may wait behind the outstanding one. `inbox`: CALLs of the peer that may wait for the one at
    work; further ones get a CALLERROR. `memory` may be shared by the successive connections of one station.
    """

    __slots__ = (
        "_call_timeout",
        "_codec",
        "_deadline",
        "_events",
        "_frames",
        "_inbox",
        "_inbox_limit",
        "_late",
        "_lost",
        "_memory",
        "_new_id",
        "_pending",
        "_queue",
        "_queue_limit",
        "_work",
    )

    def __init__(
        self,
        codec: Codec,
        *,
        memory: Memory | None = None,
        call_timeout: float = 30.0,
        queue: int = 64,
        inbox: int = 64,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._codec = codec
        self._memory = Memory() if memory is None else memory
        self._call_timeout = call_timeout
        self._queue_limit = queue
        self._inbox_limit = inbox
        self._new_id = new_id
        self._events: list[Event] = []
        self._frames: list[bytes] = []
        self._queue: deque[_Outgoing] = deque()
        self._pending: _Outgoing | None = None
        self._deadline: float | None = None
        self._late: deque[str] = deque(maxlen=16)
        self._inbox: deque[_Incoming] = deque()
        self._work: _Incoming | None = None
        self._lost = False

    @property
    def version(self) -> str:
        return self._codec.version

    @property
    def deadline(self) -> float | None:
        """When `expire` has something to do, or None."""
        return self._deadline

    def events(self) -> list[Event]:
        """What happened since the last reading, oldest first."""
        events, self._events = self._events, []
        return events

    def frames(self) -> list[bytes]:
        """What to send since the last reading, in order, each as one text message."""
        frames, self._frames = self._frames, []
        return frames

    # -- from the wire ------------------------------------------------------------------------------------------------

    def receive(self, frame: bytes | str, now: float) -> None:
        """Takes one text message of the peer."""
        pending = self._pending
        try:
            message = self._codec.decode(frame, action=None if pending is None else pending.action)
        except PayloadError as error:
            self._refused(error, now)
            return
        except FrameError as error:
            self._unreadable(error, now)
            return
        if isinstance(message, Call):
            self._called(message, frame, now)
        elif isinstance(message, Send):
            self._events.append(Notice(message))
        elif isinstance(message, CallResultError):
            self._events.append(Stray(message, "refused"))
        elif pending is not None and message.id == pending.id:
            self._events.append(Answer(pending.id, pending.action, message))
            self._next_call(now)
        else:
            self._events.append(Stray(message, "late" if message.id in self._late else "unknown"))

    def _called(self, call: Call, frame: bytes | str, now: float) -> None:
        digest = hashlib.blake2b(frame.encode() if isinstance(frame, str) else frame, digest_size=16).digest()
        if self._work is not None and self._is_waiting(call, digest):
            return
        reply = self._memory.find(call.id, digest, now)
        if reply is not None:
            self._events.append(Repeat(call))
            self._frames.append(reply)
        elif self._work is None:
            self._work = _Incoming(call, digest)
            self._events.append(Request(call))
        elif len(self._inbox) < self._inbox_limit:
            self._inbox.append(_Incoming(call, digest))
        else:
            busy = CallError(call.id, "InternalError", "too many CALLs are waiting for their answers")
            self._frames.append(self._codec.encode(busy))

    def _is_waiting(self, call: Call, digest: bytes) -> bool:
        """Whether a CALL of this id waits for its answer already; refused here when it is another one."""
        for waiting in (self._work, *self._inbox):
            if waiting is not None and waiting.call.id == call.id:
                if waiting.digest == digest:
                    self._events.append(Repeat(call))
                else:
                    code = "ProtocolError" if self.version == "ocpp1.6" else "RpcFrameworkError"
                    self._frames.append(self._codec.encode(CallError(call.id, code, "message id is in use")))
                return True
        return False

    def _refused(self, error: PayloadError, now: float) -> None:
        self._events.append(Fault(error))
        pending, message = self._pending, error.message
        if not isinstance(message, CallResult):
            if error.reply is not None:
                self._frames.append(error.reply)
        elif pending is not None and message.id == pending.id:
            if error.reply is not None:
                self._frames.append(error.reply)
            self._events.append(Failure(pending.id, pending.action, "invalid", error))
            self._next_call(now)

    def _unreadable(self, error: FrameError, now: float) -> None:
        self._events.append(Fault(error))
        pending = self._pending
        ours = pending is not None and error.message_id == pending.id
        # A CALLRESULTERROR answers a CALLRESULT we waited for; one with another id is not ours to complain about.
        if error.reply is not None and (ours or not error.reply.startswith(b"[5,")):
            self._frames.append(error.reply)
        if pending is not None and ours:
            self._events.append(Failure(pending.id, pending.action, "invalid", error))
            self._next_call(now)

    # -- from the owner -----------------------------------------------------------------------------------------------

    def call(self, action: str, payload: Any, now: float, *, timeout: float | None = None) -> str:
        """Queues an own CALL and returns its id; an `Answer` or a `Failure` with this id follows.

        Raises PayloadError for a payload that breaks its schema, EndpointError when the queue is full or the connection
        gone.
        """
        if self._lost:
            raise EndpointError("the connection is closed")
        if len(self._queue) >= self._queue_limit:
            raise EndpointError(f"{len(self._queue)} CALLs are waiting already")
        call_id = self._new_id()
        frame = self._codec.encode(Call(call_id, action, payload))
        self._queue.append(_Outgoing(call_id, action, frame, self._call_timeout if timeout is None else timeout))
        if self._pending is None:
            self._next_call(now)
        return call_id

    def send(self, action: str, payload: Any) -> None:
        """Sends a SEND (2.1) past the queue. Raises PayloadError, EndpointError; ValueError before 2.1."""
        if self._lost:
            raise EndpointError("the connection is closed")
        self._frames.append(self._codec.encode(Send(self._new_id(), action, payload)))

    def answer(self, call: Call, payload: Mapping[str, Any], now: float) -> None:
        """Answers the CALL at work. Raises PayloadError (nothing is sent, the CALL stays at work) when the payload
        breaks its schema.
        """
        work = self._at_work(call)
        reply = self._codec.encode(CallResult(call.id, payload), action=call.action)
        self._memory.store(call.id, work.digest, reply, now, lasting=call.action in TRANSACTION_ACTIONS)
        self._done(reply)

    def refuse(self, call: Call, code: str, description: str = "") -> None:
        """Answers the CALL at work with a CALLERROR. Not remembered: a retry deserves another try."""
        self._at_work(call)
        self._done(self._codec.encode(CallError(call.id, code, description)))

    def expire(self, now: float) -> None:
        """Ends the outstanding own CALL when its time is over."""
        pending = self._pending
        if pending is not None and self._deadline is not None and now >= self._deadline:
            self._late.append(pending.id)
            self._events.append(Failure(pending.id, pending.action, "timeout"))
            self._next_call(now)

    def lost(self) -> None:
        """The connection is gone: own CALLs fail, waiting CALLs of the peer are forgotten; the one at work may still be
        answered.
        """
        if self._lost:
            return
        self._lost = True
        waiting = ([] if self._pending is None else [self._pending]) + list(self._queue)
        self._pending, self._deadline = None, None
        self._queue.clear()
        self._inbox.clear()
        self._frames.clear()
        self._events.extend(Failure(outgoing.id, outgoing.action, "lost") for outgoing in waiting)

    def _at_work(self, call: Call) -> _Incoming:
        if self._work is None or self._work.call.id != call.id:
            raise EndpointError("this CALL is not waiting for an answer")
        return self._work

    def _done(self, reply: bytes) -> None:
        if not self._lost:
            self._frames.append(reply)
        self._work = self._inbox.popleft() if self._inbox else None
        if self._work is not None:
            self._events.append(Request(self._work.call))

    def _next_call(self, now: float) -> None:
        self._pending = self._queue.popleft() if self._queue else None
        self._deadline = None if self._pending is None else now + self._pending.timeout
        if self._pending is not None:
            self._frames.append(self._pending.frame)
