"""The benches: their frames are what they claim, their answers are checked, their gate fails when it should.

Verdicts on the frames come from `jsonschema` with the `ocpp` package's own schema files.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from benches import bars, gate, measure, ours, peers, report
from benches.backends import BACKENDS
from benches.frames import FAULTS, VARIANTS, Frame, compact, frames, variant
from benches.measure import Contender, Record, WrongAnswer
from benches.schemas import call_schema

ROOT = Path(__file__).parent.parent.parent
FRAMES = {frame.action: frame for frame in frames()}
SIZES = {
    "Heartbeat": 57,
    "StartTransaction": 160,
    "StatusNotification": 211,
    "BootNotification": 327,
    "TransactionEvent": 1038,
    "MeterValues": 1337,
    "SetChargingProfile": 1647,
    "NotifyReport": 20_500,
}
each_frame = pytest.mark.parametrize("frame", frames(), ids=lambda frame: frame.action)
each_variant = pytest.mark.parametrize("name", VARIANTS)


def errors(frame: Frame) -> list[tuple[str, str]]:
    """Keyword and pointer of every error that jsonschema finds."""
    validator = jsonschema.Draft4Validator(call_schema(frame.version, frame.action))
    return [
        (error.validator, "".join(f"/{step}" for step in error.absolute_path))
        for error in validator.iter_errors(frame.payload)
    ]


def test_frames_are_the_eight_that_are_promised() -> None:
    assert FRAMES.keys() == SIZES.keys()
    assert {frame.version for frame in FRAMES.values()} == {"ocpp1.6", "ocpp2.0.1"}
    assert len(FRAMES["MeterValues"].payload["meterValue"][0]["sampledValue"]) == 9
    schedule = FRAMES["SetChargingProfile"].payload["csChargingProfiles"]["chargingSchedule"]
    assert len(schedule["chargingSchedulePeriod"]) == 24
    assert len(FRAMES["NotifyReport"].payload["reportData"]) == 60


@each_frame
def test_frame_is_a_compact_call_of_its_size(frame: Frame) -> None:
    kind, message_id, action, _ = frame.value
    assert (kind, action) == (2, frame.action)
    assert 1 <= len(message_id) <= 36
    assert compact(frame.value) == frame.data
    assert len(frame.data) == pytest.approx(SIZES[frame.action], rel=0.1)


@each_frame
def test_frame_is_valid(frame: Frame) -> None:
    assert errors(frame) == []


@each_frame
@each_variant
def test_variant_is_valid_and_repeatable(frame: Frame, name: str) -> None:
    changed = variant(frame, name)
    assert errors(changed) == []
    assert changed == variant(frame, name)
    assert len(changed.value[1]) <= 36


@each_frame
def test_variants_change_what_they_say(frame: Frame) -> None:
    shuffled, pretty, text = (variant(frame, name) for name in ("shuffled", "pretty", "non-ascii"))
    assert shuffled.value == frame.value
    assert (shuffled.data != frame.data) is (len(frame.payload) > 1)
    assert pretty.value == frame.value
    assert b"\n  " in pretty.data
    assert not text.data.isascii()


@each_frame
def test_invalid_variant_has_the_one_fault_it_claims(frame: Frame) -> None:
    fault = FAULTS[frame.action]
    # jsonschema reports an unknown member at the object that has it.
    pointer = fault.pointer.rpartition("/")[0] if fault.keyword == "additionalProperties" else fault.pointer
    assert errors(variant(frame, "invalid")) == [(fault.keyword, pointer)]


def test_quick_run_measures_everybody_and_writes_the_figures(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "benches", "--quick", "--json", str(figures)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document: report.Document = json.loads(figures.read_text("utf-8"))
    records = document["records"]
    assert {record["bench"] for record in records} == {
        "decode", "variants", "refuse", "encode", "check", "log", "route", "bus", "import", "memory",
    }  # fmt: skip
    contenders = {record["contender"] for record in records if record["bench"] == "decode"}
    assert contenders >= {contender.name for contender in peers.decoders(FRAMES["Heartbeat"])}
    assert contenders >= {ours.NAMES[backend] for backend in BACKENDS}
    timed = {(record["case"], record["gc"]) for record in records if record["bench"] == "decode"}
    assert timed == {(action, collect) for action in FRAMES for collect in (True, False)}
    assert all(record["best"] > 0 for record in records if record["unit"] == "ns")
    drawn = {table.name for table in report.tables(document)}
    assert drawn >= {
        "bars",
        "machine",
        "decode",
        "encode",
        "variants",
        "refuse",
        "check",
        "log",
        "route",
        "bus",
        "import",
        "memory",
    }


@pytest.mark.parametrize("answer", [1.0, True, "1"])
def test_an_equal_number_of_another_type_is_a_wrong_answer(answer: Any) -> None:
    with pytest.raises(WrongAnswer):
        measure.check_answer(Contender("liar", lambda _: {"n": answer}), b"", {"n": 1})


def test_members_in_another_order_are_a_wrong_answer_unless_declared() -> None:
    truth = {"a": 1, "b": 2}
    with pytest.raises(WrongAnswer):
        measure.check_answer(Contender("sorter", lambda _: {"b": 2, "a": 1}), b"", truth)
    measure.check_answer(Contender("sorter", lambda _: {"b": 2, "a": 1}, ordered=False), b"", truth)


def test_a_judge_that_lets_an_invalid_frame_pass_is_found_out() -> None:
    lenient = Contender("lenient", json.loads, judges="yes", refuses=(ValueError,))
    with pytest.raises(WrongAnswer):
        measure.check_refusal(lenient, variant(FRAMES["Heartbeat"], "invalid").data)


def _cell(contender: str, case: str, ratio: float, best: float = 1000.0, bench: str = "decode") -> Record:
    return Record(
        bench=bench,
        case=case,
        variant="plain",
        contender=contender,
        judges="",
        gc=True,
        unit="ns",
        best=best,
        median=best,
        ratio=ratio,
        best_ratio=ratio,
    )


def test_a_bar_is_held_against_its_worst_frame() -> None:
    records = [_cell(ours.DECODE, "MeterValues", 0.6), _cell(ours.DECODE, "TransactionEvent", 0.71)]
    records += [_cell(peers.OCPP, "MeterValues", 180), _cell(peers.OCPP, "TransactionEvent", 0.71 * 199)]
    found = {verdict.bar.bound: verdict for verdict in bars.verdicts(records)}
    assert (found[0.70].figure, found[0.70].case, found[0.70].met()) == (0.71, "TransactionEvent", False)
    assert found[0.70].met(margin=0.08)
    assert (found[200].met(), found[200].met(margin=0.08)) == (False, True)
    assert found[200].figure == pytest.approx(199)
    assert 0.30 not in found


BASE = {"decode X, evcore": 1000, "decode X, orjson": 500}


@pytest.mark.parametrize(
    ("counts", "same_toolchain", "failed", "verdict"),
    [
        ({"decode X, evcore": 1029, "decode X, orjson": 900}, True, False, "ok"),
        ({"decode X, evcore": 1031, "decode X, orjson": 500}, True, True, "failed by 0.1%"),
        ({"decode X, evcore": 969, "decode X, orjson": 500}, True, False, "better: --rebaseline"),
        ({"decode X, evcore": 2100, "decode X, orjson": 1000}, False, False, "ok"),
        ({"decode X, evcore": 2300, "decode X, orjson": 1000}, False, True, "failed by 5.0%"),
        ({"decode X, orjson": 500}, True, True, "failed: --rebaseline if that is meant"),
    ],
)
def test_the_gate_compares_counts(counts: dict[str, int], same_toolchain: bool, failed: bool, verdict: str) -> None:
    (finding,) = gate.compare(BASE, counts, same_toolchain)
    assert (finding.failed, finding.verdict) == (failed, verdict)


def test_markdown_is_pasted_between_the_markers(tmp_path: Path) -> None:
    document = report.Document(
        when="today",
        machine={"processor": "one"},
        versions={"evcore": "1"},
        effort={},
        records=[_cell("orjson", "MeterValues", 1.0), _cell("evcore", "MeterValues", 0.6)],
    )
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- bench:decode -->\nold\n<!-- /bench -->\nb\n<!-- bench:memory -->\nkept\n<!-- /bench -->\n")
    assert report.paste(document, page) == ["decode"]
    text = page.read_text()
    assert "| evcore |  | 0.60 |" in text
    assert "old" not in text
    assert "kept" in text
    report.paste(document, page)
    assert page.read_text() == text
