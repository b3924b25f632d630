"""Settings about MQTT, the same in `evcore serve` and `evcore bridge`; docs/mqtt.md explains them.

Comes in: values of `evcore.settings.source`. Goes out: fields, with bounds. What needs the bridge's own code to be
judged (URLs, topics, rules for commands) is judged where it is used, when the command starts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode

from evcore.settings.options import MQTT

__all__ = ["MqttSettings"]

QosClass = Literal["telemetry", "status", "command", "billing"]
#: Sites, say, are written `name=value,name=value` where there is no TOML.
_MAPS = ("mqtt_qos", "mqtt_classes", "mqtt_retain", "mqtt_sites")


def _field(name: str, **bounds: Any) -> Any:
    option = MQTT[name]
    return Field(option.default, description=option.help, repr=not option.secret, **bounds)


class MqttSettings(BaseSettings):
    """Each field is an option of `evcore.settings.options`. Times are seconds, sizes bytes."""

    mqtt: Annotated[tuple[str, ...], NoDecode] = _field("mqtt")
    mqtt_version: Literal["5", "3.1.1"] = _field("mqtt_version")
    mqtt_node: str | None = _field("mqtt_node", min_length=1)
    mqtt_client_id: str | None = _field("mqtt_client_id", min_length=1, max_length=65_535)
    mqtt_username: str | None = _field("mqtt_username")
    mqtt_password: str | None = _field("mqtt_password")
    mqtt_password_file: Path | None = _field("mqtt_password_file")
    mqtt_password_command: str | None = _field("mqtt_password_command", min_length=1)
    mqtt_ca: Path | None = _field("mqtt_ca")
    mqtt_certificate: Path | None = _field("mqtt_certificate")
    mqtt_key: Path | None = _field("mqtt_key")
    mqtt_key_password: str | None = _field("mqtt_key_password")
    mqtt_verify: bool = _field("mqtt_verify")
    mqtt_keepalive: int = _field("mqtt_keepalive", ge=1, le=65_535)
    mqtt_session_expiry: int = _field("mqtt_session_expiry", ge=0, le=2**32 - 1)
    mqtt_window: int = _field("mqtt_window", ge=1, le=60_000)
    mqtt_receive_maximum: int = _field("mqtt_receive_maximum", ge=1, le=65_535)
    mqtt_receive_bytes: int = _field("mqtt_receive_bytes", ge=1024, le=268_435_455)
    mqtt_connect_timeout: float = _field("mqtt_connect_timeout", gt=0, le=3600)
    mqtt_ack_timeout: float = _field("mqtt_ack_timeout", gt=0, le=3600)
    mqtt_backoff_first: float = _field("mqtt_backoff_first", gt=0, le=3600)
    mqtt_backoff_most: float = _field("mqtt_backoff_most", gt=0, le=86_400)
    mqtt_stable_after: float = _field("mqtt_stable_after", gt=0)
    mqtt_early_ends: int = _field("mqtt_early_ends", ge=0)
    mqtt_doubt: bool = _field("mqtt_doubt")
    mqtt_shuffle: bool = _field("mqtt_shuffle")
    mqtt_refusals: int = _field("mqtt_refusals", ge=1, le=1_000_000)
    mqtt_will_delay: int = _field("mqtt_will_delay", ge=0, le=2**32 - 1)
    mqtt_telemetry_waiting: int = _field("mqtt_telemetry_waiting", ge=0, le=2**31)
    mqtt_flush_seconds: float = _field("mqtt_flush_seconds", ge=0, le=3600)
    mqtt_spool: Path = _field("mqtt_spool")
    mqtt_spool_bytes: int = _field("mqtt_spool_bytes", ge=65_536)
    mqtt_spool_age: float = _field("mqtt_spool_age", ge=0)
    mqtt_spool_reserve: int = _field("mqtt_spool_reserve", ge=0)
    mqtt_spool_memory: int = _field("mqtt_spool_memory", ge=65_536)
    mqtt_durability: Literal["full", "normal"] = _field("mqtt_durability")
    mqtt_mode: Literal["json", "flat", "both"] = _field("mqtt_mode")
    mqtt_qos: Annotated[dict[QosClass, Annotated[int, Field(ge=0, le=2)]], NoDecode] = _field("mqtt_qos")
    mqtt_classes: Annotated[dict[str, QosClass], NoDecode] = _field("mqtt_classes")
    mqtt_retain: Annotated[dict[str, bool], NoDecode] = _field("mqtt_retain")
    mqtt_tokens: bool = _field("mqtt_tokens")
    mqtt_telemetry_expiry: int = _field("mqtt_telemetry_expiry", ge=0, le=2**32 - 1)
    mqtt_raw: Literal["off", "in", "out", "both"] = _field("mqtt_raw")
    mqtt_prefix: str = _field("mqtt_prefix")
    mqtt_topic_status: str = _field("mqtt_topic_status")
    mqtt_topic_metrics: str = _field("mqtt_topic_metrics")
    mqtt_topic_events: str = _field("mqtt_topic_events")
    mqtt_topic_availability: str = _field("mqtt_topic_availability")
    mqtt_topic_command: str = _field("mqtt_topic_command")
    mqtt_topic_result: str = _field("mqtt_topic_result")
    mqtt_topic_device: str = _field("mqtt_topic_device")
    mqtt_topic_site: str = _field("mqtt_topic_site")
    mqtt_topic_heartbeat: str = _field("mqtt_topic_heartbeat")
    mqtt_topic_node: str = _field("mqtt_topic_node")
    mqtt_topic_raw: str = _field("mqtt_topic_raw")
    mqtt_topic_raw_call: str = _field("mqtt_topic_raw_call")
    mqtt_sites: Annotated[dict[str, tuple[str, ...]], NoDecode] = _field("mqtt_sites")
    mqtt_site_interval: float = _field("mqtt_site_interval", gt=0)
    mqtt_site_stale: float = _field("mqtt_site_stale", gt=0)
    mqtt_heartbeat_interval: float = _field("mqtt_heartbeat_interval", ge=0)
    mqtt_discovery: bool = _field("mqtt_discovery")
    mqtt_discovery_prefix: str = _field("mqtt_discovery_prefix", min_length=1)
    mqtt_grace: float = _field("mqtt_grace", ge=0)
    mqtt_pace: float = _field("mqtt_pace", gt=0)
    mqtt_values_waiting: int = _field("mqtt_values_waiting", ge=1)
    mqtt_commands: Annotated[tuple[str, ...], NoDecode] = _field("mqtt_commands")
    mqtt_replies: Annotated[tuple[str, ...], NoDecode] = _field("mqtt_replies")
    mqtt_command_lifetime: float = _field("mqtt_command_lifetime", gt=0)
    mqtt_command_longest: float = _field("mqtt_command_longest", gt=0)
    mqtt_command_timeout: float = _field("mqtt_command_timeout", gt=0)
    mqtt_reconnecting: float = _field("mqtt_reconnecting", ge=0)
    mqtt_command_bytes: int = _field("mqtt_command_bytes", ge=1)
    mqtt_result_bytes: int = _field("mqtt_result_bytes", ge=1)
    mqtt_station_queue: int = _field("mqtt_station_queue", ge=1)
    mqtt_queue: int = _field("mqtt_queue", ge=1)
    mqtt_answers: float = _field("mqtt_answers", ge=0)
    mqtt_answers_burst: int = _field("mqtt_answers_burst", ge=1)
    mqtt_commands_kept: float = _field("mqtt_commands_kept", gt=0)

    @field_validator("mqtt", "mqtt_commands", "mqtt_replies", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value

    # Of two such validators the one that stands last comes first: text becomes pairs, then these become patterns.
    @field_validator("mqtt_sites", mode="before")
    @classmethod
    def _patterns(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {
            site: tuple(part.strip() for part in text.split("|")) if isinstance(text, str) else text
            for site, text in value.items()
        }

    @field_validator(*_MAPS, mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        found: dict[str, str] = {}
        for pair in value.split(","):
            name, equals, text = (part.strip() for part in pair.partition("="))
            if not (name and equals and text):
                raise ValueError(f"{pair.strip()!r} is no NAME=VALUE")
            if name in found:
                raise ValueError(f"{name!r} stands there twice")
            found[name] = text
        return found

    @model_validator(mode="after")
    def _one_password(self) -> MqttSettings:
        names = ("mqtt_password", "mqtt_password_file", "mqtt_password_command")
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{given[0]} and {given[1]} exclude each other: a connection has one password")
        if self.mqtt_key is not None and self.mqtt_certificate is None:
            raise ValueError("mqtt_key needs mqtt_certificate")
        if self.mqtt_backoff_first > self.mqtt_backoff_most:
            raise ValueError("mqtt_backoff_first is longer than mqtt_backoff_most")
        return self
