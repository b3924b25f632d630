"""An outbox that is a list: what a Session needs of the spool, without a disk, and with everything written down."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from evcore.mqtt.message import Message


@dataclass(frozen=True, slots=True)
class Item:
    seq: int
    message: Message
    released: bool = False


class MemoryOutbox:
    """`delay`: seconds until `released` counts as durable."""

    def __init__(self, delay: float = 0.0) -> None:
        self.on_put: Callable[[], None] | None = None
        self.items: dict[int, Item] = {}
        self.delay = delay
        self.finished: list[int] = []
        self.renewals = 0
        self.facts: dict[str, str] = {}
        self._order: list[int] = []
        self._seq = 0

    def put(self, *messages: Message) -> list[int]:
        seqs = []
        for message in messages:
            self._seq += 1
            self.items[self._seq] = Item(self._seq, message)
            self._order.append(self._seq)
            seqs.append(self._seq)
        if self.on_put is not None:
            self.on_put()
        return seqs

    def waiting(self, after: int, most: int) -> Sequence[Item]:
        found: list[Item] = []
        at = bisect_right(self._order, after)
        while at < len(self._order) and len(found) < most:
            if (item := self.items.get(self._order[at])) is not None:
                found.append(item)
            at += 1
        return found

    async def fetch(self, after: int, most: int) -> Sequence[Item]:
        return self.waiting(after, most)

    def released(self, seq: int) -> Awaitable[None]:
        return asyncio.ensure_future(self._released(seq))

    async def _released(self, seq: int) -> None:
        await asyncio.sleep(self.delay)
        if seq in self.items:
            self.items[seq] = replace(self.items[seq], released=True)

    async def renew(self) -> None:
        self.renewals += 1
        self.items = {seq: replace(item, released=False) for seq, item in self.items.items()}

    def done(self, seq: int) -> None:
        if self.items.pop(seq, None) is not None:
            self.finished.append(seq)

    async def note(self, key: str, value: str | None) -> None:
        if value is None:
            self.facts.pop(key, None)
        else:
            self.facts[key] = value

    async def notes(self, prefix: str = "") -> Mapping[str, str]:
        return {key: value for key, value in self.facts.items() if key.startswith(prefix)}
