"""The line of a simulated station: its connection to the CSMS, the CALLs on it, their answers.

In: the engine's word on the connection, frames of the CSMS, CALLs of the station. Out: frames; answers to the strands
that wait for them; counters. One CALL is outstanding at a time and all other rules of OCPP-J hold, for all goes
through an `Endpoint`.
"""

from __future__ import annotations

import logging
import types
from abc import abstractmethod
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from evcore import Codec
from evcore.endpoint import Answer, Boot, Endpoint, EndpointError, Failure, Fault, Memory, Request, Stray
from evcore.errors import PayloadError
from evcore.message import Call, CallError, CallResult
from evcore.net.engine import Wire
from evcore.sim.codec import Written
from evcore.sim.pace import Paced
from evcore.sim.quirks import QUIRKS, Quirk, misbehaving
from evcore.sim.rng import Rng
from evcore.sim.strand import Strand

if TYPE_CHECKING:
    from collections.abc import Callable

    from evcore.sim.dialect import Dialect
    from evcore.sim.fleet import Fleet

__all__ = ["Again", "Line"]

log = logging.getLogger("evcore.sim")

#: What makes the payload of a transaction message again, and from what.
Again: TypeAlias = "tuple[Callable[..., Any], tuple[Any, ...]]"


class Line(Paced):
    """A station as far as its connections go, one at a time, for which it implements `evcore.net.engine.Sink`.

    `net`: random numbers of the line's own. `failure`: why the last CALL got no result: an error code, or `offline`,
    `timeout`, `lost`, `invalid`; `failed` is the id of that CALL. `since`: real time of its first attempt to connect,
    infinity while it waits for its turn, None before. `declined`: the CSMS did not let it in, or not at once.
    """

    __slots__ = (
        "_again", "_counter", "_memory", "_pending", "_quiet", "boot", "declined", "dialect", "endpoint", "failed",
        "failure", "identity", "net", "number", "quirks", "since", "tries", "was_accepted", "wire",
    )  # fmt: skip

    def __init__(
        self, fleet: Fleet, identity: str, dialect: Dialect, quirks: tuple[str, ...], seed: int, number: int
    ) -> None:
        super().__init__(fleet)
        self.number = number
        self.identity = identity
        self.dialect = dialect
        # Apart from the station's, so that a lost connection does not change the cars that come.
        self.net = Rng(seed, f"{identity}/line")
        self.quirks: tuple[Quirk, ...] = tuple(QUIRKS[name] for name in quirks)
        self.wire: Wire | None = None
        self.endpoint: Endpoint | None = None
        self.boot = Boot()
        self.was_accepted = False
        self.since: float | None = None
        self.declined = False
        self.tries = 0
        self.failure: str | None = None
        self.failed: str | None = None
        self._memory: Memory | None = None
        self._pending: dict[str, tuple[Strand | None, str, float, Again | None]] = {}
        self._counter = 0
        self._quiet: Strand | None = None
        self._again: str | None = None

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

    # -- what a station makes of it -----------------------------------------------------------------------------------

    @abstractmethod
    def _online(self) -> None:
        """The connection is there."""

    @abstractmethod
    def _cut(self) -> None:
        """The connection is gone: what was done by it ends."""

    @abstractmethod
    def _obey(self, call: Call) -> None:
        """The CSMS orders something."""

    @abstractmethod
    def _keep(self, action: str, again: Again, call_id: str) -> None:
        """A transaction message got no result."""

    # -- the connection -----------------------------------------------------------------------------------------------

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
        self.push(0.0, type(self)._online)
        self.release()

    def refused(self, reason: str) -> None:
        """The connection did not come about."""
        self.fleet.tally.connect_failures += 1
        self.declined = True
        self.say("is not connected: {}", reason)
        network = self.fleet.scenario.network
        wait = network.backoff_minimum * 2 ** min(self.tries, network.backoff_repeats)
        self.tries += 1
        self.push(wait + network.backoff_random * self.net.random(), Line.connect)
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
            self._work(self.fleet.time())
            self.endpoint = None
        self._cut()
        if wanted:
            self.release()
        else:
            self._catch_up()
            self.fleet.tally.lost_connections += 1
            self.say("has lost its connection")
            if self.fleet.lost(self):
                network = self.fleet.scenario.network
                self.push(network.backoff_minimum + network.backoff_random * self.net.random(), Line.connect)

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
            self.push(seconds, Line.connect)

    # -- CALLs --------------------------------------------------------------------------------------------------------

    def _new_id(self) -> str:
        if self._again is not None:
            return self._again
        self._counter += 1
        if self.quirks and self.has("Q21"):
            return f"{self.fleet.run_number % 10**10:010}{self._counter:010}"
        return f"{self.fleet.prefix}{self._counter:x}"

    @types.coroutine
    def call(
        self, action: str, payload: Mapping[str, Any] | Written, number: str | None = None
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

    def tell(self, action: str, payload: Mapping[str, Any] | Written) -> None:
        """A CALL whose answer nobody waits for."""
        self._order(action, payload, None)

    def _order(
        self,
        action: str,
        payload: Any,
        strand: Strand | None,
        again: Again | None = None,
        number: str | None = None,
    ) -> bool:
        """Sends a CALL. `again`: what makes it again, for a transaction message that must not get lost. `number`: the
        id it was sent with before, by which a CSMS knows a repetition.
        """
        endpoint = self.endpoint
        if endpoint is None or self.wire is None:
            self.failure = "offline"
            return False
        fleet = self.fleet
        fleet.tally.calls += 1
        now = fleet.time()
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

    # -- frames -------------------------------------------------------------------------------------------------------

    def frame(self, frame: bytes) -> None:
        endpoint, fleet = self.endpoint, self.fleet
        fleet.tally.received += 1
        if endpoint is None or self.wire is None:
            return
        if (
            self.quirks
            and self.has("Q95")
            and any(name in frame[:80] for name in (b"GetConfiguration", b"GetVariables"))
        ):
            return
        now = fleet.time()
        endpoint.receive(frame, now)
        self._work(now)

    def tick(self, now: float) -> None:
        """Looks after deadlines; once a second, in real time."""
        endpoint = self.endpoint
        if endpoint is not None:
            deadline = endpoint.deadline
            if deadline is not None and deadline <= now:
                endpoint.expire(now)
                self._work(now)

    def _work(self, now: float) -> None:
        endpoint = self.endpoint
        while endpoint is not None and (events := endpoint.events()):
            for event in events:
                if type(event) is Answer:
                    self._answered(event, now)
                elif isinstance(event, Request):
                    self._obey(event.call)
                elif isinstance(event, Failure):
                    self._failed(event)
                elif isinstance(event, Fault):
                    self.fleet.tally.faults += 1
                    log.info("%s: a message that cannot be accepted: %s", self, event.error)
                elif isinstance(event, Stray):
                    self.fleet.tally.strays += 1
        self._flush()

    def _answered(self, event: Answer, now: float) -> None:
        call_id, action, result = event
        strand, _, sent, again = self._pending.pop(call_id)
        self.fleet.tally.answer(action, now - sent)
        if type(result) is not CallResult:
            self._declined(call_id, action, result, again)
        if strand is not None:
            self._resume(strand, result if type(result) is CallResult else None)
            self.release()
        if self._quiet is not None:
            self._is_quiet()

    def _declined(self, call_id: str, action: str, error: CallError, again: Again | None) -> None:
        tally = self.fleet.tally
        self.failure, self.failed = error.code, call_id
        if any(action in quirk.refused for quirk in self.quirks):
            tally.refused_as_expected += 1
        else:
            tally.refused += 1
            tally.codes[f"{action} {error.code}"] += 1
            self.say("got no result to {}: {} {}", action, error.code, error.description)
        if again is not None:
            self._keep(action, again, call_id)

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
            self._keep(action, again, event.id)
        if event.reason != "lost":
            self.say("got no answer to {}: {}", action, event.reason)
        if strand is not None:
            self._resume(strand, None)
            self.release()
        self._is_quiet()

    def _flush(self) -> None:
        endpoint, wire = self.endpoint, self.wire
        if endpoint is None or wire is None:
            return
        frames = endpoint.frames()
        if not frames:
            return
        self.fleet.tally.sent += len(frames)
        for frame in frames:
            wire.send(frame)
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
