"""Every row of docs/codec.md §2 and §4: kind, arity, id, action, payload and error fields in all combinations, per
version.

The expected outcome comes from `proof.frames`, a model written from the page: class and fields, or code, reason,
message_id, sentence and exact reply bytes. A handful of rows stand here literally, so that a slip in the model shows
as well.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from evcore import Codec, FrameError, PayloadError
from proof.backends import BACKENDS, make
from proof.document import same
from proof.frames import Outcome, frames, outcome, unreadable, unreadable_frames
from proof.inventory import FOLDERS

pytestmark = [pytest.mark.parametrize("backend", BACKENDS), pytest.mark.parametrize("version", FOLDERS)]

FIELDS = {
    "Call": ("id", "action", "payload"),
    "Send": ("id", "action", "payload"),
    "CallResult": ("id", "payload", "action"),
    "CallError": ("id", "code", "description", "details"),
    "CallResultError": ("id", "code", "description", "details"),
}


def observed(codec: Codec, frame: str | bytes, action: str | None = None, **options: Any) -> Outcome:
    """What the codec makes of a frame, in the model's form."""
    try:
        message = codec.decode(frame, action, **options)
    except FrameError as error:
        return Outcome("FrameError", (error.code, error.reason, error.message_id, str(error), error.reply))
    except PayloadError as error:
        told = tuple((v.pointer, v.keyword, v.message) for v in error.violations)
        return Outcome("PayloadError", (error.code, told, error.reply))
    name = type(message).__name__
    return Outcome(name, tuple(getattr(message, field) for field in FIELDS[name]))


@pytest.mark.parametrize("action", [None, "StatusNotification"])
def test_every_combination(backend: str, version: str, action: str | None) -> None:
    """Some 1,300 frames; `StatusNotification` has an empty result in every version."""
    codec = make(backend, version)
    for text in frames():
        due = outcome(version, text, action)
        got = observed(codec, text, action)
        assert got == due and same(list(map(_plain, got.data)), list(map(_plain, due.data))), text
        assert observed(codec, text.encode(), action) == due


def _plain(value: Any) -> Any:
    return value if isinstance(value, dict | list | str | int | float | None) else repr(value)


def test_unjudged(backend: str, version: str) -> None:
    """`judge=False` ends after the frame: unknown actions and payloads of any type are delivered."""
    codec = make(backend, version)
    for text in frames():
        due = outcome(version, text)
        got = observed(codec, text, judge=False)
        if due.name == "FrameError":
            assert got == due, text
        elif due.name == "PayloadError":
            kind, message_id, action, payload = json.loads(text)
            assert got == Outcome(
                "Send" if kind == 6 else "Call", (message_id, action, {} if payload is None else payload)
            )
        else:
            assert got == due, text


@pytest.mark.parametrize("lazy", [False, True])
def test_unreadable_frames(backend: str, version: str, lazy: bool) -> None:
    """`limit`, `utf-8`, `json`: the answer follows from what can be read of the head."""
    codec = make(backend, version, lazy=lazy)
    sentences = {
        "json": r"frame is not JSON at byte \d+",
        "utf-8": r"frame is not UTF-8 at byte \d+",
        "limit": r"frame is nested deeper than 64 levels at byte \d+",
    }
    for frame, reason in unreadable_frames():
        with pytest.raises(FrameError) as caught:
            codec.decode(frame)
        error = caught.value
        assert re.fullmatch(sentences[reason], str(error)), frame
        assert str(error).endswith(f"at byte {error.offset}"), frame
        assert observed(codec, frame) == unreadable(version, frame, reason, str(error)), frame


def test_unknown_kind_setting(backend: str, version: str) -> None:
    """`unknown_kind` overrides the version's rule in 2.x; 1.6 never answers."""
    frame = '[9,"7",{}]'
    for setting, versions in (("spec", {"ocpp2.0.1"}), ("answer", {"ocpp2.0.1", "ocpp2.1"}), ("ignore", set())):
        with pytest.raises(FrameError) as caught:
            make(backend, version, unknown_kind=setting).decode(frame)
        description = f"message type 9 is not one of {version}'s"
        reply = f'[4,"7","MessageTypeNotSupported","{description}",{{}}]'.encode() if version in versions else None
        assert caught.value.reply == reply


def test_literal_rows(backend: str, version: str) -> None:
    """The page's own words, row by row, without the model."""
    old = version == "ocpp1.6"
    codec = make(backend, version)
    code = "FormationViolation" if old else "RpcFrameworkError"
    format_code = "FormationViolation" if old else "FormatViolation"
    rows: list[tuple[bytes, str, str, str | None, bytes | None]] = [
        (b"", code, "empty", None, None),
        (b" \n", code, "empty", None, None),
        (b"pong", code, "json", None, None if old else b"-1"),
        (b'[2,"7","Heartbeat",{]', format_code, "json", "7", b"7"),
        (b'[3,"7",{]', format_code, "json", "7", b"5 7" if version == "ocpp2.1" else None),
        (b'[4,"7",{]', format_code, "json", "7", None),
        (b"[3,", code, "json", None, None),
        (b"{}", code, "frame", None, None if old else b"-1"),
        (b'[2.0,"7","Heartbeat",{}]', code, "frame", "7", None if old else b"7"),
        (b'[2,"7","Heartbeat"]', code, "frame", "7", b"7"),
        (b'[2,7,"Heartbeat",{}]', code, "frame", None, None if old else b"-1"),
        (b'[3,"7"]', code, "frame", "7", b"5 7" if version == "ocpp2.1" else None),
        (b"[3,7,{}]", code, "frame", None, None),
        (b'[4,"7"]', code, "frame", "7", None),
    ]
    for frame, due, reason, message_id, answer in rows:
        with pytest.raises(FrameError) as caught:
            codec.decode(frame)
        error = caught.value
        assert (error.code, error.reason, error.message_id) == (due, reason, message_id), frame
        if answer is None:
            assert error.reply is None, frame
        else:
            kind, _, to = answer.rpartition(b" ")
            assert error.reply == b'[%s,"%s","%s","%s",{}]' % (kind or b"4", to, due.encode(), str(error).encode()), (
                frame
            )


def test_limits(backend: str, version: str) -> None:
    """Each limit at its value and one beyond, with the sentence that names it."""
    from evcore import Limits

    frame = b'[2,"1","DataTransfer",{"vendorId":"abcdef","data":"12345678"}]'
    nested = b'[2,"1","DataTransfer",{"vendorId":["v"]}]'
    for name, value, sentence in (
        ("frame_bytes", len(frame), f"frame is larger than {len(frame) - 1} bytes"),
        ("string_bytes", 12, r"string is longer than 11 bytes at byte \d+"),
        ("items", 4, r"container has more than 3 members at byte \d+"),
    ):
        make(backend, version, limits=Limits(**{name: value})).decode(frame)
        with pytest.raises(FrameError, match=f"^{sentence}$") as caught:
            make(backend, version, limits=Limits(**{name: value - 1})).decode(frame)
        assert (caught.value.reason, caught.value.message_id) == ("limit", "1")
    make(backend, version, limits=Limits(depth=3)).decode(nested, judge=False)
    with pytest.raises(FrameError, match=r"^frame is nested deeper than 2 levels at byte 34$"):
        make(backend, version, limits=Limits(depth=2)).decode(nested, judge=False)
    number = b'[2,"1","Heartbeat",-12.5e10]'
    make(backend, version, limits=Limits(number_chars=8)).decode(number, judge=False)
    with pytest.raises(FrameError, match=r"^number is longer than 7 characters at byte \d+$"):
        make(backend, version, limits=Limits(number_chars=7)).decode(number, judge=False)
    long_id = b'[2,"' + b"i" * 37 + b'","Heartbeat",{}]'
    assert make(backend, version, limits=Limits(id_chars=37)).decode(long_id).id == "i" * 37
    with pytest.raises(FrameError, match=r"^message id is not a string of 1 to 2 characters$"):
        make(backend, version, limits=Limits(id_chars=2)).decode(b'[2,"123","Heartbeat",{}]')
    extras = ",".join(f'"x{i}":0' for i in range(9))
    broken = f'[2,"1","Heartbeat",{{{extras}}}]'.encode()
    with pytest.raises(PayloadError) as found:
        make(backend, version, limits=Limits(violations=4)).decode(broken)
    assert [v.pointer for v in found.value.violations] == [f"/x{i}" for i in range(4)]


@pytest.mark.parametrize("frame", [None, 5, [2, "1", "Heartbeat", {}], {"a": 1}, object()])
def test_not_bytes(backend: str, version: str, frame: Any) -> None:
    with pytest.raises(TypeError):
        make(backend, version).decode(frame)


def test_unknown_action_argument(backend: str, version: str) -> None:
    """An action the caller made up is the caller's mistake, not the peer's."""
    with pytest.raises(ValueError, match="Nonsense") as caught:
        make(backend, version).decode(b'[3,"1",{}]', "Nonsense")
    assert not isinstance(caught.value, FrameError | PayloadError)


def test_str_with_lone_surrogates(backend: str, version: str) -> None:
    with pytest.raises(FrameError) as caught:
        make(backend, version).decode('[2,"1","Heartbeat\ud800",{}]')
    assert caught.value.reason == "utf-8"
