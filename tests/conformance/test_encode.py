"""Writing frames, docs/codec.md §5: the exact bytes of each kind, and whose mistake is called what."""

from __future__ import annotations

from typing import Any

import pytest

from evcore import FrameError, PayloadError
from proof.backends import BACKENDS, make, messages
from proof.contract import ERROR_CODES
from proof.frames import KINDS, SPELLINGS
from proof.inventory import FOLDERS

pytestmark = [pytest.mark.parametrize("backend", BACKENDS), pytest.mark.parametrize("version", FOLDERS)]


def test_every_kind(backend: str, version: str) -> None:
    codec, made = make(backend, version), messages(backend)
    for message, action, due in (
        (made.Call('é"', "Heartbeat", {}), None, '[2,"é\\"","Heartbeat",{}]'),
        (made.CallResult("1", {}), "StatusNotification", '[3,"1",{}]'),
        (made.CallResult("1", {}, "StatusNotification"), None, '[3,"1",{}]'),
        (made.CallError("1", "GenericError"), None, '[4,"1","GenericError","",{}]'),
        (made.CallError("1", "GenericError", "w\n", {"a": [1]}), None, '[4,"1","GenericError","w\\n",{"a":[1]}]'),
        (made.CallError("1", "GenericError", "", None), None, '[4,"1","GenericError","",{}]'),
        (made.CallError("-1", "InternalError", "x"), None, '[4,"-1","InternalError","x",{}]'),
        (made.CallResultError("1", "FormatViolation", "x"), None, '[5,"1","FormatViolation","x",{}]'),
    ):
        if message.kind in KINDS[version]:
            assert codec.encode(message, action) == due.encode()
            assert codec.encode(message, action, judge=False) == due.encode()
        else:
            with pytest.raises(ValueError, match="ocpp") as caught:
                codec.encode(message, action)
            assert not isinstance(caught.value, FrameError | PayloadError)


def test_description_is_cut(backend: str, version: str) -> None:
    """255 code points, whatever they cost in bytes."""
    plug = "\U0001f50c"
    error = messages(backend).CallError("1", "GenericError", plug * 300)
    assert make(backend, version).encode(error) == f'[4,"1","GenericError","{plug * 255}",{{}}]'.encode()


def test_a_description_is_text(backend: str, version: str) -> None:
    with pytest.raises(ValueError, match=r"^error description holds a lone surrogate$"):
        make(backend, version).encode(messages(backend).CallError("1", "GenericError", "\ud800"))


def test_codes_are_spelled_as_the_version_spells_them(backend: str, version: str) -> None:
    codec, made = make(backend, version), messages(backend)
    for code in ERROR_CODES[version]:
        assert codec.encode(made.CallError("1", code)) == f'[4,"1","{code}","",{{}}]'.encode()
    for other, own in SPELLINGS[version].items():
        assert codec.encode(made.CallError("1", other)) == f'[4,"1","{own}","",{{}}]'.encode()
    for wrong in ("Nonsense", "", "genericerror"):
        with pytest.raises(ValueError, match="code") as caught:
            codec.encode(made.CallError("1", wrong))
        assert not isinstance(caught.value, PayloadError)


@pytest.mark.parametrize("message_id", ["", "i" * 37])
def test_ids_have_1_to_36_characters(backend: str, version: str, message_id: str) -> None:
    made = messages(backend)
    for message in (made.Call(message_id, "Heartbeat", {}), made.CallError(message_id, "GenericError")):
        with pytest.raises(ValueError, match="id") as caught:
            make(backend, version).encode(message)
        assert not isinstance(caught.value, PayloadError)


def test_result_needs_its_action(backend: str, version: str) -> None:
    with pytest.raises(ValueError, match="action") as caught:
        make(backend, version).encode(messages(backend).CallResult("1", {}))
    assert not isinstance(caught.value, PayloadError)
    assert make(backend, version).encode(messages(backend).CallResult("1", {"a": 1}), judge=False) == b'[3,"1",{"a":1}]'


def test_violations_are_refused_and_never_answered(backend: str, version: str) -> None:
    codec, made = make(backend, version), messages(backend)
    for message, keyword in (
        (made.Call("1", "Nonsense", {}), "action"),
        (made.Call("1", "Heartbeat", {"a": 1}), "additionalProperties"),
        (made.Call("1", "Heartbeat", []), "type"),
        (made.CallResult("1", {}, "Heartbeat"), "required"),
    ):
        with pytest.raises(PayloadError) as caught:
            codec.encode(message)
        assert ([v.keyword for v in caught.value.violations], caught.value.reply) == ([keyword], None)


@pytest.mark.parametrize("thing", [None, b"[]", {}, [2, "1", "Heartbeat", {}], "Heartbeat", object()])
def test_not_a_message(backend: str, version: str, thing: Any) -> None:
    with pytest.raises(TypeError):
        make(backend, version).encode(thing)


def test_send(backend: str, version: str) -> None:
    """SEND is 2.1's alone; `basetime` is required in its one message."""
    message = messages(backend).Send("1", "NotifyPeriodicEventStream", {"id": 1})
    if version == "ocpp2.1":
        with pytest.raises(PayloadError) as caught:
            make(backend, version).encode(message)
        assert "basetime" in [v.expected for v in caught.value.violations]
    else:
        with pytest.raises(ValueError, match="ocpp"):
            make(backend, version).encode(message)
