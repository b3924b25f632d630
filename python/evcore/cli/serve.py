"""`evcore serve`: the CSMS. Flags are made of the table in `evcore.settings.options`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evcore.cli import flags
from evcore.cli.common import EngineChoice, need, run, usage
from evcore.settings.options import OPTIONS

__all__ = ["EngineChoice", "serve"]


@flags.takes(OPTIONS)
def serve(config: Path | None, **given: Any) -> None:
    """Serve charging stations of OCPP 1.6, 2.0.1 and 2.1 on one port.

    Every option is also a setting: --message-log is EVCORE_MESSAGE_LOG in the environment and message_log in the file.

    Options win over the environment, the environment wins over the file.
    """
    need("server", "pydantic_settings", "prometheus_client")
    from evcore.cli import serving
    from evcore.settings.model import SettingsError, load

    try:
        settings = load(flags.given(given), config)
    except SettingsError as error:
        usage(str(error))
    run(serving.single(settings) if settings.workers == 1 else serving.several(settings))
