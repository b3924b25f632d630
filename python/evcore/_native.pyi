from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Self, TypeAlias

from evcore.errors import Violation

Frame: TypeAlias = bytes | bytearray | memoryview | str

class Call:
    kind: Final = 2
    __match_args__: Final = ("id", "action", "payload")
    def __new__(cls, id: str, action: str, payload: Any) -> Self: ...
    @property
    def id(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def payload(self) -> Any: ...
    @property
    def raw(self) -> bytes | None: ...
    @property
    def violations(self) -> tuple[Violation, ...]: ...

# CallResult(id, payload, action=None), CallError(id, code, description="", details=None), CallResultError, Send: likewise

class Program:
    """A compiled schema. Immutable and shareable between codecs and threads."""

    def __new__(
        cls,
        schema: bytes,
        *,
        version: str,
        snake: Mapping[str, str] | None = None,
        aliases: Mapping[str, str] | None = None,
        formats: bool = True,
    ) -> Self:
        """`snake`: wire property name -> name of its key in Python; None: wire names. `aliases`: other dataclass field name -> wire name. Raises SchemaError."""

    def check(self, value: Any, *, depth: int = 64, violations: int = 100) -> list[Violation]: ...

class Codec:
    """The backend's codec; `evcore.Codec` derives from it and adds nothing to a decode call."""

    def __new__(
        cls,
        version: str,
        programs: Mapping[str, tuple[str, ...]],     # kind ("call" | "result" | "send") -> names of this version's actions
        load: Callable[[str, str], Program],         # (kind, action) -> program; called once for each, on first use
        *,
        snake: bool,
        lazy: bool,
        limits: tuple[int, int, int, int, int, int, int],   # the fields of Limits, in their order
        answer_unknown_kind: bool,
        tolerate: Callable[[Any, tuple[Violation, ...]], bool] | None,   # policy: (message, violations) -> deliver it all the same?
        further: Callable[[str, str, Any], list[Violation]] | None,      # (kind, action, payload with the codec's names) -> vendor violations
    ) -> Self: ...
    @property
    def version(self) -> str: ...
    def decode(self, frame: Frame, action: str | None = None, judge: bool = True) -> Any: ...
    def encode(self, message: Any, action: str | None = None, judge: bool = True) -> bytes: ...
    def check(self, action: str, payload: Any, kind: Literal["call", "result", "send"] = "call") -> list[Violation]: ...
