"""A CSMS on a loopback socket, and stations at it that answer CALLs as they are told to."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from evcore.bus import Bus
from evcore.csms.application import Csms, CsmsOptions
from evcore.csms.orders import StationOrders
from evcore.net.engine import load
from evcore.net.server import Server, ServerOptions

BOOT = {
    "ocpp1.6": {"chargePointVendor": "V", "chargePointModel": "M"},
    "ocpp2.0.1": {"chargingStation": {"vendorName": "V", "model": "M"}, "reason": "PowerUp"},
    "ocpp2.1": {"chargingStation": {"vendorName": "V", "model": "M"}, "reason": "PowerUp"},
}


@dataclass
class Place:
    """A running CSMS. `url`: without an identity."""

    csms: Csms
    orders: StationOrders
    url: str

    @contextlib.asynccontextmanager
    async def station(
        self,
        identity: str = "CP1",
        version: str = "ocpp1.6",
        answer: Answer | Mapping[str, Any] | None = None,
        *,
        boot: bool = True,
    ) -> AsyncIterator[RawStation]:
        """A station that has booted; it ends with the block, in the midst of whatever it does."""
        async with connect(f"{self.url}/{identity}", subprotocols=[version], max_size=None) as socket:
            station = RawStation(socket, answer if callable(answer) else answering(answer or {}))
            work = asyncio.create_task(station.work())
            try:
                if boot:
                    reply = await station.ask("BootNotification", BOOT[version])
                    assert reply[2]["status"] in ("Accepted", "Pending", "Rejected")
                yield station
            finally:
                work.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await work


#: What a station answers to a CALL: the rest of the frame, `[3, payload]` or `[4, code, description, {}]`, or None for
#: silence; or text, which is sent as it is.
Answer = Callable[[str, Any], Any]


def answering(payloads: Mapping[str, Any]) -> Answer:
    """These payloads by action, `{"status": "Accepted"}` for others."""
    return lambda action, payload: [3, payloads.get(action, {"status": "Accepted"})]


@dataclass
class RawStation:
    """`calls`: (action, payload) of the CALLs that came, oldest first."""

    socket: ClientConnection
    answer: Answer
    calls: list[tuple[str, Any]] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    _answers: dict[str, asyncio.Future[Any]] = field(default_factory=dict)

    async def work(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in self.socket:
                kind, name, *rest = json.loads(text)
                if kind != 2:
                    self._answers.pop(name).set_result([kind, name, *rest])
                    continue
                self.calls.append((rest[0], rest[1]))
                self.came.set()
                found = self.answer(rest[0], rest[1])
                if asyncio.iscoroutine(found):
                    found = await found
                if isinstance(found, str):
                    await self.socket.send(found.replace("ID", name))
                elif found is not None:
                    await self.socket.send(json.dumps([found[0], name, *found[1:]]))

    async def ask(self, action: str, payload: Any) -> Any:
        name = f"own-{action}-{len(self._answers)}"
        self._answers[name] = answer = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps([2, name, action, payload]))
        async with asyncio.timeout(20):
            return await answer

    async def called(self, count: int = 1) -> None:
        """Until so many CALLs came."""
        async with asyncio.timeout(20):
            while len(self.calls) < count:
                self.came.clear()
                await self.came.wait()


@contextlib.asynccontextmanager
async def place(
    *, bus: Bus | None = None, options: CsmsOptions | None = None, known: Iterable[str] | None = None, port: int = 0
) -> AsyncIterator[Place]:
    csms = Csms(known=known, options=options, bus=bus)
    server = Server(csms, load("picows"), ServerOptions(port=port))
    await server.start()
    try:
        yield Place(csms, StationOrders(csms), f"ws://127.0.0.1:{server.port}")
    finally:
        await server.stop()
