"""The endpoint's rules as data, beside those of the boot gate in `boot`: what becomes of a CALL of the peer, how an own
CALL ends. The endpoint looks up what to do here; `draw` writes the same tables for docs/endpoint.md.

    python -m evcore.endpoint docs/endpoint.md      # renews what stands between the marks of that page
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

from evcore.endpoint.boot import OWN, PEER, STAGES, Role, Stage, Verdict

__all__ = ["CALLS", "ENDS", "WAITS", "End", "Ending", "Relation", "Treatment", "draw", "renew"]

#: How a CALL of the peer stands to those before it, in the order the questions are asked.
Relation: TypeAlias = Literal[
    "gated in silence",
    "same id and bytes as one at work or waiting",
    "same id as one at work or waiting, other bytes",
    "same id and bytes as one answered",
    "gated",
    "while the inbox is full",
    "same id and bytes as one at work for the connection before",
    "while another is at work",
    "new",
]


class Treatment(NamedTuple):
    """`event`: what the owner hears at once. `reply`: what is sent at once; `id in use` is ProtocolError in 1.6 and
    RpcFrameworkError in 2.x. `hand`: whether the CALL is handed out, now or in its turn.
    """

    event: Literal["Request", "Repeat", "Gated", None]
    reply: Literal["the answer given before", "InternalError", "SecurityError", "id in use", None]
    hand: Literal["now", "in its turn", "never, but answered in its turn", "never"]


CALLS: Final[dict[Relation, Treatment]] = {
    "gated in silence": Treatment("Gated", None, "never"),
    "same id and bytes as one at work or waiting": Treatment("Repeat", None, "never"),
    "same id as one at work or waiting, other bytes": Treatment(None, "id in use", "never"),
    "same id and bytes as one answered": Treatment("Repeat", "the answer given before", "never"),
    "gated": Treatment("Gated", "SecurityError", "never"),
    "while the inbox is full": Treatment(None, "InternalError", "never"),
    "same id and bytes as one at work for the connection before": Treatment(
        "Repeat", None, "never, but answered in its turn"
    ),
    "while another is at work": Treatment(None, None, "in its turn"),
    "new": Treatment("Request", None, "now"),
}

#: How an own CALL ends.
Ending: TypeAlias = Literal[
    "CALLRESULT", "CALLERROR", "unacceptable CALLRESULT", "unreadable answer", "no answer in time", "connection lost"
]


class End(NamedTuple):
    """`event`: what the owner hears. `later`: what another answer to it is called. `taken`: whether a transaction
    message leaves the outbox; None: it is sent again on the next connection, and this transmission is not counted.
    """

    event: str
    later: Literal["duplicate", "late", None]
    taken: bool | None


ENDS: Final[dict[Ending, End]] = {
    "CALLRESULT": End("Answer", "duplicate", True),
    "CALLERROR": End("Answer", "duplicate", False),
    "unacceptable CALLRESULT": End("Failure invalid", "duplicate", True),
    "unreadable answer": End("Failure invalid", "duplicate", False),
    "no answer in time": End("Failure timeout", "late", False),
    "connection lost": End("Failure lost", None, None),
}

#: How an own CALL ends that waits for its turn: it was not sent.
WAITS: Final[dict[str, str]] = {"patience is over": "Failure expired", "connection lost": "Failure lost"}


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [head, ["---"] * len(list(head)), *rows]
    return "\n".join(f"| {' | '.join('–' if cell is None else str(cell) for cell in line)} |" for line in lines) + "\n"


def _gate(table: Mapping[tuple[Role, str], Mapping[Stage, Verdict]]) -> str:
    return _table(["side", "mode or version", *STAGES], [[*key, *row.values()] for key, row in table.items()])


def _diagram(states: Mapping[str, str], arrows: Iterable[tuple[str, str, str]]) -> str:
    """A Mermaid state diagram: `states` are names and what they are called, arrows (from, to, why)."""
    lines = [f"{name}: {text}" for name, text in states.items()]
    lines += [f"{start} --> {end}: {why}" for start, end, why in arrows]
    return "\n".join(["```mermaid", "stateDiagram-v2", *(f"    {line}" for line in lines), "```"]) + "\n"


def _own_states() -> str:
    states = {"waits": "waits in the queue", "out": "is outstanding"}
    arrows = [("[*]", "waits", "ordered"), ("waits", "out", "none is outstanding and the gate is open")]
    arrows += [("waits", "[*]", f"{why} / {event}") for why, event in WAITS.items()]
    arrows += [("out", "[*]", f"{ending} / {end.event}") for ending, end in ENDS.items()]
    return _diagram(states, arrows)


def _peer_states() -> str:
    states = {"waits": "waits in the inbox", "work": "is at work", "over": "is over"}
    into = {"now": "work", "never": "over"}
    arrows = []
    for relation, treatment in CALLS.items():
        said = ", ".join(part for part in (treatment.event, treatment.reply) if part is not None)
        arrows.append(("[*]", into.get(treatment.hand, "waits"), f"{relation}{f' / {said}' if said else ''}"))
    arrows += [
        ("waits", "work", "those before it are answered / Request"),
        ("waits", "over", "the connection before has answered it / that answer"),
        ("waits", "over", "connection lost"),
        ("work", "over", "answer or refuse / CALLRESULT or CALLERROR"),
        ("work", "over", "connection lost, then answer or refuse / the answer, on the next connection that asks"),
    ]
    return _diagram(states, arrows)


def draw() -> dict[str, str]:
    """The tables and diagrams in Markdown, by the name of their marks."""
    taken = {True: "answered", False: "failed", None: "sent again, not counted"}
    return {
        "calls": _table(["a CALL of the peer is", "event", "reply", "handed out"], [[k, *v] for k, v in CALLS.items()]),
        "ends": _table(
            ["an own CALL ends by", "event", "a further answer is", "a transaction message is"],
            [[end, found.event, found.later, taken[found.taken]] for end, found in ENDS.items()],
        ),
        "peer": _gate(PEER),
        "own": _gate(OWN),
        "own-states": _own_states(),
        "peer-states": _peer_states(),
    }


def renew(page: str) -> str:
    """The page with the tables between its marks made anew. Raises ValueError when a table has no marks in it."""
    for name, table in draw().items():
        pattern = re.compile(rf"(<!-- table {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not pattern.search(page):
            raise ValueError(f"the page has no marks for the table {name}")
        page = pattern.sub(lambda found, table=table: f"{found[1]}{table}{found[2]}", page)  # type: ignore[misc]
    return page
