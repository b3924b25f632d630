"""Settings of `evcore serve`: command-line flags, environment, TOML file, defaults, in this order of strength.

The file is the one named by `--config` or `EVCORE_CONFIG`, else `evcore.toml` in the working directory when there is
one. Unknown keys in the file and values that do not fit, alone or together, are refused: `load` raises SettingsError
with a sentence for people. Names, defaults and sentences come from `evcore.settings.options`.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
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

from evcore.settings.options import OPTIONS

__all__ = ["ServeSettings", "SettingsError", "load"]

PREFIX: Final = "EVCORE_"
DEFAULT_FILE: Final = "evcore.toml"

Gate = Literal["off", "lenient", "strict"]


class SettingsError(Exception):
    """The settings cannot be used; the text is a sentence for people."""


def _field(name: str, **bounds: Any) -> Any:
    return Field(OPTIONS[name].default, description=OPTIONS[name].help, **bounds)


class ServeSettings(BaseSettings):
    """Each field is an option of `evcore.settings.options`, with its bounds. Times are seconds, sizes bytes."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    host: str = _field("host")
    port: int = _field("port", ge=0, le=65535)
    http_host: str = _field("http_host")
    http_port: Annotated[int, Field(ge=0, le=65535)] | None = _field("http_port")
    workers: int = _field("workers", ge=1, le=64)
    engine: Literal["picows", "websockets"] = _field("engine")
    unknown: Literal["accept", "reject"] = _field("unknown")
    stations: Annotated[tuple[str, ...], NoDecode] = _field("stations")
    subprotocol_mismatch: Literal["reject", "close"] = _field("subprotocol_mismatch")
    assume_ocpp16: bool = _field("assume_ocpp16")
    strict_identity: bool = _field("strict_identity")
    identity_from_user: bool = _field("identity_from_user")
    security_profile: int = _field("security_profile", ge=0, le=3)
    credentials: Path | None = _field("credentials")
    unknown_answer: Literal["hide", "tell"] = _field("unknown_answer")
    realm: str = _field("realm", pattern=r"^[ !#-\[\]-~]+$")
    certificate_name: Literal["cn", "san", "either"] = _field("certificate_name")
    organisation: str | None = _field("organisation")
    key_forms: Literal["exact", "either"] = _field("key_forms")
    tls_certificate: Annotated[tuple[Path, ...], NoDecode] = _field("tls_certificate")
    tls_key: Annotated[tuple[Path, ...], NoDecode] = _field("tls_key")
    tls_client_ca: Path | None = _field("tls_client_ca")
    tls_minimum: Literal["1.2", "1.3"] = _field("tls_minimum")
    client_certificate: Literal["optional", "required"] = _field("client_certificate")
    accept_rate: float = _field("accept_rate", ge=0)
    accept_burst: int = _field("accept_burst", ge=1)
    retry_most: float = _field("retry_most", ge=1)
    address_rate: float = _field("address_rate", ge=0)
    address_burst: int = _field("address_burst", ge=1)
    address_unfinished: int = _field("address_unfinished", ge=0)
    unfinished: int = _field("unfinished", ge=0)
    exempt: Annotated[tuple[str, ...], NoDecode] = _field("exempt")
    handshake_seconds: float = _field("handshake_seconds", gt=0)
    failures: int = _field("failures", ge=0)
    identity_failures: int = _field("identity_failures", ge=0)
    address_failures: int = _field("address_failures", ge=0)
    failure_delay: float = _field("failure_delay", ge=0)
    failure_delay_most: float = _field("failure_delay_most", ge=0)
    failure_memory: float = _field("failure_memory", ge=0)
    boot_rate: float = _field("boot_rate", ge=0)
    boot_burst: int = _field("boot_burst", ge=1)
    pending_most: int = _field("pending_most", ge=1, le=86400)
    heartbeat_interval: int = _field("heartbeat_interval", ge=1, le=86400)
    interval_jitter: float = _field("interval_jitter", ge=0, le=0.5)
    boot_gate_ocpp16: Gate = _field("boot_gate_ocpp16")
    boot_gate_ocpp2: Gate = _field("boot_gate_ocpp2")
    max_frame: int = _field("max_frame", ge=1024, le=1024 * 1024)
    deflate: Literal["auto", "on", "off"] = _field("deflate")
    deflate_window: int = _field("deflate_window", ge=9, le=15)
    deflate_least: int = _field("deflate_least", ge=0)
    ping_interval: float = _field("ping_interval", ge=0)
    idle_timeout: float = _field("idle_timeout", ge=0)
    max_waiting: int = _field("max_waiting", ge=4096)
    stall_seconds: float = _field("stall_seconds", gt=0)
    receive_buffer: int = _field("receive_buffer", ge=2048)
    backlog: int = _field("backlog", ge=1, le=65535)
    inbox: int = _field("inbox", ge=1, le=10_000)
    queue: int = _field("queue", ge=1, le=10_000)
    call_timeout: float = _field("call_timeout", gt=0)
    handler_timeout: float = _field("handler_timeout", gt=0)
    drain_seconds: float = _field("drain_seconds", ge=0, le=3600)
    drain_grace: float = _field("drain_grace", ge=0, le=3600)
    drain_code: Literal["1001", "1012"] = _field("drain_code")
    message_log: Path | None = _field("message_log")
    message_log_max_bytes: int = _field("message_log_max_bytes", ge=4096)
    log_level: Literal["debug", "info", "warning", "error"] = _field("log_level")
    table: Literal["auto", "on", "off"] = _field("table")
    simulate: int = _field("simulate", ge=0, le=100)
    simulate_speed: float = _field("simulate_speed", gt=0, le=100_000)

    @field_validator("stations", "exempt", "tls_certificate", "tls_key", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value

    @field_validator("exempt")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network)
        return value

    @field_validator("http_port", mode="before")
    @classmethod
    def _none(cls, value: object) -> object:
        return None if value == "none" else value

    @field_validator("drain_code", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        return str(value) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _together(self) -> ServeSettings:
        if len(self.tls_certificate) != len(self.tls_key):
            raise ValueError(
                f"tls_certificate names {len(self.tls_certificate)} files and tls_key {len(self.tls_key)}: "
                "each certificate needs its key"
            )
        if self.tls_client_ca is not None and not self.tls_certificate:
            raise ValueError("tls_client_ca needs tls_certificate and tls_key: certificates are shown over TLS alone")
        if self.security_profile in (1, 2) and self.credentials is None:
            raise ValueError(f"security_profile {self.security_profile} needs credentials: stations show passwords")
        if self.security_profile >= 2 and not self.tls_certificate:
            raise ValueError(f"security_profile {self.security_profile} needs tls_certificate and tls_key")
        if self.security_profile == 3 and self.tls_client_ca is None:
            raise ValueError("security_profile 3 needs tls_client_ca: stations show certificates")
        if self.simulate and (self.credentials or self.security_profile):
            raise ValueError("simulate and credentials exclude each other: the simulated stations have no passwords")
        if self.simulate and self.tls_certificate:
            raise ValueError("simulate and tls_certificate exclude each other: the simulated stations come without TLS")
        return self


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
    if not first["loc"]:
        return f"the settings do not fit together: {first['ctx']['error']}"
    name = str(first["loc"][0])
    if name in flags:
        where = f"--{name.replace('_', '-')}"
    elif f"{PREFIX}{name.upper()}" in os.environ:
        where = f"the environment variable {PREFIX}{name.upper()}"
    else:
        where = f"the key {name!r} of the settings file"
    return f"{where} cannot be {first['input']!r}: {first['msg'][:1].lower()}{first['msg'][1:]}"
