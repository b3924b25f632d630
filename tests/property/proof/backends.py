"""Codecs over either backend, side by side in one process.

`AVAILABLE` are the backends that can be imported; `BACKENDS` those this run is about: the one named by
EVCORE_BACKEND, else all.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from evcore.codec import Codec, codec_class

AVAILABLE = tuple(name for name in ("native", "pure") if find_spec(f"evcore._{name}"))
BACKENDS = tuple(name for name in AVAILABLE if os.environ.get("EVCORE_BACKEND", name) == name)


def messages(backend: str) -> Any:
    """The module with a backend's message classes."""
    return import_module(f"evcore._{backend}")


@cache
def _class(backend: str) -> type[Codec]:
    return codec_class(messages(backend))


@cache
def _codec(backend: str, version: str, options: tuple[tuple[str, Any], ...]) -> Codec:
    return _class(backend)(version, **dict(options))


def make(backend: str, version: str, *, fresh: bool = False, **options: Any) -> Codec:
    """A codec, shared between all who ask for the same one unless `fresh`."""
    if fresh:
        return _class(backend)(version, **options)
    return _codec(backend, version, tuple(sorted(options.items())))
