"""What the bridge remembers of one station: its connection, its boot, its connectors, its last single values.

In: events of the station. Out: the snapshot that its status topic holds. Bounded: so many connectors and no more; those
beyond are left out, so that no station fills a broker with retained topics.
"""

from __future__ import annotations

from typing import Any

from evcore.bus.bodies import ConnectorStatus, StationBooted, StationOffline, StationOnline
from evcore.mqtt.publisher.flat import Values

__all__ = ["Charger"]


class Charger:
    """`most`: connectors remembered. The bodies of events are kept as they are: the bus has them anyway."""

    __slots__ = ("_boot", "_connectors", "_most", "_version", "online", "values")

    def __init__(self, most: int, *, flat: bool) -> None:
        self._most = most
        self._version = ""
        self._boot: StationBooted | None = None
        self._connectors: dict[tuple[int, int], ConnectorStatus] = {}
        self.online = False
        self.values: Values | None = Values(most) if flat else None

    @property
    def known(self) -> bool:
        """Whether the station was ever here."""
        return bool(self._version)

    @property
    def version(self) -> str:
        """OCPP version of its last connection; empty if there was none."""
        return self._version

    @property
    def boot(self) -> StationBooted | None:
        """What the station said of itself when it booted last."""
        return self._boot

    def take(self, body: StationOnline | StationOffline | StationBooted | ConnectorStatus) -> bool:
        """False for a connector beyond the bound: nothing has changed."""
        if isinstance(body, ConnectorStatus):
            place = body.evse, body.connector
            if place not in self._connectors and len(self._connectors) >= self._most:
                return False
            self._connectors[place] = body
            return True
        if isinstance(body, StationBooted):
            self._boot = body
        else:
            self.online = isinstance(body, StationOnline)
        if self._version != body.version:
            # Connector numbers mean what they mean in their version only.
            if self._version:
                self._connectors.clear()
            self._version = body.version
        return True

    def snapshot(self, station: str) -> dict[str, Any]:
        """The station as JSON values: schemas/charger.status.json, without its head."""
        found: dict[str, Any] = {"station": station, "online": self.online}
        if self._version:
            found["version"] = self._version
        boot = self._boot
        if boot is not None:
            found |= {"vendor": boot.vendor, "model": boot.model}
            for name in ("serial", "firmware"):
                if (value := getattr(boot, name)) is not None:
                    found[name] = value
            found["boot"] = boot.status
        found["connectors"] = [_shown(self._connectors[place]) for place in sorted(self._connectors)]
        return found


def _shown(body: ConnectorStatus) -> dict[str, Any]:
    found: dict[str, Any] = {"evse": body.evse, "connector": body.connector, "status": body.status}
    for name in ("error", "info", "vendor_error", "time"):
        if (value := getattr(body, name)) is not None:
            found[name] = value
    return found
