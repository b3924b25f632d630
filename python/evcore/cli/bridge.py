"""`evcore bridge`: the bus of other processes on a broker. Flags are made of the table in `evcore.settings.options`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evcore.cli import flags
from evcore.cli.common import need, run, usage
from evcore.settings.options import BRIDGE

__all__ = ["bridge"]


@flags.takes(BRIDGE)
def bridge(config: Path | None, **given: Any) -> None:
    """Connect evcore servers on this machine to an MQTT broker: they run with --feed and the same socket.

    Every option is also a setting: --mqtt-ca is EVCORE_MQTT_CA in the environment and mqtt_ca in the file.

    Options win over the environment, the environment wins over the file.
    """
    need("server", "pydantic_settings", "prometheus_client")
    need("mqtt", "aiomqtt", "paho")
    from evcore.cli import bridging
    from evcore.settings.model import SettingsError, load_bridge

    try:
        settings = load_bridge(flags.given(given), config)
    except SettingsError as error:
        usage(str(error))
    run(bridging.alone(settings))
