"""Messages are values: immutable, compared by their fields, shown by them, matched by them, picklable."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

REQUEST = {"id": "1", "action": "Heartbeat", "payload": {"a": [1]}}
RESULT = {"id": "1", "payload": {"a": [1]}}
ERROR = {"id": "1", "code": "InternalError", "description": "no", "details": {"a": 1}}
CLASSES = [
    ("Call", 2, REQUEST),
    ("CallResult", 3, RESULT),
    ("CallError", 4, ERROR),
    ("CallResultError", 5, ERROR),
    ("Send", 6, REQUEST),
]


@pytest.fixture(params=CLASSES, ids=[name for name, _, _ in CLASSES])
def made(request: pytest.FixtureRequest, backend: Any) -> tuple[Any, int, dict[str, Any]]:
    name, kind, fields = request.param
    return getattr(backend, name), kind, fields


def test_fields(made: Any) -> None:
    cls, kind, fields = made
    message = cls(*fields.values())
    assert cls.__match_args__ == tuple(fields)
    assert {name: getattr(message, name) for name in fields} == fields
    assert (message.kind, cls.kind) == (kind, kind)
    assert message.raw is None
    assert message.violations == ()
    assert message == cls(**fields)
    shown = ", ".join(f"{name}={value!r}" for name, value in fields.items())
    assert repr(message) == f"{cls.__name__}({shown})"


def test_immutable_and_not_hashable(made: Any) -> None:
    cls, _, fields = made
    message = cls(**fields)
    for name in (*fields, "raw", "violations", "kind", "action", "anything"):
        with pytest.raises(AttributeError):
            setattr(message, name, "x")
    with pytest.raises(TypeError):
        hash(message)


def test_every_field_counts_when_compared(made: Any, backend: Any) -> None:
    cls, _, fields = made
    message = cls(**fields)
    for name in fields:
        assert message != cls(**{**fields, name: "other"})
    assert message != tuple(fields.values())
    for other, _, others in CLASSES:
        if others is fields and other != cls.__name__:
            assert message != getattr(backend, other)(**fields)


def test_pickle_and_copy(made: Any) -> None:
    cls, _, fields = made
    message = cls(**fields)
    for again in (pickle.loads(pickle.dumps(message)), copy.copy(message), copy.deepcopy(message)):
        assert again == message
        assert type(again) is cls
        assert (again.raw, again.violations) == (None, ())


def test_pickle_keeps_what_was_received(make_codec: Any) -> None:
    message = make_codec("ocpp1.6").decode(b'[3, "1", {"currentTime": "2026-01-01T00:00:00Z"} ]', action="Heartbeat")
    again = pickle.loads(pickle.dumps(message))
    assert again == message
    assert (again.raw, again.action) == (b'{"currentTime": "2026-01-01T00:00:00Z"}', "Heartbeat")


def test_defaults(backend: Any) -> None:
    error = backend.CallError("1", "InternalError")
    assert (error.description, error.details) == ("", {})
    assert (
        error == backend.CallError("1", "InternalError", "", {}) == backend.CallError("1", "InternalError", None, None)
    )
    assert error.details is not backend.CallError("1", "InternalError").details
    assert backend.CallResult("1", {}).action is None
    assert backend.CallResult("1", {}, "Heartbeat").action == "Heartbeat"
    assert backend.CallResult("1", {}, "Heartbeat") == backend.CallResult("1", {})


def test_fields_that_are_text(made: Any) -> None:
    cls, _, fields = made
    for name in set(fields) - {"payload", "details"}:
        for wrong in (5, b"x", ["x"]):
            with pytest.raises(TypeError):
                cls(**{**fields, name: wrong})


def test_matching(backend: Any) -> None:
    match backend.Call("1", "Heartbeat", {}):
        case backend.CallResult():
            raise AssertionError
        case backend.Call(id, "Heartbeat", payload):
            assert (id, payload) == ("1", {})
        case _:
            raise AssertionError
