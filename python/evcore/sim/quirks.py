"""Misbehaviour seen in the field, by number, each of it switchable.

In: the CALLs and CALLRESULTs of a well-behaved station. Out: what a station with a quirk sends in their place, or
besides them. docs/simulate.md has them all, with what this project's server answers.

A quirk changes copies; payloads of other stations, which are shared, stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from evcore.message import Call, CallResult
from evcore.sim.codec import StationCodec, Written

__all__ = ["QUIRKS", "MisbehavingCodec", "Quirk", "misbehaving"]

Payload: TypeAlias = dict[str, Any]
Change: TypeAlias = Callable[[Payload], Any]

_V16: Final = ("1.6",)
_V2: Final = ("2.0.1", "2.1")
_ALL: Final = ("1.6", "2.0.1", "2.1")
_METER: Final = ("MeterValues", "TransactionEvent")


@dataclass(frozen=True, slots=True)
class Quirk:
    """One deviation.

    `title`: what the station does. `versions`: those it makes sense in. `actions`: the messages it is about. `change`:
    the payload sent in place of a good one (it may change the copy it gets, and returns what is sent); `result`:
    whether it is about answers. `frame`: the bytes sent in place of a CALL's. `beside`: text messages sent after the
    CALL. `twice`: the frame is sent again. `refused`: actions that get a CALLERROR for it from a server whose policy
    lets pass what carries money.
    """

    number: str
    title: str
    versions: tuple[str, ...] = _ALL
    actions: tuple[str, ...] = ()
    change: Change | None = None
    result: bool = False
    frame: Callable[[bytes], bytes] | None = None
    beside: tuple[bytes, ...] = ()
    twice: bool = False
    refused: tuple[str, ...] = ()


def _with(**members: Any) -> Change:
    return lambda payload: payload | members


def _without(*names: str) -> Change:
    return lambda payload: {name: value for name, value in payload.items() if name not in names}


def _samples(payload: Payload) -> Iterable[Payload]:
    values = payload.get("meterValue", ())
    return (sample for value in values for sample in value["sampledValue"])


def _each_sample(**members: Any) -> Change:
    def change(payload: Payload) -> Payload:
        for sample in _samples(payload):
            sample.update(members)
        return payload

    return change


def _power_sample(**members: Any) -> Change:
    def change(payload: Payload) -> Payload:
        for sample in _samples(payload):
            if sample["measurand"] == "Power.Active.Import":
                sample.update(members)
        return payload

    return change


def _more_samples(*samples: Payload) -> Change:
    def change(payload: Payload) -> Payload:
        for value in payload.get("meterValue", ()):
            value["sampledValue"].extend(dict(sample) for sample in samples)
        return payload

    return change


def _no_samples(payload: Payload) -> Payload:
    for value in payload.get("meterValue", ()):
        value["sampledValue"] = []
    return payload


def _object_for_array(payload: Payload) -> Payload:
    return payload | {"meterValue": payload["meterValue"][0]} if payload.get("meterValue") else payload


def _numbers(payload: Payload) -> Payload:
    for sample in _samples(payload):
        sample["value"] = float(sample["value"])
    return payload


def _soc_in_volts(payload: Payload) -> Payload:
    for sample in _samples(payload):
        if sample["measurand"] == "SoC":
            sample["unit"] = "V"
    return payload


def _times(change: Callable[[str], str]) -> Change:
    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: change(member) if name == "timestamp" else walk(member) for name, member in value.items()}
        return [walk(item) for item in value] if isinstance(value, list) else value

    return walk


def _long_tag(payload: Payload) -> Payload:
    return payload | {"idTag": payload.get("idTag", "").ljust(20, "0")[:20] + "-"}


def _wrong_case(payload: Payload) -> Payload:
    return {"Reason" if name == "reason" else name: value for name, value in payload.items()}


def _empty_modem(payload: Payload) -> Payload:
    if "chargingStation" in payload:
        return payload | {"chargingStation": payload["chargingStation"] | {"modem": {"iccid": "", "imsi": ""}}}
    return payload | {"iccid": "", "imsi": ""}


def _empty_vendor(payload: Payload) -> Payload:
    if "chargingStation" in payload:
        return payload | {"chargingStation": payload["chargingStation"] | {"vendorName": ""}}
    return payload | {"chargePointVendor": ""}


def _keys(change: Change) -> Change:
    def each(payload: Payload) -> Payload:
        return payload | {"configurationKey": [change(key) for key in payload.get("configurationKey", ())]}

    return each


def _pretty(frame: bytes) -> bytes:
    return json.dumps(json.loads(frame), indent=2).encode()


def _nul(frame: bytes) -> bytes:
    return frame.replace(b'"timestamp":"', b'"timestamp":"\x00', 1)


_STATUS: Final = ("StatusNotification",)
_STOP: Final = ("StopTransaction",)
_METER16: Final = ("MeterValues",)
_BOOT: Final = ("BootNotification",)
_BEAT: Final = ("Heartbeat",)
_CONFIGURATION: Final = ("GetConfiguration",)

_LIST: Final = (
    Quirk("Q05", "JSON with newlines and spaces", frame=_pretty),
    Quirk("Q06", "a raw NUL byte in a string", actions=_STATUS, frame=_nul, refused=_STATUS),
    Quirk("Q08", "an empty text message after each heartbeat", actions=_BEAT, beside=(b"",)),
    Quirk("Q09", "the text `pong` as a message", actions=_BEAT, beside=(b"pong",)),
    Quirk("Q11", "message type 1", actions=_BEAT, beside=(b'[1,"quirk-11","Heartbeat",{}]',)),
    Quirk("Q12", "a CALLRESULT to a CALL nobody made", actions=_BEAT, beside=(b'[3,"quirk-12",{}]',)),
    Quirk("Q13", "each CALL twice, with the same id", twice=True, actions=("*",)),
    Quirk("Q14", "each CALLRESULT twice", twice=True, result=True),
    Quirk("Q21", "message ids of twenty digits"),
    Quirk("Q22", "payload `null` for an empty one", actions=_BEAT, change=lambda payload: None),
    Quirk("Q28", "an empty vendor name", actions=_BOOT, change=_empty_vendor),
    Quirk("Q29", "empty SIM numbers", actions=_BOOT, change=_empty_modem),
    Quirk("Q33", "an idTag of 21 characters at the stop", _V16, _STOP, _long_tag),
    Quirk("Q34", "transaction id -1 at the stop", _V16, _STOP, _with(transactionId=-1)),
    Quirk("Q35", "transaction id `null` at the stop", _V16, _STOP, _with(transactionId=None)),
    Quirk("Q36", "transaction id 0 in meter values", _V16, _METER16, _with(transactionId=0)),
    Quirk("Q37", "no `meterStop`", _V16, _STOP, _without("meterStop")),
    Quirk("Q38", "`meterStop` -1", _V16, _STOP, _with(meterStop=-1)),
    Quirk("Q39", "transaction id 2⁶³ - 1", _V16, _STOP, _with(transactionId=2**63 - 1)),
    Quirk("Q41", "`Reason` for `reason`", _V16, _STOP, _wrong_case),
    Quirk("Q42", "empty `transactionData`", _V16, _STOP, _with(transactionData=[])),
    Quirk(
        "Q43", "`transactionData` without samples", _V16, _STOP,
        lambda payload: payload | {"transactionData": [{"timestamp": payload["timestamp"], "sampledValue": []}]},
    ),
    Quirk("Q46", "Authorize with a `connectorId`", _V16, ("Authorize",), _with(connectorId=1), refused=("Authorize",)),
    Quirk("Q49", "`meterValue` is an object, no array", _ALL, _METER, _object_for_array),
    Quirk("Q50", "no samples in a meter value", _ALL, _METER, _no_samples),
    Quirk("Q51", "sampled values as numbers", _V16, _METER16, _numbers),
    Quirk("Q52", "empty sampled values", _V16, _METER16, _each_sample(value="")),
    Quirk(
        "Q53", "unit `Hz`", _V16, _METER16,
        _more_samples({"value": "50.0", "measurand": "Frequency", "unit": "Hz"}),
    ),
    Quirk(
        "Q54", "unit `Celcius`", _V16, _METER16,
        _more_samples({"value": "31.5", "measurand": "Temperature", "unit": "Celcius"}),
    ),
    Quirk("Q55", "measurand `Request.Energy`", _ALL, _METER, _power_sample(measurand="Request.Energy")),
    Quirk("Q56", "a newline after the measurand", _ALL, _METER, _power_sample(measurand="Power.Active.Import\n")),
    Quirk("Q57", "a reading context of its own", _ALL, _METER, _each_sample(context="Sample.Whatever")),
    Quirk("Q59", "`Wh` as the unit of power", _V16, _METER16, _power_sample(unit="Wh")),
    Quirk("Q60", "state of charge in volts", _V16, _METER16, _soc_in_volts),
    Quirk("Q63", "error code `Error`", _V16, _STATUS, _with(errorCode="Error"), refused=_STATUS),
    Quirk(
        "Q64", "`info` of more than 50 characters", _V16, _STATUS,
        _with(info="User didn't disconnect vehicle within 00:10:00 minutes after the end"), refused=_STATUS,
    ),
    Quirk(
        "Q65", "JSON text in `info`, a long vendor error code", _V16, _STATUS,
        _with(info='{"reason":"none"}', vendorErrorCode="0" * 32),
    ),
    Quirk(
        "Q66", "a configuration value of 551 characters", _V16, _CONFIGURATION,
        _keys(lambda key: key | {"value": "x" * 551}), result=True,
    ),
    Quirk(
        "Q67", "configuration values as numbers", _V16, _CONFIGURATION,
        _keys(lambda key: key | {"value": int(key["value"])} if key.get("value", "").isdigit() else key), result=True,
    ),
    Quirk(
        "Q68", "`readonly` as 0 and 1", _V16, _CONFIGURATION,
        _keys(lambda key: key | {"readonly": int(key["readonly"])}), result=True,
    ),
    Quirk("Q76", "no `triggerReason`", _V2, ("TransactionEvent",), _without("triggerReason")),
    Quirk(
        "Q78", "local time without an offset", _ALL, (*_STATUS, *_METER), _times(lambda text: text.rstrip("Z")),
        refused=_STATUS,
    ),
    Quirk(
        "Q79", "an offset without minutes", _ALL, (*_STATUS, *_METER), _times(lambda text: text.replace("Z", "+00")),
        refused=_STATUS,
    ),
    Quirk(
        "Q80", "29 February 2022", _ALL, (*_STATUS, *_METER), _times(lambda text: f"2022-02-29{text[10:]}"),
        refused=_STATUS,
    ),
    Quirk(
        "Q81", "a clock that was never set", _ALL, (*_STATUS, *_METER), _times(lambda text: f"1970-01-01{text[10:]}"),
    ),
    Quirk(
        "Q82", "offsets and fractions of seconds", _ALL, (*_STATUS, *_METER),
        _times(lambda text: text.replace("Z", ".1234567+00:00")),
    ),
    Quirk("Q85", "three slashes before the identity in the path"),
    Quirk("Q92", "no BootNotification after a restart, once accepted"),
    Quirk(
        "Q94", "several CALLs without waiting", _ALL, _BEAT,
        beside=tuple(b'[2,"quirk-94-%d","Heartbeat",{}]' % number for number in range(3)),
    ),
    Quirk("Q95", "no answer to GetConfiguration or GetVariables", actions=("GetConfiguration", "GetVariables")),
)  # fmt: skip

#: All quirks by number.
QUIRKS: Final[Mapping[str, Quirk]] = {quirk.number: quirk for quirk in _LIST}


class MisbehavingCodec(StationCodec):
    """Writes what stations with these quirks send; reads as any codec."""

    quirks: tuple[Quirk, ...] = ()

    def encode(self, message: Any, action: str | None = None, judge: bool = True) -> bytes:
        about = message.action if isinstance(message, Call) else action if isinstance(message, CallResult) else None
        if about is None:
            return super().encode(message, action, judge)
        is_result = isinstance(message, CallResult)
        if type(message.payload) is Written:
            message = Call(message.id, about, json.loads(message.payload.json))
        payload, changed = message.payload, False
        for quirk in self.quirks:
            if quirk.change is not None and quirk.result == is_result and about in quirk.actions:
                if not changed:
                    # Judged as it should have been, so that a mistake of the simulator is no quirk.
                    super().encode(message, action, judge)
                    payload, changed = json.loads(json.dumps(payload)), True
                payload = quirk.change(payload)
        if changed:
            message = CallResult(message.id, payload) if is_result else Call(message.id, about, payload)
            judge = False
        frame = super().encode(message, action, judge)
        for quirk in self.quirks:
            if quirk.frame is not None and not is_result and (not quirk.actions or about in quirk.actions):
                frame = quirk.frame(frame)
        return frame


_CODECS: Final[dict[tuple[str, tuple[str, ...]], MisbehavingCodec]] = {}


def misbehaving(version: str, numbers: tuple[str, ...]) -> MisbehavingCodec:
    """The codec of stations with these quirks; `version` as in `Codec`."""
    key = version, numbers
    codec = _CODECS.get(key)
    if codec is None:
        codec = _CODECS[key] = MisbehavingCodec(version, lazy=True)
        codec.quirks = tuple(QUIRKS[number] for number in numbers)
    return codec
