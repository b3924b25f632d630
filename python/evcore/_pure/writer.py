"""Values to compact JSON text, and the answers a codec gives by itself.

In: what a judgement of Python objects has built: dict, list, str, int, bool, None, and `Real` for every other number.
Out: one line without spaces (some stations cannot read them). Refused: nothing, the judgement has seen it all.
"""

from __future__ import annotations

from json.encoder import encode_basestring as quote
from typing import Any

from evcore._pure.document import Real

__all__ = ["quote", "refusal", "write"]

_DESCRIPTION_CHARS = 255


def write(value: Any) -> str:
    """`value` as JSON text; keys in the order given, only quotes, backslashes and control characters escaped."""
    kind = type(value)
    if kind is str:
        return quote(value)
    if kind is dict:
        return "{" + ",".join([f"{quote(key)}:{write(member)}" for key, member in value.items()]) + "}"
    if kind is list:
        return "[" + ",".join([write(item) for item in value]) + "]"
    if kind is Real:
        text: str = value.text
        return text
    if kind is bool:
        return "true" if value else "false"
    return "null" if value is None else str(value)


def refusal(kind: int, id: str, code: str, description: str) -> bytes:
    """A CALLERROR (`kind` 4) or CALLRESULTERROR (5), ready to send; the description is cut to what the field holds."""
    return f'[{kind},{quote(id)},"{code}",{quote(description[:_DESCRIPTION_CHARS])},{{}}]'.encode()
