"""A process that publishes values of devices, each field on a topic of its own, and says what it weighs.

``bridge``: evcore's bus and bridge; ``forgetful``: the same without last values on the bus; ``plain``: aiomqtt. It
prints one line of JSON: resident bytes before the first value, when every topic has had one, and when every topic has
had another one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import aiomqtt

#: Fields of a device.
FIELDS = ("power", "energy", "voltage", "current", "frequency", "temperature", "state", "soc", "limit", "phase")


def _resident() -> int:
    gc.collect()
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def _values(count: int, turn: int) -> Iterator[tuple[str, str, float]]:
    """Device, field and value of each topic."""
    for number in range(count):
        yield f"meter-{number // len(FIELDS):05d}", FIELDS[number % len(FIELDS)], number + turn / 2


async def _bridge(options: argparse.Namespace, weigh: Callable[[], None]) -> None:
    from evcore.bus import Bus
    from evcore.bus.bodies import DeviceReading
    from evcore.bus.orders import Order, Outcome
    from evcore.mqtt.bridge import Bridge, BridgeOptions
    from evcore.mqtt.broker.address import Address
    from evcore.mqtt.broker.session import SessionOptions
    from evcore.mqtt.publisher.options import PublishOptions
    from evcore.mqtt.spool import SpoolOptions

    class Nobody:
        async def carry_out(self, order: Order) -> Outcome:
            return Outcome(status="refused", code="unknown-station")

    bus = Bus(retain=options.kind == "bridge")
    address = Address.parse(f"mqtt://127.0.0.1:{options.broker}")
    bridge = Bridge(
        bus,
        Nobody(),
        BridgeOptions(
            session=SessionOptions(addresses=(address,), identifier=f"devices-{os.getpid()}"),
            spool=SpoolOptions(path=options.spool),
            publish=PublishOptions(node="bench"),
        ),
    )
    await bridge.start()
    while not bridge.session.state.connected:  # noqa: ASYNC110 - it calls back before it has subscribed
        await asyncio.sleep(0.01)
    weigh()
    for turn in range(2):
        for number, (device, field, value) in enumerate(_values(options.count, turn)):
            kept = bus.publish(
                DeviceReading(device=device, type="meter", instance="0", field=field, value=value, unit="W")
            )
            if kept is not None:
                await kept
            if number % 100 == 99:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.5)
        weigh()
    await bridge.stop()


async def _plain(options: argparse.Namespace, weigh: Callable[[], None]) -> None:
    async with aiomqtt.Client("127.0.0.1", options.broker, protocol=aiomqtt.ProtocolVersion.V5) as client:
        weigh()
        for turn in range(2):
            for device, field, value in _values(options.count, turn):
                payload = json.dumps({"value": value, "unit": "W"}, separators=(",", ":"))
                await client.publish(f"devices/{device}/meter/0/{field}", payload, retain=True)
            await asyncio.sleep(0.5)
            weigh()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("bridge", "forgetful", "plain"))
    parser.add_argument("--broker", type=int, required=True, metavar="PORT")
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--spool", type=Path, required=True)
    options = parser.parse_args()
    weights: list[int] = []
    work: Callable[[argparse.Namespace, Callable[[], None]], Awaitable[None]]
    work = _plain if options.kind == "plain" else _bridge

    async def run() -> None:
        await work(options, lambda: weights.append(_resident()))

    asyncio.run(run())
    print(json.dumps(weights), flush=True)


if __name__ == "__main__":
    main()
