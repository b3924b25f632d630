"""Where settings come from: command-line flags, environment, TOML file, defaults, in this order of strength.

The file is the one named by `--config` or `EVCORE_CONFIG`, else `evcore.toml` in the working directory when there is
one. Unknown keys in the file and values that do not fit, alone or together, are refused: SettingsError with a sentence
for people, which repeats no secret. A file may hold keys of another command as well.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource
from pydantic_settings import SettingsError as SourceError

from evcore.settings.options import Option

__all__ = ["PREFIX", "SettingsError", "read"]

PREFIX: Final = "EVCORE_"
DEFAULT_FILE: Final = "evcore.toml"

S = TypeVar("S", bound=BaseSettings)


class SettingsError(Exception):
    """The settings cannot be used; the text is a sentence for people."""


class _File(InitSettingsSource):
    """The TOML file's keys; weaker than the environment, which is why it is a source of its own."""


def read(
    model: type[S],
    options: Mapping[str, Option],
    others: Collection[str],
    flags: Mapping[str, Any],
    config: Path | None,
) -> S:
    """The settings. `flags` holds what was given on the command line, by field name; `others` are keys of other
    commands. Raises SettingsError.
    """
    file = _file(config, options, others)

    class Sourced(model):  # type: ignore[misc,valid-type]
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, _File(settings_cls, file)

    try:
        found: S = Sourced(**flags)
    except ValidationError as error:
        raise SettingsError(_sentence(error, flags, options)) from None
    except SourceError as error:
        raise SettingsError(f"the environment cannot be used: {error}") from None
    return found


def _file(config: Path | None, options: Mapping[str, Option], others: Collection[str]) -> dict[str, Any]:
    named = config or (Path(value) if (value := os.environ.get(f"{PREFIX}CONFIG")) else None)
    path = named or Path(DEFAULT_FILE)
    if named is None and not path.is_file():
        return {}
    try:
        file = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"the settings file {path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise SettingsError(f"the settings file {path} is not TOML: {error}") from None
    for key in file:
        if key not in options and key not in others:
            known = ", ".join(options)
            raise SettingsError(f"the settings file {path} has the unknown key {key!r}; known are {known}")
    return {key: value for key, value in file.items() if key in options}


def _sentence(error: ValidationError, flags: Mapping[str, Any], options: Mapping[str, Option]) -> str:
    first = error.errors(include_url=False)[0]
    if not first["loc"]:
        return f"the settings do not fit together: {first['ctx']['error']}"
    name = str(first["loc"][0])
    if name in flags:
        where = f"--{name.replace('_', '-')}"
    elif f"{PREFIX}{name.upper()}" in os.environ:
        where = f"the environment variable {PREFIX}{name.upper()}"
    else:
        where = f"the key {name!r} of the settings file"
    what = first["msg"]
    what = f"{what[:1].lower()}{what[1:]}"
    return (
        f"{where} cannot be used: {what}" if options[name].secret else f"{where} cannot be {first['input']!r}: {what}"
    )
