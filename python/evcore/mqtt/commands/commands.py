"""Commands from the broker's clients to stations, and their results.

Comes in: messages of the command topics, at QoS 1, acknowledged when the journal has them. Goes out: orders, and one
result for each command: on the station's result topic, and where the client asked for it. Refused, with a result that
says why: what is malformed, not allowed, too late, retained, or one too many.

At most once towards the station: a command is in the journal before it is acknowledged, its start is there before the
CALL is sent, its outcome and the messages that tell it are written in one go. A command that comes again gets the
result it had; one whose start is known and whose outcome is not, because the process ended in between, is answered
`unknown`; one that was not started is carried out after the restart, unless its time is over.

The commands of a station are carried out one after the other in the order they came, those of different stations at the
same time. Acknowledgements go in the order of the messages (MQTT 4.6) and wait for the journal only. Times are those of
the wall clock: an expiry means what this machine's clock says.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
import uuid
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any, Final, Protocol, TypeVar

from evcore.bus.orders import Orders, Outcome
from evcore.csms.payload import printable
from evcore.mqtt.commands.command import MAX_CORRELATION, Command, Malformed, key, parse, parse_call
from evcore.mqtt.commands.options import Allowed, CommandOptions, Replies
from evcore.mqtt.commands.results import Address, messages, refused, result
from evcore.mqtt.message import Message, Received
from evcore.mqtt.spool.errors import SpoolClosed, SpoolError
from evcore.mqtt.spool.seams import Inbox
from evcore.mqtt.topics import Topics
from evcore.net.handshake import identity_fault
from evcore.net.limits import Rate
from evcore.route import Router

__all__ = ["CommandCounts", "Commands", "Subscriber", "Writer"]

log = logging.getLogger("evcore.mqtt")

T = TypeVar("T")

#: Seconds between attempts to write to a journal that fails: doubled from the first to the last.
RETRY_FIRST: Final = 0.25
RETRY_MOST: Final = 10.0

#: Seconds between attempts to reach a station that may be about to come back.
AGAIN_SECONDS: Final = 0.5

#: Seconds between two lines about commands that were not carried out.
REPORT_SECONDS: Final = 10.0


class Subscriber(Protocol):
    """What is needed of `evcore.mqtt.broker.session.Session`."""

    def subscribe(self, filter: str, qos: int = 1) -> None: ...


class Writer(Inbox, Protocol):
    """What is needed of `evcore.mqtt.spool.Spool`."""

    def put(self, message: Message, *, qos_class: str, id: str) -> Awaitable[None]: ...


@dataclass(slots=True)
class CommandCounts:
    """`received`: messages. `repeated`: those with an id that came before. `unanswered`: those that got no answer,
    because of the bound on answers. `lost`: results the spool had no room for. `outcomes`: results by status;
    `refused`: by code.
    """

    received: int = 0
    repeated: int = 0
    unanswered: int = 0
    lost: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


class _Receipt:
    """A message to acknowledge in its turn."""

    __slots__ = ("message", "ready")

    def __init__(self, message: Received) -> None:
        self.message = message
        self.ready = False


@dataclass(slots=True, eq=False)
class _Job:
    """A command that is waited for. `journaled`: whether it is new to the journal. `fate`: what is to be said of it if
    this process ends now; None before its start is in the journal, and when it has its outcome.
    """

    command: Command
    journaled: asyncio.Future[bool]
    receipts: list[_Receipt] = field(default_factory=list)
    fate: Outcome | None = None


class Commands:
    """`session`: what is subscribed with; its messages are to be given to `received`. `clock`: Unix time."""

    def __init__(
        self,
        session: Subscriber,
        spool: Writer,
        orders: Orders,
        options: CommandOptions | None = None,
        topics: Topics | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.options = options = options or CommandOptions()
        self.counts = CommandCounts()
        self._session = session
        self._spool = spool
        self._orders = orders
        self._topics = topics = topics or Topics()
        self._clock = clock
        self._reading = options.reading
        self._allowed = Allowed(options.allow)
        self._replies = Replies(options.replies, topics)
        self._kinds = Router(captures=False)
        self._kinds.add(topics.command_filter, "command")
        if options.raw:
            self._kinds.add(topics.raw_call_filter, "call")
        self._rate = Rate(options.answers, options.answers_burst)
        self._full = 0.0
        self._settled = 0.0
        self._jobs: dict[str, _Job] = {}
        self._queues: dict[str, deque[_Job]] = {}
        self._receipts: deque[_Receipt] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._next_report = 0.0
        self._unreported = 0

    @property
    def waiting(self) -> int:
        """Commands that wait or are at work."""
        return len(self._jobs)

    @property
    def filters(self) -> tuple[str, ...]:
        """What is subscribed to."""
        return tuple(text for text, _ in self._kinds)

    async def start(self) -> None:
        """Takes up what a process before this one left, then subscribes; to be called before the session runs.

        Raises SpoolError when the journal cannot be read.
        """
        self._settled = monotonic() + self.options.reconnecting
        for left in await self._spool.unfinished():
            try:
                self._take_up(left.id, left.body, left.started)
            except (ValueError, KeyError, TypeError):
                log.error("a command in the spool cannot be read; it is not carried out")
                self._write(self._insist(partial(self._spool.finish, left.id, "")))
        for wanted in self.filters:
            self._session.subscribe(wanted, 1)

    async def stop(self, grace: float = 5.0) -> None:
        """Takes no more commands and gives those at work `grace` seconds; what is still at work then is answered
        `unknown`, what waits is carried out after the next start. The spool must be open.
        """
        self._stopping = True
        busy = [queue[0] for queue in self._queues.values()]
        for queue in self._queues.values():
            for job in list(queue)[1:]:
                queue.remove(job)
        if self._workers:
            await asyncio.wait(self._workers, timeout=grace)
        for task in self._workers:
            task.cancel()
        if self._workers:
            await asyncio.wait(self._workers)
        for job in busy:
            if job.fate is not None:
                with contextlib.suppress(SpoolError, TimeoutError):
                    async with asyncio.timeout(grace):
                        await self._finish(job.command, job.fate)
        if self._writers:
            await asyncio.wait(self._writers, timeout=grace)
        for task in self._writers:
            task.cancel()

    # -- from the broker ----------------------------------------------------------------------------------------------

    def received(self, message: Received) -> bool:
        """Takes a message of the command topics; False for any other. Does not raise."""
        topics, topic = self._topics, message.topic
        kind = next(iter(self._kinds.match(topic)), None)
        if kind is None:
            return False
        if self._stopping:
            # Not acknowledged: it comes again to the next process.
            return True
        self.counts.received += 1
        receipt = _Receipt(message)
        if message.qos:
            self._receipts.append(receipt)
        station = topics.command_station(topic) if kind == "command" else topics.raw_call_station(topic)
        if station is None or identity_fault(station) is not None:
            self._report("a command came on a topic that names no station")
            self._leave(receipt)
            return True
        self._take(message, station, kind == "call", receipt)
        return True

    def _take(self, message: Received, station: str, raw: bool, receipt: _Receipt) -> None:
        correlation = message.correlation
        if correlation is not None and len(correlation) > MAX_CORRELATION:
            correlation = None
        now = self._clock()
        try:
            if raw:
                command = parse_call(
                    message.payload, station, self._reading, now, expiry=message.expiry, correlation=message.correlation
                )
            else:
                command = parse(
                    message.payload,
                    station,
                    self._reading,
                    now,
                    expiry=message.expiry,
                    reply=message.response_topic,
                    correlation=message.correlation,
                )
        except Malformed as error:
            address = Address(station=station, correlation=correlation, raw=raw)
            self._refuse(receipt, address, error.id, error.action, refused("malformed", str(error)))
            return
        job = self._jobs.get(command.key)
        if job is not None:
            # Its result will go out, or is on its way.
            self.counts.repeated += 1
            if job.journaled.done():
                self._acknowledge(receipt)
            else:
                job.receipts.append(receipt)
            return
        address, outcome = self._judge(message, command, now)
        if outcome is not None:
            self._refuse(receipt, address, command.id, command.action, outcome)
            return
        job = _Job(command, asyncio.get_running_loop().create_future(), [receipt])
        self._jobs[command.key] = job
        self._enqueue(job)
        self._write(self._journal(job, message.topic))

    def _judge(self, message: Received, command: Command, now: float) -> tuple[Address, Outcome | None]:
        """Where the result goes, and why the command is not carried out."""
        fault = None
        if command.reply is not None and command.reply != self._topics.result(command.station):
            fault = self._replies.fault(command.reply)
        address = Address.of(command) if fault is None else Address.of(command, reply=None)
        if message.retain:
            return address, refused("retained", "a retained command would be carried out again and again")
        if not self._allowed.permits(command.station, command.action):
            return address, refused("not-allowed", "this command is not allowed here")
        if fault is not None:
            return address, refused("not-allowed", fault)
        if command.expires <= now:
            return address, refused("too-late", "the command's time was over when it came")
        queue = self._queues.get(command.station)
        if queue is not None and len(queue) >= self.options.station_queue:
            return address, refused("busy", f"{len(queue)} commands for this station are waiting already")
        if len(self._jobs) >= self.options.queue:
            return address, refused("busy", f"{len(self._jobs)} commands are waiting already")
        return address, None

    # -- not carried out ----------------------------------------------------------------------------------------------

    def _refuse(
        self, receipt: _Receipt, address: Address, id: str | None, action: str | None, outcome: Outcome
    ) -> None:
        self._report(f"a command for {printable(address.station, 64)} was refused: {outcome.message}")
        if not self._may_answer():
            self._leave(receipt)
            return
        self._write(self._answer_refused(receipt, address, id, action, outcome))

    async def _answer_refused(
        self, receipt: _Receipt, address: Address, id: str | None, action: str | None, outcome: Outcome
    ) -> None:
        text = json.dumps(result(address.station, id, action, outcome, self._clock()))
        if id is None:
            await self._publish(text, address)
            self._count(outcome)
        else:
            name = key(id, address.station, raw=address.raw)
            body = json.dumps({"refused": text, "reply": address.reply, "correlation": _hex(address.correlation)})
            state = await self._insist(partial(self._spool.journal, name, receipt.message.topic, body.encode()))
            if state == "new":
                await self._settle(name, text, address)
                self._count(outcome)
            else:
                await self._repeat(name, address)
        self._acknowledge(receipt)

    async def _repeat(self, name: str, address: Address) -> None:
        """An id came again: its result too, if there is one by now."""
        self.counts.repeated += 1
        text = await self._insist(partial(self._spool.outcome, name))
        if text:
            await self._publish(text, address)

    def _may_answer(self) -> bool:
        if not self._rate.step:
            return True
        full = self._rate.take(self._full, monotonic())
        self._full = self._full if full is None else full
        return full is not None

    def _leave(self, receipt: _Receipt) -> None:
        self.counts.unanswered += 1
        self._acknowledge(receipt)

    def _report(self, sentence: str) -> None:
        now = monotonic()
        if now < self._next_report:
            self._unreported += 1
            return
        more = f" (and {self._unreported} more not reported)" if self._unreported else ""
        log.warning("%s%s", sentence, more)
        self._next_report, self._unreported = now + REPORT_SECONDS, 0

    # -- carried out --------------------------------------------------------------------------------------------------

    async def _journal(self, job: _Job, topic: str) -> None:
        command = job.command
        name, body = command.key, command.write()
        state = await self._insist(partial(self._spool.journal, name, topic, body))
        job.journaled.set_result(state == "new")
        if state == "known":
            if self._may_answer():
                await self._repeat(name, Address.of(command))
            else:
                self.counts.unanswered += 1
        for receipt in job.receipts:
            self._acknowledge(receipt)

    def _enqueue(self, job: _Job) -> None:
        station = job.command.station
        queue = self._queues.get(station)
        if queue is not None:
            queue.append(job)
            return
        self._queues[station] = deque((job,))
        task = asyncio.get_running_loop().create_task(self._work(station))
        self._workers.add(task)
        task.add_done_callback(self._workers.discard)

    async def _work(self, station: str) -> None:
        """The commands of one station, until there is none left."""
        queue = self._queues[station]
        while queue:
            job = queue[0]
            try:
                await self._process(job)
            except SpoolClosed:
                log.error("%s: a command's result could not be stored: the spool is closed", printable(station, 64))
            except Exception:
                log.exception("%s: a command failed", printable(station, 64))
            finally:
                queue.popleft()
                self._jobs.pop(job.command.key, None)
        del self._queues[station]

    async def _process(self, job: _Job) -> None:
        # Shielded: a worker that is cancelled must not cancel what the journal's answer goes to.
        if not await asyncio.shield(job.journaled):
            return
        command = job.command
        if command.expires > self._clock():
            await self._insist(partial(self._spool.started, command.key))
            outcome = await self._carry_out(job)
        else:
            outcome = Outcome(status="expired", message="its time was over before it could be sent")
        await self._finish(command, outcome)

    async def _carry_out(self, job: _Job) -> Outcome:
        """The outcome of a command whose start is in the journal. A station that is not here is waited for as long as
        all have to come back.
        """
        order = job.command.order
        while True:
            job.fate = _STOPPED
            try:
                outcome = await self._orders.carry_out(order)
            except Exception:
                log.exception("%s: %s failed", printable(order.station, 64), order.action)
                outcome = Outcome(status="unknown", message="the server failed at it")
            if outcome.code not in _AWAY or monotonic() >= self._settled or job.command.expires <= self._clock():
                job.fate = None
                return outcome
            # It was not sent: it may be tried again, and that is what is said of it if there is no time to.
            job.fate = outcome
            await asyncio.sleep(AGAIN_SECONDS)

    async def _finish(self, command: Command, outcome: Outcome) -> None:
        text = json.dumps(result(command.station, command.id, command.action, outcome, self._clock()))
        if len(text) > self.options.result_bytes:
            short = Outcome(
                status=outcome.status,
                code=outcome.code,
                message=f"the station's answer makes a result of {len(text)} bytes and is left out",
            )
            text = json.dumps(result(command.station, command.id, command.action, short, self._clock()))
        told = outcome.code != "unknown-station" or self._may_answer()
        await self._settle(command.key, text, Address.of(command), told=told)
        self._count(outcome)

    # -- after a restart ----------------------------------------------------------------------------------------------

    def _take_up(self, name: str, body: bytes, started: bool) -> None:
        """A command in the journal that has no outcome. Raises ValueError, KeyError or TypeError for a body that is not
        ours.
        """
        values = json.loads(body)
        if "refused" in values:
            told = json.loads(values["refused"])
            correlation = values["correlation"]
            address = Address(
                station=told["station"],
                reply=values["reply"],
                correlation=None if correlation is None else bytes.fromhex(correlation),
                raw=name.startswith("call "),
            )
            self._write(self._settle(name, values["refused"], address))
            return
        command = Command.read(body)
        if started:
            message = "the server ended before the answer came; it may have been carried out"
            self._write(self._finish(command, Outcome(status="unknown", message=message)))
        elif not self._allowed.permits(command.station, command.action):
            self._write(self._finish(command, refused("not-allowed", "this command is not allowed here any more")))
        else:
            journaled = asyncio.get_running_loop().create_future()
            journaled.set_result(True)
            self._jobs[name] = job = _Job(command, journaled)
            self._enqueue(job)

    # -- to the spool -------------------------------------------------------------------------------------------------

    def _write(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.get_running_loop().create_task(_logged(work))
        self._writers.add(task)
        task.add_done_callback(self._writers.discard)

    async def _insist(self, write: Callable[[], Awaitable[T]]) -> T:
        """Tries again as long as the spool cannot take it. Raises SpoolClosed."""
        wait = RETRY_FIRST
        while True:
            try:
                return await write()
            except SpoolClosed:
                raise
            except SpoolError as error:
                self._report(f"a command waits for the spool: {error}")
            await asyncio.sleep(wait)
            wait = min(2 * wait, RETRY_MOST)

    async def _settle(self, name: str, text: str, address: Address, *, told: bool = True) -> None:
        """The outcome and the messages that tell it, in one transaction."""
        told_by = messages(text, address, self._topics, self.options.qos) if told else []
        self.counts.unanswered += not told
        if not await self._insist(partial(self._spool.finish, name, text, told_by)):
            self.counts.lost += 1

    async def _publish(self, text: str, address: Address) -> None:
        for message in messages(text, address, self._topics, self.options.qos):
            await self._insist(partial(self._spool.put, message, qos_class="command", id=uuid.uuid4().hex))

    def _count(self, outcome: Outcome) -> None:
        self.counts.outcomes[outcome.status] += 1
        if outcome.status == "refused" and outcome.code is not None:
            self.counts.refused[outcome.code] += 1

    def _acknowledge(self, receipt: _Receipt) -> None:
        receipt.ready = True
        receipts = self._receipts
        while receipts and receipts[0].ready:
            receipts.popleft().message.ack()


#: Codes of stations that may be about to come back.
_AWAY: Final = ("offline", "unknown-station")
_STOPPED: Final = Outcome(status="unknown", message="the server was stopped before the answer came")


def _hex(data: bytes | None) -> str | None:
    return None if data is None else data.hex()


async def _logged(work: Coroutine[Any, Any, object]) -> None:
    try:
        await work
    except SpoolClosed:
        log.error("a command could not be stored: the spool is closed")
    except Exception:
        log.exception("a command failed")
