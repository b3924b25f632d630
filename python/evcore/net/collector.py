"""The cyclic garbage collector in a process that holds many connections.

A connection is some thirty objects that live for days and are in no cycle once it is closed (tests take a census with
the collector off). Python's defaults look at all of them again and again while stations come in: a full collection over
15,000 stations is a pause of a quarter of a second, in the middle of a reconnect storm.
"""

from __future__ import annotations

import gc
from typing import Final

__all__ = ["settle"]

#: Young objects are looked at ten thousand at a time, a few tens of thousands now and then, all of them hardly ever.
_THRESHOLDS: Final = (10_000, 10, 1_000)


def settle() -> None:
    """To be called once, when the process has loaded what it needs: that is never looked at again. For a process whose
    main work is a `Server`; it changes the collector for everything in it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
