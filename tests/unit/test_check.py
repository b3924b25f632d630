"""`evcore check` through the real command: what it prints, what it says to machines, how it ends.

The linter's own rules are tested in test_log.py.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import evcore
from evcore.check import Log, Options, Report, Source, Unreadable, screen
from evcore.check.lint import linter_for
from evcore.errors import Violation
from evcore.net.message_log import FRAME_CHARS, MessageLog

PACKAGE = Path(evcore.__file__).parents[1]
SECRET = "04A1B2C3D4E5F6-SECRET"

BOOT_16 = '[2,"1","BootNotification",{"chargePointVendor":"Acme","chargePointModel":"One"}]'
BOOT_2 = '[2,"1","BootNotification",{"reason":"PowerUp","chargingStation":{"vendorName":"Acme","model":"Two"}}]'
HEARTBEAT = '[2,"2","Heartbeat",{}]'
LATE = '[3,"2",{"currentTime":"yesterday"}]'
AUTHORIZE = f'[2,"3","Authorize",{{"idTag":"{SECRET}"}}]'
TORN = '[2,"4","Heart'
STARTED = {
    "eventType": "Started",
    "timestamp": "2026-01-01T00:00:00Z",
    "triggerReason": "Authorized",
    "seqNo": 0,
    "transactionInfo": {"transactionId": "t"},
}
TRANSACTION = json.dumps([2, "6", "TransactionEvent", STARTED])


def check(*arguments: str | Path, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE), "PYTHONIOENCODING": "utf-8", "TERM": "dumb"}
    return subprocess.run(
        [sys.executable, "-m", "evcore", "check", *map(str, arguments)],
        input=given,
        capture_output=True,
        env=environment,
        timeout=60,
        check=False,
    )


def document(*arguments: str | Path, given: bytes = b"") -> tuple[int, Any]:
    done = check("--json", *arguments, given=given)
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "station.log"
    path.write_text("".join(f"{frame}\n" for frame in (BOOT_16, HEARTBEAT, LATE, AUTHORIZE, AUTHORIZE, TORN)), "utf-8")
    return path


# What is said


def test_tables_name_action_place_keyword_count_and_example(log: Path) -> None:
    done = check(log)
    said = done.stdout.decode()
    assert (done.returncode, done.stderr) == (1, b"")
    assert "ocpp1.6 by the look of it; 6 lines, 6 frames (4 calls, 1 results, 1 bad)" in said
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines() if "│" in line]
    assert rows[:3] == [
        ["2", "Authorize", "/idTag", "maxLength", "is longer than 20 characters", f"{log}:4"],
        ["1", "Heartbeat (result)", "/currentTime", "format", "is not a valid date-time", f"{log}:3"],
        ["1", "(no frame)", "", "json", "frame is not JSON", f"{log}:6"],
    ]
    assert rows[3:] == [
        ["Acme", "One", "1", "6", "4", "2 × Authorize /idTag is longer than 20 characters"],
    ]
    assert said.endswith("3 violations in 3 of 6 frames, 1 bad frames\n")


def test_values_are_shown_only_when_asked_for(log: Path) -> None:
    for arguments in ((log,), (log, "--json")):
        assert SECRET not in check(*arguments).stdout.decode()
        assert SECRET in check(*arguments, "--values").stdout.decode()


def test_json_document(log: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.log"
    other.write_text(f"{BOOT_16}\n{AUTHORIZE}\n")
    status, found = document(log, other)
    assert status == 1
    assert found.keys() == {
        *("schema", "counts", "seconds", "files", "skipped", "findings", "findings_left_out", "makers"),
    }
    assert found["schema"] == 1
    assert found["counts"] == {
        "bytes": log.stat().st_size + other.stat().st_size, "lines": 8, "long_lines": 0, "frames": 8, "calls": 6,
        "results": 1, "errors": 0, "sends": 0, "unpaired": 0, "bad_frames": 1, "violating": 4, "violations": 4,
        "cut": 0, "further": 0,
    }  # fmt: skip
    assert [(file["file"], list(file["versions"]), file["guessed"]) for file in found["files"]] == [
        (str(log), ["ocpp1.6"], True),
        (str(other), ["ocpp1.6"], True),
    ]
    assert [file["counts"]["violations"] for file in found["files"]] == [3, 1]
    assert found["findings"][0] == {
        "version": "ocpp1.6",
        "kind": "call",
        "action": "Authorize",
        "pointer": "/idTag",
        "keyword": "maxLength",
        "code": "PropertyConstraintViolation",
        "message": "is longer than 20 characters",
        "count": 3,
        "example": {"file": str(log), "line": 4},
        "makers": [{"vendor": "Acme", "model": "One", "count": 3}],
    }
    assert [finding["kind"] for finding in found["findings"]] == ["call", "result", "frame"]
    assert found["findings"][2]["action"] is None
    assert found["findings_left_out"] == 0
    assert found["makers"] == [{"vendor": "Acme", "model": "One", "stations": 2, "frames": 8, "bad": 5}]
    assert found["skipped"] == []


def test_the_most_frequent_findings_are_kept(log: Path) -> None:
    _, found = document(log, "--max-findings", "1")
    assert [finding["action"] for finding in found["findings"]] == ["Authorize"]
    assert found["findings_left_out"] == 2
    assert "and 2 further kinds of findings" in check(log, "--max-findings", "1").stdout.decode()


def test_a_log_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    hostile = tmp_path / "hostile.log"
    hostile.write_text('[2,"1","\\u001b]0;owned\\u0007\\u202e[red]x[/red]",{}]\n')
    said = check(hostile).stdout.decode()
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert "\\x1b]0;owned\\x07\\u202e[red]x[/red]" in said


# How it ends


@pytest.mark.parametrize(
    ("frames", "arguments", "status"),
    [
        ([HEARTBEAT], [], 0),
        ([], [], 0),
        ([AUTHORIZE], [], 1),
        ([AUTHORIZE], ["--fail-on", "frame"], 0),
        ([AUTHORIZE], ["--fail-on", "none"], 0),
        ([TORN], [], 1),
        ([TORN], ["--fail-on", "frame"], 1),
        ([TORN], ["--fail-on", "none"], 0),
        ([HEARTBEAT, LATE], [], 1),
        ([HEARTBEAT, LATE], ["--no-formats"], 0),
        ([HEARTBEAT, LATE], ["--open-calls", "1"], 1),
        ([BOOT_16, HEARTBEAT, '[3,"1",{}]'], ["--open-calls", "1"], 0),
        ([HEARTBEAT], ["--max-frame", "10"], 1),
        ([HEARTBEAT], ["--version", "1.5"], 2),
        ([HEARTBEAT], ["--open-calls", "0"], 2),
        ([HEARTBEAT], ["--no-such-option"], 2),
    ],
)
def test_exit_status(tmp_path: Path, frames: list[str], arguments: list[str], status: int) -> None:
    path = tmp_path / "a.log"
    path.write_text("\n".join(["first line", *frames]))
    assert check(path, *arguments).returncode == status


def test_without_a_file_it_was_called_wrongly() -> None:
    assert check().returncode == 2


def _broken_gzip(path: Path) -> None:
    whole = gzip.compress((HEARTBEAT + "\n").encode() * 50_000)
    path.write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("name", "make", "sentence"),
    [
        ("missing.log", lambda path: None, "cannot be read: No such file or directory"),
        ("folder", Path.mkdir, "is a directory: name the files in it"),
        ("binary.log", lambda path: path.write_bytes(bytes(range(256)) * 10), "is not a text file"),
        ("not.gz", lambda path: path.write_text(HEARTBEAT), "cannot be read on: Not a gzipped file"),
        ("half.gz", _broken_gzip, "cannot be read on: Compressed file ended"),
    ],
)
def test_what_cannot_be_read_gets_a_sentence_and_the_rest_is_read(
    tmp_path: Path, log: Path, name: str, make: Any, sentence: str
) -> None:
    path = tmp_path / name
    make(path)
    done = check(path, log)
    assert done.returncode == 2
    assert done.stderr.decode().startswith(f"evcore: {path} {sentence}")
    assert done.stderr.count(b"\n") == 1
    assert "Authorize" in done.stdout.decode()
    status, found = document(path, log)
    assert (status, len(found["skipped"]), len(found["files"])) == (2, 1, 1)


def test_a_name_no_file_can_have_gets_a_sentence() -> None:
    with pytest.raises(Unreadable, match=r"cannot be read: embedded null (byte|character)"):
        Source("nul\0.log")


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_gets_a_sentence(log: Path) -> None:
    log.chmod(0)
    done = check(log)
    assert (done.returncode, b"Permission denied" in done.stderr) == (2, True)


@pytest.mark.parametrize(("content", "sentence"), [("", "is empty"), ("no frames\nat all\n", "holds no frames")])
def test_nothing_to_judge_gets_a_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "a.log"
    path.write_text(content)
    done = check(path)
    assert (done.returncode, done.stderr.decode()) == (0, f"evcore: {path} {sentence}\n")
    assert done.stdout.decode().endswith("no frames found\n")


def test_a_log_with_some_nuls_is_text(tmp_path: Path) -> None:
    """What a crash leaves where a file system had made room already."""
    path = tmp_path / "a.log"
    path.write_bytes(f"{HEARTBEAT}\n".encode() * 50 + b"\0" * 100 + f"\n{AUTHORIZE}\n".encode())
    assert document(path)[1]["counts"]["frames"] == 51


# Where logs come from


def test_standard_input_and_gzip(tmp_path: Path, log: Path) -> None:
    zipped = tmp_path / "station.log.gz"
    zipped.write_bytes(gzip.compress(log.read_bytes()))
    _, plain = document(log)
    _, given = document("-", given=log.read_bytes())
    _, unzipped = document(zipped)
    assert plain["counts"] == given["counts"] == unzipped["counts"]
    assert given["files"][0]["file"] == "standard input"
    assert unzipped["findings"][0]["example"] == {"file": str(zipped), "line": 4}


def test_a_line_without_end_is_not_taken_into_memory(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    zipped = tmp_path / "bomb.gz"
    with gzip.open(zipped, "wb", compresslevel=1) as file:
        for _ in range(300):
            file.write(b"x" * 1_000_000)
        file.write(f"\n{HEARTBEAT}\n".encode())
    # A process whose only child is the command: what that took at most is not mixed with what others took.
    measured = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], capture_output=True)\n"
        "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, flush=True)\n"
        "sys.stdout.buffer.write(done.stdout)"
    )
    command = [sys.executable, "-m", "evcore", "check", "--json", "--version", "1.6", str(zipped)]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    done = subprocess.run(
        [sys.executable, "-c", measured, *command], capture_output=True, env=environment, timeout=60, check=True
    )
    said, _, found = done.stdout.partition(b"\n")
    status, peak = map(int, said.split())
    counts = json.loads(found)["counts"]
    assert (status, counts["long_lines"], counts["frames"], counts["lines"]) == (1, 1, 1, 2)
    # Kilobytes on Linux, bytes on macOS.
    assert peak / (1024 if sys.platform == "darwin" else 1) < 200_000


# The version


def test_each_station_has_a_version_of_its_own(tmp_path: Path) -> None:
    old, new, both = tmp_path / "old", tmp_path / "new", tmp_path / "both"
    bad = '[2,"9","Authorize",{}]'
    old.write_text(f"{BOOT_16}\n{AUTHORIZE}")
    new.write_text(f"{BOOT_2}\n" * 10 + bad)
    both.write_text(
        "".join(f"A: send {BOOT_16}\nB: send {BOOT_2}\n" for _ in range(5)) + f"B: send {bad}\nA: send {AUTHORIZE}"
    )
    _, found = document(old, new, both)
    assert [file["versions"] for file in found["files"]] == [
        {"ocpp1.6": 2},
        {"ocpp2.0.1": 11},
        {"ocpp1.6": 6, "ocpp2.0.1": 6},
    ]
    assert {(finding["version"], finding["keyword"], finding["count"]) for finding in found["findings"]} == {
        ("ocpp1.6", "maxLength", 2),
        ("ocpp2.0.1", "required", 2),
    }
    assert "┃ version " not in check(old).stdout.decode()
    said = check(both).stdout.decode()
    assert "┃ version " in said
    assert f"{both}: ocpp1.6 (6 frames), ocpp2.0.1 (6 frames) by the look of it; " in said


def test_a_version_given_is_not_guessed(log: Path) -> None:
    _, found = document(log, "--version", "2.0.1")
    assert [(file["versions"], file["guessed"]) for file in found["files"]] == [({"ocpp2.0.1": 6}, False)]
    assert found["counts"]["violating"] == 4


# The screen


def test_every_number_on_the_screen_is_the_report_s() -> None:
    counts = dict.fromkeys(linter_for(Options()).counts, 0)
    counts |= {"bytes": 2_000_000, "lines": 1234, "frames": 1000, "calls": 900, "sends": 100, "unpaired": 7, "cut": 3}
    counts |= {"violations": 12, "violating": 11, "bad_frames": 2, "long_lines": 1, "further": 5}
    unknown = Violation("NotImplemented", "", "action", None, "is not an action of ocpp2.1")
    finding = (
        "ocpp2.1",
        None,
        "call",
        "X",
        unknown.pointer,
        unknown.keyword,
        unknown.code,
        unknown.message,
        12,
        5,
        None,
    )
    report = Report()
    report.add(Log("a.log", {"ocpp2.1": 1000}, False, counts, 0.5, [finding], []))
    assert list(screen.lines(report)) == [
        (
            "a.log: ocpp2.1; 1,234 lines, 1,000 frames (900 calls, 100 sends, 2 bad), 7 results without their call, "
            "3 frames cut by the log; 2.0 MB in 0.50 s, 4 MB/s"
        )
    ]
    assert screen.verdict(report) == ("12 violations in 11 of 1,000 frames, 2 bad frames, 1 lines too long to be read")
    assert len(list(screen.tables(report, 10))) == 2
    report.add(Log("b.log", {"ocpp2.1": 1000}, False, counts, 0.5, [finding], []))
    assert list(screen.lines(report))[-1].startswith("2 logs: 2,468 lines, 2,000 frames")
    assert [(found.file, found.count) for found in report.findings] == [("a.log", 24)]


# evcore's own log


def test_the_message_log_of_the_server_is_clean(tmp_path: Path) -> None:
    """What `evcore serve` writes, secrets masked and long frames cut, is read without a finding."""
    path = tmp_path / "messages.jsonl"
    messages = MessageLog(path)
    token = '[2,"7","Authorize",{"idTag":"04A1B2C3"}]'
    long = json.dumps([2, "8", "DataTransfer", {"vendorId": "v", "data": "x" * FRAME_CHARS}])
    for station, boot in (("CP1", BOOT_16), ("CP2", BOOT_2)):
        for frame in (boot, token if boot is BOOT_16 else TRANSACTION, HEARTBEAT, long):
            messages.write("in", station, frame.encode())
        messages.write("out", station, b'[3,"2",{"currentTime":"2026-01-01T00:00:00Z"}]')
    messages.close()
    status, found = document(path)
    assert (status, found["findings"]) == (0, [])
    assert found["files"][0]["versions"] == {"ocpp1.6": 4, "ocpp2.0.1": 4}
    assert (found["counts"]["cut"], found["counts"]["unpaired"]) == (2, 0)
    assert [(maker["model"], maker["stations"]) for maker in found["makers"]] == [("One", 1), ("Two", 1)]
