"""The seam: what a backend gives to the shared Python, and what it gets. docs/codec.md has the rules."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal, Self, TypeAlias, final

from evcore.errors import Violation

Frame: TypeAlias = bytes | bytearray | memoryview | str

@final
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

@final
class CallResult:
    kind: Final = 3
    __match_args__: Final = ("id", "payload")
    def __new__(cls, id: str, payload: Any, action: str | None = None) -> Self: ...
    @property
    def id(self) -> str: ...
    @property
    def payload(self) -> Any: ...
    @property
    def action(self) -> str | None: ...
    @property
    def raw(self) -> bytes | None: ...
    @property
    def violations(self) -> tuple[Violation, ...]: ...

@final
class CallError:
    kind: Final = 4
    __match_args__: Final = ("id", "code", "description", "details")
    def __new__(
        cls, id: str, code: str, description: str | None = None, details: dict[str, Any] | None = None
    ) -> Self: ...
    @property
    def id(self) -> str: ...
    @property
    def code(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def details(self) -> dict[str, Any]: ...
    @property
    def raw(self) -> bytes | None: ...
    @property
    def violations(self) -> tuple[Violation, ...]: ...

@final
class CallResultError:
    kind: Final = 5
    __match_args__: Final = ("id", "code", "description", "details")
    def __new__(
        cls, id: str, code: str, description: str | None = None, details: dict[str, Any] | None = None
    ) -> Self: ...
    @property
    def id(self) -> str: ...
    @property
    def code(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def details(self) -> dict[str, Any]: ...
    @property
    def raw(self) -> bytes | None: ...
    @property
    def violations(self) -> tuple[Violation, ...]: ...

@final
class Send:
    kind: Final = 6
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

@final
class Program:
    """A compiled schema. Immutable and shareable between codecs and threads."""

    def __new__(
        cls,
        schema: bytes,
        *,
        version: str,
        snake: Mapping[str, str] | None = None,
        aliases: Mapping[str, tuple[str, ...]] | None = None,
        formats: bool = True,
    ) -> Self:
        """`snake`: wire property name -> name of its key in Python; None: wire names. `aliases`: other name of a
        dataclass field -> the wire names it may stand for, of which an object has at most one (``price_schedule_id`` is
        ``priceScheduleID`` in one object of 2.1 and ``priceScheduleId`` in another). Raises SchemaError."""

    def check(self, value: Any, *, depth: int = 64, violations: int = 100) -> list[Violation]: ...

class Codec:
    """The backend's codec; `evcore.Codec` derives from it and adds nothing to a decode call."""

    def __new__(
        cls,
        version: str,
        programs: Mapping[
            str, tuple[str, ...]
        ],  # kind ("call" | "result" | "send") -> names of this version's actions, `X-Signed` among them in 2.x
        load: Callable[[str, str], Program],  # (kind, action) -> program; called once for each, on first use
        *,
        lazy: bool,
        limits: tuple[int, int, int, int, int, int, int],  # the fields of Limits, in their order
        answer_unknown_kind: bool,
        tolerate: Callable[[Any, tuple[Violation, ...]], bool]
        | None,  # policy: (message, violations) -> deliver it all the same?
        further: Callable[[str, str, Any], list[Violation]] | None,  # see the attribute
    ) -> Self: ...
    @property
    def version(self) -> str: ...
    # (kind, action, payload with the codec's names) -> vendor violations; asked after a payload has kept its schema, in
    # decode, encode (the payload as given) and check. Set at most once, when the first vendor schema is added; a codec
    # without one pays nothing. Not meant to be read.
    further: Callable[[str, str, Any], list[Violation]] | None
    def decode(self, frame: Frame, action: str | None = None, judge: bool = True) -> Any: ...
    def encode(self, message: Any, action: str | None = None, judge: bool = True) -> bytes: ...
    def check(self, action: str, payload: Any, kind: Literal["call", "result", "send"] = "call") -> list[Violation]: ...

@final
class Linter:
    """Reads one log: finds its frames, judges them, counts. docs/check.md has the rules."""

    def __new__(
        cls,
        programs: Mapping[str, Mapping[str, tuple[str, ...]]],  # version -> kind -> actions, as for a codec; 1 to 3
        load: Callable[[str, str, str], Program],  # (version, kind, action) -> program; once for each, on first use
        *,
        limits: tuple[int, int, int, int, int, int, int],
        line_bytes: int,  # longer lines are a finding, and not read
        open_calls: int,  # calls without answer that are remembered
        findings: int,  # different findings that are kept; more are counted as `further`
        values: bool,  # findings have the first offending value
    ) -> Self: ...
    @property
    def counts(self) -> dict[str, int]: ...  # bytes, lines, frames, calls, results … so far
    def feed(self, chunk: bytes) -> None: ...  # lines and frames may be torn anywhere between chunks
    # The log ends here. Findings: (version, index into the makers | None, "call" | "result" | "send" | "frame", action,
    # pointer with indices as `*`, keyword, code, message, count, first line, value | None), in no order; makers:
    # (vendor, model, stations, frames, bad frames); versions: (version, frames). No `feed` afterwards (RuntimeError).
    def finish(
        self,
    ) -> tuple[
        list[tuple[str, int | None, str, str, str, str, str, str, int, int, str | None]],
        list[tuple[str, str, int, int, int]],
        list[tuple[str, int]],
    ]: ...

class Router:
    """Values under MQTT filters; `evcore.Router` derives from it, checks the settings, and adds nothing to a match."""

    def __new__(
        cls,
        *,
        route: Callable[[Any, str, dict[str, str]], Any],  # (value, filter, captures) -> what `routes` returns
        once: bool,  # `match` has an object once, however many filters it is found by
        captures: bool,
        share: str,
        bare_share: str,
        nested_share: str,
        prefixes: list[str],
        levels: int | None,
        controls: bool,
        forbidden: str,
    ) -> Self: ...
    def add(self, filter: str, value: Any) -> None: ...
    def remove(self, filter: str, value: Any) -> None: ...
    def match(self, topic: str | bytes) -> list[Any]: ...
    def match_many(self, topics: Iterable[str | bytes]) -> list[list[Any]]: ...
    def routes(self, topic: str | bytes) -> list[Any]: ...
    def clear(self) -> None: ...
    def __len__(self) -> int: ...
    def __contains__(self, item: object, /) -> bool: ...
    def __iter__(self) -> Iterator[tuple[str, Any]]: ...
    def __sizeof__(self) -> int: ...
