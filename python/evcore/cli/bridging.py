"""The bridge as the settings want it: its options, the password for each connection, files that are read again.

The same in `evcore bridge` and in `evcore serve --mqtt`, with one worker or several.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shlex
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evcore.bus import BY_NAME, Bus
from evcore.bus.orders import Orders
from evcore.cli.common import fail, on_signals, set_up_logging
from evcore.cli.running import Ends, http, reload_or_end
from evcore.mqtt.bridge import Bridge, BridgeOptions
from evcore.mqtt.broker.address import Address
from evcore.mqtt.broker.options import SessionOptions, TlsOptions
from evcore.mqtt.commands.options import CommandOptions
from evcore.mqtt.publisher.options import PublishOptions
from evcore.mqtt.spool import SpoolError, SpoolOptions
from evcore.mqtt.topics import TopicOptions
from evcore.net.feed.hub import Hub, HubError
from evcore.net.metrics import Snapshot
from evcore.net.tls import KeyPair, TlsError, client_context
from evcore.net.workers.worker import CannotStart
from evcore.settings.options import TOPICS

if TYPE_CHECKING:
    from evcore.settings.model import BridgeSettings
    from evcore.settings.mqtt import MqttSettings

__all__ = ["Bridging", "Gathering", "alone", "bridge_options"]

log = logging.getLogger("evcore.bridge")

#: Bytes of a password that are read; a token is some thousand long.
_SECRET_BYTES: Final = 65_536


class Bridging:
    """A bridge between a bus and the broker of the settings. Raises CannotStart, here and in `start`."""

    def __init__(self, settings: MqttSettings, bus: Bus, orders: Orders) -> None:
        self.options = bridge_options(settings)
        self._bridge = Bridge(bus, orders, self.options)
        self._started = False

    async def start(self) -> None:
        """Publishes from now on; the broker may come later."""
        try:
            await self._bridge.start()
        except SpoolError as error:
            raise CannotStart(str(error)) from error
        self._started = True

    async def stop(self) -> None:
        """Gives the broker what it can in the time of the settings, says farewell and leaves it."""
        if self._started:
            self._started = False
            await self._bridge.stop()

    def reload(self) -> None:
        """Looks at the files beside the loop; each connection reads them anew, so there is nothing more to do."""
        asyncio.get_running_loop().run_in_executor(None, self._look)

    def _look(self) -> None:
        try:
            _check_tls(self.options.session)
            token = self.options.session.token
            if isinstance(token, _File):
                token.read()
        except (TlsError, OSError, ValueError) as error:
            log.error("the next connection to the broker will fail: %s", error)
        else:
            log.info("the next connection to the broker takes password and certificates as they are now")

    def snapshot(self) -> Snapshot:
        """What there is to count, for `evcore.net.metrics_http`."""
        if not self._started:
            return {}
        bridge = self._bridge
        session, spool, published, commands = (
            bridge.session.counts,
            bridge.spool.counts,
            bridge.publisher.counts,
            bridge.commands.counts,
        )
        backlog = bridge.spool.backlog
        return {
            "mqtt_connected": {"": int(bridge.session.state.connected)},
            "mqtt_backlog": {"": backlog.messages},
            "mqtt_backlog_bytes": {"": backlog.bytes},
            "mqtt_backlog_age": {"": backlog.oldest},
            "mqtt_published": dict(published.handed_over),
            "mqtt_unpublished": dict(published.dropped),
            "mqtt_expired": {"\t".join(key): count for key, count in spool.dropped.items()},
            "mqtt_not_kept": {"\t".join(key): count for key, count in spool.refused.items()},
            "mqtt_spool_fails": {"": int(bridge.spool.trouble is not None)},
            "mqtt_sent": {str(qos): count for qos, count in enumerate(session.sent)},
            "mqtt_acked": {str(qos): count for qos, count in enumerate(session.acked) if qos},
            "mqtt_received": {str(qos): count for qos, count in enumerate(session.received)},
            "mqtt_repeated": {"": session.repeated},
            "mqtt_unsent": dict(session.dropped),
            "mqtt_altered": {"": session.altered},
            "mqtt_oversize": {"": session.oversize},
            "mqtt_connects": {"": session.connects},
            "mqtt_failures": {"": session.failures},
            "mqtt_takeovers": {"": session.takeovers},
            "mqtt_commands": dict(commands.outcomes),
            "mqtt_commands_refused": dict(commands.refused),
            "mqtt_commands_repeated": {"": commands.repeated},
            "mqtt_commands_unanswered": {"": commands.unanswered},
        }


class Gathering:
    """A bridge for server processes, which feed it over the socket `path`. Raises CannotStart, here and in `start`."""

    def __init__(self, settings: MqttSettings, path: Path) -> None:
        bus = Bus()
        publish = bridge_options(settings).publish
        classes = {name: publish.class_of(name) for name in BY_NAME}
        # What goes out at QoS 0 need not be kept on the way to the bridge either.
        classes = {name: each if publish.qos_of(each) else "telemetry" for name, each in classes.items()}
        self._hub = Hub(path, bus, classes=classes)
        self._bridging = Bridging(settings, bus, self._hub)
        self.reload = self._bridging.reload

    @property
    def where(self) -> str:
        """The brokers."""
        return ", ".join(map(str, self._bridging.options.session.addresses))

    async def start(self) -> None:
        # The socket is taken first, so that a second bridge says nothing to the broker; servers are let in last, when
        # what they say is kept.
        try:
            self._hub.bind()
            await self._bridging.start()
            await self._hub.start()
        except HubError as error:
            raise CannotStart(str(error)) from error
        except BaseException:
            await self._hub.stop(0)
            raise

    async def stop(self) -> None:
        """Gives the broker what it can; orders at work have their time. Servers that are still there keep what they
        have from now on for the next bridge.
        """
        self._hub.hold()
        await self._bridging.stop()
        await self._hub.stop()

    def snapshot(self) -> Snapshot:
        hub = self._hub
        events = {"passed": hub.passed, "repeated": hub.repeated, "stale": hub.stale, "unread": hub.unread}
        return {**self._bridging.snapshot(), "feeds": {"": hub.feeds}, "feed_events": events}


async def alone(settings: BridgeSettings) -> None:
    """A bridge as a process of its own, until a signal comes."""
    ends = Ends()
    set_up_logging(settings.log_level)

    async def snapshot() -> Snapshot:
        return gathering.snapshot()

    with contextlib.ExitStack() as stack:
        try:
            gathering = Gathering(settings, settings.feed)
            on_signals(ends.wish, reload_or_end(gathering.reload, ends))
            await gathering.start()
        except CannotStart as error:
            fail(str(error))
        try:
            stack.enter_context(http(settings, snapshot, lambda: not ends.first.is_set()))
            print(f"bridging {settings.feed} to {gathering.where}", flush=True)
            await ends.first.wait()
        finally:
            await ends.unless_twice(gathering.stop())


def bridge_options(settings: MqttSettings) -> BridgeOptions:
    """Raises CannotStart with a sentence for settings that cannot be used."""
    node = settings.mqtt_node or socket.gethostname()
    try:
        session = _session(settings, node)
        _check_tls(session)
        if isinstance(session.token, _File):
            session.token.read()
        return BridgeOptions(
            session=session,
            spool=SpoolOptions(
                path=settings.mqtt_spool,
                max_bytes=settings.mqtt_spool_bytes,
                max_age=settings.mqtt_spool_age,
                durability=settings.mqtt_durability,
                memory=settings.mqtt_spool_memory,
                reserve=settings.mqtt_spool_reserve,
                commands_kept=settings.mqtt_commands_kept,
            ),
            publish=_publish(settings, node),
            commands=_commands(settings),
            # An identifier that somebody chose stays as it is.
            unique=settings.mqtt_client_id is None,
            flush=settings.mqtt_flush_seconds,
        )
    except (ValueError, OSError, TlsError) as error:
        raise CannotStart(str(error)) from error


def _session(settings: MqttSettings, node: str) -> SessionOptions:
    return SessionOptions(
        addresses=tuple(map(Address.parse, settings.mqtt)),
        identifier=settings.mqtt_client_id or f"evcore-{node}",
        version=settings.mqtt_version,
        username=settings.mqtt_username,
        password=settings.mqtt_password,
        token=_token(settings),
        tls=TlsOptions(
            ca=settings.mqtt_ca,
            certificate=settings.mqtt_certificate,
            key=settings.mqtt_key,
            key_password=settings.mqtt_key_password,
            verify=settings.mqtt_verify,
        ),
        keepalive=settings.mqtt_keepalive,
        session_expiry=settings.mqtt_session_expiry,
        window=settings.mqtt_window,
        receive_maximum=settings.mqtt_receive_maximum,
        receive_bytes=settings.mqtt_receive_bytes,
        connect_timeout=settings.mqtt_connect_timeout,
        ack_timeout=settings.mqtt_ack_timeout,
        backoff_first=settings.mqtt_backoff_first,
        backoff_most=settings.mqtt_backoff_most,
        stable_after=settings.mqtt_stable_after,
        early_ends=settings.mqtt_early_ends,
        doubt=settings.mqtt_doubt,
        shuffle=settings.mqtt_shuffle,
        refusals=settings.mqtt_refusals,
        will_delay=settings.mqtt_will_delay,
        telemetry_waiting=settings.mqtt_telemetry_waiting,
    )


def _publish(settings: MqttSettings, node: str) -> PublishOptions:
    return PublishOptions(
        node=node,
        topics=TopicOptions(
            prefix=settings.mqtt_prefix,
            **{name: getattr(settings, f"mqtt_topic_{name}") for name, _, _ in TOPICS},
        ),
        mode=settings.mqtt_mode,
        qos={str(name): qos for name, qos in settings.mqtt_qos.items()},
        classes=dict(settings.mqtt_classes),
        retain=settings.mqtt_retain,
        tokens=settings.mqtt_tokens,
        telemetry_expiry=settings.mqtt_telemetry_expiry,
        raw=settings.mqtt_raw,
        sites=settings.mqtt_sites,
        site_interval=settings.mqtt_site_interval,
        site_stale=settings.mqtt_site_stale,
        heartbeat_interval=settings.mqtt_heartbeat_interval,
        discovery=settings.mqtt_discovery,
        discovery_prefix=settings.mqtt_discovery_prefix,
        grace=settings.mqtt_grace,
        pace=settings.mqtt_pace,
        values_waiting=settings.mqtt_values_waiting,
    )


def _commands(settings: MqttSettings) -> CommandOptions:
    return CommandOptions(
        allow=settings.mqtt_commands,
        raw=settings.mqtt_raw in ("in", "both"),
        replies=settings.mqtt_replies,
        lifetime=settings.mqtt_command_lifetime,
        longest_lifetime=settings.mqtt_command_longest,
        longest_timeout=settings.mqtt_command_timeout,
        reconnecting=settings.mqtt_reconnecting,
        command_bytes=settings.mqtt_command_bytes,
        result_bytes=settings.mqtt_result_bytes,
        station_queue=settings.mqtt_station_queue,
        queue=settings.mqtt_queue,
        answers=settings.mqtt_answers,
        answers_burst=settings.mqtt_answers_burst,
        # A result is never lost on the way, so a class of QoS 0 is one of QoS 1 here.
        qos=max(1, settings.mqtt_qos.get("command", 1)),
    )


def _check_tls(options: SessionOptions) -> None:
    """Raises TlsError for files that no connection could use."""
    tls = options.tls
    pair = None if tls.certificate is None else KeyPair(tls.certificate, tls.key, tls.key_password)
    if any(address.tls for address in options.addresses):
        client_context(ca=tls.ca, pair=pair)


# -- the password of each connection ----------------------------------------------------------------------------------


def _token(settings: MqttSettings) -> Callable[[], Awaitable[str] | str] | None:
    if settings.mqtt_password_file is not None:
        return _File(settings.mqtt_password_file)
    if settings.mqtt_password_command is not None:
        words = shlex.split(settings.mqtt_password_command)
        if not words:
            raise ValueError("mqtt_password_command is no command")
        return lambda: _run(words)
    return None


class _File:
    """The first line of a file, as it is then; called in a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self) -> str:
        try:
            return self.read()
        except (OSError, ValueError) as error:
            log.error("%s", error)
            raise

    def read(self) -> str:
        """Raises OSError or ValueError with a sentence."""
        try:
            with self._path.open("rb") as file:
                data = file.read(_SECRET_BYTES)
        except OSError as error:
            raise OSError(f"the password file {self._path} cannot be read: {error.strerror or error}") from error
        return _first_line(data, f"the password file {self._path}")


async def _run(words: list[str]) -> str:
    """The first line that a program prints. Who waits for it may give up, and then it is ended."""
    try:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, limit=_SECRET_BYTES
        )
    except OSError as error:
        log.error("mqtt_password_command cannot be started: %s: %s", words[0], error.strerror or error)
        raise
    try:
        assert process.stdout is not None
        data = b""
        # Read to the end, however long: the program might wait for that for ever.
        while chunk := await process.stdout.read(_SECRET_BYTES):
            data = (data + chunk)[:_SECRET_BYTES]
        if status := await process.wait():
            log.error("mqtt_password_command %s ended with status %d", words[0], status)
            raise OSError("the command failed")
        return _first_line(data, "what mqtt_password_command prints")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


def _first_line(data: bytes, what: str) -> str:
    try:
        line = data.decode().partition("\n")[0].removesuffix("\r")
    except UnicodeDecodeError:
        raise ValueError(f"{what} is not UTF-8") from None
    if not line:
        raise ValueError(f"{what} is empty")
    return line
