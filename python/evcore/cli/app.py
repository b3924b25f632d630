"""All commands in one place; each lives in a module of its own."""

from __future__ import annotations

from typing import Annotated

import typer

import evcore
from evcore.cli.bridge import bridge
from evcore.cli.check import check
from evcore.cli.credential import credential
from evcore.cli.doctor import doctor
from evcore.cli.serve import serve
from evcore.cli.simulate import simulate

__all__ = ["app"]

app = typer.Typer(
    help="OCPP 1.6, 2.0.1 and 2.1: a strict and fast codec, and a CSMS on top of it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# The commands, in the order `evcore --help` lists them: one line each.
app.command()(serve)
app.command()(bridge)
app.command()(simulate)
app.command()(check)
app.command()(doctor)
app.add_typer(credential, name="credential")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"evcore {evcore.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Options of `evcore` itself."""
