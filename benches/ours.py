"""Ourselves: both backends of evcore, side by side in one process.

The native backend is timed in every way it can be asked; the fallback as the peer it is for whoever cannot build it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from benches.backends import BACKENDS, call, codec
from benches.frames import Frame
from benches.measure import Contender

DECODE: Final = "evcore"
LAZY: Final = "evcore lazy"
SNAKE: Final = "evcore snake names"
UNJUDGED: Final = "evcore judge=False"
FOREIGN: Final = "evcore, strings made at run time"
PURE: Final = "evcore pure"
ENCODE: Final = DECODE
IMPORT: Final = DECODE

NAMES: Final = {"native": DECODE, "pure": PURE}
IMPORTS: Final = tuple((NAMES[backend], "import evcore", backend) for backend in BACKENDS)
"""Contender, statement, value of EVCORE_BACKEND."""
COMPILERS: Final = tuple(
    (
        NAMES[backend],
        f"os.environ['EVCORE_BACKEND'] = {backend!r}; import evcore",
        "kept = evcore.Codec(version)\nfor action in actions: kept.check(action, {})",
    )
    for backend in BACKENDS
)
"""Contender, statements before the clock starts, statements it runs for."""


def decoders(frame: Frame) -> list[Contender]:
    """Frame bytes to a message."""
    found = [_decoder(NAMES[backend], codec(backend, frame.version).decode, _answer) for backend in BACKENDS]
    if "native" not in BACKENDS:
        return found
    unjudged_decode = codec("native", frame.version).decode

    def unjudged(data: bytes) -> Any:
        return unjudged_decode(data, judge=False)

    lazy = codec("native", frame.version, lazy=True).decode
    snake = codec("native", frame.version, names="snake").decode
    found[1:1] = [
        _decoder(LAZY, lazy, _answer, judges="yes; payload not built"),
        _decoder(SNAKE, snake, _answer_in_wire_names(frame)),
        Contender(UNJUDGED, unjudged, answer=_answer),
    ]
    return found


def encoders(frame: Frame) -> list[Contender]:
    """A message to frame bytes."""
    found = [_encoder(NAMES[backend], backend, frame, _message_of(backend)) for backend in BACKENDS]
    if "native" in BACKENDS:
        make = _message_of("native")
        found.insert(1, _encoder(FOREIGN, "native", frame, lambda value: make(json.loads(json.dumps(value)))))
    return found


def checkers(frame: Frame) -> list[Contender]:
    """A payload as Python objects to a verdict."""
    found = []
    for backend in BACKENDS:
        check = codec(backend, frame.version).check

        def all_violations(payload: Any, check: Any = check, action: str = frame.action) -> bool:
            return not check(action, payload)

        found.append(Contender(f"{NAMES[backend]}, all violations", all_violations, judges="yes"))
    return found


def _encoder(name: str, backend: str, frame: Frame, takes: Callable[[list[Any]], Any]) -> Contender:
    encode = codec(backend, frame.version).encode
    return Contender(name, encode, takes=takes, judges="yes", answer=json.loads, refuses=_refuses())


def _message_of(backend: str) -> Callable[[list[Any]], Any]:
    make = call(backend)
    return lambda value: make(*value[1:])


def _decoder(name: str, decode: Any, answer: Any, judges: str = "yes") -> Contender:
    return Contender(name, decode, judges=judges, answer=answer, refuses=_refuses())


def _refuses() -> tuple[type[BaseException], ...]:
    from evcore import PayloadError

    return (PayloadError,)


def _answer(message: Any) -> list[Any]:
    return [message.kind, message.id, message.action, message.payload]


def _answer_in_wire_names(frame: Frame) -> Any:
    from evcore.names import snake

    wire = {snake(name): name for name in _keys(frame.payload)}

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            # A key that is not the snake name of one of the frame's is a wrong answer, and stays one.
            return {wire.get(key, f"not a snake name: {key}"): renamed(member) for key, member in value.items()}
        return [renamed(item) for item in value] if isinstance(value, list) else value

    def answer(message: Any) -> list[Any]:
        return [message.kind, message.id, message.action, renamed(message.payload)]

    return answer


def _keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(_keys, value.values()))
    return set().union(*map(_keys, value)) if isinstance(value, list) else set()
