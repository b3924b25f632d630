"""From the outbox to the broker: what is in flight, and what becomes of it.

In: entries of the outbox, acknowledgements of the broker, the beginning and the end of connections. Out: packets,
news for the outbox. Refused by nobody: an entry that no broker may take is dropped, counted and told in the log.

An entry's packet identifier follows from its number, so that after a restart of this program the same message goes
out under the same identifier, and a broker that keeps the session knows it (MQTT §4.4). At QoS 2 PUBREL is sent only
when the outbox has noted PUBREC durably: from PUBREL on the broker forgets the identifier, and the message must not
be published again.

What is given up, and when (counted in `dropped`):
- invalid: MQTT forbids the message; too-large: it is above the broker's Maximum Packet Size
- refused: the broker said no for good (not authorised, topic name or payload invalid), or `refusals` times for now
- poison: the broker has ended the connection instead of answering, again and again, whenever this message was in flight
  alone, while it took another one in between
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import replace
from typing import Final

from evcore.mqtt.broker import packet
from evcore.mqtt.broker.link import End, Granted, Link
from evcore.mqtt.broker.options import WINDOW_311, WINDOW_MOST, Counts, Entry, Outbox, SessionOptions
from evcore.mqtt.message import Message

__all__ = ["Outflow", "identifier"]

log = logging.getLogger("evcore.mqtt")

#: Messages the broker has refused for now that may wait for their next attempt.
_ASIDE_MOST: Final = 1000
#: Entries in one turn of the loop, bytes that wait for the socket, and seconds until more are looked at.
_TURN: Final = 5000
_BEHIND: Final = 16 * 1024 * 1024
_PAUSE: Final = 0.01
#: Reason codes after which the same message will not be taken later either: Not authorized, Topic Name invalid, Payload
#: format invalid (MQTT 5.0 §3.4.2.1).
_FOR_GOOD: Final = frozenset({0x87, 0x90, 0x99})
_REASONS: Final = {
    0x80: "for a reason it does not name",
    0x83: "for reasons of its own",
    0x87: "because we are not authorised",
    0x90: "because of the topic's name",
    0x91: "because the packet identifier is in use",
    0x97: "because a quota is exceeded",
    0x99: "because of the format of the content",
}
#: DISCONNECT for reasons that have nothing to do with a message: busy, shutting down, keep alive, taken over, Receive
#: Maximum, message rate, administrator, other server, moved, connection rate, connect time.
_BLAMELESS: Final = frozenset({0x89, 0x8B, 0x8D, 0x8E, 0x93, 0x96, 0x98, 0x9C, 0x9D, 0x9F, 0xA0})
#: Ends of a connection with the same oldest message after which it is looked at alone, and then after which it is
#: dropped.
_ENDS: Final = 3
_STRIKES: Final = 2

_PUBLISHED: Final = 0
_RELEASING: Final = 1  # PUBREC came, and is on its way to the disk
_RELEASED: Final = 2


def identifier(seq: int) -> int:
    """The packet identifier of an outbox entry."""
    return seq % WINDOW_MOST + 1


class _Flight:
    __slots__ = ("entry", "mid", "qos", "since", "state", "waiter")

    def __init__(
        self, mid: int, qos: int, since: float, entry: Entry | None, waiter: asyncio.Future[None] | None = None
    ) -> None:
        self.mid = mid
        self.qos = qos
        self.since = since
        self.entry = entry
        self.waiter = waiter
        self.state = _PUBLISHED


class _Suspect:
    """A message after whose publishing the connection ends. `passed`: another one was taken since its last strike."""

    __slots__ = ("other", "passed", "seq", "strikes")

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self.other = seq
        self.strikes = 0
        self.passed = False


class Outflow:
    """The outgoing half of a session; it outlives connections, but all it knows of one goes with it."""

    def __init__(self, options: SessionOptions, outbox: Outbox, counts: Counts, rng: random.Random) -> None:
        self._options = options
        self._five = options.version == "5"
        self._outbox = outbox
        self._counts = counts
        self._rng = rng
        self._link: Link | None = None
        self._granted = Granted(False)
        self._window = 0
        # In flight, by packet identifier, oldest first; the number of the last entry taken.
        self._flights: dict[int, _Flight] = {}
        self._last = 0
        # Entries up to here may have been published before: by this process, or by one before it.
        self._published = 0
        self._repeat = 0
        # Entries to be sent again at some time, and how often each was refused.
        self._aside: dict[int, asyncio.TimerHandle] = {}
        self._refused: dict[int, int] = {}
        # The oldest in flight when the last connection ended, how often in a row, and what follows from that.
        self._oldest = (0, 0)
        self._suspect: _Suspect | None = None
        self._told: set[tuple[str, str]] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._woken = False
        self._idle: asyncio.Event = asyncio.Event()

    # Connections

    async def begin(self, link: Link, granted: Granted, *, doubtful: bool = False) -> None:
        """The connection is there, with its subscriptions. `doubtful`: the broker has a session, but was gone without a
        word, and may have saved the session before it had what it acknowledged last. Raises what the outbox raises.
        """
        if doubtful or not granted.session_present:
            # The broker knows nothing: what it had acknowledged half is published anew as a whole. What it has all the
            # same it takes for a repetition, unless it has passed it on already.
            await self._outbox.renew()
        if link.ended.done():
            return
        self._link = link
        self._granted = granted
        self._flights.clear()
        self._last = 0
        most = self._options.window if self._five else min(self._options.window, WINDOW_311)
        self._window = min(most, granted.receive_maximum)
        # The process before this one may have published as many as fit into the window.
        self._repeat = self._window if not self._published and granted.session_present else 0
        if not granted.session_present:
            self._published = 0
        self._watch = link.loop.call_later(self._options.ack_timeout / 4, self._look)
        self.pump()

    def end(self, end: End) -> None:
        """The connection is gone. What was in flight is published again with the next one."""
        if self._link is None:
            return
        self._link = None
        if self._watch is not None:
            self._watch.cancel()
        self._blame(end)
        for flight in self._flights.values():
            if flight.waiter is not None and not flight.waiter.done():
                flight.waiter.cancel()
        self._flights.clear()
        for timer in self._aside.values():
            timer.cancel()
        self._aside.clear()
        self._idle.set()

    def wake(self) -> None:
        """The outbox may have more."""
        if self._link is not None and not self._woken:
            self._woken = True
            self._link.loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._woken = False
        self.pump()

    async def idle(self) -> None:
        """Returns when nothing is in flight and nothing waits, or the connection has ended. Raises what the outbox
        raises.
        """
        while self._link is not None:
            if not self._flights and not self._aside and not await self._outbox.fetch(self._last, 1):
                return
            self._idle.clear()
            await self._idle.wait()

    # Out

    def pump(self) -> None:
        """Sends what fits into the window."""
        link = self._link
        if link is None:
            return
        if self._suspect is not None:
            self._pump_alone(self._suspect)
        else:
            turn = _TURN
            while (room := self._window - len(self._flights)) > 0 and len(self._aside) < _ASIDE_MOST:
                if turn <= 0 or link.behind > _BEHIND:
                    # Only where nothing stays in flight: a broker without QoS 1, messages that are dropped.
                    link.loop.call_later(_PAUSE, self.pump)
                    return
                entries = self._outbox.waiting(self._last, min(room, turn))
                turn -= len(entries)
                if not entries:
                    break
                for entry in entries:
                    if identifier(entry.seq) in self._flights:
                        return  # 60,000 messages later the first one is still in flight
                    self._last = entry.seq
                    if entry.seq not in self._aside:
                        self._launch(link, entry)
        if not self._flights and not self._aside:
            self._idle.set()

    def _launch(self, link: Link, entry: Entry, *, anew: bool = False) -> None:
        seq = entry.seq
        mid = identifier(seq)
        if entry.released:
            flight = self._flights[mid] = _Flight(mid, 2, link.loop.time(), entry)
            flight.state = _RELEASED
            link.write(packet.answer(packet.PUBREL, mid))
            return
        message = entry.message
        qos = message.qos
        dup = seq <= self._published and not anew
        if self._repeat:
            self._repeat -= 1
            dup = True
        data = self._packet(message, mid, dup=dup)
        if data is None:
            self._give_up(seq)
            return
        qos = min(qos, self._granted.qos_most)
        self._counts.sent[qos] += 1
        self._counts.repeated += dup
        if seq > self._published:
            self._published = seq
        link.write(data)
        if qos:
            self._flights[mid] = _Flight(mid, qos, link.loop.time(), entry)
        else:
            self._outbox.done(seq)

    def _packet(self, message: Message, mid: int, *, dup: bool = False) -> bytes | None:
        """The PUBLISH as this broker takes it; None, counted and told, when it takes none."""
        granted = self._granted
        qos, retain = message.qos, message.retain
        if qos > granted.qos_most or (retain and not granted.retain):
            qos, retain = min(qos, granted.qos_most), retain and granted.retain
            self._counts.altered += 1
            self._tell("the broker does not offer what messages ask for: QoS above %d or retain is left out", qos)
        try:
            data = packet.publish(message, qos=qos, retain=retain, dup=dup and qos > 0, mid=mid, five=self._five)
        except packet.Unsendable as error:
            self._drop("invalid", message.topic, str(error))
            return None
        if len(data) > granted.packet_most:
            self._drop("too-large", message.topic, f"the broker takes packets of {granted.packet_most} bytes at most")
            return None
        return data

    def telemetry(self, link: Link, message: Message) -> bool:
        """Sends at QoS 0, whatever the message says."""
        data = self._packet(message if message.qos == 0 else replace(message, qos=0), 0)
        if data is not None:
            self._counts.sent[0] += 1
            link.write(data)
        return data is not None

    async def direct(self, link: Link, message: Message, granted: Granted) -> None:
        """Publishes what is not of the outbox, and waits for PUBACK; QoS 2 is sent as 1. Nothing is repeated: it is for
        what is published with each connection anyway.
        """
        self._granted = granted
        if message.qos == 0 or granted.qos_most == 0 or len(self._flights) >= granted.receive_maximum:
            self.telemetry(link, message)
            return
        mid = next(link.identifiers)
        data = self._packet(replace(message, qos=1), mid)
        if data is None:
            return
        self._counts.sent[1] += 1
        waiter = link.loop.create_future()
        self._flights[mid] = _Flight(mid, 1, link.loop.time(), None, waiter)
        link.write(data)
        await waiter

    # Acknowledgements

    def acknowledged(self, mid: int, code: int) -> None:
        flight = self._flights.get(mid)
        if flight is None or flight.qos != 1:
            return  # it was given up, or the broker invents
        if flight.waiter is not None:
            del self._flights[mid]
            self._counts.acked[1] += 1
            if not flight.waiter.done():
                flight.waiter.set_result(None)
        elif code >= 0x80:
            self._refuse(flight, code)
        else:
            self._finish(flight)

    def recorded(self, mid: int, code: int) -> None:
        link, flight = self._link, self._flights.get(mid)
        if flight is None or flight.qos != 2:
            if link is not None and code < 0x80:
                link.write(packet.answer(packet.PUBREL, mid))  # or the broker would keep it in its window
        elif flight.state == _RELEASED:
            if link is not None:
                link.write(packet.answer(packet.PUBREL, mid))
        elif code >= 0x80:
            self._refuse(flight, code)
        elif flight.state == _PUBLISHED and flight.entry is not None:
            flight.state = _RELEASING
            noted = asyncio.ensure_future(self._outbox.released(flight.entry.seq))
            noted.add_done_callback(lambda done: self._released(flight, done))

    def _released(self, flight: _Flight, noted: asyncio.Future[None]) -> None:
        if noted.cancelled() or noted.exception() is not None:
            return  # the spool is closed; PUBREC comes again with the next connection
        if self._link is not None and self._flights.get(flight.mid) is flight:
            flight.state = _RELEASED
            flight.since = self._link.loop.time()
            self._link.write(packet.answer(packet.PUBREL, flight.mid))

    def completed(self, mid: int, code: int) -> None:
        """Packet Identifier not found (0x92) is what follows a PUBREL that was sent twice: the message is there."""
        flight = self._flights.get(mid)
        if flight is not None and flight.state == _RELEASED:
            self._finish(flight)

    def _finish(self, flight: _Flight) -> None:
        del self._flights[flight.mid]
        self._counts.acked[flight.qos] += 1
        if flight.entry is None:
            return
        seq = flight.entry.seq
        self._refused.pop(seq, None)
        self._outbox.done(seq)
        suspect = self._suspect
        if suspect is None:
            return
        if seq == suspect.seq:
            self._acquit()
        else:
            suspect.passed = True

    # What the broker does not take

    def _refuse(self, flight: _Flight, code: int) -> None:
        """PUBACK or PUBREC with an error: the identifier is free again (MQTT 5.0 §4.3.2, §4.3.3)."""
        entry = flight.entry
        assert entry is not None
        del self._flights[flight.mid]
        seq = entry.seq
        tries = self._refused.get(seq, 0) + 1
        reason = _REASONS.get(code, f"with reason code 0x{code:02X}")
        if code in _FOR_GOOD or tries >= self._options.refusals:
            self._drop("refused", entry.message.topic, f"the broker refuses it {reason}")
            self._give_up(seq)
            return
        self._refused[seq] = tries
        if self._suspect is not None and self._suspect.seq == seq:
            self._acquit()  # the broker answers
        self._tell("the broker refuses messages for now, %s: they are sent again", reason)
        wait = min(self._options.backoff_most, self._options.backoff_first * 2.0 ** min(tries - 1, 32))
        if self._link is not None:
            self._aside[seq] = self._link.loop.call_later(wait * self._rng.uniform(0.5, 1.0), self._again, entry)

    def _again(self, entry: Entry) -> None:
        link = self._link
        if link is None:
            return
        alone = self._suspect is not None and self._flights
        if identifier(entry.seq) in self._flights or len(self._flights) >= self._window or alone:
            self._aside[entry.seq] = link.loop.call_later(self._options.backoff_first / 4, self._again, entry)
            return
        del self._aside[entry.seq]
        self._launch(link, entry, anew=True)  # under an identifier the broker has freed: no repetition
        self.pump()

    def _give_up(self, seq: int) -> None:
        self._refused.pop(seq, None)
        self._outbox.done(seq)
        if self._suspect is not None and self._suspect.seq == seq:
            self._acquit()

    def _drop(self, reason: str, topic: str, why: str) -> None:
        dropped = self._counts.dropped
        dropped[reason] = dropped.get(reason, 0) + 1
        self._tell("a message to %s is dropped: %s", topic, why)

    def _tell(self, text: str, *details: object) -> None:
        """Once for each connection and kind of news; the counts have the rest."""
        key = (text, str(details[-1]))
        if key not in self._told and len(self._told) < 100:
            self._told.add(key)
            log.warning(text, *details)

    # Poison

    def _blame(self, end: End) -> None:
        """The connection ended: is it because of a message?"""
        entries = [flight.entry for flight in self._flights.values() if flight.entry is not None]
        self._told.clear()
        if not end.broker or end.code in _BLAMELESS or not entries:
            return
        first = entries[0]
        suspect = self._suspect
        if suspect is None:
            seq, times = self._oldest
            times = times + 1 if seq == first.seq else 1
            self._oldest = (first.seq, times)
            if times >= _ENDS:
                self._suspect = _Suspect(first.seq)
                log.warning(
                    "the broker has ended %d connections while the message to %s was the oldest one on its way: it is"
                    " looked at alone",
                    times,
                    first.message.topic,
                )
        elif first.seq != suspect.seq:
            suspect.other = first.seq  # this one fell as well; the next attempt takes one behind it
        elif suspect.passed:
            suspect.passed = False
            suspect.strikes += 1
            if suspect.strikes >= _STRIKES:
                self._drop("poison", first.message.topic, "the broker ends the connection whenever it comes")
                self._give_up(first.seq)

    def _acquit(self) -> None:
        """All are sent again as always."""
        self._suspect = None
        self._oldest = (0, 0)
        self._last = 0

    def _pump_alone(self, suspect: _Suspect) -> None:
        """One message at a time: another one first, then the suspect."""
        link = self._link
        if link is None or self._flights:
            return
        if not suspect.passed:
            for entry in self._outbox.waiting(suspect.other, 1) or self._outbox.waiting(suspect.seq, 1):
                if entry.seq not in self._aside:
                    self._launch(link, entry)
                if self._flights:
                    return
        found = self._outbox.waiting(suspect.seq - 1, 1)
        if not found:
            return  # it is being read from the disk
        if found[0].seq == suspect.seq:
            self._launch(link, found[0])
        else:
            self._acquit()  # somebody else did away with it
            self.wake()

    # A broker that stalls

    def _look(self) -> None:
        link = self._link
        if link is None:
            return
        limit = self._options.ack_timeout
        now = link.loop.time()
        for flight in self._flights.values():
            if flight.state != _RELEASING and now - flight.since > limit:
                link.fail(f"the broker has not acknowledged a message for {limit:g} s")
                return
        self._watch = link.loop.call_later(limit / 4, self._look)
