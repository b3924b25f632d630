"""Which clock, and how long a slice? Asked with a question whose answer is known: orjson against itself is 1.

In: nothing; a neighbour process that burns the same CPU is started and stopped here. Out: for wall time and for the
thread's CPU time, and for three ways to cut 60 ms per contender into rounds, how far the median ratio strays from 1 in
40 races: in the middle one, and in the worst.

Decided (2026-11, two shared cores) for CPU time in 200 slices of 0.3 ms:

    slices             wall time        CPU time
    40 of 1.5 ms       0.5 %, 58 %      0.3 %, 3.2 %
    200 of 0.3 ms      0.0 %, 0.6 %     0.0 %, 0.2 %
    1000 of 0.06 ms    0.0 %, 0.2 %     0.3 %, 2.2 %

A slice must be short beside the scheduler's, so that most slices are not interrupted; reading the CPU clock is a system
call, so a slice must not be too short for it either.
"""

from __future__ import annotations

import subprocess
import sys
from statistics import median
from time import perf_counter_ns, thread_time_ns

import orjson

from benches import machine, measure
from benches.frames import frames

RACES = 40
EFFORTS = (measure.Effort(40, 1_500_000), measure.Effort(200, 300_000), measure.Effort(1000, 60_000))


def main() -> None:
    print(machine.pin())
    frame = next(frame for frame in frames() if frame.action == "MeterValues")
    both = [measure.Contender("one", orjson.loads), measure.Contender("other", orjson.loads)]
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: sum(range(10000))"])
    try:
        for name, clock in (("wall", perf_counter_ns), ("cpu", thread_time_ns)):
            measure._now = clock  # type: ignore[misc]
            for effort in EFFORTS:
                strays = []
                for _ in range(RACES):
                    one, other = measure.race(both, frame.data, effort)
                    strays.append(abs(other.over(one) - 1))
                print(
                    f"{name:4} {effort.rounds:5} rounds of {effort.slice_ns / 1e6:.2f} ms: "
                    f"strays {median(strays):.1%}, at worst {max(strays):.1%}"
                )
    finally:
        neighbour.kill()
        neighbour.wait()


if __name__ == "__main__":
    main()
