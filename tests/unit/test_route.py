"""The router, rule by rule: MQTT 3.1.1 and 5.0 §4.7, 5.0 §4.8.2, settings, calls from inside calls. Both backends."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from evcore import Route, Router, TopicError
from evcore.route import router_class

Make = Callable[..., Router]


@pytest.fixture(scope="module")
def make(backend: Any) -> Make:
    return router_class(backend)


def fits(make: Make, pattern: str, topic: str | bytes, **settings: Any) -> bool:
    router = make(**settings)
    router.add(pattern, "value")
    return router.match(topic) == ["value"]


def refused(call: Callable[..., Any], *arguments: Any) -> tuple[str, int | None]:
    with pytest.raises(TopicError) as caught:
        call(*arguments)
    assert str(caught.value)
    return caught.value.reason, caught.value.at


# The specification's rules


@pytest.mark.parametrize("topic", ["a/+", "+", "a+b", "#", "a/#", "a#"])
def test_topics_have_no_wildcards(make: Make, topic: str) -> None:
    """3.1.1 4.7.1-1, 5.0 4.7.0-1"""
    at = min(index for index, character in enumerate(topic) if character in "+#")
    assert refused(make().match, topic) == ("wildcard", at)
    assert refused(make().match, topic.encode()) == ("wildcard", at)


@pytest.mark.parametrize(
    ("pattern", "at"), [("a/#/b", 2), ("a#", 1), ("#a", 0), ("a/b#", 3), ("##", 0), ("#/", 0), ("sport/tennis#", 12)]
)
def test_hash_is_the_whole_last_level(make: Make, pattern: str, at: int) -> None:
    """3.1.1 4.7.1-2, 5.0 4.7.1-1"""
    assert refused(make().add, pattern, 1) == ("wildcard", at)


@pytest.mark.parametrize(("pattern", "at"), [("a+", 1), ("+a", 0), ("a/b+/c", 3), ("++", 0), ("a/+b", 2), ("é+", 1)])
def test_plus_is_a_whole_level(make: Make, pattern: str, at: int) -> None:
    """3.1.1 4.7.1-3, 5.0 4.7.1-2"""
    assert refused(make().add, pattern, 1) == ("wildcard", at)


@pytest.mark.parametrize(
    ("pattern", "topic", "fit"),
    [
        ("+", "a", True),
        ("+/+/+", "a/b/c", True),
        ("+/b/+", "a/b/c", True),
        ("a/+", "a/b/c", False),
        ("a/+/#", "a/b", True),
        ("a/+/#", "a", False),
        ("+/#", "a", True),
        # `a/#` matches its parent, §4.7.1.2.
        ("a/#", "a", True),
        ("a/b/#", "a/b", True),
        ("a/b/#", "a", False),
        ("a/#", "ab", False),
        ("#", "a/b/c", True),
        # Empty levels count, §4.7.1.1 and §4.7.3.
        ("/finance", "/finance", True),
        ("finance", "/finance", False),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("+/+", "/", True),
        ("/", "/", True),
        ("a/+", "a/", True),
        ("a/+", "a", False),
        ("a//b", "a/b", False),
        ("a/+/b", "a//b", True),
        ("a/#", "a/", True),
        ("a b/c", "a b/c", True),
        # `$` is special as the very first character alone, 4.7.2-1.
        ("#", "$SYS/a", False),
        ("+/a", "$SYS/a", False),
        ("+/#", "$SYS/a", False),
        ("+", "$SYS", False),
        ("$SYS/#", "$SYS/a", True),
        ("$SYS/#", "$SYS", True),
        ("$SYS/+", "$SYS/a", True),
        ("a/#", "a/$x", True),
        ("a/+", "a/$x", True),
        ("#", "/$x", True),
        ("$share/g/#", "$SYS", False),
        ("$share/g/$SYS/#", "$SYS/a", True),
        # Bytes are compared as they are, 4.7.3-4, 1.5.4-3.
        ("A", "a", False),
        ("\u00e9", "e\u0301", False),
        ("\ufeffa", "a", False),
        ("\ufeffa", "\ufeffa", True),
        ("\U0001f50c/+", "\U0001f50c/\u00e9", True),
    ],
)
def test_matching(make: Make, pattern: str, topic: str, fit: bool) -> None:
    assert fits(make, pattern, topic) is fit
    assert fits(make, pattern, topic.encode()) is fit


def test_nothing_is_empty(make: Make) -> None:
    """4.7.3-1"""
    router = make()
    assert refused(router.add, "", 1) == ("empty", None)
    assert refused(router.match, "") == ("empty", None)
    assert refused(router.match, b"") == ("empty", None)


def test_no_zero_character(make: Make) -> None:
    """4.7.3-2"""
    router = make()
    assert refused(router.add, "é\0", 1) == ("character", 1)
    assert refused(router.match, "é\0+") == ("character", 1)
    assert refused(router.match, b"\0") == ("character", 0)


def test_length_is_counted_in_bytes(make: Make) -> None:
    """4.7.3-3: 65,535 bytes of UTF-8, not characters"""
    router = make()
    for good in ("a" * 65_535, "é" * 32_767, "\U0001f50c" * 16_383):
        router.add(good, good)
        assert router.match(good) == [good]
        assert router.match(good.encode()) == [good]
    for bad in ("a" * 65_536, "é" * 32_768, "\U0001f50c" * 16_384, "é" * 200_000):
        assert refused(router.add, bad, 1) == ("length", None)
        assert refused(router.match, bad) == ("length", None)
        assert refused(router.match, bad.encode()) == ("length", None)


@pytest.mark.parametrize(
    ("octets", "at"),
    [(b"\xff", 0), (b"a\xc3", 1), (b"\xc3\xa9/\xed\xa0\x80", 2), (b"\xc0\xaf", 0), (b"ab\xf4\x90\x80\x80", 2)],
)
def test_topics_are_utf8(make: Make, octets: bytes, at: int) -> None:
    """1.5.4-1: well-formed, no surrogates"""
    assert refused(make().match, octets) == ("utf-8", at)


def test_no_surrogates(make: Make) -> None:
    assert refused(make().match, "é/\ud800") == ("utf-8", 2)
    assert refused(make().add, "ab\udfff+", 1) == ("utf-8", 2)


@pytest.mark.parametrize("character", ["\x01", "\x1f", "\x7f", "\x85", "\x9f", "\ufdd0", "\ufffe", "\U0010ffff"])
def test_controls_are_a_setting(make: Make, character: str) -> None:
    """§1.5.4: SHOULD NOT"""
    assert fits(make, f"a/{character}", f"a/{character}")
    strict = make(controls="refuse")
    assert refused(strict.add, f"a/{character}", 1) == ("character", 2)
    assert refused(strict.match, f"a/{character}") == ("character", 2)
    assert strict.match("a/ \xa0\ufdcf\ufdf0\ufffd") == []


@pytest.mark.parametrize(
    ("pattern", "at"),
    [
        *(("$share", 0), ("$share/", 0), ("$share/g", 0)),
        *(("$share//a", 7), ("$share/+/a", 7), ("$share/é#/a", 8), ("$share/g/", 9)),
        ("$share/g/$share/h/a", 9),
    ],
)
def test_shared_subscriptions_that_are_none(make: Make, pattern: str, at: int) -> None:
    """5.0 4.8.2-1, 4.8.2-2"""
    assert refused(make().add, pattern, 1) == ("share", at)


def test_shared_subscriptions(make: Make) -> None:
    router = make()
    for pattern in ("$share/g/a/+", "$share/h/a/+", "a/+", "$shared/a"):
        router.add(pattern, pattern)
    assert router.match("a/b") == ["$share/g/a/+", "$share/h/a/+", "a/+"]
    assert router.match("$share/g/a/b") == []
    assert router.match("$shared/a") == ["$shared/a"]
    assert refused(router.add, "$share/g/a#", 1) == ("wildcard", 10)
    router.remove("$share/h/a/+", "$share/h/a/+")
    assert router.match("a/b") == ["$share/g/a/+", "a/+"]


# The open points


def test_share_literal_or_refused(make: Make) -> None:
    assert fits(make, "$share/+/a", "$share/g/a", share="literal")
    assert not fits(make, "$share/g/a", "a", share="literal")
    assert fits(make, "$share", "$share", share="literal")
    assert refused(make(share="refuse").add, "$share/g/a", 1) == ("share", 0)


def test_bare_and_nested_share(make: Make) -> None:
    for pattern in ("$share", "$share/", "$share/g"):
        assert fits(make, pattern, pattern, bare_share="literal")
    assert fits(make, "$share/g/$share/t", "$share/t", nested_share="literal")


def test_prefixes_of_brokers(make: Make) -> None:
    both = ("$queue/", "$exclusive/")
    assert fits(make, "$queue/a", "$queue/a")
    for prefix in both:
        assert fits(make, f"{prefix}a/+", "a/b", prefixes=both)
    assert refused(make(prefixes=both).add, "$queue/", 1) == ("share", 7)
    assert refused(make(prefixes=both).add, "$queue/$exclusive/a", 1) == ("share", 7)
    assert refused(make(prefixes=both).add, "$share/g/$queue/a", 1) == ("share", 9)
    assert fits(make, "$share/g/$queue/a", "$queue/a", prefixes=both, nested_share="literal")


def test_levels(make: Make) -> None:
    router = make(levels=3)
    router.add("$share/g/a/b/c", 1)
    assert router.match("a/b/c") == [1]
    assert refused(router.add, "a/b/c/#", 1) == ("levels", 5)
    assert refused(router.add, "$share/g/a/b/c/d", 1) == ("levels", 14)
    assert refused(router.match, "é/b/c/d") == ("levels", 5)


def test_forbidden_characters(make: Make) -> None:
    router = make(forbidden=" \x7f*>.é")
    for text in ("a b", "a\x7f", "a*", "a>", "a.b", "aé"):
        assert refused(router.add, text, 1) == ("character", 1)
        assert refused(router.match, text) == ("character", 1)
    assert router.match("a-b") == []


def test_overlaps(make: Make) -> None:
    value = ["the same"]
    for overlaps, times in (("each", 3), ("once", 1)):
        router = make(overlaps=overlaps)
        for pattern in ("a/+", "#", "a/b"):
            router.add(pattern, value)
        router.add("a/b", ["the same"])
        assert router.match("a/b") == [value] * times + [["the same"]]
        assert [len(found) for found in router.match_many(["a/b", "b"])] == [times + 1, 1]
        assert len(router.routes("a/b")) == 4


@pytest.mark.parametrize(
    "settings",
    [
        *({"share": "maybe"}, {"bare_share": "strip"}, {"nested_share": True}, {"controls": "no"}, {"overlaps": 1}),
        *({"levels": 0}, {"levels": True}, {"levels": 65_537}, {"forbidden": "a/"}, {"forbidden": "\ud800"}),
        *({"forbidden": None}, {"prefixes": ("queue/",)}, {"prefixes": ("$queue",)}, {"prefixes": ("$share/",)}),
        *({"prefixes": ("$a/b/",)}, {"prefixes": ("$+/",)}, {"prefixes": (1,)}, {"prefixes": "$/"}),
    ],
)
def test_settings_that_do_not_exist(make: Make, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        make(**settings)


# Captures


def test_captures(make: Make) -> None:
    router = make()
    router.add("chargers/{station}/+/{_field2}/#", 1)
    router.add("$share/g/chargers/+/{kind}/a", 2)
    assert router.routes("chargers/CP é/status/a") == [
        Route(1, "chargers/{station}/+/{_field2}/#", {"station": "CP é", "_field2": "a"}),
        Route(2, "$share/g/chargers/+/{kind}/a", {"kind": "status"}),
    ]
    assert router.routes(b"chargers//x//y")[0].captures == {"station": "", "_field2": ""}
    assert list(router.routes("chargers/1/2/3/4")[0].captures) == ["station", "_field2"]


@pytest.mark.parametrize(
    ("pattern", "at"),
    [
        *(("{a}/{a}", 4), ("{", 0), ("}", 0), ("{}", 0), ("{1a}", 0), ("{a-b}", 0), ("{é}", 0), ("x{a}", 1)),
        *(("{a}x", 0), ("{{a}", 3), ("{a}}", 0), ("a/{{{x}}}", 4), ("{a b}", 0), ("{a\n}", 0)),
    ],
)
def test_captures_that_are_none(make: Make, pattern: str, at: int) -> None:
    assert refused(make().add, pattern, 1) == ("capture", at)


def test_doubled_braces_are_braces(make: Make) -> None:
    router = make()
    router.add("a/{{x}}/{{{{/}}", 1)
    assert router.routes("a/{x}/{{/}") == [Route(1, "a/{{x}}/{{{{/}}", {})]
    assert fits(make, "{x}/{", "{x}/{", captures=False)
    assert not fits(make, "{x}", "y", captures=False)


def test_a_dollar_topic_is_not_captured(make: Make) -> None:
    assert not fits(make, "{root}/a", "$SYS/a")


# What a router holds


def test_order_is_that_of_addition(make: Make) -> None:
    router = make()
    filters = ["a/#", "+/b", "a/b", "#", "a/b", "a/+", "+/+", "+/#"]
    for index, pattern in enumerate(filters):
        router.add(pattern, index)
    assert router.match("a/b") == list(range(8))
    router.remove("a/b", 2)
    router.add("a/b", 8)
    assert router.match("a/b") == [0, 1, 3, 4, 5, 6, 7, 8]
    assert list(router) == [*((filters[index], index) for index in (0, 1, 3, 4, 5, 6, 7)), ("a/b", 8)]
    assert router.match_many(["a", "c/d", b"x"]) == [[0, 3, 7], [3, 6, 7], [3, 7]]
    assert len(router) == 8


def test_remove_wants_the_same_filter(make: Make) -> None:
    router = make()
    router.add("a/{x}", 1)
    for pattern in ("a/{y}", "a/+", "$share/g/a/{x}", "a/b", "a/#"):
        assert (pattern, 1) not in router
        with pytest.raises(KeyError):
            router.remove(pattern, 1)
    assert refused(router.remove, "a/#/b", 1) == ("wildcard", 2)
    router.remove("a/{x}", 1)
    assert (len(router), router.match("a/b"), list(router)) == (0, [], [])


def test_the_very_object_goes_first_then_the_oldest_equal_one(make: Make) -> None:
    router = make()
    first, second, third = [1], [1], [1]
    for value in (first, second, third):
        router.add("a", value)
    router.remove("a", second)
    assert [id(value) for value in router.match("a")] == [id(first), id(third)]
    router.remove("a", [1])
    assert [id(value) for value in router.match("a")] == [id(third)]


def test_containment(make: Make) -> None:
    router = make()
    router.add("a/+", 1)
    assert ("a/+", 1) in router
    assert ("a/+", 1.0) in router
    for other in (("a/+", 2), ("a/b", 1), ("a+", 1), ("", 1), (1, 1), "a/+", None, ("a/+",), ["a/+", 1], ("\ud800", 1)):
        assert other not in router


def test_clear(make: Make) -> None:
    router = make()
    for index in range(100):
        router.add(f"a/{index}", index)
    router.clear()
    assert (len(router), router.match("a/1"), list(router)) == (0, [], [])
    router.add("a/1", "again")
    assert router.match("a/1") == ["again"]


def test_what_is_neither_text_nor_bytes(make: Make) -> None:
    router = make()
    for call in (lambda: router.add(b"a", 1), lambda: router.add(None, 1), lambda: router.remove(b"a", 1)):
        with pytest.raises(TypeError, match="a filter is a str"):
            call()
    for topic in (None, 1, bytearray(b"a"), ["a"]):
        with pytest.raises(TypeError, match="a topic is a str or bytes"):
            router.match(topic)
    with pytest.raises(TypeError):
        router.match_many(1)
    with pytest.raises(TopicError):
        router.match_many(["a", "#"])


def test_iteration_is_of_one_moment(make: Make) -> None:
    router = make()
    for index in range(3):
        router.add("a", index)
    seen = []
    for pattern, value in router:
        router.remove(pattern, value)
        seen.append(value)
    assert (seen, len(router)) == ([0, 1, 2], 0)


# Calls from inside calls


class Meddler:
    """Calls back into the router when it is compared, or when it goes."""

    def __init__(self, compared: Callable[[], Any] = lambda: None, gone: Callable[[], Any] = lambda: None) -> None:
        self.compared = compared
        self.gone = gone

    def __eq__(self, other: object) -> bool:
        self.compared()
        return isinstance(other, Meddler)

    __hash__ = None

    def __del__(self) -> None:
        self.gone()


def test_comparison_may_change_the_router(make: Make) -> None:
    router = make()
    router.add("a", Meddler(compared=router.clear))
    with pytest.raises(KeyError):
        router.remove("a", Meddler())
    assert len(router) == 0

    router.add("a", Meddler(compared=lambda: (router.add("a", 1), router.remove("a", 1), router.match("a"))))
    router.remove("a", Meddler())
    assert (len(router), list(router)) == (0, [])


def test_comparison_may_raise(make: Make) -> None:
    router = make()
    router.add("a", Meddler(compared=lambda: 1 / 0))
    with pytest.raises(ZeroDivisionError):
        router.remove("a", 1)
    with pytest.raises(ZeroDivisionError):
        router.__contains__(("a", 1))
    assert len(router) == 1


def test_end_of_a_value_may_change_the_router(make: Make) -> None:
    router = make()
    seen: list[Any] = []

    def gone() -> None:
        router.add("a/+", "later")
        seen.extend(router.match("a/b"))
        router.remove("b", "other")

    router.add("b", "other")
    router.add("a/b", Meddler(gone=gone))
    router.remove("a/b", router.match("a/b")[0])
    assert (list(router), seen) == ([("a/+", "later")], ["later"])

    router.add("a/b", Meddler(gone=lambda: router.add("c", "last")))
    router.clear()
    assert (list(router), router.match("c")) == ([("c", "last")], ["last"])


def test_collection_of_garbage(make: Make) -> None:
    """A router that is part of a cycle goes, and a finaliser that runs inside any call of it does no harm."""
    router = make()
    value = type("Value", (), {})()
    value.router = router
    router.add("a", value)
    gone = weakref.ref(value)
    del router, value
    gc.collect()
    assert gone() is None


def test_finalisers_within_calls(make: Make) -> None:
    """The collector runs all the time, and whatever it finds makes and gives up what the call around it needs."""
    router = make()
    router.add("#", "always")
    ends, running, name = 0, True, "y"

    def spawn() -> None:
        # A cycle, so that it ends in the next collection, wherever that one happens.
        meddler = Meddler(gone=gone)
        meddler.itself = meddler

    def gone() -> None:
        nonlocal ends
        ends += 1
        router.add(f"{name}/z", ends)
        router.match(name)
        router.remove(f"{name}/z", ends)
        if running:
            spawn()

    before = gc.get_threshold()
    try:
        spawn()
        for index in range(100):
            # Not always at the same place of a call.
            gc.set_threshold(1 + index % 7, 1, 1)
            name = f"y/{index}/z/z/z/z"
            router.add(name, index)
            assert router.match(name) == ["always", index]
            router.routes(name)
            router.remove(name, index)
            list(router)
    finally:
        running = False
        gc.set_threshold(*before)
    gc.collect()
    assert ends > 20
    assert list(router) == [("#", "always")]


def test_what_is_removed_leaves_no_memory(make: Make) -> None:
    """Filters that come and go, no two alike, while one stays."""
    router = make()
    router.add("a/b", "stays")

    def held() -> int:
        if make.__mro__[2].__module__ == "evcore._native":
            return sys.getsizeof(router)
        return sum(type(thing).__name__ == "_Node" for thing in gc.get_objects())

    sizes = set()
    for turn in range(1_000):
        for name in (f"a/{turn}/+/c", f"a/b/{turn}/#", f"{turn}"):
            router.add(name, turn)
        for name in (f"a/{turn}/+/c", f"a/b/{turn}/#", f"{turn}"):
            router.remove(name, turn)
        if turn % 100 == 99:
            sizes.add(held())
    assert len(sizes) == 1
    assert router.match("a/b") == ["stays"]


def test_size_is_said(make: Make) -> None:
    router = make()
    router.add("a", 1)
    assert repr(router) == "<Router with 1 filters>"
