"""What differs between the versions: message kinds, error codes and their spelling, what counts as an integer."""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["VERSIONS", "Version"]

_CODES_16: Final = (
    "NotImplemented",
    "NotSupported",
    "InternalError",
    "ProtocolError",
    "SecurityError",
    "FormationViolation",
    "PropertyConstraintViolation",
    "OccurenceConstraintViolation",
    "TypeConstraintViolation",
    "GenericError",
)
_CODES_2X: Final = (
    "NotImplemented",
    "NotSupported",
    "InternalError",
    "ProtocolError",
    "SecurityError",
    "FormatViolation",
    "PropertyConstraintViolation",
    "OccurrenceConstraintViolation",
    "TypeConstraintViolation",
    "GenericError",
    "MessageTypeNotSupported",
    "RpcFrameworkError",
)

# The misspelling of 1.6 is the specification's own, and permanent.
_SPELLINGS_2X: Final = {
    "FormationViolation": "FormatViolation",
    "OccurenceConstraintViolation": "OccurrenceConstraintViolation",
}
_SPELLINGS_16: Final = {new: old for old, new in _SPELLINGS_2X.items()}

_BY_VALUE: Final = dict.fromkeys(
    ("enum", "maxLength", "format", "minimum", "maximum", "multipleOf", "utf-8"), "PropertyConstraintViolation"
)


class Version(NamedTuple):
    """One OCPP version, as far as frames and judgement are concerned."""

    name: str
    """The WebSocket subprotocol: ``ocpp1.6``, ``ocpp2.0.1``, ``ocpp2.1``."""
    kinds: frozenset[int]
    """Message types."""
    codes: frozenset[str]
    """Error codes."""
    spellings: dict[str, str]
    """Other versions' spellings of them."""
    keywords: dict[str, str]
    """Keyword of a violation -> error code."""
    malformed: str
    """Code of what cannot be read, or is no object where one is due."""
    misframed: str
    """Code of what is JSON but no OCPP-J frame."""
    unknown_kind: str
    """Code of a message type the version does not have."""
    fractions: bool
    """Whether ``300.0`` is an integer: in draft-06 (2.x) it is, in draft-04 (1.6) it is not."""
    answers_unreadable: bool
    """Whether a frame without a readable id is answered, with id ``-1``."""

    def respell(self, code: str) -> str:
        """`code` in this version's spelling; as it is where no version has another one."""
        return self.spellings.get(code, code)


def _keywords(malformed: str, missing: str, count: str) -> dict[str, str]:
    return _BY_VALUE | {
        "type": "TypeConstraintViolation",
        "required": missing,
        "additionalProperties": malformed,
        "uniqueKeys": malformed,
        "depth": malformed,
        "minItems": count,
        "maxItems": count,
        "action": "NotImplemented",
    }


def _version_2x(name: str, kinds: set[int]) -> Version:
    return Version(
        name,
        frozenset(kinds),
        frozenset(_CODES_2X),
        _SPELLINGS_2X,
        _keywords("FormatViolation", "OccurrenceConstraintViolation", "OccurrenceConstraintViolation"),
        malformed="FormatViolation",
        misframed="RpcFrameworkError",
        unknown_kind="MessageTypeNotSupported",
        fractions=True,
        answers_unreadable=True,
    )


_VERSION_16: Final = Version(
    "ocpp1.6",
    frozenset({2, 3, 4}),
    frozenset(_CODES_16),
    _SPELLINGS_16,
    _keywords("FormationViolation", "ProtocolError", "OccurenceConstraintViolation"),
    malformed="FormationViolation",
    misframed="FormationViolation",
    unknown_kind="FormationViolation",
    fractions=False,
    answers_unreadable=False,
)

VERSIONS: Final[dict[str, Version]] = {
    version.name: version
    for version in (
        _VERSION_16,
        _version_2x("ocpp2.0.1", {2, 3, 4}),
        _version_2x("ocpp2.1", {2, 3, 4, 5, 6}),
    )
}
