"""The endpoint alone: two of them talk, or one is fed by hand. Time is a number."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from evcore import Codec
from evcore.endpoint import Answer, Endpoint, EndpointError, Failure, Fault, Memory, Notice, Repeat, Request, Stray
from evcore.errors import PayloadError
from evcore.message import CallError, CallResult

HEARTBEAT = b'[2,"h","Heartbeat",{}]'
ANSWER = {"currentTime": "2026-03-01T10:00:00Z"}


def endpoint(version: str = "ocpp1.6", **options: Any) -> Endpoint:
    numbers = itertools.count(1)
    return Endpoint(Codec(version), new_id=lambda: f"own-{next(numbers)}", **options)


def kinds(one: Endpoint) -> list[str]:
    return [type(event).__name__ for event in one.events()]


def test_two_endpoints_with_crossing_calls() -> None:
    csms, station = endpoint(), endpoint()
    csms.call("Reset", {"type": "Soft"}, 0.0)
    station.call("Heartbeat", {}, 0.0)
    for frame in csms.frames():
        station.receive(frame, 0.1)
    for frame in station.frames():
        csms.receive(frame, 0.1)
    (reset,), (beat,) = station.events(), csms.events()
    assert isinstance(reset, Request)
    assert isinstance(beat, Request)
    station.answer(reset.call, {"status": "Accepted"}, 0.2)
    csms.answer(beat.call, ANSWER, 0.2)
    for frame in station.frames():
        csms.receive(frame, 0.3)
    for frame in csms.frames():
        station.receive(frame, 0.3)
    (done,) = csms.events()
    assert isinstance(done, Answer)
    assert (done.id, done.action) == ("own-1", "Reset")
    assert isinstance(done.result, CallResult)
    assert done.result.payload == {"status": "Accepted"}
    assert kinds(station) == ["Answer"]
    assert csms.deadline is None


def test_one_own_call_at_a_time() -> None:
    one = endpoint(queue=2)
    ids = [one.call("Reset", {"type": "Soft"}, 0.0) for _ in range(3)]
    assert [json.loads(frame)[1] for frame in one.frames()] == ids[:1]
    with pytest.raises(EndpointError):
        one.call("Reset", {"type": "Soft"}, 0.0)
    one.receive(f'[3,"{ids[0]}",{{"status":"Accepted"}}]', 1.0)
    assert [json.loads(frame)[1] for frame in one.frames()] == ids[1:2]
    one.receive(f'[4,"{ids[1]}","InternalError","no",{{}}]', 1.0)
    first, second = one.events()
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert second.result == CallError(ids[1], "InternalError", "no", {})
    assert [json.loads(frame)[1] for frame in one.frames()] == ids[2:]


def test_invalid_own_payload_is_the_callers_mistake() -> None:
    one = endpoint()
    with pytest.raises(PayloadError):
        one.call("Reset", {"type": "Nonsense"}, 0.0)
    assert not one.frames()
    assert one.deadline is None


def test_timeout_then_late_answer() -> None:
    one = endpoint(call_timeout=30.0)
    first = one.call("Reset", {"type": "Soft"}, 10.0)
    second = one.call("ClearCache", {}, 10.0, timeout=5.0)
    assert one.deadline == 40.0
    one.expire(39.9)
    assert not one.events()
    one.expire(40.0)
    (failure,) = one.events()
    assert failure == Failure(first, "Reset", "timeout")
    assert one.deadline == 45.0, "the next one's time begins when it is sent"
    one.receive(f'[3,"{first}",{{"status":"Accepted"}}]', 41.0)
    (stray,) = one.events()
    assert isinstance(stray, Stray)
    assert stray.reason == "late"
    one.receive(f'[3,"{second}",{{"status":"Accepted"}}]', 42.0)
    assert kinds(one) == ["Answer"]
    one.receive(f'[3,"{second}",{{"status":"Accepted"}}]', 42.0)
    (stray,) = one.events()
    assert isinstance(stray, Stray)
    assert stray.reason == "duplicate"
    one.receive('[3,"never-sent",{"status":"Accepted"}]', 42.0)
    (stray,) = one.events()
    assert isinstance(stray, Stray)
    assert stray.reason == "unknown"


@pytest.mark.parametrize(
    ("version", "answer", "replies"),
    [
        ("ocpp1.6", '[3,"{id}",{"status":"Nonsense"}]', 0),
        ("ocpp2.0.1", '[3,"{id}",{"status":"Nonsense"}]', 0),
        ("ocpp2.1", '[3,"{id}",{"status":"Nonsense"}]', 1),
        ("ocpp1.6", '[3,"{id}",{"status":', 0),
        ("ocpp2.1", '[3,"{id}",{"status":', 1),
        ("ocpp1.6", '[3,"{id}"]', 0),
    ],
)
def test_answers_that_cannot_be_used_end_the_call_at_once(version, answer, replies) -> None:
    one = endpoint(version)
    call_id = one.call("ClearCache", {}, 0.0)
    one.frames()
    one.receive(answer.replace("{id}", call_id), 1.0)
    fault, failure = one.events()
    assert isinstance(fault, Fault)
    assert isinstance(failure, Failure)
    assert (failure.id, failure.reason) == (call_id, "invalid")
    sent = one.frames()
    assert [json.loads(frame)[:2] for frame in sent] == [[5, call_id]] * replies


@pytest.mark.parametrize(
    ("bad", "told"), [('[3,"other",{"x":1}]', "Stray"), ('[3,"other",{"x":', "Fault"), ('[3,"other"]', "Fault")]
)
def test_bad_answers_to_nothing_are_not_answered_while_another_call_waits(bad, told) -> None:
    """What an answer to another CALL must look like is not known any more, so it is not judged."""
    one = endpoint("ocpp2.1")
    one.call("ClearCache", {}, 0.0)
    one.frames()
    one.receive(bad, 1.0)
    assert kinds(one) == [told]
    assert not one.frames()
    assert one.deadline == 30.0


def test_refusal_of_our_answer_is_told() -> None:
    one = endpoint("ocpp2.1")
    one.receive('[5,"x","FormatViolation","",{}]', 0.0)
    (stray,) = one.events()
    assert isinstance(stray, Stray)
    assert stray.reason == "refused"
    assert not one.frames()


def test_send_passes_waiting_calls() -> None:
    one, other = endpoint("ocpp2.1"), endpoint("ocpp2.1")
    one.call("Heartbeat", {}, 0.0)
    one.send(
        "NotifyPeriodicEventStream",
        {"id": 1, "pending": 0, "basetime": ANSWER["currentTime"], "data": [{"t": 0, "v": "1"}]},
    )
    for frame in one.frames():
        other.receive(frame, 0.0)
    request, notice = other.events()
    assert isinstance(request, Request)
    assert isinstance(notice, Notice)
    assert not other.frames()


def test_calls_of_the_peer_come_one_by_one() -> None:
    one = endpoint(inbox=1)
    for name in "abc":
        one.receive(f'[2,"{name}","Heartbeat",{{}}]', 0.0)
    (first,) = one.events()
    assert isinstance(first, Request)
    (busy,) = one.frames()
    assert json.loads(busy)[:3] == [4, "c", "InternalError"]
    one.refuse(first.call, "GenericError", "no")
    (second,) = one.events()
    assert isinstance(second, Request)
    assert second.call.id == "b"
    one.answer(second.call, ANSWER, 0.0)
    assert [json.loads(frame)[:2] for frame in one.frames()] == [[4, "a"], [3, "b"]]
    with pytest.raises(EndpointError):
        one.answer(second.call, ANSWER, 0.0)


def test_an_invalid_answer_leaves_the_call_at_work() -> None:
    one = endpoint()
    one.receive(HEARTBEAT, 0.0)
    (request,) = one.events()
    assert isinstance(request, Request)
    with pytest.raises(PayloadError):
        one.answer(request.call, {}, 0.0)
    assert not one.frames()
    one.refuse(request.call, "InternalError")
    assert json.loads(one.frames()[0])[2] == "InternalError"


def test_refused_calls_may_be_tried_again() -> None:
    one = endpoint()
    for _ in range(2):
        one.receive(HEARTBEAT, 0.0)
        (request,) = one.events()
        assert isinstance(request, Request)
        one.refuse(request.call, "InternalError")


def test_memory_forgets_with_time() -> None:
    one = endpoint(memory=Memory(seconds=600))
    one.receive(HEARTBEAT, 0.0)
    (request,) = one.events()
    one.answer(request.call, ANSWER, 0.0)
    one.receive(HEARTBEAT, 600.0)
    (event,) = one.events()
    assert isinstance(event, Repeat)
    one.receive(HEARTBEAT.decode(), 600.0)
    assert kinds(one) == ["Repeat"], "text and bytes of the same frame are the same frame"
    one.receive(HEARTBEAT, 600.1)
    assert kinds(one) == ["Request"]
    assert len(one.frames()) == 3


def test_the_end_of_the_connection() -> None:
    memory = Memory()
    one = endpoint(memory=memory)
    ids = [one.call("Reset", {"type": "Soft"}, 0.0) for _ in range(2)]
    start = (
        b'[2,"s","StartTransaction",{"connectorId":1,"idTag":"A","meterStart":0,"timestamp":"2026-03-01T10:00:00Z"}]'
    )
    one.receive(start, 0.0)
    one.receive(HEARTBEAT, 0.0)
    (request,) = one.events()
    one.lost()
    one.lost()
    assert one.events() == [Failure(call_id, "Reset", "lost") for call_id in ids]
    assert one.deadline is None
    with pytest.raises(EndpointError):
        one.call("Reset", {"type": "Soft"}, 0.0)
    one.answer(request.call, {"transactionId": 5, "idTagInfo": {"status": "Accepted"}}, 1.0)
    assert not one.frames()
    assert not one.events(), "what waited behind it is gone"

    memory.reconnected()
    again = endpoint(memory=memory)
    again.receive(start, 2.0)
    assert kinds(again) == ["Repeat"], "the station retries what it got no answer to"
    assert json.loads(again.frames()[0])[2]["transactionId"] == 5
