"""Client frames made beforehand: one per action, with a message id that is patched in place for every CALL.

In: the frames of `benches/data`. Out: `Template`, whose `stamped` is a masked WebSocket frame ready to be written, and
whose `answer` is how the text that answers it must begin. All four bytes of the mask are the same, which the protocol
allows, so a digit is masked alike wherever it stands.
"""

from __future__ import annotations

import json
from typing import Final

from benches.frames import frames

MASK: Final = 0x5A
DIGITS: Final = 10
"""Digits of the running number that makes every id another one."""
TEXT: Final = 0x81
CLOSE: Final = 0x88
PING: Final = 0x89
PONG: Final = 0x8A

_MASKED: Final = bytes(byte ^ MASK for byte in range(256))

_BOOTS: Final = {
    "ocpp1.6": {"chargePointVendor": "Northgrid", "chargePointModel": "KX22"},
    "ocpp2.0.1": {"reason": "PowerUp", "chargingStation": {"vendorName": "Northgrid", "model": "KX22"}},
}


class Template:
    """A CALL of one action, to be sent again and again."""

    __slots__ = ("_at", "_frame", "_head", "action", "answers", "version")

    def __init__(self, version: str, action: str, call_id: str, payload: str, *, echo: bool = False) -> None:
        self.version = version
        self.action = action
        head = call_id[: max(0, len(call_id) - DIGITS)]
        text = f'[2,"{head}{"0" * DIGITS}","{action}",{payload}]'.encode()
        frame = client_frame(TEXT, text)
        self._frame = bytearray(frame)
        self._at = len(frame) - len(text) + len(f'[2,"{head}'.encode())
        self._head = f'[{2 if echo else 3},"{head}'.encode()

    def stamped(self, number: int) -> bytearray:
        """The frame with this number in its id; valid until the next call."""
        at = self._at
        self._frame[at : at + DIGITS] = (b"%010d" % number).translate(_MASKED)
        return self._frame

    def answer(self, number: int) -> bytes:
        """How the text must begin that answers the CALL of this number."""
        return self._head + b'%010d"' % number


def template(version: str, action: str, *, echo: bool = False) -> Template:
    """The CALL of this action: as in `benches/data` where it is there, else the smallest its schema allows. `echo`: the
    server sends back what it gets.
    """
    if action == "BootNotification":
        return Template(version, action, "0" * 36, json.dumps(_BOOTS[version], separators=(",", ":")), echo=echo)
    for frame in frames():
        if (frame.version, frame.action) == (version, action):
            _, call_id, _, _ = frame.value
            payload = frame.data.decode().split(f'"{action}",', 1)[1].removesuffix("]")
            return Template(version, action, call_id, payload, echo=echo)
    raise LookupError(f"benches/data has no {action} of {version}")


def client_frame(opcode: int, payload: bytes) -> bytes:
    """A masked frame; `opcode` with the FIN bit."""
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else bytes((0x80 | 126,)) + size.to_bytes(2, "big")
    return bytes((opcode,)) + length + bytes((MASK,)) * 4 + payload.translate(_MASKED)


def split(data: bytes) -> tuple[int, bytes, bytes] | None:
    """The first whole frame of `data`: opcode with the FIN bit, payload, and what follows; None when more must come.

    Raises ValueError for a frame no server may send: masked, or of 64 KiB and more, which no answer here is.
    """
    if len(data) < 2:
        return None
    start, size = 2, data[1]
    if size > 126:
        raise ValueError(f"a frame of a server starts with {data[:2]!r}")
    if size == 126:
        if len(data) < 4:
            return None
        start, size = 4, int.from_bytes(data[2:4], "big")
    if len(data) < start + size:
        return None
    return data[0], data[start : start + size], data[start + size :]
