"""TLS on real sockets: what OCPP requires, certificates both ways, renewal while it runs, peers that do it wrong."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import os
import shutil
import ssl
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.client import connect

from evcore.net.engine import ENGINES, ConnectError, load
from evcore.net.tls import SUITES, KeyPair, ServerTls, TlsError, client_context
from tests.integration.engines import CountingDoor, Notes, listening, request, resident

REQUIRED = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
)


class Files:
    """A certificate authority and PEM files of what it issues."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca)
        self.rsa = self.issue("rsa", "localhost", kind=trustme.KeyType.RSA)
        self.ecdsa = self.issue("ecdsa", "localhost")
        self.station = self.issue("station", "cp1.operator.example", common_name="CP1", organization_name="Operator")

    def issue(self, name: str, host: str, kind: trustme.KeyType = trustme.KeyType.ECDSA, **more: Any) -> KeyPair:
        issued = self.authority.issue_cert(host, key_type=kind, **more)
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return KeyPair(certificate, key)

    @property
    def server(self) -> ServerTls:
        return ServerTls([self.rsa, self.ecdsa])


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("issued"))


@pytest.fixture
def files(issued: Files, tmp_path: Path) -> Iterator[Files]:
    """A copy that a test may spoil."""
    copy = object.__new__(Files)
    copy.folder, copy.authority = tmp_path, issued.authority
    for file in issued.folder.iterdir():
        shutil.copy(file, tmp_path)
    for name in ("rsa", "ecdsa", "station"):
        setattr(copy, name, KeyPair(tmp_path / f"{name}.pem", tmp_path / f"{name}.key"))
    copy.ca = tmp_path / "ca.pem"
    return copy


def trusting(files: Files, **settings: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=files.ca)
    for name, value in settings.items():
        setattr(context, name, value)
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_messages_of_every_size(engine, issued, version) -> None:
    context = trusting(issued, maximum_version=version, minimum_version=version)
    async with listening(engine, tls=issued.server) as server:
        async with connect(server.url("wss"), subprotocols=["ocpp1.6"], ssl=context, max_size=None) as station:
            for size in (0, 1, 4095, 4096, 4097, 16384, 16385, 100_000, 1_000_000):
                await station.send("x" * size)
                assert await station.recv() == "x" * size
            await station.ping()
        upgrade = server.upgrades[0]
        assert (upgrade.secure, upgrade.certificate, upgrade.address) == (True, None, "127.0.0.1")


@pytest.mark.parametrize("suite", REQUIRED)
async def test_each_required_suite_is_offered(engine, issued, suite) -> None:
    context = trusting(issued, maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(suite)
    async with (
        listening(engine, tls=issued.server) as server,
        connect(server.url("wss"), subprotocols=["ocpp1.6"], ssl=context) as station,
    ):
        assert station.transport.get_extra_info("cipher")[0] == suite
        assert station.transport.get_extra_info("compression") is None


async def test_old_versions_and_other_suites_are_refused(engine, issued, caplog) -> None:
    caplog.set_level(logging.DEBUG, "evcore.accept")
    async with listening(engine, tls=issued.server) as server:
        old = trusting(issued)
        old.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            old.minimum_version = ssl.TLSVersion.TLSv1
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        cbc = trusting(issued, maximum_version=ssl.TLSVersion.TLSv1_2)
        cbc.set_ciphers("ECDHE-RSA-AES256-SHA384")
        for context in (old, cbc):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await connect(server.url("wss"), subprotocols=["ocpp1.6"], ssl=context)
    assert not server.upgrades
    said = [record for record in caplog.records if record.name == "evcore.accept"]
    assert len(said) == 2
    assert all("TLS handshake failed" in record.message for record in said)


def test_minimum_version(issued) -> None:
    assert ServerTls([issued.rsa]).context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert ServerTls([issued.rsa], minimum="1.3").context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert set(REQUIRED) < set(SUITES)


async def test_a_certificate_of_the_station(engine, issued) -> None:
    tls = ServerTls([issued.ecdsa], client_ca=issued.ca)
    async with listening(engine, tls=tls) as server:
        context = client_context(ca=issued.ca, pair=issued.station)
        async with connect(server.url("wss"), subprotocols=["ocpp1.6"], ssl=context):
            certificate = server.upgrades[0].certificate
        assert certificate is not None
        assert (("commonName", "CP1"),) in certificate["subject"]
        assert (("organizationName", "Operator"),) in certificate["subject"]
        assert ("DNS", "cp1.operator.example") in certificate["subjectAltName"]


@pytest.mark.parametrize("client", ["required", "optional"])
async def test_a_station_without_a_certificate_or_with_a_foreign_one(engine, issued, tmp_path, client) -> None:
    foreign = Files(tmp_path).station
    door = CountingDoor()
    async with listening(
        engine, tls=ServerTls([issued.ecdsa], client_ca=issued.ca, client=client), door=door
    ) as server:
        for pair in (None, foreign):
            context = client_context(ca=issued.ca, pair=pair)
            if pair is None and client == "optional":
                async with connect(server.url("wss"), subprotocols=["ocpp1.6"], ssl=context):
                    assert server.upgrades.pop().certificate is None
            else:
                with pytest.raises((OSError, EOFError, Exception)):
                    async with connect(server.url("wss"), subprotocols=["ocpp1.6"], ssl=context) as station:
                        await station.recv()
        assert not server.upgrades
    assert len(door.entered) == len(door.left) == 2


@pytest.mark.parametrize("client", ENGINES)
async def test_client(engine, client, issued, until) -> None:
    async with listening(engine, tls=ServerTls([issued.rsa], client_ca=issued.ca)) as server:
        sink = Notes(echo=False)
        context = client_context(ca=issued.ca, pair=issued.station)
        await load(client).connect(server.url("wss"), ("ocpp1.6",), sink, max_frame=200_000, tls=context)
        sink.wire.send(b"x" * 100_000)
        await until(lambda: sink.frames == [b"x" * 100_000])
        sink.wire.close(1000)
        await until(lambda: "closed" in sink.happened and "closed" in server.sinks[0].happened)
        with pytest.raises(ConnectError, match=r"(?i)certificate"):
            await load(client).connect(server.url("wss"), ("ocpp1.6",), Notes(), max_frame=1000)
        url = server.url("wss").replace("localhost", "127.0.0.1")
        with pytest.raises(ConnectError, match=r"(?i)mismatch|not valid for"):
            await load(client).connect(url, ("ocpp1.6",), Notes(), max_frame=1000, tls=context)


async def test_peers_that_do_it_wrong_leave_no_trace(engine, issued, caplog, until) -> None:
    caplog.set_level(logging.DEBUG, "evcore.accept")
    door = CountingDoor()
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    async with listening(engine, tls=issued.server, door=door, handshake_seconds=0.5) as server:
        for sent in (request(), b"\x16\x03\x01", b"\x16\x03\x01\x00\x05hello", b"", None):
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                if sent is None:
                    writer.transport.abort()
                    continue
                writer.write(sent)
                async with asyncio.timeout(10):
                    await reader.read()
                writer.transport.abort()
        await until(lambda: len(door.left) == len(door.entered) == 5)
        async with connect(server.url("wss"), subprotocols=["ocpp1.6"], ssl=trusting(issued)) as station:
            await station.send("fine")
            assert await station.recv() == "fine"
    assert problems == []
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG or record.exc_info]
    assert 3 <= len([record for record in caplog.records if record.name == "evcore.accept"]) <= 6


async def test_reload(engine, files, caplog) -> None:
    caplog.set_level(logging.INFO, "evcore.tls")
    tls = ServerTls([files.ecdsa])

    async def serial(station: Any) -> str:
        return str(station.transport.get_extra_info("peercert")["serialNumber"])

    async with listening(engine, tls=tls) as server:

        def station() -> Any:
            return connect(server.url("wss"), subprotocols=["ocpp1.6"], ssl=trusting(files))

        async with station() as early:
            first = await serial(early)
            assert not tls.refresh()
            files.issue("ecdsa", "localhost")
            assert tls.refresh()
            async with station() as late:
                assert await serial(late) != first
            files.ecdsa.key_file.write_text("nonsense")
            context = tls.context
            caplog.clear()
            assert not tls.refresh()
            assert not tls.refresh(), "a bad file is reported once, not at every look"
            assert tls.context is context
            assert [record.message for record in caplog.records] == [
                f"the certificates stay as they were: {files.ecdsa.key_file} holds no PEM private key"
            ]
            files.ecdsa.certificate.unlink()
            assert not tls.reload()
            async with station() as later:
                await later.send("served all the same")
                assert await later.recv() == "served all the same"
            await early.send("and the first is still there")
            assert await early.recv() == "and the first is still there"


def test_sentences_for_bad_files(files, caplog) -> None:
    folder = files.folder

    def sentence(*pairs: KeyPair, **more: Any) -> str:
        with pytest.raises(TlsError) as raised:
            ServerTls(pairs, **more)
        return str(raised.value).replace(f"{folder}{os.sep}", "")

    certificate, key = files.rsa.certificate, files.rsa.key_file
    nonsense = folder / "nonsense.pem"
    nonsense.write_bytes(b"\x30\x82\x01\x00\xff")
    torn = folder / "torn.pem"
    torn.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    locked = folder / "locked.key"
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    locked.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"right"),
        )
    )
    assert sentence() == "TLS needs a certificate"
    assert sentence(KeyPair(folder / "none.pem", key)) == "none.pem cannot be read: No such file or directory"
    assert sentence(KeyPair(certificate, folder / "none.key")) == "none.key cannot be read: No such file or directory"
    assert sentence(KeyPair(nonsense, key)) == "nonsense.pem holds no PEM certificate"
    assert sentence(KeyPair(certificate, nonsense)) == "nonsense.pem holds no PEM private key"
    assert sentence(KeyPair(certificate)) == "rsa.pem holds no PEM private key"
    assert sentence(KeyPair(torn, key)).startswith("torn.pem and rsa.key cannot be used: ")
    other = files.issue("other", "localhost", trustme.KeyType.RSA)
    assert sentence(KeyPair(certificate, other.key)) == "other.key is not the key of the certificate rsa.pem"
    assert sentence(KeyPair(certificate, files.ecdsa.key)) == "ecdsa.key is not the key of the certificate rsa.pem"
    assert sentence(KeyPair(certificate, locked)) == "locked.key is encrypted, its password is missing"
    wrong = KeyPair(certificate, locked, "wrong")
    assert sentence(wrong) == "locked.key cannot be decrypted, its password is wrong"
    assert "wrong" not in repr(wrong)
    ServerTls([KeyPair(certificate, locked, "right")])
    assert sentence(files.rsa, other) == "rsa.pem and other.pem are both RSA certificates, one of a kind is used"
    assert sentence(files.rsa, client_ca=nonsense) == "nonsense.pem holds no PEM certificate"
    assert sentence(files.rsa, client_ca=torn).startswith("torn.pem is not a bundle of PEM certificates: ")
    with pytest.raises(TlsError, match="holds no PEM certificate"):
        client_context(ca=nonsense)
    assert not caplog.records


@pytest.mark.parametrize(
    ("days", "says"), [((-20, -10), "has expired"), ((10, 20), "is not valid yet")], ids=["expired", "not yet"]
)
def test_a_certificate_out_of_its_time_is_loaded_with_a_warning(tmp_path, caplog, days, says) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    begins, ends = (now + datetime.timedelta(days=day) for day in days)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), begins, ends)
    ).sign(key, hashes.SHA256())
    both = tmp_path / "both.pem"
    both.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    ServerTls([KeyPair(both)])
    assert [record.message for record in caplog.records] == [f"the certificate {both} {says}"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_tls_connections_do_not_hold_large_buffers(engine, issued) -> None:
    """asyncio's own TLS would hold 256 KiB on each side of each; the clients of this test are in the figure too."""
    count = 60
    async with listening(engine, tls=issued.server) as server:
        context = client_context(ca=issued.ca)
        sinks = [Notes(echo=False) for _ in range(2 * count)]
        before = 0
        for number, sink in enumerate(sinks):
            if number == count:
                before = resident()
            await load(engine).connect(server.url("wss"), ("ocpp1.6",), sink, max_frame=1000, tls=context)
        assert (resident() - before) / count < 150_000
        for sink in sinks:
            sink.wire.abort()


@pytest.mark.parametrize("client", ENGINES)
def test_on_uvloop(engine, client, issued) -> None:
    uvloop: Any = pytest.importorskip("uvloop")

    async def talk() -> None:
        async with listening(engine, tls=ServerTls([issued.ecdsa], client_ca=issued.ca)) as server:
            context = client_context(ca=issued.ca, pair=issued.station)
            async with connect(server.url("wss"), subprotocols=["ocpp1.6"], ssl=context) as station:
                for size in (1, 5000, 900_000):
                    await station.send("x" * size)
                    assert await station.recv() == "x" * size
            sink = Notes(echo=False)
            await load(client).connect(server.url("wss"), ("ocpp1.6",), sink, max_frame=1000, tls=context)
            assert sink.wire is not None
            sink.wire.close(1000)
            async with asyncio.timeout(10):
                while "closed" not in sink.happened:  # noqa: ASYNC110 - nothing of the sink can be awaited
                    await asyncio.sleep(0.01)

    uvloop.run(talk())
