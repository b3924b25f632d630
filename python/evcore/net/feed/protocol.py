"""What a feed and its hub say to each other, in messages of `evcore.net.channel`.

| from the feed | |
|---|---|
| `hello`, version, name | first of all |
| `event`, number, moment, event | an event that must be kept; the number is the feed's own |
| `news`, event | an event that may be lost |
| `state`, [moment, event]s | values its bus retains; the next such message only after `stated` |
| `outcome`, number, outcome | what became of an order |

| from the hub | |
|---|---|
| `welcome`, version, kinds | the answer to `hello`: the kinds to be sent, each with its QoS class |
| `refused`, sentence | the other answer; the hub closes |
| `kept`, numbers | these events are safe |
| `lost`, number, sentence | this one could not be kept |
| `stated` | the last `state` is dealt with |
| `order`, number, order | a CALL for a station; the number is the hub's own |

Events are as `evcore.bus.Event.json` writes them, orders and outcomes objects with the fields of `evcore.bus.orders`. A
moment is when the event was published, by the monotonic clock that all processes of a machine share: the wall clock may
be set back between two connections of a station.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final, get_args

from evcore.bus.orders import Order, Outcome, Status

__all__ = ["VERSION", "order_from", "order_json", "outcome_from", "outcome_json"]

#: Goes up when one side could misunderstand the other; both must have the same.
VERSION: Final = 1

_STATUSES: Final = frozenset(get_args(Status))


def order_json(order: Order) -> dict[str, Any]:
    return {name: value for name, value in asdict(order).items() if value is not None}


def order_from(values: Mapping[str, Any]) -> Order:
    """Raises TypeError or ValueError."""
    order = Order(**values)
    texts = (order.id, order.station, order.action, order.source)
    if not all(isinstance(text, str) for text in texts) or not isinstance(order.payload, Mapping):
        raise TypeError("an order with a field of the wrong type")
    for number in (order.expires, order.timeout):
        if number is not None and (isinstance(number, bool) or not isinstance(number, (int, float))):
            raise TypeError("an order with a time that is no number")
    return order


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    return {name: value for name, value in asdict(outcome).items() if value not in (None, ())}


def outcome_from(values: Mapping[str, Any]) -> Outcome:
    """Raises TypeError or ValueError."""
    outcome = Outcome(**{**values, "violations": tuple(map(str, values.get("violations", ())))})
    if outcome.status not in _STATUSES:
        raise ValueError(f"an outcome with the unknown status {outcome.status!r}")
    if outcome.payload is not None and not isinstance(outcome.payload, Mapping):
        raise TypeError("an outcome whose payload is no object")
    return outcome
