"""Vendor schemas: DataTransfer.data and customData, in each version, both ways."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from evcore import Limits, PayloadError, Policy, SchemaError
from evcore.schema import VERSIONS

SCHEMA = {
    "type": "object",
    "properties": {"level": {"type": "integer", "maximum": 9}, "myKey": {"type": "string"}},
    "required": ["level"],
    "additionalProperties": False,
}


def transfer(version: str, data: Any, **more: Any) -> dict[str, Any]:
    """A DataTransfer of vendor v: in 1.6 its data is a string."""
    return {"vendorId": "v", "data": json.dumps(data) if version == "ocpp1.6" else data, **more}


def found(codec: Any, payload: Any, kind: str = "call") -> list[tuple[str, str]]:
    return [(v.pointer, v.keyword) for v in codec.check("DataTransfer", payload, kind)]


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_data(make_codec: Any, version: str) -> None:
    codec = make_codec(version)
    codec.extend("v", SCHEMA)
    assert found(codec, transfer(version, {"level": 1})) == []
    assert found(codec, transfer(version, {"level": 10, "a/b": 1})) == [
        ("/data/level", "maximum"),
        ("/data/a~1b", "additionalProperties"),
    ]
    assert found(codec, transfer(version, {})) == [("/data", "required")]
    assert found(codec, {"vendorId": "v"}) == []
    assert found(codec, transfer(version, {"level": 10}) | {"vendorId": "w"}) == []


def test_data_of_the_wrong_type_is_a_field_of_the_wrong_type(make_codec: Any, version: str) -> None:
    codec = make_codec(version)
    codec.extend("v", SCHEMA)
    [violation] = codec.check("DataTransfer", transfer(version, [1]))
    assert (violation.code, violation.pointer, violation.expected, violation.message) == (
        *("TypeConstraintViolation", "/data", "object"),
        "must be object, is array",
    )


def test_message_id(make_codec: Any, version: str) -> None:
    codec = make_codec(version)
    codec.extend("v", {"type": "integer"})
    codec.extend("v", {"type": "boolean"}, message_id="m")
    assert found(codec, transfer(version, 1)) == found(codec, transfer(version, 1, messageId="n")) == []
    assert found(codec, transfer(version, True, messageId="m")) == []
    assert found(codec, transfer(version, 1, messageId="m")) == [("/data", "type")]


def test_each_codec_has_its_own(make_codec: Any, version: str) -> None:
    codec = make_codec(version)
    codec.extend("v", {"type": "integer"})
    assert found(make_codec(version), transfer(version, "x")) == []
    codec.extend("v", {"type": "string" if version != "ocpp1.6" else "null"})
    assert found(codec, transfer(version, 1)) == [("/data", "type")]


def test_decode_refuses_without_an_echo(make_codec: Any, version: str) -> None:
    codec = make_codec(version)
    codec.extend("v", SCHEMA)
    payload = json.dumps(transfer(version, {"level": 1, "secret": 1}))
    with pytest.raises(PayloadError) as caught:
        codec.decode(f'[2,"1","DataTransfer",{payload}]')
    assert [(v.pointer, v.keyword) for v in caught.value.violations] == [("/data/secret", "additionalProperties")]
    code = "FormationViolation" if version == "ocpp1.6" else "FormatViolation"
    sentence = "/data holds a value that breaks its vendor's schema"
    assert caught.value.reply == f'[4,"1","{code}","{sentence}",{{}}]'.encode()
    assert caught.value.message.payload == json.loads(payload)


def test_encode_refuses(make_codec: Any, backend: Any, version: str) -> None:
    codec = make_codec(version)
    codec.extend("v", SCHEMA)
    assert codec.encode(backend.Call("1", "DataTransfer", transfer(version, {"level": 1}))).startswith(b"[2,")
    with pytest.raises(PayloadError) as caught:
        codec.encode(backend.Call("1", "DataTransfer", transfer(version, {"level": 10})))
    assert ([v.pointer for v in caught.value.violations], caught.value.reply) == (["/data/level"], None)


def test_a_policy_is_asked(make_codec: Any, version: str) -> None:
    codec = make_codec(version, policy=Policy({"DataTransfer"}))
    codec.extend("v", SCHEMA)
    message = codec.decode(f'[2,"1","DataTransfer",{json.dumps(transfer(version, {}))}]')
    assert [v.pointer for v in message.violations] == ["/data"]


@pytest.mark.parametrize("lazy", [False, True])
def test_only_good_payloads_reach_vendor_schemas(make_codec: Any, version: str, lazy: bool) -> None:
    codec = make_codec(version, lazy=lazy)
    codec.extend("v", {"type": "integer"})
    payload = transfer(version, "x") | {"vendorId": "v", "unknown": 1}
    with pytest.raises(PayloadError) as caught:
        codec.decode(f'[2,"1","DataTransfer",{json.dumps(payload)}]')
    assert [v.pointer for v in caught.value.violations] == ["/unknown"]


def test_snake_names(make_codec: Any, version: str) -> None:
    """The envelope has names in Python; the vendor's own keys are left alone."""
    codec = make_codec(version, names="snake")
    codec.extend("v", SCHEMA, message_id="m")
    payload = transfer(version, {"level": 1, "myKey": "x"}, messageId="m")
    message = codec.decode(f'[2,"1","DataTransfer",{json.dumps(payload)}]')
    assert set(message.payload) == {"vendor_id", "data", "message_id"}
    payload = transfer(version, {"level": 1, "my_key": "x"}, messageId="m")
    with pytest.raises(PayloadError) as caught:
        codec.decode(f'[2,"1","DataTransfer",{json.dumps(payload)}]')
    assert [v.pointer for v in caught.value.violations] == ["/data/my_key"]


def test_keys_below_data_are_the_vendors_own(make_codec: Any) -> None:
    """Even where they look like names of OCPP's, and even where customData hangs below them."""
    codec = make_codec("ocpp2.1", names="snake")
    codec.extend_custom_data("v", {"type": "object", "properties": {"n": {"type": "integer"}}})
    data = {"message_id": {"customData": {"vendorId": "v", "n": "x"}}}
    with pytest.raises(PayloadError) as caught:
        codec.decode(f'[2,"1","DataTransfer",{json.dumps({"vendorId": "w", "data": data})}]')
    assert [v.pointer for v in caught.value.violations] == ["/data/message_id/customData/n"]


# Text in 1.6


def test_text_of_a_string_schema_is_not_read(make_codec: Any) -> None:
    codec = make_codec("ocpp1.6")
    codec.extend("v", b'{"type":"string","maxLength":3}')
    assert found(codec, {"vendorId": "v", "data": "{x}"}) == []
    assert found(codec, {"vendorId": "v", "data": "long"}) == [("/data", "maxLength")]


@pytest.mark.parametrize("text", ["", "{", "nope", "[1,]", "NaN", "[1] 2", "1e999"])
def test_text_that_is_not_json(make_codec: Any, text: str) -> None:
    codec = make_codec("ocpp1.6")
    codec.extend("v", {})
    [violation] = codec.check("DataTransfer", {"vendorId": "v", "data": text})
    assert violation == ("PropertyConstraintViolation", "/data", "format", "json", "is not a valid json")


def test_text_is_read_under_the_limits(make_codec: Any) -> None:
    codec = make_codec("ocpp1.6", limits=Limits(depth=5, items=4, number_chars=6, string_bytes=300))
    codec.extend("v", {})
    for good in ("[[[[[]]]]]", "[1,2,3,4]", "123456"):
        assert found(codec, {"vendorId": "v", "data": good}) == []
    for bad in ("[[[[[[]]]]]]", "[1,2,3,4,5]", "1234567", "[" * 100_000):
        assert found(codec, {"vendorId": "v", "data": bad}) == [("/data", "format")]


def test_text_with_repeated_names(make_codec: Any) -> None:
    codec = make_codec("ocpp1.6")
    codec.extend("v", {})
    assert found(codec, {"vendorId": "v", "data": '{"a":[{"b":1,"b":2}]}'}) == [("/data/a/0/b", "uniqueKeys")]


# Results, and customData

NEW = VERSIONS[1:]


@pytest.mark.parametrize("version", NEW)
def test_results_are_known_by_their_custom_data(make_codec: Any, version: str) -> None:
    codec = make_codec(version)
    codec.extend("v", SCHEMA, kind="result")
    result = {"status": "Accepted", "data": {}}
    assert found(codec, result, "result") == []
    assert found(codec, result | {"customData": {"vendorId": "v"}}, "result") == [("/data", "required")]
    assert found(codec, {"vendorId": "v", "data": {}}) == []


@pytest.mark.parametrize("version", NEW)
@pytest.mark.parametrize("names", ["wire", "snake"])
def test_custom_data(make_codec: Any, version: str, names: Any) -> None:
    codec = make_codec(version, names=names)
    schema = {"type": "object", "properties": {"vendorId": {"type": "string"}, "myKey": {"type": "integer"}}}
    codec.extend_custom_data("v", {**schema, "additionalProperties": False})
    station = {"model": "m", "vendorName": "n", "customData": {"vendorId": "v", "myKey": "x", "my_key": 1}}
    boot = {"customData": {"vendorId": "other", "myKey": "x"}, "reason": "PowerUp", "chargingStation": station}
    with pytest.raises(PayloadError) as caught:
        codec.decode(f'[2,"1","BootNotification",{json.dumps(boot)}]')
    assert [(v.pointer, v.keyword) for v in caught.value.violations] == [
        ("/chargingStation/customData/myKey", "type"),
        ("/chargingStation/customData/my_key", "additionalProperties"),
    ]
    assert caught.value.reply is not None
    assert b"/chargingStation holds a value that breaks its vendor's schema" in caught.value.reply
    assert b"my_key" not in caught.value.reply
    del station["customData"]
    assert codec.decode(f'[2,"1","BootNotification",{json.dumps(boot)}]').violations == ()


@pytest.mark.parametrize("version", NEW)
def test_custom_data_in_dataclasses(make_codec: Any, version: str) -> None:
    @dataclass
    class Station:
        vendor_name: str
        model: str
        custom_data: Any = None

    @dataclass
    class Boot:
        charging_station: Any
        reason: str = "PowerUp"

    codec = make_codec(version)
    codec.extend_custom_data("v", {"type": "object", "properties": {"n": {"type": "integer"}}})
    assert codec.check("BootNotification", Boot(Station("a", "b", {"vendor_id": "v", "n": 1}))) == []
    [violation] = codec.check("BootNotification", Boot(Station("a", "b", {"vendor_id": "v", "n": "x"})))
    assert violation.pointer == "/chargingStation/customData/n"


def test_violations_are_counted(make_codec: Any) -> None:
    codec = make_codec("ocpp2.1", limits=Limits(violations=3))
    codec.extend("v", {"type": "array", "items": {"type": "integer"}})
    assert len(found(codec, {"vendorId": "v", "data": ["x"] * 10})) == 3


def test_keywords_beyond_ocpp(make_codec: Any, version: str) -> None:
    pytest.importorskip("jsonschema_rs")
    codec = make_codec(version)
    codec.extend("v", {"type": "object", "properties": {"a": {"type": "string", "pattern": "^x"}}})
    assert found(codec, transfer(version, {"a": "xy"})) == []
    assert found(codec, transfer(version, {"a": "y"})) == [("/data/a", "pattern")]


# Refusals


def test_refusals(make_codec: Any) -> None:
    codec = make_codec("ocpp2.1")
    for vendor_id in ("", "v" * 256, None):
        with pytest.raises(ValueError, match="vendor_id must be a str of 1 to 255 characters"):
            codec.extend(vendor_id, {})
    with pytest.raises(ValueError, match="kind must be 'call' or 'result', not 'send'"):
        codec.extend("v", {}, kind="send")
    with pytest.raises(ValueError, match="message_id must be a str"):
        codec.extend("v", {}, message_id=1)
    with pytest.raises(ValueError, match="a result has none"):
        codec.extend("v", {}, message_id="m", kind="result")
    with pytest.raises(SchemaError):
        codec.extend("v", b"{")
    assert found(codec, {"vendorId": "v", "data": 1}) == []
    old = make_codec("ocpp1.6")
    with pytest.raises(ValueError, match="does not say which vendor"):
        old.extend("v", {}, kind="result")
    with pytest.raises(ValueError, match=r"ocpp1\.6 has no customData"):
        old.extend_custom_data("v", {})
