"""The outbox: order, retries, what is given up, versions, numbers of transactions; alone and within an endpoint."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evcore import Codec
from evcore.endpoint import Answer, Boot, Discarded, Endpoint, Outbox, OutboxFull, Stored, Stray
from evcore.endpoint.outbox import UNNUMBERED, dispensable
from evcore.message import Call

START = {"connectorId": 1, "idTag": "A", "meterStart": 0, "timestamp": "2026-01-01T00:00:00Z"}
STOP = {"meterStop": 9, "timestamp": "2026-01-01T01:00:00Z", "transactionId": UNNUMBERED}
SAMPLE = [{"timestamp": "2026-01-01T00:30:00Z", "sampledValue": [{"value": "4"}]}]
STARTED = {"idTagInfo": {"status": "Accepted"}, "transactionId": 77}


def event(kind: str, seq: int) -> dict[str, Any]:
    return {
        "eventType": kind,
        "timestamp": "2026-01-01T00:00:00Z",
        "triggerReason": "MeterValuePeriodic",
        "seqNo": seq,
        "offline": True,
        "transactionInfo": {"transactionId": "T"},
    }


def filled(*names: str, version: str = "", **options: Any) -> Outbox:
    """Messages by name; a name that ends in `?` is dispensable."""
    outbox = Outbox(**options)
    for name in names:
        outbox.put(name, "TransactionEvent", name.encode(), name.endswith("?"), version=version)
    return outbox


def ids(outbox: Outbox) -> list[str]:
    return [stored.id for stored in outbox]


def sent(outbox: Outbox, now: float, version: str = "") -> Stored:
    stored = outbox.head(now, version)
    assert stored is not None
    outbox.transmitted(stored)
    return stored


# Order and retries


def test_the_example_of_the_specification() -> None:
    """Three attempts, 60 s: send, 60 s, send, 120 s, send, discard, and on with the next."""
    outbox = filled("a", "b", attempts=3, interval=60.0)
    first = sent(outbox, 0.0)
    assert not outbox.failed(first, 10.0)
    assert (outbox.head(69.0), outbox.due()) == (None, 70.0)
    assert sent(outbox, 70.0) is first
    assert not outbox.failed(first, 80.0)
    assert (outbox.head(199.0), outbox.due()) == (None, 200.0)
    assert sent(outbox, 200.0) is first
    assert outbox.failed(first, 210.0)
    assert sent(outbox, 210.0).id == "b"


def test_the_later_ones_wait_while_the_first_does() -> None:
    outbox = filled("a", "b")
    outbox.failed(sent(outbox, 0.0), 0.0)
    assert outbox.head(59.0) is None


def test_one_is_on_its_way_at_a_time() -> None:
    """Even if a connection that is not quite over shares the outbox with the next one."""
    outbox = filled("a", "b")
    stored = sent(outbox, 0.0)
    assert (outbox.head(9999.0), outbox.due()) == (None, None)
    outbox.lost(stored)
    assert outbox.head(0.0) is stored


def test_a_lost_connection_is_not_counted_and_the_message_is_due_at_once() -> None:
    outbox = filled("a", attempts=1)
    outbox.lost(sent(outbox, 0.0))
    assert sent(outbox, 0.0).transmissions == 1


def test_a_message_that_ends_every_connection_is_given_up_in_the_end() -> None:
    outbox = filled("poison", "good", attempts=3, losses=4)
    ends = [outbox.lost(sent(outbox, 0.0)) for _ in range(7)]
    assert ends == [False] * 6 + [True]
    assert sent(outbox, 0.0).id == "good"


def test_attempts_and_interval_may_change() -> None:
    outbox = filled("a", attempts=1, interval=1.0)
    outbox.attempts, outbox.interval = 2, 5.0
    assert not outbox.failed(sent(outbox, 0.0), 0.0)
    assert outbox.due() == 5.0


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"interval": -1}, {"size": 0}, {"losses": -1}])
def test_settings_that_are_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least"):
        Outbox(**wrong)


ENDS = st.lists(st.sampled_from(["answered", "failed", "lost", "put", "put?", "tick"]), max_size=60)


@given(ENDS, st.integers(1, 6), st.integers(1, 3), st.integers(0, 2))
def test_whatever_happens(steps: list[str], size: int, attempts: int, losses: int) -> None:
    """In order, never beyond the attempts, never more than the size, each message ends once, bills stay."""
    outbox = Outbox(attempts=attempts, interval=1.0, size=size, losses=losses)
    put: list[str] = []
    over: list[str] = []
    transmissions: dict[str, int] = {}
    now, last = 0.0, -1
    for number, step in enumerate(steps):
        if step.startswith("put"):
            name = f"{number}{step[3:]}"
            try:
                outbox.put(name, "TransactionEvent", b"", name.endswith("?"))
                put.append(name)
            except OutboxFull:
                assert len(outbox) == size
                assert not any(stored.dispensable for stored in outbox)
            dropped = [stored.id for stored in outbox.dropped()]
            assert all(name.endswith("?") for name in dropped)
            over += dropped
        elif step == "tick":
            now += 1.0
        elif stored := outbox.head(now):
            outbox.transmitted(stored)
            transmissions[stored.id] = transmissions.get(stored.id, 0) + 1
            assert stored.number >= last
            last = stored.number
            if step == "answered":
                outbox.answered(stored)
                over.append(stored.id)
            elif outbox.failed(stored, now) if step == "failed" else outbox.lost(stored):
                over.append(stored.id)
        assert len(outbox) <= size
    assert sorted(over + ids(outbox)) == sorted(put)
    assert all(count <= attempts + losses for count in transmissions.values())


# Room


def test_every_second_dispensable_one_goes_the_first_of_them_first() -> None:
    outbox = filled("start", "1?", "2?", "3?", "4?", "5?", "end", size=7)
    outbox.put("start2", "TransactionEvent", b"", False)
    assert ids(outbox) == ["start", "2?", "4?", "end", "start2"]
    assert [stored.id for stored in outbox.dropped()] == ["1?", "3?", "5?"]
    assert outbox.dropped() == []


def test_what_is_on_its_way_is_not_given_up() -> None:
    outbox = filled("1?", "end", size=2)
    sent(outbox, 0.0)
    with pytest.raises(OutboxFull):
        outbox.put("x", "TransactionEvent", b"", False)
    assert ids(outbox) == ["1?", "end"]


def test_a_full_outbox_says_no_rather_than_lose_a_bill() -> None:
    outbox = filled("start", "end", size=2)
    with pytest.raises(OutboxFull):
        outbox.put("update?", "TransactionEvent", b"", True)
    assert ids(outbox) == ["start", "end"]


@pytest.mark.parametrize(
    ("action", "payload", "expected"),
    [
        ("TransactionEvent", {"eventType": "Started"}, False),
        ("TransactionEvent", {"eventType": "Updated"}, True),
        ("TransactionEvent", {"event_type": "Updated"}, True),
        ("TransactionEvent", {"eventType": "Ended"}, False),
        ("StartTransaction", {}, False),
        ("StopTransaction", {}, False),
        ("MeterValues", {}, True),
    ],
)
def test_what_a_bill_can_do_without(action: str, payload: dict[str, Any], expected: bool) -> None:
    assert dispensable(action, payload) is expected


# Versions


def test_a_frame_waits_for_a_connection_of_its_version() -> None:
    outbox = filled("old", version="ocpp1.6")
    new = outbox.put("new", "TransactionEvent", b"", False, version="ocpp2.0.1")
    assert outbox.head(0.0, "ocpp2.0.1") is new
    assert [stored.id for stored in outbox.of_other_versions("ocpp2.0.1")] == ["old"]
    sent(outbox, 0.0, "ocpp2.0.1")
    outbox.answered(new)
    assert (outbox.head(0.0, "ocpp2.0.1"), outbox.due("ocpp2.0.1")) == (None, None)
    assert sent(outbox, 0.0, "ocpp1.6").id == "old"


def test_what_waits_for_a_version_can_be_given_up() -> None:
    outbox = filled("old", "older", version="ocpp1.6")
    for stored in outbox.of_other_versions("ocpp2.1"):
        outbox.remove(stored)
    assert len(outbox) == 0


# Transactions of 1.6


def offline_charge(codec: Codec) -> Outbox:
    outbox = Outbox()
    sample = {"connectorId": 1, "transactionId": UNNUMBERED, "meterValue": SAMPLE}
    messages = [
        ("StartTransaction", START, "mine"),
        ("MeterValues", sample, "mine"),
        ("StopTransaction", STOP, "another"),
        ("StopTransaction", {**STOP, "idTag": '"transactionId":-1,'}, "mine"),
    ]
    for number, (action, payload, transaction) in enumerate(messages):
        frame = codec.encode(Call(str(number), action, payload))
        outbox.put(str(number), action, frame, False, version="ocpp1.6", transaction=transaction)
    return outbox


def test_a_charge_without_connection_gets_its_number_when_it_is_known() -> None:
    outbox = offline_charge(Codec("ocpp1.6"))
    outbox.answered(sent(outbox, 0.0), STARTED)
    payloads = [json.loads(stored.frame)[3] for stored in outbox]
    assert [payload["transactionId"] for payload in payloads] == [77, UNNUMBERED, 77]
    assert payloads[2]["idTag"] == '"transactionId":-1,'


def stop(outbox: Outbox, transaction: str = "mine") -> int:
    frame = Codec("ocpp1.6").encode(Call("s", "StopTransaction", STOP))
    stored = outbox.put("s", "StopTransaction", frame, False, transaction=transaction)
    number: int = json.loads(stored.frame)[3]["transactionId"]
    return number


def test_what_is_stored_after_the_answer_gets_the_number_at_once() -> None:
    outbox = Outbox()
    outbox.put("1", "StartTransaction", b"", False, transaction="mine")
    outbox.answered(sent(outbox, 0.0), STARTED)
    assert (stop(outbox, "another"), stop(outbox)) == (UNNUMBERED, 77)


def test_a_number_is_forgotten_when_its_transaction_is_over() -> None:
    outbox = Outbox()
    outbox.put("1", "StartTransaction", b"", False, transaction="mine")
    outbox.answered(sent(outbox, 0.0), STARTED)
    assert stop(outbox) == 77
    outbox.answered(sent(outbox, 0.0))
    assert stop(outbox) == UNNUMBERED


def test_another_charge_by_the_same_name_has_another_number() -> None:
    outbox = Outbox()
    outbox.put("1", "StartTransaction", b"", False, transaction="mine")
    outbox.answered(sent(outbox, 0.0), STARTED)
    outbox.put("2", "StartTransaction", b"", False, transaction="mine")
    assert stop(outbox) == UNNUMBERED
    outbox.answered(sent(outbox, 0.0), {"transactionId": 78})
    assert json.loads(next(iter(outbox)).frame)[3]["transactionId"] == 78


def test_two_charges_by_the_same_name_without_connection() -> None:
    outbox = Outbox()
    for _ in range(2):
        outbox.put("1", "StartTransaction", b"", False, transaction="mine")
        stop(outbox)
    found = []
    for number in (77, 78):
        outbox.answered(sent(outbox, 0.0), {"transactionId": number})
        found.append(json.loads(next(iter(outbox)).frame)[3]["transactionId"])
        outbox.answered(sent(outbox, 0.0))
    assert found == [77, 78]


def test_charges_that_never_stop_are_forgotten_in_the_end() -> None:
    outbox = Outbox(size=2)
    for name in "abc":
        outbox.put("1", "StartTransaction", b"", False, transaction=name)
        outbox.answered(sent(outbox, 0.0), STARTED)
    assert (stop(outbox, "a"), stop(outbox, "c")) == (UNNUMBERED, 77)


@pytest.mark.parametrize(
    "payload", [None, {}, {"transactionId": "7"}, {"transactionId": True}, [1], {"transactionId": 10**9999}]
)
def test_an_answer_without_a_number_leaves_the_messages_as_they_are(payload: Any) -> None:
    outbox = offline_charge(Codec("ocpp1.6"))
    outbox.answered(sent(outbox, 0.0), payload)
    assert {json.loads(stored.frame)[3]["transactionId"] for stored in outbox} == {UNNUMBERED}


def test_a_number_that_was_known_is_left_alone() -> None:
    outbox = Outbox()
    codec = Codec("ocpp1.6")
    outbox.put("1", "StartTransaction", codec.encode(Call("1", "StartTransaction", START)), False, transaction="mine")
    for number in (-10, 5):
        frame = codec.encode(Call("2", "StopTransaction", {**STOP, "transactionId": number}))
        outbox.put("2", "StopTransaction", frame, False, transaction="mine")
    outbox.answered(sent(outbox, 0.0), STARTED)
    assert [json.loads(stored.frame)[3]["transactionId"] for stored in outbox] == [-10, 5]


# Within an endpoint


def station(outbox: Outbox, version: str = "ocpp2.0.1", **options: Any) -> Endpoint:
    return Endpoint(Codec(version), role="station", outbox=outbox, call_timeout=30.0, **options)


def outgoing(endpoint: Endpoint) -> list[str]:
    return [json.loads(frame)[1] for frame in endpoint.frames()]


def test_the_same_frame_goes_again_over_the_next_connection() -> None:
    outbox = Outbox()
    first = station(outbox)
    call_id = first.store("TransactionEvent", event("Started", 0), 0.0)
    frames = first.frames()
    first.lost()
    second = station(outbox)
    second.expire(1.0)
    assert second.frames() == frames
    second.receive(json.dumps([3, call_id, {}]), 2.0)
    assert [type(found) for found in second.events()] == [Answer]
    assert len(outbox) == 0


def test_a_late_answer_spares_a_transmission() -> None:
    """A CSMS that is slower than the time-out takes each message once, not `attempts` times, and nothing is lost."""
    outbox = Outbox(interval=60.0)
    endpoint = station(outbox)
    first = endpoint.store("TransactionEvent", event("Started", 0), 0.0)
    second = endpoint.store("TransactionEvent", event("Ended", 1), 0.0)
    assert outgoing(endpoint) == [first]
    endpoint.expire(30.0)
    endpoint.receive(json.dumps([3, first, {}]), 35.0)
    assert [found.reason for found in endpoint.events() if isinstance(found, Stray)] == ["late"]
    endpoint.expire(36.0)
    assert outgoing(endpoint) == [second]


def test_an_error_is_tried_again_and_given_up_with_an_event() -> None:
    outbox = Outbox(attempts=2, interval=1.0)
    endpoint = station(outbox)
    call_id = endpoint.store("TransactionEvent", event("Started", 0), 0.0)
    error = json.dumps([4, call_id, "InternalError", "", {}])
    endpoint.receive(error, 0.0)
    endpoint.expire(1.0)
    endpoint.receive(error, 1.0)
    assert outgoing(endpoint) == [call_id, call_id]
    assert [found.reason for found in endpoint.events() if isinstance(found, Discarded)] == ["attempts"]


def test_an_answer_that_breaks_its_schema_ends_it_all_the_same() -> None:
    outbox = Outbox()
    endpoint = station(outbox, "ocpp1.6")
    call_id = endpoint.store("StartTransaction", START, 0.0, transaction="mine")
    endpoint.store("StopTransaction", STOP, 0.0, transaction="mine")
    endpoint.receive(json.dumps([3, call_id, {"transactionId": 5}]), 0.0)
    last = json.loads(endpoint.frames()[-1])
    assert last[2:] == ["StopTransaction", {**STOP, "transactionId": 5}]


def test_nothing_goes_before_the_station_is_accepted() -> None:
    boot = Boot()
    endpoint = station(Outbox(), boot=boot)
    endpoint.store("TransactionEvent", event("Started", 0), 0.0)
    assert outgoing(endpoint) == []
    boot.answered("Accepted")
    endpoint.booted(0.0)
    endpoint.expire(0.0)
    assert len(outgoing(endpoint)) == 1


def test_what_had_no_room_is_told_even_where_storing_fails() -> None:
    class Broken:
        def load(self) -> list[Stored]:
            return []

        def numbers(self) -> dict[str, int]:
            return {}

        def stored(self, stored: Stored) -> None:
            if stored.number > 2:
                raise OSError("full")

        def changed(self, stored: Stored) -> None: ...

        def removed(self, stored: Stored) -> None: ...

        def numbered(self, transaction: str, number: int | None) -> None: ...

    outbox = Outbox(size=2, journal=Broken())
    endpoint = station(outbox, boot=Boot())
    endpoint.store("TransactionEvent", event("Updated", 0), 0.0)
    endpoint.store("TransactionEvent", event("Ended", 1), 0.0)
    with pytest.raises(OSError, match="full"):
        endpoint.store("TransactionEvent", event("Started", 0), 0.0)
    assert [type(found) for found in endpoint.events()] == [Discarded]
    assert len(outbox) == 1
