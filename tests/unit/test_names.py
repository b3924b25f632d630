"""Snake names: the rule, that it loses nothing in any schema, and that the `ocpp` package's classes fit.

The oracle of the last part is the `ocpp` package itself: each of its payload classes, filled with values its schema
allows, must be written as that schema wants it.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass, make_dataclass
from typing import Any

import pytest

from evcore import names, schema
from evcore.names import aliases, snake

MODULES = {"ocpp1.6": "v16", "ocpp2.0.1": "v201", "ocpp2.1": "v21"}


def objects(part: Any) -> Iterator[list[str]]:
    """The property names of each object in a schema."""
    if isinstance(part, dict):
        if "properties" in part:
            yield list(part["properties"])
        for container in ("properties", "definitions"):
            for member in part.get(container, {}).values():
                yield from objects(member)
        yield from objects(part.get("items"))


def every_schema() -> Iterator[tuple[str, schema.Kind, str]]:
    for version in schema.VERSIONS:
        for kind, actions in schema.actions(version).items():
            for action in actions:
                yield version, kind, action


@pytest.mark.parametrize(
    ("wire", "python"),
    [
        ("idTag", "id_tag"),
        ("chargingSchedulePeriod", "charging_schedule_period"),
        ("responderURL", "responder_url"),
        ("ocppCsmsUrl", "ocpp_csms_url"),
        ("fullSoC", "full_soc"),
        ("soC", "soc"),
        ("soc", "soc"),
        ("soH", "soh"),
        ("evMinV2XEnergyRequest", "ev_min_v2x_energy_request"),
        ("v2xChargingParameters", "v2x_charging_parameters"),
        ("limit_L2", "limit_l2"),
        ("evMaximumLevel2DCInjection", "ev_maximum_level2_dc_injection"),
        ("iso15118SchemaVersion", "iso15118_schema_version"),
        ("numEPriceLevels", "num_e_price_levels"),
        ("prioritizedEMAIDs", "prioritized_emaids"),
        ("autonomousVRefEnable", "autonomous_v_ref_enable"),
    ],
)
def test_rule(wire: str, python: str) -> None:
    assert snake(wire) == python
    assert snake(python) == python


def test_one_to_one_in_every_object_of_every_schema() -> None:
    seen = 0
    for version, kind, action in every_schema():
        for properties in objects(schema._schema(version, kind, action)):
            assert len({snake(name) for name in properties}) == len(properties), (version, kind, action, properties)
            assert all(snake(name).isidentifier() and snake(name).islower() for name in properties)
            seen += 1
    assert seen > 1000


def test_agrees_with_the_packages_own_conversion() -> None:
    """Except for one name that conversion tears apart, where the package's own dataclass has ours."""
    convert = importlib.import_module("ocpp.charge_point").camel_to_snake_case
    different = set()
    for version, kind, action in every_schema():
        for properties in objects(schema._schema(version, kind, action)):
            different |= {name for name in properties if next(iter(convert({name: None}))) != snake(name)}
    assert different == {"prioritizedEMAIDs"}


def test_aliases_are_exceptions_only() -> None:
    for version in schema.VERSIONS:
        wire_names = {name for v, k, a in every_schema() if v == version for name in schema.property_names(v, k, a)}
        for field, wire in aliases(version).items():
            assert wire in wire_names
            assert field not in {snake(wire), wire}
    with pytest.raises(ValueError, match=r"version must be one of ocpp1\.6"):
        aliases("1.6")
    with pytest.raises(TypeError):
        names.aliases("ocpp2.1")["x"] = "y"  # type: ignore[index]


# The payload classes of the `ocpp` package


class Sample:
    """A valid value of a schema: with `spelled`, its objects are written with names in Python, else with wire names."""

    def __init__(self, document: dict[str, Any], spelled: bool) -> None:
        self._definitions = document.get("definitions", {})
        self._spelled = spelled

    def value(self, part: dict[str, Any]) -> Any:
        if "$ref" in part:
            return self.value(self._definitions[part["$ref"].rpartition("/")[2]])
        match part.get("type"):
            case "object":
                return {snake(k) if self._spelled else k: self.value(v) for k, v in part.get("properties", {}).items()}
            case "array":
                return [self.value(part["items"])] * part.get("minItems", 1)
            case "string" if "enum" in part:
                return part["enum"][-1]
            case "string" if part.get("format") == "date-time":
                return "2026-11-20T12:00:00Z"
            case "string" if part.get("format") == "uri":
                return "https://example.com/"
            case "string":
                return "é"[: part.get("maxLength", 1)]
            case "integer" | "number":
                return max(0, int(part.get("minimum", 0)))
            case "boolean":
                return True
            case _:
                return {"myKey": [1, 2.5]}


def payload_classes() -> list[Any]:
    found = []
    for version, folder in MODULES.items():
        for module, kind in (("call", "call"), ("call_result", "result")):
            for name, cls in vars(importlib.import_module(f"ocpp.{folder}.{module}")).items():
                if is_dataclass(cls) and name in schema.actions(version)[kind]:  # type: ignore[index]
                    found.append(pytest.param(version, kind, name, cls, id=f"{version}-{kind}-{name}"))
    return found


CLASSES = payload_classes()


def test_every_action_has_its_class() -> None:
    expected = sum(len(schema.actions(version)[kind]) for version in MODULES for kind in ("call", "result"))
    assert len(CLASSES) == expected == 2 * (39 + 64 + 90)


@pytest.mark.parametrize("codec_names", ["wire", "snake"])
@pytest.mark.parametrize(("version", "kind", "action", "cls"), CLASSES)
def test_payload_class_is_written_right(
    make_codec: Any, backend: Any, version: str, kind: Any, action: str, cls: Any, codec_names: Any
) -> None:
    document = schema._schema(version, kind, action)
    spelled = Sample(document, spelled=True).value(document)
    wire = Sample(document, spelled=False).value(document)
    spelled |= {field: spelled[snake(name)] for field, name in aliases(version).items() if snake(name) in spelled}
    payload = cls(**{field.name: spelled[field.name] for field in fields(cls)})
    codec = make_codec(version, names=codec_names)
    message = backend.Call("1", action, payload) if kind == "call" else backend.CallResult("1", payload, action)
    assert codec.check(action, payload, kind) == []
    written = json.loads(codec.encode(message))[-1]
    assert written == wire
    # The same objects again, as dataclasses of their own below the payload class.
    nested = cls(**{field.name: as_dataclasses(spelled[field.name]) for field in fields(cls)})
    assert (
        json.loads(codec.encode(type(message)("1", *((action, nested) if kind == "call" else (nested, action)))))[-1]
        == wire
    )


def as_dataclasses(value: Any) -> Any:
    """Dicts with names in Python become instances of a dataclass with these fields."""
    if isinstance(value, list):
        return [as_dataclasses(item) for item in value]
    if isinstance(value, dict) and value and "myKey" not in value:
        members = {name: as_dataclasses(member) for name, member in value.items()}
        return make_dataclass("Datatype", [(name, Any, None) for name in members])(**members)
    return value


def datatypes() -> Iterator[tuple[str, str, set[str]]]:
    for version, folder in MODULES.items():
        for name, cls in vars(importlib.import_module(f"ocpp.{folder}.datatypes")).items():
            if is_dataclass(cls):
                yield version, name, {field.name for field in fields(cls)}


def test_every_field_of_the_datatypes_is_a_name() -> None:
    """No field of the package's datatypes is a name that no schema of the version could have meant."""
    seen = 0
    for version in MODULES:
        wire_names = {name for v, k, a in every_schema() if v == version for name in schema.property_names(v, k, a)}
        known = {snake(name) for name in wire_names} | set(aliases(version))
        for other, name, found in datatypes():
            if other == version:
                seen += 1
                assert found <= known, (version, name, found - known)
    assert seen > 100


def test_optional_fields_left_out(make_codec: Any, backend: Any) -> None:
    """None in a dataclass is a field left out; in a dict it is null."""
    cls = next(entry.values[3] for entry in CLASSES if entry.id == "ocpp1.6-call-BootNotification")
    assert any(field.default is not MISSING for field in fields(cls))
    payload = cls(charge_point_model="m", charge_point_vendor="v")
    codec = make_codec("ocpp1.6")
    expected = b'[2,"1","BootNotification",{"chargePointModel":"m","chargePointVendor":"v"}]'
    assert codec.encode(backend.Call("1", "BootNotification", payload)) == expected
    with_null = {"chargePointModel": "m", "chargePointVendor": "v", "iccid": None}
    assert [v.pointer for v in codec.check("BootNotification", with_null)] == ["/iccid"]
