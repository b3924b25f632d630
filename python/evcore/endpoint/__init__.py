"""One side of one OCPP-J connection, without I/O: RPC rules, boot gate, replay memory, outbox."""

from evcore.endpoint.boot import Boot, GateMode, Role
from evcore.endpoint.endpoint import Endpoint, EndpointError
from evcore.endpoint.event import (
    Answer,
    Discarded,
    Event,
    Failure,
    Fault,
    Gated,
    Notice,
    Repeat,
    Request,
    Stray,
)
from evcore.endpoint.memory import TRANSACTION_ACTIONS, Memory
from evcore.endpoint.outbox import Outbox, OutboxFull, Stored

__all__ = [
    "TRANSACTION_ACTIONS",
    "Answer",
    "Boot",
    "Discarded",
    "Endpoint",
    "EndpointError",
    "Event",
    "Failure",
    "Fault",
    "GateMode",
    "Gated",
    "Memory",
    "Notice",
    "Outbox",
    "OutboxFull",
    "Repeat",
    "Request",
    "Role",
    "Stored",
    "Stray",
]
