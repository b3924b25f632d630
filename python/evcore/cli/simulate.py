"""`evcore simulate`: one station to watch, or thousands of them as a load."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evcore.cli.common import fail, load_engine, need, on_signals, usage
from evcore.cli.serve import EngineChoice

if TYPE_CHECKING:
    from evcore.net.engine import EngineName
    from evcore.sim.fleet import FleetPlan
    from evcore.sim.scenario import Scenario
    from evcore.sim.stats import Tally

__all__ = ["VersionChoice", "simulate"]

#: Real seconds between two lines of progress where there is no terminal.
_LINE_SECONDS = 10.0


class VersionChoice(StrEnum):
    v16 = "1.6"
    v201 = "2.0.1"
    v21 = "2.1"


class FleetVersionChoice(StrEnum):
    v16 = "1.6"
    v201 = "2.0.1"
    v21 = "2.1"
    mixed = "mixed"


class ProgressChoice(StrEnum):
    auto = "auto"
    on = "on"
    off = "off"


def simulate(
    url: Annotated[str, typer.Option(help="Endpoint URL of the CSMS, without the identity.")] = "ws://localhost:9000",
    identity: Annotated[
        str | None,
        typer.Option(
            "--id", help="Identity; for many stations with {number} in it. Default: CP1, or SIM-{number:06d} for many."
        ),
    ] = None,
    stations: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Simulate N stations by a scenario, and report at the end.")
    ] = None,
    version: Annotated[
        FleetVersionChoice | None,
        typer.Option(help="OCPP version; mixed: in the scenario's shares. Default: 1.6, or mixed for many."),
    ] = None,
    scenario: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="What the stations do. Default for many: commuter.")
    ] = None,
    list_scenarios: Annotated[
        bool, typer.Option("--list-scenarios", help="Name the scenarios that come with evcore, and end.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="The same seed makes the same stations do the same.")] = None,
    speed: Annotated[
        float | None,
        typer.Option(
            metavar="X", min=0.01, max=100_000, help="Simulated seconds per second. Default: 60, or the scenario's."
        ),
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Simulated time until the end: 90s, 15m, 2h, 1d. Default: the scenario's."),
    ] = None,
    ramp_up: Annotated[
        float | None,
        typer.Option(metavar="N", min=0.01, help="Stations that connect per second at first. Default: the scenario's."),
    ] = None,
    start: Annotated[
        str | None, typer.Option(metavar="DATE-TIME", help="What the stations' clocks show at first. Default: now.")
    ] = None,
    quirk: Annotated[
        list[str] | None, typer.Option(metavar="Q49,Q51", help="Quirks of all stations, besides the scenario's.")
    ] = None,
    processes: Annotated[int, typer.Option(metavar="N", min=1, max=256, help="Processes to divide them between.")] = 1,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESSES",
            help="Own addresses to connect from, in turn: 127.0.0.2,127.0.0.3 or 127.0.0.2-127.0.0.9.",
        ),
    ] = None,
    password: Annotated[
        str | None, typer.Option(help="HTTP Basic password; {identity} and {number} stand for the station's.")
    ] = None,
    authorization_key: Annotated[
        str | None, typer.Option(metavar="HEX", help="The same as hexadecimal digits, as 1.6 has it.")
    ] = None,
    tls_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM file of the authorities that are trusted with wss URLs.")
    ] = None,
    tls_certificate: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="PEM file of the station's certificate; may have {identity} in it."),
    ] = None,
    tls_key: Annotated[
        str | None, typer.Option(metavar="FILE", help="PEM file of its private key. Default: the certificate's file.")
    ] = None,
    loop: Annotated[
        bool, typer.Option("--loop", help="One station: one charge after the other, until interrupted.")
    ] = False,
    progress: Annotated[ProgressChoice, typer.Option(help="Progress bar; auto: on a terminal.")] = ProgressChoice.auto,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
    engine: Annotated[EngineChoice, typer.Option(help="WebSocket library underneath.")] = EngineChoice.picows,
) -> None:
    """Simulate charging stations: one with a line for whatever it does, or many as a load with a report."""
    need("server", "pydantic", engine.value)
    from evcore.sim.fleet import Credentials, FleetPlan
    from evcore.sim.scenario import ScenarioError

    try:
        if list_scenarios:
            _list()
            return
        one = stations is None and scenario is None
        plan = FleetPlan(
            url=url,
            scenario=_scenario(None if one else scenario or "commuter"),
            version=version.value if version is not None else "1.6" if one else "mixed",
            stations=stations or 1,
            identity=identity or ("CP1" if one else "SIM-{number:06d}"),
            seed=0 if seed is None else seed,
            speed=speed,
            duration=None if duration is None else _seconds("--duration", duration),
            ramp_up=ramp_up,
            start=None if start is None else _moment(start),
            sources=() if source is None else _addresses(source),
            quirks=_quirks(quirk or []),
            credentials=Credentials(
                password, authorization_key, None if tls_ca is None else str(tls_ca), tls_certificate, tls_key
            ),
        )
        _check(plan)
    except ScenarioError as error:
        usage(str(error))
    if one:
        main = _one(plan, seed, speed or 60.0, loop, engine.value)
    else:
        main = _many(plan, engine.value, processes, progress, as_json)
    from evcore.sim.loop import runner

    with runner() as running:
        running.run(main)


# -- options ----------------------------------------------------------------------------------------------------------


def _list() -> None:
    from evcore.sim.scenario import BUNDLED, bundled

    for name in BUNDLED:
        typer.echo(f"{name:12} {bundled(name).description}")


def _scenario(source: str | None) -> Scenario:
    from evcore.sim.scenario import Scenario, load

    return Scenario() if source is None else load(source)


def _seconds(option: str, text: str) -> float:
    from evcore.sim.scenario import seconds

    try:
        return seconds(float(text) if text.replace(".", "", 1).isdigit() else text)
    except ValueError as error:
        usage(f"{option} {error}")


def _moment(text: str) -> float:
    from evcore.sim.clock import parse

    try:
        return parse(text)
    except ValueError:
        usage(f"--start must be a date and time like 2026-03-01T06:00:00Z, not {text!r}")


def _addresses(text: str) -> tuple[str, ...]:
    found: list[str] = []
    try:
        for part in text.split(","):
            low, dash, high = part.partition("-")
            first = ipaddress.ip_address(low.strip())
            count = int(ipaddress.ip_address(high.strip())) - int(first) + 1 if dash else 1
            if not 1 <= count <= 65_536:
                raise ValueError
            found.extend(str(first + step) for step in range(count))
    except ValueError:
        usage(f"--source must be addresses like 127.0.0.2,127.0.0.3 or 127.0.0.2-127.0.0.9, not {text!r}")
    return tuple(found)


def _quirks(given: list[str]) -> tuple[str, ...]:
    from evcore.sim.quirks import QUIRKS

    names = tuple(name.strip().upper() for text in given for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in QUIRKS]
    if unknown:
        usage(f"--quirk does not know {', '.join(unknown)}; known are {', '.join(QUIRKS)}")
    return names


def _check(plan: FleetPlan) -> None:
    """What would fail for every station fails here."""
    try:
        identities = {plan.identity.format(number=number) for number in (1, plan.stations)}
    except (KeyError, IndexError, ValueError):
        usage(f"--id must be text with {{number}} in it at most, not {plan.identity!r}")
    if plan.stations > 1 and len(identities) == 1:
        usage("--id must have {number} in it, or all stations have the same identity")
    try:
        plan.credentials.headers("CP1", 1)
    except (KeyError, IndexError, ValueError):
        usage(
            "--authorization-key must be hexadecimal digits, --password text; both with {identity} or {number} at most"
        )
    if plan.url.startswith("wss:") and not plan.credentials.is_personal:
        from evcore.net.tls import TlsError

        try:
            plan.credentials.context()
        except TlsError as error:
            usage(f"the TLS files cannot be used: {error}")


# -- one station ------------------------------------------------------------------------------------------------------


async def _one(plan: FleetPlan, seed: int | None, speed: float, loop: bool, engine: EngineName) -> None:
    from evcore.net.engine import ConnectError
    from evcore.sim import run as sim

    library = load_engine(engine)
    wanted = sim.Plan(
        plan.url,
        plan.identity,
        plan.version,
        seed,
        speed,
        loop,
        plan.start,
        plan.quirks,
        plan.credentials,
        plan.sources,
    )
    running = asyncio.ensure_future(sim.simulate(wanted, library, typer.echo))
    on_signals(running.cancel)
    try:
        tally = await running
    except ConnectError as error:
        fail(f"no connection to {plan.url} as {plan.identity}: {error}; is a CSMS running there? (evcore serve)")
    except asyncio.CancelledError:
        typer.echo("interrupted")
        return
    overall = tally.overall
    failed = tally.calls - tally.answered + tally.refused + tally.refused_as_expected
    typer.echo(
        f"{tally.charges} charge, {tally.energy / 1000:.2f} kWh; {tally.calls} calls, {failed} failed; "
        f"answers took {overall.mean * 1000:.1f} ms on average, {overall.highest * 1000:.1f} ms at most"
    )
    if tally.losses:
        fail(_sentence(tally.losses))


def _sentence(losses: dict[str, int]) -> str:
    return "not all went well: " + ", ".join(f"{count} {name}" for name, count in losses.items())


# -- many stations ----------------------------------------------------------------------------------------------------


async def _many(plan: FleetPlan, engine: EngineName, processes: int, progress: ProgressChoice, as_json: bool) -> None:
    from evcore.net.engine import ConnectError
    from evcore.sim.run import play

    load_engine(engine)
    stop = asyncio.Event()
    on_signals(stop.set)
    screen = _Screen(plan) if progress == "on" or (progress == "auto" and sys.stderr.isatty()) else _Lines(plan)
    began = asyncio.get_running_loop().time()
    try:
        with screen:
            tally = await play(plan, engine, processes, screen.show, stop)
    except (ConnectError, OSError) as error:
        fail(str(error))
    seconds = asyncio.get_running_loop().time() - began
    if as_json:
        typer.echo(json.dumps({"seconds": round(seconds, 3), **tally.as_json()}, indent=2))
    else:
        _report(tally, seconds)
    if tally.losses:
        fail(_sentence(tally.losses))


class _Progress:
    """Where a run is. Subclasses show it."""

    def __init__(self, plan: FleetPlan) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        speed = plan.speed or plan.scenario.speed
        self._whole = (plan.duration or plan.scenario.duration) / speed
        self._stations = plan.stations
        self._last = (self._began, 0)
        self.rate = 0.0

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        return None

    @property
    def seconds(self) -> float:
        return self._loop.time() - self._began

    def show(self, tally: Tally) -> None:
        now, messages = self._loop.time(), tally.sent + tally.received
        then, before = self._last
        if now - then >= 1.0:
            self.rate, self._last = (messages - before) / (now - then), (now, messages)

    def line(self, tally: Tally) -> str:
        return (
            f"{tally.connected} of {self._stations} connected, {tally.charging} charging, {self.rate:.0f} messages/s, "
            f"{tally.refused + tally.timeouts + tally.lost + tally.discarded} lost"
        )


class _Lines(_Progress):
    """A line now and then, to stderr."""

    def __init__(self, plan: FleetPlan) -> None:
        super().__init__(plan)
        self._next = self._began + _LINE_SECONDS

    def show(self, tally: Tally) -> None:
        super().show(tally)
        if self._loop.time() >= self._next:
            self._next += _LINE_SECONDS
            typer.echo(f"{self.seconds:.0f} s: {self.line(tally)}", err=True)


class _Screen(_Progress):
    """A progress bar, on stderr."""

    def __init__(self, plan: FleetPlan) -> None:
        super().__init__(plan)
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._bar = Progress(
            BarColumn(), TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.description}"),
            console=Console(stderr=True, force_terminal=True), transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("connecting", total=self._whole or None)

    def __enter__(self) -> None:
        self._bar.start()

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def show(self, tally: Tally) -> None:
        super().show(tally)
        self._bar.update(self._task, completed=self.seconds, description=self.line(tally))


def _report(tally: Tally, seconds: float) -> None:
    from rich.console import Console
    from rich.table import Table

    from evcore.sim.stats import PERCENTILES

    table = Table(title="Time from a CALL to its answer, in ms", title_justify="left", box=None)
    table.add_column("action")
    for name in ("answers", "mean", *(f"p{percent:g}" for percent in PERCENTILES), "max"):
        table.add_column(name, justify="right")
    actions = sorted(tally.latency.items(), key=lambda entry: -entry[1].count)
    for action, histogram in [*actions, ("all", tally.overall)]:
        times = [histogram.mean, *(histogram.percentile(percent) for percent in PERCENTILES), histogram.highest]
        table.add_row(action, str(histogram.count), *(f"{time * 1000:.2f}" for time in times))
    Console(highlight=False).print(table)
    messages = tally.sent + tally.received
    connecting = f", {tally.connecting} still connecting" if tally.connecting else ""
    typer.echo(
        f"{tally.booted} of {tally.stations} stations accepted in {seconds:.1f} s{connecting}; {messages} messages, "
        f"{messages / seconds if seconds else 0:.0f} a second\n"
        f"{tally.charges} charges, {tally.energy / 1000:.1f} kWh; {tally.orders} orders of the CSMS\n"
        f"{tally.connects} connections, {tally.connect_failures} attempts failed, {tally.drops} ended on purpose, "
        f"{tally.lost_connections} lost\n"
        f"{tally.calls} calls, {tally.answered} answered, {tally.refused_as_expected} refused as expected of a quirk, "
        f"{tally.refused} refused, {tally.timeouts} timed out"
    )
    for what, count in tally.codes.most_common(10):
        typer.echo(f"refused {count} ×: {what}")
