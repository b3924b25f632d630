"""Who may try how often: rates, delays after failed authentication, and the shaping of reconnect storms. No I/O.

Comes in: addresses, identities and the time (seconds of a monotonic clock). Goes out: yes, or the seconds to wait.
What is remembered is bounded, the least recently used entry goes first. Nothing raises on hostile input; options out of
range are a ValueError.

Three questions are kept apart, because stations share addresses (a site behind one NAT, a fleet behind one proxy):

* May this *address* open connections and ask for upgrades so fast? (`enter`, `arrive`)
* May this *identity from this address* have its password looked at again? (`blocked`, `failed`, `succeeded`)
* Can the *server* take another station right now? (`accept`, and `BootShaper` one step later)
"""

from __future__ import annotations

import ipaddress
import math
import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

__all__ = ["Boot", "BootOptions", "BootShaper", "LimitOptions", "Limits", "Rate", "jitter", "station_address"]

#: Connections that are cut at TCP accept, per one that is refused with a status: an answer costs more than a cut.
_CUT: Final = 2
#: An IPv6 customer owns at least a /64; counting single addresses would count nothing.
_IPV6_PREFIX: Final = 64


class Rate:
    """A token bucket as one float per user of it (the generic cell rate algorithm).

    `per_second` events on the long run, `burst` at once; 0 per second means no limit. The state of a bucket is the time
    at which it is full again, so 0.0 is a full one and any time before now is as good as none.
    """

    __slots__ = ("slack", "step")

    def __init__(self, per_second: float, burst: int) -> None:
        self.step = 1.0 / per_second if per_second else 0.0
        self.slack = (burst - 1) * self.step

    def take(self, full: float, now: float) -> float | None:
        """The new state after one event, None when there is no token for it."""
        full = max(full, now)
        return full + self.step if full - now <= self.slack + 1e-9 else None

    def wait(self, full: float, now: float) -> float:
        """Seconds until there is a token."""
        return max(0.0, full - self.slack - now)


class _Rates:
    """Buckets of one rate by key; full ones and the least recently used are forgotten."""

    __slots__ = ("_full", "_most", "_rate")

    def __init__(self, rate: Rate, most: int) -> None:
        self._rate = rate
        self._most = most
        self._full: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full)

    def take(self, key: str, now: float) -> float:
        """0.0 and a token is gone, or the seconds until there is one."""
        if not self._rate.step:
            return 0.0
        old = self._full.get(key, 0.0)
        new = self._rate.take(old, now)
        if new is None:
            return self._rate.wait(old, now)
        self._full[key] = new
        self._full.move_to_end(key)
        while len(self._full) > self._most or next(iter(self._full.values())) < now:
            self._full.popitem(last=False)
        return 0.0


class _Failed(NamedTuple):
    times: int
    until: float
    last: float


class _Failures:
    """Delays that double with each failure after the first `free` ones; `most` keys are remembered."""

    __slots__ = ("_entries", "_free", "_options")

    def __init__(self, free: int, options: LimitOptions) -> None:
        self._free = free
        self._options = options
        self._entries: OrderedDict[str, _Failed] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def wait(self, key: str, now: float) -> float:
        entry = self._entries.get(key)
        return 0.0 if entry is None else max(0.0, entry.until - now)

    def add(self, key: str, now: float) -> None:
        options = self._options
        old = self._entries.pop(key, None)
        # Counted from the end of the delay: a delay longer than the memory would otherwise start from nothing.
        times = 1 if old is None or now - max(old.last, old.until) > options.forget_seconds else old.times + 1
        over = times - self._free
        delay = min(options.delay_most, options.delay_first * 2.0 ** min(over - 1, 60)) if over > 0 else 0.0
        self._entries[key] = _Failed(times, now + delay, now)
        if len(self._entries) > options.remembered:
            self._entries.popitem(last=False)

    def clear(self, key: str) -> None:
        self._entries.pop(key, None)


def station_address(text: str) -> str:
    """What counts as one address: IPv4 as it is (mapped into IPv6 too), IPv6 as its /64; other text unchanged."""
    address = _parse(text)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(address), _IPV6_PREFIX), strict=False))
    return text if address is None else str(address)


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOptions:
    """All limits are those of one process; 0 turns a rate or a count off. Seconds and counts per second.

    - `address_rate`, `address_burst`: upgrade requests of one address; beyond them 429, and connections beyond twice as
      many are cut when they are accepted
    - `address_unfinished`, `unfinished`: handshakes of one address, of all, that go on at the same time; more are cut
    - `accept_rate`, `accept_burst`: stations let in; beyond them 503 with a Retry-After spread over the time the crowd
      needs, `retry_most` at most
    - `failures`, `identity_failures`, `address_failures`: failed authentications without a delay, of one identity from
      one address, of one identity from anywhere, of one address with any identity
    - `delay_first`, `delay_most`: the delay after one failure more, doubled with each, and its bound
    - `forget_seconds`: after this long without a failure counting begins anew
    - `remembered`: addresses, identities and pairs of them that are remembered, each
    - `exempt`: networks whose addresses are not counted by themselves (reverse proxies, private APNs); failures of one
      identity are counted all the same
    """

    address_rate: float = 100.0
    address_burst: int = 1000
    address_unfinished: int = 256
    unfinished: int = 10_000
    accept_rate: float = 1000.0
    accept_burst: int = 2000
    retry_most: float = 300.0
    failures: int = 3
    identity_failures: int = 20
    address_failures: int = 100
    delay_first: float = 1.0
    delay_most: float = 300.0
    forget_seconds: float = 900.0
    remembered: int = 65_536
    exempt: tuple[str, ...] = ("127.0.0.0/8", "::1/128")

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if name == "exempt":
                for network in value:
                    ipaddress.ip_network(network)
            elif not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a number of 0 or more, not {value!r}")
        for name in ("address_burst", "accept_burst", "remembered"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more")


class _Door:
    """`engine.Door`, with the clock it does not pass."""

    __slots__ = ("_clock", "_limits")

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock

    def enter(self, address: str) -> bool:
        return self._limits.enter(address, self._clock())

    def leave(self, address: str) -> None:
        self._limits.leave(address)


class Limits:
    """The limits of one listening process. Waiting times returned are seconds; 0.0 means go on."""

    def __init__(self, options: LimitOptions | None = None, *, rng: random.Random | None = None) -> None:
        self.options = options = options or LimitOptions()
        self._rng = rng or random.Random()
        # Asked several times per handshake, and parsing an address takes longer than all the rest.
        self._counted = lru_cache(4096)(self._count)
        self._exempt = tuple(ipaddress.ip_network(network) for network in options.exempt)
        most = options.remembered
        self._connects = _Rates(Rate(_CUT * options.address_rate, _CUT * options.address_burst), most)
        self._upgrades = _Rates(Rate(options.address_rate, options.address_burst), most)
        self._accepts = Rate(options.accept_rate, options.accept_burst)
        self._accepts_full = 0.0
        self._crowd_gone = 0.0
        self._unfinished = 0
        self._unfinished_of: dict[str, int] = {}
        self._pairs = _Failures(options.failures, options)
        self._identities = _Failures(options.identity_failures, options)
        self._addresses = _Failures(options.address_failures, options)
        self._proven: OrderedDict[str, None] = OrderedDict()

    def door(self, clock: Callable[[], float]) -> _Door:
        """An `engine.Door` that asks `enter` and tells `leave` at the time of `clock`."""
        return _Door(self, clock)

    @property
    def unfinished(self) -> int:
        """Connections that have entered and not left."""
        return self._unfinished

    def __len__(self) -> int:
        """How many entries are remembered, of all kinds."""
        kept = (self._connects, self._upgrades, self._pairs, self._identities, self._addresses, self._proven)
        return sum(len(each) for each in kept) + len(self._unfinished_of)

    # -- the address --------------------------------------------------------------------------------------------------

    def enter(self, address: str, now: float) -> bool:
        """Whether an accepted TCP connection may go on; True takes a place that `leave` gives back."""
        options = self.options
        if options.unfinished and self._unfinished >= options.unfinished:
            return False
        key = self._counted(address)
        if key is not None:
            held = self._unfinished_of.get(key, 0)
            if options.address_unfinished and held >= options.address_unfinished:
                return False
            if self._connects.take(key, now):
                return False
            self._unfinished_of[key] = held + 1
        self._unfinished += 1
        return True

    def leave(self, address: str) -> None:
        """The handshake of a connection that entered is over."""
        self._unfinished = max(0, self._unfinished - 1)
        key = self._counted(address)
        if key is not None:
            held = self._unfinished_of.pop(key, 0)
            if held > 1:
                self._unfinished_of[key] = held - 1

    def arrive(self, address: str, now: float) -> float:
        """An upgrade request came from this address."""
        key = self._counted(address)
        return 0.0 if key is None else self._upgrades.take(key, now)

    # -- authentication -----------------------------------------------------------------------------------------------

    def blocked(self, address: str, identity: str, now: float) -> float:
        """Seconds for which no guessable password of this identity is looked at from this address.

        A pair that has authenticated before answers for its own failures alone: neither its neighbours behind the same
        address nor attacks on its identity from elsewhere delay it.
        """
        key, name, pair = self._keys(address, identity)
        wait = self._pairs.wait(pair, now)
        if pair not in self._proven:
            wait = max(wait, self._identities.wait(name, now))
            if key is not None:
                wait = max(wait, self._addresses.wait(key, now))
        return wait

    def failed(self, address: str, identity: str, now: float) -> None:
        """Credentials were wrong. Not to be called for attempts made while `blocked`: they were not looked at."""
        key, name, pair = self._keys(address, identity)
        self._pairs.add(pair, now)
        self._identities.add(name, now)
        if key is not None:
            self._addresses.add(key, now)

    def succeeded(self, address: str, identity: str, *, guessable: bool) -> None:
        """Credentials were right. `guessable`: with a password that a delay protects; others are never delayed."""
        _, _, pair = self._keys(address, identity)
        self._pairs.clear(pair)
        if guessable:
            self._proven[pair] = None
            self._proven.move_to_end(pair)
            if len(self._proven) > self.options.remembered:
                self._proven.popitem(last=False)

    # -- the server ---------------------------------------------------------------------------------------------------

    def accept(self, now: float) -> float:
        """A station is about to be let in: 0.0 and it is counted, or the seconds after which it should come again.

        The waiting times of a crowd are spread at random over the time in which it can be taken.
        """
        if not self._accepts.step:
            return 0.0
        full = self._accepts.take(self._accepts_full, now)
        if full is not None:
            self._accepts_full = full
            return 0.0
        self._crowd_gone = min(max(self._crowd_gone, now) + self._accepts.step, now + self.options.retry_most)
        wait = self._accepts.wait(self._accepts_full, now) + (self._crowd_gone - now) * 2.0 * self._rng.random()
        return min(wait, self.options.retry_most * (0.5 + 0.5 * self._rng.random()))

    def _count(self, address: str) -> str | None:
        """The key of an address that is counted, None for one that is not (an unknown one is a local socket)."""
        parsed = _parse(address)
        if not address or (parsed is not None and any(parsed in network for network in self._exempt)):
            return None
        return station_address(address)

    def _keys(self, address: str, identity: str) -> tuple[str | None, str, str]:
        # 2.x identities differ in more than case; here that must not buy anybody more attempts.
        name = identity.casefold()
        key = self._counted(address)
        return key, name, f"{key or address} {name}"


def jitter(seconds: float, spread: float, rng: random.Random) -> int:
    """`seconds` x a random factor of 1 - spread ... 1 + spread, in whole seconds, at least 1.

    Stations that boot together would otherwise send their heartbeats together for ever.
    """
    return max(1, round(seconds * (1.0 + spread * (2.0 * rng.random() - 1.0))))


@dataclass(frozen=True, slots=True, kw_only=True)
class BootOptions:
    """How boots are answered.

    - `rate`, `burst`: boots accepted per second and at once; 0 per second is no limit
    - `spread`: of the heartbeat interval, as a fraction (0.1: 0.9 to 1.1 times)
    - `pending_most`: longest retry interval in seconds
    - `remembered`: stations that have a place in the queue
    """

    rate: float = 0.0
    burst: int = 100
    spread: float = 0.1
    pending_most: int = 600
    remembered: int = 131_072

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rate) and self.rate >= 0):
            raise ValueError(f"rate must be a number of 0 or more, not {self.rate!r}")
        if not 0 <= self.spread < 1:
            raise ValueError(f"spread must be at least 0 and less than 1, not {self.spread!r}")
        for name in ("burst", "pending_most", "remembered"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more")


class Boot(NamedTuple):
    """What to answer a BootNotification: `Accepted` with the heartbeat interval, or `Pending` with a retry interval."""

    accepted: bool
    interval: int


class BootShaper:
    """How many boots are accepted per second, and how intervals are spread (1.6 section 4.2, 2.x B01 and B02).

    A station that has to wait gets a place in a queue and is told to come when its turn is; it is then accepted without
    competing again, so a crowd of any size is through in `size / rate` seconds and nobody starves. Those beyond the
    longest interval get no place, only a random interval.
    """

    def __init__(self, options: BootOptions | None = None, *, rng: random.Random | None = None) -> None:
        self.options = options = options or BootOptions()
        self._rng = rng or random.Random()
        self._rate = Rate(options.rate, options.burst)
        self._full = 0.0
        self._turns: OrderedDict[str, float] = OrderedDict()

    @property
    def waiting(self) -> int:
        """Stations that have a place in the queue."""
        return len(self._turns)

    def boot(self, identity: str, interval: float, now: float) -> Boot:
        """The answer to a BootNotification; `interval` is the heartbeat interval in seconds before it is spread."""
        if not self._rate.step:
            return self._accepted(interval)
        most = self.options.pending_most
        turn = self._turns.pop(identity, None)
        if turn is not None and now <= turn + most:
            if now >= turn:
                return self._accepted(interval)
            self._turns[identity] = turn
            return Boot(False, math.ceil(turn - now))
        full = self._rate.take(self._full, now)
        if full is not None:
            self._full = full
            return self._accepted(interval)
        wait = self._rate.wait(self._full, now)
        if wait > most:
            return Boot(False, max(1, round(most * (0.5 + 0.5 * self._rng.random()))))
        self._full += self._rate.step
        self._turns[identity] = now + wait
        if len(self._turns) > self.options.remembered:
            self._turns.popitem(last=False)
        return Boot(False, max(1, math.ceil(wait)))

    def _accepted(self, interval: float) -> Boot:
        return Boot(True, jitter(interval, self.options.spread, self._rng))
