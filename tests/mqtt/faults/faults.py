"""What can happen between a station and a subscriber, each as a function that happens to a `Stage`.

`FAULTS` names them as the loss table does.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tests.mqtt.certificates import Certificates
from tests.mqtt.faults.stage import KEEPING, Fault, Stage
from tests.mqtt.faults.stations import Stream
from tests.mqtt.faults.subjects import Setup
from tests.mqtt.observer import Login


async def nothing(stage: Stage) -> None:
    """The stream alone."""


def _shares(stage: Stage) -> list[float]:
    """When to strike, as shares of the stream."""
    rounds = stage.effort.rounds
    return [(index + 1) / (rounds + 1) for index in range(rounds)]


async def broker_killed(stage: Stage) -> None:
    """SIGKILL in the middle of it, and it comes back after a moment."""
    for share in _shares(stage):
        await stage.progress(share)
        await stage.kill_broker()
        await asyncio.sleep(stage.effort.outage / 4)
        await stage.start_broker()


async def broker_stopped(stage: Stage) -> None:
    """A maintenance: it ends in good order and is away for a while."""
    await stage.progress(0.3)
    await stage.stop_broker()
    await asyncio.sleep(stage.effort.outage * 2)
    await stage.start_broker()


async def broker_frozen(stage: Stage) -> None:
    """It keeps its connections and does not answer."""
    await stage.progress(0.3)
    stage.broker.freeze()
    await asyncio.sleep(stage.effort.outage)
    stage.broker.thaw()


async def subject_killed(stage: Stage) -> None:
    """SIGKILL of the process that serves the stations, in the middle of it."""
    for share in _shares(stage):
        await stage.progress(share)
        await stage.kill_subject()
        await stage.start_subject()


async def both_killed(stage: Stage) -> None:
    """The machine they share has gone, and comes back."""
    for share in _shares(stage):
        await stage.progress(share)
        await asyncio.gather(stage.kill_subject(), stage.kill_broker())
        await stage.start_broker()
        await stage.start_subject()


async def subject_killed_while_broker_away(stage: Stage) -> None:
    """What waits has only the disk to survive on."""
    await stage.progress(0.2)
    await stage.stop_broker()
    await stage.progress(0.5)
    await stage.kill_subject()
    starting = asyncio.create_task(stage.start_subject())
    await asyncio.sleep(stage.effort.outage)
    await stage.start_broker()
    await starting


async def network_stalls(stage: Stage) -> None:
    """Nothing passes and nobody is told; then the connection is gone."""
    for share in _shares(stage):
        await stage.progress(share)
        stage.door.stall()
        await asyncio.sleep(stage.effort.outage)
        stage.door.reset()
        stage.door.flow()


async def network_resets(stage: Stage) -> None:
    """RST, what was on its way is gone; again and again, at other bytes of the packets."""
    for share in _shares(stage):
        await stage.progress(share)
        for size in (1, 3, 150, 1001):
            stage.door.cut_after("down" if size < 100 else "up", size)
            opened = stage.door.opened
            with contextlib.suppress(TimeoutError):  # nothing comes back at QoS 0
                async with asyncio.timeout(3):
                    while stage.door.opened == opened and len(stage.books.acknowledged) < stage.total:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)


async def network_half_closes(stage: Stage) -> None:
    """FIN from the broker's side while the other direction is open."""
    for share in _shares(stage):
        await stage.progress(share)
        stage.door.half_close()


async def acknowledgements_lost(stage: Stage) -> None:
    """Everything reaches the broker, nothing comes back; then the connection is gone."""
    for share in _shares(stage):
        await stage.progress(share)
        stage.door.stall("down")
        await asyncio.sleep(stage.effort.outage)
        stage.door.reset()
        stage.door.flow()


async def subscriber_slow(stage: Stage) -> None:
    """It takes longer for a message than all stations together take to send one."""
    stage.observer.slow_down(lambda _: time.sleep(stage.effort.pause))
    await stage.progress(1.0)


async def disk_full(stage: Stage) -> None:
    """Nothing more can be written, to any file; after a while there is room again."""
    await stage.progress(0.3)
    nothing_more = (1024, resource.RLIM_INFINITY)
    resource.prlimit(stage.subject.pid, resource.RLIMIT_FSIZE, nothing_more)
    await asyncio.sleep(stage.effort.outage)
    resource.prlimit(stage.subject.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


WRONG, RIGHT, WITNESS = "a-wrong-password", "the-password", "a-witness"


async def password_wrong(stage: Stage) -> None:
    """Nobody is let in until somebody has mended it, at the broker."""
    await stage.progress(1.0 if stage.kind == "serve" else 0.5)
    stage.broker.configure(replace(stage.broker.options, users={"evcore": WRONG, "witness": WITNESS}))
    stage.broker.reload()


async def certificate_expired(stage: Stage) -> None:
    """The broker shows a certificate whose time is over, until it is given another one."""
    await stage.progress(1.0 if stage.kind == "serve" else 0.5)
    await stage.stop_broker()
    stage.broker.configure(replace(stage.broker.options, expired=False))
    await stage.start_broker()


async def identifier_shared(stage: Stage) -> None:
    """A second one with the same client identifier, with stations of its own, and each throws the other out."""
    await stage.progress(0.2)
    other = await stage.another_subject("twin")
    async with asyncio.TaskGroup() as group:
        for index in range(stage.effort.stations):
            stream = Stream(f"TWIN{index}", other.port, stage.books, stage.effort.messages, stage.effort.pause)
            group.create_task(stream.run())


@dataclass(frozen=True, slots=True)
class Case:
    """A fault of the table. `exact`: QoS 2 is exactly once under it. `witness`: QoS of the subscriber that counts; one
    of a broker that is killed gets all at least once at QoS 1, and at QoS 2 loses what it had half. `prepare`: from a
    folder, further options of `staged`.
    """

    name: str
    fault: Fault
    exact: bool = True
    witness: int = 2
    prepare: Callable[[Path], dict[str, Any]] = lambda _: {}


def _passwords(_: Path) -> dict[str, Any]:
    def wrong(setup: Setup) -> Setup:
        return replace(setup, addresses=[url.replace("//", f"//evcore:{WRONG}@") for url in setup.addresses])

    users = {"evcore": RIGHT, "witness": WITNESS}
    return {
        "broker": replace(KEEPING, users=users),
        "setup": wrong,
        "login": Login(username="witness", password=WITNESS),
    }


def _certificates(folder: Path) -> dict[str, Any]:
    made = Certificates(folder / "certificates")

    def secure(setup: Setup) -> Setup:
        return replace(setup, addresses=[url.replace("mqtt:", "mqtts:") for url in setup.addresses], ca=made.ca)

    return {"broker": replace(KEEPING, tls=made, plain=True, expired=True), "setup": secure}


def _direct(_: Path) -> dict[str, Any]:
    """A door accepts connections for a broker that is not there."""
    return {"direct": True}


def _shared(_: Path) -> dict[str, Any]:
    return {"setup": lambda setup: replace(setup, identifier="twins")}


FAULTS: Final = (
    Case("nothing happens", nothing),
    Case("broker killed and restarted", broker_killed, exact=False, witness=1, prepare=_direct),
    Case("broker stopped for a while", broker_stopped, exact=False, prepare=_direct),
    Case("broker frozen for a while", broker_frozen),
    Case("evcore killed and restarted", subject_killed),
    Case("both killed and restarted", both_killed, exact=False, witness=1, prepare=_direct),
    Case("evcore killed while the broker is away", subject_killed_while_broker_away),
    Case("network stalls, then breaks", network_stalls),
    Case("network resets mid-packet", network_resets),
    Case("network half-closed", network_half_closes),
    Case("acknowledgements do not come back", acknowledgements_lost),
    Case("subscriber slow", subscriber_slow),
    Case("disk of the spool full for a while", disk_full),
    Case("wrong password for a while", password_wrong, prepare=_passwords),
    Case("broker's certificate expired for a while", certificate_expired, prepare=_certificates),
    Case("two with the same client identifier", identifier_shared, exact=False, prepare=_shared),
)
