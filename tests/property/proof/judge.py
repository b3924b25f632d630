"""One case through every way into the codec, against the oracles.

In: a document for one schema. It is decoded as a frame (eager, lazy, snake names, formats off), checked as Python
objects, encoded again; every answer must be exactly what the oracles' findings become by the contract's tables.
"""

from __future__ import annotations

import json
from collections import Counter
from random import Random
from typing import Any

from evcore import FrameError, Limits, PayloadError, Violation
from evcore.names import snake
from proof import contract, oracle
from proof.backends import make
from proof.document import Style, same, value, write
from proof.inventory import FRAME_KIND, Entry, Schema

STYLED = 20_000
"""Longer texts are written compactly only: escaped, they would outgrow the codec's default limits."""
MESSAGE_ID = "c0ffee-\u00e9"


def renamed(node: Any, schema: Schema | None) -> Any:
    """The value as ``names="snake"`` shows it: names of the schemas change, nothing else does."""
    if isinstance(node, list):
        return [renamed(child, (schema or {}).get("items")) for child in node]
    if not isinstance(node, dict):
        return node
    properties = (schema or {}).get("properties", {})
    return {snake(k) if k in properties else k: renamed(v, properties.get(k)) for k, v in node.items()}


LIMITS = Limits(frame_bytes=1 << 22)
"""The longest payloads of 2.1 are beyond the default of 1 MiB."""


class Judge:
    """Counts what it has judged, and keeps each disagreement with its frame."""

    def __init__(self, backend: str, stock_every: int) -> None:
        self._backend = backend
        self._stock_every = stock_every
        self.cases = 0
        self.checks = 0
        self.valid = 0
        self.reasons: Counter[str] = Counter()
        self.disagreements: list[str] = []

    def judge(self, entry: Entry, document: Any, what: str, rng: Random) -> None:
        """Every way in; `what` names the case in `disagreements`."""
        text = write(document)
        if len(text) > LIMITS.frame_bytes // 4:
            return
        if rng.random() < 0.3 and len(text) < STYLED:
            text = write(document, Style(rng))
        self.cases += 1
        try:
            self._judge(entry, document, text, what, rng)
        except (AssertionError, FrameError, PayloadError) as difference:
            case = f"{entry}, {what}: {_frame(entry, text)!r:.2000}"
            self.disagreements.append(f"{case}\n  {type(difference).__name__}: {difference!s:.2000}")

    def _judge(self, entry: Entry, document: Any, text: str, what: str, rng: Random) -> None:
        judged = oracle.prepare(entry.inlined, {} if document is None else document)
        findings = oracle.exact(entry, judged)
        self._compare_oracles(entry, judged, findings, what)
        expected = oracle.expected(entry, judged, findings)
        self.valid += not expected
        self._decode(entry, document, text, expected, rng)
        if any(f.keyword == "format" for f in findings):
            without = oracle.expected(entry, judged, {f for f in findings if f.keyword != "format"})
            codec = make(self._backend, entry.version, limits=LIMITS, formats=False)
            error = _refusal(codec, _frame(entry, text), entry.action if entry.kind == "result" else None)
            self._agree(list(error.violations) if error else [], without)
        if document is not None and not judged.repeated:
            self._check(entry, document, expected)

    def _compare_oracles(self, entry: Entry, judged: oracle.Judged, findings: set[contract.Finding], what: str) -> None:
        judges = {"jsonschema-rs": oracle.rust}
        if self.cases % self._stock_every == 0:
            judges["jsonschema"] = oracle.stock
        for name, stock in judges.items():
            difference = oracle.plain(findings) ^ oracle.plain(stock(entry, judged))
            reasons = oracle.excused(difference, judged)
            assert reasons is not None, f"{name} differs without a listed reason: {entry}, {what}: {difference}"
            self.reasons.update(f"{name}: {reason}" for reason in reasons)

    def _agree(self, got: list[Violation], expected: list[Violation]) -> None:
        self.checks += 1
        assert got == expected, f"found {got}, due are {expected}"
        assert all(type(g.expected) is type(e.expected) for g, e in zip(got, expected, strict=True))

    def _decode(self, entry: Entry, document: Any, text: str, expected: list[Violation], rng: Random) -> None:
        plain = value(document) if document is not None else {}
        frame = _frame(entry, text)
        shapes = (frame, frame.decode(), bytearray(frame), memoryview(frame))
        codec, lazy, snakes = (
            make(self._backend, entry.version, limits=LIMITS, **o) for o in ({}, {"lazy": True}, {"names": "snake"})
        )
        action = entry.action if entry.kind == "result" else None
        self.checks += 3
        if expected:
            reply = contract.reply(entry.version, FRAME_KIND[entry.kind], MESSAGE_ID, entry.inlined, expected[0])
            for one in (codec, lazy, snakes):
                error = _refusal(one, rng.choice(shapes), action)
                assert error is not None, f"accepted, but should have found {expected}"
                self._agree(list(error.violations), expected)
                assert (error.code, error.reply) == (expected[0].code, reply)
                assert error.message.id == MESSAGE_ID
                if one is not snakes:
                    assert same(error.message.payload, plain)
            return
        for one, payload in ((codec, plain), (lazy, plain), (snakes, renamed(plain, entry.inlined))):
            message = one.decode(rng.choice(shapes), action)
            assert message.violations == ()
            assert message.raw == text.encode()
            assert same(message.payload, payload)
            assert message.id == MESSAGE_ID
            assert one.encode(message, action) == _frame(entry, contract.canonical(plain).decode())

    def _check(self, entry: Entry, document: Any, expected: list[Violation]) -> None:
        """The same payload as Python objects: a float stands for its decimal text, which may not be the document's."""
        plain = value(document)
        if (spelled := oracle.from_value(plain)) != document:
            judged = oracle.prepare(entry.inlined, spelled)
            expected = oracle.expected(entry, judged, oracle.exact(entry, judged))
        codec = make(self._backend, entry.version, limits=LIMITS)
        self._agree(codec.check(entry.action, plain, entry.kind), expected)
        if not expected or all(v.keyword != "additionalProperties" for v in expected):
            snakes = make(self._backend, entry.version, limits=LIMITS, names="snake")
            self._agree(snakes.check(entry.action, renamed(plain, entry.inlined), entry.kind), expected)

    def report(self) -> str:
        """One line for the end of the run."""
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(self.reasons.items()))
        return (
            f"{self._backend}: {self.cases} cases ({self.valid} valid, {self.cases - self.valid} not),"
            f" {self.checks} verdicts, {len(self.disagreements)} disagreements;"
            f" stock judges differ where listed: {reasons or 'never'}"
        )


def _frame(entry: Entry, payload: str) -> bytes:
    head: list[Any] = [FRAME_KIND[entry.kind], MESSAGE_ID]
    if entry.kind != "result":
        head.append(entry.action)
    return (json.dumps(head, ensure_ascii=False, separators=(",", ":"))[:-1] + "," + payload + "]").encode()


def _refusal(codec: Any, frame: Any, action: str | None) -> PayloadError | None:
    try:
        codec.decode(frame, action)
    except PayloadError as error:
        return error
    return None
