"""The codec of simulated stations: as any, but a payload may be its own JSON.

In: messages; a CALL's payload may be `Written`, which goes out as it is. Out: frames. What is written by hand is judged
by whoever gets it; a test holds every layout against the schemas.
"""

from __future__ import annotations

from typing import Any

from evcore import Codec
from evcore.message import Call

__all__ = ["StationCodec", "Written"]


class Written:
    """The JSON of a payload, as it goes out."""

    __slots__ = ("json",)

    def __init__(self, json: bytes) -> None:
        self.json = json


class StationCodec(Codec):
    """Writes `Written` payloads without a look at them."""

    def encode(self, message: Any, action: str | None = None, judge: bool = True) -> bytes:
        if type(message) is Call:
            payload = message.payload
            if type(payload) is Written:
                return b'[2,"%b","%b",%b]' % (message.id.encode(), message.action.encode(), payload.json)
        return super().encode(message, action, judge)
