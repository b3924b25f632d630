"""Finding, correcting, compiling and sharing the schemas; and schemas of users."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from evcore import SchemaError, schema
from evcore.schema import VERSIONS, actions, program, property_names

PACKAGE = Path(schema.__file__).parents[1]


def test_actions() -> None:
    counts = {version: {kind: len(names) for kind, names in actions(version).items()} for version in VERSIONS}
    assert counts == {
        "ocpp1.6": {"call": 39, "result": 39, "send": 0},
        "ocpp2.0.1": {"call": 64, "result": 64, "send": 0},
        "ocpp2.1": {"call": 90, "result": 90, "send": 1},
    }
    assert actions("ocpp2.1")["send"] == ("NotifyPeriodicEventStream",)
    for version in VERSIONS:
        assert actions(version)["call"] == actions(version)["result"] == tuple(sorted(actions(version)["call"]))
    # Only the last word of a file name is stripped.
    assert "RequestStartTransaction" in actions("ocpp2.0.1")["call"]


@pytest.mark.parametrize("version", ["1.6", "ocpp2.0", "", "v16"])
def test_unknown_versions(version: str) -> None:
    with pytest.raises(ValueError, match=r"version must be one of ocpp1\.6, ocpp2\.0\.1, ocpp2\.1"):
        actions(version)
    with pytest.raises(ValueError, match="version must be one of"):
        schema.compile({}, version)


def test_unknown_actions(backend: Any) -> None:
    for action in ("Nothing", "", "../v201/schemas/Heartbeat", "Heartbeat\0", "NotifyPeriodicEventStream"):
        with pytest.raises(KeyError):
            program("ocpp2.1", "call", action, backend=backend)


# Overlays


def value_of(version: str, kind: Any, action: str, *path: Any) -> Any:
    found = schema._schema(version, kind, action)
    for step in path:
        found = found[step]
    return found


def test_overlays_differ_from_the_files_in_what_they_say_and_nothing_else() -> None:
    seen = []
    for version in VERSIONS:
        for kind, names in actions(version).items():
            for action in names:
                file = schema._folder(version) / schema._file(version, kind, action)
                if json.loads(file.read_text("utf-8-sig")) != schema._schema(version, kind, action):
                    seen.append((version, kind, action))
    assert seen == [
        ("ocpp1.6", "call", "MeterValues"),
        ("ocpp1.6", "call", "StopTransaction"),
        ("ocpp2.0.1", "result", "Get15118EVCertificate"),
    ]
    assert value_of("ocpp2.0.1", "result", "Get15118EVCertificate", "properties", "exiResponse", "maxLength") == 5600


def test_what_the_overlays_allow(make_codec: Any) -> None:
    codec = make_codec("ocpp1.6")
    sample = {"value": "50", "unit": "Hertz", "measurand": "Frequency"}
    for samples in ([], [sample], [{**sample, "unit": "Celcius"}], [{**sample, "unit": "Celsius"}]):
        entry = {"timestamp": "2026-01-01T00:00:00Z", "sampledValue": samples}
        assert codec.check("MeterValues", {"connectorId": 1, "meterValue": [entry]}) == []
        stop = {"transactionId": 1, "timestamp": "2026-01-01T00:00:00Z", "meterStop": 1, "transactionData": [entry]}
        assert codec.check("StopTransaction", stop) == []
    assert codec.check("MeterValues", {"connectorId": 1, "meterValue": []}) == []
    bad = {"timestamp": "2026-01-01T00:00:00Z", "sampledValue": [{**sample, "unit": "Hz"}]}
    assert [v.keyword for v in codec.check("MeterValues", {"connectorId": 1, "meterValue": [bad]})] == ["enum"]


# Programs


def test_programs_are_shared(backend: Any) -> None:
    first = program("ocpp1.6", "call", "Authorize", backend=backend)
    assert type(first) is backend.Program
    assert program("ocpp1.6", "call", "Authorize", backend=backend) is first
    for other in (
        program("ocpp1.6", "result", "Authorize", backend=backend),
        program("ocpp2.1", "call", "Authorize", backend=backend),
        program("ocpp1.6", "call", "Authorize", snake_names=True, backend=backend),
        program("ocpp1.6", "call", "Authorize", formats=False, backend=backend),
    ):
        assert other is not first


def test_each_program_is_made_once(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Counting:
        """A backend that counts what it compiles."""

        class Program:
            def __new__(cls, *args: Any, **options: Any) -> Any:
                made.append(threading.get_ident())
                time.sleep(0.05)
                return backend.Program(*args, **options)

    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait()
        program("ocpp2.1", "call", "SetChargingProfile", backend=Counting)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_property_names() -> None:
    names = property_names("ocpp1.6", "call", "BootNotification")
    assert {"chargePointVendor", "iccid"} <= names
    assert "status" not in names
    assert "sampledValue" in property_names("ocpp2.1", "call", "TransactionEvent")


def test_signed_messages_allow_any_object(backend: Any) -> None:
    signed = program("ocpp2.1", "call", "BootNotification-Signed", backend=backend)
    assert signed.check({"payload": "x", "signature": [1]}) == []
    assert [v.keyword for v in signed.check([])] == ["type"]


def test_only_what_is_used_is_read() -> None:
    """A codec of a version lists a folder; each action opens its own file, and no code of the `ocpp` package runs."""
    code = """
import sys
opened = []
def watch(event, args):
    if event == "open" and ".json" in str(args[0]):
        opened.append(str(args[0]).replace(chr(92), "/").rpartition("/")[2])
sys.addaudithook(watch)
import evcore
codec = evcore.Codec("ocpp2.0.1")
print(len(opened))
codec.check("Heartbeat", {})
codec.check("Heartbeat", {})
print(opened, [name for name in sys.modules if name.startswith("ocpp.")])
"""
    environment = {"PYTHONPATH": str(PACKAGE), "EVCORE_BACKEND": "pure"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.splitlines() == ["0", "['HeartbeatRequest.json'] []"]


def test_a_missing_ocpp_package_is_named() -> None:
    code = """
import sys, evcore, importlib.util
importlib.util.find_spec = lambda name: None
evcore.Codec("ocpp1.6")
"""
    environment = {"PYTHONPATH": str(PACKAGE), "EVCORE_BACKEND": "pure"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert "ImportError" in done.stderr
    assert "pip install ocpp" in done.stderr


# Schemas of users

OWN = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize("form", [OWN, json.dumps(OWN), json.dumps(OWN).encode()])
def test_compile(backend: Any, form: Any) -> None:
    compiled = schema.compile(form, "ocpp1.6", backend=backend)
    assert type(compiled) is backend.Program
    assert compiled.check({"a": 1}) == []
    assert [(v.code, v.pointer) for v in compiled.check({"a": 1.0})] == [("TypeConstraintViolation", "/a")]


def test_compile_with_names(backend: Any) -> None:
    compiled = schema.compile(
        {**OWN, "properties": {"a": {}, "myKey": {}}}, snake_names={"myKey": "k"}, backend=backend
    )
    assert compiled.check({"a": 1, "k": 2}) == []
    assert [v.pointer for v in compiled.check({"a": 1, "myKey": 2})] == ["/myKey"]


FOREIGN = {
    "type": "object",
    "properties": {
        "a": {"type": ["integer", "null"]},
        "b": {"type": "string", "pattern": "^x", "minLength": 2},
        "c": {"enum": [1, "one"]},
        "d": {"const": 7},
        "e": {"type": "number", "multipleOf": 2},
        "f": {"type": "string", "format": "date-time"},
        "g": {"type": "array", "uniqueItems": True, "items": {"type": "object", "required": ["h"]}},
    },
    "required": ["a"],
    "additionalProperties": False,
}
SECRET = "secret-of-the-peer"


@pytest.mark.parametrize(
    ("value", "finding"),
    [
        ({"a": None}, None),
        (
            {"a": SECRET},
            ("TypeConstraintViolation", "/a", "type", "null or integer", "must be null or integer, is string"),
        ),
        ({}, ("OccurrenceConstraintViolation", "", "required", "a", "lacks the required property a")),
        ({"a": 1, "b": "yy"}, ("PropertyConstraintViolation", "/b", "pattern", "^x", "breaks pattern")),
        ({"a": 1, "b": "x"}, ("PropertyConstraintViolation", "/b", "minLength", 2, "is shorter than 2 characters")),
        (
            {"a": 1, "c": SECRET},
            ("PropertyConstraintViolation", "/c", "enum", (1, "one"), "is not one of the 2 allowed values"),
        ),
        ({"a": 1, "d": SECRET}, ("PropertyConstraintViolation", "/d", "const", 7, "breaks const")),
        ({"a": 1, "e": 3}, ("PropertyConstraintViolation", "/e", "multipleOf", 2, "is not a multiple of 2")),
        (
            {"a": 1, "f": SECRET},
            ("PropertyConstraintViolation", "/f", "format", "date-time", "is not a valid date-time"),
        ),
        (
            {"a": 1, "g": [{}]},
            ("OccurrenceConstraintViolation", "/g/0", "required", "h", "lacks the required property h"),
        ),
        (
            {"a": 1, "~/": 1},
            ("FormatViolation", "/~0~1", "additionalProperties", None, "is not a property of this object"),
        ),
        ([], ("FormatViolation", "", "type", "object", "must be object, is array")),
        ({"a": {1}}, ("TypeConstraintViolation", "/a", "type", "JSON value", "must be JSON value, is set")),
    ],
)
def test_keywords_beyond_ocpp(backend: Any, value: Any, finding: Any) -> None:
    pytest.importorskip("jsonschema_rs")
    compiled = schema.compile(FOREIGN, backend=backend)
    assert type(compiled) is not backend.Program
    found = compiled.check(value)
    assert [tuple(violation) for violation in found] == ([] if finding is None else [finding])
    assert SECRET not in str([violation.message for violation in found])


def test_foreign_violations_are_counted(backend: Any) -> None:
    pytest.importorskip("jsonschema_rs")
    compiled = schema.compile({"type": "array", "items": {"type": "string", "minLength": 1}}, backend=backend)
    assert len(compiled.check([1] * 50, violations=7)) == 7
    assert compiled.check(["x"] * 50) == []


def test_foreign_formats_can_be_off(backend: Any) -> None:
    pytest.importorskip("jsonschema_rs")
    assert schema.compile(FOREIGN, formats=False, backend=backend).check({"a": 1, "f": "x"}) == []


def test_a_missing_validator_is_named(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)
    with pytest.raises(ImportError, match=r"pip install evcore\[schemas\]"):
        schema.compile(FOREIGN, backend=backend)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"type":"strin"}', '{"pattern":"["}'])
def test_no_schema(backend: Any, text: str) -> None:
    pytest.importorskip("jsonschema_rs")
    with pytest.raises(SchemaError):
        schema.compile(text, backend=backend)
