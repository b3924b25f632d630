"""What a simulated station has to deliver: transaction messages, kept until the CSMS has answered them.

In: transaction messages as they happen, the fates of their transmissions. Out: CALLs, in their order, by 1.6 section
3.7 and 2.x E04; what is given up is counted. An `Outbox` keeps frames; this one keeps what makes them, because a 1.6
message may wait for the number of its transaction, and quirks bend messages when they are sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from evcore.message import CallResult
from evcore.sim.line import Again, Line
from evcore.sim.strand import Strand

if TYPE_CHECKING:
    from evcore.sim.dialect import Dialect
    from evcore.sim.fleet import Fleet

__all__ = ["Delivering"]

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


class Delivering(Line):
    """A station as far as its transaction messages go."""

    __slots__ = ("_draining", "outbox")

    def __init__(
        self, fleet: Fleet, identity: str, dialect: Dialect, quirks: tuple[str, ...], seed: int, number: int
    ) -> None:
        super().__init__(fleet, identity, dialect, quirks, seed, number)
        self.outbox: deque[_Stored] | None = None
        self._draining: Strand | None = None

    @property
    def owes(self) -> bool:
        """Whether it waits for an answer, or has something to deliver and may hope to."""
        return bool(self._pending) or (bool(self.outbox) and self.was_accepted)

    def _cut(self) -> None:
        if self._draining is not None and self._draining is not self.running:
            self._draining.end()
        self._draining = None

    def _keep(self, action: str, again: Again, call_id: str) -> None:
        self._store(_Stored(action, *again, None, self.now, call_id), 1)

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
