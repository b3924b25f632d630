"""`evcore serve`: the CSMS."""

from __future__ import annotations

import asyncio
import errno
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evcore.cli.common import fail, load_engine, need, on_signals, run, set_up_logging, usage

if TYPE_CHECKING:
    from evcore.csms.application import Csms
    from evcore.settings import ServeSettings

__all__ = ["serve"]


class EngineChoice(StrEnum):
    picows = "picows"
    websockets = "websockets"


class UnknownChoice(StrEnum):
    accept = "accept"
    reject = "reject"


class MismatchChoice(StrEnum):
    reject = "reject"
    close = "close"


class LevelChoice(StrEnum):
    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


class TableChoice(StrEnum):
    auto = "auto"
    on = "on"
    off = "off"


# Every option is None unless given: only then is it stronger than environment and file. Defaults live in
# evcore.settings.
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0 for all. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one. Default: 9000.")] = None,
    engine: Annotated[EngineChoice | None, typer.Option(help="WebSocket library underneath. Default: picows.")] = None,
    unknown: Annotated[
        UnknownChoice | None,
        typer.Option(help="Stations not named by --stations: let in, or HTTP 404. Default: accept."),
    ] = None,
    stations: Annotated[str | None, typer.Option(metavar="ID,ID…", help="Identities of the known stations.")] = None,
    subprotocol_mismatch: Annotated[
        MismatchChoice | None,
        typer.Option(help="No common OCPP version: refuse the upgrade, or upgrade and close. Default: reject."),
    ] = None,
    assume_ocpp16: Annotated[
        bool | None,
        typer.Option(
            "--assume-ocpp16/--no-assume-ocpp16",
            help="Speak ocpp1.6 with stations that name no subprotocol at all. Default: no.",
        ),
    ] = None,
    heartbeat_interval: Annotated[
        int | None, typer.Option(metavar="SECONDS", help="Told to booting stations. Default: 300.")
    ] = None,
    max_frame: Annotated[
        int | None, typer.Option(metavar="BYTES", help="Largest message; beyond it: close 1009. Default: 1048576.")
    ] = None,
    message_log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all messages as JSON lines, without secrets.")
    ] = None,
    message_log_max_bytes: Annotated[
        int | None,
        typer.Option(metavar="BYTES", help="Size at which FILE becomes FILE.1 and starts again. Default: 67108864."),
    ] = None,
    log_level: Annotated[LevelChoice | None, typer.Option(help="Least severe log lines shown. Default: info.")] = None,
    table: Annotated[
        TableChoice | None, typer.Option(help="Live table of stations; auto: on a terminal. Default: auto.")
    ] = None,
    simulate: Annotated[
        int | None,
        typer.Option(metavar="N", help="Simulate N stations of all versions against this server. Default: 0."),
    ] = None,
    simulate_speed: Annotated[
        float | None, typer.Option(metavar="X", help="Simulated seconds per second. Default: 60.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Settings as TOML. Default: EVCORE_CONFIG, else evcore.toml here if there is one."
        ),
    ] = None,
) -> None:
    """Serve charging stations of OCPP 1.6, 2.0.1 and 2.1 on one port.

    Every option is also a setting: --message-log is EVCORE_MESSAGE_LOG in the environment and message_log in the file.

    Options win over the environment, the environment wins over the file.
    """
    given: dict[str, Any] = {name: value for name, value in locals().items() if name != "config" and value is not None}
    need("server", "pydantic_settings")
    from evcore.settings import SettingsError, load

    try:
        settings = load(given, config)
    except SettingsError as error:
        usage(str(error))
    run(_serve(settings))


async def _serve(settings: ServeSettings) -> None:
    from evcore.csms.application import Csms
    from evcore.net.message_log import MessageLog
    from evcore.net.server import Server, ServerOptions
    from evcore.sim.run import fleet_identity

    engine = load_engine(settings.engine)
    message_log = None
    if settings.message_log is not None:
        try:
            message_log = MessageLog(settings.message_log, max_bytes=settings.message_log_max_bytes)
        except OSError as error:
            fail(f"the message log {settings.message_log} cannot be written: {error.strerror or error}")
    known = None
    if settings.unknown == "reject":
        known = {*settings.stations, *map(fleet_identity, range(settings.simulate))}
    csms = Csms(known=known, heartbeat_interval=settings.heartbeat_interval, message_log=message_log)
    options = ServerOptions(
        host=settings.host,
        port=settings.port,
        mismatch=settings.subprotocol_mismatch,
        assume="ocpp1.6" if settings.assume_ocpp16 else None,
        max_frame=settings.max_frame,
    )
    server = Server(csms, engine, options)
    over = asyncio.Event()
    on_signals(over.set)
    try:
        await server.start()
    except OSError as error:
        fail(_cannot_listen(error, settings))
    url = f"ws://{_in_url(settings.host)}:{server.port}"
    work: list[asyncio.Task[Any]] = [asyncio.create_task(over.wait())]
    try:
        _announce(settings, csms, url, work)
        if settings.simulate:
            from evcore.sim.run import simulate_fleet

            # A server on all interfaces is reached on the loopback one.
            near = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, _in_url(settings.host))  # noqa: S104
            fleet = simulate_fleet(
                settings.simulate, f"ws://{near}:{server.port}", engine, speed=settings.simulate_speed
            )
            work.append(asyncio.create_task(fleet))
        done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        await server.stop()
        if message_log is not None:
            message_log.close()


def _announce(settings: ServeSettings, csms: Csms, url: str, work: list[asyncio.Task[Any]]) -> None:
    """The one line that says the server is ready; then the live table on a terminal, log lines otherwise."""
    ready = f"listening on {url}"
    if settings.table == "on" or (settings.table == "auto" and sys.stdout.isatty()):
        from rich.console import Console

        from evcore.cli.table import show

        console = Console()
        console.print(ready, highlight=False, markup=False)
        set_up_logging(settings.log_level, console)
        work.append(asyncio.create_task(show(csms, console, url)))
    else:
        print(ready, flush=True)
        set_up_logging(settings.log_level)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _cannot_listen(error: OSError, settings: ServeSettings) -> str:
    where = f"{settings.host}:{settings.port}"
    if error.errno == errno.EADDRINUSE:
        return f"cannot listen on {where}: the port is in use; stop the other program or choose another --port"
    if error.errno == errno.EACCES:
        return f"cannot listen on {where}: not allowed; choose a --port above 1023"
    return f"cannot listen on {where}: {error.strerror or error}; choose another --host or --port"
