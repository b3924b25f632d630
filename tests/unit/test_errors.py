"""Errors as text and as pickles: what a log shows, and what crosses a process."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from evcore import FrameError, PayloadError, SchemaError, Violation

ONE = Violation("TypeConstraintViolation", "/connectorId", "type", "integer", "must be integer, is string")
TWO = Violation("ProtocolError", "", "required", "idTag", "lacks the required property idTag")


def test_violation_as_text() -> None:
    assert str(ONE) == "/connectorId must be integer, is string"
    assert str(TWO) == "payload lacks the required property idTag"


def test_payload_error(backend: Any) -> None:
    message = backend.Call("1", "StartTransaction", {})
    assert str(PayloadError(message, (TWO,), None)) == "ProtocolError: payload lacks the required property idTag"
    error = PayloadError(message, (ONE, TWO, TWO), b"[4]")
    assert str(error) == "TypeConstraintViolation: /connectorId must be integer, is string (and 2 more)"
    again = pickle.loads(pickle.dumps(error))
    assert (again.code, again.message, again.violations, again.reply) == (ONE.code, message, (ONE, TWO, TWO), b"[4]")


def test_frame_error() -> None:
    error = FrameError("frame is empty", "FormationViolation", "empty", None, None, None)
    assert str(error) == "frame is empty"
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.code, again.reason, again.message_id, again.reply, again.offset) == (
        *("frame is empty", "FormationViolation", "empty"),
        *(None, None, None),
    )


@pytest.mark.parametrize("error", [FrameError, PayloadError, SchemaError])
def test_all_are_value_errors(error: type[Exception]) -> None:
    assert issubclass(error, ValueError)
