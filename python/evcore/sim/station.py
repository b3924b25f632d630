"""A simulated station: its line to the CSMS, its clock, its boot, its queue of transaction messages.

In: frames of the CSMS, timers, the engine's word on the connection. Out: CALLs and answers of one version (through its
dialect), counters. What happens at its connectors is in `visit`, what the CSMS may order in `orders_v16` and
`orders_v2`.

Its life is one sequence: while it waits for an answer or for a connection, its clock stands and its timers wait, and
goes on where it stood. So the messages of a station depend on its seed alone, not on how fast the CSMS answers; only
orders of the CSMS, lost connections and refusals change them.
"""

from __future__ import annotations

import logging
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from evcore import Codec
from evcore.endpoint import Answer, Boot, Endpoint, EndpointError, Failure, Fault, Memory, Request, Stray
from evcore.errors import PayloadError
from evcore.message import Call, CallError, CallResult
from evcore.net.engine import Wire
from evcore.sim import visit
from evcore.sim.connector import Charge, Connector
from evcore.sim.profiles import Charging, Profile, Profiles, Supply
from evcore.sim.quirks import QUIRKS, Quirk, misbehaving
from evcore.sim.rng import Rng
from evcore.sim.settings import Settings
from evcore.sim.strand import Strand
from evcore.sim.timers import Entry

if TYPE_CHECKING:
    from evcore.sim.dialect import Dialect
    from evcore.sim.fleet import Fleet
    from evcore.sim.scenario import Model

__all__ = ["Order", "Station"]

log = logging.getLogger("evcore.sim")

#: What an order of the CSMS is answered with: a CALLRESULT's payload.
Order = Callable[["Station", Any], Mapping[str, Any]]

#: Seconds until a station asks again whose BootNotification was declined without an interval, or not answered.
_BOOT_AGAIN: Final = 60.0


_Again: TypeAlias = "tuple[Callable[..., Any], tuple[Any, ...]]"

#: CALLs that may wait for their answers when another one is sent without waiting.
_WITHOUT_WAITING: Final = 2


class _Stored:
    """A transaction message that waits. `make(*arguments)` is its payload, made when it is sent: by then the CSMS may
    have given the transaction its id. `then` gets the answer. `id`: of the transmission before, which is kept.
    """

    __slots__ = ("action", "arguments", "due", "id", "make", "then", "transmissions")

    def __init__(
        self,
        action: str,
        make: Callable[..., Any],
        arguments: tuple[Any, ...],
        then: Callable[[CallResult], None] | None,
        due: float,
        id: str | None,
    ) -> None:
        self.action = action
        self.make = make
        self.arguments = arguments
        self.then = then
        self.due = due
        self.transmissions = 0
        self.id = id


class Station:
    """One station of a fleet. Implements `evcore.net.engine.Sink` for its connections, one at a time."""

    __slots__ = (
        "_again", "_backlog", "_beating", "_booting", "_counter", "_draining", "_memory", "_pending", "_quiet",
        "boot", "boot_reason", "busy", "connectors", "dialect", "endpoint", "epoch", "failed", "failure", "firmware",
        "fleet", "heartbeat_interval", "identity", "jobs", "leaving", "list_version", "local_list", "measurands",
        "model", "net", "now", "number", "outbox", "profiles", "quirks", "rng", "running", "sample_interval",
        "settings", "supply", "tries", "visits", "was_accepted", "wire",
    )  # fmt: skip

    def __init__(
        self,
        fleet: Fleet,
        identity: str,
        dialect: Dialect,
        model: Model,
        quirks: tuple[str, ...],
        seed: int,
        number: int,
    ) -> None:
        self.fleet = fleet
        self.number = number
        self.identity = identity
        self.dialect = dialect
        self.model = model
        self.rng = Rng(seed, f"{identity}/life")
        # The line has numbers of its own, so that a lost connection does not change the cars that come.
        self.net = Rng(seed, f"{identity}/line")
        self.quirks: tuple[Quirk, ...] = tuple(QUIRKS[number] for number in quirks)
        self.supply = (
            Supply(1000 * model.power, 0, model.voltage)
            if model.current == "DC"
            else Supply(1000 * model.power, model.phases, 230.0)
        )
        self.settings = Settings()
        self.connectors = tuple(
            Connector(number + 1, float(self.rng.below(9_000_000))) for number in range(model.connectors)
        )
        self.firmware = model.firmware
        self.heartbeat_interval = model.heartbeat_interval
        if model.sample_interval != 60:
            self.settings.put("MeterValueSampleInterval", str(round(model.sample_interval)))
        self._read_sampling()
        if model.connectors != 1:
            self.settings.put("NumberOfConnectors", str(model.connectors))
        self.profiles: Profiles | None = None
        self.local_list: dict[str, str] | None = None
        self.list_version = 0
        self.jobs: dict[str, Strand] | None = None
        self.visits = 0
        self.leaving = False
        # The clock and what runs by it.
        self.now = 0.0
        self.epoch = 0
        self.busy = 0
        self.running: Strand | None = None
        self._backlog: list[Entry] | None = None
        # The line.
        self.wire: Wire | None = None
        self.endpoint: Endpoint | None = None
        self.boot = Boot()
        self.boot_reason = "PowerUp"
        """A 2.x BootReason."""
        self.was_accepted = False
        self.tries = 0
        self.failure: str | None = None
        """Why the last CALL got no result: an error code, or `offline`, `timeout`, `lost`, `invalid`."""
        self.failed: str | None = None
        """The id of that CALL."""
        self.outbox: deque[_Stored] | None = None
        self._memory: Memory | None = None
        self._pending: dict[str, tuple[Strand | None, str, float, _Again | None]] = {}
        self._counter = 0
        self._quiet: Strand | None = None
        self._again: str | None = None
        self._booting: Strand | None = None
        self._draining: Strand | None = None
        self._beating = -1

    def __str__(self) -> str:
        return self.identity

    def say(self, sentence: str, *values: object) -> None:
        """A line for people, where somebody listens."""
        say = self.fleet.say
        if say is not None:
            say(f"{self.fleet.clock.text(self.now)[11:19]} {self.identity} {sentence.format(*values)}")

    def has(self, number: str) -> bool:
        """Whether it has this quirk."""
        return any(quirk.number == number for quirk in self.quirks)

    @property
    def online(self) -> bool:
        """Whether it may send what it likes."""
        return self.wire is not None and self.boot.status == "accepted"

    def time(self) -> str:
        return self.fleet.clock.text(self.now)

    # -- the clock ----------------------------------------------------------------------------------------------------

    def push(self, after: float, target: Callable[[Station], None]) -> None:
        """`target(self)` after so many seconds, unless the station restarts in the meantime."""
        self.fleet.timers.push(self.now + after, self, target, self.epoch)

    def spawn(self, coroutine: Coroutine[None, Any, None]) -> Strand:
        """Runs a coroutine as a strand, from the next look at the timers on."""
        strand = Strand(coroutine, self.now)
        self.fleet.timers.push(self.now, self, strand, strand.token)
        return strand

    def wake(self, strand: Strand | None) -> None:
        """Ends the pause of a strand that sleeps; one that waits for an answer looks for itself afterwards."""
        if strand is not None and not strand.over:
            self.fleet.timers.push(self.now, self, strand, strand.token)

    @types.coroutine
    def sleep(self, seconds: float) -> Generator[None, Any, float]:
        """Lets simulated time pass; returns how much did, less than `seconds` where the strand was woken."""
        strand = self.running
        assert strand is not None
        strand.began = self.now
        self.fleet.timers.push(self.now + max(0.0, seconds), self, strand, strand.token)
        elapsed: float = yield
        return elapsed

    def ring(self, entry: Entry) -> None:
        if self.busy:
            if self._backlog is None:
                self._backlog = []
            self._backlog.append(entry)
            return
        at, _, _, target, token = entry
        if type(target) is Strand:
            if target.token == token and target.coroutine is not None:
                self.now = max(self.now, at)
                self._resume(target, self.now - target.began)
        elif token == self.epoch:
            self.now = max(self.now, at)
            self._guard(target)

    def _guard(self, target: Callable[[Station], None]) -> None:
        try:
            target(self)
        except Exception:
            log.exception("%s: the simulation failed", self)
            self.fleet.tally.broken += 1

    def _resume(self, strand: Strand, value: Any) -> None:
        before, self.running = self.running, strand
        try:
            strand.resume(value)
        except Exception:
            log.exception("%s: the simulation failed", self)
            self.fleet.tally.broken += 1
        finally:
            self.running = before

    def release(self) -> None:
        """What it waited for is there: the clock goes on."""
        self.busy -= 1
        if not self.busy and self._backlog:
            backlog, self._backlog = self._backlog, None
            self.fleet.timers.restore(backlog)

    def _catch_up(self) -> None:
        """Something came from outside: the clock shows what it shows elsewhere."""
        if not self.busy:
            self.now = max(self.now, self.fleet.timers.now())

    # -- the line -----------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Tries to connect; until it is clear whether it worked, time stands."""
        if self.wire is not None:
            return
        self.busy += 1
        self.fleet.connect(self)

    def opened(self, wire: Wire) -> None:
        tally = self.fleet.tally
        tally.connected += 1
        tally.connects += 1
        if self.was_accepted:
            tally.reconnects += 1
        if self._memory is None:
            self._memory = Memory()
        self._memory.reconnected()
        self.wire = wire
        self.tries = 0
        codec: Codec = self.fleet.codecs[self.dialect.version]
        if self.quirks:
            codec = misbehaving(self.dialect.subprotocol, tuple(quirk.number for quirk in self.quirks))
        self.endpoint = Endpoint(
            codec,
            role="station",
            memory=self._memory,
            boot=self.boot,
            call_timeout=self.fleet.scenario.network.message_timeout,
            new_id=self._new_id,
        )
        self.say("is connected to {}, {}", self.fleet.url, self.dialect.subprotocol)
        self.push(0.0, Station._online)
        self.release()

    def refused(self, reason: str) -> None:
        """The connection did not come about."""
        self.fleet.tally.connect_failures += 1
        self.say("is not connected: {}", reason)
        network = self.fleet.scenario.network
        wait = network.backoff_minimum * 2 ** min(self.tries, network.backoff_repeats)
        self.tries += 1
        self.push(wait + network.backoff_random * self.net.random(), Station.connect)
        self.release()

    def heard(self) -> None:
        """Liveness is the CSMS's business here: the line is simulated by whoever drops it."""

    def closed(self) -> None:
        wanted = self.wire is None
        self.fleet.tally.connected -= 1
        if not wanted:
            # A transaction message is sent again; whether it arrives is counted there.
            self.fleet.tally.lost += sum(
                action not in self.dialect.stored for _, action, _, _ in self._pending.values()
            )
        self.wire = None
        if self.endpoint is not None:
            self.endpoint.lost()
            self._work()
            self.endpoint = None
        for strand in (self._booting, self._draining):
            if strand is not None and strand is not self.running:
                strand.end()
        self._booting = self._draining = None
        if wanted:
            self.release()
        else:
            self._catch_up()
            self.fleet.tally.lost_connections += 1
            self.say("has lost its connection")
            if self.fleet.lost(self):
                network = self.fleet.scenario.network
                self.push(network.backoff_minimum + network.backoff_random * self.net.random(), Station.connect)

    def drop(self, *, rudely: bool) -> None:
        """Ends the connection; time stands until it is gone."""
        wire, self.wire = self.wire, None
        if wire is None:
            return
        self.busy += 1
        self.fleet.tally.drops += 1
        if rudely:
            wire.abort()
        else:
            wire.close(1000)

    async def go_offline(self, seconds: float) -> None:
        """The line is dead for so long."""
        await self.quiet()
        if self.wire is not None:
            self.say("is offline for {:.0f} s", seconds)
            self.drop(rudely=True)
            self.push(seconds, Station.connect)

    def leave(self) -> None:
        """For good."""
        self.leaving = True
        self.epoch += 1
        self.drop(rudely=False)
        self.fleet.left(self)

    def restart(self, reason: str, seconds: float) -> None:
        """Goes down and comes up again after so many seconds: connection, profiles of transactions and all that was
        under way are gone, what is stored stays.
        """
        self.epoch += 1
        for connector in self.connectors:
            visit.abandon(self, connector)
        self.drop(rudely=False)
        if not (self.has("Q92") and self.was_accepted):
            self.boot = Boot()
        self.say("restarts")
        self.boot_reason = reason
        self.push(seconds, Station.connect)

    def settle(self) -> None:
        """The simulation is over for it: what is under way is left as it stands, what it owes the CSMS is delivered."""
        self.epoch += 1
        if self._booting is not None:
            self._booting.end()
        if self.outbox and self.was_accepted and self.wire is None:
            self.push(0.0, Station.connect)

    @property
    def owes(self) -> bool:
        """Whether it waits for an answer, or has something to deliver and may hope to."""
        return bool(self._pending) or (bool(self.outbox) and self.was_accepted)

    def _online(self) -> None:
        if self.wire is None:
            return
        if self.boot.status == "accepted":
            self.spawn(self._resync())
        else:
            self._booting = self.spawn(self._boot())

    async def _boot(self) -> None:
        """BootNotification until it is accepted (1.6 section 4.2, 2.x B01 to B03)."""
        while True:
            answer = await self.call("BootNotification", self.dialect.boot(self))
            if self.wire is None:
                return
            if answer is None:
                await self.sleep(_BOOT_AGAIN)
                continue
            status, interval = answer.payload["status"], answer.payload["interval"]
            self.say("boot: {}, interval {} s", status, interval)
            if status == "Accepted":
                break
            await self.sleep(interval if interval > 0 else _BOOT_AGAIN)
        self.accepted(interval)
        await self._resync()

    def accepted(self, interval: int) -> None:
        """The CSMS has accepted it, and said how often it wants a heartbeat."""
        if interval > 0:
            self.heartbeat_interval = float(interval)
            if interval != 300:
                self.settings.put("HeartbeatInterval", str(interval))
        if not self.was_accepted:
            self.was_accepted = True
            self.fleet.tally.booted += 1
        self._booting = None

    def pull_boot(self, *, again: bool) -> None:
        """A trigger: boots now, also before the interval is over. `again`: although it is accepted."""
        if self._booting is not None:
            self.wake(self._booting)
        elif again:
            self.boot_reason = "Triggered"
            self._booting = self.spawn(self._boot())

    async def _resync(self) -> None:
        """What a CSMS that has just accepted it or lost sight of it must know; then life begins or goes on."""
        self.drain()
        if self.fleet.ending:
            return
        for connector in self.connectors:
            await self.dialect.report(self, connector)
        if self._beating != self.epoch:
            self._beating = self.epoch
            self.push(self.beat_interval, Station._beat)
            visit.begin(self)

    @property
    def beat_interval(self) -> float:
        """In seconds; 0 would be a heartbeat without a pause, which nobody means."""
        return max(1.0, self.heartbeat_interval)

    def _beat(self) -> None:
        if self.online:
            self.tell("Heartbeat", {})
        self.push(self.beat_interval, Station._beat)

    # -- CALLs --------------------------------------------------------------------------------------------------------

    def _new_id(self) -> str:
        if self._again is not None:
            return self._again
        self._counter += 1
        if self.quirks and self.has("Q21"):
            return f"{self.fleet.run_number % 10**10:010}{self._counter:010}"
        return f"{self.fleet.run_number:x}-{self._counter:x}"

    @types.coroutine
    def call(
        self, action: str, payload: Mapping[str, Any], number: str | None = None
    ) -> Generator[None, Any, CallResult | None]:
        """A CALL of the strand at work, and its CALLRESULT; None where there was none, then `failure` says why."""
        self.failure = None
        if not self._order(action, payload, self.running, None, number):
            return None
        self.busy += 1
        answer: CallResult | None = yield
        return answer

    @types.coroutine
    def quiet(self) -> Generator[None, Any, None]:
        """Lets no time pass until all CALLs on their way are answered: what is done on purpose cuts none off."""
        if self._pending and self._quiet is None:
            self._quiet = self.running
            self.busy += 1
            yield

    def _is_quiet(self) -> None:
        strand = self._quiet
        if strand is not None and not self._pending:
            self._quiet = None
            self._resume(strand, None)
            self.release()

    def tell(self, action: str, payload: Mapping[str, Any]) -> None:
        """A CALL whose answer nobody waits for."""
        self._order(action, payload, None)

    def _order(
        self,
        action: str,
        payload: Any,
        strand: Strand | None,
        again: _Again | None = None,
        number: str | None = None,
    ) -> bool:
        """Sends a CALL. `again`: what makes it again, for a transaction message that must not get lost. `number`: the
        id it was sent with before, by which a CSMS knows a repetition.
        """
        endpoint = self.endpoint
        if endpoint is None or self.wire is None:
            self.failure = "offline"
            return False
        self.fleet.tally.calls += 1
        now = self.fleet.time()
        try:
            self._again = number
            call_id = endpoint.call(action, payload, now)
        except EndpointError as error:
            log.warning("%s: %s is not sent: %s", self, action, error)
            self.failure = "refused"
            return False
        except PayloadError:
            log.exception("%s: %s breaks its schema", self, action)
            self.fleet.tally.broken += 1
            self.failure = "refused"
            return False
        self._pending[call_id] = strand, action, now, again
        self._flush()
        return True

    async def deliver(
        self,
        action: str,
        make: Callable[..., Mapping[str, Any]],
        *arguments: Any,
        then: Callable[[CallResult], None] | None = None,
    ) -> None:
        """A transaction message (1.6 section 3.7, 2.x E04): sent now, or kept until the CSMS has answered it. Its
        payload is `make(*arguments)`, `then` gets the answer.
        """
        transmissions, sent = 0, None
        if not self.outbox and self.online:
            answer = await self.call(action, make(*arguments))
            if answer is not None:
                if then is not None:
                    then(answer)
                return
            transmissions, sent = 1, self.failed
        self._store(_Stored(action, make, arguments, then, self.now, sent), transmissions)

    def post(self, action: str, make: Callable[..., Any], arguments: tuple[Any, ...]) -> bool:
        """As `deliver`, for a message whose answer changes nothing: time goes on before it. False where it has to be
        delivered instead, because the station is offline or others wait for their answers.
        """
        if self.outbox or len(self._pending) > _WITHOUT_WAITING or not self.online:
            return False
        return self._order(action, make(*arguments), None, (make, arguments))

    def _store(self, stored: _Stored, transmissions: int) -> None:
        """Keeps a message after so many transmissions, unless they were all it gets."""
        stored.transmissions = transmissions
        if transmissions and not self._retry(stored):
            self.fleet.tally.discarded += 1
            return
        outbox = self.outbox
        if outbox is None:
            outbox = self.outbox = deque()
        if len(outbox) >= self.fleet.scenario.network.queue:
            self._make_room(outbox)
        outbox.append(stored)
        self.fleet.tally.queued += 1
        self.drain()

    def _retry(self, stored: _Stored) -> bool:
        """A transmission failed; whether there is another one, after interval × transmissions."""
        if self.failure in ("lost", "offline"):
            stored.transmissions -= 1
            return True
        network = self.fleet.scenario.network
        stored.due = self.now + network.message_retry * stored.transmissions
        return stored.transmissions < network.message_attempts

    def _make_room(self, outbox: deque[_Stored]) -> None:
        """Gives up the oldest message a bill can do without."""
        for stored in outbox:
            if self.dialect.dispensable(stored.action, stored.arguments):
                outbox.remove(stored)
                break
        else:
            outbox.popleft()
        self.fleet.tally.queued -= 1
        self.fleet.tally.discarded += 1

    def drain(self) -> None:
        """Sends what waits, where it can."""
        if self.outbox and self.online and (self._draining is None or self._draining.over):
            self._draining = self.spawn(self._drain())

    async def _drain(self) -> None:
        outbox = self.outbox
        while outbox and self.online:
            stored = outbox[0]
            if stored.due > self.now:
                await self.sleep(stored.due - self.now)
                continue
            stored.transmissions += 1
            answer = await self.call(stored.action, stored.make(*stored.arguments), stored.id)
            if answer is None:
                stored.id = self.failed
                if self._retry(stored):
                    continue
            outbox.popleft()
            self.fleet.tally.queued -= 1
            if answer is None:
                self.fleet.tally.discarded += 1
            elif stored.then is not None:
                stored.then(answer)
        self._draining = None

    # -- frames -------------------------------------------------------------------------------------------------------

    def frame(self, frame: bytes) -> None:
        endpoint = self.endpoint
        self.fleet.tally.received += 1
        if endpoint is None or self.wire is None:
            return
        if (
            self.quirks
            and self.has("Q95")
            and any(name in frame[:80] for name in (b"GetConfiguration", b"GetVariables"))
        ):
            return
        endpoint.receive(frame, self.fleet.time())
        self._work()

    def tick(self, now: float) -> None:
        """Looks after deadlines; once a second, in real time."""
        endpoint = self.endpoint
        if endpoint is not None:
            deadline = endpoint.deadline
            if deadline is not None and deadline <= now:
                endpoint.expire(now)
                self._work()

    def _work(self) -> None:
        endpoint, tally = self.endpoint, self.fleet.tally
        while endpoint is not None and (events := endpoint.events()):
            for event in events:
                if type(event) is Answer:
                    self._answered(event)
                elif isinstance(event, Request):
                    self._obey(event.call)
                elif isinstance(event, Failure):
                    self._failed(event)
                elif isinstance(event, Fault):
                    tally.faults += 1
                    log.info("%s: a message that cannot be accepted: %s", self, event.error)
                elif isinstance(event, Stray):
                    tally.strays += 1
        self._flush()

    def _answered(self, event: Answer) -> None:
        tally, result = self.fleet.tally, event.result
        strand, action, sent, again = self._pending.pop(event.id)
        tally.answer(action, self.fleet.time() - sent)
        answer: CallResult | None = None
        if isinstance(result, CallError):
            self.failure, self.failed = result.code, event.id
            if any(action in quirk.refused for quirk in self.quirks):
                tally.refused_as_expected += 1
            else:
                tally.refused += 1
                tally.codes[f"{action} {result.code}"] += 1
                self.say("got no result to {}: {} {}", action, result.code, result.description)
            if again is not None:
                self._store(_Stored(action, *again, None, self.now, event.id), 1)
        else:
            answer = result
        if strand is not None:
            self._resume(strand, answer)
            self.release()
        self._is_quiet()

    def _failed(self, event: Failure) -> None:
        tally = self.fleet.tally
        strand, action, _, again = self._pending.pop(event.id)
        self.failure, self.failed = event.reason, event.id
        if event.reason == "timeout":
            tally.timeouts += 1
        elif event.reason == "invalid":
            tally.invalid += 1
            log.warning("%s: the answer to %s cannot be accepted: %s", self, action, event.error)
        if again is not None:
            self._store(_Stored(action, *again, None, self.now, event.id), 1)
        if event.reason != "lost":
            self.say("got no answer to {}: {}", action, event.reason)
        if strand is not None:
            self._resume(strand, None)
            self.release()
        self._is_quiet()

    def _obey(self, call: Call) -> None:
        endpoint = self.endpoint
        assert endpoint is not None
        tally = self.fleet.tally
        tally.orders += 1
        self._catch_up()
        order = self.dialect.orders.get(call.action)
        code: Literal["NotSupported", "InternalError"] = "NotSupported"
        if order is not None:
            try:
                endpoint.answer(call, order(self, call.payload), self.fleet.time())
            except Exception:
                log.exception("%s: %s cannot be obeyed", self, call.action)
                tally.broken += 1
                code = "InternalError"
            else:
                return
        endpoint.refuse(call, code, "this action is not supported here" if order is None else "")

    def _flush(self) -> None:
        endpoint, wire = self.endpoint, self.wire
        if endpoint is None or wire is None:
            return
        tally = self.fleet.tally
        for frame in endpoint.frames():
            wire.send(frame)
            tally.sent += 1
            if self.quirks:
                self._besides(frame, wire)

    def _besides(self, frame: bytes, wire: Wire) -> None:
        """What stations with quirks send after a frame."""
        is_result = frame.startswith(b"[3,")
        for quirk in self.quirks:
            if quirk.twice and quirk.result == is_result and not frame.startswith(b"[4,"):
                wire.send(frame)
            if quirk.beside and not is_result and any(b'"%s"' % name.encode() in frame[:80] for name in quirk.actions):
                for message in quirk.beside:
                    wire.send(message)

    # -- what profiles allow ------------------------------------------------------------------------------------------

    def charging(self, charge: Charge | None) -> Charging | None:
        if charge is None:
            return None
        return Charging(self.dialect.transaction_id(charge), self.fleet.clock.unix(charge.since))

    def limit(self, connector: Connector) -> float:
        """W the connector may give now."""
        if self.profiles is None:
            return self.supply.power
        sharing = sum(each.charge is not None for each in self.connectors)
        limit = self.profiles.limit(
            connector.number, self.fleet.clock.unix(self.now), self.charging(connector.charge), self.supply, sharing
        )
        return self.supply.power if limit is None else min(limit, self.supply.power)

    def limit_changes(self, connector: Connector) -> float:
        """Seconds until that may be another one."""
        if self.profiles is None:
            return float("inf")
        now = self.fleet.clock.unix(self.now)
        return self.profiles.next_change(now, self.charging(connector.charge)) - now

    def install(self, number: int, raw: Mapping[str, Any]) -> str | None:
        """A charging profile for a connector, or with number 0 the station. Why it is not taken, or None."""
        if not 0 <= number <= len(self.connectors):
            return "no such connector"
        charge = self.connectors[number - 1].charge if number else None
        try:
            profile = Profile(raw, number, self.fleet.clock.unix(self.now))
        except (ValueError, OverflowError) as error:
            return str(error)
        if self.profiles is None:
            self.profiles = Profiles()
        refused = self.profiles.install(profile, self.charging(charge))
        if refused is None:
            self.limits_changed()
        return refused

    def configured(self, key: str) -> None:
        """A setting has changed."""
        if key == "HeartbeatInterval":
            self.heartbeat_interval = float(self.settings.whole(key))
        elif key.startswith("MeterValue"):
            self._read_sampling()
            # Whoever sleeps until the next sample looks again.
            self.limits_changed()

    def _read_sampling(self) -> None:
        self.sample_interval = float(self.settings.whole("MeterValueSampleInterval"))
        self.measurands = self.settings.text("MeterValuesSampledData")

    def limits_changed(self) -> None:
        """Profiles came or went: charges look at their limits again."""
        for connector in self.connectors:
            if connector.charge is not None:
                self.wake(connector.visit)
