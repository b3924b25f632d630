"""What a topic and a filter are: MQTT 3.1.1 and 5.0 §4.7, 5.0 §4.8.2, character by character.

In: topics as str or bytes, filters as str, settings. Out: a topic as text; a `Parsed` filter. Refused, as TopicError:
all else, in the order empty, length, UTF-8, characters, share, levels, wildcards and captures.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from evcore.errors import TopicError

__all__ = ["ANY", "REST", "Parsed", "Settings", "filter_levels", "topic_text"]

_MAX_BYTES: Final = 65_535
_IDENTIFIER: Final = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_SHARE: Final = "$share/"

# Levels of a parsed filter that are no text: text levels never hold a wildcard.
ANY: Final = "+"
REST: Final = "#"


class Settings(NamedTuple):
    """Where brokers differ; `evcore.Router` says what each of them does."""

    captures: bool
    share: str
    bare_share: str
    nested_share: str
    prefixes: list[str]
    levels: int | None
    controls: bool
    forbidden: str


class Parsed(NamedTuple):
    levels: list[str]
    """Literal texts, ANY, and REST as the last one or nowhere."""
    captures: list[tuple[int, str]]
    """Index of the level, name."""


def topic_text(topic: str | bytes, settings: Settings) -> str:
    """The topic as text."""
    if not isinstance(topic, (str, bytes)):
        raise TypeError(f"a topic is a str or bytes, not {type(topic).__name__}")
    text = _text("topic", topic, settings)
    _bounded("topic", text, 0, settings)
    for at, character in enumerate(text):
        if character in "+#":
            raise TopicError(
                f"a topic must not contain '{character}', which is at index {at}: only filters have wildcards, leave "
                "it out",
                "wildcard",
                at,
            )
    return text


def filter_levels(text: str, settings: Settings) -> Parsed:
    """The filter without its prefix, level by level."""
    if not isinstance(text, str):
        raise TypeError(f"a filter is a str, not {type(text).__name__}")
    text = _text("filter", text, settings)
    at = _prefix(text, settings)
    inner = text[at:]
    _bounded("filter", inner, at, settings)
    parsed = Parsed([], [])
    names: set[str] = set()
    written = inner.split("/")
    for index, level in enumerate(written):
        name, read = _level(level, at, index == len(written) - 1, settings)
        if name is not None:
            if name in names:
                raise TopicError(
                    f"the capture {{{name}}} at index {at} stands there for the second time: give each its own name",
                    "capture",
                    at,
                )
            names.add(name)
            parsed.captures.append((index, name))
        parsed.levels.append(read)
        at += len(level) + 1
    return parsed


def _text(kind: str, given: str | bytes, settings: Settings) -> str:
    if not given:
        raise TopicError(f"a {kind} must not be empty: give it at least one character", "empty", None)
    too_long = f"a {kind} must not be longer than {_MAX_BYTES} bytes of UTF-8: shorten it"
    # No copy is made of a text that is too long anyway.
    if len(given) > _MAX_BYTES:
        raise TopicError(too_long, "length", None)
    octets = given.encode("utf-8", "surrogatepass") if isinstance(given, str) else given
    if len(octets) > _MAX_BYTES:
        raise TopicError(too_long, "length", None)
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as error:
        at = len(octets[: error.start].decode("utf-8"))
        raise TopicError(
            f"a {kind} must be well-formed UTF-8 without surrogates, which ends at index {at}: repair its encoding",
            "utf-8",
            at,
        ) from None
    for at, character in enumerate(text):
        point = ord(character)
        if point == 0:
            sentence = f"a {kind} must not contain U+0000, which is at index {at}: leave it out"
            raise TopicError(sentence, "character", at)
        if not settings.controls and _is_control(point):
            raise TopicError(
                f"U+{point:04X} at index {at} is a control or non-character: leave it out of the {kind}, or set "
                "controls to 'accept'",
                "character",
                at,
            )
        if character in settings.forbidden:
            raise TopicError(
                f"U+{point:04X} at index {at} is among the forbidden characters: leave it out of the {kind}, or "
                "change the setting",
                "character",
                at,
            )
    return text


def _is_control(point: int) -> bool:
    """U+0001 to U+001F, U+007F to U+009F, U+FDD0 to U+FDEF, the last two of every plane (§1.5.4)."""
    return point < 0x20 or 0x7F <= point <= 0x9F or 0xFDD0 <= point <= 0xFDEF or point & 0xFFFE == 0xFFFE


def _bounded(kind: str, text: str, start: int, settings: Settings) -> None:
    most = settings.levels
    if most is None or text.count("/") < most:
        return
    at = -1
    for _ in range(most):
        at = text.index("/", at + 1)
    at += start
    raise TopicError(
        f"a {kind} must not have more than {most} levels, the next begins after index {at}: shorten it, or raise the "
        "setting levels",
        "levels",
        at,
    )


def _prefix(text: str, settings: Settings) -> int:
    """Where the filter begins that is matched: behind ``$share/<name>/`` or a broker's prefix."""
    share = settings.share != "literal"
    if share and (text == "$share" or text.startswith(_SHARE)):
        at = _share(text, settings)
    else:
        at = next((len(prefix) for prefix in settings.prefixes if text.startswith(prefix)), 0)
    if at == 0:
        return 0
    if at == len(text):
        sentence = f"a filter must follow the prefix that ends before index {at}: write one there"
        raise TopicError(sentence, "share", at)
    second = (*settings.prefixes, _SHARE) if share else tuple(settings.prefixes)
    if text.startswith(second, at) and settings.nested_share == "refuse":
        raise TopicError(
            f"a second prefix begins at index {at}: leave one out, or set nested_share to 'literal' to match it as "
            "levels",
            "share",
            at,
        )
    return at


def _share(text: str, settings: Settings) -> int:
    start = len(_SHARE)
    end = text.find("/", start)
    if end < 0:
        if settings.bare_share == "literal":
            return 0
        raise TopicError(
            "a filter that begins with $share at index 0 is $share/<name>/<filter>: complete it, or set bare_share to "
            "'literal' to match it as levels",
            "share",
            0,
        )
    if settings.share == "refuse":
        sentence = "a shared subscription begins at index 0: leave $share/<name>/ out, or set share to 'strip'"
        raise TopicError(sentence, "share", 0)
    if end == start:
        sentence = f"the share name at index {start} must not be empty: write $share/<name>/<filter>"
        raise TopicError(sentence, "share", start)
    for at in range(start, end):
        if text[at] in "+#":
            sentence = f"a share name must not contain '{text[at]}', which is at index {at}: leave it out"
            raise TopicError(sentence, "share", at)
    return end + 1


def _level(level: str, start: int, last: bool, settings: Settings) -> tuple[str | None, str]:
    """The name of the capture, if it is one, and what the level is."""
    if level == ANY or (level == REST and last):
        return None, level
    for at, character in enumerate(level, start):
        if character == "#":
            sentence = f"'#' at index {at} must be the whole last level: put it behind the last '/'"
            raise TopicError(sentence, "wildcard", at)
        if character == "+":
            sentence = f"'+' at index {at} must be a whole level: put '/' between it and its neighbours"
            raise TopicError(sentence, "wildcard", at)
    if not settings.captures or ("{" not in level and "}" not in level):
        return None, level
    if level[0] == "{" and level[-1] == "}" and _IDENTIFIER.fullmatch(level, 1, len(level) - 1):
        return level[1:-1], ANY
    text, index = "", 0
    while index < len(level):
        character = level[index]
        if character in "{}":
            if level[index + 1 : index + 2] != character:
                at = start + index
                raise TopicError(
                    f"'{character}' at index {at} is no capture, which is a whole level {{name}} with an identifier in "
                    "it: correct it, double the brace, or set captures to False",
                    "capture",
                    at,
                )
            index += 1
        text += character
        index += 1
    return None, text
