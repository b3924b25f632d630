"""The one connection to the broker, made again whenever it ends.

In: entries of the outbox, messages of QoS 0, filters to subscribe to. Out: what the broker sends, and what it says of
our messages; state and counts for those who watch. Refused: nothing that a broker does is raised, it becomes a
sentence in the log and in `state`, and another attempt.

`dial` makes the socket, `link` is one connection, `outflow` what is in flight, `standing` whether the broker's
session is still ours. docs/mqtt.md, "Connection", says what is promised.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from evcore.mqtt.broker.address import Address
from evcore.mqtt.broker.dial import Dialer
from evcore.mqtt.broker.link import End, Granted, Link, LinkError
from evcore.mqtt.broker.options import Counts, Entry, Outbox, SessionOptions, State, TlsOptions
from evcore.mqtt.broker.outflow import Outflow
from evcore.mqtt.broker.standing import Standing
from evcore.mqtt.message import Message, Received
from evcore.mqtt.spool.errors import SpoolError
from evcore.route import Router

__all__ = ["Counts", "Entry", "Outbox", "Session", "SessionOptions", "State", "TlsOptions"]

log = logging.getLogger("evcore.mqtt")

_TAKEN_OVER: Final = 0x8E
#: Filters in one SUBSCRIBE.
_FILTERS: Final = 100
#: Seconds for DISCONNECT to go out.
_GOODBYE: Final = 2.0
#: Seconds after which the same sentence is logged once more.
_SAY_AGAIN: Final = 300.0
#: Reason codes of SUBACK (MQTT 5.0 §3.9.3); 3.1.1 has the first only.
_SUBACK: Final = {
    0x80: "it does not say why",
    0x83: "for reasons of its own",
    0x87: "we are not authorised",
    0x8F: "it does not take the filter",
    0x97: "a quota is exceeded",
    0x9E: "it has no shared subscriptions",
    0xA2: "it has no wildcards",
}


class Session:
    """`received` is called for every message that comes, from the loop, and must be quick; `connected` after each
    connect, when the subscriptions are there and the birth is published.
    """

    def __init__(
        self,
        options: SessionOptions,
        spool: Outbox,
        *,
        received: Callable[[Received], None] = lambda _: None,
        connected: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        self.options = options
        self.counts = Counts()
        self._spool = spool
        self._received = received
        self._connected = connected
        self._clock = clock
        self._rng = rng or random.Random()
        self._out = Outflow(options, spool, self.counts, self._rng)
        self._standing = Standing(options.identifier, spool)
        self._dialer = Dialer(options.tls)
        self._link: Link | None = None
        self._up = False
        self._since: float | None = None
        self._resumed = False
        self._error: str | None = None
        # Filters that are wanted, those the present connection has, those it has to give up; refusals by filter.
        self._wanted: dict[str, int] = {}
        self._held: dict[str, int] = {}
        self._unwanted: set[str] = set()
        self._refused: dict[str, str] = {}
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._stopped = asyncio.Event()
        self._running = False
        self._flush = 0.0
        self._early = 0
        # Whether the last connection ended without a word of the broker (before the first one nothing is known), and
        # where nobody listened since.
        self._wordless = True
        self._gone: set[Address] = set()
        self._said: dict[str, float] = {}

    @property
    def state(self) -> State:
        link = self._link
        address = str(link.address) if self._up and link is not None else None
        since = self._since if self._up else None
        return State(self._up, address, since, self._error, tuple(self._refused.items()), self._up and self._resumed)

    # What the program asks for

    def subscribe(self, filter: str, qos: int = 1) -> None:
        """Now if connected, and after every connect. QoS 2 is asked for as QoS 1: with 2 a message is lost when the
        program ends at the wrong moment. Raises TopicError for what is no filter.
        """
        Router(captures=False).add(filter, None)
        self._wanted[filter] = min(qos, 1)
        self._unwanted.discard(filter)
        self._changed.set()

    def unsubscribe(self, filter: str) -> None:
        """Now if connected, or after the next connect."""
        if self._wanted.pop(filter, None) is not None:
            self._unwanted.add(filter)
            self._refused.pop(filter, None)
            self._changed.set()

    def send(self, message: Message) -> bool:
        """At QoS 0, now. False, and counted: not connected, the socket is behind, or no broker may take it."""
        link = self._link
        if link is None or not self._up:
            return self._dropped("offline")
        if link.behind > self.options.telemetry_waiting:
            return self._dropped("behind")
        return self._out.telemetry(link, message)

    def _dropped(self, reason: str) -> bool:
        self.counts.dropped[reason] = self.counts.dropped.get(reason, 0) + 1
        return False

    async def run(self) -> None:
        """Connects, and connects again, until `stop` or until it is cancelled."""
        self._spool.on_put = self._out.wake
        self._running = True
        try:
            await self._until_stopped()
        finally:
            self._spool.on_put = None
            self._running = False
            self._stopped.set()

    async def stop(self, flush: float = 5.0) -> None:
        """Waits up to `flush` seconds for the outbox if connected, sends the farewell, disconnects; `run` returns."""
        self._flush = flush
        self._stopping.set()
        if self._running:
            await self._stopped.wait()

    # Connecting

    async def _until_stopped(self) -> None:
        options = self.options
        attempt = 0
        left: Address | None = None
        while not self._stopping.is_set():
            addresses = list(options.addresses)
            if options.shuffle:
                self._rng.shuffle(addresses)
            addresses.sort(key=lambda address: address == left)  # the one that was lost last is tried last
            for address in addresses:
                if self._stopping.is_set():
                    return
                stable = await self._attempt(address)
                if stable is not None:
                    left = address
                    attempt = 0 if stable else attempt
                    break
            wait = self._rng.uniform(0.0, min(options.backoff_most, options.backoff_first * 2.0 ** min(attempt, 32)))
            attempt += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._stopping.wait()

    async def _attempt(self, address: Address) -> bool | None:
        """One connection. None: it was never there; else whether it was stable."""
        stop = asyncio.ensure_future(self._stopping.wait())
        opening = asyncio.ensure_future(self._open(address))
        try:
            await asyncio.wait({stop, opening}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await _give_up(opening)
            raise
        finally:
            stop.cancel()
        if not opening.done():
            await _give_up(opening)
            return None
        try:
            link, granted = opening.result()
        except LinkError as error:
            self.counts.failures += 1
            self._early = 0  # whoever takes a session over leaves a broker that lets in
            if error.gone:
                self._gone.add(address)
            self._say(address, str(error))
            return None
        except SpoolError as error:
            self.counts.failures += 1
            self._say(address, f"no connection without the spool: {error}")
            return None
        return await self._serve(link, granted)

    async def _open(self, address: Address) -> tuple[Link, Granted]:
        clean = await self._standing.must_be_clean(address)
        if clean:
            # Makes room for a session that stays: 3.1.1 has none that begins clean and is kept (§3.1.2.4), and
            # Mosquitto does not save one of MQTT 5 before it is taken up again.
            wash = Link(self.options, address, self, clean=True)
            await wash.open(self._dialer, await self._password(address))
            await wash.leave(_GOODBYE)
        link = Link(self.options, address, self)
        password = await self._password(address)
        self._link = link
        try:
            granted = await link.open(self._dialer, password)
        except BaseException:
            self._link = None
            raise
        # A session that is there all the same is one that somebody else has begun in between.
        return link, granted._replace(session_present=False) if clean else granted

    async def _password(self, address: Address) -> str | None:
        token = self.options.token
        if address.password is not None or token is None:
            return self.options.password if address.password is None else address.password
        try:
            async with asyncio.timeout(self.options.connect_timeout):
                found = await asyncio.to_thread(token)
                return await found if inspect.isawaitable(found) else found
        except TimeoutError:
            raise LinkError(f"no token within {self.options.connect_timeout:g} s") from None
        except Exception as error:  # noqa: BLE001 - whatever it is; its text may hold what must not be logged
            raise LinkError(f"the token could not be had: {type(error).__name__}") from None

    # Connected

    async def _serve(self, link: Link, granted: Granted) -> bool:
        """Until the connection ends, by whomever. Whether it was stable."""
        start = link.loop.time()
        works = (self._set_up(link, granted), self._leave(link, granted))
        tasks = [asyncio.ensure_future(self._guarded(link, work)) for work in works]
        try:
            await asyncio.wait({link.ended})
        finally:
            link.close()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._up = False
            self._link = None
            self._out.end(link.ended.result())
        if self._stopping.is_set():
            return True
        end = link.ended.result()
        return await self._ended(link, end, link.loop.time() - start)

    def _doubtful(self, address: Address) -> bool:
        return self.options.doubt and self._wordless and address in self._gone

    async def _guarded(self, link: Link, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except LinkError as error:
            link.fail(str(error))
        except Exception as error:
            log.exception("the connection to the broker could not be served")
            link.fail(f"the connection could not be served: {error}")

    async def _set_up(self, link: Link, granted: Granted) -> None:
        try:
            await self._standing.connected(link.address, session_present=granted.session_present)
        except SpoolError as error:
            # A disk that takes nothing must not keep what it has from going out.
            self._warn(f"the session with the broker could not be noted: {error}")
        if not granted.session_present:
            self._unwanted.clear()
        self._held.clear()
        doubtful = granted.session_present and self._doubtful(link.address)
        self._gone.clear()
        await self._reconcile(link)
        if self.options.birth is not None:
            await self._out.direct(link, self.options.birth, granted)
        self._up = True
        self._since = self._clock()
        self._resumed = granted.session_present
        self._error = None
        self.counts.connects += 1
        known = "the session goes on" if granted.session_present else "a new session"
        log.info("connected to %s, %s", link.address, known)
        try:
            self._connected()
        except Exception:
            log.exception("what follows a connection to the broker failed")
        await self._out.begin(link, granted, doubtful=doubtful)
        while True:
            await self._changed.wait()
            await self._reconcile(link)

    async def _reconcile(self, link: Link) -> None:
        """Makes the broker's subscriptions those that are wanted."""
        while True:
            self._changed.clear()
            missing = [(one, qos) for one, qos in self._wanted.items() if self._held.get(one) != qos][:_FILTERS]
            if missing:
                # A filter without a reason code counts as refused.
                codes = [*await link.subscribe(missing), *[0x80] * len(missing)]
                for (one, qos), code in zip(missing, codes):
                    self._held[one] = qos
                    self._granted(one, code)
            elif unwanted := list(self._unwanted)[:_FILTERS]:
                await link.unsubscribe(unwanted)
                for one in unwanted:
                    self._held.pop(one, None)
                    if one not in self._wanted:
                        self._unwanted.discard(one)
            else:
                return

    def _granted(self, filter: str, code: int) -> None:
        if code < 0x80:
            self._refused.pop(filter, None)
        elif filter in self._wanted:
            reason = _SUBACK.get(code, f"reason code 0x{code:02X}")
            if self._refused.get(filter) != reason:
                log.warning("the broker refuses the subscription to %s: %s", filter, reason)
            self._refused[filter] = reason

    async def _leave(self, link: Link, granted: Granted) -> None:
        """When told to stop."""
        await self._stopping.wait()
        if self._up:
            with contextlib.suppress(TimeoutError, SpoolError):
                async with asyncio.timeout(self._flush):
                    await self._out.idle()
            if self.options.farewell is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_GOODBYE):
                        await self._out.direct(link, self.options.farewell, granted)
        await link.leave(_GOODBYE)

    async def _ended(self, link: Link, end: End, lived: float) -> bool:
        """Whether the next attempt may follow at once."""
        stable = lived >= self.options.stable_after
        self._early = self._early + 1 if end.broker and not stable else 0
        self._wordless = end.broker and end.code is None
        if self._wordless and self.options.doubt and await self._dialer.gone(link.address):
            # It can be seen now, and not any more when the broker is back.
            self._gone.add(link.address)
        taken = end.code == _TAKEN_OVER
        sentence = end.sentence
        if taken:
            sentence += ": is this program running twice?"
        elif 0 < self.options.early_ends <= self._early:
            taken = end.code is None
            sentence += (
                f" soon after it was made, again and again: another client may use the identifier"
                f" {self.options.identifier!r}, or the broker does not take a message"
            )
        self._say(link.address, sentence)
        if taken:
            self.counts.takeovers += 1
            try:
                await self._standing.lost()
            except SpoolError as error:
                log.warning("the take-over of the session could not be noted: %s", error)
            return False
        return stable

    def _say(self, address: Address, sentence: str) -> None:
        self._error = f"{address}: {sentence}"
        self._warn(self._error)

    def _warn(self, text: str) -> None:
        """One line in the log for each kind of trouble, and another one after a while."""
        now = time.monotonic()
        said = self._said.get(text)
        if said is None or now - said >= _SAY_AGAIN:
            if len(self._said) > 100:
                self._said.clear()
            self._said[text] = now
            log.warning("%s", text)
        else:
            log.debug("%s", text)

    # What the connection tells

    def acknowledged(self, mid: int, code: int) -> None:
        self._out.acknowledged(mid, code)

    def recorded(self, mid: int, code: int) -> None:
        self._out.recorded(mid, code)

    def completed(self, mid: int, code: int) -> None:
        self._out.completed(mid, code)

    def received(self, message: Received) -> None:
        self.counts.received[message.qos] += 1
        try:
            self._received(message)
        except Exception:
            # Not acknowledged: it comes again with the next connection.
            log.exception("a message on %s could not be handled", message.topic)

    def passed_over(self, size: int) -> None:
        self.counts.oversize += 1
        most = self.options.receive_bytes
        self._warn(f"a message of the broker was dropped: it has more than the {most} bytes of receive_bytes")

    def settled(self) -> None:
        self._out.pump()


async def _give_up(opening: asyncio.Future[tuple[Link, Granted]]) -> None:
    """Leaves no connection behind."""
    opening.cancel()
    await asyncio.wait({opening})
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[0].close()
