"""The client: a station's connection to a CSMS, once (`connect`) or for good (`Client`).

Comes in: endpoint URLs in order of priority, the station's identity and credentials, handlers, what to boot with, own
CALLs and transaction messages. Goes out: a connection that comes back after each loss, waiting as OCPP 2.x RetryBackOff
says and going on to the next URL when one does not answer; BootNotification and Heartbeat when they are due;
transaction messages in their order, when the CSMS can be reached. Refused: URLs that are none, credentials that OCPP
does not allow, a CALL while there is no connection.

A client that runs is one task. It looks after time-outs, silence and what is due once every `sweep_interval`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from time import monotonic
from typing import Any, Generic, Literal, TypeAlias, TypeVar
from urllib.parse import quote

from evcore import Codec
from evcore.dispatch import Table
from evcore.endpoint import Answer, Boot, Discarded, Endpoint, EndpointError, Event, Failure, Memory, Outbox, Stored
from evcore.endpoint.endpoint import new_id
from evcore.endpoint.outbox import dispensable
from evcore.message import Call, CallError, CallResult
from evcore.net.backoff import Retry
from evcore.net.client_options import ClientObserver, ClientOptions, Profile, authorization_key
from evcore.net.connection import CallFailed, Connection, Host, Observer, Tap
from evcore.net.engine import ConnectError, Engine, Wire
from evcore.net.registration import Registration

__all__ = ["Client", "ClientObserver", "ClientOptions", "Profile", "authorization_key", "connect"]

log = logging.getLogger("evcore.client")

C = TypeVar("C")

#: A BootNotification payload, or what makes one for the version agreed on.
BootPayload: TypeAlias = Mapping[str, Any] | Callable[[str], Mapping[str, Any]]


class _Ticking(Host[C]):
    """Looks after the deadlines of one connection while it is open."""

    def __init__(self) -> None:
        super().__init__()
        self._task: asyncio.Task[None] | None = None

    def opened(self, connection: Connection[C]) -> None:
        self._task = self.loop.create_task(self._tick(connection))

    def closed(self, connection: Connection[C]) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _tick(self, connection: Connection[C]) -> None:
        while True:
            await asyncio.sleep(1.0)
            connection.tick(monotonic())


async def connect(
    engine: Engine,
    url: str,
    identity: str,
    endpoint: Endpoint,
    table: Table[C],
    context: C,
    observer: Observer | None = None,
    *,
    max_frame: int = 1024 * 1024,
) -> Connection[C]:
    """Connects the station `identity` to the CSMS whose endpoint URL is `url` (without the identity).

    The version is the endpoint's. Raises ConnectError. Own CALLs time out while the connection is open.
    """
    connection = Connection(endpoint, table, context, host=_Ticking(), observer=observer, name=identity)
    await engine.connect(_address(url, identity), (endpoint.version,), connection, max_frame=max_frame)
    return connection


@cache
def _codec(version: str) -> Codec:
    return Codec(version)


def _address(url: str, identity: str) -> str:
    return f"{url.rstrip('/')}/{quote(identity, safe='')}"


class _Arrival(Generic[C]):
    """The sink of one attempt: makes the connection once it is open, when its version is known."""

    __slots__ = ("_connection", "_make", "version")

    def __init__(self, make: Callable[[str], Connection[C]]) -> None:
        self._make = make
        self._connection: Connection[C] | None = None
        self.version = ""

    @property
    def connection(self) -> Connection[C]:
        assert self._connection is not None
        return self._connection

    def agreed(self, version: str) -> None:
        self.version = version

    def opened(self, wire: Wire) -> None:
        self._connection = self._make(self.version)
        self._connection.opened(wire)

    def frame(self, frame: bytes) -> None:
        self.connection.frame(frame)

    def heard(self) -> None:
        self.connection.heard()

    def closed(self) -> None:
        if self._connection is not None:
            self._connection.closed()


class _Home(Host[C]):
    """Tells a client when its connection opens and ends."""

    def __init__(self, begins: Callable[[Connection[C]], None], ends: Callable[[Connection[C]], None]) -> None:
        super().__init__()
        self._begins = begins
        self._ends = ends

    def opened(self, connection: Connection[C]) -> None:
        self._begins(connection)

    def closed(self, connection: Connection[C]) -> None:
        self._ends(connection)


class Client(Generic[C]):
    """A station that stays connected while `run` runs.

    `profiles`: a URL, a Profile, or several in order of priority. `table`: handlers for the CSMS's CALLs, or one table
    for each version; `context` is what they are given. `boot`: payload of BootNotification, or a function of the
    version that returns it; None leaves booting, and the gate before it, to the owner. `outbox`: transaction messages,
    on disk if its journal is; default: in memory. `codec`: makes the codec for a version (default: one for all clients,
    as `Codec` makes it). `tap` sees raw frames. `rng`: the random part of the waits.

    Raises ValueError.
    """

    def __init__(
        self,
        engine: Engine,
        profiles: str | Profile | Sequence[Profile],
        identity: str,
        table: Table[C] | Mapping[str, Table[C]],
        context: C,
        *,
        boot: BootPayload | None = None,
        options: ClientOptions | None = None,
        outbox: Outbox | None = None,
        observer: ClientObserver | None = None,
        codec: Callable[[str], Codec] | None = None,
        tap: Tap | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._engine = engine
        if isinstance(profiles, str):
            profiles = Profile(profiles)
        self._profiles = (profiles,) if isinstance(profiles, Profile) else tuple(profiles)
        if not self._profiles:
            raise ValueError("a client needs a profile")
        if not 1 <= len(identity) <= 48 or not identity.isprintable():
            raise ValueError("an identity has 1 to 48 characters, none of them a control character")
        if ":" in identity and any(profile.password is not None for profile in self._profiles):
            raise ValueError("an identity with a colon cannot be the user of Basic authentication")
        self.identity = identity
        self.options = options or ClientOptions()
        if not isinstance(table, Table) and not set(self.options.versions) <= set(table):
            raise ValueError("each of the versions needs a table")
        self._codecs = {version: (codec or _codec)(version) for version in self.options.versions}
        self._tables = {
            version: table if isinstance(table, Table) else table[version] for version in self.options.versions
        }
        self._context = context
        self._boot_payload = boot
        self._boot = None if boot is None else Boot()
        self._observer = observer or ClientObserver()
        self._tap = tap
        self._memory = Memory()
        self._retry = Retry(self.options.back_off, rng)
        self._registration = Registration(
            self._boot,
            boot_interval=self.options.boot_interval,
            heartbeat_interval=self.options.heartbeat_interval,
            skip=self.options.heartbeat_skip,
            clock=self.options.heartbeat_clock,
        )
        #: Its `attempts` and `interval` may be set when the CSMS configures them.
        self.outbox = Outbox() if outbox is None else outbox
        # A charge that began before a restart goes on in its version, as long as nothing is agreed on.
        self._version = next(
            (stored.version for stored in reversed(list(self.outbox)) if stored.version in self._codecs),
            self.options.versions[0],
        )
        self._connection: Connection[C] | None = None
        self._epoch = 0
        self._pinged = 0.0
        self._silent_calls = 0
        self._running = False
        self._stopping: float | None = None
        self._attempting: asyncio.Timeout | None = None
        # What wakes `run`, what `ready` and `stop` wait for; they are of the loop they are first waited for in.
        self._wake = asyncio.Event()
        self._ready = asyncio.Event()
        self._over = asyncio.Event()

    def __str__(self) -> str:
        return self.identity

    @property
    def version(self) -> str:
        """The version agreed on last; before that, that of the last message in the outbox, or the preferred one."""
        return self._version

    @property
    def connection(self) -> Connection[C] | None:
        """The open connection; it ends, and another one takes its place."""
        return self._connection

    @property
    def is_accepted(self) -> bool:
        """Whether the last BootNotification was accepted; true for a client that does not boot."""
        return self._registration.is_accepted

    @property
    def heartbeat_interval(self) -> float:
        """Seconds between Heartbeats, as the CSMS gave them last. May be set when it configures them: more than 0."""
        return self._registration.heartbeat_interval

    @heartbeat_interval.setter
    def heartbeat_interval(self, seconds: float) -> None:
        if seconds <= 0:
            raise ValueError("a Heartbeat interval is more than 0 seconds")
        self._registration.heartbeat_interval = seconds

    # -- owner --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connects, and again after each loss, until `stop`. Once at a time; cancelling it cuts the connection.

        Raises PayloadError when the boot payload breaks its schema, RuntimeError when it runs already.
        """
        if self._running:
            raise RuntimeError(f"{self.identity} runs already")
        self._running, self._stopping = True, None
        self._over.clear()
        home = _Home(self._opened, self._closed)
        turn = tries = 0
        try:
            while self._stopping is None:
                profile = self._profiles[turn]
                connection = await self._attempt(profile, home)
                if connection is not None:
                    await self._look_after(connection)
                # A CSMS that upgrades and hangs up without a word is no better than one that is not there.
                if connection is not None and connection.received:
                    self._retry.reset()
                    tries = 0
                else:
                    tries += 1
                    if tries >= self.options.attempts_per_profile:
                        turn, tries = (turn + 1) % len(self._profiles), 0
                if self._stopping is None:
                    await self._wait()
        finally:
            self._running = False
            if self._connection is not None:
                self._connection.abort()
            self._over.set()

    async def stop(self) -> None:
        """Ends `run`: own CALLs that wait and stored messages that are due are sent and answered first, then the
        connection is closed with 1000, all within `stop_seconds`. What is left in the outbox stays there.
        """
        # A `run` whose task was made just now is one as well.
        await asyncio.sleep(0)
        if self._running:
            self._stopping = monotonic() + self.options.stop_seconds
            self._wake.set()
            if self._attempting is not None:
                self._attempting.reschedule(asyncio.get_running_loop().time())
            await self._over.wait()

    async def ready(self) -> None:
        """Waits until the station is connected and accepted."""
        await self._ready.wait()

    async def call(self, action: str, payload: Mapping[str, Any], *, timeout: float | None = None) -> Mapping[str, Any]:
        """Sends a CALL and returns the payload of its CALLRESULT. Waits for its turn, and for the station to be
        accepted, as long as the connection lasts.

        Raises CallFailed for a CALLERROR, a timeout, an unusable answer, no connection or a lost one (`lost`);
        PayloadError for a payload that breaks its schema; EndpointError when too many CALLs wait.
        """
        if self._connection is None:
            raise CallFailed(action, "lost", "there is no connection")
        return await self._connection.call(action, payload, timeout=timeout)

    def send(self, action: str, payload: Mapping[str, Any]) -> None:
        """Sends a SEND (2.1). Raises PayloadError, EndpointError, also without a connection; ValueError before 2.1."""
        if self._connection is None:
            raise EndpointError("there is no connection")
        self._connection.send(action, payload)

    def store(
        self, action: str, payload: Mapping[str, Any], *, transaction: str = "", version: str | None = None
    ) -> str:
        """Puts a transaction message into the outbox and returns its id: from now on it is the client's to deliver.

        `transaction`: the station's own name for the charge, needed in 1.6 where the number is not known yet (see
        `evcore.endpoint.outbox`). `version`: that of the payload (default: `version` of the client). In 2.x the payload
        of what happens without a connection says ``"offline": true``; nobody else can know that.

        Returns when the message is on disk, if it goes there. Raises PayloadError; OutboxFull; JournalError (an
        OSError) when it cannot be written: then it is not stored.
        """
        version = self._version if version is None else version
        if version not in self._codecs:
            raise ValueError(f"{version} is not among the versions of this client")
        connection, now = self._connection, monotonic()
        try:
            if connection is not None and connection.version == version:
                return connection.endpoint.store(action, payload, now, transaction=transaction)
            call_id = new_id()
            frame = self._codecs[version].encode(Call(call_id, action, payload))
            self.outbox.put(
                call_id, action, frame, dispensable(action, payload), version=version, transaction=transaction
            )
        finally:
            if connection is not None and connection.endpoint.wake is not None:
                connection.endpoint.wake()
            for stored in self.outbox.dropped():
                self._discarded(stored, "room")
        return call_id

    def boot_again(self) -> None:
        """Sends BootNotification again, `boot_interval` after the last one at the earliest: what the station says of
        itself has changed. Until it is accepted nothing else is sent.
        """
        now = monotonic()
        self._registration.again(now)
        if self._connection is not None:
            self._connection.endpoint.booted(now)
        self._tell()

    # -- connecting ---------------------------------------------------------------------------------------------------

    async def _attempt(self, profile: Profile, home: _Home[C]) -> Connection[C] | None:
        arrival = _Arrival(lambda version: self._connect(version, home))
        try:
            async with asyncio.timeout(None) as self._attempting:
                await self._engine.connect(
                    _address(profile.url, self.identity),
                    self.options.versions,
                    arrival,
                    max_frame=self.options.max_frame,
                    headers=self._headers(profile),
                    tls=profile.tls,
                    deflate=self.options.deflate,
                    agreed=arrival.agreed,
                )
        except ConnectError as error:
            log.info("%s: no connection to %s: %s", self.identity, profile.url, error)
            self._observer.refused(profile.url, error)
            return None
        except TimeoutError:
            # `stop` did not want to wait for it; `run` cuts what may have come of it.
            return None
        finally:
            self._attempting = None
        return arrival.connection

    def _headers(self, profile: Profile) -> dict[str, str]:
        if profile.password is None:
            return {}
        return {"Authorization": f"Basic {b64encode(self.identity.encode() + b':' + profile.password).decode()}"}

    def _connect(self, version: str, home: _Home[C]) -> Connection[C]:
        self._version = version
        # Before the endpoint, which looks the gate up.
        self._registration.connected(version, monotonic())
        endpoint = Endpoint(
            self._codecs[version],
            role="station",
            memory=self._memory,
            boot=self._boot,
            outbox=self.outbox,
            call_timeout=self.options.call_timeout,
            queue=self.options.queue,
            inbox=self.options.inbox,
        )
        self._epoch += 1
        return Connection(
            endpoint,
            self._tables[version],
            self._context,
            host=home,
            observer=self,
            tap=self._tap,
            name=self.identity,
            epoch=self._epoch,
        )

    async def _wait(self) -> None:
        """Until the next attempt, or `stop`."""
        seconds = self._retry.wait()
        log.info("%s: connects again in %.1f s", self.identity, seconds)
        try:
            async with asyncio.timeout(seconds):
                while self._stopping is None:
                    self._wake.clear()
                    await self._wake.wait()
        except TimeoutError:
            return

    # -- while there is a connection ----------------------------------------------------------------------------------

    def _opened(self, connection: Connection[C]) -> None:
        self._connection = connection
        self._pinged = monotonic()
        self._silent_calls = 0
        log.info("%s: connected to %s, %s", self.identity, connection.peer, connection.version)
        self._memory.reconnected()
        self._observer.connected(connection)
        self._tell()

    def _closed(self, connection: Connection[C]) -> None:
        log.info("%s: the connection is over", self.identity)
        self._connection = None
        self._tell()
        self._observer.disconnected(connection)

    def _tell(self) -> None:
        """Connection or boot state are other ones now."""
        if self._connection is not None and self.is_accepted:
            self._ready.set()
        else:
            self._ready.clear()
        self._wake.set()

    async def _look_after(self, connection: Connection[C]) -> None:
        left = False
        while connection.is_open:
            self._wake.clear()
            now = monotonic()
            connection.tick(now)
            if self._stopping is None:
                self._is_alive(connection, now)
                self._send_due(connection, now)
            elif now >= self._stopping:
                connection.abort()
            elif not left and not connection.endpoint.waiting[1]:
                left = True
                connection.leave(1000, "the station goes")
            if connection.is_open:
                await self._pause()

    async def _pause(self) -> None:
        """Until the next sweep, or until there is something to do."""
        try:
            async with asyncio.timeout(self.options.sweep_interval):
                await self._wake.wait()
        except TimeoutError:
            return

    def _is_alive(self, connection: Connection[C], now: float) -> None:
        options = self.options
        silence = now - connection.heard_at
        if options.idle_timeout and silence > options.idle_timeout:
            log.warning("%s: cut off, nothing was heard for %.0f s", self.identity, silence)
            connection.abort()
        elif options.silent_calls and self._silent_calls >= options.silent_calls:
            log.warning("%s: cut off, %d CALLs in a row were not answered", self.identity, self._silent_calls)
            connection.abort()
        elif options.ping_interval and now - self._pinged >= options.ping_interval:
            self._pinged = now
            connection.ping()

    def _send_due(self, connection: Connection[C], now: float) -> None:
        action = self._registration.due(now, connection.sent)
        if action is None or not connection.is_open:
            return
        payload: Mapping[str, Any] = {}
        if action == "BootNotification":
            boot = self._boot_payload
            payload = boot(connection.version) if callable(boot) else boot or {}
        endpoint = connection.endpoint
        try:
            call_id = endpoint.call(action, payload, now)
        except EndpointError as error:
            # Too many CALLs wait: it is due again at the next sweep.
            log.warning("%s: %s cannot be sent: %s", self.identity, action, error)
            return
        self._registration.ordered(action, call_id, now)
        if endpoint.wake is not None:
            endpoint.wake()

    # -- Observer of the connection -----------------------------------------------------------------------------------

    def happened(self, event: Event) -> None:
        if isinstance(event, Answer):
            self._silent_calls = 0
            self._ended(event.id, event.action, event.result)
        elif isinstance(event, Failure):
            self._failed(event)
        elif isinstance(event, Discarded):
            self._discarded(event.stored, event.reason)
        if self._stopping is not None:
            self._wake.set()
        self._observer.happened(event)

    def answered(self, call: Call, seconds: float, code: str | None) -> None:
        if self._boot is not None and "BootNotification" in self._boot.triggered:
            self._registration.triggered(monotonic())
            self._wake.set()
        self._observer.answered(call, seconds, code)

    def _ended(self, call_id: str, action: str, result: CallResult | CallError) -> None:
        payload = None
        # Anything may be let through by a policy.
        if isinstance(result, CallResult) and isinstance(result.payload, Mapping):
            payload = result.payload
        self._registration.answered(call_id, action, payload, monotonic())
        if action == "BootNotification":
            if payload is not None:
                log.info("%s: BootNotification was answered %s", self.identity, payload.get("status"))
                self._observer.booted(payload)
            self._tell()
        elif isinstance(result, CallError) and result.code == "SecurityError" and self._boot is not None:
            self._forgotten(action)

    def _forgotten(self, action: str) -> None:
        """The CSMS does not take the station for an accepted one."""
        if self.options.boot_on_security_error and self.is_accepted:
            log.warning("%s: %s was answered SecurityError, the station boots again", self.identity, action)
            self.boot_again()

    def _failed(self, event: Failure) -> None:
        if event.reason == "lost":
            self._registration.lost(event.id)
            return
        if event.reason == "timeout":
            self._silent_calls += 1
        self._registration.answered(event.id, event.action, None, monotonic())

    def _discarded(self, stored: Stored, reason: Literal["attempts", "room"]) -> None:
        why = "it was never answered" if reason == "attempts" else "there was no room for it"
        log.warning("%s: %s %s is given up: %s", self.identity, stored.action, stored.id, why)
        self._observer.discarded(stored, reason)
