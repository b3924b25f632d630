"""Log: a log file to counts of its frames and of what is wrong with them, as `evcore check` does it.

The log is mixed OCPP 1.6 traffic of 500 stations as the `ocpp` package writes it, calls and answers, some 260 bytes a
line; in its second make one call in a hundred is invalid. Reading the file is in the time. Whoever is slow gets the
first tenth of the log: the figure is megabytes a second.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from time import thread_time_ns
from typing import Any, Final

import jsonschema_rs
import orjson

from benches.backends import BACKENDS
from benches.frames import frames, variant
from benches.measure import Effort, Record, WrongAnswer
from benches.ours import NAMES
from benches.plan import Job
from benches.schemas import call_schema, folder
from evcore.check import Options, Source, lint

VERSION: Final = "ocpp1.6"
#: How often each action comes; MeterValues are what a busy station sends, heartbeats what an idle one does.
WEIGHTS: Final = {
    "Heartbeat": 4, "StatusNotification": 4, "MeterValues": 2, "StartTransaction": 1, "BootNotification": 1,
}  # fmt: skip
ANSWERS: Final[dict[str, Any]] = {
    "Heartbeat": {"currentTime": "2026-01-02T03:04:05Z"},
    "StatusNotification": {},
    "MeterValues": {},
    "StartTransaction": {"transactionId": 4711, "idTagInfo": {"status": "Accepted"}},
    "BootNotification": {"status": "Accepted", "currentTime": "2026-01-02T03:04:05Z", "interval": 300},
}
MAKES: Final = {"clean": 0, "1 % invalid": 100}
STATIONS: Final = 500

#: Frames, and how many of them are invalid.
Answer = tuple[int, int]


def jobs(effort: Effort) -> Iterator[Job]:
    """Both makes of the log: 100 MB of it in a full run."""
    rounds, size = max(1, effort.rounds // 40), effort.rounds * 500_000
    for make in MAKES:
        yield Job(f"log, {make}", partial(_measure, make, size, rounds))


def write(path: Path, size: int, every: int) -> Answer:
    """A log of about `size` bytes in which every `every`-th call is invalid (0: none); what is to be found in it."""
    dice = random.Random(size)
    good = {frame.action: frame for frame in frames() if frame.action in WEIGHTS}
    calls = {action: (frame.data, variant(frame, "invalid").data) for action, frame in good.items()}
    answers = {action: json.dumps(answer, separators=(",", ":")) for action, answer in ANSWERS.items()}
    actions, weights = list(WEIGHTS), list(WEIGHTS.values())
    written = count = invalid = 0
    with path.open("w", encoding="utf-8") as file:
        while written < size:
            (action,) = dice.choices(actions, weights)
            count += 1
            bad = bool(every) and count % every == 0
            invalid += bad
            frame = calls[action][bad].decode()
            payload = frame[frame.index("{") :]
            message_id = f"{dice.getrandbits(128):032x}"
            start = f"2026-01-02 03:04:{count % 60:02} INFO ocpp: CP{dice.randrange(STATIONS):04}:"
            lines = f'{start} receive message [2,"{message_id}","{action}",{payload}\n'
            lines += f'{start} send [3,"{message_id}",{answers[action]}]\n'
            file.write(lines)
            written += len(lines)
    return 2 * count, invalid


def _measure(make: str, size: int, rounds: int) -> list[Record]:
    with tempfile.TemporaryDirectory() as folder_name:
        long, short = Path(folder_name, "long.log"), Path(folder_name, "short.log")
        truths = {path: write(path, length, MAKES[make]) for path, length in ((long, size), (short, size // 10))}
        contenders: list[tuple[str, Path, Callable[[Path], Answer]]] = [
            ("json + jsonschema-rs", short, partial(_by_hand, json.loads)),
            ("orjson + jsonschema-rs", short, partial(_by_hand, orjson.loads)),
        ]
        contenders += [
            (NAMES[backend], long if backend == "native" else short, partial(_ours, backend)) for backend in BACKENDS
        ]
        speeds: dict[str, list[float]] = {name: [] for name, *_ in contenders}
        for turn in range(rounds + 1):
            for name, path, call in contenders:
                start = thread_time_ns()
                answer = call(path)
                spent = thread_time_ns() - start
                if answer != truths[path]:
                    raise WrongAnswer(f"{name} finds {answer} frames and invalid ones instead of {truths[path]}")
                # The first turn warms the file cache and compiles the schemas.
                if turn:
                    speeds[name].append(path.stat().st_size / spent * 1000)
    reference = next(iter(speeds.values()))
    return [_record(make, name, found, reference) for name, found in speeds.items()]


def _ours(backend: str, path: Path) -> Answer:
    with Source(str(path)) as source:
        counts = lint(source, Options(version=VERSION, backend=import_module(f"evcore._{backend}"))).counts
    return counts["frames"], counts["violating"] + counts["bad_frames"]


def _by_hand(loads: Callable[[str], Any], path: Path) -> Answer:
    """What one would write: the frame behind the first bracket, validators by action, a dict of calls."""
    calls, results = _validators()
    asked: dict[str, str] = {}
    count = invalid = 0
    with path.open(encoding="utf-8") as file:
        for line in file:
            at = line.find("[")
            if at < 0:
                continue
            frame = loads(line[at:])
            count += 1
            if frame[0] == 2:
                asked[frame[1]] = frame[2]
                valid = calls[frame[2]].is_valid(frame[3])
            else:
                valid = results[asked.pop(frame[1])].is_valid(frame[2])
            invalid += not valid
    return count, invalid


@cache
def _validators() -> tuple[dict[str, Any], dict[str, Any]]:
    compiled = partial(jsonschema_rs.validator_for, validate_formats=True)
    answers = {name: json.loads((folder(VERSION) / f"{name}Response.json").read_text("utf-8-sig")) for name in WEIGHTS}
    return (
        {name: compiled(call_schema(VERSION, name)) for name in WEIGHTS},
        {name: compiled(schema) for name, schema in answers.items()},
    )


def _record(make: str, name: str, found: list[float], reference: list[float]) -> Record:
    middle = sorted(found)[len(found) // 2]
    return Record(
        bench="log",
        case=make,
        variant="plain",
        contender=name,
        judges="yes",
        gc=True,
        unit="MB/s",
        best=max(found),
        median=middle,
        ratio=middle / sorted(reference)[len(reference) // 2],
        best_ratio=max(found) / max(reference),
    )
