"""Which brokers keep a session of ours, and whether it is the one that was left there.

In: connections and take-overs. Out: whether the next connection has to start clean. A session that is not the one
that was left is worse than none: a packet identifier of QoS 2 that somebody else has left open there makes the broker
take a new message for an old one, and drop it (MQTT §4.3.3).

It starts clean
- with a spool that has never had a session under this identifier: what the broker keeps is another one's
- after another client had the session
- at an address that has kept a session from before one that began anew elsewhere: these are no nodes of one cluster
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from evcore.mqtt.broker.address import Address
from evcore.mqtt.broker.options import Outbox

__all__ = ["Standing"]

_KEY = "mqtt-session"


class Standing:
    """Noted in the outbox, because a kill must not make a foreign session look like ours."""

    def __init__(self, identifier: str, outbox: Outbox) -> None:
        self._identifier = identifier
        self._outbox = outbox
        self._read = False
        self._written: str | None = None
        #: Addresses that have seen the present session, and those with one from before; None: there is no session.
        self._here: set[str] | None = None
        self._stale: set[str] = set()

    async def must_be_clean(self, address: Address) -> bool:
        """Raises what the outbox raises."""
        if not self._read:
            self._load((await self._outbox.notes(_KEY)).get(_KEY))
            self._read = True
        return self._here is None or str(address) in self._stale

    async def connected(self, address: Address, *, session_present: bool) -> None:
        """Returns when it is noted durably."""
        name = str(address)
        if not session_present or self._here is None:
            self._stale |= self._here or set()
            self._here = set()
        self._here.add(name)
        self._stale.discard(name)
        await self._save()

    async def lost(self) -> None:
        """Another client has had the session."""
        self._stale |= self._here or set()
        self._here = None
        await self._save()

    def _load(self, text: str | None) -> None:
        self._written = text
        try:
            found = json.loads(text or "{}")
            if isinstance(found, dict) and found.get("identifier") == self._identifier:
                self._here = None if found["here"] is None else _names(found["here"])
                self._stale = _names(found["stale"])
        except (ValueError, KeyError, TypeError):
            self._here, self._stale = None, set()

    async def _save(self) -> None:
        here = None if self._here is None else sorted(self._here)
        text = json.dumps({"identifier": self._identifier, "here": here, "stale": sorted(self._stale)})
        if text != self._written:
            await self._outbox.note(_KEY, text)
            self._written = text


def _names(values: Iterable[object]) -> set[str]:
    return {value for value in values if isinstance(value, str)}
