"""evcore: the message core of EV-charging backends.

    from evcore import Codec
    codec = Codec("ocpp1.6")
    codec.decode(b'[2,"1","Heartbeat",{}]')

In: OCPP-J frames. Out: judged messages, and back. Refused: with FrameError and PayloadError, which carry their answer.
The rules are in docs/codec.md. Router, which finds the MQTT filters that match a topic, has its own in docs/router.md.
"""

from typing import Literal

from evcore._backend import Call, CallError, CallResult, CallResultError, Send
from evcore._backend import name as _backend_name
from evcore.codec import Codec
from evcore.errors import FrameError, PayloadError, SchemaError, TopicError, Violation
from evcore.limits import Limits
from evcore.policy import Policy, Rule
from evcore.route import Route, Router

__all__ = [
    "Call",
    "CallError",
    "CallResult",
    "CallResultError",
    "Codec",
    "FrameError",
    "Limits",
    "PayloadError",
    "Policy",
    "Route",
    "Router",
    "Rule",
    "SchemaError",
    "Send",
    "TopicError",
    "Violation",
    "__version__",
    "backend",
]

__version__ = "0.1.0"


def backend() -> Literal["native", "pure"]:
    """Which codec does the work: the compiled one, or the one in Python."""
    return _backend_name
