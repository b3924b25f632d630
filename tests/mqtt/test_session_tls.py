"""TLS and WebSocket of a session: who is trusted, who is not, who is no broker at all, and the sentence for each;
certificates and brokers are real.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from evcore.mqtt.broker.session import TlsOptions
from tests.mqtt.brokers import Mosquitto
from tests.mqtt.certificates import Certificates
from tests.mqtt.door import WebSocketDoor
from tests.mqtt.fake_broker import FakeBroker
from tests.mqtt.memory_outbox import MemoryOutbox
from tests.mqtt.sessions import options, running, until
from tests.mqtt.test_session import numbered
from tests.mqtt.test_session_faults import failing

Make = Callable[..., Mosquitto]


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_custom_ca_and_a_client_certificate(
    broker_factory: Make, certificates: Certificates, version: str
) -> None:
    broker = broker_factory(tls=certificates, client_certificates=True)
    tls = TlsOptions(ca=certificates.ca, certificate=certificates.client.certificate, key=certificates.client.key)
    outbox = MemoryOutbox()
    async with running(options(broker.url, version=version, tls=tls), outbox) as session:
        outbox.put(*numbered(200, 2))
        await until(lambda: not outbox.items)
        broker.restart()
        await until(lambda: session.counts.connects == 2)


def shown(certificates: Certificates, **more: Any) -> TlsOptions:
    return TlsOptions(**{"ca": certificates.ca, **more})


async def test_verification_is_on_by_default(
    broker_factory: Make, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    broker = broker_factory(tls=certificates)
    await failing(options(broker.url), "authority that is not trusted", caplog)
    caplog.clear()
    tls = TlsOptions(ca=certificates.other_ca)
    await failing(options(broker.url, tls=tls), "authority that is not trusted", caplog)
    async with running(options(broker.url, tls=TlsOptions(verify=False)), MemoryOutbox()):
        pass


async def test_an_expired_certificate(
    broker_factory: Make, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    broker = broker_factory(tls=certificates, expired=True)
    await failing(options(broker.url, tls=shown(certificates)), "the broker's certificate has expired", caplog)


async def test_a_certificate_for_another_host(
    broker_factory: Make, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    """Another way to write the broker's address, which is not in its certificate."""
    broker = broker_factory(tls=certificates)
    given = options(f"mqtts://127.1:{broker.port}", tls=shown(certificates))
    await failing(given, "the broker's certificate is for another host", caplog)


@pytest.mark.parametrize("show", ["nothing", "stranger"])
async def test_a_client_certificate_that_does_not_do(
    broker_factory: Make, certificates: Certificates, show: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = broker_factory(tls=certificates, client_certificates=True)
    more = (
        {"certificate": certificates.stranger.certificate, "key": certificates.stranger.key}
        if show == "stranger"
        else {}
    )
    sentence = (
        "certificate" if show == "nothing" else "the broker does not trust the authority that signed our certificate"
    )
    await failing(options(broker.url, tls=shown(certificates, **more)), sentence, caplog)


async def test_no_tls_where_tls_is_expected_and_the_other_way_round(
    broker_factory: Make, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    plain, secure = broker_factory(), broker_factory(tls=certificates)
    await failing(options(f"mqtts://127.0.0.1:{plain.port}", tls=shown(certificates)), "TLS", caplog)
    await failing(
        options(f"mqtt://127.0.0.1:{secure.port}"), "ended the connection instead of answering CONNECT", caplog
    )


async def test_files_that_are_not_there(certificates: Certificates, caplog: pytest.LogCaptureFixture) -> None:
    async def listens(tls: TlsOptions, sentence: str) -> None:
        async with FakeBroker() as broker:
            await failing(options(f"mqtts://127.0.0.1:{broker.port}", tls=tls), sentence, caplog)

    await listens(TlsOptions(ca=certificates.ca.with_name("none.pem")), "none.pem cannot be read")
    await listens(shown(certificates, certificate=certificates.client.certificate, key=certificates.server.key), "key")
    with pytest.raises(ValueError, match="certificate"):
        TlsOptions(key=certificates.client.key)


async def test_over_secure_websocket(mosquitto: Mosquitto, certificates: Certificates) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server.certificate, certificates.server.key)
    got: list[bytes] = []
    outbox = MemoryOutbox()
    async with WebSocketDoor(mosquitto.port, context) as door:
        given = options(door.url, tls=shown(certificates))
        async with running(given, outbox, filters=("n",), received=lambda one: (got.append(one.payload), one.ack())[0]):
            outbox.put(*numbered(300, 1))
            await until(lambda: len(got) == 300)
    assert got == [b"%d" % number for number in range(300)]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone", "no WebSocket there: HTTP status 404"),
        (b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\nnot you", "no WebSocket there: HTTP status 403"),
        (b"SSH-2.0-OpenSSH\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "the answer to the WebSocket handshake is not one"),
        (b"HTTP/1.1 101 Swit", "the connection ended during the WebSocket handshake"),
    ],
)
async def test_no_websocket_where_one_is_expected(
    answer: bytes, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(enter, "127.0.0.1", 0) as server:
        await failing(options(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"), sentence, caplog)


@pytest.mark.parametrize(
    ("subprotocol", "sentence"), [(None, "does not say that it speaks MQTT"), ("mqtt", "frame that is not binary")]
)
async def test_a_websocket_for_something_else(
    subprotocol: Any, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def enter(web: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await web.recv()
            await web.send("hello")
            await web.wait_closed()

    offered = [subprotocol] if subprotocol else None
    async with serve(enter, "127.0.0.1", 0, subprotocols=offered) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        await failing(options(f"ws://127.0.0.1:{port}"), sentence, caplog)
