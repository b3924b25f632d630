"""The boot gate of both sides: every row of its tables against the rules as the documents have them, and by hand."""

from __future__ import annotations

import enum
import itertools
import json
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from wire.messages import MESSAGES, STREAM, result
from wire.rules import Told, sent, taken

from evcore import Codec
from evcore.endpoint import Boot, Endpoint, EndpointError, GateMode, Memory, Request
from evcore.endpoint.boot import OWN, PEER, REMOTE, STAGES, triggered_by
from evcore.errors import PayloadError

CODECS = {version: Codec(version) for version in MESSAGES}
MODES = get_args(GateMode)
#: What a station was told, in order, for each stage.
WORDS: dict[str, tuple[str, ...]] = {
    "new": (),
    "pending": ("Pending",),
    "rejected": ("Rejected",),
    "accepted": ("Accepted",),
    "pending again": ("Accepted", "Pending"),
    "rejected again": ("Accepted", "Rejected"),
}
V2 = ("ocpp2.0.1", "ocpp2.1")


def at(stage: str) -> tuple[Boot, Told]:
    boot, told = Boot(), Told()
    for word in WORDS[stage]:
        boot.answered(word)
        told.boots(word)
    return boot, told


def endpoint(version: str, role: str, boot: Boot | None = None, **options: Any) -> Endpoint:
    numbers = itertools.count(1)
    return Endpoint(
        CODECS[version],
        role=role,  # type: ignore[arg-type]
        boot=boot or Boot(),
        new_id=lambda: f"own-{next(numbers)}",
        **options,
    )


def message(version: str, action: str) -> dict[str, Any]:
    return next(
        payload
        for messages in MESSAGES[version].values()
        for name, payload in messages
        if name == action and payload.get("requestedMessage") != "Heartbeat"
    )


def arrives(one: Endpoint, action: str, payload: Any = None, call_id: str = "p", now: float = 0.0) -> None:
    one.receive(json.dumps([2, call_id, action, message(one.version, action) if payload is None else payload]), now)


def kinds(one: Endpoint) -> list[str]:
    return [type(event).__name__ for event in one.events()]


def sent_by(one: Endpoint) -> list[list[Any]]:
    return [json.loads(frame) for frame in one.frames()]


def serve(one: Endpoint, action: str, status: str = "Accepted", now: float = 0.0, **options: Any) -> None:
    """A CALL arrives and is answered."""
    arrives(one, action, now=now, **options)
    (request,) = [event for event in one.events() if isinstance(event, Request)]
    one.answer(request.call, result(action, status), now)


# -- the tables -------------------------------------------------------------------------------------------------------


def test_the_tables_have_all_rows() -> None:
    assert set(STAGES) == set(WORDS)
    assert set(PEER) == {("csms", mode) for mode in MODES} | {("station", "1.6"), ("station", "2.x")}
    assert set(OWN) == set(itertools.product(("csms", "station"), ("1.6", "2.x")))
    assert all(set(row) == set(STAGES) for table in (PEER, OWN) for row in table.values())


@pytest.mark.parametrize("stage", STAGES)
def test_boot_counts_the_stages(stage) -> None:
    assert at(stage)[0].stage == stage


@pytest.mark.parametrize("triggered", [False, True])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version", MESSAGES)
@pytest.mark.parametrize("role", ["csms", "station"])
def test_calls_of_the_peer(role, version, mode, stage, triggered) -> None:
    """Every row and stage, with a BootNotification, an order to start or stop, and two others."""
    for action, payload in itertools.chain(*MESSAGES[version].values()):
        boot, told = at(stage)
        if triggered:
            boot.trigger("StatusNotification")
            told.triggered.add("StatusNotification")
        one = endpoint(version, role, boot, gate=mode)
        arrives(one, action, payload)
        heard, out = kinds(one), sent_by(one)
        verdict = taken(role, version, mode, told, action)
        if verdict == "yes":
            assert (heard, out) == (["Request"], [])
        elif verdict == "silence":
            assert (heard, out) == (["Gated"], [])
        elif verdict == "Rejected":
            assert (heard, out) == (["Gated"], [[3, "p", {"status": "Rejected"}]])
        else:
            assert heard == ["Gated"]
            assert [frame[:3] for frame in out] == [[4, "p", "SecurityError"]]


@pytest.mark.parametrize("triggered", [False, True])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("version", MESSAGES)
@pytest.mark.parametrize("role", ["csms", "station"])
def test_own_calls(role, version, stage, triggered) -> None:
    for action, payload in itertools.chain(*MESSAGES[version].values()):
        boot, told = at(stage)
        if triggered:
            boot.trigger("StatusNotification")
            told.triggered.add("StatusNotification")
        one = endpoint(version, role, boot)
        verdict = sent(role, version, told, action)
        if verdict == "never":
            with pytest.raises(EndpointError):
                one.call(action, payload, 0.0)
            assert one.waiting == (0, 0)
        else:
            one.call(action, payload, 0.0)
            assert len(one.frames()) == (verdict == "now")
            assert one.waiting == (0, 1)


def test_without_a_boot_nothing_is_gated() -> None:
    one = Endpoint(CODECS["ocpp2.1"], role="station")
    one.call("Heartbeat", {}, 0.0)
    assert len(one.frames()) == 1


# -- what is triggered ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "payload", "asked"),
    [
        ("TriggerMessage", {"requestedMessage": "StatusNotification"}, "StatusNotification"),
        ("TriggerMessage", {"requested_message": "MeterValues"}, "MeterValues"),
        ("TriggerMessage", SimpleNamespace(requested_message="Heartbeat"), "Heartbeat"),
        ("TriggerMessage", {"requestedMessage": "SignChargingStationCertificate"}, "SignCertificate"),
        ("TriggerMessage", {"requestedMessage": "SignV2GCertificate"}, "SignCertificate"),
        ("TriggerMessage", {"requestedMessage": "SignV2G20Certificate"}, "SignCertificate"),
        ("TriggerMessage", {"requestedMessage": "SignCombinedCertificate"}, "SignCertificate"),
        ("ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"}, "SignCertificate"),
        ("ExtendedTriggerMessage", {"requestedMessage": "FirmwareStatusNotification"}, "FirmwareStatusNotification"),
        ("GetBaseReport", {"requestId": 1, "reportBase": "FullInventory"}, "NotifyReport"),
        ("GetReport", {"requestId": 1}, "NotifyReport"),
        ("TriggerMessage", {"requestedMessage": 7}, None),
        ("TriggerMessage", None, None),
        ("Reset", {"type": "Immediate"}, None),
        ("GetVariables", {}, None),
    ],
)
def test_what_a_call_triggers(action, payload, asked) -> None:
    assert triggered_by(action, payload) == asked


def test_enums_count_by_their_values() -> None:
    class Word(enum.Enum):
        ACCEPTED = "Accepted"
        STATUS = "StatusNotification"

    boot = Boot()
    boot.answered(Word.ACCEPTED)
    assert boot.stage == "accepted"
    assert triggered_by("TriggerMessage", {"requestedMessage": Word.STATUS}) == "StatusNotification"


@pytest.mark.parametrize("version", MESSAGES)
def test_a_pending_station_sends_what_the_csms_asked_for(version) -> None:
    """Both sides agree: the CSMS takes it, and the station may send it as soon as it has said yes to the trigger."""
    csms, station = endpoint(version, "csms"), endpoint(version, "station")

    def exchange() -> None:
        while (to_station := csms.frames()) or (to_csms := station.frames()):
            for frame in to_station:
                station.receive(frame, 1.0)
            for frame in station.frames() if to_station else to_csms:
                csms.receive(frame, 1.0)
            for side in (csms, station):
                for event in side.events():
                    heard.append(f"{type(event).__name__} {getattr(event, 'action', '') or event.call.action}")  # type: ignore[union-attr]
                    if isinstance(event, Request):
                        status = "Pending" if event.call.action == "BootNotification" else "Accepted"
                        side.answer(event.call, result(event.call.action, status), 1.0)

    heard: list[str] = []
    station.call("BootNotification", message(version, "BootNotification"), 0.0)
    exchange()
    station.call("StatusNotification", message(version, "StatusNotification"), 0.0)
    station.call("Heartbeat", {}, 0.0)
    exchange()
    assert heard == ["Request BootNotification", "Answer BootNotification"]
    heard.clear()
    csms.call("TriggerMessage", {"requestedMessage": "StatusNotification"}, 0.0)
    exchange()
    assert "Request StatusNotification" in heard
    assert "Answer StatusNotification" in heard
    assert not [line for line in heard if "Heartbeat" in line]
    assert station.waiting == (0, 1)


@pytest.mark.parametrize("version", V2)
def test_reports_are_triggered_too(version) -> None:
    boot = at("pending")[0]
    csms = endpoint(version, "csms", boot)
    arrives(csms, "NotifyReport")
    assert kinds(csms) == ["Gated"]
    csms.call("GetBaseReport", message(version, "GetBaseReport"), 0.0)
    arrives(csms, "NotifyReport", call_id="q")
    assert kinds(csms) == ["Request"]


def test_a_refused_trigger_entitles_to_nothing() -> None:
    station = endpoint("ocpp2.0.1", "station", at("pending")[0])
    serve(station, "TriggerMessage", "Rejected")
    station.frames()
    station.call("StatusNotification", message("ocpp2.0.1", "StatusNotification"), 0.0)
    assert not station.frames()


def test_another_boot_ends_what_was_triggered() -> None:
    boot = at("pending")[0]
    boot.trigger("StatusNotification")
    boot.answered("Pending")
    assert not boot.triggered


# -- in particular ----------------------------------------------------------------------------------------------------


def test_a_rejected_station_of_1_6_says_nothing() -> None:
    """Not to anything: a good CALL, a bad one, an unreadable one, one it has answered before, one of unknown action."""
    boot = at("accepted")[0]
    station = endpoint("ocpp1.6", "station", boot)
    serve(station, "Reset", call_id="1")
    assert len(station.frames()) == 1
    boot.answered("Rejected")
    station.booted(0.0)
    for frame in (
        '[2,"1","Reset",{"type":"Soft"}]',
        '[2,"2","Reset",{"type":"Soft"}]',
        '[2,"3","Reset",{"type":"Nonsense"}]',
        '[2,"4","Nonsense",{}]',
        '[2,"5","Reset",{',
        '[2,"6","Reset"]',
        '[2,"7","BootNotification",{"chargePointVendor":"v","chargePointModel":"m"}]',
    ):
        station.receive(frame, 1.0)
        assert not station.frames(), frame
        assert kinds(station) in (["Gated"], ["Fault"])


@pytest.mark.parametrize("version", V2)
@pytest.mark.parametrize("frame", ['[2,"1","Reset",{"type":"Nonsense"}]', '[2,"1","Nonsense",{}]'])
def test_gated_calls_are_gated_whatever_else_is_wrong(version, frame) -> None:
    station = endpoint(version, "station", at("rejected")[0])
    station.receive(frame, 0.0)
    assert kinds(station) == ["Gated"]
    assert sent_by(station)[0][:3] == [4, "1", "SecurityError"]


@pytest.mark.parametrize("stage", STAGES)
def test_sends(stage) -> None:
    """A SEND is not answered, so one that is gated is dropped; an own one cannot wait, so it is refused."""
    action, payload = STREAM
    frame = json.dumps([6, "s", action, payload])
    csms = endpoint("ocpp2.1", "csms", at(stage)[0])
    csms.receive(frame, 0.0)
    assert kinds(csms) == ["Notice" if stage == "accepted" else "Gated"]
    assert not csms.frames()
    station = endpoint("ocpp2.1", "station", at(stage)[0])
    if stage == "accepted":
        station.send(action, payload)
        assert sent_by(station)[0][0] == 6
    else:
        with pytest.raises(EndpointError):
            station.send(action, payload)
        assert not station.frames()


@pytest.mark.parametrize("stage", ["pending", "pending again"])
def test_orders_that_wait_do_not_slip_through(stage) -> None:
    """An order to start a charge that was queued while the station was accepted, and the station boots meanwhile."""
    boot = at("accepted")[0]
    csms = endpoint("ocpp1.6", "csms", boot)
    reset = csms.call("Reset", {"type": "Soft"}, 0.0)
    stop = csms.call("RemoteStopTransaction", {"transactionId": 1}, 0.0)
    serve(csms, "BootNotification", "Pending")
    csms.frames()
    csms.receive(f'[3,"{reset}",{{"status":"Accepted"}}]', 1.0)
    assert not csms.frames(), "it waits"
    serve(csms, "BootNotification", "Accepted", call_id="again")
    assert [frame[1] for frame in sent_by(csms)] == ["again", stop], "and goes when the station is accepted"
    assert {"RemoteStopTransaction"} <= REMOTE


def test_what_waited_goes_when_the_station_is_accepted() -> None:
    station = endpoint("ocpp2.0.1", "station", queue=2)
    waiting = [station.call("Heartbeat", {}, 0.0) for _ in range(2)]
    with pytest.raises(EndpointError):
        station.call("Heartbeat", {}, 0.0)
    boot = station.call("BootNotification", message("ocpp2.0.1", "BootNotification"), 0.0)
    assert [frame[1] for frame in sent_by(station)] == [boot], "a full queue is no obstacle to booting"
    station.receive(json.dumps([3, boot, result("BootNotification", "Accepted")]), 1.0)
    assert [frame[1] for frame in sent_by(station)] == waiting[:1]


def test_somebody_else_changes_the_state() -> None:
    boot = Boot()
    station = endpoint("ocpp1.6", "station", boot)
    station.call("Heartbeat", {}, 0.0)
    assert not station.frames()
    boot.restore({"status": "accepted", "accepted_before": True})
    station.booted(1.0)
    assert len(station.frames()) == 1


def test_a_refused_boot_changes_nothing() -> None:
    csms = endpoint("ocpp2.0.1", "csms")
    arrives(csms, "BootNotification")
    (request,) = csms.events()
    assert isinstance(request, Request)
    with pytest.raises(PayloadError):
        csms.answer(request.call, {"status": "Accepted"}, 0.0)
    csms.refuse(request.call, "InternalError")
    assert csms.boot is not None
    assert csms.boot.stage == "new"


def test_the_state_outlives_a_connection() -> None:
    boot = Boot()
    serve(endpoint("ocpp2.1", "csms", boot), "BootNotification")
    again = endpoint("ocpp2.1", "csms", boot)
    arrives(again, "Heartbeat", call_id="h")
    assert kinds(again) == ["Request"]


@pytest.mark.parametrize("repeated", [True, False])
def test_an_answer_counts_if_the_station_heard_it(repeated) -> None:
    """The connection ends while a BootNotification is at work. Only if the station sends it again is it accepted."""
    boot, memory = Boot(), Memory()
    old = endpoint("ocpp2.1", "csms", boot, memory=memory)
    arrives(old, "BootNotification")
    (request,) = old.events()
    assert isinstance(request, Request)
    old.lost()
    memory.reconnected()
    new = endpoint("ocpp2.1", "csms", boot, memory=memory)
    if repeated:
        arrives(new, "BootNotification")
        assert kinds(new) == ["Repeat"]
    old.answer(request.call, result("BootNotification", "Accepted"), 1.0)
    assert boot.stage == ("accepted" if repeated else "new")
    assert [frame[1] for frame in sent_by(new)] == ["p"] * repeated
    arrives(new, "Heartbeat", call_id="h", now=2.0)
    assert kinds(new) == ["Request" if repeated else "Gated"]


# -- beyond the process -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_export_and_restore(stage) -> None:
    boot = at(stage)[0]
    boot.trigger("Heartbeat")
    other = Boot("rejected")
    other.restore(json.loads(json.dumps(boot.export())))
    assert (other.stage, other.triggered) == (stage, {"Heartbeat"})


def test_a_state_of_another_version_is_not_taken() -> None:
    boot = Boot()
    boot.restore({"status": "half accepted"})
    assert boot.stage == "new"


@pytest.mark.parametrize("word", ["accepted", "", None, 3, {"status": "Accepted"}])
def test_other_words_say_nothing(word) -> None:
    boot = at("pending")[0]
    boot.answered(word)
    assert boot.stage == "pending"
