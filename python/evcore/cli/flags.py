"""Flags of a command, made of a table of `evcore.settings.options`, and what was given of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from evcore.settings.options import Option

__all__ = ["given", "takes"]

F = TypeVar("F", bound=Callable[..., None])


def takes(options: Mapping[str, Option]) -> Callable[[F], F]:
    """Gives a command `(config, **given)` these options as flags, and `--config`."""
    parameters = [_parameter(option) for option in options.values() if option.has_flag]

    def dress(command: F) -> F:
        # typer reads both: the signature for order and defaults, the annotations for types.
        command.__signature__ = inspect.Signature([*parameters, _CONFIG])  # type: ignore[attr-defined]
        command.__annotations__ = {each.name: each.annotation for each in (*parameters, _CONFIG)}
        return command

    return dress


def given(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Those that stand on the command line."""
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in flags.items()
        if value is not None and value != []
    }


def _parameter(option: Option) -> inspect.Parameter:
    # Every flag is None unless given: only then is it stronger than environment and file.
    kind: Any = option.kind
    if option.choices:
        # typer shows the members of an enumeration as the words there are.
        make: Any = StrEnum
        kind = make(option.name, {choice: choice for choice in option.choices})
    if option.many:
        kind = list[kind]
    names = (option.flag, f"--no-{option.flag[2:]}") if kind is bool else (option.flag,)
    declared = "/".join(names)
    text = f"{option.help} Default: {option.shown}."
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            kind | None,
            typer.Option(declared, help=text, metavar=option.metavar, rich_help_panel=option.panel),
        ],
    )


_CONFIG = inspect.Parameter(
    "config",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Settings as TOML. Default: EVCORE_CONFIG, else evcore.toml here if there is one."
        ),
    ],
)
