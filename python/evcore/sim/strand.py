"""A strand: a coroutine of one station that is driven by hand, not by a task.

In: a coroutine that awaits nothing but its station's `sleep`, `call` and what is made of these; what it is resumed
with. Out: nothing, when it is over. A strand costs its coroutine and five
words; ten thousand stations have a few hundred at a time.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

__all__ = ["Strand"]


class Strand:
    """`token` changes whenever it is resumed: timers of earlier pauses are recognised by it. `began`: simulated time of
    the pause.
    """

    __slots__ = ("began", "coroutine", "token")

    def __init__(self, coroutine: Coroutine[None, Any, None], now: float) -> None:
        self.coroutine: Coroutine[None, Any, None] | None = coroutine
        self.token = 0
        self.began = now

    @property
    def over(self) -> bool:
        return self.coroutine is None

    def resume(self, value: Any) -> None:
        """Runs to the next pause or the end. Raises what the coroutine raises."""
        coroutine = self.coroutine
        if coroutine is None:
            return
        begun = self.token > 0
        self.token += 1
        try:
            coroutine.send(value if begun else None)
        except StopIteration:
            self.coroutine = None
        except BaseException:
            self.coroutine = None
            raise

    def end(self) -> None:
        """Ends it where it stands; not from within."""
        coroutine, self.coroutine = self.coroutine, None
        self.token += 1
        if coroutine is not None:
            coroutine.close()
