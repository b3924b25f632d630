"""Tables from the figures of a run: for the terminal, for docs/mqtt.md.

In: the document a run writes (``machine``, ``versions``, ``when``, ``commands`` and the records of each bench). Out: a
`Table` for each bench it has records of. What stands in the page is the last run's and nobody's typing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypedDict

from benches.report import Table, markdown

BENCHES: Final = ("throughput", "latency", "memory", "loss")


class Document(TypedDict, total=False):
    """What ``--json`` writes."""

    machine: dict[str, str]
    versions: dict[str, str]
    commands: dict[str, str]
    """The command that repeats each bench."""
    when: dict[str, str]
    throughput: list[Any]
    latency: list[Any]
    memory: list[Any]
    loss: list[Any]


def tables(document: Document) -> list[Table]:
    """Every table the document has the figures for."""
    makers: dict[str, Callable[[list[Any], str], Table]] = {
        "throughput": _throughput,
        "latency": _latency,
        "memory": _memory,
        "loss": _loss,
    }
    return [
        make(document[name], f"`{document['commands'][name]}`, {document['when'][name]}")  # type: ignore[literal-required]
        for name, make in makers.items()
        if document.get(name)
    ] + [_machine(document)]


def paste(document: Document, path: Path) -> list[str]:
    """Replace what stands between ``<!-- mqtt:NAME -->`` and ``<!-- /mqtt -->``; returns the names replaced.

    A marker whose table the document has no figures for is left as it is.
    """
    drawn = {table.name: markdown(table) for table in tables(document)}
    done: list[str] = []

    def block(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in drawn:
            return match[0]
        done.append(name)
        return f"<!-- mqtt:{name} -->\n{drawn[name]}\n<!-- /mqtt -->"

    pattern = r"<!-- mqtt:(?P<name>[^>]+?) -->.*?<!-- /mqtt -->"
    path.write_text(re.sub(pattern, block, path.read_text("utf-8"), flags=re.DOTALL), "utf-8")
    return done


def merged(old: Document, new: Document) -> Document:
    """The benches of both, the new ones where both have one. The old ones are dropped where they are of another machine
    or other versions.
    """
    if (old["machine"], old["versions"]) != (new["machine"], new["versions"]):
        return new
    found = old | new
    found["commands"] = old["commands"] | new["commands"]
    found["when"] = old["when"] | new["when"]
    return found


def _machine(document: Document) -> Table:
    facts = {**document["machine"], "versions": ", ".join(f"{k} {v}" for k, v in document["versions"].items())}
    return Table("machine", "The machine", "", ("what", "is"), tuple(facts.items()))


def _throughput(records: Sequence[Any], repeat: str) -> Table:
    cells = {(record["peer"], record["qos"]): record for record in records}
    rows = [
        (name, *(f"{cells[name, qos]['cpu_us']:,.0f} µs, {cells[name, qos]['per_second']:,.0f}" for qos in (0, 1, 2)))
        for name in dict.fromkeys(record["peer"] for record in records)
    ]
    note = (
        "Processor time of the server's process for one event, and events a second that a subscriber of the broker got "
        f"from the first frame of a station until the last event. {repeat}"
    )
    return Table("throughput", "From a station to a subscriber", note, ("server", *_LEVELS), tuple(rows))


def _latency(records: Sequence[Any], repeat: str) -> Table:
    def cell(record: Any) -> str:
        seen, answered = record["seen_ms"], record["answered_ms"]
        return f"{seen[0]:.1f} / {seen[1]:.1f}, {answered[0]:.1f} / {answered[1]:.1f} ms"

    cells = {(record["peer"], record["qos"]): cell(record) for record in records}
    rows = [
        (name, *(cells[name, qos] for qos in (0, 1, 2))) for name in dict.fromkeys(record["peer"] for record in records)
    ]
    note = (
        "One station, one event at a time: until a subscriber has it, and until the station has its answer; each the "
        f"median and the 99th percentile. {repeat}"
    )
    return Table("latency", "How long it takes", note, ("server", *_LEVELS), tuple(rows))


def _memory(records: Sequence[Any], repeat: str) -> Table:
    rows = [
        (
            record["kind"],
            f"{record['before'] / 2**20:.1f} MiB",
            f"{record['after'] / 2**20:.1f} MiB",
            f"{record['again'] / 2**20:.1f} MiB",
            f"{(record['again'] - record['before']) / record['topics']:,.0f} bytes",
        )
        for record in records
    ]
    header = ("process", "before", "a value on each topic", "another one on each", "a topic")
    note = f"Resident memory with {records[0]['topics']:,} topics of devices. {repeat}"
    return Table("memory", "What topics weigh", note, header, tuple(rows))


_LEVELS: Final = ("QoS 0", "QoS 1", "QoS 2")


def _loss(records: Sequence[Any], repeat: str) -> Table:
    ways = list(dict.fromkeys(record["way"] for record in records))
    ours, others = ways[0], ways[1:]
    cells = {(record["fault"], record["qos"], record["way"]): record["figures"] for record in records}
    rows = []
    for fault, qos in dict.fromkeys((record["fault"], record["qos"]) for record in records):
        mine = cells[fault, qos, ours]
        row = [fault, str(qos), *(f"{mine[name]:,}" for name in _COLUMNS)]
        for other in others:
            theirs = cells[fault, qos, other]
            row.append(f"{theirs['lost']:,} of {theirs['acknowledged']:,}, {theirs['duplicated']:,} twice")
        rows.append(tuple(row))
    header = ("fault", "QoS", *_COLUMNS, *(f"{other}: lost" for other in others))
    return Table("loss", f"What {ours} loses", repeat, header, tuple(rows))


_COLUMNS: Final = ("sent", "acknowledged", "received", "duplicated", "repeated", "lost")
