"""Dicts from templates against dicts built key by key: the native module with its fast way left out is the oracle.

`make test-plain` builds that module and says where it is (EVCORE_PLAIN).
"""

from __future__ import annotations

import gc
import os
import pickle
import random
from collections.abc import Iterator
from typing import Any

import pytest

PLAIN = os.environ.get("EVCORE_PLAIN")
pytestmark = pytest.mark.skipif(PLAIN is None, reason="wants EVCORE_PLAIN: run by make test-plain")


@pytest.fixture(scope="module")
def modules() -> tuple[Any, Any]:
    from benches.experiments.dict_template import plain_module
    from evcore import _native

    assert PLAIN is not None
    return _native, plain_module(PLAIN)


def mixed(seed: int) -> Iterator[Any]:
    """Frames of all kinds, their members in ever new orders, some left out, some of them refused."""
    from benches.frames import compact, frames

    dice = random.Random(seed)

    def shaken(value: Any) -> Any:
        if isinstance(value, list):
            return [shaken(item) for item in value]
        if isinstance(value, dict):
            members = [(name, shaken(member)) for name, member in value.items() if dice.random() > 0.05]
            if dice.random() < 0.5:
                dice.shuffle(members)
            return dict(members)
        return value

    for _ in range(300):
        frame = dice.choice(frames())
        yield frame.version, compact([*frame.value[:3], shaken(frame.payload)])


def outcome(codec: Any, data: bytes) -> Any:
    from evcore import PayloadError

    try:
        payload = codec.decode(data).payload
    except PayloadError as error:
        return str(error)
    return ordered(payload)


def ordered(value: Any) -> Any:
    """The value with the order of its members, which dicts do not compare."""
    if isinstance(value, dict):
        assert len(value) == len(list(value)) and pickle.loads(pickle.dumps(value)) == value
        return [(name, ordered(member)) for name, member in value.items()]
    return [ordered(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("names", ["wire", "snake"])
def test_same_dicts(modules: tuple[Any, Any], names: Any) -> None:
    from evcore.codec import codec_class

    codecs: dict[str, list[Any]] = {}
    refused = 0
    for version, data in mixed(seed=17):
        if version not in codecs:
            codecs[version] = [codec_class(module)(version, names=names) for module in modules]
        fast, plain = (outcome(codec, data) for codec in codecs[version])
        assert fast == plain
        refused += isinstance(fast, str)
    assert 30 < refused < 270


def test_dicts_live_like_others(modules: tuple[Any, Any]) -> None:
    """They grow, shrink, are copied, and are found by the garbage collector when they hold a cycle."""
    from benches.frames import frames
    from evcore.codec import codec_class

    frame = next(frame for frame in frames() if frame.action == "TransactionEvent")
    codec = codec_class(modules[0])(frame.version)
    for _ in range(50):
        payload = codec.decode(frame.data).payload
        before = dict(payload)
        for number in range(40):
            payload[f"key{number}"] = number
        for name in list(before):
            del payload[name]
        assert payload == {f"key{number}": number for number in range(40)}
        again = codec.decode(frame.data).payload
        assert again == before
        again["evse"]["self"] = again
        assert gc.is_tracked(again)
        del again
    assert gc.collect() >= 50
