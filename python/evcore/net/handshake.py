"""The decision before the upgrade: who is it, and which OCPP version. No I/O.

Comes in: the raw request path and the subprotocols the station offered. Goes out: identity and subprotocol, or an HTTP
status with a sentence. The identity is the last path segment, percent-decoded after the split (OCPP-J 1.6 section 3.1,
2.x Part 4 section 3.1.1); a version in the path decides nothing (Part 4 section 3.1.2).
"""

from __future__ import annotations

import re
from typing import Final, Literal
from urllib.parse import unquote_to_bytes

from evcore.net.engine import Refuse

__all__ = ["SUBPROTOCOLS", "choose", "identity"]

SUBPROTOCOLS: Final = ("ocpp1.6", "ocpp2.0.1", "ocpp2.1")

#: OCPP 2.x limits the identity to identifierString[48]; 1.6 gives no limit, and longer ones were never reported.
MAX_IDENTITY: Final = 48

_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def identity(path: str) -> str | Refuse:
    """The station's identity from the raw path of its upgrade request, or why there is none."""
    segment = path.partition("?")[0].partition("#")[0].rpartition("/")[2]
    if not segment:
        return Refuse(404, "the path must end with the identity of the station: ws://HOST:PORT/IDENTITY")
    if _BAD_ESCAPE.search(segment):
        return Refuse(400, "the identity is not percent-encoded correctly")
    try:
        name = unquote_to_bytes(segment.encode("ascii", "surrogateescape")).decode()
    except UnicodeDecodeError:
        return Refuse(400, "the identity is not UTF-8")
    if len(name) > MAX_IDENTITY:
        return Refuse(400, f"the identity is longer than {MAX_IDENTITY} characters")
    if not name.isprintable():
        return Refuse(400, "the identity holds control characters")
    return name


def choose(offered: tuple[str, ...], assume: Literal["ocpp1.6"] | None = None) -> tuple[str, str | None] | None:
    """The version to speak and the subprotocol to echo: the station's first choice among ours, or None.

    `assume` is the version of a station that offers nothing at all (seen in the field); nothing is echoed to it.
    """
    for name in offered:
        if name in SUBPROTOCOLS:
            return name, name
    return (assume, None) if not offered and assume is not None else None
