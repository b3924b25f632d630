"""Properties of topics made of names from outside: one level each, never shared, read back exactly."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evcore.mqtt.publisher.discovery import object_id
from evcore.mqtt.topics import TopicOptions, Topics
from evcore.route import Router

NAMES = st.one_of(
    st.text(min_size=1, max_size=40),
    st.text(alphabet="/+#$% \0\x7f%2Fa\ud800é", min_size=1, max_size=12),
    st.from_regex(r"%[0-9A-Fa-f]{2}", fullmatch=True),
)
TOPICS = Topics(TopicOptions(prefix="p"))
ROUTER = Router(controls="refuse", forbidden=" ")
ROUTER.add(TOPICS.command_filter, "command")
ROUTER.add(TOPICS.raw_call_filter, "call")


@given(NAMES)
def test_round_trip(station: str) -> None:
    assert TOPICS.command_station(TOPICS.command(station)) == station
    assert TOPICS.raw_call_station(TOPICS.raw_call(station)) == station
    assert ROUTER.match(TOPICS.command(station)) == ["command"]
    assert ROUTER.match(TOPICS.raw_call(station)) == ["call"]


@given(NAMES, NAMES)
def test_different_names_share_no_topic(one: str, other: str) -> None:
    assert (TOPICS.status(one) == TOPICS.status(other)) == (one == other)
    assert (object_id(one) == object_id(other)) == (one == other)


@given(st.tuples(NAMES, NAMES, NAMES, NAMES), st.tuples(NAMES, NAMES, NAMES, NAMES))
def test_devices_share_no_topic(one: tuple[str, str, str, str], other: tuple[str, str, str, str]) -> None:
    assert TOPICS.device(*one).count("/") == 5
    assert (TOPICS.device(*one) == TOPICS.device(*other)) == (one == other)


@given(st.text(max_size=80))
def test_what_is_read_is_what_was_written(topic: str) -> None:
    """No other topic names a station: what is not written exactly so is nobody's."""
    for full in (topic, f"p/chargers/{topic}/command"):
        station = TOPICS.command_station(full)
        assert station is None or TOPICS.command(station) == full
