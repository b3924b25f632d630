"""What the Python servers share: options, the line with the ports, the collector at the bench's word.

SIGUSR1 makes a process collect its garbage, so that resident memory can be read without what is only waiting for the
collector. SIGTERM ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import signal
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

import uvloop

VERSIONS: Final[tuple[Any, ...]] = ("ocpp1.6", "ocpp2.0.1")
BACKLOG: Final = 4096
INTERVAL: Final = 86400


@dataclass(frozen=True)
class Options:
    """`certificate` and `key`: PEM files, TLS when given. `authority`: a CA bundle; stations owe certificates then."""

    engine: Literal["picows", "websockets"]
    certificate: str | None
    key: str | None
    authority: str | None


def run(serve: Callable[[Options], Awaitable[int]]) -> None:
    """Start the server that `serve` makes (it returns its port) and keep it until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", choices=("picows", "websockets"), default="picows", help="evcore's engine")
    parser.add_argument("--no-gc", action="store_true", help="switch the cyclic garbage collector off")
    parser.add_argument("--certificate", help="PEM file of the server's certificate; TLS when given")
    parser.add_argument("--key", help="PEM file of its key")
    parser.add_argument("--authority", help="PEM file with the CA of client certificates; they are due then")
    given = parser.parse_args()
    if given.no_gc:
        gc.disable()
    uvloop.run(_serve(serve, Options(given.engine, given.certificate, given.key, given.authority)))


async def _serve(serve: Callable[[Options], Awaitable[int]], options: Options) -> None:
    port = await serve(options)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, gc.collect)
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    print(json.dumps(dict.fromkeys(VERSIONS, port)), flush=True)
    await ended.wait()


def context(options: Options) -> ssl.SSLContext | None:
    """The TLS side of the bare servers: TLS 1.3 and 1.2, client certificates where an authority is given."""
    if options.certificate is None:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(options.certificate, options.key)
    if options.authority is not None:
        made.load_verify_locations(options.authority)
        made.verify_mode = ssl.CERT_REQUIRED
    return made


def now() -> str:
    """The time as OCPP writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
