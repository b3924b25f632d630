"""The codec and the router in plain Python: docs/codec.md and docs/router.md in readable form, and the fallback where
there is no compiled module.

Read it in the order in which a frame passes through it:

    frame     bytes or str -> Frame, or a FrameError that knows its answer
    document  JSON text -> nodes, under limits
    schema    JSON Schema -> closures that judge a node and build its value in the same step
    live      Python objects -> the same nodes, for what is sent
    message   what comes out: Call, CallResult, CallError, CallResultError, Send
    writer    values -> compact JSON
    codec     all of it behind decode, encode and check
    log       frames in log files, for the linter

and a topic through the router:

    topic     what a topic and a filter are
    route     the tree of filters

The names are those of `evcore._native`, and so is the behaviour.
"""

from evcore._pure.codec import Codec
from evcore._pure.log import Linter
from evcore._pure.message import Call, CallError, CallResult, CallResultError, Send
from evcore._pure.route import Router
from evcore._pure.schema import Program

__all__ = ["Call", "CallError", "CallResult", "CallResultError", "Codec", "Linter", "Program", "Router", "Send"]
