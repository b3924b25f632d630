"""Everybody else: the codec's job with other people's libraries, each the fastest way its API allows.

All of them are told the action beforehand (their validator or decoder is looked up outside the timed call), which
spares them a step that evcore does inside its call.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from types import GenericAlias
from typing import Any, Final

import fastjsonschema
import jiter
import jsonschema  # type: ignore[import-untyped]
import jsonschema_rs
import msgspec
import orjson
from ocpp.exceptions import OCPPError  # type: ignore[import-untyped]
from ocpp.messages import Call, _validate_payload, unpack  # type: ignore[import-untyped]

from benches.frames import Frame
from benches.measure import Contender
from benches.schemas import call_schema
from benches.typed import struct

ORJSON: Final = "orjson"
OCPP: Final = "ocpp"
REQUIRED: Final = ("orjson", "msgspec", "jiter", "jsonschema-rs", "fastjsonschema", "jsonschema", "ocpp")
OPTIONAL: Final = ("fastsimdjson",)
"""Timed where they are installed."""

_OCPP_VERSIONS: Final = {"ocpp1.6": "1.6", "ocpp2.0.1": "2.0.1", "ocpp2.1": "2.1"}


def decoders(frame: Frame) -> list[Contender]:
    """Frame bytes to Python objects; the reference, ``orjson.loads``, first."""
    schema = call_schema(frame.version, frame.action)
    loads = orjson.loads
    typed = msgspec.json.Decoder(GenericAlias(tuple, (int, str, str, struct(schema, frame.action))))
    envelope = msgspec.json.Decoder(tuple[int, str, str, msgspec.Raw])
    validate_rs = jsonschema_rs.validator_for(schema).validate
    validate_fast = fastjsonschema.compile(schema, use_default=False)
    version = _OCPP_VERSIONS[frame.version]

    def orjson_jsonschema_rs(data: bytes) -> Any:
        value = loads(data)
        validate_rs(value[3])
        return value

    def orjson_fastjsonschema(data: bytes) -> Any:
        value = loads(data)
        validate_fast(value[3])
        return value

    def ocpp(data: bytes) -> Any:
        message = unpack(data)
        _validate_payload(message, version)
        return message

    return [
        Contender(ORJSON, loads),
        Contender("json", json.loads),
        Contender("msgspec", msgspec.json.Decoder().decode),
        Contender(
            "msgspec typed",
            typed.decode,
            judges="all but format, multipleOf",
            answer=msgspec.to_builtins,
            refuses=(msgspec.ValidationError,),
            ordered=False,
        ),
        Contender(
            "msgspec Raw payload",
            envelope.decode,
            judges="no; payload not built",
            answer=lambda value: [*value[:3], json.loads(bytes(value[3]))],
        ),
        Contender("jiter", jiter.from_json),
        *_fastsimdjson(),
        Contender(
            "orjson + jsonschema-rs", orjson_jsonschema_rs, judges="yes", refuses=(jsonschema_rs.ValidationError,)
        ),
        Contender(
            "orjson + fastjsonschema",
            orjson_fastjsonschema,
            judges="all but exact multipleOf",
            refuses=(fastjsonschema.JsonSchemaException,),
        ),
        Contender(OCPP, ocpp, judges="all but format", answer=_ocpp_answer, refuses=(OCPPError,)),
    ]


def encoders(frame: Frame) -> list[Contender]:
    """A whole frame as Python objects (``[2, id, action, payload]``) to bytes; ``orjson.dumps`` first."""
    schema = call_schema(frame.version, frame.action)
    dumps = orjson.dumps
    dump_text = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
    validate_rs = jsonschema_rs.validator_for(schema).validate
    version = _OCPP_VERSIONS[frame.version]

    def jsonschema_rs_orjson(value: Any) -> bytes:
        validate_rs(value[3])
        return dumps(value)

    def ocpp(value: Any) -> str:
        message = Call(value[1], value[2], value[3])
        _validate_payload(message, version)
        text: str = message.to_json()
        return text

    return [
        Contender(ORJSON, dumps, answer=orjson.loads),
        Contender("json", dump_text, answer=orjson.loads),
        Contender("msgspec", msgspec.json.Encoder().encode, answer=orjson.loads),
        Contender(
            "jsonschema-rs + orjson",
            jsonschema_rs_orjson,
            judges="yes",
            answer=orjson.loads,
            refuses=(jsonschema_rs.ValidationError,),
        ),
        Contender(OCPP, ocpp, judges="all but format", answer=_ocpp_text, refuses=(OCPPError,)),
    ]


def checkers(frame: Frame) -> list[Contender]:
    """A payload as Python objects to a verdict; jsonschema-rs first. A result is truthy for a valid payload."""
    schema = call_schema(frame.version, frame.action)
    validator_rs = jsonschema_rs.validator_for(schema)
    validator = jsonschema.Draft4Validator(schema)
    validate_fast = fastjsonschema.compile(schema, use_default=False)

    def all_errors_rs(payload: Any) -> bool:
        return not list(validator_rs.iter_errors(payload))

    def all_errors(payload: Any) -> bool:
        return not list(validator.iter_errors(payload))

    def fast(payload: Any) -> bool:
        try:
            validate_fast(payload)
        except fastjsonschema.JsonSchemaException:
            return False
        return True

    return [
        Contender("jsonschema-rs, all errors", all_errors_rs, judges="yes"),
        Contender("jsonschema-rs is_valid", validator_rs.is_valid, judges="yes or no"),
        Contender("fastjsonschema", fast, judges="first error"),
        Contender("jsonschema, all errors", all_errors, judges="all but format"),
    ]


def _fastsimdjson() -> list[Contender]:
    try:
        loads: Callable[[Any], Any] = import_module("fastsimdjson").loads
    except ModuleNotFoundError:
        return []
    return [Contender("fastsimdjson", loads)]


def _ocpp_answer(message: Any) -> Any:
    return [message.message_type_id, message.unique_id, message.action, _without_decimals(message.payload)]


def _ocpp_text(text: str) -> Any:
    return json.loads(text)


def _without_decimals(payload: Any) -> Any:
    """ocpp turns the floats of a SetChargingProfile into Decimals before it judges them."""
    return json.loads(json.dumps(payload, default=float))
