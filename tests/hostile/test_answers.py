"""Stations that answer the server's CALLs wrongly, late, or never."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.hostile.attacker import Raw, call, frame


async def called(raw: Raw, seconds: str, message_id: str = "a") -> str:
    """Makes the server call the station; returns the id of its CALL."""
    raw.send(call(message_id, "DataTransfer", {"vendorId": "V", "messageId": "call", "data": seconds}))
    kind, asked, action, _ = await raw.answer()
    assert (kind, action) == (2, "ClearCache")
    text: str = asked
    return text


def outcome(answer: list[object], message_id: str = "a") -> object:
    kind, asked, payload = answer
    assert (kind, asked) == (3, message_id), answer
    assert isinstance(payload, dict)
    return payload["data"]


async def test_never(caller) -> None:
    """Each such call ends when its time is over; those of a hundred stations do not add up."""
    raws = [await Raw.upgraded(caller.port, f"BAD{number}") for number in range(100)]
    await asyncio.gather(*(called(raw, "0.5") for raw in raws))
    for raw in raws:
        assert outcome(await raw.answer()) == "timeout"
        assert (await raw.ask("next"))[:2] == [3, "next"]
        await raw.end()


async def test_too_late(caller) -> None:
    raw = await Raw.upgraded(caller.port, "BAD")
    asked = await called(raw, "0.2")
    assert outcome(await raw.answer()) == "timeout"
    for _ in range(100):
        raw.send(frame(json.dumps([3, asked, {"status": "Accepted"}])))
    assert (await raw.ask("next"))[:2] == [3, "next"]
    await raw.end()


@pytest.mark.parametrize("version", ["ocpp1.6", "ocpp2.0.1", "ocpp2.1"])
async def test_with_wrong_ids(caller, version) -> None:
    """Thousands of answers to nothing change nothing; the right one is taken, the first time it comes."""
    raw = await Raw.upgraded(caller.port, "BAD", version)
    if version != "ocpp1.6":
        await raw.ask(
            "0", "BootNotification", {"reason": "PowerUp", "chargingStation": {"model": "M", "vendorName": "V"}}
        )
    asked = await called(raw, "30")
    for number in range(2000):
        raw.send(frame(json.dumps([3, f"{asked[:-4]}{number:04}", {"status": "Accepted"}])))
        raw.send(frame(json.dumps([4, str(number), "GenericError", "", {}])))
    await raw.flush()
    for _ in range(3):
        raw.send(frame(json.dumps([3, asked, {"status": "Accepted"}])))
    assert outcome(await raw.answer()) == "answered"
    assert (await raw.ask("next"))[:2] == [3, "next"]
    await raw.end()


ANSWERS = {
    "a status that is none": ('[3,"%s",{"status":"Perhaps"}]', "invalid"),
    "nothing": ('[3,"%s",{}]', "invalid"),
    "an array": ('[3,"%s",[]]', "invalid"),
    "two elements": ('[3,"%s"]', "invalid"),
    "JSON that breaks off": ('[3,"%s",{"status":', "invalid"),
    "an error": ('[4,"%s","SecurityError","",{}]', "SecurityError"),
    "an error of its own": ('[4,"%s","Nonsense\\u0000","",{}]', "Nonsense\0"),
    "an error without details": ('[4,"%s","InternalError",""]', "InternalError"),
    "an error that is none": ('[4,"%s",5,[],7]', "invalid"),
}


@pytest.mark.parametrize("what", ANSWERS)
async def test_with_nonsense(caller, what) -> None:
    text, expected = ANSWERS[what]
    raw = await Raw.upgraded(caller.port, "BAD")
    asked = await called(raw, "30")
    raw.send(frame(text % asked))
    assert outcome(await raw.answer()) == expected
    assert (await raw.ask("next"))[:2] == [3, "next"]
    await raw.end()


async def test_with_a_call_of_the_same_id(caller) -> None:
    """Ids are each side's own: the station may use the server's for its CALL while that waits."""
    raw = await Raw.upgraded(caller.port, "BAD")
    asked = await called(raw, "30")
    raw.send(call(asked) + frame(json.dumps([3, asked, {"status": "Accepted"}])))
    assert outcome(await raw.answer()) == "answered"
    assert (await raw.answer())[:2] == [3, asked]
    await raw.end()


async def test_by_asking_in_turn(caller) -> None:
    """More CALLs than the inbox holds while a handler waits for the station: some are answered, the rest refused."""
    raw = await Raw.upgraded(caller.port, "BAD")
    asked = await called(raw, "30")
    for number in range(1000):
        raw.send(call(f"c{number}"))
    raw.send(frame(json.dumps([3, asked, {"status": "Accepted"}])))
    answers: dict[str, int] = {}
    while len(answers) < 1001:
        answer = await raw.answer()
        assert answer[1] not in answers
        answers[answer[1]] = answer[0]
    assert answers["a"] == 3
    assert {answers[f"c{number}"] for number in range(1000)} == {3, 4}
    await raw.end()
