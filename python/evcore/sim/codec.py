"""The codec of simulated stations: as any, but a payload may be its own JSON.

In: messages; a CALL's payload may be `Written`, which goes out as it is. Out: frames. What is written by hand is judged
by whoever gets it; a test holds every layout against the schemas.
"""

from __future__ import annotations

from typing import Any

from evcore import Codec
from evcore.message import Call

__all__ = ["StationCodec", "Written"]


class Written(str):
    """The JSON text of a payload."""

    __slots__ = ()


class StationCodec(Codec):
    """Writes `Written` payloads without a look at them."""

    def encode(self, message: Any, action: str | None = None, judge: bool = True) -> bytes:
        if type(message) is Call and type(message.payload) is Written:
            return f'[2,"{message.id}","{message.action}",{message.payload}]'.encode()
        return super().encode(message, action, judge)
