"""What to do about a message that breaks its schema: answer with an error, or deliver it all the same.

In: a message whose payload has violations, and the violations. Out: whether it is delivered, its `violations` set.
Never delivered: a payload that is no object, an action the version does not have; nobody could handle them.

A policy is asked on the failure path alone; a good message costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from evcore.errors import Violation
    from evcore.message import Message

__all__ = ["BILLING_ACTIONS", "Policy", "Rule"]

BILLING_ACTIONS: Final = frozenset(("StartTransaction", "StopTransaction", "MeterValues", "TransactionEvent"))
"""Messages that carry money (OCPP 1.6 §4.7 to §4.10; 2.x E, J): after a CALLERROR a station repeats or drops them."""


class Rule(NamedTuple):
    """Violations that may pass: those where all three fields fit.

    ``*`` alone fits everything. In ``pointer`` a step ``*`` fits one step and ``**`` any number of them, so that
    ``/meterValue/*/sampledValue/**`` is whatever stands in any sampled value.
    """

    action: str = "*"
    """``MeterValues``"""
    pointer: str = "*"
    """``/chargePointSerialNumber``, over wire names."""
    keyword: str = "*"
    """``maxLength``"""

    def fits(self, action: str, violation: Violation) -> bool:
        """Whether this rule lets the violation pass in a message of this action."""
        return (
            self.action in ("*", action)
            and self.keyword in ("*", violation.keyword)
            and (self.pointer == "*" or _glob(self.pointer).fullmatch(violation.pointer) is not None)
        )


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    steps = {"*": "/[^/]*", "**": "(?:/[^/]*)*"}
    return re.compile("".join(steps.get(step, "/" + re.escape(step)) for step in pattern.split("/")[1:]))


class Policy:
    """Which violations are let through: a message is delivered when each of its violations fits a rule.

    ``Policy(tolerate={"MeterValues", Rule("BootNotification", "/chargePointSerialNumber", "maxLength")})``: an action's
    name stands for a rule that lets all of its violations pass. Immutable.

    Raises ValueError for a pointer that neither is ``*`` nor empty nor begins with ``/``.
    """

    __slots__ = ("_rules",)

    def __init__(self, tolerate: Iterable[str | Rule] = ()) -> None:
        rules = (Rule(entry) if isinstance(entry, str) else Rule(*entry) for entry in tolerate)
        self._rules = tuple(sorted(set(rules)))
        for rule in self._rules:
            if rule.pointer not in ("", "*") and not rule.pointer.startswith("/"):
                raise ValueError(f"the pointer of a rule must be '*', '' or begin with '/', is {rule.pointer!r}")

    @classmethod
    def strict(cls) -> Policy:
        """Nothing passes: what a codec without a policy does."""
        return cls()

    @classmethod
    def billing(cls) -> Policy:
        """What carries money is delivered, whatever is wrong with it: StartTransaction, StopTransaction, MeterValues,
        TransactionEvent.
        """
        return cls(BILLING_ACTIONS)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules, sorted."""
        return self._rules

    def __call__(self, message: Message, violations: tuple[Violation, ...]) -> bool:
        """Whether to deliver `message`."""
        action = getattr(message, "action", None)
        if action is None:
            return False
        return all(
            violation.keyword != "action"
            and not (violation.keyword == "type" and not violation.pointer)
            and any(rule.fits(action, violation) for rule in self._rules)
            for violation in violations
        )

    def __repr__(self) -> str:
        return f"Policy({list(self._rules)!r})"

    def __eq__(self, other: object) -> bool:
        return self._rules == other._rules if isinstance(other, Policy) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._rules)
