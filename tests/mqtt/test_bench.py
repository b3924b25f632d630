"""The benches of the bridge run, and every message in them is counted; no figure of theirs is judged here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benches.mqtt import __main__ as bench
from benches.mqtt import latency, loss, memory, tables, throughput
from benches.mqtt.peers import EVCORE, EVCORE_NORMAL, OFF, PLAIN, PLAIN_20
from benches.server.client import WrongAnswer
from tests.mqtt.faults.faults import FAULTS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the client of the benches asks for epoll")


def quiet(_: str) -> None:
    pass


def test_every_way_brings_every_event_to_the_broker(tmp_path: Path) -> None:
    found = throughput.measure(throughput.SHORT, tmp_path, quiet, levels=(2,))
    assert [record["peer"] for record in found] == [EVCORE, EVCORE_NORMAL, PLAIN, PLAIN_20]
    assert all(record["count"] > 0 and record["cpu_us"] > 0 and record["payload"] > 100 for record in found)


def test_evcore_is_measured_without_its_collector_too(tmp_path: Path) -> None:
    effort = throughput.Effort(seconds=0.05, repeats=1, connections=2, collectors=(False,), rest=0.2)
    (record,) = throughput.measure(effort, tmp_path, quiet, names=(EVCORE,), levels=(1,))
    assert record["peer"] == EVCORE + OFF


def test_payloads_that_are_not_alike_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "_TOLERANCE", -1.0)
    with pytest.raises(WrongAnswer, match="not alike"):
        throughput.measure(throughput.SHORT, tmp_path, quiet, names=(PLAIN_20,), levels=(0,))


def test_a_message_takes_time(tmp_path: Path) -> None:
    found = latency.measure(latency.SHORT, tmp_path, quiet, names=(EVCORE, PLAIN_20), levels=(1,))
    for record in found:
        assert 0 < record["seen_ms"][0] <= record["seen_ms"][1]
        assert 0 < record["answered_ms"][0] <= record["answered_ms"][1]


def test_topics_weigh_something(tmp_path: Path) -> None:
    found = memory.measure(2_000, tmp_path, quiet, kinds=("bridge",))
    assert [record["topics"] for record in found] == [2_000]
    assert found[0]["again"] > found[0]["before"] > 0


def test_the_loss_table_is_run_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = next(case for case in FAULTS if case.name == "evcore killed and restarted")
    records = loss.measure(loss.SHORT, tmp_path, quiet, faults=[case], levels=(1,), ways=("serve", "forget"))
    document = tables.Document(machine={}, versions={}, commands={"loss": "again"}, when={"loss": "now"}, loss=records)
    page = tmp_path / "page.md"
    page.write_text("<!-- mqtt:loss -->\nstale\n<!-- /mqtt -->\n<!-- mqtt:memory -->\nkept\n<!-- /mqtt -->\n")
    assert tables.paste(document, page) == ["loss"]
    text = page.read_text()
    assert "evcore killed and restarted | 1 | 30 | 30 | 30 |" in text
    assert "stale" not in text
    assert "kept" in text


def test_figures_are_written_and_pasted_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, latest = tmp_path / "page.md", tmp_path / "latest.json"
    page.write_text("<!-- mqtt:memory -->\n<!-- /mqtt -->\n")
    monkeypatch.setattr(bench, "PAGE", page)
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    monkeypatch.setattr(bench, "LATEST", latest)
    record = memory.Record(kind="evcore", topics=10, before=2**20, after=2 * 2**20, again=2 * 2**20)
    monkeypatch.setattr(memory, "measure", lambda *_: [record])
    assert bench.main(["--only", "memory", "--pages"]) == 0
    assert "| evcore | 1.0 MiB | 2.0 MiB | 2.0 MiB | 104,858 bytes |" in page.read_text()
    assert json.loads(latest.read_text())["memory"] == [record]


def test_a_missing_broker_is_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("tests.mqtt.brokers.shutil.which", lambda *_, **__: None)
    assert bench.main(["--quick", "--loss"]) == 1
    assert "mosquitto was not found" in capsys.readouterr().err
