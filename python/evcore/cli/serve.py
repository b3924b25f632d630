"""`evcore serve`: the CSMS. Flags are made of the table in `evcore.settings.options`."""

from __future__ import annotations

import inspect
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from evcore.cli.common import EngineChoice, need, run, usage
from evcore.settings.options import OPTIONS, Option

__all__ = ["EngineChoice", "serve"]


def serve(config: Path | None, **given: Any) -> None:
    """Serve charging stations of OCPP 1.6, 2.0.1 and 2.1 on one port.

    Every option is also a setting: --message-log is EVCORE_MESSAGE_LOG in the environment and message_log in the file.

    Options win over the environment, the environment wins over the file.
    """
    need("server", "pydantic_settings", "prometheus_client")
    from evcore.cli import serving
    from evcore.settings.model import SettingsError, load

    flags = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given.items()
        if value is not None and value != []
    }
    try:
        settings = load(flags, config)
    except SettingsError as error:
        usage(str(error))
    run(serving.single(settings) if settings.workers == 1 else serving.several(settings))


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
        annotation=Annotated[kind | None, typer.Option(declared, help=text, metavar=option.metavar)],
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
_PARAMETERS = [*map(_parameter, OPTIONS.values()), _CONFIG]
# typer reads both: the signature for order and defaults, the annotations for types.
serve.__signature__ = inspect.Signature(_PARAMETERS)  # type: ignore[attr-defined]
serve.__annotations__ = {parameter.name: parameter.annotation for parameter in _PARAMETERS}
