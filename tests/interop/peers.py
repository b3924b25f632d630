"""OCPP implementations nobody of evcore wrote, behind one small interface, in both roles.

`Ocpp` is the package `ocpp` on `websockets`, in this process; `Program` is a process that takes orders as JSON lines
(the peers in go/ and node/). Each is one station, or one central system, of one version.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import ocpp.exceptions
from ocpp.charge_point import camel_to_snake_case, remove_nones, serialize_as_dict, snake_to_camel_case
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, basic_auth, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

__all__ = ["Ocpp", "Peer", "Program", "Refused"]

Payload = Mapping[str, Any]

#: Seconds after which a peer that does nothing fails the test.
PATIENCE = 20


class Refused(Exception):
    """An order that failed: `code` is the other side's error code, an HTTP status, or the peer's own word."""

    def __init__(self, code: str, description: str = "") -> None:
        super().__init__(code, description)
        self.code = code
        self.description = description


@dataclass(frozen=True, slots=True)
class Happening:
    """`name`: open (its payload: the extensions agreed on, where the peer can tell), closed, call; bad and refused
    where the peer complains of a message, got or about to be sent.
    """

    name: str
    identity: str = ""
    action: str = ""
    payload: Any = None


class Peer(ABC):
    """One station or one central system. What it is asked is in `happened`, in order."""

    def __init__(self) -> None:
        self.happened: list[Happening] = []
        self._news = asyncio.Event()

    @abstractmethod
    async def connect(
        self,
        url: str,
        identity: str,
        version: str,
        *,
        password: str | None = None,
        deflate: bool = False,
        strict: bool = True,
    ) -> Payload:
        """Connects as a station. `strict`: judges its own messages before it sends them, where it can."""

    @abstractmethod
    async def listen(
        self, version: str, *, password: str | None = None, deflate: bool = False, strict: bool = True
    ) -> str:
        """Listens as a central system and returns the URL, without an identity."""

    @abstractmethod
    async def call(self, action: str, payload: Payload, identity: str = "CP1") -> Payload:
        """A CALL; returns the CALLRESULT's payload. Raises Refused."""

    @abstractmethod
    async def answer(self, action: str, payload: Payload) -> None:
        """From now on CALLs of this action get this answer; `{"$error": {"code", "description"}}` is a CALLERROR."""

    @abstractmethod
    async def drop(self, identity: str = "CP1") -> None:
        """Closes the connection with 1000."""

    @abstractmethod
    async def end(self) -> None:
        """Leaves nothing behind."""

    def calls(self, action: str = "") -> list[Any]:
        return [each.payload for each in self.happened if each.name == "call" and action in ("", each.action)]

    def actions(self) -> list[str]:
        return [each.action for each in self.happened if each.name == "call"]

    def count(self, name: str) -> int:
        return sum(1 for each in self.happened if each.name == name)

    def note(self, happening: Happening) -> None:
        self.happened.append(happening)
        self._news.set()

    async def until(self, name: str, times: int = 1) -> None:
        """Waits until something of this name has happened so many times."""
        async with asyncio.timeout(PATIENCE):
            while self.count(name) < times:
                self._news.clear()
                await self._news.wait()


class Program(Peer):
    """A peer in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__()
        self._process = process
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, *command: str) -> Program:
        pipe = asyncio.subprocess.PIPE
        return cls(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=1 << 20))

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            if "event" in said:
                self.note(
                    Happening(said["event"], said.get("identity") or "", said.get("action") or "", said.get("payload"))
                )
                continue
            waiting = self._waiting.pop(said["seq"])
            if "error" in said:
                waiting.set_exception(Refused(said["error"]["code"], said["error"]["description"]))
            else:
                waiting.set_result(said["result"])

    async def _order(self, do: str, **rest: Any) -> Any:
        assert self._process.stdin is not None
        waiting = asyncio.get_running_loop().create_future()
        seq = id(waiting)
        self._waiting[seq] = waiting
        self._process.stdin.write(json.dumps({"seq": seq, "do": do, **rest}).encode() + b"\n")
        async with asyncio.timeout(PATIENCE):
            return await waiting

    async def connect(
        self,
        url: str,
        identity: str,
        version: str,
        *,
        password: str | None = None,
        deflate: bool = False,
        strict: bool = True,
    ) -> Payload:
        order = {"url": url, "identity": identity, "version": version, "strict": strict}
        said = await self._order("connect", **order, password=password, deflate=deflate)
        return said or {}

    async def listen(
        self, version: str, *, password: str | None = None, deflate: bool = False, strict: bool = True
    ) -> str:
        said = await self._order("listen", version=version, password=password, deflate=deflate, strict=strict)
        return f"ws://127.0.0.1:{said['port']}"

    async def call(self, action: str, payload: Payload, identity: str = "CP1") -> Payload:
        result: Payload = await self._order("call", identity=identity, action=action, payload=payload)
        return result

    async def answer(self, action: str, payload: Payload) -> None:
        await self._order("answer", action=action, payload=payload)

    async def drop(self, identity: str = "CP1") -> None:
        await self._order("drop", identity=identity)

    async def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading
        # The pipes' transports end with the loop's next turns.
        await asyncio.sleep(0)


_FOLDERS = {"ocpp1.6": "v16", "ocpp2.0.1": "v201", "ocpp2.1": "v21"}


class Ocpp(Peer):
    """The package `ocpp`, both sides of it over `websockets`."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = contextlib.AsyncExitStack()
        self._answers: dict[str, Payload] = {}
        self._points: dict[str, Any] = {}
        self._module: Any = None
        self._strict = True

    def _begin(self, version: str, strict: bool) -> None:
        self._module = importlib.import_module(f"ocpp.{_FOLDERS[version]}")
        for part in ("call", "call_result"):
            importlib.import_module(f"ocpp.{_FOLDERS[version]}.{part}")
        self._strict = strict

    async def connect(
        self,
        url: str,
        identity: str,
        version: str,
        *,
        password: str | None = None,
        deflate: bool = False,
        strict: bool = True,
    ) -> Payload:
        self._begin(version, strict)
        if password is not None:
            url = url.replace("ws://", f"ws://{identity}:{password}@")
        compression = "deflate" if deflate else None
        try:
            socket = await connect(f"{url}/{identity}", subprotocols=[version], compression=compression)
        except InvalidStatus as error:
            raise Refused(str(error.response.status_code)) from error
        assert socket.response is not None
        await self._stack.enter_async_context(self._attend(identity, socket))
        return {
            "protocol": socket.subprotocol,
            "extensions": socket.response.headers.get("Sec-WebSocket-Extensions", ""),
        }

    async def listen(
        self, version: str, *, password: str | None = None, deflate: bool = False, strict: bool = True
    ) -> str:
        self._begin(version, strict)

        async def serving(socket: ServerConnection) -> None:
            assert socket.request is not None
            identity = unquote(socket.request.path.rpartition("/")[2])
            async with self._attend(identity, socket):
                self.note(
                    Happening("open", identity, payload=",".join(each.name for each in socket.protocol.extensions))
                )
                await socket.wait_closed()

        check = None
        if password is not None:
            check = basic_auth(check_credentials=lambda _, given: given == password)
        server = await self._stack.enter_async_context(
            serve(
                serving,
                "127.0.0.1",
                0,
                subprotocols=[version],
                process_request=check,
                compression="deflate" if deflate else None,
            )
        )
        return f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"

    @contextlib.asynccontextmanager
    async def _attend(self, identity: str, socket: Any) -> AsyncIterator[None]:
        point = self._module.ChargePoint(identity, socket, response_timeout=PATIENCE)
        self._points[identity] = point
        for action in self._answers:
            self._route(identity, point, action)

        async def reading() -> None:
            try:
                await point.start()
            except ConnectionClosed:
                self.note(Happening("closed", identity, payload=socket.close_code))

        task = asyncio.create_task(reading())
        try:
            yield
        finally:
            await socket.close()
            await task

    def _route(self, identity: str, point: Any, action: str) -> None:
        def handler(**arguments: Any) -> Any:
            self.note(Happening("call", identity, action, snake_to_camel_case(arguments)))
            answer = self._answers[action]
            if "$error" in answer:
                wanted = answer["$error"]
                kinds = (kind for kind in vars(ocpp.exceptions).values() if getattr(kind, "code", "") == wanted["code"])
                raise next(kinds)(description=wanted["description"])
            return getattr(self._module.call_result, action)(**camel_to_snake_case(answer))

        point.route_map[action] = {"_on_action": handler, "_skip_schema_validation": not self._strict}

    async def call(self, action: str, payload: Payload, identity: str = "CP1") -> Payload:
        kind = getattr(self._module.call, action, None)
        if kind is None:
            kind = dataclasses.make_dataclass(action, list(payload))
        request = kind(**camel_to_snake_case(payload))
        try:
            result = await self._points[identity].call(request, suppress=False, skip_schema_validation=not self._strict)
        except ocpp.exceptions.OCPPError as error:
            raise Refused(error.code, error.description) from error
        answer: Payload = snake_to_camel_case(remove_nones(serialize_as_dict(result)))
        return answer

    async def answer(self, action: str, payload: Payload) -> None:
        self._answers[action] = payload
        for identity, point in self._points.items():
            self._route(identity, point, action)

    async def drop(self, identity: str = "CP1") -> None:
        await self._points[identity]._connection.close()

    async def end(self) -> None:
        await self._stack.aclose()
