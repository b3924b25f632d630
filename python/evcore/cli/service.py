"""What one process of `evcore serve` does: server, application, metrics, message log and feed, as the settings want
them.

The same in the one process of `--workers 1` and in each worker of several.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evcore.bus import Bus
from evcore.cli.common import load_engine
from evcore.cli.table import screen
from evcore.csms.application import Csms, CsmsOptions
from evcore.csms.orders import StationOrders
from evcore.net.auth import AuthOptions, Certified
from evcore.net.collector import settle
from evcore.net.credentials import CredentialsError, CredentialsFile
from evcore.net.engine import ListenOptions
from evcore.net.feed.feed import Feed, FeedOptions
from evcore.net.handshake import SUBPROTOCOLS, HandshakeOptions
from evcore.net.limits import BootOptions, LimitOptions, Limits
from evcore.net.message_log import MessageLog
from evcore.net.metrics import Metrics, Snapshot, process
from evcore.net.server import Application, Server, ServerOptions
from evcore.net.tls import KeyPair, ServerTls, TlsError
from evcore.net.workers.application import Claimed
from evcore.net.workers.claims import Claims
from evcore.net.workers.worker import CannotStart, Worker
from evcore.sim.run import fleet_identity

if TYPE_CHECKING:
    from evcore.csms.station import Station
    from evcore.settings.model import ServeSettings

__all__ = ["Service", "url"]

log = logging.getLogger("evcore.serve")


class Service:
    """Raises CannotStart, here and in `start`, with a sentence for people.

    `worker`: this process is one of several. `port`: the one to share with them. `feed`: the socket of the bridge that
    hears what stations do; `bus`: where that is heard in this very process.
    """

    def __init__(
        self,
        settings: ServeSettings,
        *,
        worker: Worker | None = None,
        port: int | None = None,
        feed: Path | None = None,
        bus: Bus | None = None,
    ) -> None:
        self._settings = settings
        self._worker = worker
        self.message_log = _message_log(settings, worker)
        if feed is not None:
            if not hasattr(socket, "AF_UNIX"):
                raise CannotStart("this system has no Unix sockets, which --feed needs")
            bus = Bus()
        self.csms = _csms(settings, worker, self.message_log, bus)
        self.orders = StationOrders(self.csms)
        self._feed: Feed | None = None
        if feed is not None and bus is not None:
            self._feed = Feed(feed, bus, self.orders, name=_name(worker), options=FeedOptions(wait=settings.feed_wait))
        self._metrics = Metrics()
        self._tls = _tls(settings)
        self._authenticator = _authenticator(settings)
        application: Application[Station] = self._metrics.application(self.csms)
        if worker is not None:
            self.claims = Claims(worker.send, worker.index, settings.workers, self.csms)
            application = Claimed(application, self.claims)
        options = _options(settings, settings.port if port is None else port, self._tls, worker is not None)
        self.server: Server[Station] = Server(
            application,
            load_engine(settings.engine),
            options,
            authenticator=self._authenticator,
            limits=_limits(settings),
        )

    @property
    def port(self) -> int:
        return self.server.port

    async def start(self) -> None:
        if self._feed is not None:
            # Before the first station: what happens before the bridge is there waits for it.
            self._feed.start()
        try:
            await self.server.start()
            settle()
        except OSError as error:
            raise CannotStart(cannot_listen(error, self._settings)) from error

    async def stop(self) -> None:
        """Lets the stations go and returns when all are gone."""
        await self.server.stop()
        if self._feed is not None:
            await self._feed.stop(self._settings.feed_wait)
        if self.message_log is not None:
            self.message_log.close()

    def reload(self) -> None:
        """Reads certificates and credentials again, beside the loop; what cannot be used is logged and not taken."""
        asyncio.get_running_loop().run_in_executor(None, self._reload)

    def _reload(self) -> None:
        if self._tls is not None:
            self._tls.reload()
        if isinstance(self._authenticator, CredentialsFile):
            try:
                self._authenticator.reload()
            except CredentialsError as error:
                log.error("the stations stay as they were: %s", error)

    async def ask(self, question: str, *arguments: Any) -> Any:
        """`snapshot`: the metrics; `screen`, n: at most n rows of the live table."""
        return await self.snapshot() if question == "snapshot" else screen(self.csms, *arguments)

    async def snapshot(self) -> Snapshot:
        taken = await self._metrics.snapshot(self.server)
        cpu, memory = process()
        name = "1" if self._worker is None else str(self._worker.index + 1)
        taken["moved"] = {"": 0 if self._worker is None else self.claims.moved}
        taken["cpu"], taken["memory"] = {name: cpu}, {name: memory}
        if (feed := self._feed) is not None:
            taken["feed_connected"], taken["feed_waiting"] = {name: int(feed.is_connected)}, {name: feed.waiting}
            taken["feed_sent"], taken["feed_dropped"] = {"": feed.sent}, {"": feed.dropped}
            taken["feed_kept"], taken["feed_not_kept"] = {"": feed.kept}, {"": feed.not_kept}
        return taken


def url(settings: ServeSettings, port: int, host: str | None = None) -> str:
    """The endpoint URL, without an identity."""
    host = settings.host if host is None else host
    scheme = "wss" if settings.tls_certificate else "ws"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def cannot_listen(error: OSError, settings: ServeSettings) -> str:
    """Why not, and what to do."""
    where = f"{settings.host}:{settings.port}"
    if error.errno == errno.EADDRINUSE:
        return f"cannot listen on {where}: the port is in use; stop the other program or choose another --port"
    if error.errno == errno.EACCES:
        return f"cannot listen on {where}: not allowed; choose a --port above 1023"
    return f"cannot listen on {where}: {error.strerror or error}; choose another --host or --port"


def _message_log(settings: ServeSettings, worker: Worker | None) -> MessageLog | None:
    path = settings.message_log
    if path is None:
        return None
    if worker is not None:
        # Each worker turns its file over by itself, so each has one of its own.
        path = path.with_name(f"{path.stem}.worker{worker.index + 1}{path.suffix}")
    try:
        return MessageLog(path, max_bytes=settings.message_log_max_bytes)
    except OSError as error:
        raise CannotStart(f"the message log {path} cannot be written: {error.strerror or error}") from error


def _name(worker: Worker | None) -> str:
    """What a bridge's log calls this process."""
    return f"evcore serve, {'' if worker is None else f'worker {worker.index + 1}, '}process {os.getpid()}"


def _csms(settings: ServeSettings, worker: Worker | None, message_log: MessageLog | None, bus: Bus | None) -> Csms:
    known = None
    # A file of credentials says by itself who is known.
    if settings.unknown == "reject" and (settings.stations or settings.credentials is None):
        known = {*settings.stations, *map(fleet_identity, range(settings.simulate))}
    csms = Csms(
        known=known,
        options=CsmsOptions(
            heartbeat_interval=settings.heartbeat_interval,
            boot=BootOptions(
                rate=settings.boot_rate,
                burst=settings.boot_burst,
                spread=settings.interval_jitter,
                pending_most=settings.pending_most,
            ),
            gate={
                "ocpp1.6": settings.boot_gate_ocpp16,
                "ocpp2.0.1": settings.boot_gate_ocpp2,
                "ocpp2.1": settings.boot_gate_ocpp2,
            },
            call_timeout=settings.call_timeout,
            handler_timeout=settings.handler_timeout,
            inbox=settings.inbox,
            queue=settings.queue,
            raw_frames=settings.mqtt_raw in ("out", "both"),
        ),
        message_log=message_log,
        bus=bus,
    )
    if worker is not None:
        # Above all ids given out before, as in one process, and each worker has a remainder of its own.
        now = int((datetime.now(UTC) - datetime(2020, 1, 1, tzinfo=UTC)).total_seconds())
        csms.number_transactions(now - now % settings.workers + worker.index, settings.workers)
    return csms


def _tls(settings: ServeSettings) -> ServerTls | None:
    if not settings.tls_certificate:
        return None
    try:
        return ServerTls(
            [KeyPair(certificate, key) for certificate, key in zip(settings.tls_certificate, settings.tls_key)],
            client_ca=settings.tls_client_ca,
            client=settings.client_certificate,
            minimum=settings.tls_minimum,
        )
    except TlsError as error:
        raise CannotStart(str(error)) from error


def _authenticator(settings: ServeSettings) -> CredentialsFile | Certified | None:
    options = AuthOptions(
        binding=settings.certificate_name, organisation=settings.organisation, forms=settings.key_forms
    )
    if settings.credentials is None:
        # Without a list the certificate alone says who a station is, where certificates are asked for.
        return Certified(options) if settings.security_profile == 3 else None
    try:
        return CredentialsFile(settings.credentials, options)
    except CredentialsError as error:
        raise CannotStart(str(error)) from error


def _limits(settings: ServeSettings) -> Limits:
    return Limits(
        LimitOptions(
            address_rate=settings.address_rate,
            address_burst=settings.address_burst,
            address_unfinished=settings.address_unfinished,
            unfinished=settings.unfinished,
            accept_rate=settings.accept_rate,
            accept_burst=settings.accept_burst,
            retry_most=settings.retry_most,
            failures=settings.failures,
            identity_failures=settings.identity_failures,
            address_failures=settings.address_failures,
            delay_first=settings.failure_delay,
            delay_most=settings.failure_delay_most,
            forget_seconds=settings.failure_memory,
            exempt=settings.exempt,
        )
    )


def _options(settings: ServeSettings, port: int, tls: ServerTls | None, shared: bool) -> ServerOptions:
    deflate = {"auto": SUBPROTOCOLS[1:], "on": SUBPROTOCOLS, "off": ()}[settings.deflate]
    return ServerOptions(
        host=settings.host,
        port=port,
        listen=ListenOptions(
            max_frame=settings.max_frame,
            tls=tls,
            reuse_port=shared,
            handshake_seconds=settings.handshake_seconds,
            max_waiting=settings.max_waiting,
            stall_seconds=settings.stall_seconds,
            receive_buffer=settings.receive_buffer,
            backlog=settings.backlog,
            deflate_window=settings.deflate_window,
            deflate_least=settings.deflate_least,
        ),
        handshake=HandshakeOptions(
            mismatch=settings.subprotocol_mismatch,
            assume="ocpp1.6" if settings.assume_ocpp16 else None,
            strict_identity=settings.strict_identity,
            identity_from_user=settings.identity_from_user,
            unknown=settings.unknown_answer,
            minimum_profile=settings.security_profile,
            realm=settings.realm,
        ),
        deflate=frozenset(deflate),
        ping_interval=settings.ping_interval,
        idle_timeout=settings.idle_timeout,
        stop_code=int(settings.drain_code),
        stop_spread=settings.drain_seconds,
        stop_seconds=settings.drain_grace,
    )
