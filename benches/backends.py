"""Both backends of the codec in one process: `evcore.Codec` is bound to the one that EVCORE_BACKEND chose."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType
from typing import Any, Final

from evcore.codec import Codec, codec_class


def _modules() -> dict[str, ModuleType]:
    found = {}
    for name in ("native", "pure"):
        try:
            found[name] = importlib.import_module(f"evcore._{name}")
        except ModuleNotFoundError:
            continue
    return found


_MODULES: Final = _modules()
BACKENDS: Final = tuple(_MODULES)
"""``native`` where it is built, and ``pure``."""


@cache
def codec(backend: str, version: str, **options: Any) -> Codec:
    """A codec of this backend; the same one for the same options."""
    return _class(backend)(version, **options)


def call(backend: str) -> Any:
    """The backend's `Call`."""
    return _MODULES[backend].Call


@cache
def _class(backend: str) -> type[Codec]:
    return codec_class(_MODULES[backend])
