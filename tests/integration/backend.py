"""A central system on the `websockets` library that does what a test tells it to: refuses, is silent, hangs up, dies
and comes back on the same port. It records every CALL it reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

VERSIONS = ["ocpp2.1", "ocpp2.0.1", "ocpp1.6"]
NOW = "2026-01-01T00:00:00Z"

#: What is answered unless a test says otherwise.
ANSWERS: dict[str, Any] = {
    "BootNotification": {"status": "Accepted", "currentTime": NOW, "interval": 300},
    "Heartbeat": {"currentTime": NOW},
    "StartTransaction": {"idTagInfo": {"status": "Accepted"}, "transactionId": 77},
    "StopTransaction": {},
    "MeterValues": {},
    "StatusNotification": {},
    "TransactionEvent": {},
    "Authorize": {"idTagInfo": {"status": "Accepted"}},
}

#: In place of an answer: cut the TCP connection, or say nothing.
CUT = "cut"
SILENCE = "silence"


@dataclass
class Backend:
    """`answer(action, payload, how many of this action came so far)` returns a payload, CUT, SILENCE, a list for a
    whole frame after the id, or None for what `ANSWERS` says. `refuse`: HTTP status of upgrades to turn down.
    """

    answer: Callable[[str, Any, int], Any] = lambda action, payload, number: None
    refuse: int | None = None
    versions: list[str] = field(default_factory=lambda: list(VERSIONS))
    calls: list[list[Any]] = field(default_factory=list)
    results: list[list[Any]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    connections: list[ServerConnection] = field(default_factory=list)
    port: int = 0
    _server: Server | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ocpp"

    def actions(self) -> list[str]:
        return [call[2] for call in self.calls]

    def ids(self, action: str) -> list[str]:
        return [call[1] for call in self.calls if call[2] == action]

    async def start(self) -> None:
        """Listens, on the port it had before."""
        self._server = await serve(
            self._talk,
            "127.0.0.1",
            self.port,
            subprotocols=self.versions,  # type: ignore[arg-type]
            process_request=self._decide,
            ping_interval=None,
            close_timeout=0.1,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def die(self) -> None:
        """As a killed process does: no closing handshake, and the port is closed."""
        server, self._server = self._server, None
        if server is not None:
            self.cut()
            server.close()
            await server.wait_closed()

    def cut(self) -> None:
        for connection in self.connections:
            connection.transport.abort()
        self.connections.clear()

    async def ask(self, action: str, payload: Any, call_id: str = "from-csms") -> None:
        await self.connections[-1].send(json.dumps([2, call_id, action, payload]))

    def _decide(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        if self.refuse is None:
            return None
        return connection.respond(HTTPStatus(self.refuse), "no\n")

    async def _talk(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        try:
            async for text in connection:
                kind, call_id, *rest = json.loads(text)
                if kind != 2:
                    self.results.append([kind, call_id, *rest])
                    continue
                action, payload = rest
                self.calls.append([kind, call_id, action, payload])
                answer = self.answer(action, payload, self.actions().count(action))
                if answer == CUT:
                    connection.transport.abort()
                elif answer != SILENCE:
                    answer = ANSWERS.get(action, {}) if answer is None else answer
                    frame = [4, call_id, *answer] if isinstance(answer, list) else [3, call_id, answer]
                    await connection.send(json.dumps(frame))
        except ConnectionClosed:
            return
