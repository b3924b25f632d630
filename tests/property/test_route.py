"""The router against an oracle that compares lists of levels, against other libraries, in threads, and at its limits.

The oracle shares nothing with either backend: it splits, it compares, it knows no tree.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evcore import Router, TopicError
from evcore.route import router_class

Make = Callable[..., Router]

WORDS = ["", "a", "b", "é", "$x", "$SYS", "{", "a level too long to be kept in place"]


@pytest.fixture(scope="module")
def make(backend: Any) -> Make:
    return router_class(backend)


def fits(pattern: str, topic: str) -> bool:
    """The oracle."""
    wanted, levels = pattern.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    if wanted[-1] == "#":
        del wanted[-1]
        if len(levels) < len(wanted):
            return False
        del levels[len(wanted) :]
    return len(wanted) == len(levels) and all(want in ("+", level) for want, level in zip(wanted, levels, strict=True))


topics = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map("/".join).filter(bool)
filters = st.builds(
    lambda levels, rest: "/".join([*levels, *rest]),
    st.lists(st.sampled_from([*WORDS, "+", "+", "+"]), max_size=4),
    st.sampled_from([[], [], ["#"]]),
).filter(bool)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("add"), filters, st.integers(0, 2)),
        st.tuples(st.just("remove"), st.integers(0, 1_000), st.just(0)),
        st.tuples(st.just("match"), topics, st.just(0)),
    ),
    max_size=60,
)


@given(actions=actions)
@settings(max_examples=300, deadline=None)
def test_a_life_against_the_oracle(make: Make, actions: list[tuple[str, Any, int]]) -> None:
    router = make(captures=False)
    model: list[tuple[str, int]] = []
    for action, what, value in actions:
        if action == "add":
            router.add(what, value)
            model.append((what, value))
        elif action == "remove" and model:
            pair = model[what % len(model)]
            model.remove(pair)
            router.remove(*pair)
            assert (pair in router) == (pair in model)
        elif action == "match":
            expected = [value for pattern, value in model if fits(pattern, what)]
            assert router.match(what) == expected
            assert router.match(what.encode()) == expected
            found = [(route.filter, route.value) for route in router.routes(what)]
            assert found == [pair for pair in model if fits(pair[0], what)]
        assert list(router) == model
        assert len(router) == len(model)


def is_filter(text: str) -> bool:
    """The rules once more, as one reads them aloud (without $share)."""
    levels = text.split("/")
    return (
        0 < len(text.encode("utf-8", "surrogatepass")) <= 65_535
        and "\0" not in text
        and not any("\ud800" <= character <= "\udfff" for character in text)
        and not any(len(level) > 1 and ("+" in level or "#" in level) for level in levels)
        and "#" not in levels[:-1]
    )


@given(text=st.text(st.sampled_from("/+#$a\0é\ud800\U0001f50c"), max_size=6))
@settings(max_examples=500, deadline=None)
def test_what_is_a_filter_and_what_a_topic(make: Make, text: str) -> None:
    router = make(captures=False)
    if is_filter(text):
        router.add(text, 1)
        assert list(router) == [(text, 1)]
    else:
        with pytest.raises(TopicError):
            router.add(text, 1)
        assert len(router) == 0
    if is_filter(text) and not {"+", "#"} & set(text):
        assert router.match(text) == [1]
    else:
        with pytest.raises(TopicError):
            router.match(text)


def test_as_many_levels_as_bytes_allow(make: Make) -> None:
    """65,536 levels: nothing recurses, neither to add nor to match, to remove nor to go."""
    deep = "/" * 65_535
    router = make()
    router.add(deep, "exact")
    router.add("/" * 32_766 + "+/" + "/" * 32_766 + "#", "wild")
    router.add("#", "all")
    assert router.match(deep) == ["exact", "wild", "all"]
    assert router.routes(deep.encode())[1].value == "wild"
    assert next(iter(router)) == (deep, "exact")
    router.remove(deep, "exact")
    assert router.match(deep) == ["wild", "all"]
    del router


@pytest.mark.parametrize(
    "pattern",
    [
        "+/" * 32_766 + "a+",
        "/" * 65_533 + "a#",
        "$share/g/" + "/" * 65_524 + "+a",
        "/".join(f"{{n{index}}}" for index in range(8_000)) + "/{n0}",
        "{{" * 32_767 + "{",
    ],
    ids=["plus", "hash", "share", "captures", "braces"],
)
def test_invalid_filters_of_full_length_are_refused(make: Make, pattern: str) -> None:
    """The fault is at the end. No rule costs more than a walk over the text; the time-out is for one that does."""
    with pytest.raises(TopicError):
        make().add(pattern, 1)


def test_threads_match_while_others_change(make: Make) -> None:
    """What is there all the time is found all the time, in order; in the end nothing is left of the rest."""
    router = make()
    steady = ["a/#", "a/+/c", "a/b/c", "+/b/+"]
    for value, pattern in enumerate(steady):
        router.add(pattern, value)
    stop = Event()
    interval = sys.getswitchinterval()

    def change(seed: int) -> None:
        dice = random.Random(seed)
        mine: list[str] = []
        for _ in range(1_500):
            if dice.random() < 0.5 or not mine:
                mine.append(dice.choice(["a/b/c", "a/b", "a/b/c/d", "a/+/c", "#", f"a/{seed}", "x/y/z"]))
                router.add(mine[-1], 100 + seed)
            else:
                router.remove(mine.pop(dice.randrange(len(mine))), 100 + seed)
        for pattern in mine:
            router.remove(pattern, 100 + seed)

    def look() -> int:
        times = 0
        while not stop.is_set() or not times:
            found = [value for value in router.match("a/b/c") if value < 100]
            assert found == [0, 1, 2, 3]
            assert [pair for pair in router if pair[1] < 100] == list(zip(steady, range(4), strict=True))
            times += 1
        return times

    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(6) as pool:
            looking = [pool.submit(look) for _ in range(3)]
            changing = [pool.submit(change, seed) for seed in range(3)]
            try:
                for task in changing:
                    task.result()
            finally:
                stop.set()
            assert all(task.result() for task in looking)
    finally:
        sys.setswitchinterval(interval)
    assert list(router) == list(zip(steady, range(4), strict=True))
    assert router.match("a/b/c") == [0, 1, 2, 3]
    assert router.match("x/y/z") == []


def test_threads_remove_each_value_once(make: Make) -> None:
    router = make()
    said: list[str] = []
    for _ in range(400):
        router.add("a/+", 1)
    interval = sys.getswitchinterval()

    def remove(_: int) -> int:
        times = 0
        while True:
            try:
                router.remove("a/+", 1)
            except KeyError as error:
                said.append(str(error))
                return times
            times += 1

    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(remove, range(4))) == 400
    finally:
        sys.setswitchinterval(interval)
    assert (len(router), router.match("a/b")) == (0, [])
    assert all("no such value" in sentence for sentence in said)


# Other libraries. Where they differ from the specification, and so from the router, is listed, not looked away from.


@given(pool=st.lists(filters, max_size=12, unique=True), topic=topics)
@settings(max_examples=300, deadline=None)
def test_like_paho(make: Make, pool: list[str], topic: str) -> None:
    """paho-mqtt's `MQTTMatcher`: a tree, unordered."""
    matcher = pytest.importorskip("paho.mqtt.matcher").MQTTMatcher()
    router = make(captures=False)
    for pattern in pool:
        router.add(pattern, pattern)
        matcher[pattern] = pattern
    assert sorted(router.match(topic)) == sorted(matcher.iter_match(topic))


def aiomqtt_deviates(pattern: str, topic: str) -> bool:
    """aiomqtt 2.5: a leading `#` or `+` matches topics that begin with `$`; `$share/g/` it takes off too."""
    return topic.startswith("$") and pattern[0] in "+#"


@given(pattern=filters, topic=topics)
@settings(max_examples=500, deadline=None)
def test_like_aiomqtt(make: Make, pattern: str, topic: str) -> None:
    aiomqtt = pytest.importorskip("aiomqtt")
    router = make(captures=False)
    router.add(pattern, 1)
    theirs = aiomqtt.Topic(topic).matches(pattern)
    if not aiomqtt_deviates(pattern, topic):
        assert router.match(topic) == [1] * theirs
    else:
        assert router.match(topic) == []


def test_where_others_are_known_to_deviate(make: Make) -> None:
    """Each of these fails on the day the other library changes its ways; then the list above changes too."""
    aiomqtt = pytest.importorskip("aiomqtt")
    matcher = pytest.importorskip("paho.mqtt.matcher").MQTTMatcher
    assert aiomqtt.Topic("$SYS/a").matches("#")
    assert aiomqtt.Topic("a" * 60_000 + "é" * 5_000).matches("#"), "counts characters, not bytes"
    assert aiomqtt.Topic("a\0").matches("+")
    with pytest.raises(RecursionError):
        aiomqtt.Topic("a/" * 1_000 + "b").matches("a/" * 1_000 + "+")
    theirs = matcher()
    theirs["fo+o"] = theirs["$share/g/a"] = theirs["a/" * 1_000 + "+"] = 1
    assert list(theirs.iter_match("a")) == [], "no shared subscriptions"
    assert list(theirs.iter_match("fo+o")) == [1], "filters and topics are not checked"
    with pytest.raises(RecursionError):
        list(theirs.iter_match("a/" * 1_000 + "b"))
