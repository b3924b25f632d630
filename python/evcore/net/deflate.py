"""permessage-deflate (RFC 7692) for both engines: what is offered and agreed on, and the work on one message.

Comes in: values of Sec-WebSocket-Extensions, and messages. Goes out: a header value and a `Deflate`, and messages.
Refused: context takeover in either direction (each message is compressed on its own, so a connection holds no zlib
state between messages), messages that inflate beyond the limit (given up at the limit, never inflated whole).

Negotiation and framing rules are those of the library websockets; here are the terms, which messages are worth it, and
how an engine without extensions of its own uses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from websockets.exceptions import InvalidHeaderFormat, NegotiationError, PayloadTooBig, ProtocolError
from websockets.extensions.base import Extension
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from websockets.frames import CONT, Frame, Opcode
from websockets.headers import build_extension, parse_extension
from websockets.typing import ExtensionName, ExtensionParameter

__all__ = ["BadMessage", "Deflate", "Disagreement", "Offer", "Terms", "TooLong", "agree", "confirm", "offer"]

_NAME: Final = ExtensionName("permessage-deflate")


class Disagreement(ValueError):
    """An extension header that makes no sense, or an answer to what was not offered."""


class BadMessage(ValueError):
    """A message that is not deflated as RFC 7692 says."""


class TooLong(BadMessage):
    """A message that inflates beyond the limit."""


class Deflate(PerMessageDeflate):
    """The terms of one connection. Messages below `least` bytes go out as they are.

    Without context takeover nothing is kept between whole messages, so connections with the same terms may share one.
    """

    def __init__(self, terms: PerMessageDeflate, least: int) -> None:
        super().__init__(True, True, terms.remote_max_window_bits, terms.local_max_window_bits, terms.compress_settings)
        self.least = least

    def encode(self, frame: Frame) -> Frame:
        return frame if frame.opcode is not CONT and len(frame.data) < self.least else super().encode(frame)

    def deflate(self, message: bytes) -> bytes:
        return bytes(super().encode(Frame(Opcode.TEXT, message)).data)

    def inflate(self, payload: bytes, limit: int) -> bytes:
        """Raises TooLong beyond `limit` bytes, BadMessage for what is not deflate."""
        try:
            return bytes(self.decode(Frame(Opcode.TEXT, payload, rsv1=True), max_size=limit).data)
        except PayloadTooBig as error:
            raise TooLong(f"message is larger than {limit} bytes") from error
        except ProtocolError as error:
            raise BadMessage("compressed message is broken") from error


class Terms(ServerPerMessageDeflateFactory):
    """What a server agrees to: its window, the peer's where the peer lets itself be bounded, no context takeover."""

    def __init__(self, window: int, least: int) -> None:
        super().__init__(True, True, window, window, _settings(window))
        self._least = least

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], PerMessageDeflate]:
        answer, terms = super().process_request_params(params, accepted_extensions)
        return answer, Deflate(terms, self._least)


class Offer(ClientPerMessageDeflateFactory):
    """What a client offers. A server that insists on context takeover has to decline (RFC 7692 section 7.1.1.1)."""

    def __init__(self, window: int, least: int) -> None:
        super().__init__(True, True, None, window, _settings(window))
        self._least = least

    def process_response_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> PerMessageDeflate:
        return Deflate(super().process_response_params(params, accepted_extensions), self._least)


def agree(values: Sequence[str], window: int, least: int) -> tuple[str, Deflate] | None:
    """The answer to what a client offered, and what is agreed on; None where nothing fits. Raises Disagreement."""
    return _agree(tuple(values), window, least)


@lru_cache(64)
def _agree(values: tuple[str, ...], window: int, least: int) -> tuple[str, Deflate] | None:
    for name, params in _parse(values):
        if name == _NAME:
            try:
                answer, terms = Terms(window, least).process_request_params(params, ())
            except NegotiationError:
                continue
            assert isinstance(terms, Deflate)
            return build_extension([(_NAME, answer)]), terms
    return None


def offer(window: int) -> str:
    """The header value of a client."""
    return build_extension([(_NAME, list(Offer(window, 0).get_request_params()))])


def confirm(values: Sequence[str], window: int, least: int) -> Deflate | None:
    """What a server agreed to of `offer`, None if it wants no compression. Raises Disagreement."""
    agreed = _parse(tuple(values))
    if not agreed:
        return None
    (name, params), *others = agreed
    if name != _NAME or others:
        raise Disagreement("the server agreed to an extension that was not offered")
    try:
        terms = Offer(window, least).process_response_params(params, ())
    except NegotiationError as error:
        raise Disagreement(f"the server agreed to other terms of permessage-deflate: {error}") from error
    assert isinstance(terms, Deflate)
    return terms


def _parse(values: tuple[str, ...]) -> list[tuple[ExtensionName, list[ExtensionParameter]]]:
    try:
        return [(name, list(params)) for value in values for name, params in parse_extension(value)]
    except InvalidHeaderFormat as error:
        raise Disagreement("the header Sec-WebSocket-Extensions is malformed") from error


def _settings(window: int) -> dict[str, int]:
    # zlib's tables as small as its window: 2^(window + 2) and 2^(memLevel + 9) bytes, for the time of one message.
    return {"memLevel": max(1, window - 7)}
