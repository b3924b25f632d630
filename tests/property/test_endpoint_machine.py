"""Two endpoints over a wire that loses, delays, reorders, duplicates and corrupts, with connections that end at any
moment and come back, owners that answer rightly, wrongly, late or never, and time that passes.

What must hold is kept in `wire.book`, which goes along with every step. `EVCORE_PROFILE=nightly` takes many more steps.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from wire.book import ATTEMPTS, INTERVAL, LOSSES, ROOM, SIZE, Past, Side
from wire.messages import MESSAGES, STREAM

import evcore
from evcore.endpoint import Outbox
from proof.backends import make
from proof.sizes import PROFILE

#: The endpoint is the same for both codecs; the slow one is given fewer conversations.
EXAMPLES, STEPS = ({"native": 5000, "pure": 1000}, 200) if PROFILE == "nightly" else ({"native": 160, "pure": 40}, 100)

ROLES = ("csms", "station")
ROLE = st.sampled_from(ROLES)
ANY = st.integers(0, 1 << 16)
STATUS = st.sampled_from(["Accepted", "Accepted", "Pending", "Pending", "Rejected"])
#: What was said to a station before.
WORDS = st.sampled_from(
    [("Accepted",), ("Accepted",), (), ("Pending",), ("Pending",), ("Rejected",), ("Accepted", "Pending")]
)
HOW = st.sampled_from(["answer", "answer", "answer", "refuse", "wrong"])
#: What a frame may turn into: bytes taken out, bytes put in.
PIECES = st.sampled_from(
    [b"", b'"', b"]", b"[", b",", b"{}", b"null", b"\xff", b"3", b"4", b"5", b"6", b"-1", b"1", b"2"]
)
#: Frames that are wrong in themselves, with ids the other side may have in use.
NOISE = st.one_of(
    st.binary(max_size=40),
    st.builds(
        lambda kind, rest: f'[{kind},"ID"{rest}'.encode(),
        st.sampled_from(["2", "2", "2", "2", "0", "3", "4", "5", "6", "9", '"3"', "3.0"]),
        st.sampled_from(
            [
                "]",
                ",{}]",
                ',{"status":"Accepted"}]',
                ',{"status":"Nonsense"}]',
                ',"GenericError","",{}]',
                ',"Heartbeat",{}]',
                ',"Heartbeat",{"x":1}]',
                ',"Nonsense",{}]',
                ',"BootNotification",{}]',
                ",{",
                ',"Reset",{',
                "",
            ]
        ),
    ),
)


class Conversation(RuleBasedStateMachine):
    @initialize(
        version=st.sampled_from(sorted(MESSAGES)),
        mode=st.sampled_from(["off", "lenient", "strict"]),
        csms=WORDS,
        station=WORDS,
    )
    def begin(self, version: str, mode: str, csms: tuple[str, ...], station: tuple[str, ...]) -> None:
        self.version = version
        self.now = 0.0
        self.pressed = 0
        outbox = Outbox(attempts=ATTEMPTS, interval=INTERVAL, size=ROOM, losses=LOSSES)
        codec = make(evcore.backend(), version)
        self.past = {
            "csms": Past("csms", codec, mode),
            "station": Past("station", codec, mode, outbox=outbox),
        }
        for past, words in ((self.past["csms"], csms), (self.past["station"], station)):
            for word in words:
                past.boot.answered(word)
                past.told.boots(word)
        self.sides = {role: Side(past) for role, past in self.past.items()}
        #: Sides whose connection is gone while they were at work.
        self.late: list[Side] = []
        #: What each role has sent: on its way, and ever.
        self.flying: dict[str, list[bytes]] = {role: [] for role in ROLES}
        self.history: dict[str, list[bytes]] = {role: [] for role in ROLES}

    def other(self, role: str) -> str:
        return "station" if role == "csms" else "csms"

    # -- owners

    @rule(
        role=ROLE,
        which=st.lists(st.integers(0, 3), min_size=1, max_size=3),
        patience=st.sampled_from([None, None, 5.0, 40.0]),
    )
    def call(self, role: str, which: list[int], patience: float | None) -> None:
        messages = MESSAGES[self.version][role]
        for number in which:
            self.sides[role].call(*messages[number % len(messages)], self.now, patience)

    @rule(role=ROLE, status=STATUS)
    def booted(self, role: str, status: str) -> None:
        """Another process tells how the station was answered."""
        side = self.sides[role]
        side.past.boot.answered(status)
        side.past.told.boots(status)
        side.endpoint.booted(self.now)
        side.settle(self.now, [])

    @rule(role=ROLE, which=st.lists(st.integers(0, 3), min_size=2, max_size=3), status=STATUS)
    def booted_meanwhile(self, role: str, which: list[int], status: str) -> None:
        """Orders wait, and one has its answer when all is different."""
        self.call(role, which, None)
        self.booted(role, status)
        self.reply(role, "3", ',{"status":"Accepted"}]')

    @rule(which=ANY)
    def store(self, which: int) -> None:
        messages = MESSAGES[self.version]["stored"]
        self.sides["station"].store(*messages[which % len(messages)], self.now)

    @precondition(lambda self: self.version == "ocpp2.1")
    @rule(role=ROLE)
    def send(self, role: str) -> None:
        self.sides[role].send(*STREAM)

    @rule(role=ROLE, status=STATUS, how=HOW)
    def answer(self, role: str, status: str, how: str) -> None:
        if self.sides[role].work is not None:
            self.sides[role].answer(status, how, self.now)

    @precondition(lambda self: self.late)
    @rule(which=ANY, status=STATUS, how=HOW)
    def answer_late(self, which: int, status: str, how: str) -> None:
        """A handler ends whose connection is gone."""
        self.late.pop(which % len(self.late)).answer(status, how, self.now)

    # -- the wire

    @rule(role=ROLE, which=ANY, how=st.sampled_from(["take", "keep", "drop"]))
    def deliver(self, role: str, which: int, how: str) -> None:
        """A frame arrives, out of turn perhaps, and perhaps not for the last time, or never does."""
        flying = self.flying[role]
        if flying:
            frame = flying[which % len(flying)] if how == "keep" else flying.pop(which % len(flying))
            if how != "drop":
                self.sides[self.other(role)].receive(frame, self.now)

    @rule(role=ROLE)
    def deliver_all(self, role: str) -> None:
        while self.flying[role]:
            self.sides[self.other(role)].receive(self.flying[role].pop(0), self.now)

    @rule(role=ROLE, which=st.lists(st.integers(0, 4), min_size=1, max_size=4))
    def press(self, role: str, which: list[int]) -> None:
        """A peer that does not wait for its answers."""
        messages = [*MESSAGES[self.version][role], MESSAGES[self.version]["station"][0]]
        for number in which:
            self.pressed += 1
            frame = json.dumps([2, f"p{self.pressed}", *messages[number % len(messages)]]).encode()
            self.history[role].append(frame)
            self.sides[self.other(role)].receive(frame, self.now)

    @rule(role=ROLE, which=st.lists(st.integers(0, 9), min_size=1, max_size=3))
    def repeat(self, role: str, which: list[int]) -> None:
        """Bytes that were sent not long ago, by an earlier connection perhaps, are sent again."""
        history = self.history[role][-10:]
        for number in which if history else ():
            self.sides[self.other(role)].receive(history[number % len(history)], self.now)

    @rule(role=ROLE, which=ANY, at=ANY, out=st.integers(0, 3), piece=PIECES)
    def corrupt(self, role: str, which: int, at: int, out: int, piece: bytes) -> None:
        if history := self.history[role]:
            frame = history[which % len(history)]
            at %= len(frame)
            self.sides[self.other(role)].receive(frame[:at] + piece + frame[at + out :], self.now)

    @rule(role=ROLE, frame=NOISE, which=st.integers(0, 2))
    def noise(self, role: str, frame: bytes, which: int) -> None:
        side = self.sides[role]
        out, ended = side.outstanding, side.ended
        call_id = out.id if which and out is not None else ended[-which - 1][0] if len(ended) > which else "none"
        side.receive(frame.replace(b"ID", call_id.encode()), self.now)

    @rule(
        role=ROLE,
        rest=st.sampled_from(
            [',{"status":"Nonsense"}]', ",{", ',"GenericError","",{}]', ',{"status":"Accepted"}]', ",{}]"]
        ),
        kind=st.sampled_from("34"),
    )
    def reply(self, role: str, kind: str, rest: str) -> None:
        """An answer to the outstanding CALL that its own receiver did not give."""
        side = self.sides[role]
        if side.outstanding is not None:
            side.receive(f'[{kind},"{side.outstanding.id}"{rest}'.encode(), self.now)

    @rule(seconds=st.sampled_from([1.0, 6.0, 31.0]))
    def be_late(self, seconds: float) -> None:
        """Time passes and nobody looks after what is due."""
        self.now += seconds

    @rule(seconds=st.sampled_from([0.5, 6.0, 11.0, 31.0, 60.0, 101.0]))
    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        for _ in range(20):
            reached = min(
                max(self.now, deadline) if (deadline := side.endpoint.deadline) is not None else until
                for side in self.sides.values()
            )
            reached = min(reached, until)
            for side in self.sides.values():
                side.pass_time(self.now, reached)
            self.now = reached
            self.collect()
            if reached >= until:
                break

    @precondition(lambda self: len(self.late) < SIZE // 2)
    @precondition(lambda self: len(self.late) < SIZE // 2)
    @rule(roles=st.sampled_from([ROLES, ROLES, ("csms",), ("station",)]), new_first=st.booleans(), which=ANY)
    def reconnect(self, roles: tuple[str, ...], new_first: bool, which: int) -> None:
        """The connection ends and comes back; one side may notice the end of the old one after the new one is there,
        or not at all, when a proxy stands between the two. Orders and frames may still come to a connection that ended.
        """
        for role in roles:
            old, past = self.sides[role], self.past[role]
            if not new_first:
                old.lose(self.now)
                if role == "station":
                    self.store(which)
            past.memory.reconnected()
            self.sides[role] = Side(past)
            if new_first:
                old.lose(self.now)
            old.receive(b'[2,"1","Heartbeat",{}]', self.now)
            old.call("BootNotification", MESSAGES[self.version]["station"][0][1], self.now, None)
            if old.work is not None:
                self.late.append(old)
            self.flying[role].clear()

    @precondition(lambda self: len(self.late) < SIZE // 2)
    @rule(role=ROLE, which=st.integers(0, 4), busy=st.booleans(), answers=st.booleans(), status=STATUS, how=HOW)
    def come_back(self, role: str, which: int, busy: bool, answers: bool, status: str, how: str) -> None:
        """A peer whose CALL is at work comes back and repeats it, behind another one perhaps."""
        other = self.other(role)
        self.press(role, [which])
        frame = self.history[role][-1]
        working = self.sides[other]
        self.reconnect(ROLES, False, which)
        if busy:
            self.press(role, [which])
        self.sides[other].receive(frame, self.now)
        if answers and working in self.late:
            self.late.remove(working)
            working.answer(status, how, self.now)

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "sides"):
            self.collect()
            for side in (*self.sides.values(), *self.late):
                side.check()

    def collect(self) -> None:
        for role, side in self.sides.items():
            self.flying[role] += side.out
            self.history[role] += side.out
            side.out.clear()

    @rule(really=st.sampled_from([True, False, False, False]))
    def come_to_rest(self, really: bool) -> None:
        """Whatever happened before: an honest exchange over a good wire ends all that was begun."""
        if not really:
            return
        while self.late:
            self.late.pop().answer("Accepted", "answer", self.now)
        for _ in range(40):
            self.collect()
            for role in ROLES:
                side = self.sides[role]
                while side.work is not None:
                    side.answer("Accepted", "answer", self.now)
                flying, self.flying[role] = self.flying[role], []
                for frame in flying:
                    self.sides[self.other(role)].receive(frame, self.now)
                self.collect()
            station = self.sides["station"]
            kept = self.past["station"].kept
            if any((*self.flying.values(), *(side.inbox for side in self.sides.values()))):
                continue
            # Orders to a station that is Pending wait for its next boot, which it sends if it knows.
            unsettled = any(past.told.status != "Accepted" for past in self.past.values())
            if unsettled and station.outstanding is None:
                station.call(*MESSAGES[self.version]["station"][0], self.now, None)
            elif kept or any(side.outstanding or side.queue for side in self.sides.values()):
                self.pass_time(11.0)
            else:
                break
        else:
            raise AssertionError("there is no end to it")


@pytest.mark.timeout(3600)
def test_conversation() -> None:
    # The endpoint makes messages of the backend that evcore runs with.
    run_state_machine_as_test(
        Conversation,
        settings=settings(
            max_examples=EXAMPLES[evcore.backend()],
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=PROFILE != "nightly",
            database=None,
            report_multiple_bugs=False,
        ),
    )
