"""The settings of a simulated station: 1.6 configuration keys and 2.x variables over the same values.

In: what the CSMS reads and writes. Out: values, and whether a write was taken. The definitions are shared by all
stations; a station itself holds only what was changed on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from evcore.sim.profiles import MAX_PERIODS, MAX_PROFILES, MAX_STACK_LEVEL

__all__ = ["MEASURANDS", "Setting", "Settings"]

#: What can be sampled, in the order in which it is sent.
MEASURANDS: Final = ("Energy.Active.Import.Register", "Power.Active.Import", "SoC", "Current.Import", "Voltage")
_SAMPLED: Final = ",".join(MEASURANDS)
#: Longest value that is taken, as 1.6 has it.
_LONGEST: Final = 500


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting under its 1.6 key and its 2.x component and variable. `kind` is a 2.x data type."""

    key: str
    component: str
    variable: str
    default: str
    kind: str = "integer"
    writable: bool = True

    def fits(self, value: str) -> bool:
        """Whether a value may be written."""
        if not self.writable or len(value) > _LONGEST:
            return False
        if self.kind == "integer":
            return value.isascii() and value.isdigit() and len(value) < 10
        if self.kind == "boolean":
            return value.lower() in ("true", "false")
        return self.kind != "MemberList" or set(filter(None, value.split(","))) <= set(MEASURANDS)


_DEFINED: Final = (
    Setting("HeartbeatInterval", "OCPPCommCtrlr", "HeartbeatInterval", "300"),
    Setting("MeterValueSampleInterval", "SampledDataCtrlr", "TxUpdatedInterval", "60"),
    Setting("MeterValuesSampledData", "SampledDataCtrlr", "TxUpdatedMeasurands", _SAMPLED, "MemberList"),
    Setting("NumberOfConnectors", "ChargingStation", "ConnectorCount", "1", writable=False),
    Setting("ConnectionTimeOut", "TxCtrlr", "EVConnectionTimeOut", "60"),
    Setting("AuthorizeRemoteTxRequests", "AuthCtrlr", "AuthorizeRemoteStart", "false", "boolean"),
    Setting("LocalPreAuthorize", "AuthCtrlr", "LocalPreAuthorize", "false", "boolean"),
    Setting("LocalAuthorizeOffline", "AuthCtrlr", "LocalAuthorizeOffline", "true", "boolean"),
    Setting("AllowOfflineTxForUnknownId", "AuthCtrlr", "OfflineTxForUnknownIdEnabled", "true", "boolean"),
    Setting("StopTransactionOnInvalidId", "TxCtrlr", "StopTxOnInvalidId", "true", "boolean"),
    Setting("StopTransactionOnEVSideDisconnect", "TxCtrlr", "StopTxOnEVSideDisconnect", "true", "boolean", False),
    Setting("TransactionMessageAttempts", "OCPPCommCtrlr", "MessageAttempts", "5"),
    Setting("TransactionMessageRetryInterval", "OCPPCommCtrlr", "MessageAttemptInterval", "30"),
    Setting("WebSocketPingInterval", "OCPPCommCtrlr", "WebSocketPingInterval", "0"),
    Setting("LocalAuthListEnabled", "LocalAuthListCtrlr", "Enabled", "true", "boolean"),
    Setting("LocalAuthListMaxLength", "LocalAuthListCtrlr", "Entries", "1000", writable=False),
    Setting("SendLocalListMaxLength", "LocalAuthListCtrlr", "ItemsPerMessage", "1000", writable=False),
    Setting("ChargeProfileMaxStackLevel", "SmartChargingCtrlr", "ProfileStackLevel", str(MAX_STACK_LEVEL),
            writable=False),
    Setting("ChargingScheduleAllowedChargingRateUnit", "SmartChargingCtrlr", "RateUnit", "Current,Power", "string",
            False),
    Setting("ChargingScheduleMaxPeriods", "SmartChargingCtrlr", "PeriodsPerSchedule", str(MAX_PERIODS),
            writable=False),
    Setting("MaxChargingProfilesInstalled", "SmartChargingCtrlr", "Entries", str(MAX_PROFILES), writable=False),
    Setting("GetConfigurationMaxKeys", "DeviceDataCtrlr", "ItemsPerMessage", "100", writable=False),
    Setting("SupportedFeatureProfiles", "ChargingStation", "Profiles",
            "Core,FirmwareManagement,LocalAuthListManagement,Reservation,SmartCharging,RemoteTrigger", "string", False),
)  # fmt: skip

_BY_KEY: Final = {setting.key.lower(): setting for setting in _DEFINED}
_BY_VARIABLE: Final = {(setting.component.lower(), setting.variable.lower()): setting for setting in _DEFINED}
_COMPONENTS: Final = {component for component, _ in _BY_VARIABLE}


class Settings:
    """The values of one station. Names are compared without regard to case, as 2.x wants it and many 1.6 servers
    expect it.
    """

    __slots__ = ("_changed",)

    def __init__(self) -> None:
        self._changed: dict[str, str] | None = None

    def __iter__(self) -> Iterator[Setting]:
        return iter(_DEFINED)

    @staticmethod
    def key(name: str) -> Setting | None:
        """By 1.6 key."""
        return _BY_KEY.get(name.lower())

    @staticmethod
    def has_component(component: str) -> bool:
        return component.lower() in _COMPONENTS

    @staticmethod
    def variable(component: str, name: str) -> Setting | None:
        """By 2.x component and variable."""
        return _BY_VARIABLE.get((component.lower(), name.lower()))

    def get(self, setting: Setting) -> str:
        return setting.default if self._changed is None else self._changed.get(setting.key, setting.default)

    def put(self, key: str, value: str) -> None:
        """Sets a value by its exact 1.6 key, whoever may write it."""
        if self._changed is None:
            self._changed = {}
        self._changed[key] = value

    def text(self, key: str) -> str:
        """By the exact 1.6 key."""
        return self.get(_BY_KEY[key.lower()])

    def whole(self, key: str) -> int:
        return int(self.text(key))

    def true(self, key: str) -> bool:
        return self.text(key).lower() == "true"
