"""The program that callgrind counts: every case twice, with marks in between.

Runs under valgrind, started by `benches.counts`. A mark is a call of ``os.getppid``, which nothing else here makes:
callgrind is told to write its counts down and start anew whenever the C function of that name is entered. Each case
is run a few times and then many times; the difference of the two counts over the difference of the runs is the cost
of one. Prints the cases in order, as JSON.
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable
from itertools import repeat
from typing import Any

from benches import ours, peers
from benches.counts import FEW, MANY, NULL, WARM
from benches.frames import frames


def main() -> None:
    """Run all cases, marks around them."""
    cases: list[tuple[str, Callable[[Any], Any], Any]] = []
    for frame in frames():
        for job, contenders, argument in (
            ("decode", [*peers.decoders(frame), *ours.decoders(frame)], frame.data),
            ("encode", [*peers.encoders(frame), *ours.encoders(frame)], frame.literal),
        ):
            for contender in contenders:
                if contender.name in {peers.ORJSON, ours.DECODE, ours.LAZY}:
                    name = f"{job} {frame.action}, {contender.name}"
                    cases.append((name, contender.call, contender.takes(argument)))
    gc.collect()
    gc.disable()
    for _, call, argument in cases:
        _loop(call, argument, WARM)
    os.getppid()
    _empty_loop(FEW)
    os.getppid()
    _empty_loop(MANY)
    for _, call, argument in cases:
        os.getppid()
        _loop(call, argument, FEW)
        os.getppid()
        _loop(call, argument, MANY)
    os.getppid()
    print(json.dumps([NULL, *(name for name, _, _ in cases)]))


def _loop(call: Callable[[Any], Any], argument: Any, times: int) -> None:
    for _ in repeat(None, times):
        call(argument)


def _empty_loop(times: int) -> None:
    for _ in repeat(None, times):
        pass


if __name__ == "__main__":
    main()
