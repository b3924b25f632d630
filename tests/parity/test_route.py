"""Both routers, one life: the same filters, topics and settings give the same values, routes, errors and sentences."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evcore import TopicError
from evcore.route import router_class

pytest.importorskip("evcore._native")
ROUTERS = [router_class(import_module(f"evcore._{name}")) for name in ("pure", "native")]

PIECES = [
    *(
        "a",
        "b",
        "/",
        "/",
        "/",
        "+",
        "#",
        "$",
        "$share/",
        "$share/g/",
        "$queue/",
        "$SYS",
        "{x}",
        "{y}",
        "{",
        "}",
        "{{",
        "}}",
    ),
    *("é", "\0", "\x07", "\x7f", "\ufffe", "\ud83d", "\U0001f50c", " ", "*", "a long level that is not kept in place"),
]
texts = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
octets = st.one_of(texts.map(lambda text: text.encode("utf-8", "surrogatepass")), st.binary(max_size=8))
made = st.fixed_dictionaries(
    {},
    optional={
        "captures": st.booleans(),
        "share": st.sampled_from(["strip", "literal", "refuse"]),
        "bare_share": st.sampled_from(["refuse", "literal"]),
        "nested_share": st.sampled_from(["refuse", "literal"]),
        "prefixes": st.sampled_from([(), ("$queue/",), ("$queue/", "$é/")]),
        "levels": st.one_of(st.none(), st.integers(1, 4)),
        "controls": st.sampled_from(["accept", "refuse"]),
        "forbidden": st.sampled_from(["", " *", "é"]),
        "overlaps": st.sampled_from(["each", "once"]),
    },
)
calls = st.lists(
    st.one_of(
        st.tuples(st.just("add"), texts, st.integers(0, 3)),
        st.tuples(st.just("remove"), texts, st.integers(0, 3)),
        st.tuples(st.just("match"), st.one_of(texts, octets)),
        st.tuples(st.just("routes"), st.one_of(texts, octets)),
        st.tuples(st.just("match_many"), st.lists(texts, max_size=3)),
        st.tuples(st.just("clear")),
        st.tuples(st.just("__contains__"), st.tuples(texts, st.integers(0, 3))),
        # What was added is asked for, too: as a topic, and by its own name.
        st.tuples(st.sampled_from(["again", "away"]), st.integers(0, 100)),
    ),
    max_size=30,
)


def outcome(router: Any, call: tuple[Any, ...]) -> Any:
    name, *arguments = call
    try:
        return getattr(router, name)(*arguments)
    except TopicError as error:
        return (str(error), error.reason, error.at)
    except KeyError as error:
        return repr(error)


@given(made=made, calls=calls)
@settings(max_examples=600, deadline=None)
def test_one_life(made: dict[str, Any], calls: list[tuple[Any, ...]]) -> None:
    pure, native = (router(**made) for router in ROUTERS)
    for call in calls:
        held = list(pure)
        if call[0] in ("again", "away"):
            if not held:
                continue
            pattern, value = held[call[1] % len(held)]
            topic = pattern.replace("+", "b").replace("#", "a/b").removeprefix("$share/g/")
            call = ("routes", topic) if call[0] == "again" else ("remove", pattern, value)
        assert outcome(pure, call) == outcome(native, call), call
        assert list(pure) == list(native)
        assert len(pure) == len(native)


@pytest.mark.parametrize(
    "call",
    [
        ("add", None, 1),
        ("add", b"a", 1),
        ("remove", 3, 1),
        ("match", None),
        ("routes", 1.5),
        ("match", bytearray(b"a")),
    ],
)
def test_wrong_types_say_the_same(call: tuple[Any, ...]) -> None:
    said = []
    for router in ROUTERS:
        with pytest.raises(TypeError) as caught:
            getattr(router(), call[0])(*call[1:])
        said.append(str(caught.value))
    assert said[0] == said[1]
