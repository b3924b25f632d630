"""docs/endpoint.md says what the endpoint's tables say, and its example runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from evcore.endpoint import boot, event, tables

PAGE = Path(__file__).resolve().parents[2] / "docs" / "endpoint.md"
TEXT = PAGE.read_text("utf-8")


def test_the_page_is_up_to_date() -> None:
    assert tables.renew(TEXT) == TEXT, "python -m evcore.endpoint docs/endpoint.md"


def test_every_row_is_there() -> None:
    drawn = tables.draw()
    assert set(tables.CALLS) == set(get_args(tables.Relation))
    assert set(tables.ENDS) == set(get_args(tables.Ending))
    for relation in tables.CALLS:
        assert f"| {relation} |" in drawn["calls"]
        assert relation in drawn["peer-states"]
    for ending in tables.ENDS:
        assert f"| {ending} |" in drawn["ends"]
        assert ending in drawn["own-states"]
    for name, table in (("peer", boot.PEER), ("own", boot.OWN)):
        for (role, family), row in table.items():
            assert f"| {role} | {family} | {' | '.join(row[stage] for stage in boot.STAGES)} |" in drawn[name]


def test_events_are_events() -> None:
    told = {end.event for end in tables.ENDS.values()} | {treatment.event for treatment in tables.CALLS.values()}
    for name in told | set(tables.WAITS.values()):
        kind, _, reason = (name or "Request").partition(" ")
        assert kind in event.__all__
        assert not reason or f"`{reason}`" in (event.Failure.__doc__ or "")


def test_a_page_without_marks_is_not_renewed() -> None:
    with pytest.raises(ValueError, match="calls"):
        tables.renew("nothing here")


def test_other_text_stays(tmp_path: Path) -> None:
    stale = re.sub(r"(<!-- table \S+ -->\n).*?(<!-- end -->)", r"\1stale\n\2", TEXT, flags=re.DOTALL)
    assert stale != TEXT
    page = tmp_path / "endpoint.md"
    page.write_text(stale, "utf-8")
    subprocess.run([sys.executable, "-m", "evcore.endpoint", str(page)], check=True, timeout=60)
    assert page.read_text("utf-8") == TEXT


def test_the_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(compile(example, str(PAGE), "exec"), {})
