"""Results of commands: what they say, as JSON and as OCPP-J frames, and the messages that carry them.

Comes in: outcomes, and where their commands want them. Goes out: JSON objects that docs/mqtt.md has the table of, and
messages for the spool. Nothing is refused here: addresses were judged before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from evcore.bus.orders import Outcome
from evcore.mqtt.commands.command import Command
from evcore.mqtt.message import Message
from evcore.mqtt.topics import Topics

__all__ = ["Address", "frame", "messages", "refused", "result"]

#: OCPP error codes for orders that never reached the station, for those who speak in frames; spelled the same in all
#: versions.
_ERRORS: Final = {
    "invalid-payload": "PropertyConstraintViolation",
    "malformed": "ProtocolError",
    "not-allowed": "SecurityError",
    "unsupported-action": "NotSupported",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a result goes: to the station's result topic always, to `reply` as well; with the correlation data of its
    command. `raw`: as a frame too.
    """

    station: str
    reply: str | None = None
    correlation: bytes | None = None
    raw: bool = False

    @classmethod
    def of(cls, command: Command, **changed: Any) -> Self:
        values = {"reply": command.reply, "correlation": command.correlation, **changed}
        return cls(station=command.station, raw=command.raw, **values)


def refused(code: str, message: str) -> Outcome:
    return Outcome(status="refused", code=code, message=message)


def result(station: str, id: str | None, action: str | None, outcome: Outcome, now: float) -> dict[str, Any]:
    """The result as a JSON object; what there is nothing to say about is left out. `now`: Unix time."""
    values: dict[str, Any] = {
        "id": id,
        "station": station,
        "action": action,
        "status": outcome.status,
        "code": outcome.code,
        "message": outcome.message,
        "payload": outcome.payload,
        "violations": list(outcome.violations) or None,
        "time": datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    return {name: value for name, value in values.items() if value is not None}


def frame(values: Mapping[str, Any]) -> list[Any]:
    """A result of `result` as an OCPP-J frame: CALLRESULT where the station gave one, else CALLERROR. A CALL without an
    id is answered with the id -1, as OCPP 2.1 does (Part 4 section 4.2.3).
    """
    if values["status"] in ("accepted", "rejected"):
        return [3, values["id"], values.get("payload", {})]
    code = values.get("code")
    if values["status"] != "error" or code == "invalid":
        code = _ERRORS.get(code or "", "GenericError")
    return [4, values.get("id", "-1"), code, values.get("message", ""), {}]


def messages(text: str, address: Address, topics: Topics, qos: int) -> list[Message]:
    """The messages that tell a result; `text`: the JSON of `result`."""
    own = topics.result(address.station)
    to = [own] if address.reply is None or address.reply == own else [own, address.reply]
    bodies = [(topic, text) for topic in to]
    if address.raw:
        bodies.append(
            (topics.raw(address.station, "result"), json.dumps(frame(json.loads(text)), separators=(",", ":")))
        )
    return [
        Message(topic, body.encode(), qos=qos, content_type="application/json", correlation=address.correlation)
        for topic, body in bodies
    ]
