"""One command of a broker's client: from its bytes to a `Command`.

Comes in: bodies of the command topic, raw CALL frames, the journal's own copy. Goes out: a command whose every part is
of the right type and bounded. Refused, as `Malformed` with one sentence that repeats nothing of what came: what is not
JSON, not an object, has a name twice, a name nobody knows, too many levels or bytes, parts of the wrong type.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NoReturn, Self

from evcore.bus.orders import Order

__all__ = ["MAX_CORRELATION", "MAX_ID", "Command", "Malformed", "Reading", "key", "parse", "parse_call"]

#: Bounds of what is repeated in a result: characters of an id and an action, bytes of the correlation data and of the
#: topic for the reply. A command that needs more is malformed.
MAX_ID: Final = 64
MAX_ACTION: Final = 64
MAX_CORRELATION: Final = 128
MAX_REPLY: Final = 1024

#: Levels of a body, its own object being the first; the codec allows a frame as many.
MAX_DEPTH: Final = 64

#: Characters of a message id (OCPP-J 1.6 section 4.1.4, 2.x Part 4 section 4.1.4).
MAX_MESSAGE_ID: Final = 36

_ID: Final = re.compile(r"[!-~]+")
_ACTION: Final = re.compile(r"[A-Za-z0-9]+")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_MEMBERS: Final = frozenset({"id", "action", "payload", "expires", "ttl", "timeout", "reply"})


class Malformed(ValueError):
    """A command that is none. `id` and `action`: where they could be made out."""

    def __init__(self, message: str, id: str | None = None, action: str | None = None) -> None:
        super().__init__(message)
        self.id = id
        self.action = action


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How commands are read. `bytes`: most of a body. `lifetime`: seconds for a command that does not say how long it
    is good; `longest`: seconds for one that says more. `timeout`: most seconds it may give the station for its answer.
    """

    bytes: int
    lifetime: float
    longest: float
    timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a client wants of a station. `expires`: Unix time. `reply`: a topic for the result beside the result topic.
    `raw`: it came as a CALL frame, and its result goes out as a frame too.
    """

    id: str
    station: str
    action: str
    payload: dict[str, Any]
    expires: float
    timeout: float | None = None
    reply: str | None = None
    correlation: bytes | None = None
    raw: bool = False

    @property
    def key(self) -> str:
        """What the journal knows it by: ids are the clients', and unique for a station only."""
        return key(self.id, self.station, raw=self.raw)

    @property
    def order(self) -> Order:
        return Order(
            id=self.id,
            station=self.station,
            action=self.action,
            payload=self.payload,
            source="mqtt",
            expires=self.expires,
            timeout=self.timeout,
        )

    def write(self) -> bytes:
        """The journal's copy."""
        values = {
            "id": self.id,
            "station": self.station,
            "action": self.action,
            "payload": self.payload,
            "expires": self.expires,
            "timeout": self.timeout,
            "reply": self.reply,
            "correlation": None if self.correlation is None else self.correlation.hex(),
            "raw": self.raw,
        }
        return json.dumps(values).encode()

    @classmethod
    def read(cls, text: bytes) -> Self:
        """The inverse. Raises ValueError, KeyError or TypeError for what `write` never wrote."""
        values = json.loads(text)
        correlation = values.pop("correlation")
        return cls(correlation=None if correlation is None else bytes.fromhex(correlation), **values)


def key(id: str, station: str, *, raw: bool) -> str:
    """Different for different arguments: an id has no space in it."""
    return f"{'call' if raw else 'command'} {id} {station}"


def parse(
    body: bytes,
    station: str,
    reading: Reading,
    now: float,
    *,
    expiry: float | None = None,
    reply: str | None = None,
    correlation: bytes | None = None,
) -> Command:
    """The command of a JSON body. Raises Malformed.

    `now`: Unix time it came at. `expiry`, `reply`, `correlation`: Message Expiry Interval in seconds, Response Topic
    and Correlation Data of MQTT 5 (§3.3.2.3). A body without an id is known by its correlation data; the earliest
    of all ends it is given counts; the body's topic for the reply is used where MQTT names none.
    """
    values = _json(body, reading.bytes)
    if not isinstance(values, dict):
        raise Malformed("a command is a JSON object")
    if correlation is not None and len(correlation) > MAX_CORRELATION:
        raise Malformed(f"the correlation data has more than {MAX_CORRELATION} bytes")
    if "id" in values:
        name = values["id"]
        if not isinstance(name, str) or not _ID.fullmatch(name) or len(name) > MAX_ID:
            raise Malformed(f"id must be 1 to {MAX_ID} printable ASCII characters without a space")
    elif correlation:
        name = correlation.hex()
    else:
        raise Malformed("a command needs an id")
    action = values.get("action")
    if not isinstance(action, str) or not _ACTION.fullmatch(action) or len(action) > MAX_ACTION:
        raise Malformed("action must be the name of an OCPP action", name)
    if any(member not in _MEMBERS for member in values):
        raise Malformed(f"a command has the members {', '.join(sorted(_MEMBERS))} and no others", name, action)
    payload = values.get("payload", {})
    if not isinstance(payload, dict):
        raise Malformed("payload must be a JSON object", name, action)
    try:
        ends = [] if expiry is None else [now + expiry]
        if "expires" in values:
            ends.append(_time(values["expires"]))
        if "ttl" in values:
            ends.append(now + _seconds("ttl", values["ttl"]))
        timeout = _seconds("timeout", values["timeout"]) if "timeout" in values else None
        if timeout is not None and timeout > reading.timeout:
            raise ValueError(f"timeout must be at most {reading.timeout:g} seconds")
        if "reply" in values and not isinstance(values["reply"], str):
            raise ValueError("reply must be a topic")
        reply = values.get("reply") if reply is None else reply
        if reply is not None and len(reply.encode("utf-8", "surrogatepass")) > MAX_REPLY:
            raise ValueError(f"the topic for the reply has more than {MAX_REPLY} bytes")
    except ValueError as error:
        raise Malformed(str(error), name, action) from None
    return Command(
        id=name,
        station=station,
        action=action,
        payload=payload,
        expires=min(min(ends, default=now + reading.lifetime), now + reading.longest),
        timeout=timeout,
        reply=reply,
        correlation=correlation,
    )


def parse_call(
    body: bytes,
    station: str,
    reading: Reading,
    now: float,
    *,
    expiry: float | None = None,
    correlation: bytes | None = None,
) -> Command:
    """The command of a CALL frame: `[2, id, action, payload]`. Raises Malformed. Arguments as for `parse`."""
    values = _json(body, reading.bytes)
    if not isinstance(values, list) or len(values) != 4 or values[0] != 2 or type(values[0]) is not int:
        raise Malformed("a CALL frame is an array of 2, a message id, an action and a payload")
    _, name, action, payload = values
    if not isinstance(name, str) or not _ID.fullmatch(name) or len(name) > MAX_MESSAGE_ID:
        raise Malformed(f"the message id must be 1 to {MAX_MESSAGE_ID} printable ASCII characters without a space")
    if not isinstance(action, str) or not _ACTION.fullmatch(action) or len(action) > MAX_ACTION:
        raise Malformed("the third element must be the name of an OCPP action", name)
    if not isinstance(payload, dict):
        raise Malformed("the payload must be a JSON object", name, action)
    if correlation is not None and len(correlation) > MAX_CORRELATION:
        raise Malformed(f"the correlation data has more than {MAX_CORRELATION} bytes", name, action)
    return Command(
        id=name,
        station=station,
        action=action,
        payload=payload,
        expires=now + min(reading.lifetime if expiry is None else expiry, reading.longest),
        correlation=correlation,
        raw=True,
    )


def _json(body: bytes, most: int) -> Any:
    if len(body) > most:
        raise Malformed(f"the body has more than {most} bytes")
    try:
        values = json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
    except UnicodeDecodeError:
        raise Malformed("the body is not UTF-8") from None
    except json.JSONDecodeError:
        raise Malformed("the body is not JSON") from None
    except RecursionError:
        raise Malformed(f"the body has more than {MAX_DEPTH} levels") from None
    except Malformed:
        raise
    except ValueError:
        # An integer of more digits than Python reads.
        raise Malformed("the body has a number that is too long") from None
    level, depth = [values], 0
    while level := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        if depth > MAX_DEPTH:
            raise Malformed(f"the body has more than {MAX_DEPTH} levels")
        level = [item for outer in level for item in (outer.values() if isinstance(outer, dict) else outer)]
    return values


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("the body has a name twice in one object")
    return found


def _constant(text: str) -> NoReturn:
    raise Malformed("the body is not JSON: numbers are finite")


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise Malformed("the body has a number that is too large")
    return number


def _seconds(name: str, value: Any) -> float:
    # Compared before it becomes a float: an integer may be larger than any.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1e9:
        raise ValueError(f"{name} must be a number of seconds above 0")
    return float(value)


def _time(value: Any) -> float:
    if isinstance(value, str) and _TIME.fullmatch(value):
        # Python reads up to six digits of a second; nobody is that exact.
        text = re.sub(r"(\.\d{6})\d+", r"\1", value.upper())
        try:
            return datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError):
            pass
    raise ValueError("expires must be a time as in RFC 3339, with its offset: 2026-11-20T12:00:00Z")
