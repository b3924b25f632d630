"""Outgoing Python objects of every kind, at every kind of place: `check` and `encode` of both backends agree, and
what the contract says
about a type holds for each backend alone."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import itertools
import json
import os
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from evcore import PayloadError
from proof.backends import AVAILABLE, BACKENDS, make, messages
from proof.document import same
from proof.observe import observed

Z = dt.UTC
NAIVE = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=Z).replace(tzinfo=None)


class Reason(enum.Enum):
    POWER_UP = "PowerUp"
    ODD = "odd"


class Text(enum.StrEnum):
    POWER_UP = "PowerUp"


class Level(enum.IntEnum):
    ONE = 1


class Sub(str):
    """A str that is not exactly str."""


class Whole(int):
    """An int that is not exactly int."""

    def __str__(self) -> str:
        return "liar"

    __repr__ = __str__


class Rounded(float):
    def __repr__(self) -> str:
        return "liar"


class Hostile:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


@dataclass
class Info:
    vendor_id: str
    note: Any = None
    custom_data: Any = None


@dataclass(frozen=True, slots=True)
class Charger:
    vendorId: str
    depth: Any = field(default=None)


LOOP: list[Any] = []
LOOP.append(LOOP)
RING: dict[str, Any] = {}
RING["a"] = RING


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"k": value}
    return value


OBJECTS: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 300, 2**31, 2**63, -(2**63) - 1, 10**127, 10**128, 10**4000, Whole(7), Level.ONE,
    0.0, -0.0, 300.0, 1.5, 0.1, 8.1, 6.25, 199.9, 1e16, 1e22, 1e-5, 1e-7, 5e-324, 1.7976931348623157e308,
    123456789.125, Rounded(2.5), float("nan"), float("inf"), float("-inf"),
    Decimal(0), Decimal("-0"), Decimal(1), Decimal("1.0"), Decimal("3E+2"), Decimal("1E-7"), Decimal("8.1"),
    Decimal("6.25"), Decimal("300.00"), Decimal("1E+400"), Decimal("1E-400"),
    Decimal("0." + "1" * 60), Decimal("0." + "1" * 140), Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"),
    "", "PowerUp", "x" * 20, "x" * 21, "\U0001f50c" * 20, "é" * 256, "2026-01-02T03:04:05Z", "2026-01-02",
    '"\\/\b\f\n\r\t\x00\x1f\x7f\u2028', "\ud800", "a\udfffb", Sub("PowerUp"), Sub("y" * 30),
    Reason.POWER_UP, Reason.ODD, Text.POWER_UP,
    dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=Z), dt.datetime(2026, 1, 2, 3, 4, 5, 678999, tzinfo=Z),
    dt.datetime(2026, 1, 2, 3, 4, 5, 999, tzinfo=Z),
    dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30))),
    dt.datetime(1, 1, 1, tzinfo=Z), NAIVE, dt.date(2026, 1, 2),
    dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5))),
    [], [1, "two", None, 3.5], (), (1, (2,)), [[]], [None], LOOP, nested(59), nested(61), nested(62), nested(63),
    nested(64), nested(5000),
    {}, {"vendorId": "v"}, {"vendorId": "v", "x": [1]}, {"vendor_id": "v"}, {"vendorId": 5}, {"a": {"b": []}}, {1: 2},
    {None: 1}, {"a": 1, 2: 3}, {"\ud800": 1}, {Sub("vendorId"): "v"}, RING,
    {True: 1}, {Text.POWER_UP: 1}, {("a",): 1}, {"": 1}, {"a/b~c": {1, 2}},
    collections.OrderedDict(vendorId="v"), collections.defaultdict(list, vendorId="v"),
    collections.namedtuple("Pair", "a b")(1, 2), collections.deque([1]), collections.ChainMap({"vendorId": "v"}),
    Info("v"), Info("v", note=1), Info("v" * 256), Info(5), Charger("v"), Charger("v", depth=[1]), Info, [Info("v")],
    set(), {1}, frozenset(), b"bytes", bytearray(b"x"), memoryview(b"x"), 1j, object, len, range(3), (i for i in ()),
    uuid.UUID(int=0), Hostile(), ..., NotImplemented, decimal, [{"a": {1}}],
)  # fmt: skip

PLACES: tuple[tuple[str, str, str, Any], ...] = (
    ("ocpp2.0.1", "call", "DataTransfer", lambda v: {"vendorId": "v", "data": v}),
    ("ocpp2.0.1", "call", "DataTransfer", lambda v: {"vendorId": v}),
    ("ocpp2.0.1", "call", "DataTransfer", lambda v: {"vendorId": "v", "customData": v}),
    ("ocpp2.0.1", "call", "DataTransfer", lambda v: {"vendorId": "v", "customData": {"vendorId": "v", "x": v}}),
    ("ocpp2.0.1", "call", "Heartbeat", lambda v: v),
    ("ocpp2.0.1", "call", "Heartbeat", lambda v: {"unknown": v}),
    ("ocpp2.0.1", "result", "Heartbeat", lambda v: {"currentTime": v}),
    ("ocpp2.0.1", "call", "BootNotification", lambda v: {"reason": v, "chargingStation": {"model": "m",
    "vendorName": "v"}}),
    ("ocpp2.0.1", "call", "BootNotification", lambda v: {"reason": "PowerUp", "chargingStation": v}),
    ("ocpp2.0.1", "call", "GetBaseReport", lambda v: {"requestId": v, "reportBase": "FullInventory"}),
    ("ocpp2.0.1", "call", "GetVariables", lambda v: {"getVariableData": v}),
    ("ocpp2.0.1", "call", "GetVariables", lambda v: {"getVariableData": [v]}),
    ("ocpp2.1", "call", "NotifyPriorityCharging", lambda v: {"transactionId": "t", "activated": v}),
    ("ocpp1.6", "call", "DataTransfer", lambda v: {"vendorId": "v", "data": v}),
    ("ocpp1.6", "call", "StatusNotification", lambda v: {"connectorId": v, "errorCode": "NoError",
    "status": "Available"}),
    ("ocpp1.6", "call", "StatusNotification", lambda v: {"connectorId": 1, "errorCode": v, "status": v,
    "timestamp": v, v: v} if isinstance(v, str) else v),
    ("ocpp1.6", "result", "GetCompositeSchedule", lambda v: {"status": "Accepted",
    "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": v}],
    "minChargingRate": v}}),
)  # fmt: skip


def cases() -> list[Any]:
    return [pytest.param(*place, id=f"{place[0]} {place[2]} {i}") for i, place in enumerate(PLACES)]


def sent(backend: str, version: str, kind: str, action: str, payload: Any, judge: bool, names: str) -> Any:
    made = messages(backend)
    message = made.Call("1", action, payload) if kind == "call" else made.CallResult("1", payload, action)
    return observed(make(backend, version, names=names).encode, message, None, judge)


@pytest.mark.skipif("native" not in AVAILABLE, reason="the native module is not built")
@pytest.mark.skipif(os.environ.get("EVCORE_BACKEND") == "pure", reason="runs with the native backend's tests")
@pytest.mark.parametrize("names", ["wire", "snake"])
@pytest.mark.parametrize(("version", "kind", "action", "place"), cases())
def test_backends_agree(version: str, kind: Any, action: str, place: Any, names: str) -> None:
    for index, value in enumerate(OBJECTS):
        payload = place(value)
        checks = [observed(make(b, version, names=names).check, action, payload, kind) for b in ("native", "pure")]
        assert checks[0] == checks[1], (index, type(value))
        for judge in (True, False):
            native, pure = (sent(b, version, kind, action, payload, judge, names) for b in ("native", "pure"))
            assert native == pure, (index, type(value), judge)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("version", "kind", "action", "place"), cases())
def test_encode_writes_what_check_passes(backend: str, version: str, kind: Any, action: str, place: Any) -> None:
    """No violation: the bytes are JSON that decodes as valid. A violation: encode says the same as check."""
    codec = make(backend, version)
    made = messages(backend)
    for value in OBJECTS:
        payload = place(value)
        told = codec.check(action, payload, kind)
        message = made.Call("1", action, payload) if kind == "call" else made.CallResult("1", payload, action)
        if told:
            with pytest.raises(PayloadError) as caught:
                codec.encode(message)
            assert list(caught.value.violations) == told
            assert caught.value.reply is None
            assert codec.check(action, payload, kind) == told
        else:
            written = codec.encode(message)
            assert json.loads(written)[:2] == [2 if kind == "call" else 3, "1"]
            again = codec.decode(written, action if kind == "result" else None)
            assert same(codec.decode(codec.encode(again, action), None, False).payload, again.payload)


WRITTEN: tuple[tuple[Any, bytes], ...] = (
    (None, b"null"), (True, b"true"), (10**100, b"1" + b"0" * 100), (Whole(7), b"7"), (Level.ONE, b"1"),
    (-0.0, b"-0.0"), (1e16, b"1e16"), (1e-5, b"1e-5"), (1e22, b"1e22"),
    (1.5e300, b"1.5e300"), (123456.0, b"123456.0"), (5e-324, b"5e-324"), (Decimal("8.10"), b"8.10"),
    (Decimal("3E+2"), b"3e2"), (Decimal("1E-7"), b"1E-7"), (Decimal("-0"), b"-0"),
    (dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=Z), b'"2026-01-02T03:04:05Z"'),
    (dt.datetime(2026, 1, 2, 3, 4, 5, 678999, tzinfo=Z), b'"2026-01-02T03:04:05.678Z"'),
    (dt.datetime(2026, 1, 2, 3, 4, 5, 999, tzinfo=Z), b'"2026-01-02T03:04:05.000Z"'),
    (dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))), b'"2025-12-31T23:00:00Z"'),
    (Reason.POWER_UP, b'"PowerUp"'), (Text.POWER_UP, b'"PowerUp"'), (Sub("s"), b'"s"'), ((1, (2, [3])),
    b"[1,[2,[3]]]"), ({"b": 1, "a": 2}, b'{"b":1,"a":2}'),
    ('"\\/\b\f\n\r\t\x00\x1f\x7f\u2028é\U0001f600',
    '"\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\x7f\u2028é\U0001f600"'.encode()),
    (Charger("v"), b'{"vendorId":"v"}'),
)  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("value", "text"), WRITTEN, ids=[repr(text)[:40] for _, text in WRITTEN])
def test_written_form(backend: str, value: Any, text: bytes) -> None:
    """docs/codec.md §5, form by form, as an untyped value."""
    message = messages(backend).Call("1", "DataTransfer", {"vendorId": "v", "data": value})
    assert make(backend, "ocpp2.0.1").encode(message) == b'[2,"1","DataTransfer",{"vendorId":"v","data":' + text + b"}]"


VERDICTS: tuple[tuple[Any, tuple[str, str, str] | None], ...] = (
    (float("nan"), ("/data", "type", "must be number, is non-finite number")),
    (Decimal("Infinity"), ("/data", "type", "must be number, is non-finite number")),
    ({1}, ("/data", "type", "must be JSON value, is set")),
    (b"x", ("/data", "type", "must be JSON value, is bytes")),
    ({1: 2}, ("/data", "type", "must have keys of type string")),
    ("\ud800", ("/data", "utf-8", "holds a lone surrogate")),
    (NAIVE, ("/data", "format", "is not a valid date-time")),
    (nested(62), None),
    (
        nested(63),
        (
            "/data" + "".join("/0" if i % 2 else "/k" for i in reversed(range(1, 63))),
            "depth",
            "is nested deeper than 64 levels",
        ),
    ),
)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("value", "due"), VERDICTS, ids=range(len(VERDICTS)))
def test_verdict_on_objects_that_are_not_json(backend: str, value: Any, due: Any) -> None:
    told = make(backend, "ocpp2.0.1").check("DataTransfer", {"vendorId": "v", "data": value})
    assert [(v.pointer, v.keyword, v.message) for v in told] == ([due] if due else [])


@pytest.mark.parametrize("backend", BACKENDS)
def test_decimal_text_decides(backend: str) -> None:
    """Every tenth from 0.0 to 199.9 is a multiple of 0.1, nothing between them is."""
    codec = make(backend, "ocpp1.6")

    def limit(number: Any) -> list[Any]:
        schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": number}]}
        return codec.check("GetCompositeSchedule", {"status": "Accepted", "chargingSchedule": schedule}, "result")

    for whole, tenth in itertools.product(range(200), range(10)):
        text = f"{whole}.{tenth}"
        assert limit(float(text)) == limit(Decimal(text)) == []
        assert [v.keyword for v in limit(float(text + "5"))] == ["multipleOf"], text
