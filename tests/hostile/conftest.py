"""One server process per engine for all attacks of a file, a witness beside them, and what must hold after each."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from evcore.net.engine import ENGINES
from tests.hostile.attacker import Raw
from tests.hostile.victim import Victim, Witness

MIB = 1024 * 1024

#: Bytes by which the server may have grown after an attack, and at its worst moment.
GROWTH, PEAK = 32 * MIB, 160 * MIB
SETTLE_SECONDS = 10.0

#: Short times, so that the tests need not wait for the long ones; no second port.
OPTIONS = {
    "EVCORE_HTTP_PORT": "none",
    "EVCORE_HANDSHAKE_SECONDS": "2",
    "EVCORE_STALL_SECONDS": "2",
    "EVCORE_LOG_LEVEL": "warning",
    "EVCORE_DRAIN_SECONDS": "0",
}


@dataclass
class Scene:
    """A server that is attacked, and the witness of what it does for others."""

    victim: Victim
    witness: Witness


@pytest.fixture(autouse=True)
async def _no_loose_ends() -> AsyncIterator[None]:
    """What a test that failed has left open is closed before its loop is."""
    yield
    for raw in list(Raw.left):
        await raw.end()


def _play(
    arguments: tuple[str, ...], folder: Path, options: dict[str, str], tls: ssl.SSLContext | None = None
) -> Iterator[Scene]:
    victim = Victim(arguments, folder, options, tls)
    try:
        witness = Witness(victim.url, tls)
        witness.start()
        witness.served()
        yield Scene(victim, witness)
        witness.served()
        witness.rest()
        status, log = victim.end()
        witness.join(30)
        assert "Traceback" not in log, log[log.index("Traceback") :][:4000]
        assert "never awaited" not in log
        assert status == 0, log[-2000:]
        assert witness.codes == [1001, 1001]
    finally:
        if victim.process.poll() is None:
            victim.process.kill()
            victim.process.communicate()


@pytest.fixture(scope="module", params=ENGINES)
def _served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    arguments = ("-m", "evcore", "serve", "--port", "0", "--engine", request.param)
    yield from _play(arguments, tmp_path_factory.mktemp("serve"), OPTIONS)


@pytest.fixture(scope="module", params=ENGINES)
def _listening(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    arguments = ("-m", "evcore", "serve", "--port", "0", "--engine", request.param)
    options = {**OPTIONS, "EVCORE_PING_INTERVAL": "0.5", "EVCORE_IDLE_TIMEOUT": "2"}
    yield from _play(arguments, tmp_path_factory.mktemp("listening"), options)


@pytest.fixture(scope="module")
def _certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate for localhost and its key, as PEM."""
    if shutil.which("openssl") is None:
        pytest.fail("openssl was not found: the attacks on TLS need a certificate", pytrace=False)
    folder = tmp_path_factory.mktemp("certificate")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    command = ("openssl", "req", "-x509", *curve, *names, "-keyout", "key.pem", "-out", "certificate.pem")
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    return folder


@pytest.fixture(scope="module", params=ENGINES)
def _secured(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, _certificate: Path
) -> Iterator[Scene]:
    files = ("--tls-certificate", str(_certificate / "certificate.pem"), "--tls-key", str(_certificate / "key.pem"))
    arguments = ("-m", "evcore", "serve", "--port", "0", "--engine", request.param, *files)
    tls = ssl.create_default_context(cafile=_certificate / "certificate.pem")
    yield from _play(arguments, tmp_path_factory.mktemp("secured"), OPTIONS, tls)


@pytest.fixture(scope="module", params=ENGINES)
def _calling(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    arguments = ("-m", "tests.hostile.central", request.param)
    yield from _play(arguments, tmp_path_factory.mktemp("central"), {})


def _watch(scene: Scene) -> Iterator[Scene]:
    """Before and after one attack: the witness is served, memory is what it was."""
    scene.witness.served(1)
    before = scene.victim.memory()
    scene.victim.forget_peak()
    yield scene
    scene.witness.served(2)
    peak = scene.victim.peak() - before
    deadline = time.monotonic() + SETTLE_SECONDS
    # On a busy machine the server may still be at the ends of the connections when the witness has its answers.
    while (grown := scene.victim.memory() - before) >= GROWTH and time.monotonic() < deadline:
        time.sleep(0.1)
    assert grown < GROWTH, f"grew by {grown / MIB:.1f} MiB"
    assert peak < PEAK, f"grew by {peak / MIB:.1f} MiB at its worst"


@pytest.fixture
def scene(_served: Scene) -> Iterator[Scene]:
    """`evcore serve` under attack."""
    yield from _watch(_served)


@pytest.fixture
def victim(scene: Scene) -> Victim:
    return scene.victim


@pytest.fixture
def pinger(_listening: Scene) -> Iterator[Victim]:
    """`evcore serve` that pings, and cuts off who is silent."""
    for scene in _watch(_listening):
        yield scene.victim


@pytest.fixture
def secure(_secured: Scene) -> Iterator[Victim]:
    """`evcore serve` over TLS, under attack."""
    for scene in _watch(_secured):
        yield scene.victim


@pytest.fixture
def caller(_calling: Scene) -> Iterator[Victim]:
    """A server that calls its stations, under attack."""
    for scene in _watch(_calling):
        yield scene.victim
