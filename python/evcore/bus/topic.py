"""Levels of topics made of names from outside: stations, transactions, devices.

In: any text. Out: a level that every MQTT broker takes and that no other text becomes, and the text again. Refused:
with ValueError, what `level` never writes.

A name may hold what means something in a topic or filter (`/`, `+`, `#`, a leading `$`, the router's braces) or what
brokers refuse (NUL and other controls, spaces, lone surrogates, non-characters): these are percent-encoded as in a URL
(RFC 3986 section 2.1), and so is `%` itself. So a topic is also the filter that matches it and nothing else. The empty
name is `%`, for an empty level looks like a mistake and some brokers take it for one.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["level", "unlevel"]

#: Non-characters: the last two of each plane, and thirty-two more.
_NONE: Final = "\ufdd0-\ufdef" + "".join(
    f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)
)
#: C0 and C1 controls, DEL, spaces and line ends of any kind, surrogates, what MQTT gives a meaning, and the escape.
_ESCAPED: Final = re.compile(
    f"^\\$|[\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ud800-\udfff{_NONE}#%+/{{}}]"
)
_ESCAPE: Final = re.compile("(?:%[0-9A-F]{2})+")
_EMPTY: Final = "%"


def level(text: str) -> str:
    """One level of a topic that stands for `text`; never empty, and different for different texts."""
    # Most names are plain, and are asked for with every event: this takes a third of what the search does.
    if text.isalnum() or text.replace("-", "").isalnum():
        return text
    return _ESCAPED.sub(_encode, text) or _EMPTY


def unlevel(text: str) -> str:
    """The text that `level` made this level of. Raises ValueError where it cannot have made it."""
    if text == _EMPTY:
        return ""
    plain = _ESCAPE.sub(_decode, text)
    if level(plain) != text:
        raise ValueError("this level of a topic is not written as evcore writes it")
    return plain


def _encode(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))


def _decode(found: re.Match[str]) -> str:
    return bytes.fromhex(found[0].replace("%", "")).decode("utf-8", "surrogatepass")
