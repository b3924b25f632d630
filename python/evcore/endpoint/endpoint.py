"""The RPC state of one side of one OCPP-J connection, without I/O: frames in, events and frames out, time passed in.

Comes in: text frames as they arrived (`receive`), orders of the owner (`call`, `store`, `send`, `answer`, `refuse`),
the passing of time (`expire`), the end of the connection (`lost`). Goes out: `events()` for the owner, `frames()` for
the wire; both are emptied by reading them. Times are seconds of a monotonic clock of the owner's choice.

Rules kept here (OCPP-J 1.6 section 4.1, OCPP 2.x Part 4 section 4): one own CALL is outstanding at a time, further ones
wait in a bounded queue; CALLs of the peer are handed out one after the other, in the order they came, while own CALLs
may cross them; a repeated CALL is answered again from a bounded memory and handed out once; a CALLRESULT is judged
against the action it answers; nothing is ever sent in answer to an answer, but for CALLRESULTERROR in 2.1; pending
CALLs fail at once when the connection is lost; nothing but what `boot` allows passes before a station is accepted. No
bytes from the wire raise. docs/endpoint.md has the rules as tables.
"""

from __future__ import annotations

import re
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from evcore import Codec
from evcore.endpoint.boot import OWN, PEER, REMOTE, Boot, GateMode, Role, Verdict, triggered_by
from evcore.endpoint.event import (
    Answer,
    Discarded,
    Event,
    Failure,
    Fault,
    Gated,
    Notice,
    Repeat,
    Request,
    Stray,
)
from evcore.endpoint.memory import TRANSACTION_ACTIONS, Memory
from evcore.endpoint.outbox import Outbox, Stored, dispensable
from evcore.endpoint.tables import CALLS, ENDS, Ending, Relation
from evcore.errors import FrameError, PayloadError
from evcore.message import Call, CallError, CallResult, CallResultError, Send

__all__ = ["Endpoint", "EndpointError"]

#: Own CALLs whose end is remembered, to tell a late or a second answer from one to nothing.
_SETTLED: Final = 16

_IN_USE: Final = {"ocpp1.6": "ProtocolError"}

#: The beginning of a CALLRESULT or CALLERROR, whatever comes after it.
_HEAD: Final = 64
_ANSWER_HEAD: Final = re.compile(rb"[ \t\r\n]*\[[ \t\r\n]*0*[34][ \t\r\n]*,")


class EndpointError(Exception):
    """An order the endpoint cannot take: the queue of own CALLs is full, the boot gate is closed for it, or the
    connection is gone.
    """


class _Outgoing(NamedTuple):
    id: str
    action: str
    frame: bytes
    timeout: float
    expires: float | None = None
    stored: Stored | None = None


class _Incoming(NamedTuple):
    """`reply`: the answer the connection before gave to it meanwhile."""

    call: Call
    fingerprint: int
    reply: bytes | None = None


# Half the time of `Request(call)`, and once for each message.
_request: Final = tuple.__new__


def new_id() -> str:
    """A message id nobody used before: UUID text, 36 characters."""
    return str(uuid.uuid4())


class Endpoint:
    """`codec` fixes the version and what is tolerated. `role`: which side this is. `call_timeout`: seconds to wait for
    the answer to an own CALL. `queue`: own CALLs that may wait behind the outstanding one. `inbox`: CALLs of the peer
    that may wait for the one at work; further ones get a CALLERROR.

    `memory`, `boot` and `outbox` may be shared by the successive connections of one station. Without `boot` nothing is
    gated; `gate` is the mode of a CSMS's gate. `outbox` is for the role of a station.
    """

    __slots__ = (
        "_boot",
        "_call_timeout",
        "_codec",
        "_deadline",
        "_events",
        "_fingerprint",
        "_frames",
        "_gate",
        "_inbox",
        "_inbox_limit",
        "_lost",
        "_memory",
        "_mode",
        "_new_id",
        "_outbox",
        "_own_gate",
        "_pending",
        "_queue",
        "_queue_limit",
        "_role",
        "_settled",
        "_work",
        "wake",
    )

    def __init__(
        self,
        codec: Codec,
        *,
        role: Role = "csms",
        memory: Memory | None = None,
        boot: Boot | None = None,
        gate: GateMode = "strict",
        outbox: Outbox | None = None,
        call_timeout: float = 30.0,
        queue: int = 64,
        inbox: int = 64,
        new_id: Callable[[], str] = new_id,
    ) -> None:
        self._codec = codec
        self._role: Role = role
        self._memory = Memory() if memory is None else memory
        self._boot = boot
        self._mode = gate
        self._outbox = outbox
        self._call_timeout = call_timeout
        self._queue_limit = queue
        self._inbox_limit = inbox
        self._new_id = new_id
        # What is None or empty here is made when it is needed: most connections are idle most of the time.
        self._events: list[Event] = []
        self._frames: list[bytes] = []
        self._queue: deque[_Outgoing] | None = None
        self._pending: _Outgoing | None = None
        self._deadline: float | None = None
        self._settled: deque[tuple[str, str | None]] | None = None
        self._inbox: deque[_Incoming] | None = None
        self._work: Call | None = None
        self._fingerprint = 0
        self._lost = False
        self._gate: Verdict = "pass"
        self._own_gate: Verdict = "pass"
        #: Called when there is something to read that no order or frame of the owner's brought about.
        self.wake: Callable[[], None] | None = None
        self._look_up_gates()

    @property
    def version(self) -> str:
        return self._codec.version

    @property
    def boot(self) -> Boot | None:
        return self._boot

    @property
    def deadline(self) -> float | None:
        """When `expire` has something to do, or None."""
        if self._outbox is None and not self._queue:
            return self._deadline
        return self._earliest()

    @property
    def waiting(self) -> tuple[int, int]:
        """How many CALLs wait: the peer's, with the one at work, and own ones, with the outstanding one."""
        peers = (self._work is not None) + len(self._inbox or ())
        return peers, (self._pending is not None) + len(self._queue or ())

    def events(self) -> list[Event]:
        """What happened since the last reading, oldest first."""
        if not self._events:
            return []
        events, self._events = self._events, []
        return events

    def frames(self) -> list[bytes]:
        """What to send since the last reading, in order, each as one text message."""
        if not self._frames:
            return []
        frames, self._frames = self._frames, []
        return frames

    # -- from the wire ------------------------------------------------------------------------------------------------

    def receive(self, frame: bytes | str, now: float) -> None:
        """Takes one text message of the peer. Nothing is taken any more once the connection is lost."""
        if self._lost:
            return
        pending = self._pending
        try:
            message = self._codec.decode(frame) if pending is None else self._codec.decode(frame, pending.action)
        except PayloadError as error:
            self._refused(error, now)
            return
        except FrameError as error:
            self._unreadable(error, frame, now)
            return
        if type(message) is Call:
            fingerprint = hash(frame.encode() if isinstance(frame, str) else frame)
            # The row "new" of the table, by far the most common, without asking for all others.
            if self._work is None and self._gate == "pass" and not self._memory.knows(fingerprint, now):
                self._work = message
                self._fingerprint = fingerprint
                self._events.append(_request(Request, (message,)))
            else:
                self._called(message, fingerprint, now)
        elif isinstance(message, Send):
            self._events.append(Notice(message) if self._passes(message) else Gated(message))
        elif isinstance(message, CallResultError):
            self._events.append(Stray(message, "refused"))
        elif pending is not None and message.id == pending.id:
            self._answered(pending, message, now)
        else:
            self._stray(message)

    def _stray(self, message: CallResult | CallError) -> None:
        """An answer to nothing. A message that was sent again has ended more than once: its last end counts."""
        ends = reversed(self._settled or ())
        reason: Any = next((end for call_id, end in ends if call_id == message.id), "unknown")
        if reason == "late" and self._outbox is not None and isinstance(message, CallResult):
            self._outbox.answered_late(message.id, message.payload)
        self._events.append(Stray(message, reason))

    def _called(self, call: Call, fingerprint: int, now: float) -> None:
        relation = self._relation(call, fingerprint, now)
        treatment = CALLS[relation]
        if treatment.event == "Repeat":
            self._events.append(Repeat(call))
        elif treatment.event == "Gated":
            self._events.append(Gated(call))
        if treatment.reply is not None:
            self._frames.append(self._reply(treatment.reply, call, fingerprint, now))
        if treatment.hand != "never":
            if relation == "same id and bytes as one at work for the connection before":
                self._memory.join(fingerprint, self)
            if self._inbox is None:
                self._inbox = deque()
            self._inbox.append(_Incoming(call, fingerprint))
            if self._work is None:
                self._next_request()

    def _relation(self, call: Call, fingerprint: int, now: float) -> Relation:
        if self._gate == "ignore":
            return "gated in silence"
        waiting = [(incoming.call.id, incoming.fingerprint) for incoming in self._inbox or ()]
        if self._work is not None:
            waiting.append((self._work.id, self._fingerprint))
        for call_id, others in waiting:
            if call_id == call.id:
                if others == fingerprint:
                    return "same id and bytes as one at work or waiting"
                return "same id as one at work or waiting, other bytes"
        if self._memory.find(fingerprint, now) is not None:
            return "same id and bytes as one answered"
        if not self._passes(call):
            return "gated"
        if len(self._inbox or ()) >= self._inbox_limit:
            return "while the inbox is full"
        if self._memory.is_running(fingerprint):
            return "same id and bytes as one at work for the connection before"
        return "new" if self._work is None else "while another is at work"

    def _reply(self, reply: str, call: Call, fingerprint: int, now: float) -> bytes:
        if reply == "the answer given before":
            return self._memory.find(fingerprint, now) or b""
        if reply == "InternalError":
            error = CallError(call.id, reply, "too many CALLs are waiting for their answers")
        elif reply == "SecurityError":
            why = "BootNotification must be accepted first" if self._role == "csms" else "not accepted by the CSMS"
            error = CallError(call.id, reply, why)
        else:
            error = CallError(call.id, _IN_USE.get(self.version, "RpcFrameworkError"), "message id is in use")
        return self._codec.encode(error)

    def _passes(self, message: Call | Send) -> bool:
        """Whether the boot gate lets a message of the peer through."""
        gate = self._gate
        if gate == "pass" or gate == "no remote":
            return True
        if message.action == "BootNotification":
            return gate == "boot" or gate == "triggered"
        return gate == "triggered" and self._boot is not None and message.action in self._boot.triggered

    def _answered(self, pending: _Outgoing, message: CallResult | CallError, now: float) -> None:
        self._events.append(Answer(pending.id, pending.action, message))
        boot = self._boot
        if boot is not None and self._role == "station" and pending.action == "BootNotification":
            if isinstance(message, CallResult) and isinstance(message.payload, Mapping):
                boot.answered(message.payload.get("status"))
            self._look_up_gates()
        if type(message) is not CallResult:
            self._settle(pending, "CALLERROR", now)
        elif pending.stored is None:
            # The payload is not touched: a lazy codec has not built it yet.
            self._settle(pending, "CALLRESULT", now)
        else:
            self._settle(pending, "CALLRESULT", now, message.payload)

    def _refused(self, error: PayloadError, now: float) -> None:
        pending, message = self._pending, error.message
        if isinstance(message, Call) and not self._passes(message):
            # A gated CALL is refused as such, whatever else may be wrong with it.
            self._called(message, hash(message.raw), now)
            return
        if isinstance(message, CallResult) and (pending is None or message.id != pending.id):
            # It was judged as the answer to another CALL than its own, which says nothing.
            self._stray(message)
            return
        self._events.append(Fault(error))
        if not isinstance(message, CallResult):
            if error.reply is not None:
                self._frames.append(error.reply)
        elif pending is not None:
            if error.reply is not None:
                self._frames.append(error.reply)
            self._events.append(Failure(pending.id, pending.action, "invalid", error))
            self._settle(pending, "unacceptable CALLRESULT", now, message.payload)

    def _unreadable(self, error: FrameError, frame: bytes | str, now: float) -> None:
        self._events.append(Fault(error))
        pending, reply = self._pending, error.reply
        # A CALL of the peer may have the id of an own one by chance.
        head = frame[:_HEAD].encode("utf-8", "replace") if isinstance(frame, str) else frame[:_HEAD]
        ours = pending is not None and error.message_id == pending.id and _ANSWER_HEAD.match(head) is not None
        # A CALLRESULTERROR answers a CALLRESULT we waited for; one with another id is not ours to complain about.
        if reply is not None and self._gate != "ignore" and (ours or not reply.startswith(b"[5,")):
            self._frames.append(reply)
        if pending is not None and ours:
            self._events.append(Failure(pending.id, pending.action, "invalid", error))
            self._settle(pending, "unreadable answer", now)

    def adopt(self, fingerprint: int, reply: bytes, now: float | None) -> None:
        """The answer to a CALL at work or waiting here was made by the connection before this one."""
        self._look_up_gates()
        if self._work is not None and self._fingerprint == fingerprint:
            self._done(reply)
        else:
            for index, incoming in enumerate(self._inbox or ()):
                if incoming.fingerprint == fingerprint and self._inbox is not None:
                    self._inbox[index] = incoming._replace(reply=reply)
        if now is not None:
            self._next_call(now)
        if self.wake is not None:
            self.wake()

    # -- from the owner -----------------------------------------------------------------------------------------------

    def call(
        self, action: str, payload: Any, now: float, *, timeout: float | None = None, patience: float | None = None
    ) -> str:
        """Queues an own CALL and returns its id; an `Answer` or a `Failure` with this id follows.

        `timeout`: seconds to wait for the answer once it is sent. `patience`: seconds it may wait for its turn.

        Raises PayloadError for a payload that breaks its schema, EndpointError when the queue is full, the boot gate is
        closed for this action, or the connection is gone.
        """
        if self._lost:
            raise EndpointError("the connection is closed")
        if self._own_gate != "pass":
            self._may_order(action)
        # While none is outstanding those in the queue wait for the gate: this one overtakes them, or waits as well.
        at_once = self._pending is None and self._may_send(action)
        queue = self._queue
        if queue is not None and not at_once and len(queue) >= self._queue_limit:
            raise EndpointError(f"{len(queue)} CALLs are waiting already")
        call_id = self._new_id()
        frame = self._codec.encode(Call(call_id, action, payload))
        if timeout is None:
            timeout = self._call_timeout
        outgoing = _Outgoing(call_id, action, frame, timeout, None if patience is None else now + patience)
        if at_once:
            self._transmit(outgoing, now)
        else:
            if queue is None:
                queue = self._queue = deque()
            queue.append(outgoing)
        if self._role == "csms" and self._boot is not None and self._gate != "pass":
            triggered = triggered_by(action, payload)
            if triggered is not None:
                self._boot.trigger(triggered)
        return call_id

    def withdraw(self, call_id: str) -> bool:
        """Takes an own CALL back that waits for its turn; nothing more is heard of it. False when it is not waiting."""
        queue = self._queue
        if queue is not None:
            for waiting in queue:
                if waiting.id == call_id:
                    queue.remove(waiting)
                    return True
        return False

    def store(self, action: str, payload: Any, now: float, *, transaction: str = "") -> str:
        """Puts a transaction message into the outbox and returns its id. It is sent in its turn, again after a failure,
        and on later connections; `Answer` ends it, or `Discarded`. `transaction`: see `outbox`.

        Raises PayloadError, OutboxFull, OSError of the outbox's journal; ValueError without an outbox.
        """
        outbox = self._outbox
        if outbox is None:
            raise ValueError("this endpoint has no outbox")
        call_id = self._new_id()
        frame = self._codec.encode(Call(call_id, action, payload))
        try:
            outbox.put(
                call_id, action, frame, dispensable(action, payload), version=self.version, transaction=transaction
            )
        finally:
            self._events.extend(Discarded(stored, "room") for stored in outbox.dropped())
        if not self._lost:
            self._next_call(now)
        return call_id

    def send(self, action: str, payload: Any) -> None:
        """Sends a SEND (2.1) past the queue. Raises PayloadError, EndpointError; ValueError before 2.1."""
        if self._lost:
            raise EndpointError("the connection is closed")
        if self._own_gate != "pass" and not self._may_send(action):
            raise EndpointError(f"{action} cannot be sent before the station is accepted")
        self._frames.append(self._codec.encode(Send(self._new_id(), action, payload)))

    def answer(self, call: Call, payload: Mapping[str, Any], now: float) -> None:
        """Answers the CALL at work. Raises PayloadError (nothing is sent, the CALL stays at work) when the payload
        breaks its schema.
        """
        if self._work is not call:
            raise EndpointError("this CALL is not waiting for an answer")
        action = call.action
        reply = self._codec.encode(CallResult(call.id, payload), action)
        lasting = action in TRANSACTION_ACTIONS
        # The answer to a CALL of a connection that is gone counts if the station gets it after all, or asks again.
        told = not self._lost or self._memory.is_awaited(self._fingerprint)
        if told or lasting:
            self._memory.store(self._fingerprint, reply, now, lasting)
        if told and self._boot is not None and (self._gate != "pass" or action == "BootNotification"):
            self._gated_answer(call, payload)
            self._done(reply, now)
            self._next_call(now)
        else:
            self._done(reply, now)

    def refuse(self, call: Call, code: str, description: str = "") -> None:
        """Answers the CALL at work with a CALLERROR. Not remembered: a retry deserves another try."""
        if self._work is not call:
            raise EndpointError("this CALL is not waiting for an answer")
        self._done(self._codec.encode(CallError(call.id, code, description)))

    def expire(self, now: float) -> None:
        """Ends own CALLs whose time is over, and sends what has become due."""
        pending = self._pending
        if pending is not None and self._deadline is not None and now >= self._deadline:
            self._events.append(Failure(pending.id, pending.action, "timeout"))
            self._settle(pending, "no answer in time", now)
        self._drop_expired(now)
        if self._pending is None:
            self._next_call(now)

    def lost(self) -> None:
        """The connection is gone: own CALLs fail, waiting CALLs of the peer are forgotten; the one at work may still be
        answered, for the memory.
        """
        if self._lost:
            return
        self._lost = True
        pending = self._pending
        self._pending, self._deadline = None, None
        if pending is not None and pending.stored is not None and self._outbox is not None:
            if self._outbox.lost(pending.stored):
                self._events.append(Discarded(pending.stored, "attempts"))
        elif pending is not None:
            self._events.append(Failure(pending.id, pending.action, "lost"))
        self._events.extend(Failure(outgoing.id, outgoing.action, "lost") for outgoing in self._queue or ())
        for incoming in self._inbox or ():
            self._memory.part(incoming.fingerprint, self)
        self._queue = self._inbox = None
        self._frames = []
        if self._work is not None:
            self._memory.running(self._fingerprint)

    def booted(self, now: float) -> None:
        """The state of `boot` was changed by somebody else."""
        self._look_up_gates()
        self._next_call(now)

    # -- within -------------------------------------------------------------------------------------------------------

    def _done(self, reply: bytes, now: float | None = None) -> None:
        """The CALL at work is answered; the next one is handed out."""
        if self._lost:
            self._work = None
            self._memory.finished(self._fingerprint, reply, now)
            return
        self._frames.append(reply)
        self._work = None
        if self._inbox:
            self._next_request()

    def _next_request(self) -> None:
        inbox = self._inbox
        while inbox and self._work is None:
            call, fingerprint, reply = inbox.popleft()
            if reply is not None:
                self._frames.append(reply)
            elif self._gate == "no remote" and call.action in REMOTE:
                self._events.append(Gated(call))
                self._frames.append(self._codec.encode(CallResult(call.id, {"status": "Rejected"}), call.action))
            else:
                self._work, self._fingerprint = call, fingerprint
                # One at work for the connection before is not handed out again: `adopt` brings its answer.
                if not self._memory.join(fingerprint, self):
                    self._events.append(Request(call))

    def _gated_answer(self, call: Call, payload: Mapping[str, Any]) -> None:
        """An answer of ours may open or close the gate, or entitle us to send something."""
        boot = self._boot
        if boot is None:
            return
        if self._role == "csms":
            if call.action == "BootNotification":
                boot.answered(payload.get("status"))
                self._look_up_gates()
        elif self._own_gate == "triggered" and payload.get("status", "Accepted") == "Accepted":
            triggered = triggered_by(call.action, call.payload)
            if triggered is not None:
                boot.trigger(triggered)

    def _look_up_gates(self) -> None:
        boot = self._boot
        if boot is None:
            return
        family = "1.6" if self.version == "ocpp1.6" else "2.x"
        self._gate = PEER[self._role, self._mode if self._role == "csms" else family][boot.stage]
        self._own_gate = OWN[self._role, family][boot.stage]

    def _may_order(self, action: str) -> None:
        """Raises EndpointError for an own CALL that could never be sent in this state."""
        gate = self._own_gate
        if gate == "refuse":
            raise EndpointError("the station was rejected and must be left alone until it boots again")
        if gate == "no remote" and action in REMOTE:
            raise EndpointError(f"{action} is not allowed while the station is Pending")

    def _may_send(self, action: str) -> bool:
        """Whether the gate lets an own message go now; else it waits."""
        gate = self._own_gate
        if gate == "pass":
            return True
        if gate == "no remote":
            return action not in REMOTE
        if action == "BootNotification":
            return gate == "boot" or gate == "triggered"
        return gate == "triggered" and self._boot is not None and action in self._boot.triggered

    def _transmit(self, outgoing: _Outgoing, now: float) -> None:
        self._pending = outgoing
        self._deadline = now + outgoing.timeout
        self._frames.append(outgoing.frame)

    def _settle(self, pending: _Outgoing, ending: Ending, now: float, payload: Any = None) -> None:
        """The outstanding own CALL is over; the next one goes."""
        end = ENDS[ending]
        if self._settled is None:
            self._settled = deque(maxlen=_SETTLED)
        self._settled.append((pending.id, end.later))
        self._pending, self._deadline = None, None
        stored, outbox = pending.stored, self._outbox
        if stored is not None and outbox is not None:
            if end.taken:
                outbox.answered(stored, payload)
            elif outbox.failed(stored, now):
                self._events.append(Discarded(stored, "attempts"))
        if self._queue or outbox is not None:
            self._next_call(now)

    def _next_call(self, now: float) -> None:
        if self._pending is not None or self._lost:
            return
        self._drop_expired(now)
        queue = self._queue
        if queue:
            for index, outgoing in enumerate(queue):
                if self._may_send(outgoing.action):
                    del queue[index]
                    self._transmit(outgoing, now)
                    return
        outbox = self._outbox
        if outbox is not None and self._own_gate == "pass" and (stored := outbox.head(now, self.version)):
            outbox.transmitted(stored)
            self._transmit(_Outgoing(stored.id, stored.action, stored.frame, self._call_timeout, None, stored), now)

    def _drop_expired(self, now: float) -> None:
        """Ends the own CALLs that have waited too long for their turn."""
        queue = self._queue
        if not queue:
            return
        over = [outgoing for outgoing in queue if outgoing.expires is not None and outgoing.expires <= now]
        for outgoing in over:
            queue.remove(outgoing)
            self._events.append(Failure(outgoing.id, outgoing.action, "expired"))

    def _earliest(self) -> float | None:
        times = [] if self._deadline is None else [self._deadline]
        times.extend(outgoing.expires for outgoing in self._queue or () if outgoing.expires is not None)
        if self._outbox is not None and self._pending is None and self._own_gate == "pass" and not self._lost:
            due = self._outbox.due(self.version)
            if due is not None:
                times.append(due)
        return min(times, default=None)
