"""Credentials, certificates and limits on real sockets, with both engines and a client nobody here wrote."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidMessage, InvalidStatus

from evcore.net.auth import Certified, Credential, Credentials
from evcore.net.credentials import CredentialsFile, edit, write
from evcore.net.engine import ListenOptions
from evcore.net.handshake import HandshakeOptions
from evcore.net.limits import LimitOptions, Limits
from evcore.net.secret import Secret
from evcore.net.tls import KeyPair, ServerTls

KEY = bytes.fromhex("0001020304050607FFFFFFFFFFFFFFFFFFFFFFFF")
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "security.md"


def header(user: str, password: bytes = KEY) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(user.encode() + b":" + password).decode()}


def stations() -> Credentials:
    return Credentials(
        [
            Credential("AL1000", frozenset({1}), (Secret.of_key(KEY),)),
            Credential("CP1", frozenset({2, 3}), (Secret.of_key(KEY),)),
            Credential("CP2", frozenset({3})),
            Credential("human", frozenset({1}), (Secret.of_password(b"correct horse battery", (10, 1, 1)),)),
        ]
    )


async def status(url: str, name: str, headers: dict[str, str] | None = None, **more) -> tuple[int, dict[str, str]]:
    """Status and headers of the answer to one upgrade request."""
    try:
        async with connect(
            f"{url}/{name}", subprotocols=["ocpp1.6"], additional_headers=headers, proxy=None, **more
        ) as socket:
            await usable(socket)
            return 101, {}
    except InvalidStatus as refused:
        return refused.response.status_code, dict(refused.response.headers.raw_items())


async def usable(socket: ClientConnection) -> None:
    await socket.send('[2,"1","Heartbeat",{}]')
    async with asyncio.timeout(10):
        assert '"currentTime"' in str(await socket.recv())


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made with the commands of docs/security.md."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command is not installed")
    folder = tmp_path_factory.mktemp("certificates")
    [commands] = re.findall(r"^```sh\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    done = subprocess.run(["sh", "-ec", commands], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return folder


def server_tls(folder: Path, client: str = "optional") -> ServerTls:
    pairs = [KeyPair(folder / f"server-{kind}.pem", folder / f"server-{kind}.key") for kind in ("rsa", "ec")]
    return ServerTls(pairs, client_ca=folder / "ca.pem", client=client)


def station_tls(folder: Path, *, certified: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    if certified:
        context.load_cert_chain(folder / "station.pem", folder / "station.key")
    return context


async def test_golden_vector(serving, engine) -> None:
    """J1.6 section 6.2.2, byte by byte."""
    async with serving(engine, authenticator=stations()) as server:
        golden = {"Authorization": "Basic QUwxMDAwOgABAgMEBQYH////////////////"}
        assert await status(server.url, "AL1000", golden) == (101, {})


async def test_wrong_missing_and_unknown_look_the_same(serving, engine) -> None:
    async with serving(engine, authenticator=stations()) as server:
        answers = [
            await status(server.url, "AL1000"),
            await status(server.url, "AL1000", header("AL1000", b"wrong")),
            await status(server.url, "AL1000", header("CP1")),
            await status(server.url, "nobody", header("nobody")),
            await status(server.url, "AL1000", {"Authorization": "Bearer x"}),
        ]
        assert [code for code, _ in answers] == [401] * 5
        for _, headers in answers:
            headers.pop("Date", None)
            assert headers == answers[0][1]
            assert headers["WWW-Authenticate"] == 'Basic realm="ocpp"'
        assert not server.csms.stations


async def test_404_where_it_is_wanted(serving, engine) -> None:
    async with serving(engine, authenticator=stations(), handshake=HandshakeOptions(unknown="tell")) as server:
        assert (await status(server.url, "nobody"))[0] == 404
        assert (await status(server.url, "AL1000"))[0] == 401


async def test_identity_from_the_user_name(serving, engine) -> None:
    options = HandshakeOptions(identity_from_user=True)
    async with serving(engine, authenticator=stations(), handshake=options) as server:
        assert (await status(server.url, "", header("AL1000")))[0] == 101
        assert list(server.csms.stations) == ["AL1000"]


async def test_a_hash_holds_no_bytes_that_break_a_header(serving, engine) -> None:
    """Raw rubbish in the header costs the sender a refusal and nobody else anything."""
    async with serving(engine, authenticator=stations()) as server:
        port = server.server.port
        for value in (b"Basic \xff\xfe", b"Basic " + b"A" * 3000, b"Basic ====", b"\x01", b"Basic"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                b"GET /AL1000 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                b"Sec-WebSocket-Protocol: ocpp1.6\r\nAuthorization: " + value + b"\r\n\r\n"
            )
            async with asyncio.timeout(10):
                assert b" 101 " not in await reader.read()
            writer.close()
        assert (await status(server.url, "AL1000", header("AL1000")))[0] == 101


async def test_keys_change_while_the_server_runs(serving, engine, tmp_path) -> None:
    path = tmp_path / "stations"
    write(path, stations())
    file = CredentialsFile(path)
    new = b"the next key, random"
    async with serving(engine, authenticator=file) as server:

        async def found(password: bytes) -> int:
            file.reload()
            return (await status(server.url, "AL1000", header("AL1000", password)))[0]

        assert [await found(KEY), await found(new)] == [101, 401]
        with edit(path) as changed:
            changed.add_secret("AL1000", Secret.of_key(new))
        assert [await found(KEY), await found(new)] == [101, 101]
        with edit(path) as changed:
            changed.retire("AL1000")
        assert [await found(KEY), await found(new)] == [401, 101]


async def test_failures_are_answered_429(serving, engine) -> None:
    limits = Limits(LimitOptions(failures=2, delay_first=1000, delay_most=1000))
    async with serving(engine, authenticator=stations(), limits=limits) as server:
        answers = [await status(server.url, "human", header("human", b"wrong")) for _ in range(4)]
        assert [code for code, _ in answers] == [401, 401, 401, 429]
        assert 990 < int(answers[3][1]["Retry-After"]) <= 1000
        right = header("human", b"correct horse battery")
        assert (await status(server.url, "human", right))[0] == 429
        assert (await status(server.url, "AL1000", header("AL1000")))[0] == 101


async def test_an_address_asks_too_often(serving, engine) -> None:
    limits = Limits(LimitOptions(address_rate=0.001, address_burst=2, exempt=()))
    async with serving(engine, limits=limits) as server:
        answers = [await status(server.url, "CP1") for _ in range(4)]
        assert [code for code, _ in answers] == [101, 101, 429, 429]
        assert int(answers[2][1]["Retry-After"]) > 500
        with pytest.raises((OSError, InvalidMessage)):
            await status(server.url, "CP1")


async def test_a_crowd_is_asked_to_come_again(serving, engine) -> None:
    limits = Limits(LimitOptions(accept_rate=0.001, accept_burst=2))
    async with serving(engine, limits=limits) as server:
        answers = [await status(server.url, f"CP{number}") for number in range(4)]
        assert [code for code, _ in answers] == [101, 101, 503, 503]
        assert all(int(headers["Retry-After"]) >= 1 for _, headers in answers[2:])


async def test_unfinished_handshakes_are_few(serving, engine, until) -> None:
    """Connections that send nothing hold three places of three; when one goes the next station gets in."""
    limits = Limits(LimitOptions(address_unfinished=3, exempt=()))
    async with serving(engine, limits=limits) as server, contextlib.AsyncExitStack() as stack:
        silent = []
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
            stack.callback(writer.close)
            silent.append(writer)
        await until(lambda: limits.unfinished == 3)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(10):
                assert await reader.read() == b""
        writer.close()
        silent[0].close()
        await until(lambda: limits.unfinished == 2)
        assert (await status(server.url, "CP1"))[0] == 101
        await until(lambda: limits.unfinished == 2)


@contextlib.asynccontextmanager
async def secured(serving, engine, folder: Path, **options) -> AsyncIterator[str]:
    listen = ListenOptions(tls=server_tls(folder, options.pop("client", "optional")))
    async with serving(engine, listen=listen, **options) as server:
        yield f"wss://localhost:{server.server.port}"


async def test_profiles_over_tls(serving, engine, certificates) -> None:
    async with secured(serving, engine, certificates, authenticator=stations()) as url:
        plain, certified = station_tls(certificates), station_tls(certificates, certified=True)
        assert (await status(url, "CP1", header("CP1"), ssl=plain))[0] == 101
        assert (await status(url, "CP1", header("CP1", b"wrong"), ssl=plain))[0] == 401
        assert (await status(url, "CP1", ssl=plain))[0] == 401
        assert (await status(url, "CP1", ssl=certified))[0] == 101
        # The certificate is that of CP1.
        assert (await status(url, "CP2", ssl=certified))[0] == 403
        assert (await status(url, "nobody", ssl=certified))[0] == 403
        # Of profile 1 alone.
        assert (await status(url, "AL1000", header("AL1000"), ssl=plain))[0] == 403


async def test_a_password_of_profile_2_does_not_do_without_tls(serving, engine) -> None:
    async with serving(engine, authenticator=stations()) as server:
        assert (await status(server.url, "CP1", header("CP1")))[0] == 403


async def test_minimum_profile(serving, engine, certificates) -> None:
    handshake = HandshakeOptions(minimum_profile=3)
    async with secured(serving, engine, certificates, authenticator=stations(), handshake=handshake) as url:
        assert (await status(url, "CP1", header("CP1"), ssl=station_tls(certificates)))[0] == 403
        assert (await status(url, "CP1", ssl=station_tls(certificates, certified=True)))[0] == 101


async def test_every_certificate_of_the_ca(serving, engine, certificates) -> None:
    async with secured(serving, engine, certificates, authenticator=Certified(), client="required") as url:
        assert (await status(url, "CP1", ssl=station_tls(certificates, certified=True)))[0] == 101
        assert (await status(url, "CP9", ssl=station_tls(certificates, certified=True)))[0] == 403
        with pytest.raises((OSError, InvalidMessage)):
            await status(url, "CP1", ssl=station_tls(certificates))


async def test_no_secret_reaches_the_log(serving, engine, caplog) -> None:
    caplog.set_level("DEBUG", "evcore")
    async with serving(engine, authenticator=stations()) as server:
        for password in (b"hush hush hush hush", KEY):
            for name in ("AL1000", "CP1", "human", "nobody"):
                await status(server.url, name, header(name, password))
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("evcore"))
    assert "AL1000" in ours
    for hidden in ("hush", KEY.hex(), base64.b64encode(b"hush hush hush hush").decode()[:12], "Basic "):
        assert hidden not in ours
