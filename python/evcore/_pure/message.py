"""The five messages of OCPP-J. In: their fields. Out: immutable values that are compared by them and can be pickled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias, final

if TYPE_CHECKING:
    from evcore.errors import Violation

__all__ = ["AnyMessage", "Call", "CallError", "CallResult", "CallResultError", "Send"]


def _checked(field: str, value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{field} of a message must be a str, not {type(value).__name__}")
    return value


class _Message:
    """What all messages share. Immutable, but for the codec that has just made one (`raw`, `violations`).

    TypeError for a field that must be a str and is not one.
    """

    __slots__ = ("_id", "_raw", "_violations")

    __match_args__: ClassVar[tuple[str, ...]]
    __hash__: ClassVar[None]  # type: ignore[assignment]

    def __init__(self, id: str) -> None:
        self._id = _checked("id", id)
        self._raw: bytes | None = None
        self._violations: tuple[Violation, ...] = ()

    @property
    def id(self) -> str:
        """The message id: 1 … 36 code points, chosen by the sender of the CALL or SEND."""
        return self._id

    @property
    def raw(self) -> bytes | None:
        """The payload's (or error details') own bytes as received; None for a message made by hand."""
        return self._raw

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What a policy let through; empty for a message that keeps its schema."""
        return self._violations

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__match_args__)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__name__}({fields})"


class _Request(_Message):
    __slots__ = ("_action", "_payload")

    __match_args__: ClassVar[tuple[str, ...]] = ("id", "action", "payload")

    def __init__(self, id: str, action: str, payload: Any) -> None:
        super().__init__(id)
        self._action = _checked("action", action)
        self._payload = payload

    @property
    def action(self) -> str:
        """The action's name, without ``Request``: ``BootNotification``."""
        return self._action

    @property
    def payload(self) -> Any:
        """A dict with wire or snake names, as the codec says."""
        return self._payload


@final
class Call(_Request):
    """A request that is to be answered: ``[2, id, action, payload]`` (OCPP-J §4.2.1)."""

    __slots__ = ()

    kind: Final = 2


@final
class Send(_Request):
    """A message that is never answered: ``[6, id, action, payload]`` (OCPP-J 2.1 §4.2.4)."""

    __slots__ = ()

    kind: Final = 6


@final
class CallResult(_Message):
    """The answer to a CALL: ``[3, id, payload]`` (OCPP-J §4.2.2)."""

    __slots__ = ("_action", "_payload")

    kind: Final = 3
    __match_args__: ClassVar[tuple[str, ...]] = ("id", "payload")

    def __init__(self, id: str, payload: Any, action: str | None = None) -> None:
        super().__init__(id)
        self._payload = payload
        self._action = None if action is None else _checked("action", action)

    @property
    def action(self) -> str | None:
        """The action of the CALL it answers; the frame does not say, so it is None unless somebody did."""
        return self._action

    @property
    def payload(self) -> Any:
        """A dict with wire or snake names, as the codec says."""
        return self._payload


class _Error(_Message):
    __slots__ = ("_code", "_description", "_details")

    __match_args__: ClassVar[tuple[str, ...]] = ("id", "code", "description", "details")

    def __init__(
        self, id: str, code: str, description: str | None = None, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(id)
        self._code = _checked("code", code)
        self._description = "" if description is None else _checked("description", description)
        self._details: dict[str, Any] = {} if details is None else details

    @property
    def code(self) -> str:
        """The error code in this version's spelling, or as received where no version has it."""
        return self._code

    @property
    def description(self) -> str:
        """A sentence, at most 255 code points when sent; may be empty."""
        return self._description

    @property
    def details(self) -> dict[str, Any]:
        """An object without a schema."""
        return self._details


@final
class CallError(_Error):
    """The refusal of a CALL: ``[4, id, code, description, details]`` (OCPP-J §4.2.3)."""

    __slots__ = ()

    kind: Final = 4


@final
class CallResultError(_Error):
    """The refusal of a CALLRESULT: ``[5, id, code, description, details]`` (OCPP-J 2.1 §4.2.3)."""

    __slots__ = ()

    kind: Final = 5


AnyMessage: TypeAlias = Call | CallResult | CallError | CallResultError | Send
