"""Tables from the records of a run: for the terminal (Rich), for documents (Markdown).

In: the document a run writes (`machine`, `versions`, `effort`, `records`). Out: one `Table` per bench, and one for
the bars. Everything is made from the document, so a table in a README is the last run's and nobody's typing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypedDict

from rich import box
from rich.table import Table as RichTable

from benches.bars import verdicts
from benches.measure import Record


class Document(TypedDict):
    """What ``--json`` writes."""

    when: str
    machine: dict[str, str]
    versions: dict[str, str]
    effort: dict[str, int]
    records: list[Record]


@dataclass(frozen=True)
class Table:
    name: str
    title: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


_TITLES: Final = {
    "decode": (
        "decode: frame bytes to Python objects",
        "Ratio to orjson.loads of the same bytes in the same rounds; below 1 is faster than orjson.",
    ),
    "decode, gc off": ("decode with the cyclic garbage collector off", "As above."),
    "variants": ("decode: other spellings of the same frames", "Ratio to orjson.loads of the same bytes."),
    "refuse": (
        "refuse: an invalid frame to an error in hand",
        "Ratio to orjson.loads of the same bytes. evcore's error carries all violations and a reply.",
    ),
    "encode": ("encode: Python objects to frame bytes", "Ratio to orjson.dumps of the same frame in the same rounds."),
    "encode, gc off": ("encode with the cyclic garbage collector off", "As above."),
    "check": (
        "check: the verdict on a payload of Python objects",
        "Ratio to jsonschema-rs collecting all errors; (!) marks the payload with one fault.",
    ),
}


def tables(document: Document) -> list[Table]:
    """Every table the document has the records for, the bars first."""
    records = document["records"]
    found = [_bars(records), _machine(document)]
    for bench in ("decode", "encode"):
        found.append(_ratios(bench, [r for r in records if r["bench"] == bench and r["gc"]]))
        found.append(_ratios(f"{bench}, gc off", [r for r in records if r["bench"] == bench and not r["gc"]]))
    found += [
        _ratios(bench, [r for r in records if r["bench"] == bench], tall=bench != "refuse")
        for bench in ("variants", "refuse", "check")
    ]
    found.append(_log([r for r in records if r["bench"] == "log"]))
    found.append(_route([r for r in records if r["bench"] == "route"]))
    found.append(_bus([r for r in records if r["bench"] == "bus"]))
    found.append(_imports([r for r in records if r["bench"] == "import"]))
    found.append(_memory([r for r in records if r["bench"] == "memory"]))
    return [table for table in found if table.rows]


def rich_table(table: Table) -> RichTable:
    """`table` for a terminal."""
    drawn = RichTable(
        title=table.title, caption=table.note, box=box.SIMPLE, title_justify="left", caption_justify="left"
    )
    for index, name in enumerate(table.header):
        drawn.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
    for row in table.rows:
        ours = row[0].startswith("evcore")
        drawn.add_row(*row, style="bold" if ours else None)
    return drawn


def markdown(table: Table) -> str:
    """`table` for a document."""
    lines = [
        f"**{table.title}**. {table.note}".rstrip(),
        "",
        "| " + " | ".join(table.header) + " |",
        "|---" + "|---:" * (len(table.header) - 1) + "|",
        *("| " + " | ".join(row) + " |" for row in table.rows),
    ]
    return "\n".join(lines)


def paste(document: Document, path: Path) -> list[str]:
    """Replace what stands between ``<!-- bench:NAME -->`` and ``<!-- /bench -->``; returns the names replaced.

    A marker with a name the document has no table for is left as it is.
    """
    drawn = {table.name: markdown(table) for table in tables(document)}
    done: list[str] = []

    def block(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in drawn:
            return match[0]
        done.append(name)
        return f"<!-- bench:{name} -->\n{drawn[name]}\n<!-- /bench -->"

    text = path.read_text("utf-8")
    path.write_text(re.sub(r"<!-- bench:(?P<name>[^>]+?) -->.*?<!-- /bench -->", block, text, flags=re.DOTALL), "utf-8")
    return done


def figure(value: float, places: int = 2) -> str:
    """Decimal places where they matter."""
    return f"{value:.{places}f}" if value < 10 else f"{value:,.0f}"


def _bars(records: Sequence[Record]) -> Table:
    rows = []
    for verdict in verdicts(records):
        bar = verdict.bar
        sign = "≥" if bar.at_least else "≤"
        rows.append(
            (
                bar.what,
                f"{sign} {bar.bound:g}{bar.unit}",
                f"{figure(verdict.figure, 3)}{bar.unit}",
                verdict.case,
                "met" if verdict.met() else "missed",
            )
        )
    return Table("bars", "The bars", "", ("what", "bar", "figure", "on", ""), tuple(rows))


def _machine(document: Document) -> Table:
    facts = {**document["machine"], "packages": ", ".join(f"{k} {v}" for k, v in document["versions"].items())}
    facts["measured"] = document["when"]
    return Table("machine", "The machine", "", ("what", "is"), tuple(facts.items()))


def _ratios(name: str, records: Sequence[Record], tall: bool = False) -> Table:
    """Contenders by frames (`tall`: frames by contenders); ratios, but the reference's cells are its times."""
    cases = list(dict.fromkeys((r["case"], r["variant"]) for r in records))
    cells = {(r["contender"], r["case"], r["variant"]): r for r in records}
    judges = {r["contender"]: r["judges"] for r in records}
    reference = next(iter(judges), "")
    grid = [("contender", "judges the schema", *(_case(*case) for case in cases))]
    for contender, how in judges.items():
        found = [cells.get((contender, *case)) for case in cases]
        if contender == reference:
            grid.append((f"{contender}, µs", how, *(figure(r["best"] / 1000) if r else "" for r in found)))
        else:
            grid.append((contender, how, *(figure(r["ratio"]) if r else "" for r in found)))
    header, *rows = list(zip(*grid, strict=True)) if tall else grid
    return Table(name, *_TITLES[name], tuple(header), tuple(tuple(row) for row in rows) if records else ())


def _case(case: str, variant: str) -> str:
    return {"plain": case, "invalid": f"{case} (!)"}.get(variant, f"{case}, {variant}")


def _log(records: Sequence[Record]) -> Table:
    makes = list(dict.fromkeys(r["case"] for r in records))
    cells = {(r["contender"], r["case"]): f"{figure(r['median'], 1)}" for r in records}
    contenders = dict.fromkeys(r["contender"] for r in records)
    rows = tuple((contender, *(cells[contender, make] for make in makes)) for contender in contenders)
    note = "Megabytes of log a second on one core, every frame judged; the file is in the system's cache."
    return Table("log", "log: a log file, checked", note, ("contender", *makes), rows)


def _route(records: Sequence[Record]) -> Table:
    cases = list(dict.fromkeys(r["case"] for r in records))
    cells = {(r["contender"], r["case"]): figure(r["best"]) for r in records}
    contenders = dict.fromkeys(r["contender"] for r in records)
    rows = tuple((case, *(cells.get((contender, case), "") for contender in contenders)) for case in cases)
    note = (
        "Microseconds a topic, best of the rounds; memory in bytes a filter, its text and value not counted. Topics "
        "are drawn at random: they hit one filter, none, or eight of which seven have wildcards."
    )
    return Table("route", "route: a topic to the filters that match it", note, ("filters", *contenders), rows)


def _bus(records: Sequence[Record]) -> Table:
    cells = {(r["contender"], r["case"], r["gc"]): figure(r["best"]) for r in records}
    contenders = dict.fromkeys(r["contender"] for r in records)
    rows = tuple(
        (
            f"{case}{'' if collect else ', gc off'}",
            *(cells.get((contender, case, collect), "") for contender in contenders),
        )
        for case, collect in dict.fromkeys((r["case"], r["gc"]) for r in records)
    )
    note = (
        "Microseconds an event, best of the rounds, its body not counted and queues emptied; memory in bytes a topic, "
        "everything counted."
    )
    return Table("bus", "bus: an event to those who listen", note, ("who listens", *contenders), rows)


def _imports(records: Sequence[Record]) -> Table:
    rows = tuple((r["contender"], f"`{r['case']}`", f"{r['best']:.1f}", f"{r['median']:.1f}") for r in records)
    note = "Milliseconds of a fresh interpreter beyond `python -c pass`, bytecode cached."
    return Table("import", "import", note, ("contender", "statement", "best", "median"), rows)


def _memory(records: Sequence[Record]) -> Table:
    cells: dict[tuple[str, str], dict[str, Any]] = {}
    for record in records:
        cells.setdefault((record["contender"], record["case"]), {})[record["unit"]] = record
    rows = tuple(
        (contender, version, f"{found['ms']['best']:,.1f}", f"{found['kB']['median']:,.0f}")
        for (contender, version), found in cells.items()
    )
    note = "The schemas of every CALL of a version, read and compiled in a fresh process. evcore compiles on first use."
    return Table("memory", "memory: compiled schemas", note, ("contender", "version", "ms", "kB resident"), rows)
