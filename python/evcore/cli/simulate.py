"""`evcore simulate`: one simulated station."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Annotated

import typer

from evcore.cli.common import fail, load_engine, on_signals, run
from evcore.cli.serve import EngineChoice

__all__ = ["simulate"]


class VersionChoice(StrEnum):
    v16 = "1.6"
    v201 = "2.0.1"
    v21 = "2.1"


def simulate(
    url: Annotated[str, typer.Option(help="Endpoint URL of the CSMS, without the identity.")] = "ws://localhost:9000",
    identity: Annotated[str, typer.Option("--id", help="Identity of the station.")] = "CP1",
    version: Annotated[VersionChoice, typer.Option(help="OCPP version.")] = VersionChoice.v16,
    speed: Annotated[
        float, typer.Option(metavar="X", min=0.1, max=100_000, help="Simulated seconds per second.")
    ] = 60.0,
    seed: Annotated[int | None, typer.Option(help="The same seed charges the same car in the same way.")] = None,
    loop: Annotated[bool, typer.Option("--loop", help="One charge after the other, until interrupted.")] = False,
    engine: Annotated[EngineChoice, typer.Option(help="WebSocket library underneath.")] = EngineChoice.picows,
) -> None:
    """Simulate one station: boot, plug-in, authorization, a charge with meter values, unplug."""
    run(_simulate(url, identity, version.value, speed, seed, loop, engine))


async def _simulate(
    url: str, identity: str, version: str, speed: float, seed: int | None, loop: bool, engine: EngineChoice
) -> None:
    from evcore.net.connection import CallFailed
    from evcore.net.engine import ConnectError
    from evcore.sim import run as sim
    from evcore.sim.station import BootRefused

    library = load_engine(engine.value)
    plan = sim.Plan(url, identity, version, seed, speed, loop)
    running = asyncio.ensure_future(sim.simulate(plan, library, lambda line: typer.echo(line)))
    on_signals(running.cancel)
    try:
        tally = await running
    except ConnectError as error:
        fail(f"no connection to {url} as {identity}: {error}; is a CSMS running there? (evcore serve)")
    except (BootRefused, CallFailed) as error:
        fail(f"the scenario ended early: {error}")
    except asyncio.CancelledError:
        typer.echo("interrupted")
        return
    mean = tally.waited / tally.answered * 1000 if tally.answered else 0.0
    typer.echo(
        f"{tally.charges} charge, {tally.energy / 1000:.2f} kWh; {tally.calls} calls, {tally.failed} failed; "
        f"answers took {mean:.1f} ms on average, {tally.slowest * 1000:.1f} ms at most"
    )
    if tally.failed:
        fail(f"{tally.failed} of {tally.calls} calls got no result")
