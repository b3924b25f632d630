"""A worker's side of ownership: a new connection is held until the other workers have let go of its station.

Comes in: connections that open and close, the supervisor's answers and its orders to give a station up. Goes out:
claims, the ends of connections, and the state of stations that moved. A connection is held for the supervisor's answer
alone when no other worker knows the station; else until its state has come, at most `seconds`: a station is served
without its state rather than not at all.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

__all__ = ["HANDOVER_SECONDS", "Claims", "Keeper", "Moving"]

log = logging.getLogger("evcore.workers")

#: Longest wait for the state of a station that was known to another worker.
HANDOVER_SECONDS: Final = 5.0
#: Between two looks whether a handler has ended, while a station waits for that.
POLL_SECONDS: Final = 0.01
#: Ended connections that are remembered before those whose handler is done are looked for.
MANY: Final = 1000


class Moving(Protocol):
    """What is needed of a connection (`evcore.net.connection.Connection`)."""

    def hold(self) -> None:
        """Keeps what is received until `release`."""

    def release(self) -> None:
        """Goes on with what was kept."""

    def close(self, code: int = 1000, reason: str = "") -> None: ...

    @property
    def is_busy(self) -> bool:
        """Whether a CALL of the station waits for its answer."""
        ...


class Keeper(Protocol):
    """Where the state of stations is kept (`evcore.csms.application.Csms`)."""

    def export(self, identity: str) -> Mapping[str, Any] | None:
        """The state of a station as JSON values, None where there is none."""
        ...

    def restore(self, identity: str, state: Mapping[str, Any]) -> None:
        """Takes the state over; the station has connected here already."""

    def forget(self, identity: str) -> None:
        """The station lives elsewhere now; of no consequence while it has a connection here."""


class _Claim(NamedTuple):
    identity: str
    connection: Moving
    deadline: float
    answered: asyncio.Future[None]


class Claims:
    """The claims of worker `index` of `workers`. `send` carries messages to the supervisor."""

    def __init__(
        self,
        send: Callable[..., None],
        index: int,
        workers: int,
        keeper: Keeper,
        seconds: float = HANDOVER_SECONDS,
    ) -> None:
        self._send = send
        self._keeper = keeper
        self._seconds = seconds
        self._workers = workers
        self._next = index + workers
        self._current: dict[str, tuple[int, Moving]] = {}
        # Claims without an answer, oldest first: all wait equally long, so the first is the next to give up.
        self._waiting: dict[int, _Claim] = {}
        self._timer: asyncio.TimerHandle | None = None
        #: Connections that gave way to a newer one in another worker.
        self.moved = 0
        # Connections that ended with a handler at work, by their station.
        self._unfinished: dict[str, Moving] = {}
        self._most_unfinished = MANY
        # Stations that are being handed over, and how many times at once.
        self._leaving: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._current)

    # -- connections --------------------------------------------------------------------------------------------------

    def opened(self, identity: str, connection: Moving) -> None:
        """A connection is the station's newest here: claims the station and holds the connection."""
        token = self._next
        self._next += self._workers
        loop = asyncio.get_running_loop()
        self._current[identity] = token, connection
        self._waiting[token] = _Claim(identity, connection, loop.time() + self._seconds, loop.create_future())
        connection.hold()
        self._send("claim", identity, token)
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._give_up)

    def closed(self, identity: str, connection: Moving) -> None:
        """A connection is over; of no consequence when the station has a newer one, here or elsewhere."""
        current = self._current.get(identity)
        if current is None:
            # It was given up for a connection elsewhere, and ends only now.
            self._forget(identity)
        elif current[1] is connection:
            del self._current[identity]
            if connection.is_busy:
                self._remember(identity, connection)
            self._send("leave", identity, current[0])

    def _remember(self, identity: str, connection: Moving) -> None:
        self._unfinished[identity] = connection
        if len(self._unfinished) > self._most_unfinished:
            self._unfinished = {name: each for name, each in self._unfinished.items() if each.is_busy}
            self._most_unfinished = max(MANY, 2 * len(self._unfinished))

    # -- the supervisor -----------------------------------------------------------------------------------------------

    def granted(self, token: int, state: Mapping[str, Any] | None) -> None:
        """The station of this claim is here, with the state it had elsewhere."""
        claim = self._waiting.pop(token, None)
        if claim is None:
            if state is not None:
                log.warning("the state of a station came from another worker too late and is lost")
            return
        if state is not None:
            try:
                self._keeper.restore(claim.identity, state)
            except Exception:
                log.exception("%s: its state cannot be taken over", claim.identity)
        self._go_on(claim)

    def yield_up(self, identity: str, token: int) -> None:
        """The station has connected to another worker: ends its connection here and hands its state over."""
        self._leaving[identity] += 1
        task = asyncio.get_running_loop().create_task(self._yield(identity, token))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _yield(self, identity: str, token: int) -> None:
        connection = self._unfinished.pop(identity, None)
        current = self._current.get(identity)
        if current is not None and current[0] == token:
            del self._current[identity]
            connection = current[1]
            self.moved += 1
            log.info("%s: has connected to another worker", identity)
            connection.close(1000, "replaced by a new connection of the same station")
        try:
            async with asyncio.timeout(self._seconds / 2):
                # Its own state may still be on the way here, and a handler at work may be about to add to it.
                if (claim := self._waiting.get(token)) is not None:
                    await asyncio.shield(claim.answered)
                while connection is not None and connection.is_busy:  # noqa: ASYNC110 - nobody tells when it is over
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            log.warning("%s: moves to another worker while a handler is still at work", identity)
        state = None
        try:
            state = self._keeper.export(identity)
        except Exception:
            log.exception("%s: its state cannot be handed over", identity)
        self._send("state", token, state)
        self._leaving[identity] -= 1
        self._forget(identity)

    def _forget(self, identity: str) -> None:
        if self._leaving[identity] == 0:
            del self._leaving[identity]
            # A newer connection here keeps its station; the state comes back with the grant of its claim.
            if identity not in self._current:
                self._keeper.forget(identity)

    def _go_on(self, claim: _Claim) -> None:
        claim.answered.set_result(None)
        claim.connection.release()

    def _give_up(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        given_up = []
        for token, claim in list(self._waiting.items()):
            if claim.deadline > loop.time():
                self._timer = loop.call_at(claim.deadline, self._give_up)
                break
            del self._waiting[token]
            given_up.append(claim)
        if given_up:
            names = ", ".join(claim.identity for claim in given_up[:3]) + (" …" if len(given_up) > 3 else "")
            log.warning("%d stations are served without the state they had elsewhere: %s", len(given_up), names)
        for claim in given_up:
            self._go_on(claim)
