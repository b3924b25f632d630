"""Stations that send a numbered stream of TransactionEvents and give nothing up before it is answered.

In: a port, how many messages, how fast. Out: entries in the books. As a station does, one has a single CALL outstanding
and sends it again, with the same message id, when the connection broke or the answer was an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import UTC, datetime
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tests.mqtt.faults.books import Books

#: Seconds a station waits for an answer before it connects anew, and until it tries again.
_PATIENCE: Final = 20.0
_PAUSE: Final = 0.05


def _event(identity: str, number: int, last: int) -> dict[str, Any]:
    """The `number`th of the transaction; it is Started with 0 and Ended with `last`."""
    name = "Started" if number == 0 else "Ended" if number == last else "Updated"
    return {
        "eventType": name,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "triggerReason": "MeterValuePeriodic",
        "seqNo": number,
        "transactionInfo": {"transactionId": f"t-{identity}"},
        "evse": {"id": 1, "connectorId": 1},
        "meterValue": [
            {
                "timestamp": "2026-11-20T12:00:00Z",
                "sampledValue": [{"value": 1000.0 + number, "measurand": "Energy.Active.Import.Register"}],
            }
        ],
    }


class Stream:
    """One station and its messages. `run` returns when the last has been answered."""

    def __init__(self, identity: str, port: int, books: Books, count: int, pause: float = 0.0) -> None:
        self.identity = identity
        self._url = f"ws://127.0.0.1:{port}/{identity}"
        self._books = books
        self._count = count
        self._pause = pause
        self._next = 0

    async def run(self) -> None:
        while self._next < self._count:
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    socket = await connect(self._url, subprotocols=["ocpp2.0.1"], open_timeout=5, close_timeout=0.5)  # type: ignore[list-item]
                async with socket:
                    await self._talk(socket)
            await asyncio.sleep(_PAUSE)

    async def _talk(self, socket: ClientConnection) -> None:
        described = {"reason": "PowerUp", "chargingStation": {"vendorName": "Northgrid", "model": "KX22"}}
        await self._ask(socket, "boot", "BootNotification", described)
        while self._next < self._count:
            key = (self.identity, self._next)
            self._books.sent.add(key)
            payload = _event(self.identity, self._next, self._count - 1)
            if await self._ask(socket, f"m{self._next}", "TransactionEvent", payload):
                self._books.acknowledged.add(key)
                self._next += 1
                if self._pause:
                    await asyncio.sleep(self._pause)
            else:
                self._books.refused += 1
                await asyncio.sleep(_PAUSE)

    async def _ask(self, socket: ClientConnection, message_id: str, action: str, payload: Any) -> bool:
        """Whether the answer is a CALLRESULT."""
        async with asyncio.timeout(_PATIENCE):
            await socket.send(json.dumps([2, message_id, action, payload]))
            while True:
                frame = json.loads(await socket.recv())
                if frame[0] == 2:
                    # What the central system asks meanwhile is none of this station's business.
                    await socket.send(json.dumps([4, frame[1], "NotSupported", "", {}]))
                elif frame[1] == message_id:
                    return bool(frame[0] == 3)
