"""memory: what a process weighs that has published so many topics of devices.

In: how many topics. Out: a `Record` per way to publish: resident bytes before, after a value on each topic, and after
another one on each; a subscriber must have got all of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypedDict

from benches.mqtt.broker import broker
from benches.mqtt.subscriber import Subscriber
from benches.server.client import WrongAnswer
from benches.server.servers import ROOT, Unavailable

TOPICS: Final = 50_000
KINDS: Final = {
    "bridge": "evcore, last values kept",
    "forgetful": "evcore, bus without last values",
    "plain": "aiomqtt, which keeps nothing",
}


class Record(TypedDict):
    kind: str
    topics: int
    before: int
    after: int
    again: int


def measure(topics: int, folder: Path, say: Callable[[str], None], kinds: Sequence[str] = tuple(KINDS)) -> list[Record]:
    records = []
    for kind in kinds:
        name = KINDS[kind]
        say(f"memory with {topics:,} topics: {name}")
        with broker(folder) as port, Subscriber(port, "devices/#") as subscriber:
            command = [sys.executable, "-m", "benches.mqtt.devices", kind, "--broker", str(port)]
            command += ["--count", str(topics), "--spool", str(folder / f"{kind}.db")]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
            if done.returncode:
                raise Unavailable(f"{name}: {done.stderr.strip()[-500:]}")
            seen = subscriber.wait(2 * topics, 30.0)["count"]
        if seen != 2 * topics:
            raise WrongAnswer(f"{name}: {seen} of {2 * topics} values arrived")
        before, after, again = json.loads(done.stdout.splitlines()[-1])
        records.append(Record(kind=name, topics=topics, before=before, after=after, again=again))
    return records
