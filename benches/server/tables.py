"""Tables from the figures of a run: for the terminal, for docs/capacity.md.

In: the document a run writes (``when``, ``machine``, ``versions``, ``commands`` and the records of each bench). Out:
one `Table` for each bench it has records of, one for the bars, one for the machine. What stands in the page is the last
run's and nobody's typing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypedDict

from benches.report import Table, figure, markdown
from benches.server.servers import EVCORE_PICOWS, OCPP, OCPP_GO, OCPP_RPC, PICOWS


class Document(TypedDict, total=False):
    """What ``--json`` writes."""

    machine: dict[str, str]
    versions: dict[str, str]
    commands: dict[str, str]
    """The command that repeats each bench."""
    when: dict[str, str]
    """When each bench was run."""
    rtt: list[Any]
    memory: list[Any]
    hold: list[Any]
    storm: list[Any]
    tls: list[Any]


BENCHES: Final = ("rtt", "memory", "hold", "storm", "tls")
_STATIONS: Final = 100_000


def tables(document: Document) -> list[Table]:
    """Every table the document has the figures for, the bars first."""
    makers: dict[str, Callable[[list[Any], str], Table]] = {
        "rtt": _rtt,
        "memory": _memory,
        "hold": _hold,
        "storm": _storm,
        "tls": _tls,
    }
    found = [_bars(document), _machine(document)]
    found += [
        make(document[name], _repeat(document, name))  # type: ignore[literal-required]
        for name, make in makers.items()
        if document.get(name)
    ]
    return [table for table in found if table.rows]


def paste(document: Document, path: Path) -> list[str]:
    """Replace what stands between ``<!-- capacity:NAME -->`` and ``<!-- /capacity -->``; returns the names replaced.

    A marker whose table the document has no figures for is left as it is; `machine` and `bars` are about all benches,
    and are left too where one of them is missing.
    """
    whole = all(document.get(name) for name in BENCHES)
    drawn = {
        table.name: markdown(table) for table in tables(document) if whole or table.name not in {"bars", "machine"}
    }
    done: list[str] = []

    def block(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in drawn:
            return match[0]
        done.append(name)
        return f"<!-- capacity:{name} -->\n{drawn[name]}\n<!-- /capacity -->"

    pattern = r"<!-- capacity:(?P<name>[^>]+?) -->.*?<!-- /capacity -->"
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


def _repeat(document: Document, name: str) -> str:
    return f"`{document['commands'][name]}`, {document['when'][name]}"


def _machine(document: Document) -> Table:
    facts = {**document["machine"], "packages": ", ".join(f"{k} {v}" for k, v in document["versions"].items())}
    return Table("machine", "The machine", "", ("what", "is"), tuple(facts.items()))


def _rtt(records: Sequence[Any], repeat: str) -> Table:
    actions = list(dict.fromkeys(r["action"] for r in records))
    cells = {(r["peer"], r["action"]): r for r in records}
    rows = []
    for peer, judges in {r["peer"]: r["judges"] for r in records}.items():
        meter = cells[peer, "MeterValues"]
        costs = (f"{cells[peer, action]['cpu_us']:,.1f}" for action in actions)
        rows.append((peer, judges, *costs, figure(meter["ratio"]), f"{meter['per_second']:,.0f}"))
    header = (
        "server",
        "judges the schema",
        *actions,
        f"MeterValues ÷ {records[0]['peer']}",
        "MeterValues answered a second",
    )
    note = f"Microseconds of the server's processor time for one CALL and its answer. {repeat}"
    return Table("rtt", "A round trip", note, header, tuple(rows))


def _memory(records: Sequence[Any], repeat: str) -> Table:
    columns = list(dict.fromkeys((r["kind"], r["stations"]) for r in records))
    rows = [
        (peer, *(_kilobytes(records, "resident", peer, *column) for column in columns))
        for peer in dict.fromkeys(r["peer"] for r in records)
    ]
    kernel = (_kilobytes(records, "kernel", records[0]["peer"], *column) for column in columns)
    rows.append(("kernel, both ends of the connection", *kernel))
    header = ("server", *(f"{kind}, {stations:,}" for kind, stations in columns))
    note = f"Kilobytes (1,000 bytes) resident in the server for each idle station. {repeat}"
    return Table("memory", "An idle station", note, header, tuple(rows))


def _kilobytes(records: Sequence[Any], what: str, peer: str, kind: str, stations: int) -> str:
    wanted = (peer, kind, stations)
    return next((f"{r[what] / 1000:.1f}" for r in records if (r["peer"], r["kind"], r["stations"]) == wanted), "–")


def _hold(records: Sequence[Any], repeat: str) -> Table:
    rows = []
    for record in records:
        rows += [
            ("stations, workers", f"{record['stations']:,}, {record['processes']}"),
            ("all connected and booted after", f"{record['open_seconds']:.1f} s"),
            ("connections tried again", _failures(record["failures"])),
            ("messages a second", f"{record['rate']:,.0f} for {record['seconds']:,.0f} s"),
            ("messages, lost", f"{record['sent']:,}, {record['lost']:,}"),
            ("connections lost", f"{record['dropped']:,}"),
            ("latency, " + " / ".join(_percents(record["latency_ms"])), _latencies(record["latency_ms"])),
            ("resident in the servers, a station", f"{record['resident'] / 1000:.1f} kB"),
            ("processors busy: servers, stations", f"{record['server_cpu']:.2f}, {record['client_cpu']:.2f}"),
        ]
    return Table("hold", "Many stations", repeat, ("what", "figure"), tuple(rows))


def _storm(records: Sequence[Any], repeat: str) -> Table:
    rows = []
    for record in records:
        rows += [
            ("stations, bystanders", f"{record['stations']:,}, {record['bystanders']:,}"),
            ("workers", f"{record['processes']}"),
            ("from the drop until all were booted again", f"{record['seconds']:.1f} s"),
            ("stations let in a second", f"{record['stations'] / record['seconds']:,.0f}"),
            ("connections tried again", _failures(record["failures"])),
            (
                "bystanders' heartbeats before, " + " / ".join(_percents(record["calm_ms"])),
                _latencies(record["calm_ms"]),
            ),
            ("bystanders' heartbeats during the storm", _latencies(record["storm_ms"])),
            ("heartbeats during the storm, lost", f"{record['heartbeats']:,}, {record['lost']:,}"),
            ("bystanders' connections lost", f"{record['dropped']:,}"),
            ("processors busy: servers, stations", f"{record['server_cpu']:.2f}, {record['client_cpu']:.2f}"),
        ]
    return Table("storm", "All at once", repeat, ("what", "figure"), tuple(rows))


def _failures(failures: dict[str, int]) -> str:
    return ", ".join(f"{count:,} ({reason})" for reason, count in sorted(failures.items())) or "none"


def _percents(latencies: dict[str, float]) -> Iterable[str]:
    return ("longest" if percent == "100" else f"{percent} %" for percent in latencies)


def _latencies(latencies: dict[str, float]) -> str:
    return " / ".join(f"{value:,.1f}" for value in latencies.values()) + " ms"


def _tls(records: Sequence[Any], repeat: str) -> Table:
    kinds = list(dict.fromkeys(r["kind"] for r in records))
    cells = {(r["peer"], r["kind"]): r["cpu_us"] for r in records}
    rows = [
        (peer, *(f"{cells[peer, kind]:,.0f} µs, {1e6 / cells[peer, kind]:,.0f}" for kind in kinds))
        for peer in dict.fromkeys(r["peer"] for r in records)
    ]
    note = (
        "Processor time of the server for each station let in, booted and gone again, and how many of them one core "
        f"takes a second by that. {repeat}"
    )
    return Table("tls", "Letting a station in", note, ("server", *kinds), tuple(rows))


def _bars(document: Document) -> Table:
    rows = []

    def row(what: str, bar: str, value: str, met: bool) -> None:
        rows.append((what, bar, value, "met" if met else "missed"))

    trips = {r["peer"]: r["ratio"] for r in document.get("rtt", []) if r["action"] == "MeterValues"}
    ours = trips.get(EVCORE_PICOWS)
    if ours is not None:
        bars = ((PICOWS, 2.0), (OCPP, 40.0), (OCPP_GO, 1.0), (OCPP_RPC, 1.0))
        for peer, bound in bars:
            theirs = trips.get(peer)
            if theirs is None:
                continue
            if peer == PICOWS:
                row(f"MeterValues against {peer}", f"≤ {bound:g} ×", f"{ours / theirs:.2f} ×", ours <= bound * theirs)
            else:
                sign = "≥" if bound > 1 else ">"
                met = theirs >= bound * ours if bound > 1 else theirs > ours
                row(f"MeterValues, times cheaper than {peer}", f"{sign} {bound:g} ×", f"{theirs / ours:.1f} ×", met)
    idle = [r for r in document.get("memory", []) if r["peer"] == EVCORE_PICOWS and r["kind"] == "plain"]
    if idle:
        worst = max(r["resident"] for r in idle)
        row("an idle station, plain", "≤ 16 kB", f"{worst / 1000:.1f} kB", worst <= 16_000)
    for record in document.get("hold", []):
        if record["stations"] >= _STATIONS:
            met = record["lost"] == record["dropped"] == 0 and record["rate"] >= 1990
            row(f"{_STATIONS:,} stations held, 2,000 messages a second, lost", "0", f"{record['lost']:,}", met)
    for record in document.get("storm", []):
        if record["stations"] >= _STATIONS:
            met = record["seconds"] <= 60 and record["lost"] == record["dropped"] == 0
            row(f"{_STATIONS:,} stations back after a common drop", "≤ 60 s", f"{record['seconds']:.1f} s", met)
    return Table("bars", "The bars", "", ("what", "bar", "figure", ""), tuple(rows))
