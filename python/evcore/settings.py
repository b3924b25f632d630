"""Settings of `evcore serve`: command-line flags, environment, TOML file, defaults, in this order of strength.

A flag `--message-log` is the environment variable `EVCORE_MESSAGE_LOG` and the TOML key `message_log`. The file is the
one named by `--config` or `EVCORE_CONFIG`, else `evcore.toml` in the working directory when there is one. Unknown keys
in the file and values that do not fit are refused: `load` raises SettingsError with a sentence for people.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import (
    SettingsError as SourceError,
)

__all__ = ["ServeSettings", "SettingsError", "load"]

PREFIX: Final = "EVCORE_"
DEFAULT_FILE: Final = "evcore.toml"


class SettingsError(Exception):
    """The settings cannot be used; the text is a sentence for people."""


class ServeSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all.")
    port: int = Field(9000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    engine: Literal["picows", "websockets"] = Field("picows", description="WebSocket library underneath.")
    unknown: Literal["accept", "reject"] = Field(
        "accept", description="Stations not among `stations`: let in or HTTP 404."
    )
    stations: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Identities of the known stations; separated by commas outside of TOML."
    )
    subprotocol_mismatch: Literal["reject", "close"] = Field(
        "reject", description="No common OCPP version: refuse the upgrade, or upgrade and close."
    )
    assume_ocpp16: bool = Field(False, description="Speak ocpp1.6 with stations that name no subprotocol at all.")
    heartbeat_interval: int = Field(300, ge=1, le=86400, description="Seconds, told to booting stations.")
    max_frame: int = Field(
        1024 * 1024, ge=1024, le=1024 * 1024, description="Bytes of the largest message; beyond: close 1009."
    )
    message_log: Path | None = Field(None, description="File for all messages, as JSON lines without secrets.")
    message_log_max_bytes: int = Field(
        64 * 1024 * 1024, ge=4096, description="Size at which the message log becomes FILE.1 and starts again."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe log lines shown.")
    table: Literal["auto", "on", "off"] = Field("auto", description="Live table of stations; auto: on a terminal.")
    simulate: int = Field(0, ge=0, le=100, description="Stations to simulate against this server, of all versions.")
    simulate_speed: float = Field(60.0, gt=0, le=100_000, description="Simulated seconds per second.")

    @field_validator("stations", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value


class _File(InitSettingsSource):
    """The TOML file's keys; weaker than the environment, which is why it is a source of its own."""


def load(flags: Mapping[str, Any], config: Path | None = None) -> ServeSettings:
    """The settings. `flags` holds what was given on the command line, by field name. Raises SettingsError."""
    file = _read(config)

    class Sourced(ServeSettings):
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
        return Sourced(**flags)
    except ValidationError as error:
        raise SettingsError(_sentence(error, flags)) from None
    except SourceError as error:
        raise SettingsError(f"the environment cannot be used: {error}") from None


def _read(config: Path | None) -> dict[str, Any]:
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
        if key not in ServeSettings.model_fields:
            known = ", ".join(ServeSettings.model_fields)
            raise SettingsError(f"the settings file {path} has the unknown key {key!r}; known are {known}")
    return file


def _sentence(error: ValidationError, flags: Mapping[str, Any]) -> str:
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else "settings"
    if name in flags:
        where = f"--{name.replace('_', '-')}"
    elif f"{PREFIX}{name.upper()}" in os.environ:
        where = f"the environment variable {PREFIX}{name.upper()}"
    else:
        where = f"the key {name!r} of the settings file"
    return f"{where} cannot be {first['input']!r}: {first['msg'][:1].lower()}{first['msg'][1:]}"
