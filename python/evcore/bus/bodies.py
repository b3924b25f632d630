"""What events say: one class for each kind of event, immutable.

A field's `Annotated` text is its description in the JSON Schema and in docs/events.md, with its unit. Energies are Wh,
powers W; a `time` is the station's own, RFC 3339 text as it gave it, and may be wrong or missing. What a station did
not say is None. The words are those of OCPP 2.x for all versions: in 1.6 the EVSE is the connectorId, its only
connector is 1, and EVSE 0 is the station itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from evcore.bus.orders import Status
from evcore.bus.quick import quick

__all__ = [
    "CommandRequested",
    "CommandResult",
    "ConfigurationProgress",
    "ConnectorStatus",
    "DeviceReading",
    "Fault",
    "FirmwareProgress",
    "LogProgress",
    "NodeHeartbeat",
    "RawFrame",
    "Readings",
    "Sample",
    "SecurityEvent",
    "SiteEnergy",
    "StationBooted",
    "StationOffline",
    "StationOnline",
    "TransactionEnded",
    "TransactionStarted",
    "TransactionUpdated",
    "ViolationSeen",
]

Station: TypeAlias = Annotated[str, "Identity of the charging station, as in its URL"]
Version: TypeAlias = Annotated[str, "OCPP version as negotiated: ocpp1.6, ocpp2.0.1 or ocpp2.1"]
EvseId: TypeAlias = Annotated[int, "EVSE; 0 is the station itself"]
EvseMaybe: TypeAlias = Annotated[int | None, "EVSE"]
ConnectorId: TypeAlias = Annotated[int, "Connector of the EVSE, from 1"]
ConnectorMaybe: TypeAlias = Annotated[int | None, "Connector of the EVSE, from 1"]
Transaction: TypeAlias = Annotated[str, "Transaction id; the CSMS gives it in 1.6, the station in 2.x"]
Token: TypeAlias = Annotated[str | None, "The driver's idTag or idToken"]
Energy: TypeAlias = Annotated[float | None, "Energy of the transaction so far, Wh"]
Offline: TypeAlias = Annotated[bool, "It happened while the station was offline and is told afterwards"]
Sequence: TypeAlias = Annotated[int | None, "seqNo of the station's TransactionEvent (2.x)"]
Request: TypeAlias = Annotated[int | None, "requestId of the command this belongs to"]
Time: TypeAlias = Annotated[str | None, "The station's own time of it, RFC 3339, as it gave it"]
Command: TypeAlias = Annotated[str, "Id of the command"]
Action: TypeAlias = Annotated[str, "OCPP action"]


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class StationOnline:
    """A station connected and its connection was let in."""

    station: Station
    version: Version
    address: Annotated[str, "Where it connected from: IP address and port; empty when not known"] = ""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class StationOffline:
    """A station's connection is gone, and no other took its place."""

    station: Station
    version: Version


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class StationBooted:
    """A station said what it is in a BootNotification, and was answered."""

    station: Station
    version: Version
    vendor: Annotated[str, "Vendor"]
    model: Annotated[str, "Model"]
    serial: Annotated[str | None, "Serial number"] = None
    firmware: Annotated[str | None, "Firmware version"] = None
    reason: Annotated[str | None, "Why it booted, in OCPP's words (2.x)"] = None
    status: Annotated[str, "How it was answered: Accepted, Pending or Rejected"]


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorStatus:
    """The state of a connector, as its station told it."""

    station: Station
    evse: EvseId
    connector: ConnectorId
    status: Annotated[str, "State in the words of the station's OCPP version: Available, Charging, Occupied, Faulted"]
    error: Annotated[str | None, "errorCode (1.6), NoError left out"] = None
    info: Annotated[str | None, "Further information (1.6)"] = None
    vendor_error: Annotated[str | None, "The vendor's own error code (1.6)"] = None
    time: Time = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionStarted:
    """A charge began."""

    station: Station
    transaction: Transaction
    evse: EvseMaybe = None
    connector: ConnectorMaybe = None
    token: Token = None
    meter: Annotated[float | None, "Energy register at the beginning, Wh"] = None
    time: Time = None
    offline: Offline = False
    remote_start: Annotated[int | None, "remoteStartId of the request that started it (2.x)"] = None
    reservation: Annotated[int | None, "Reservation that it used up"] = None
    sequence: Sequence = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionUpdated:
    """Something about a charge changed, or its meter was read."""

    station: Station
    transaction: Transaction
    evse: EvseMaybe = None
    meter: Annotated[float | None, "Energy register now, Wh"] = None
    energy: Energy = None
    state: Annotated[str | None, "chargingState: Charging, SuspendedEV, SuspendedEVSE, EVConnected, Idle"] = None
    trigger: Annotated[str | None, "triggerReason, in OCPP's words (2.x)"] = None
    time: Time = None
    offline: Offline = False
    sequence: Sequence = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionEnded:
    """A charge is over; these are its final figures."""

    station: Station
    transaction: Transaction
    evse: EvseMaybe = None
    token: Token = None
    meter: Annotated[float | None, "Energy register at the end, Wh"] = None
    energy: Annotated[float | None, "Energy of the whole transaction, Wh"] = None
    reason: Annotated[str | None, "Why it ended, in OCPP's words"] = None
    time: Time = None
    offline: Offline = False
    sequence: Sequence = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measured value."""

    quantity: Annotated[str, "Measurand in OCPP's words: Energy.Active.Import.Register, Power.Active.Import, SoC"]
    value: Annotated[float, "The value, in `unit`"]
    unit: Annotated[str, "Unit without prefix: Wh, W, varh, var, VA, A, V, Hz, Percent, Celsius"]
    phase: Annotated[str | None, "Phase or pair of phases: L1, L2-N, L3-L1"] = None
    location: Annotated[str | None, "Where it was measured: Outlet, Inlet, Body, Cable, EV"] = None
    context: Annotated[str | None, "Why it was read: Sample.Periodic, Sample.Clock, Transaction.Begin"] = None
    time: Time = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Measured values of an EVSE, or of the station as a whole."""

    station: Station
    evse: EvseMaybe = None
    connector: ConnectorMaybe = None
    transaction: Annotated[str | None, "Transaction the values belong to"] = None
    samples: Annotated[tuple[Sample, ...], "The values, in the station's order"]


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareProgress:
    """How far a firmware update is."""

    station: Station
    status: Annotated[str, "FirmwareStatus, in OCPP's words"]
    request: Request = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class LogProgress:
    """How far the upload of a log or of diagnostics is."""

    station: Station
    status: Annotated[str, "UploadLogStatus or DiagnosticsStatus, in OCPP's words"]
    request: Request = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationProgress:
    """Part of a station's configuration was reported, or a change of it was answered."""

    station: Station
    request: Request = None
    keys: Annotated[tuple[str, ...], "Configuration keys (1.6), or variables as Component/Variable (2.x)"] = ()
    part: Annotated[int | None, "seqNo of this part of a report, from 0"] = None
    last: Annotated[bool | None, "Whether this is the last part"] = None
    status: Annotated[str | None, "How the change was answered, in OCPP's words"] = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityEvent:
    """A station told of an event that matters to security."""

    station: Station
    type: Annotated[str, "Type, in OCPP's words: FirmwareUpdated, SettingSystemTime, TamperDetectionActivated"]
    time: Time = None
    info: Annotated[str | None, "What the station says of it"] = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A station told of an error or an alarm."""

    station: Station
    code: Annotated[str, "errorCode (1.6) or the problem's code (2.x)"]
    evse: EvseMaybe = None
    connector: ConnectorMaybe = None
    severity: Annotated[int | None, "Severity, 0 (danger) to 9 (debugging)"] = None
    component: Annotated[str | None, "Component of the device model (2.x)"] = None
    variable: Annotated[str | None, "Variable of the component (2.x)"] = None
    info: Annotated[str | None, "What the station says of it"] = None
    time: Time = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class ViolationSeen:
    """A station sent what breaks its OCPP version's schema."""

    station: Station
    action: Annotated[str | None, "OCPP action, where one could be made out"] = None
    code: Annotated[str, "OCPP error code of the violation"]
    message: Annotated[str, "What is wrong, in evcore's words; nothing of the frame"]
    count: Annotated[int, "How many frames this stands for"] = 1


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRequested:
    """A command is about to be sent to a station."""

    station: Station
    command: Command
    action: Action
    source: Annotated[str, "Who gave it"]


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """What became of a command."""

    station: Station
    command: Command
    action: Action
    status: Annotated[Status, "How it ended"]
    code: Annotated[str | None, "OCPP error code, or why it was not sent"] = None
    message: Annotated[str | None, "A sentence about it"] = None
    payload: Annotated[Mapping[str, Any] | None, "Payload of the station's CALLRESULT"] = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReading:
    """A value of a device that is no charging station: a meter, a battery, an inverter."""

    device: Annotated[str, "Id of the device"]
    type: Annotated[str, "Type of the part that has the value: meter, battery, inverter"]
    instance: Annotated[str, "Which of the parts of this type"]
    field: Annotated[str, "Name of the value: power, energy, soc"]
    value: Annotated[float | int | str | bool, "The value, in `unit` where it is a number"]
    unit: Annotated[str | None, "Unit without prefix: W, Wh, A, V, Percent"] = None
    quality: Annotated[str | None, "How far it can be trusted, in the device's words"] = None
    time: Annotated[str | None, "The device's own time of it, RFC 3339, as it gave it"] = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class SiteEnergy:
    """What the stations of a site draw together."""

    site: Annotated[str, "Id of the site"]
    power: Annotated[float | None, "Power of all charges now, W"] = None
    energy: Annotated[float, "Energy of all charges since `since`, Wh"]
    stations: Annotated[int, "Stations that are online"]
    charging: Annotated[int, "EVSEs that charge"]
    since: Annotated[str, "Begin of the count of `energy`, RFC 3339"]


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class NodeHeartbeat:
    """A process of evcore is alive."""

    node: Annotated[str, "Name of the process"]
    version: Annotated[str, "Version of evcore"]
    uptime: Annotated[float, "How long it has been running, s"]
    stations: Annotated[int, "Stations connected to it"]
    backlog: Annotated[int, "Messages that wait for the broker"]


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class RawFrame:
    """An OCPP-J frame as it was on the wire, tokens and passwords masked."""

    station: Station
    direction: Annotated[Literal["in", "out"], "in: from the station"]
    frame: Annotated[str, "The frame's text"]
