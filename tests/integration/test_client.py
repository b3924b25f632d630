"""The client that stays connected, on both engines, against a central system nobody here wrote, and against ours."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

import evcore
from evcore import Codec
from evcore.csms.application import CsmsOptions
from evcore.dispatch import Table
from evcore.endpoint import Answer, EndpointError, Event, Outbox, Stored
from evcore.endpoint.outbox import UNNUMBERED
from evcore.errors import PayloadError
from evcore.net.auth import Credential, Credentials
from evcore.net.backoff import BackOff
from evcore.net.client import Client, ClientObserver, ClientOptions, Profile
from evcore.net.connection import CallFailed, Connection
from evcore.net.engine import ConnectError, EngineName, ListenOptions, load
from evcore.net.journal import JournalFile
from evcore.net.secret import Secret
from evcore.net.tls import KeyPair, ServerTls, client_context
from tests.integration.backend import CUT, NOW, SILENCE, Backend

Until = Callable[[Callable[[], bool]], Awaitable[None]]

BOOT = {"chargePointVendor": "V", "chargePointModel": "M"}
BOOT_2 = {"reason": "PowerUp", "chargingStation": {"vendorName": "V", "model": "M"}}
START = {"connectorId": 1, "idTag": "A", "meterStart": 0, "timestamp": NOW}
SAMPLE = [{"timestamp": NOW, "sampledValue": [{"value": "4"}]}]

#: Waits of milliseconds, so that tests need not wait.
QUICK = BackOff(wait_minimum=0.01, repeat_times=2, random_range=0.01)


def quick(**options: Any) -> ClientOptions:
    return ClientOptions(
        **{
            "versions": ("ocpp1.6",),
            "back_off": QUICK,
            "sweep_interval": 0.01,
            "boot_interval": 0.05,
            "call_timeout": 10.0,
            **options,
        }
    )


def boot(version: str) -> dict[str, Any]:
    return BOOT if version == "ocpp1.6" else BOOT_2


def event(kind: str, seq: int) -> dict[str, Any]:
    return {
        "eventType": kind,
        "timestamp": NOW,
        "triggerReason": "MeterValuePeriodic",
        "seqNo": seq,
        "offline": True,
        "transactionInfo": {"transactionId": "T"},
    }


class Diary(ClientObserver):
    def __init__(self) -> None:
        self.entries: list[str] = []
        self.discards: list[tuple[str, str]] = []
        self.events: list[Event] = []

    def connected(self, connection: Connection[Any]) -> None:
        self.entries.append("connected")

    def disconnected(self, connection: Connection[Any]) -> None:
        self.entries.append("disconnected")

    def refused(self, url: str, error: ConnectError) -> None:
        self.entries.append("refused")

    def booted(self, payload: Any) -> None:
        self.entries.append(payload["status"])

    def discarded(self, stored: Stored, reason: Any) -> None:
        self.discards.append((stored.action, reason))

    def happened(self, event: Event) -> None:
        self.events.append(event)


Start = Callable[..., contextlib.AbstractAsyncContextManager[Client[str]]]


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    found = Backend()
    await found.start()
    yield found
    await found.die()


@pytest.fixture
def station(engine: EngineName) -> Start:
    """Runs a client until the end of the block."""

    @contextlib.asynccontextmanager
    async def run(
        target: Any, table: Table[str] | None = None, *, options: ClientOptions | None = None, **more: Any
    ) -> AsyncIterator[Client[str]]:
        more.setdefault("boot", BOOT)
        profiles = target.url if isinstance(target, Backend) else target
        client = Client(load(engine), profiles, "CP 1", table or Table(), "CP 1", options=options or quick(), **more)
        task = asyncio.create_task(client.run())
        try:
            yield client
        finally:
            async with asyncio.timeout(20):
                await client.stop()
                await task

    return run


async def in_time(work: Awaitable[Any]) -> Any:
    async with asyncio.timeout(20):
        return await work


# Connecting


async def test_boots_calls_and_goes(station: Start, backend: Backend) -> None:
    diary = Diary()
    async with station(backend, observer=diary) as client:
        await in_time(client.ready())
        assert await client.call("Heartbeat", {}) == {"currentTime": NOW}
        assert client.heartbeat_interval == 300
    assert backend.actions() == ["BootNotification", "Heartbeat"]
    assert backend.requests[0].path == "/ocpp/CP%201"
    assert diary.entries == ["connected", "Accepted", "disconnected"]
    assert client.connection is None


async def test_credentials_are_raw_bytes_behind_the_identity(station: Start, backend: Backend) -> None:
    password = bytes(range(240, 256))
    async with station(Profile(backend.url, password)) as client:
        await in_time(client.ready())
    expected = "Basic " + b64encode(b"CP 1:" + password).decode()
    assert backend.requests[0].headers["Authorization"] == expected


async def test_the_version_is_the_servers_choice(station: Start, backend: Backend, until: Until) -> None:
    backend.versions[:] = ["ocpp1.6"]
    await backend.die()
    await backend.start()
    options = quick(versions=("ocpp2.1", "ocpp2.0.1", "ocpp1.6"))
    async with station(backend, boot=boot, options=options) as client:
        assert client.version == "ocpp2.1"
        await in_time(client.ready())
        assert client.version == "ocpp1.6"
        backend.versions[:] = ["ocpp2.0.1"]
        await backend.die()
        await backend.start()
        await until(lambda: client.version != "ocpp1.6" and client.is_accepted)
    assert backend.requests[0].headers["Sec-WebSocket-Protocol"] == "ocpp2.1, ocpp2.0.1, ocpp1.6"
    # Another version is another content of the BootNotification.
    assert [call[3] for call in backend.calls] == [BOOT, BOOT_2]


async def test_each_version_has_its_table(station: Start, backend: Backend, until: Until) -> None:
    old, new = Table[str](), Table[str]({"Reset": lambda c, p: {"status": "Rejected"}})
    options = quick(versions=("ocpp1.6", "ocpp2.1"))
    async with station(backend, {"ocpp1.6": old, "ocpp2.1": new}, boot=boot, options=options) as client:
        await in_time(client.ready())
        assert client.version == "ocpp2.1"
        await backend.ask("Reset", {"type": "OnIdle"})
        await until(lambda: bool(backend.results))
    assert backend.results == [[3, "from-csms", {"status": "Rejected"}]]


async def test_a_server_killed_and_restarted(station: Start, backend: Backend, until: Until) -> None:
    diary = Diary()
    async with station(backend, observer=diary) as client:
        await in_time(client.ready())
        await backend.die()
        await until(lambda: diary.entries.count("refused") > 2)
        with pytest.raises(CallFailed, match="lost"):
            await client.call("Heartbeat", {})
        with pytest.raises(EndpointError):
            client.send("NotifyPeriodicEventStream", {})
        await backend.start()
        await in_time(client.ready())
        await client.call("Heartbeat", {})
    # No BootNotification after a mere reconnect.
    assert backend.actions() == ["BootNotification", "Heartbeat"]


async def test_a_connection_cut_in_the_middle_of_a_call(station: Start, backend: Backend) -> None:
    backend.answer = lambda action, payload, number: CUT if action == "Heartbeat" and number == 1 else None
    async with station(backend) as client:
        await in_time(client.ready())
        with pytest.raises(CallFailed) as caught:
            await in_time(client.call("Heartbeat", {}))
        assert caught.value.code == "lost"
        await in_time(client.ready())
        await client.call("Heartbeat", {})


@pytest.mark.parametrize("status", [401, 404, 503])
async def test_a_refused_upgrade_is_tried_again(station: Start, backend: Backend, status: int, until: Until) -> None:
    backend.refuse = status
    diary = Diary()
    async with station(backend, observer=diary) as client:
        await until(lambda: len(diary.entries) > 3)
        backend.refuse = None
        await in_time(client.ready())
    assert set(diary.entries[:4]) == {"refused"}


async def test_the_waits_are_those_of_the_formula(station: Start, backend: Backend, until: Until) -> None:
    """Each wait is drawn once, in order, and the count begins anew when there was a connection."""

    class Watched(random.Random):
        asked = 0

        def uniform(self, a: float, b: float) -> float:
            assert (a, b) == (0.0, 0.01)
            self.asked += 1
            return 0.0

    rng = Watched()
    backend.refuse = 404
    async with station(backend, rng=rng) as client:
        await until(lambda: rng.asked >= 4)
        assert client._retry.attempt == rng.asked
        backend.refuse = None
        await in_time(client.ready())
        backend.cut()
        asked = rng.asked
        await until(lambda: rng.asked > asked)
        assert client._retry.attempt == 1


async def test_the_next_profile_has_its_turn(station: Start, backend: Backend, until: Until) -> None:
    first = Backend(refuse=503)
    await first.start()
    try:
        diary = Diary()
        options = quick(attempts_per_profile=2)
        async with station((Profile(first.url), Profile(backend.url)), options=options, observer=diary) as client:
            await in_time(client.ready())
            assert (len(first.requests), len(backend.requests)) == (2, 1)
            # It stays with the one that works, and comes back to the first when that one fails.
            backend.cut()
            await until(lambda: len(backend.requests) == 2)
            backend.refuse, first.refuse = 404, None
            backend.cut()
            await until(lambda: len(first.requests) == 3)
            await in_time(client.ready())
        assert diary.entries.count("connected") == 3
    finally:
        await first.die()


async def test_a_server_that_hangs_up_without_a_word_is_no_success(
    station: Start, backend: Backend, until: Until
) -> None:
    first = Backend(answer=lambda action, payload, number: CUT)
    await first.start()
    try:
        async with station((Profile(first.url), Profile(backend.url))) as client:
            await in_time(client.ready())
            assert client._retry.attempt >= 3
            assert len(first.requests) == 3
    finally:
        await first.die()


async def test_stop_does_not_wait_for_a_server_that_says_nothing(engine: EngineName, until: Until) -> None:
    held: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda reader, writer: held.append(writer), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    client = Client(load(engine), f"ws://127.0.0.1:{port}", "CP1", Table(), "CP1", options=quick())
    task = asyncio.create_task(client.run())
    await until(lambda: bool(held))
    await in_time(client.stop())
    await in_time(task)
    held[0].close()
    silent.close()


async def test_one_run_at_a_time(station: Start, backend: Backend) -> None:
    async with station(backend) as client:
        await in_time(client.ready())
        with pytest.raises(RuntimeError, match="runs already"):
            await client.run()
        assert client.connection is not None


async def test_a_client_may_run_again(station: Start, backend: Backend) -> None:
    async with station(backend) as client:
        await in_time(client.ready())
        await client.stop()
        assert client.connection is None
        task = asyncio.create_task(client.run())
        await in_time(client.ready())
        await client.stop()
        await task
    assert backend.actions() == ["BootNotification"]


async def test_cancelled_in_the_middle(engine: EngineName, backend: Backend, until: Until) -> None:
    client = Client(load(engine), backend.url, "CP1", Table(), "CP1", boot=BOOT, options=quick())
    task = asyncio.create_task(client.run())
    await in_time(client.ready())
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await until(lambda: client.connection is None)
    await in_time(client.stop())


# Liveness


async def test_pings_at_the_interval(station: Start, backend: Backend, until: Until) -> None:
    async with station(backend, options=quick(ping_interval=0.02, idle_timeout=5.0)) as client:
        await in_time(client.ready())
        connection = client.connection
        assert connection is not None
        heard = connection.heard_at
        # The pong is the only thing that can come.
        await until(lambda: connection.heard_at > heard)


async def test_a_silent_connection_is_given_up(station: Start, backend: Backend, until: Until) -> None:
    diary = Diary()
    options = quick(ping_interval=0.0, idle_timeout=0.1)
    async with station(backend, options=options, observer=diary):
        await until(lambda: diary.entries.count("connected") > 2)
    assert backend.actions() == ["BootNotification"]


async def test_a_server_that_answers_nothing_is_left(station: Start, backend: Backend, until: Until) -> None:
    backend.answer = lambda action, payload, number: SILENCE if number < 3 else None
    options = quick(silent_calls=2, call_timeout=0.05, boot_interval=0.01)
    diary = Diary()
    async with station(backend, options=options, observer=diary) as client:
        await in_time(client.ready())
    assert diary.entries == ["connected", "disconnected", "connected", "Accepted", "disconnected"]


# Boot and Heartbeat


async def test_pending_then_accepted(station: Start, backend: Backend) -> None:
    def answer(action: str, payload: Any, number: int) -> Any:
        if action == "BootNotification":
            status = ["Rejected", "Pending", "Accepted"][number - 1]
            return {"status": status, "currentTime": NOW, "interval": 0}
        return None

    backend.answer = answer
    diary = Diary()
    async with station(backend, observer=diary) as client:
        client.store("StartTransaction", START)
        await in_time(client.ready())
    assert diary.entries == ["connected", "Rejected", "Pending", "Accepted", "disconnected"]
    assert backend.actions() == ["BootNotification"] * 3 + ["StartTransaction"]


async def test_a_trigger_pulls_the_boot_forward(station: Start, backend: Backend, until: Until) -> None:
    def answer(action: str, payload: Any, number: int) -> Any:
        status = "Pending" if number == 1 else "Accepted"
        return {"status": status, "currentTime": NOW, "interval": 9999}

    backend.answer = answer
    table: Table[str] = Table({"TriggerMessage": lambda context, payload: {"status": "Accepted"}})
    diary = Diary()
    async with station(backend, table, observer=diary) as client:
        await until(lambda: "Pending" in diary.entries)
        await backend.ask("TriggerMessage", {"requestedMessage": "BootNotification"})
        await in_time(client.ready())
    assert len(backend.calls) == 2


async def test_calls_that_wait_for_the_gate_do_not_keep_the_boot_out(
    station: Start, backend: Backend, until: Until
) -> None:
    def answer(action: str, payload: Any, number: int) -> Any:
        if action == "BootNotification":
            return {"status": "Accepted" if number > 1 else "Rejected", "currentTime": NOW, "interval": 0}
        return None

    backend.answer = answer
    diary = Diary()
    async with station(backend, options=quick(queue=1), observer=diary) as client:
        await until(lambda: "Rejected" in diary.entries)
        waiting = asyncio.create_task(client.call("Heartbeat", {}))
        await in_time(waiting)
    assert backend.actions() == ["BootNotification", "BootNotification", "Heartbeat"]


async def test_a_server_that_has_forgotten_the_station(station: Start, backend: Backend, until: Until) -> None:
    backend.answer = lambda action, payload, number: (
        ["SecurityError", "boot first", {}] if action == "Heartbeat" and number == 1 else None
    )
    async with station(backend) as client:
        await in_time(client.ready())
        with pytest.raises(CallFailed, match="SecurityError"):
            await client.call("Heartbeat", {})
        await in_time(client.call("Heartbeat", {}))
    assert backend.actions() == ["BootNotification", "Heartbeat", "BootNotification", "Heartbeat"]


async def test_heartbeats_when_nothing_else_is_sent(station: Start, backend: Backend, until: Until) -> None:
    backend.answer = lambda action, payload, number: (
        {"status": "Accepted", "currentTime": NOW, "interval": 0} if action == "BootNotification" else None
    )
    async with station(backend, options=quick(heartbeat_interval=0.02)) as client:
        await until(lambda: backend.actions().count("Heartbeat") >= 3)
        # An interval of zero from the CSMS is none; ours stays.
        assert client.heartbeat_interval == 0.02
        with pytest.raises(ValueError, match="more than 0"):
            client.heartbeat_interval = 0


async def test_a_boot_payload_that_breaks_its_schema_ends_the_run(engine: EngineName, backend: Backend) -> None:
    client = Client(load(engine), backend.url, "CP1", Table(), "CP1", boot={"chargePointVendor": 1}, options=quick())
    with pytest.raises(PayloadError):
        await in_time(client.run())
    await in_time(client.stop())


async def test_boot_again(station: Start, backend: Backend, until: Until) -> None:
    async with station(backend) as client:
        await in_time(client.ready())
        client.boot_again()
        assert not client.is_accepted
        await in_time(client.ready())
    assert backend.actions() == ["BootNotification"] * 2


# Transaction messages


async def test_an_offline_queue_goes_out_in_order(station: Start, backend: Backend, until: Until) -> None:
    await backend.die()
    options = quick(versions=("ocpp2.0.1",))
    async with station(backend, boot=BOOT_2, options=options) as client:
        stored = [client.store("TransactionEvent", event("Started", 0))]
        stored += [client.store("TransactionEvent", event("Updated", number)) for number in range(1, 20)]
        stored += [client.store("TransactionEvent", event("Ended", 20))]
        await backend.start()
        await until(lambda: len(client.outbox) == 0)
    assert backend.ids("TransactionEvent") == stored
    assert [call[3]["seqNo"] for call in backend.calls if call[2] == "TransactionEvent"] == list(range(21))
    assert backend.actions()[0] == "BootNotification"


async def test_nothing_is_lost_or_out_of_order_over_bad_connections(
    station: Start, backend: Backend, until: Until
) -> None:
    """The connection is cut at every third message; each comes again until it is answered, and none overtakes."""
    backend.answer = lambda action, payload, number: CUT if action == "TransactionEvent" and number % 3 == 0 else None
    options = quick(versions=("ocpp2.0.1",))
    async with station(backend, boot=BOOT_2, options=options) as client:
        stored = [client.store("TransactionEvent", event("Ended", number)) for number in range(15)]
        await until(lambda: len(client.outbox) == 0)
    seen = backend.ids("TransactionEvent")
    assert list(dict.fromkeys(seen)) == stored
    assert max(Counter(seen).values()) == 2
    first = [seen.index(call_id) for call_id in stored]
    assert first == sorted(first)


async def test_an_error_is_tried_again_and_then_discarded(station: Start, backend: Backend, until: Until) -> None:
    backend.answer = lambda action, payload, number: ["InternalError", "", {}] if action == "StartTransaction" else None
    diary = Diary()
    async with station(backend, outbox=Outbox(attempts=3, interval=0.01), observer=diary) as client:
        client.store("StartTransaction", START)
        client.store("MeterValues", {"connectorId": 1, "meterValue": SAMPLE})
        await until(lambda: len(client.outbox) == 0)
    assert backend.actions() == ["BootNotification", *["StartTransaction"] * 3, "MeterValues"]
    assert diary.discards == [("StartTransaction", "attempts")]


async def test_a_charge_of_1_6_without_connection_gets_its_number(
    station: Start, backend: Backend, until: Until
) -> None:
    await backend.die()
    async with station(backend) as client:
        client.store("StartTransaction", START, transaction="mine")
        stop = {"meterStop": 9, "timestamp": NOW, "transactionId": UNNUMBERED}
        client.store("StopTransaction", stop, transaction="mine")
        await backend.start()
        await until(lambda: len(client.outbox) == 0)
    assert backend.calls[-1][3] == {**stop, "transactionId": 77}


async def test_what_has_no_room_is_told_without_a_connection(station: Start, backend: Backend) -> None:
    await backend.die()
    diary = Diary()
    async with station(backend, outbox=Outbox(size=2), observer=diary) as client:
        client.store("MeterValues", {"connectorId": 1, "meterValue": SAMPLE})
        client.store("StartTransaction", START)
        client.store("StartTransaction", START)
        assert diary.discards == [("MeterValues", "room")]


async def test_a_message_keeps_its_version(station: Start, backend: Backend, until: Until) -> None:
    """What was stored under 1.6 is not sent over 2.0.1, and does not hold up what is of 2.0.1."""
    outbox = Outbox()
    codec = Codec("ocpp1.6")
    outbox.put(
        "old", "StartTransaction", codec.encode(evcore.Call("old", "StartTransaction", START)), False, version="ocpp1.6"
    )
    options = quick(versions=("ocpp2.0.1", "ocpp1.6"))
    async with station(backend, boot=BOOT_2, options=options, outbox=outbox) as client:
        await in_time(client.ready())
        client.store("TransactionEvent", event("Ended", 1))
        await until(lambda: len(outbox) == 1)
        assert [stored.id for stored in outbox.of_other_versions(client.version)] == ["old"]
        with pytest.raises(ValueError, match="not among the versions"):
            client.store("TransactionEvent", event("Ended", 1), version="ocpp2.1")
    assert backend.actions() == ["BootNotification", "TransactionEvent"]


def test_a_charge_goes_on_in_its_version_after_a_restart(engine: EngineName) -> None:
    outbox = Outbox()
    for version in ("ocpp1.6", "ocpp2.1"):
        outbox.put("old", "StartTransaction", b"[]", False, version=version)
    client = Client(load(engine), "ws://127.0.0.1", "CP1", Table(), None, outbox=outbox)
    assert client.version == "ocpp1.6"


async def test_stop_sends_what_is_due(station: Start, backend: Backend) -> None:
    async with station(backend) as client:
        await in_time(client.ready())
        for _ in range(10):
            client.store("StartTransaction", START)
        calling = asyncio.create_task(client.call("Heartbeat", {}))
        await asyncio.sleep(0)
        await in_time(client.stop())
        assert (await calling) == {"currentTime": NOW}
    assert backend.actions().count("StartTransaction") == 10
    assert len(client.outbox) == 0


async def test_stop_ends_in_time_and_keeps_the_rest(station: Start, backend: Backend) -> None:
    backend.answer = lambda action, payload, number: SILENCE if action == "StartTransaction" else None
    async with station(backend, options=quick(stop_seconds=0.1)) as client:
        await in_time(client.ready())
        client.store("StartTransaction", START)
        await in_time(client.stop())
        assert len(client.outbox) == 1


async def test_the_answer_to_a_stored_message_is_heard(station: Start, backend: Backend, until: Until) -> None:
    diary = Diary()
    async with station(backend, observer=diary) as client:
        stored = client.store("StartTransaction", START)
        await until(lambda: len(client.outbox) == 0)
    answers = {found.id: found.result for found in diary.events if isinstance(found, Answer)}
    assert answers[stored].payload["transactionId"] == 77  # type: ignore[union-attr]


@pytest.mark.parametrize("identity", ["", "x" * 49, "a\nb", "\ud800"])
def test_an_identity_that_is_none(engine: EngineName, identity: str) -> None:
    with pytest.raises(ValueError, match="1 to 48 characters"):
        Client(load(engine), "ws://127.0.0.1", identity, Table(), None)


def test_what_a_client_cannot_do_with(engine: EngineName) -> None:
    with pytest.raises(ValueError, match="needs a profile"):
        Client(load(engine), (), "CP1", Table(), None)
    with pytest.raises(ValueError, match="needs a table"):
        Client(load(engine), "ws://127.0.0.1", "CP1", {"ocpp1.6": Table[None]()}, None)
    with pytest.raises(ValueError, match="colon"):
        Client(load(engine), Profile("ws://127.0.0.1", b"x" * 16), "CP:1", Table(), None)


# Against our own server


@pytest.mark.parametrize("level", [1, 2, 3])
async def test_security_profiles(
    serving: Callable[..., Any], station: Start, engine: EngineName, tmp_path: Path, level: int
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    def issued(name: str, *hosts: str, **more: Any) -> KeyPair:
        certificate = authority.issue_cert(*hosts, **more)
        certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / f"{name}.pem"))
        return KeyPair(tmp_path / f"{name}.pem")

    pair = issued("station", "station.example", common_name="CP 1") if level == 3 else None
    listen = ListenOptions()
    if level > 1:
        listen = ListenOptions(
            tls=ServerTls([issued("server", "127.0.0.1")], client_ca=tmp_path / "ca.pem", client="optional")
        )
    key = bytes.fromhex("0001020304050607FFFFFFFFFFFFFFFFFFFFFFFF")
    known = Credentials([Credential("CP 1", frozenset({level}), (Secret.of_key(key),))])
    async with serving(engine, authenticator=known, listen=listen) as running:
        url = running.url.replace("ws:", "wss:") if level > 1 else running.url
        tls = client_context(ca=tmp_path / "ca.pem", pair=pair) if level > 1 else None
        # The old key first, as after a key change whose answer was lost.
        wrong, right = Profile(url, b"x" * 20, tls), Profile(url, None if level == 3 else key, tls)
        diary = Diary()
        profiles = (right,) if level == 3 else (wrong, right)
        async with station(profiles, options=quick(attempts_per_profile=1), observer=diary) as client:
            await in_time(client.ready())
            await client.call("Heartbeat", {})
    assert diary.entries == [*["refused"] * (level < 3), "connected", "Accepted", "disconnected"]


async def test_compression_is_agreed_on_where_it_is_asked_for(
    serving: Callable[..., Any], station: Start, engine: EngineName, backend: Backend
) -> None:
    options = quick(versions=("ocpp2.0.1",), deflate=True)
    async with station(backend, boot=BOOT_2, options=options) as client:
        await in_time(client.ready())
    assert "permessage-deflate" in backend.requests[0].headers["Sec-WebSocket-Extensions"]
    assert backend.actions() == ["BootNotification"]
    async with serving(engine) as running, station(running.url, boot=BOOT_2, options=options) as client:
        await in_time(client.ready())


async def test_our_server_takes_the_messages_of_a_station_that_was_offline(
    serving: Callable[..., Any], station: Start, engine: EngineName, until: Until
) -> None:
    async with serving(engine, csms=CsmsOptions()) as running, station(running.url, boot=BOOT) as client:
        await in_time(client.ready())
        client.store("StartTransaction", START)
        await until(lambda: len(client.outbox) == 0)
        assert running.server.connections["ocpp1.6"] == 1


# Killed in the middle

CHILD = Path(__file__).with_name("killed_station.py")


@pytest.fixture
def child(tmp_path: Path, engine: EngineName) -> Iterator[Callable[[str, int], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(url: str, count: int) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(Path(evcore.__file__).parents[1])}
        command = [sys.executable, str(CHILD), url, str(tmp_path / "journal"), engine, str(count)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


async def test_a_killed_station_loses_no_stored_message(
    child: Callable[[str, int], subprocess.Popen[str]], backend: Backend
) -> None:
    """Killed at any moment, a station has every message whose `store` returned, and sends again only what was on its
    way when it died.
    """
    loop, rng = asyncio.get_running_loop(), random.Random(5)
    promised: list[str] = []
    kills = 4
    for _ in range(kills):
        process = child(backend.url, 10**6)
        assert process.stdout is not None
        lines = rng.randrange(5, 60)
        read = [await in_time(loop.run_in_executor(None, process.stdout.readline)) for _ in range(lines)]
        promised += [line.strip() for line in read]
        process.send_signal(signal.SIGKILL)
        # What it had written and was not read yet was promised as well; a last line may be broken off.
        rest = (await loop.run_in_executor(None, process.communicate))[0]
        promised += [line for line in rest.split("\n")[:-1] if line]
    assert len(set(promised)) == len(promised)
    process = child(backend.url, 0)
    assert await in_time(loop.run_in_executor(None, process.wait)) == 0
    seen = Counter(backend.ids("StartTransaction"))
    assert set(promised) <= set(seen)
    # A message may have been stored whose promise was not written any more: one a kill.
    assert len(seen) <= len(promised) + kills
    assert sum(seen.values()) <= len(seen) + kills
    assert max(seen.values()) <= 1 + kills
    with JournalFile(child_journal(process)) as journal:
        assert journal.stations() == []


def child_journal(process: subprocess.Popen[str]) -> Path:
    assert isinstance(process.args, list)
    return Path(str(process.args[3]))
