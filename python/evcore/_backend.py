"""Which codec does the work: `evcore._native` (Rust) or `evcore._pure` (Python).

In: the environment variable EVCORE_BACKEND, `native` or `pure`; without it native is wanted. Out: the chosen module
and its name. Refused, as ImportError: another value, and `native` where the compiled module is missing. Without the
variable a missing compiled module is a RuntimeWarning: the Python codec gives the same answers, some fifty times
slower.
"""

from __future__ import annotations

import os
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

# Both modules have the same names; type checkers read the one that has source.
if TYPE_CHECKING:
    from evcore import _pure as module
    from evcore._pure import Call, CallError, CallResult, CallResultError, Codec, Program, Router, Send

__all__ = ["Call", "CallError", "CallResult", "CallResultError", "Codec", "Program", "Router", "Send", "module", "name"]

_ADVICE = (
    "the compiled module evcore._native is missing: install a wheel of evcore for this platform, or build it with "
    "`maturin develop --release`; EVCORE_BACKEND=pure asks for the Python codec"
)


def _choose() -> tuple[Literal["native", "pure"], Any]:
    asked = os.environ.get("EVCORE_BACKEND", "")
    if asked not in ("", "native", "pure"):
        raise ImportError(f"EVCORE_BACKEND must be 'native' or 'pure', is {asked!r}")
    if asked != "pure":
        try:
            return "native", import_module("evcore._native")
        except ImportError as error:
            if asked == "native":
                raise ImportError(f"EVCORE_BACKEND is 'native', but {_ADVICE}") from error
            warnings.warn(f"evcore falls back to its Python codec: {_ADVICE}", RuntimeWarning, stacklevel=2)
    return "pure", import_module("evcore._pure")


name: Literal["native", "pure"]
name, _module = _choose()

if not TYPE_CHECKING:
    module = _module
    Call = module.Call
    CallError = module.CallError
    CallResult = module.CallResult
    CallResultError = module.CallResultError
    Codec = module.Codec
    Program = module.Program
    Router = module.Router
    Send = module.Send
