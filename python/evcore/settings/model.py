"""Settings of `evcore serve` and `evcore bridge`: their fields, and what must fit together.

Comes in: values of `evcore.settings.source`, from flags, environment and file. Goes out: settings that cannot change.
Names, defaults and sentences come from `evcore.settings.options`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from evcore.settings.mqtt import MqttSettings
from evcore.settings.options import BRIDGE, OPTIONS
from evcore.settings.source import PREFIX, SettingsError, read

__all__ = ["BridgeSettings", "ServeSettings", "SettingsError", "load", "load_bridge"]

Gate = Literal["off", "lenient", "strict"]
HttpPort = Annotated[int, Field(ge=0, le=65535)] | None
LogLevel = Literal["debug", "info", "warning", "error"]
_CONFIG: Final = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)


def _field(name: str, **bounds: Any) -> Any:
    return Field(OPTIONS[name].default, description=OPTIONS[name].help, **bounds)


def _none(value: object) -> object:
    return None if value == "none" else value


class _Serve(BaseSettings):
    """Each field is an option of `evcore.settings.options`, with its bounds. Times are seconds, sizes bytes."""

    model_config = _CONFIG

    host: str = _field("host")
    port: int = _field("port", ge=0, le=65535)
    http_host: str = _field("http_host")
    http_port: HttpPort = _field("http_port")
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
    log_level: LogLevel = _field("log_level")
    table: Literal["auto", "on", "off"] = _field("table")
    simulate: int = _field("simulate", ge=0, le=100)
    simulate_speed: float = _field("simulate_speed", gt=0, le=100_000)
    feed: Path | None = _field("feed")
    feed_wait: float = _field("feed_wait", gt=0, le=3600)

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

    _http_port = field_validator("http_port", mode="before")(_none)

    @field_validator("drain_code", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        return str(value) if isinstance(value, int) else value


class ServeSettings(MqttSettings, _Serve):
    """Settings of `evcore serve`."""

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
        if self.feed is not None and self.mqtt:
            raise ValueError("feed and mqtt exclude each other: with feed it is the bridge that speaks to the broker")
        return self


class _Bridge(BaseSettings):
    """The fields of a bridge that are not about MQTT."""

    model_config = _CONFIG

    feed: Path = Field(BRIDGE["feed"].default, description=BRIDGE["feed"].help)
    http_host: str = _field("http_host")
    http_port: HttpPort = _field("http_port")
    log_level: LogLevel = _field("log_level")

    _http_port = field_validator("http_port", mode="before")(_none)


class BridgeSettings(MqttSettings, _Bridge):
    """Settings of `evcore bridge`."""

    @model_validator(mode="after")
    def _needs_a_broker(self) -> BridgeSettings:
        if not self.mqtt:
            raise ValueError("a bridge needs mqtt, the URL of its broker")
        return self


def load(flags: Mapping[str, Any], config: Path | None = None) -> ServeSettings:
    """The settings of `evcore serve`. `flags` holds what was given on the command line, by field name. Raises
    SettingsError.
    """
    return read(ServeSettings, OPTIONS, BRIDGE, flags, config)


def load_bridge(flags: Mapping[str, Any], config: Path | None = None) -> BridgeSettings:
    """The same of `evcore bridge`."""
    return read(BridgeSettings, BRIDGE, OPTIONS, flags, config)
