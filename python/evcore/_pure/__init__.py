"""The codec in plain Python: the readable form of docs/codec.md, and the fallback where there is no compiled module.

Read it in the order in which a frame passes through it:

    frame     bytes or str -> Frame, or a FrameError that knows its answer
    document  JSON text -> nodes, under limits
    schema    JSON Schema -> closures that judge a node and build its value in the same step
    live      Python objects -> the same nodes, for what is sent
    message   what comes out: Call, CallResult, CallError, CallResultError, Send
    writer    values -> compact JSON
    codec     all of it behind decode, encode and check
    log       frames in log files, for the linter

The names are those of `evcore._native`, and so is the behaviour.
"""

from evcore._pure.codec import Codec
from evcore._pure.log import Linter
from evcore._pure.message import Call, CallError, CallResult, CallResultError, Send
from evcore._pure.schema import Program

__all__ = ["Call", "CallError", "CallResult", "CallResultError", "Codec", "Linter", "Program", "Send"]
