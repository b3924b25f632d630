"""Policies: which violations pass, and what a message looks like that was let through."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from evcore import PayloadError, Policy, Rule, Violation

TOO_LONG = Violation("PropertyConstraintViolation", "/idTag", "maxLength", 20, "is longer than 20 characters")
IN_SAMPLE = Violation(
    "TypeConstraintViolation", "/meterValue/3/sampledValue/0/value", "type", "string", "must be string"
)
NO_OBJECT = Violation("FormationViolation", "", "type", "object", "must be object, is array")
NO_ACTION = Violation("NotImplemented", "", "action", None, "is not an action of ocpp1.6")
MISSING = Violation("ProtocolError", "", "required", "idTag", "lacks the required property idTag")


def lets_pass(policy: Policy, action: str, *violations: Violation) -> bool:
    class Message:
        def __init__(self) -> None:
            self.action = action

    return policy(Message(), violations)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "passes"),
    [
        (Rule(), True),
        (Rule("MeterValues"), True),
        (Rule("meterValues"), False),
        (Rule(keyword="type"), True),
        (Rule(keyword="enum"), False),
        (Rule(pointer="/meterValue/3/sampledValue/0/value"), True),
        (Rule(pointer="/meterValue/*/sampledValue/*/value"), True),
        (Rule(pointer="/meterValue/*/value"), False),
        (Rule(pointer="/meterValue/**"), True),
        (Rule(pointer="/meterValue/**/value"), True),
        (Rule(pointer="/**"), True),
        (Rule(pointer="/*"), False),
        (Rule(pointer="/meterValue/3/sampledValue/0/val"), False),
        (Rule(pointer="/meterValue/./sampledValue/0/value"), False),
        (Rule(pointer=""), False),
        (Rule("MeterValues", "/meterValue/**", "type"), True),
        (Rule("MeterValues", "/meterValue/**", "enum"), False),
    ],
)
def test_rules(rule: Rule, passes: bool) -> None:
    assert rule.fits("MeterValues", IN_SAMPLE) is passes
    assert lets_pass(Policy([rule]), "MeterValues", IN_SAMPLE) is passes


def test_every_violation_needs_a_rule() -> None:
    policy = Policy({Rule(pointer="/idTag"), Rule(keyword="required")})
    assert lets_pass(policy, "Authorize", TOO_LONG)
    assert lets_pass(policy, "Authorize", TOO_LONG, MISSING)
    assert not lets_pass(policy, "Authorize", TOO_LONG, IN_SAMPLE)


def test_named_policies() -> None:
    assert Policy() == Policy.strict() != Policy.billing()
    assert not lets_pass(Policy.strict(), "MeterValues", TOO_LONG)
    for action in ("StartTransaction", "StopTransaction", "MeterValues", "TransactionEvent"):
        assert lets_pass(Policy.billing(), action, TOO_LONG, MISSING)
    assert not lets_pass(Policy.billing(), "Authorize", TOO_LONG)


@pytest.mark.parametrize("violation", [NO_OBJECT, NO_ACTION])
def test_some_things_never_pass(violation: Violation) -> None:
    assert not lets_pass(Policy([Rule()]), "MeterValues", violation)
    assert not lets_pass(Policy([Rule()]), "MeterValues", violation, TOO_LONG)


def test_a_value() -> None:
    policy = Policy({"MeterValues", Rule("Authorize")})
    assert policy == Policy([Rule("Authorize"), "MeterValues", "MeterValues"]) != Policy({"MeterValues"})
    assert hash(policy) == hash(Policy([Rule("Authorize"), "MeterValues"]))
    assert pickle.loads(pickle.dumps(policy)) == policy
    assert policy.rules == (Rule("Authorize"), Rule("MeterValues"))
    assert repr(Policy({"A"})) == "Policy([Rule(action='A', pointer='*', keyword='*')])"


def test_pointer_that_is_none() -> None:
    with pytest.raises(ValueError, match="pointer of a rule"):
        Policy([Rule(pointer="idTag")])


# In a codec

BAD_STOP = b'[2,"1","StopTransaction",{"transactionId":null,"meterStop":5,"timestamp":"2026-01-01T00:00:00Z","x":[1]}]'


@pytest.mark.parametrize("lazy", [False, True])
def test_delivered_all_the_same(make_codec: Any, backend: Any, lazy: bool) -> None:
    message = make_codec("ocpp1.6", policy=Policy.billing(), lazy=lazy).decode(BAD_STOP)
    assert isinstance(message, backend.Call)
    assert [(v.pointer, v.keyword) for v in message.violations] == [
        ("/transactionId", "type"),
        ("/x", "additionalProperties"),
    ]
    assert message.payload == {
        "transactionId": None,
        "meterStop": 5,
        "timestamp": "2026-01-01T00:00:00Z",
        "x": [1],
    }
    assert message.raw is not None
    assert message.raw.startswith(b'{"transactionId":null')
    again = pickle.loads(pickle.dumps(message))
    assert (again, again.violations) == (message, message.violations)


def test_delivered_with_the_codecs_names(make_codec: Any) -> None:
    """A handler that reads snake names finds them in a message that was let through, too."""
    message = make_codec("ocpp1.6", policy=Policy.billing(), names="snake").decode(BAD_STOP)
    assert list(message.payload) == ["transaction_id", "meter_stop", "timestamp", "x"]


def test_strict_is_no_policy(make_codec: Any) -> None:
    with pytest.raises(PayloadError) as strict:
        make_codec("ocpp1.6", policy=Policy.strict()).decode(BAD_STOP)
    with pytest.raises(PayloadError) as none:
        make_codec("ocpp1.6").decode(BAD_STOP)
    assert (strict.value.violations, strict.value.reply) == (none.value.violations, none.value.reply)


def test_other_actions_stay_strict(make_codec: Any) -> None:
    with pytest.raises(PayloadError):
        make_codec("ocpp1.6", policy=Policy.billing()).decode(b'[2,"1","Authorize",{}]')


@pytest.mark.parametrize("frame", [b'[2,"1","MeterValues",[]]', b'[2,"1","MeterValuez",{}]'])
def test_no_policy_lets_these_pass(make_codec: Any, frame: bytes) -> None:
    """Whatever is asked, and whatever it says."""
    with pytest.raises(PayloadError):
        make_codec("ocpp1.6", policy=lambda message, violations: True).decode(frame)


def test_good_messages_ask_nobody(make_codec: Any) -> None:
    def policy(message: Any, violations: Any) -> bool:
        raise AssertionError

    assert make_codec("ocpp1.6", policy=policy).decode(b'[2,"1","Heartbeat",{}]').violations == ()


def test_outgoing_messages_are_not_a_matter_of_policy(make_codec: Any, backend: Any) -> None:
    codec = make_codec("ocpp1.6", policy=Policy([Rule()]))
    with pytest.raises(PayloadError):
        codec.encode(backend.Call("1", "MeterValues", {}))
