"""`Router`: which MQTT filters match a topic.

In: filters with values of any kind, topics. Out: the values whose filters match, oldest first, and what captures hold.
Refused: with TopicError what is no filter or no topic, with ValueError settings that do not exist. The rules are in
docs/router.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

from evcore import _backend

if TYPE_CHECKING:
    from collections.abc import Iterable

    _Base = _backend.Router
else:
    _Base = object

__all__ = ["Route", "Router", "router_class"]


class Route(NamedTuple):
    """A filter that matches a topic, with its value."""

    value: Any
    """What was added."""
    filter: str
    """As it was added: with ``$share/<name>/``, with ``{name}``."""
    captures: dict[str, str]
    """Name to level of the topic, for each ``{name}`` of the filter."""


class _Settings(_Base):
    """What both backends' routers get from here: the construction."""

    __slots__ = ()
    _choices: ClassVar[dict[str, tuple[str, ...]]] = {
        "share": ("strip", "literal", "refuse"),
        "bare_share": ("refuse", "literal"),
        "nested_share": ("refuse", "literal"),
        "controls": ("accept", "refuse"),
        "overlaps": ("each", "once"),
    }

    def __new__(
        cls,
        *,
        captures: bool = True,
        share: Literal["strip", "literal", "refuse"] = "strip",
        bare_share: Literal["refuse", "literal"] = "refuse",
        nested_share: Literal["refuse", "literal"] = "refuse",
        prefixes: Iterable[str] = (),
        levels: int | None = None,
        controls: Literal["accept", "refuse"] = "accept",
        forbidden: str = "",
        overlaps: Literal["each", "once"] = "each",
    ) -> Self:
        given = {"share": share, "bare_share": bare_share, "nested_share": nested_share}
        for name, value in {**given, "controls": controls, "overlaps": overlaps}.items():
            if value not in cls._choices[name]:
                choices = " or ".join(map(repr, cls._choices[name]))
                raise ValueError(f"{name} must be {choices}, not {value!r}")
        known = [prefixes] if isinstance(prefixes, str) else list(prefixes)
        for prefix in known:
            if not _is_prefix(prefix):
                raise ValueError(f"prefixes must be of the form '$name/', and not '$share/': {prefix!r} is not")
        if levels is not None and (type(levels) is not int or not 1 <= levels <= 65_536):
            raise ValueError(f"levels must be None or a number from 1 to 65536, not {levels!r}")
        if not isinstance(forbidden, str) or not _is_text(forbidden):
            raise ValueError("forbidden must be a str of the characters to refuse, surrogates not among them")
        if "/" in forbidden:
            raise ValueError("forbidden must not have '/', which is between levels: levels=1 allows a single one")
        return super().__new__(
            cls,
            route=Route,
            once=overlaps == "once",
            captures=bool(captures),
            **given,
            prefixes=known,
            levels=levels,
            controls=controls == "accept",
            forbidden=forbidden,
        )

    def __repr__(self) -> str:
        return f"<Router with {len(self)} filters>"


def _is_text(text: str) -> bool:
    return not any(0xD800 <= ord(character) <= 0xDFFF for character in text)


def _is_prefix(prefix: Any) -> bool:
    return (
        isinstance(prefix, str)
        and _is_text(prefix)
        and len(prefix) > 2
        and prefix.startswith("$")
        and prefix.find("/") == len(prefix) - 1
        and prefix != "$share/"
        and not {"+", "#", "\0"} & set(prefix)
    )


def router_class(backend: Any) -> type[Router]:
    """`Router` over one backend module or the other; tests hold them side by side."""
    return type("Router", (_Settings, backend.Router), {"__doc__": Router.__doc__})


class Router(_Settings, _backend.Router):
    """Finds the MQTT filters that match a topic, among any number of them, and the values they were added with.

    - ``captures``: a level ``{name}`` of a filter is a ``+`` that captures, ``{{`` and ``}}`` are braces; with False
      braces are ordinary characters
    - ``share``: ``$share/<name>/`` (MQTT 5.0 §4.8.2) is taken off by ``strip``, is two ordinary levels with
      ``literal``, and refused with ``refuse``
    - ``bare_share``: ``$share`` and ``$share/<name>``, which no filter follows; ``nested_share``: a prefix behind a
      prefix. ``refuse`` or ``literal``
    - ``prefixes``: prefixes of your broker that are taken off as well: ``("$queue/", "$exclusive/")``
    - ``levels``: most levels of a topic or filter; ``None``: as many as 65,535 bytes allow
    - ``controls``: U+0001 to U+001F, U+007F to U+009F and non-characters (§1.5.4: SHOULD NOT), ``accept`` or ``refuse``
    - ``forbidden``: further characters to refuse, for brokers that do
    - ``overlaps``: a value found by several filters is in a match for ``each`` of them, or ``once`` (the same object)

    ``add(filter, value)``, ``remove(filter, value)`` with exactly that filter, by identity, else the first that is
    equal; ``match(topic)`` -> values; ``match_many(topics)`` -> a list for each; ``routes(topic)`` -> list of `Route`;
    ``len``, ``(filter, value) in router``, iteration over (filter, value), ``clear()``. All in the order of addition.

    Raises TopicError for what is no filter or no topic, KeyError where there is nothing to remove.
    """
