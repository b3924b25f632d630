"""A side of the conversation with a book beside it: what the endpoint was told and what it may do now.

Every order and every frame goes through a `Side`, which knows by simple bookkeeping what must come of it and asserts
that it does. The codec's verdict on a frame is taken as given: other tests are about that.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from evcore.endpoint import (
    TRANSACTION_ACTIONS,
    Answer,
    Boot,
    Discarded,
    Endpoint,
    EndpointError,
    Event,
    Failure,
    Fault,
    Gated,
    Memory,
    Notice,
    Outbox,
    OutboxFull,
    Repeat,
    Request,
    Stray,
)
from evcore.errors import FrameError, PayloadError
from evcore.message import Call, CallError, CallResult, CallResultError, Send
from wire.messages import result
from wire.rules import Told, asked_for, sent, taken

QUEUE, INBOX = 2, 2
TIMEOUT = 30.0
SIZE, SECONDS = 8, 100.0
ATTEMPTS, INTERVAL, ROOM, LOSSES = 3, 10.0, 4, 2
#: Own CALLs whose end an endpoint remembers.
SETTLED = 16

_KIND = re.compile(rb"\s*\[\s*0*([0-9]+)\s*,")


@dataclass
class Own:
    """An own CALL of this connection."""

    id: str
    action: str
    timeout: float
    expires: float | None
    deadline: float | None = None


@dataclass
class Kept:
    """A transaction message until it is taken."""

    id: str
    dispensable: bool
    transmissions: int = 0
    losses: int = 0
    due: float = 0.0


@dataclass
class Given:
    """An answer given to a frame: when, on which connection, and how many answers were remembered before it."""

    reply: bytes
    at: float
    connection: int
    count: int
    lasting: bool


@dataclass
class Past:
    """What one side keeps over its connections."""

    role: Any
    codec: Any
    mode: Any
    memory: Memory = field(default_factory=lambda: Memory(SIZE, SECONDS))
    boot: Boot = field(default_factory=Boot)
    outbox: Outbox | None = None
    told: Told = field(default_factory=Told)
    connections: int = 0
    ids: int = 0
    remembered: int = 0
    given: dict[bytes, Given] = field(default_factory=dict)
    #: Frames at work on connections that are gone, and the connection that waits for the answer.
    running: dict[bytes, Side | None] = field(default_factory=dict)
    kept: list[Kept] = field(default_factory=list)

    def new_id(self) -> str:
        # Both sides count from 1, so that their ids meet.
        self.ids += 1
        return str(self.ids)


class Side:
    """One connection's end. `out` is what goes to the wire."""

    def __init__(self, past: Past) -> None:
        self.past = past
        past.connections += 1
        self.number = past.connections
        self.endpoint = Endpoint(
            past.codec,
            role=past.role,
            memory=past.memory,
            boot=past.boot,
            gate=past.mode,
            outbox=past.outbox,
            call_timeout=TIMEOUT,
            queue=QUEUE,
            inbox=INBOX,
            new_id=past.new_id,
        )
        self.out: list[bytes] = []
        self.lost = False
        self.outstanding: Own | None = None
        self.queue: list[Own] = []
        #: Own CALLs that were answered or not, and what a further answer is called; all that were ordered and go on.
        self.ended: list[tuple[str, str]] = []
        self.going: set[str] = set()
        self.every: set[str] = set()
        #: CALLs of the peer, the one at work first; with each, the answer that another connection made.
        self.inbox: list[tuple[Call, bytes]] = []
        self.replies: dict[bytes, bytes] = {}
        self.work: Call | None = None

    # -- orders -------------------------------------------------------------------------------------------------------

    def call(self, action: str, payload: Any, now: float, patience: float | None) -> None:
        verdict = self._sent(action)
        at_once = self.outstanding is None and verdict == "now"
        refused = self.lost or verdict == "never" or (not at_once and len(self.queue) >= QUEUE)
        try:
            call_id = self.endpoint.call(action, payload, now, patience=patience)
        except EndpointError:
            assert refused, "an order was refused without a reason"
            self.settle(now, [])
            return
        assert not refused, "an order was taken that cannot be carried out"
        self.going.add(call_id)
        self.every.add(call_id)
        self.queue.append(Own(call_id, action, TIMEOUT, None if patience is None else now + patience))
        if self.past.role == "csms" and taken("csms", self.version, self.past.mode, self.past.told, "X") != "yes":
            asked = asked_for(action, payload)
            self.past.told.triggered |= {asked} - {None}
        self.settle(now, [])

    def store(self, action: str, payload: Any, now: float) -> None:
        kept = self.past.kept
        try:
            call_id = self.endpoint.store(action, payload, now)
        except OutboxFull:
            spare = [one for one in kept if one.dispensable and not self._is_out(one.id)]
            assert len(kept) >= ROOM
            assert not spare
            return
        kept.append(Kept(call_id, payload.get("eventType") == "Updated" or action == "MeterValues"))
        self.settle(now, [])
        assert len(kept) <= ROOM

    def send(self, action: str, payload: Any) -> None:
        allowed = not self.lost and self._sent(action) == "now"
        try:
            self.endpoint.send(action, payload)
        except EndpointError:
            assert not allowed
            return
        assert allowed, "a SEND passed the closed gate"
        (frame,) = self.endpoint.frames()
        assert json.loads(frame)[0] == 6
        self.out.append(frame)

    def answer(self, status: str, how: str, now: float) -> None:
        """Answers the CALL at work: rightly, with a CALLERROR, or wrongly and then with a CALLERROR."""
        call = self.work
        assert call is not None
        frame = self.inbox[0][1]
        role, told = self.past.role, self.past.told
        if how == "answer":
            payload = result(call.action, status)
            self.endpoint.answer(call, payload, now)
            reply = self.past.codec.encode(CallResult(call.id, payload), call.action)
            heard = not self.lost or self.past.running.get(frame) is not None
            lasting = call.action in TRANSACTION_ACTIONS
            if heard or lasting:
                self.past.given[frame] = Given(reply, now, self.past.connections, self.past.remembered, lasting)
                self.past.remembered += 1
            if heard and role == "csms" and call.action == "BootNotification":
                told.boots(status)
            elif heard and role == "station" and told.status == "Pending" and payload.get("status") != "Rejected":
                told.triggered |= {asked_for(call.action, call.payload)} - {None}
        else:
            if how == "wrong":
                try:
                    self.endpoint.answer(call, {"status": "Nonsense", "x": 1}, now)
                except PayloadError:
                    assert not self.endpoint.frames()
                else:
                    raise AssertionError("an answer that breaks its schema was sent")
            self.endpoint.refuse(call, "GenericError", "no")
            reply = self.past.codec.encode(CallError(call.id, "GenericError", "no"))
        self.work = None
        if self.lost:
            self.inbox = []
            waiting = self.past.running.pop(frame)
            assert not self.endpoint.frames()
            assert not self.endpoint.events()
            if waiting is not None:
                waiting._adopt(frame, reply, now)
            return
        self.inbox.pop(0)
        self._next_work(now, [], [reply])

    def _adopt(self, frame: bytes, reply: bytes, now: float) -> None:
        if self.inbox and self.inbox[0][1] == frame and self.work is None:
            self.inbox.pop(0)
            self._next_work(now, [], [reply])
        else:
            self.replies[frame] = reply
            self.settle(now, [])

    def _next_work(self, now: float, events: list[Any], replies: list[Any]) -> None:
        """What is answered and handed out when no CALL is at work."""
        while self.inbox:
            call, frame = self.inbox[0]
            if frame in self.replies:
                replies.append(self.replies.pop(frame))
            elif self._taken(call.action) == "Rejected":
                events.append((Gated, call.id))
                replies.append(self._rejected(call))
            else:
                if frame in self.past.running:
                    self.past.running[frame] = self
                else:
                    events.append((Request, call.id))
                break
            self.inbox.pop(0)
        self.settle(now, events, replies)

    def _rejected(self, call: Call) -> bytes:
        return bytes(self.past.codec.encode(CallResult(call.id, {"status": "Rejected"}), call.action))

    # -- the wire and the time ----------------------------------------------------------------------------------------

    def receive(self, frame: bytes, now: float) -> None:
        self.endpoint.receive(frame, now)
        if self.lost:
            assert not self.endpoint.events()
            assert not self.endpoint.frames()
            return
        out = self.outstanding
        try:
            message: Any = self.past.codec.decode(frame, None if out is None else out.action)
            error: Any = None
        except PayloadError as caught:
            message, error = caught.message, caught
        except FrameError as caught:
            self._unreadable(frame, caught, now)
            return
        if isinstance(message, Call):
            self._called(message, frame, error, now)
        elif isinstance(message, Send):
            if error is not None:
                self.settle(now, [(Fault, None)])
            else:
                passes = self._taken(message.action) in ("yes", "Rejected")
                self.settle(now, [(Notice if passes else Gated, message.id)])
        elif isinstance(message, CallResultError):
            self.settle(now, [(Stray, message.id, "refused")])
        elif out is None or message.id != out.id:
            ends = [end for call_id, end in self.ended[-SETTLED:] if call_id == message.id]
            reason = ends[-1] if ends else "unknown"
            if reason == "late" and isinstance(message, CallResult):
                self.past.kept[:] = [kept for kept in self.past.kept if kept.id != message.id]
            self.settle(now, [(Stray, message.id, reason)])
        elif error is not None:
            self._over("duplicate", True, now)
            replies = [] if self.version != "ocpp2.1" else [error.reply]
            assert replies != [None]
            self.settle(now, [(Fault, None), (Failure, out.id, "invalid")], replies)
        else:
            if self.past.role == "station" and out.action == "BootNotification" and isinstance(message, CallResult):
                self.past.told.boots(message.payload["status"])
            discarded = self._over("duplicate", isinstance(message, CallResult), now)
            self.settle(now, [(Answer, out.id), *discarded])

    def _unreadable(self, frame: bytes, error: FrameError, now: float) -> None:
        out = self.outstanding
        kind = _KIND.match(frame)
        ours = out is not None and error.message_id == out.id and kind is not None and int(kind[1]) in (3, 4)
        silent = self.past.role == "station" and self._taken("X") == "silence"
        events: list[Any] = [(Fault, None)]
        replies = []
        if error.reply is not None and not silent and (ours or json.loads(error.reply)[0] == 4):
            replies.append(error.reply)
        if ours and out is not None:
            events += [(Failure, out.id, "invalid"), *self._over("duplicate", False, now)]
        self.settle(now, events, replies)

    def _called(self, call: Call, frame: bytes, error: PayloadError | None, now: float) -> None:
        verdict = self._taken(call.action)
        if error is not None and verdict in ("yes", "Rejected"):
            assert error.reply is not None
            self.settle(now, [(Fault, None)], [error.reply])
            return
        same = [others for one, others in self.inbox if one.id == call.id]
        given = None if error is not None else self._remembered(frame, now)
        if verdict == "silence":
            self.settle(now, [(Gated, call.id)])
        elif same:
            if error is None and frame in same:
                self.settle(now, [(Repeat, call.id)])
            else:
                code = "ProtocolError" if self.version == "ocpp1.6" else "RpcFrameworkError"
                self.settle(now, [], [(4, call.id, code)])
        elif given is not None:
            self.settle(now, [(Repeat, call.id)], [given])
        elif verdict == "SecurityError":
            self.settle(now, [(Gated, call.id)], [(4, call.id, "SecurityError")])
        elif len(self.inbox) > INBOX:
            self.settle(now, [], [(4, call.id, "InternalError")])
        else:
            repeats = frame in self.past.running
            if repeats:
                self.past.running[frame] = self
            self.inbox.append((call, frame))
            events = [(Repeat, call.id)] if repeats else []
            if len(self.inbox) > 1:
                self.settle(now, events)
            else:
                self._next_work(now, events, [])

    def _remembered(self, frame: bytes, now: float) -> bytes | None:
        """The answer this CALL must be, may be, or must not be answered with again."""
        given = self.past.given.get(frame)
        if given is None or now - given.at > SECONDS or (given.connection != self.number and not given.lasting):
            assert self.past.memory.find(hash(frame), now) is None, "the memory keeps what it should have forgotten"
            return None
        certain = now - given.at <= SECONDS / 2 and self.past.remembered - given.count <= SIZE // 2
        found = self.past.memory.find(hash(frame), now)
        assert found is not None or not certain, "the memory forgot too soon"
        assert found in (None, given.reply)
        return found

    def pass_time(self, now: float, until: float) -> float:
        """Lets the time pass to `until`, or to the next thing that is due. `deadline` must be right about it."""
        deadline = self.endpoint.deadline
        if deadline is not None and deadline <= until:
            if deadline > now:
                self._expire_in_vain((now + deadline) / 2)
            now = max(now, deadline)
            assert self._expire(now), "nothing happened at the deadline"
            return now
        self._expire_in_vain(until)
        return until

    def _expire_in_vain(self, now: float) -> None:
        assert not self._expire(now), "something happened before the deadline"

    def _expire(self, now: float) -> bool:
        """Whether something happened."""
        self.endpoint.expire(now)
        events: list[Any] = []
        out = self.outstanding
        if out is not None and out.deadline is not None and out.deadline <= now:
            events += [(Failure, out.id, "timeout"), *self._over("late", False, now)]
        before = len(self.out), self.endpoint.waiting
        self.settle(now, events)
        idle = self.outstanding is None and not self.lost and self._free()
        assert not idle or not self.past.kept or self.past.kept[0].due > now, "a message that is due was not sent"
        return bool(events) or before[0] != len(self.out) or self._pruned

    def lose(self, now: float) -> None:
        """The connection ends."""
        self.endpoint.lost()
        self.lost = True
        out, self.outstanding = self.outstanding, None
        events: list[Any] = []
        if out is not None:
            kept = self._kept(out.id)
            if kept is None:
                events.append((Failure, out.id, "lost"))
            else:
                kept.due, kept.losses = 0.0, kept.losses + 1
                if kept.losses <= LOSSES:
                    kept.transmissions -= 1
                elif kept.transmissions >= ATTEMPTS:
                    self.past.kept.remove(kept)
                    events.append((Discarded, kept.id, "attempts"))
        events += [(Failure, own.id, "lost") for own in self.queue]
        self.queue = []
        self._check(self.endpoint.events(), events)
        assert not self.endpoint.frames()
        for frame, side in self.past.running.items():
            if side is self:
                self.past.running[frame] = None
        if self.work is not None:
            self.past.running[self.inbox[0][1]] = None
        else:
            self.inbox = []
        assert self.endpoint.deadline is None

    # -- the book -----------------------------------------------------------------------------------------------------

    @property
    def version(self) -> str:
        return str(self.past.codec.version)

    def _taken(self, action: str) -> str:
        return taken(self.past.role, self.version, self.past.mode, self.past.told, action)

    def _sent(self, action: str) -> str:
        return sent(self.past.role, self.version, self.past.told, action)

    def _free(self) -> bool:
        """Whether transaction messages may be sent."""
        return self.past.role == "station" and self.past.told.status == "Accepted"

    def _kept(self, call_id: str) -> Kept | None:
        return next((kept for kept in self.past.kept if kept.id == call_id), None)

    def _is_out(self, call_id: str) -> bool:
        return self.outstanding is not None and self.outstanding.id == call_id

    def _over(self, later: str, taken_over: bool, now: float) -> list[Any]:
        """The outstanding own CALL has ended; what else is heard of it."""
        out, self.outstanding = self.outstanding, None
        assert out is not None
        self.ended.append((out.id, later))
        kept = self._kept(out.id)
        if kept is None:
            return []
        if taken_over:
            self.past.kept.remove(kept)
        elif kept.transmissions >= ATTEMPTS:
            self.past.kept.remove(kept)
            return [(Discarded, kept.id, "attempts")]
        else:
            kept.due = now + INTERVAL * kept.transmissions
        return []

    def settle(self, now: float, events: list[Any], replies: list[Any] | None = None) -> None:
        """Compares what came out with what had to. `replies`: frames, or (kind, id, code)."""
        heard = self.endpoint.events()
        # What was given up for room, or waited too long for its turn, may come with any order.
        self._pruned = False
        for event in list(heard):
            if isinstance(event, Discarded) and event.reason == "room":
                kept = self._kept(event.stored.id)
                assert kept is not None
                assert kept.dispensable
                assert not self._is_out(kept.id)
                self.past.kept.remove(kept)
                heard.remove(event)
            elif isinstance(event, Failure) and event.reason == "expired":
                own = next(own for own in self.queue if own.id == event.id)
                assert own.expires is not None
                assert own.expires <= now
                self.queue.remove(own)
                self.going.remove(own.id)
                heard.remove(event)
                self._pruned = True
        self._check(heard, events)
        calls, answers = [], []
        for frame in self.endpoint.frames():
            (calls if json.loads(frame)[0] == 2 else answers).append(frame)
            self.out.append(frame)
        wanted = replies or []
        assert len(answers) == len(wanted), f"{answers} were sent, {wanted} had to be"
        for answer, want in zip(answers, wanted, strict=True):
            assert answer == want if isinstance(want, bytes) else tuple(json.loads(answer)[:3]) == want
        for frame in calls:
            self._transmitted(json.loads(frame), now)
        if not self.lost and self.outstanding is None:
            assert not [own for own in self.queue if self._sent(own.action) == "now"], "an own CALL waits for nothing"

    def _transmitted(self, frame: list[Any], now: float) -> None:
        assert not self.lost
        assert self.outstanding is None, "two own CALLs are outstanding"
        _, call_id, action, _ = frame
        kept = self._kept(call_id)
        if kept is not None:
            assert kept is self.past.kept[0], "transaction messages are out of order"
            assert kept.due <= now, "a transaction message was sent again too soon"
            assert self._free(), "a transaction message passed the closed gate"
            kept.transmissions += 1
            assert kept.transmissions <= ATTEMPTS, "a transaction message was sent too often"
            self.outstanding = Own(call_id, action, TIMEOUT, None, now + TIMEOUT)
            return
        assert self._sent(action) == "now", f"{action} passed the closed gate"
        own = next(own for own in self.queue if self._sent(own.action) == "now")
        assert own.id == call_id, "own CALLs are out of order, or sent twice"
        assert own.expires is None or own.expires > now, "an own CALL was sent after it had expired"
        self.queue.remove(own)
        own.deadline = now + own.timeout
        self.outstanding = own

    def _check(self, heard: list[Event], expected: list[Any]) -> None:
        for event in heard:
            if isinstance(event, Request):
                assert self.work is None, "two CALLs are at work"
                self.work = event.call
            elif isinstance(event, (Answer, Failure)) and event.id in self.every:
                assert event.id in self.going, "an own CALL ended twice"
                self.going.remove(event.id)
        found = [_shape(event) for event in heard]
        assert sorted(map(str, found)) == sorted(map(str, expected)), f"{found} was heard, {expected} had to be"

    def check(self) -> None:
        """What holds at any time."""
        endpoint = self.endpoint
        own = (self.outstanding is not None) + len(self.queue)
        assert self.lost or endpoint.waiting == (len(self.inbox), own)
        assert len(self.inbox) <= INBOX + 1
        assert len(self.queue) <= QUEUE
        assert len(self.past.memory) <= SIZE
        assert len(self.past.running) == sum(self.past.memory.is_running(hash(frame)) for frame in self.past.running)
        if self.past.outbox is not None:
            assert [kept.id for kept in self.past.kept] == [stored.id for stored in self.past.outbox]
        if self.lost:
            assert not self.going, "an own CALL did not end with its connection"


def _shape(event: Event) -> tuple[Any, ...]:
    if isinstance(event, (Request, Repeat)):
        return type(event), event.call.id
    if isinstance(event, Notice):
        return Notice, event.send.id
    if isinstance(event, Gated):
        return Gated, event.message.id
    if isinstance(event, Answer):
        return Answer, event.id
    if isinstance(event, Failure):
        return Failure, event.id, event.reason
    if isinstance(event, Stray):
        return Stray, event.message.id, event.reason
    if isinstance(event, Discarded):
        return Discarded, event.stored.id, event.reason
    return Fault, None
