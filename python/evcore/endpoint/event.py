"""What an endpoint tells its owner. Events are immutable; each names the frame or the order it stems from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from evcore.errors import FrameError, PayloadError
from evcore.message import Call, CallError, CallResult, CallResultError, Send

if TYPE_CHECKING:
    from evcore.endpoint.outbox import Stored

__all__ = [
    "Answer",
    "Discarded",
    "Event",
    "Failure",
    "Fault",
    "Gated",
    "Notice",
    "Repeat",
    "Request",
    "Stray",
]


class Request(NamedTuple):
    """The peer's CALL; the next one is handed out after `answer` or `refuse`."""

    call: Call


class Notice(NamedTuple):
    """The peer's SEND (2.1); never answered."""

    send: Send


class Answer(NamedTuple):
    """The end of an own CALL: its CALLRESULT, judged, or the peer's CALLERROR."""

    id: str
    action: str
    result: CallResult | CallError


class Failure(NamedTuple):
    """The end of an own CALL without a usable answer.

    `timeout`: none came in time; `expired`: it waited too long for its turn and was not sent; `lost`: the connection is
    gone; `invalid`: the answer could not be accepted, and `error` says why.
    """

    id: str
    action: str
    reason: Literal["timeout", "expired", "lost", "invalid"]
    error: FrameError | PayloadError | None = None


class Repeat(NamedTuple):
    """A CALL that came before with the same id and bytes; its one answer serves both."""

    call: Call


class Stray(NamedTuple):
    """An answer to nothing: after the timeout (`late`), a second one (`duplicate`), to an id that was never sent
    (`unknown`), or a refusal of our answer (`refused`).
    """

    message: CallResult | CallError | CallResultError
    reason: Literal["late", "duplicate", "unknown", "refused"]


class Fault(NamedTuple):
    """A frame that was not accepted; the answer due, if any, is already among the frames to send."""

    error: FrameError | PayloadError


class Gated(NamedTuple):
    """A CALL or SEND that the boot gate did not let through; the answer due, if any, is already among the frames."""

    message: Call | Send


class Discarded(NamedTuple):
    """A transaction message that is given up: every transmission failed, or the outbox had to make room."""

    stored: Stored
    reason: Literal["attempts", "room"]


Event: TypeAlias = Request | Notice | Answer | Failure | Repeat | Stray | Fault | Gated | Discarded
