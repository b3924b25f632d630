"""Payloads of messages: JSON text, with or without drivers' tokens.

In: JSON values. Out: bytes of UTF-8. Refused: with ValueError, what JSON cannot say (NaN).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["encode", "without_tokens"]

_write: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

#: Members that hold a token, without case and underscores: those of OCPP, and `token` of our own events.
_TOKENS: Final = frozenset({"idtag", "idtoken", "parentidtag", "groupidtoken", "additionalidtoken", "token"})
_DEPTH: Final = 128


def encode(values: Any) -> bytes:
    """Compact JSON in UTF-8; a lone surrogate, which UTF-8 cannot say, becomes `?`."""
    return _write(values).encode("utf-8", "replace")


def without_tokens(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same without the members that hold a driver's token, at any depth; beyond 128 levels all is left out."""
    return _without(values, _DEPTH)


def _without(values: Mapping[str, Any], depth: int) -> dict[str, Any]:
    return {
        name: _clean(value, depth - 1) for name, value in values.items() if name.lower().replace("_", "") not in _TOKENS
    }


def _clean(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return _without(value, depth) if depth > 0 else {}
    if isinstance(value, (list, tuple)):
        return [_clean(item, depth - 1) for item in value] if depth > 0 else []
    return value
