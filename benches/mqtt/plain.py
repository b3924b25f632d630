"""aiomqtt as its guide uses it, behind evcore's server: the peer that evcore's own bridge is measured against.

One client; a loop that connects it again a moment after MqttError; handlers that publish with it. What `publish` raises
is logged and the station gets its answer, since it can do nothing about a broker. ``--hand-over`` says when it gets it:
``await`` when the broker has acknowledged (QoS 0: when it is written), ``forget`` at once.
``--together``: publish calls under way at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import secrets
import signal
import ssl
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import aiomqtt

from benches.mqtt.front import front, until_told_to_end

log = logging.getLogger("plain")

#: Seconds until the next try; the guide has 5.
INTERVAL = 1.0


def event(station: str, action: str, payload: Any) -> tuple[str, dict[str, Any]]:
    """Topic and body, in the form in which evcore publishes the same message."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head: dict[str, Any] = {"id": secrets.token_hex(13), "time": now, "station": station}
    if action == "StatusNotification":
        connector = {
            "evse": payload["connectorId"],
            "connector": 1,
            "status": payload["status"],
            "info": payload.get("info"),
            "vendor_error": payload.get("vendorErrorCode"),
            "time": payload.get("timestamp"),
        }
        described = {"online": True, "version": "ocpp1.6", "vendor": "Northgrid", "model": "KX22", "boot": "Accepted"}
        return f"chargers/{station}/status", head | {"kind": "charger.status", **described, "connectors": [connector]}
    kind = {"kind": "transaction.updated", "action": action, "sequence": payload.get("seqNo")}
    return f"chargers/{station}/events", head | kind


async def main(options: argparse.Namespace) -> None:
    broker = urlsplit(options.broker)
    client = aiomqtt.Client(
        broker.hostname or "127.0.0.1",
        broker.port or 1883,
        protocol=aiomqtt.ProtocolVersion.V5 if options.version == "5" else aiomqtt.ProtocolVersion.V311,
        identifier=options.identifier,
        username=broker.username,
        password=broker.password,
        tls_context=ssl.create_default_context(cafile=options.ca) if broker.scheme == "mqtts" else None,
        clean_session=None if options.version == "5" else False,
        max_concurrent_outgoing_calls=options.together,
    )
    client.pending_calls_threshold = 100

    async def keep_connected() -> None:
        while True:
            try:
                async with client:
                    async for _ in client.messages:
                        pass
            except aiomqtt.MqttError as error:
                log.warning("connection lost: %s", error)
                await asyncio.sleep(INTERVAL)

    background: set[asyncio.Task[None]] = set()

    def begin(work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        background.add(task)
        task.add_done_callback(background.discard)

    async def publish(topic: str, payload: str, *, retain: bool) -> None:
        try:
            await client.publish(topic, payload, qos=options.qos, retain=retain)
        except aiomqtt.MqttError as error:
            log.warning("not published: %s", error)

    async def tell(station: str, action: str, payload: Any) -> None:
        topic, body = event(station, action, payload)
        work = publish(topic, json.dumps(body, separators=(",", ":")), retain=topic.endswith("/status"))
        if options.hand_over == "forget":
            begin(work)
        else:
            await work

    begin(keep_connected())
    server = await front(options.port, tell)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, gc.collect)
    print(json.dumps({"ocpp1.6": server.port, "ocpp2.0.1": server.port}), flush=True)
    await until_told_to_end()
    await server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--broker", default="mqtt://127.0.0.1:1883")
    parser.add_argument("--ca", help="PEM file of the CA to trust, for mqtts://")
    parser.add_argument("--identifier", default="plain")
    parser.add_argument("--version", choices=("3.1.1", "5"), default="5")
    parser.add_argument("--qos", type=int, choices=(0, 1, 2), default=1)
    parser.add_argument("--hand-over", choices=("await", "forget"), default="await")
    parser.add_argument("--together", type=int, default=20)
    parser.add_argument("--no-gc", action="store_true")
    given = parser.parse_args()
    if given.no_gc:
        gc.disable()
    logging.basicConfig(level="WARNING")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(given))
