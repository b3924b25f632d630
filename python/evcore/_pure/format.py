"""The two formats OCPP's schemas name: ``date-time`` (RFC 3339 §5.6) and ``uri`` (RFC 3986 with a scheme)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FORMATS", "is_date_time", "is_uri"]

_DATE_TIME: Final = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>0[1-9]|1[0-2])-(?P<day>[0-9]{2})"
    r"[Tt](?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9]|60)(?:\.[0-9]+)?"
    r"(?:[Zz]|(?P<sign>[+-])(?P<hours>[01][0-9]|2[0-3]):(?P<minutes>[0-5][0-9]))"
)
_DAY_MINUTES: Final = 24 * 60
_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def is_date_time(text: str) -> bool:
    """Whether `text` is a date and time with an offset, on a day that exists."""
    found = _DATE_TIME.fullmatch(text)
    if found is None:
        return False
    year, month, day = int(found["year"]), int(found["month"]), int(found["day"])
    if not 1 <= day <= _DAYS[month - 1] or (month == 2 and day == 29 and not _is_leap(year)):
        return False
    if found["second"] != "60":
        return True
    # A leap second ends the last minute of a UTC day.
    minute = int(found["hour"]) * 60 + int(found["minute"])
    if found["sign"]:
        offset = int(found["hours"]) * 60 + int(found["minutes"])
        minute -= offset if found["sign"] == "+" else -offset
    return minute % _DAY_MINUTES == _DAY_MINUTES - 1


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


# RFC 3986 appendix A. Possessive repeats: no text makes these expressions go back and forth.
_PERCENT: Final = "%[0-9A-Fa-f]{2}"
_PLAIN: Final = r"A-Za-z0-9\-._~!$&'()*+,;="
_PATH: Final = rf"(?:[{_PLAIN}:@/]|{_PERCENT})*+"
_TAIL: Final = rf"(?:[{_PLAIN}:@/?]|{_PERCENT})*+"
_URI: Final = re.compile(
    r"[A-Za-z][A-Za-z0-9+.\-]*+:"
    rf"(?://(?:(?:[{_PLAIN}:]|{_PERCENT})*+@)?"
    rf"(?:\[(?P<literal>[^\]]*)\]|(?:[{_PLAIN}]|{_PERCENT})*+)(?::[0-9]*+)?(?:/{_PATH})?"
    rf"|(?!//){_PATH})"
    rf"(?:\?{_TAIL})?(?:#{_TAIL})?"
)
_FUTURE_LITERAL: Final = re.compile(rf"[vV][0-9A-Fa-f]+\.[{_PLAIN}:]+")


def is_uri(text: str) -> bool:
    """Whether `text` is an absolute reference: scheme, colon, and a rest of allowed characters."""
    found = _URI.fullmatch(text)
    if found is None:
        return False
    literal = found["literal"]
    return literal is None or _FUTURE_LITERAL.fullmatch(literal) is not None or _is_ipv6(literal)


def _is_ipv6(text: str) -> bool:
    import ipaddress  # seldom needed, and slow to import

    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    # A zone ("fe80::1%eth0") is Python's, not the RFC's.
    return "%" not in text


FORMATS: Final[dict[str, Callable[[str], bool]]] = {"date-time": is_date_time, "uri": is_uri}
