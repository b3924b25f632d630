"""Where a broker is: `mqtt://`, `mqtts://`, `ws://` and `wss://` URLs.

In: text of the settings. Out: `Address`. Refused, with AddressError: other schemes, no host, ports out of range,
queries and fragments, a path where there is no WebSocket. A password in a URL shows in no text made from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

__all__ = ["Address", "AddressError", "Scheme"]

Scheme: TypeAlias = Literal["mqtt", "mqtts", "ws", "wss"]

_SCHEMES: Final[dict[str, Scheme]] = {"mqtt": "mqtt", "mqtts": "mqtts", "ws": "ws", "wss": "wss"}
#: IANA's ports for MQTT, and those of HTTP.
_PORTS: Final[dict[Scheme, int]] = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
#: What brokers serve MQTT over WebSocket at when nothing else is said.
_PATH: Final = "/mqtt"


class AddressError(ValueError):
    """A URL that is no broker's; the text says why and shows no password."""


@dataclass(frozen=True, slots=True)
class Address:
    """One broker, or one node of a cluster. `path`: of the WebSocket. User and password: of the URL."""

    scheme: Scheme
    host: str
    port: int
    path: str = ""
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Address:
        """`scheme://[user[:password]@]host[:port][/path]`; user and password may be percent-encoded."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise AddressError(f"the broker's URL cannot be read: {_without_user(str(error), url)}") from None
        scheme = _SCHEMES.get(parts.scheme)
        if scheme is None:
            raise AddressError(f"a broker's URL begins with mqtt://, mqtts://, ws:// or wss://, not {parts.scheme!r}")
        if not parts.hostname:
            raise AddressError(f"the broker's URL names no host: {scheme}://?")
        if any(character.isspace() or not character.isprintable() for character in url):
            raise AddressError("the broker's URL has spaces or control characters in it")
        host = parts.hostname
        if port == 0:
            raise AddressError(f"port 0 cannot be connected to: {scheme}://{host}:0")
        if parts.query or parts.fragment:
            raise AddressError(f"a broker's URL has neither ? nor #: {scheme}://{host}")
        path = parts.path
        if scheme in ("ws", "wss"):
            path = path or _PATH
        elif path not in ("", "/"):
            raise AddressError(f"only ws:// and wss:// have a path: {scheme}://{host}{path}")
        else:
            path = ""
        username = None if parts.username is None else unquote(parts.username)
        password = None if parts.password is None else unquote(parts.password)
        return cls(scheme, host, _PORTS[scheme] if port is None else port, path, username or None, password)

    @property
    def tls(self) -> bool:
        return self.scheme in ("mqtts", "wss")

    @property
    def websocket(self) -> bool:
        return self.scheme in ("ws", "wss")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def _without_user(text: str, url: str) -> str:
    """urllib's words, unless they repeat a part of the URL that may be secret."""
    user = url.partition("://")[2].rpartition("@")[0]
    return "it is malformed" if user and any(part and part in text for part in user.split(":")) else text
