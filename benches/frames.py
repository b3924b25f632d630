"""The frames: eight real-sized CALLs, and what is made of each of them.

In: ``data/<subprotocol>/<Action>.json``, one compact frame and a newline each. Out: `Frame` objects. The variants
(keys shuffled, text beyond ASCII, pretty-printed, invalid) are made here from the eight, the same ones on every run.
A frame without a rule for its invalid variant is refused.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

DATA: Final = Path(__file__).parent / "data"
VARIANTS: Final = ("shuffled", "non-ascii", "pretty")


@dataclass(frozen=True)
class Frame:
    """One CALL on the wire."""

    version: str
    """WebSocket subprotocol name, e.g. ``ocpp1.6``."""
    action: str
    variant: str
    """``plain``, one of `VARIANTS`, or ``invalid``."""
    data: bytes

    @property
    def value(self) -> list[Any]:
        """What stdlib json makes of it: ``[2, id, action, payload]``. The truth every answer is compared with."""
        value: list[Any] = json.loads(self.data)
        return value

    @property
    def literal(self) -> list[Any]:
        """The same value as a program would hold it that has it as a literal: CPython shares such keys and words."""
        value: list[Any] = eval(compile(repr(self.value), self.action, "eval"), {})
        return value

    @property
    def payload(self) -> dict[str, Any]:
        payload: dict[str, Any] = self.value[3]
        return payload


@dataclass(frozen=True)
class Fault:
    """How the invalid variant of a frame breaks its schema."""

    keyword: str
    pointer: str
    """Where a validator reports it: the value, the member, or the object that lacks one."""
    apply: Callable[[Any], None]
    """Breaks the payload in place."""


def _set(*path: str | int, to: Any) -> Callable[[Any], None]:
    def apply(value: Any) -> None:
        for step in path[:-1]:
            value = value[step]
        value[path[-1]] = to

    return apply


def _remove(*path: str | int) -> Callable[[Any], None]:
    def apply(value: Any) -> None:
        for step in path[:-1]:
            value = value[step]
        del value[path[-1]]

    return apply


_SAMPLE: Final = ("meterValue", 0, "sampledValue")
_PERIODS: Final = ("csChargingProfiles", "chargingSchedule", "chargingSchedulePeriod")

# As late in the document as the frame allows: a validator that gives up early must not look fast.
FAULTS: Final[dict[str, Fault]] = {
    "Heartbeat": Fault("additionalProperties", "/uptime", _set("uptime", to=86400)),
    "StatusNotification": Fault("enum", "/status", _set("status", to="Sleeping")),
    "BootNotification": Fault("maxLength", "/meterSerialNumber", _set("meterSerialNumber", to="KX2204517Z" * 3)),
    "StartTransaction": Fault("required", "", _remove("timestamp")),
    "MeterValues": Fault("enum", "/meterValue/0/sampledValue/8/unit", _set(*_SAMPLE, 8, "unit", to="percent")),
    "SetChargingProfile": Fault(
        "type",
        "/csChargingProfiles/chargingSchedule/chargingSchedulePeriod/23/limit",
        _set(*_PERIODS, 23, "limit", to="32"),
    ),
    "TransactionEvent": Fault("type", "/evse/connectorId", _set("evse", "connectorId", to="1")),
    "NotifyReport": Fault("required", "/reportData/59/variable", _remove("reportData", 59, "variable", "name")),
}

# Free text: no enum, no date. Letters are replaced one for one, so lengths in code points stay.
_TEXT: Final = frozenset(
    "chargePointVendor chargePointModel meterType info idTag idToken vendorId name instance value valuesList".split()
)
_BEYOND_ASCII: Final = str.maketrans("aeiouyAEOUnscz-", "áéíöüýÄÉÖÜñšçž–")


@cache
def frames() -> tuple[Frame, ...]:
    """The plain frames, by version and size."""
    found = [
        Frame(path.parent.name, path.stem, "plain", path.read_bytes().removesuffix(b"\n"))
        for path in DATA.glob("ocpp*/*.json")
    ]
    for frame in found:
        if frame.action not in FAULTS:
            raise LookupError(f"benches.frames.FAULTS has no rule for {frame.action}")
    return tuple(sorted(found, key=lambda frame: (frame.version, len(frame.data))))


def variant(frame: Frame, name: str) -> Frame:
    """`frame` as ``shuffled``, ``non-ascii``, ``pretty`` or ``invalid``."""
    value = frame.value
    match name:
        case "shuffled":
            value[3] = _shuffled(value[3], random.Random(frame.action))
        case "non-ascii":
            # The id too: a Heartbeat has no other text, and an id is any string of up to 36 characters.
            value[1] = value[1].translate(_BEYOND_ASCII)
            value[3] = _translated(value[3])
        case "invalid":
            FAULTS[frame.action].apply(value[3])
        case "pretty":
            return replace(frame, variant=name, data=json.dumps(value, indent=2).encode())
        case _:
            raise ValueError(f"no variant {name!r}")
    return replace(frame, variant=name, data=compact(value))


def compact(value: Any) -> bytes:
    """The shortest JSON text of `value`, UTF-8, keys in the order given."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _shuffled(value: Any, dice: random.Random) -> Any:
    if isinstance(value, dict):
        members = [(key, _shuffled(member, dice)) for key, member in value.items()]
        dice.shuffle(members)
        return dict(members)
    if isinstance(value, list):
        return [_shuffled(item, dice) for item in value]
    return value


def _translated(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _translated(member, name) for name, member in value.items()}
    if isinstance(value, list):
        return [_translated(item, key) for item in value]
    return value.translate(_BEYOND_ASCII) if isinstance(value, str) and key in _TEXT else value
