"""Everything a caller can see of an answer, as one comparable value.

In: a call to a codec. Out: a tuple of plain values: class names, fields with their exact types, texts, reply bytes;
nothing that depends on which backend answered. Offsets of `json` errors are blanked, since backends may notice the
same error at different bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from evcore import FrameError, PayloadError

OFFSET = re.compile(r"frame is not JSON at byte \d+")
FIELDS = ("id", "action", "payload", "code", "description", "details", "kind", "raw", "violations")


def exact(value: Any) -> Any:
    """The value with its types written into it: 1, 1.0 and True differ, and so do 0.0 and -0.0, and orders of
    members.
    """
    if isinstance(value, dict):
        return (type(value).__name__, tuple((exact(k), exact(v)) for k, v in value.items()))
    if isinstance(value, list | tuple):
        return (type(value).__name__, tuple(map(exact, value)))
    return (type(value).__name__, repr(value))


def message(made: Any) -> Any:
    """A message's class, every field it has, its repr and its match arguments."""
    try:
        fields = tuple((name, exact(getattr(made, name))) for name in FIELDS if hasattr(made, name))
        return (type(made).__name__, fields, repr(made), type(made).__match_args__)
    except RecursionError:
        # A payload made by hand may be deeper than Python can show.
        return (type(made).__name__, "too deep to show")


def observed(call: Callable[..., Any], *args: Any) -> Any:
    """What the call returned or raised, with all it carries."""
    try:
        result = call(*args)
    except FrameError as error:
        sentence, reply = str(error), error.reply
        offset = error.offset
        if error.reason == "json":
            sentence, offset = OFFSET.sub("frame is not JSON", sentence), None
            reply = reply and OFFSET.sub("frame is not JSON", reply.decode()).encode()
        return ("FrameError", error.code, error.reason, error.message_id, sentence, reply, offset)
    except PayloadError as error:
        told = tuple(exact(tuple(v)) for v in error.violations)
        return ("PayloadError", error.code, told, str(error), error.reply, message(error.message))
    except (TypeError, ValueError) as error:
        return (type(error).__name__, str(error))
    if isinstance(result, bytes):
        return ("bytes", result)
    if isinstance(result, list):
        return ("list", tuple((type(v).__name__, exact(tuple(v))) for v in result))
    return message(result)
