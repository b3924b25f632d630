"""docs/mqtt.md against the code: topics, classes, retained messages, the table of single values.

The table is drawn here: where the page's differs, the failure shows what belongs there.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from evcore.mqtt.publisher.flat import FIELDS
from evcore.mqtt.publisher.options import CLASS_QOS, RETAINED, PublishOptions
from evcore.mqtt.topics import TopicOptions

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "mqtt.md").read_text("utf-8")


def test_single_values() -> None:
    rows = ["| field | unit | class | |", "|---|---|---|---|"]
    rows += [f"| `{one.name}` | {one.unit or ''} | {one.qos_class} | {one.meaning} |" for one in FIELDS]
    found = re.search(r"<!-- fields -->\n(.*?)\n<!-- end -->", PAGE, re.DOTALL)
    assert found is not None
    assert found[1] == "\n".join(rows)


@pytest.mark.parametrize("name", sorted({*RETAINED, "command", "result", "raw_call"}))
def test_topics(name: str) -> None:
    template = getattr(TopicOptions(), name)
    (row,) = re.findall(rf"^\|.*\| `{re.escape(template)}` \(`{name}`.*\).*$", PAGE, re.MULTILINE)
    retained = row.split("|")[3].strip()
    assert retained == ("yes" if RETAINED.get(name) else "")


def test_qos() -> None:
    assert CLASS_QOS == {"telemetry": 0, "status": 1, "command": 1, "billing": 2}
    assert "telemetry 0, status and command 1, billing 2" in PAGE


def test_bounds() -> None:
    options = PublishOptions(node="n")
    for value, words in (
        (options.values_waiting, "topics"),
        (options.most_connectors, "connectors"),
        (options.most_stations, "stations"),
    ):
        assert f"{value:,} {words}" in PAGE
