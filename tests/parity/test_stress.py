"""Shared between threads, called a hundred thousand times: the same answers, and no memory kept."""

from __future__ import annotations

import gc
import sys
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest

from proof.backends import BACKENDS, make, messages
from proof.document import write
from proof.generate import Maker, Mode
from proof.inventory import FRAME_KIND, Entry, entries
from proof.observe import observed
from proof.scramble import scrambled
from proof.sizes import SIZES

pytestmark = pytest.mark.parametrize("backend", BACKENDS)

THREADS = 8
ACTIONS = (
    "Authorize",
    "BootNotification",
    "DataTransfer",
    "GetVariables",
    "Heartbeat",
    "MeterValues",
    "NotifyEvent",
    "TransactionEvent",
)


def message_frame(entry: Entry, payload: Any) -> bytes:
    """A message as it goes over the wire."""
    action = "" if entry.kind == "result" else f'"{entry.action}",'
    return f'[{FRAME_KIND[entry.kind]},"id",{action}{write(payload)}]'.encode()


def valid_frames(version: str, rng: Random) -> list[bytes]:
    """One frame each of a few messages, requests and results."""
    return [
        message_frame(e, Maker(rng, whole_floats=version != "ocpp1.6").payload(e.inlined, Mode.RANDOM))
        for e in entries()
        if e.version == version and e.action in ACTIONS
    ]


def mixed_frames(version: str, rng: Random) -> list[bytes]:
    """Valid and hostile frames: every way out of decode."""
    valid = valid_frames(version, rng)
    return [*valid, *scrambled(valid, rng, 100)]


def test_threads_share_a_codec(backend: str) -> None:
    """Programs are compiled on first use, here by eight threads at once; answers are those of a single thread."""
    rng = Random("threads")
    frames = mixed_frames("ocpp2.0.1", rng)
    single = make(backend, "ocpp2.0.1", fresh=True)
    expected = [observed(single.decode, f) for f in frames]
    for options in ({}, {"lazy": True}):
        shared = make(backend, "ocpp2.0.1", fresh=True, **options)

        def work(seed: int, shared: Any = shared) -> list[tuple[int, Any]]:
            order = Random(seed).sample(range(len(frames)), len(frames))
            return [(i, observed(shared.decode, frames[i])) for i in order]

        with ThreadPoolExecutor(THREADS) as pool:
            for answers in pool.map(work, range(THREADS)):
                for i, answer in answers:
                    assert answer == expected[i], frames[i]


def test_lazy_payload_is_built_once_by_many_threads(backend: str) -> None:
    codec = make(backend, "ocpp2.0.1", lazy=True)
    for frame in valid_frames("ocpp2.0.1", Random(1)):
        message = codec.decode(frame)
        with ThreadPoolExecutor(THREADS) as pool:
            payloads = list(pool.map(lambda _, message=message: message.payload, range(THREADS)))
        assert all(payload is payloads[0] for payload in payloads)


def containers(value: Any) -> list[int]:
    """The identities of all dicts and lists within."""
    if isinstance(value, dict):
        return [id(value), *(i for child in value.values() for i in containers(child))]
    return [id(value), *(i for child in value for i in containers(child))] if isinstance(value, list) else []


@pytest.mark.parametrize("lazy", [False, True])
def test_containers_are_nobody_elses(backend: str, lazy: bool) -> None:
    """Two decodes of one frame are equal and share no dict or list: changing one leaves the other as it was."""
    for version in ("ocpp1.6", "ocpp2.0.1", "ocpp2.1"):
        codec = make(backend, version, lazy=lazy)
        for frame in valid_frames(version, Random(2)):
            one, other = codec.decode(frame), codec.decode(frame)
            assert one == other and one.payload == other.payload
            mine, theirs = containers(one.payload), containers(other.payload)
            assert len(set(mine)) == len(mine) and not set(mine) & set(theirs)


def blocks() -> int:
    gc.collect()
    return sys.getallocatedblocks()


@pytest.mark.parametrize("options", [{}, {"lazy": True}, {"names": "snake"}], ids=str)
def test_nothing_is_kept(backend: str, options: dict[str, Any]) -> None:
    """Decode, check and encode over and over, errors included: the interpreter's count of live blocks stays."""
    rng = Random("leak")
    version = "ocpp2.0.1"
    codec = make(backend, version, **options)
    frames = mixed_frames(version, rng)
    call = messages(backend).Call("1", "DataTransfer", {"vendorId": "v", "data": [1, {"a": 2.5}]})
    broken = messages(backend).Call("1", "DataTransfer", {"vendorId": 5, "data": {1, 2}})

    def run(count: int) -> None:
        for i in range(count):
            frame = frames[i % len(frames)]
            try:
                made = codec.decode(frame, None, i % 7 != 0)
                if i % 3 == 0:
                    _ = getattr(made, "payload", None), made.raw, repr(made), made == made
            except ValueError as error:
                _ = str(error), error.args
            try:
                codec.encode(broken if i % 2 else call)
            except ValueError as error:
                _ = str(error)

    run(2 * len(frames))
    before = blocks()
    run(SIZES.soak // 2)
    middle = blocks()
    run(SIZES.soak // 2)
    after = blocks()
    # A leak of one block a decode would be thousands; caches may still fill while the first half runs.
    assert after - middle < 200 and after - before < 1000, (before, middle, after)
