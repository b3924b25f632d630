"""The settings of a simulated station: 1.6 configuration keys and 2.x variables over the same few values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["Device", "Setting"]


@dataclass(slots=True)
class Setting:
    """A value under its 1.6 key and its 2.x component and variable. `whole`: only a whole number ≥ 0 may be written."""

    key: str
    component: str
    variable: str
    value: str
    writable: bool = False
    whole: bool = False

    def write(self, value: str) -> bool:
        """Takes a new value; False where it may not be written or does not fit."""
        if not self.writable or (self.whole and not (value.isascii() and value.isdigit())):
            return False
        self.value = value
        return True


_SETTINGS: Final = (
    ("HeartbeatInterval", "OCPPCommCtrlr", "HeartbeatInterval", "300", True, True),
    ("MeterValueSampleInterval", "SampledDataCtrlr", "TxUpdatedInterval", "60", True, True),
    ("NumberOfConnectors", "ChargingStation", "ConnectorCount", "1", False, True),
    ("ConnectionTimeOut", "TxCtrlr", "EVConnectionTimeOut", "60", True, True),
    ("AuthorizeRemoteTxRequests", "AuthCtrlr", "AuthorizeRemoteStart", "false", False, False),
    ("LocalPreAuthorize", "AuthCtrlr", "LocalPreAuthorize", "false", False, False),
    ("StopTransactionOnEVSideDisconnect", "TxCtrlr", "StopTxOnEVSideDisconnect", "true", False, False),
    ("MeterValuesSampledData", "SampledDataCtrlr", "TxUpdatedMeasurands",
     "Energy.Active.Import.Register,Power.Active.Import,Current.Import,Voltage,SoC", False, False),
    ("SupportedFeatureProfiles", "ChargingStation", "Profiles", "Core,RemoteTrigger", False, False),
)  # fmt: skip


class Device:
    """The settings of one station."""

    def __init__(self) -> None:
        self._settings = [Setting(*fields) for fields in _SETTINGS]

    def __iter__(self) -> Iterator[Setting]:
        return iter(self._settings)

    def key(self, name: str) -> Setting | None:
        """By 1.6 key; these are compared without regard to case (quirk of many servers and stations)."""
        return next((setting for setting in self if setting.key.lower() == name.lower()), None)

    def has_component(self, component: str) -> bool:
        return any(setting.component.lower() == component.lower() for setting in self)

    def variable(self, component: str, name: str) -> Setting | None:
        """By 2.x component and variable, compared without regard to case (Part 1 section 4)."""
        wanted = component.lower(), name.lower()
        return next((each for each in self if (each.component.lower(), each.variable.lower()) == wanted), None)

    def seconds(self, key: str) -> int:
        """A whole number by its 1.6 key."""
        setting = self.key(key)
        return 0 if setting is None else int(setting.value)
