"""Who a station is: the claim of an upgrade request is judged against what is known of stations. No I/O.

Comes in: a `Claim` (identity, Basic user and password as bytes, certificate, transport, time). Goes out: a `Verdict`,
always; nothing in a claim raises. Sources: J1.6 section 6.2.2, 1.6 security whitepaper section 3, 2.x Part 2 use case
A00, facts of the field such as keys sent as hex digits.

Two things must not be learnt from outside. Passwords: compared in constant time, kept hashed, absent from `repr`, logs
and exceptions. Which identities exist: for an unknown one the password is compared with the hash of some other station,
always the same one, so that known and unknown identities take the times of the same population.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from evcore.net.limits import Rate
from evcore.net.secret import Secret, random_key

__all__ = [
    "PROFILES",
    "AuthOptions",
    "Authenticator",
    "Binding",
    "Certified",
    "Claim",
    "Credential",
    "Credentials",
    "Denial",
    "Open",
    "Verdict",
    "certified",
    "subject_names",
]

log = logging.getLogger("evcore.auth")

#: Security profiles: 0 none, 1 Basic over plain, 2 Basic over TLS, 3 client certificate over TLS.
PROFILES: Final = (0, 1, 2, 3)

#: Where a certificate says whose it is: the subject's common name, its alternative names (DNS and URI), or both.
Binding: TypeAlias = Literal["cn", "san", "either"]

#: Secrets of one station: one, and during a key change its successor.
MOST_SECRETS: Final = 2

_HEX: Final = frozenset(b"0123456789abcdefABCDEF")


@dataclass(frozen=True, slots=True)
class Claim:
    """What a station says it is.

    `identity` and `version` are those of the upgrade request; `user` and `password` those of HTTP Basic, `certificate`
    a verified one in the form of `ssl.SSLSocket.getpeercert`. `now`: seconds of a monotonic clock. `blocked`: too many
    attempts failed, only proofs nobody can guess count (random keys, certificates).
    """

    identity: str
    version: str
    user: bytes | None = None
    password: bytes | None = field(default=None, repr=False)
    certificate: Mapping[str, Any] | None = field(default=None, repr=False)
    address: str = ""
    secure: bool = False
    now: float = 0.0
    blocked: bool = False

    @property
    def folds(self) -> bool:
        """Whether case does not matter: 2.x compares identifierStrings without it, of 1.6 nothing is said."""
        return self.version != "ocpp1.6"

    def is_self(self, name: str) -> bool:
        """Whether this name is the identity."""
        return name == self.identity or (self.folds and name.casefold() == self.identity.casefold())

    def user_is_self(self) -> bool:
        """Whether the Basic user name is the identity."""
        if self.user is None:
            return False
        try:
            return self.is_self(self.user.decode())
        except UnicodeDecodeError:
            return False


class Denial(Enum):
    """Why not. Values are words for the log; what the station is told is decided in `handshake`."""

    UNKNOWN = "not a known station"
    MISSING = "no credentials"
    WRONG = "wrong credentials"
    CERTIFICATE = "the certificate is not that of this station"
    PROFILE = "not a security profile of this station"
    BUSY = "too many passwords to check"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`denial` is None for a station that is let in.

    `identity`: how the station is called here, where that differs in case from what it said. `profile`: the security
    profile it came with. `proven`: it has proved to be who it says, even if that is nobody we know. `guessable`: it did
    so with a password that might be guessed.
    """

    denial: Denial | None
    identity: str = ""
    profile: int = 0
    proven: bool = False
    guessable: bool = False


class Authenticator(Protocol):
    """`Open`, `Certified`, `Credentials`, `CredentialsFile`, or an embedder's own.

    Called on the event loop: must not wait, must not raise.
    """

    def authenticate(self, claim: Claim) -> Verdict: ...


class Open:
    """Security profile 0: everybody is who they say."""

    def authenticate(self, claim: Claim) -> Verdict:
        return Verdict(None, claim.identity, proven=True)


class Certified:
    """Security profile 3 without a list of stations: whoever our CA gave a certificate is who that says."""

    def __init__(self, options: AuthOptions | None = None) -> None:
        self.options = options or AuthOptions()

    def authenticate(self, claim: Claim) -> Verdict:
        if certified(claim, self.options):
            return Verdict(None, claim.identity, 3, proven=True)
        return Verdict(Denial.CERTIFICATE if claim.certificate else Denial.MISSING, claim.identity)


@dataclass(frozen=True, slots=True)
class Credential:
    """What is known of one station.

    `profiles`: the security profiles it may come with; one, or two while it is moved to another (A00.FR.002).
    `secrets`: oldest first, at most two. `names`: names its certificate may carry instead of the identity (2.x: the
    serial number). Raises ValueError when it makes no sense.
    """

    identity: str
    profiles: frozenset[int]
    secrets: tuple[Secret, ...] = ()
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.profiles or not self.profiles <= set(PROFILES):
            raise ValueError("profiles are one or more of 0, 1, 2, 3")
        if len(self.secrets) > MOST_SECRETS:
            raise ValueError(f"a station has at most {MOST_SECRETS} secrets")
        if not self.secrets and self.profiles & {1, 2}:
            raise ValueError("profiles 1 and 2 need a secret")

    def with_secret(self, secret: Secret) -> Credential:
        """The start of a key change: both the old and the new secret are right. ValueError in the middle of one."""
        if len(self.secrets) >= MOST_SECRETS:
            raise ValueError("a key change is under way: retire the old secret or withdraw the new one first")
        return replace(self, secrets=(*self.secrets, secret))

    def retired(self) -> Credential:
        """The station has accepted its new key: the old one is wrong from now on (J1.6 6.2.2, A01.FR.03)."""
        return replace(self, secrets=self.secrets[-1:])

    def withdrawn(self) -> Credential:
        """The station has refused its new key: the old one stays (A01.FR.04)."""
        return replace(self, secrets=self.secrets[:1])


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthOptions:
    """How claims are judged.

    - `binding`: where a certificate names its station
    - `organisation`: the O its subject must have, if any (A00.FR.404)
    - `forms`: `either` takes a key also as the hex digits of what is stored, or the other way round, and logs it; for
      stations or imported keys that got it wrong
    - `slow_rate`, `slow_burst`: guessable passwords checked per second and at once; each stops the loop for tens of
      milliseconds
    - `remembered`: guessable passwords that were right and need not be checked again
    """

    binding: Binding = "cn"
    organisation: str | None = None
    forms: Literal["exact", "either"] = "exact"
    slow_rate: float = 5.0
    slow_burst: int = 5
    remembered: int = 16_384

    def __post_init__(self) -> None:
        if self.slow_rate <= 0 or self.slow_burst < 1 or self.remembered < 0:
            raise ValueError("slow_rate must be more than 0, slow_burst 1 or more, remembered 0 or more")


class _Proof(NamedTuple):
    right: bool = False
    guessable: bool = False
    busy: bool = False


class Credentials:
    """Stations in memory: for embedders, and what a file of credentials becomes."""

    def __init__(self, stations: Iterable[Credential] = (), options: AuthOptions | None = None) -> None:
        self.options = options = options or AuthOptions()
        # Never leaves the process: what is derived from passwords with it is worthless outside.
        self._key = secrets.token_bytes(32)
        self._spare = (Secret.of_key(random_key()),)
        self._slow = Rate(options.slow_rate, options.slow_burst)
        self._slow_full = 0.0
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._forms_seen: OrderedDict[str, None] = OrderedDict()
        self._decoys: list[tuple[Secret, ...]] | None = None
        self.replace(stations)

    def replace(self, stations: Iterable[Credential]) -> None:
        """Forgets all stations and knows these; may run in a thread. Open connections are the owner's matter."""
        self._index({station.identity: station for station in stations})

    def __len__(self) -> int:
        return len(self._stations)

    def __iter__(self) -> Iterator[Credential]:
        return iter(self._stations.values())

    def __contains__(self, identity: object) -> bool:
        return identity in self._stations

    def get(self, identity: str) -> Credential | None:
        """The station of exactly this identity."""
        return self._stations.get(identity)

    def put(self, station: Credential) -> None:
        """Adds a station or changes it."""
        if station.identity not in self._stations:
            _fold(self._folded, station.identity)
        self._stations[station.identity] = station
        self._decoys = None

    def remove(self, identity: str) -> bool:
        """Whether there was such a station."""
        found = self._stations.pop(identity, None) is not None
        if found:
            self._index(self._stations)
        return found

    def add_secret(self, identity: str, secret: Secret) -> None:
        """Starts a key change: see `Credential.with_secret`. Raises KeyError, ValueError."""
        self.put(self._stations[identity].with_secret(secret))

    def retire(self, identity: str) -> None:
        """The old secret of a key change is wrong from now on. Raises KeyError."""
        self.put(self._stations[identity].retired())

    def withdraw(self, identity: str) -> None:
        """The new secret of a key change is wrong from now on. Raises KeyError."""
        self.put(self._stations[identity].withdrawn())

    # -- judging ------------------------------------------------------------------------------------------------------

    def authenticate(self, claim: Claim) -> Verdict:
        """Judges a claim; the same work is done for known and unknown stations.

        With several ways in, the highest of the station's profiles that the claim proves counts. PROFILE is for those
        who have proved who they are.
        """
        station = self._find(claim)
        proof = self._prove(station, claim)
        named = certified(claim, self.options, () if station is None else station.names)
        proven = proof.right or named
        if station is None:
            return Verdict(Denial.BUSY if proof.busy and not named else Denial.UNKNOWN, claim.identity, proven=named)
        profiles = station.profiles
        if named and 3 in profiles:
            return Verdict(None, station.identity, 3, proven=True)
        basic = 2 if claim.secure else 1
        if proof.right and basic in profiles:
            return Verdict(None, station.identity, basic, proven=True, guessable=proof.guessable)
        if 0 in profiles:
            return Verdict(None, station.identity, 0, proven=proven)
        if proof.right and not claim.secure:
            log.warning("%s: its password came over a connection without TLS, give it a new one", station.identity)
        if proven:
            denial = Denial.PROFILE
        elif claim.password is None:
            denial = Denial.CERTIFICATE if claim.certificate else Denial.MISSING
        else:
            denial = Denial.BUSY if proof.busy else Denial.WRONG
        return Verdict(denial, station.identity, proven=proven)

    def _find(self, claim: Claim) -> Credential | None:
        station = self._stations.get(claim.identity)
        if station is None and claim.folds:
            name = self._folded.get(claim.identity.casefold())
            station = None if name is None else self._stations.get(name)
        return station

    def _prove(self, station: Credential | None, claim: Claim) -> _Proof:
        password = claim.password
        if password is None:
            return _Proof()
        against = station.secrets if station is not None and station.secrets else self._decoy(claim.identity)
        is_own = station is not None and against is station.secrets and claim.user_is_self()
        right = guessable = busy = False
        # No early end: time must not say which of two secrets was right, or whether one was.
        for secret in against:
            if not secret.guessable:
                form = self._match_key(secret, password)
                if is_own and form is not None:
                    right = True
                    self._tell_form(claim.identity, form)
            elif not claim.blocked:
                matched = self._match_password(secret, password, claim.now, is_own=is_own)
                busy |= matched is None
                if matched and is_own:
                    right = guessable = True
        return _Proof(right, guessable, busy and not right)

    def _match_key(self, secret: Secret, password: bytes) -> str | None:
        """Which form of the password matched: empty for the password as it is."""
        found: str | None = None
        for form, candidate in _forms(password) if self.options.forms == "either" else (("", password),):
            if secret.matches(candidate) and found is None:
                found = form
        return found

    def _match_password(self, secret: Secret, password: bytes, now: float, *, is_own: bool) -> bool | None:
        """None: not looked at, too many were."""
        # What is remembered is for its station alone: a fast answer would tell others that the password is right.
        print_ = secret.fingerprint(self._key, password)
        if is_own and print_ in self._right:
            self._right.move_to_end(print_)
            return True
        full = self._slow.take(self._slow_full, now)
        if full is None:
            return None
        self._slow_full = full
        matched = secret.matches(password)
        if matched and is_own:
            self._right[print_] = None
            if len(self._right) > self.options.remembered:
                self._right.popitem(last=False)
        return matched

    def _tell_form(self, identity: str, form: str) -> None:
        if form and identity not in self._forms_seen:
            self._forms_seen[identity] = None
            if len(self._forms_seen) > self.options.remembered:
                self._forms_seen.popitem(last=False)
            log.warning("%s: its key matched as %s; store or set it in the right form", identity, form)

    # -- indexes ------------------------------------------------------------------------------------------------------

    def _index(self, stations: dict[str, Credential]) -> None:
        #: Lower case to identity, None where several differ in case alone: then only the exact one is found.
        folded: dict[str, str | None] = {}
        for identity in stations:
            _fold(folded, identity)
        self._stations, self._folded = stations, folded
        self._decoys = None

    def _decoy(self, identity: str) -> tuple[Secret, ...]:
        decoys = self._decoys
        if decoys is None:
            self._decoys = decoys = [station.secrets for station in self._stations.values() if station.secrets]
        if not decoys:
            return self._spare
        digest = hashlib.blake2b(identity.casefold().encode("utf-8", "replace"), digest_size=8, key=self._key).digest()
        return decoys[int.from_bytes(digest, "big") % len(decoys)]


def _fold(folded: dict[str, str | None], identity: str) -> None:
    key = identity.casefold()
    folded[key] = None if key in folded else identity


def _forms(password: bytes) -> Iterator[tuple[str, bytes]]:
    """What a key may have been meant as: 16 to 20 bytes, or their 32 to 40 hex digits (1.6 AuthorizationKey)."""
    yield "", password
    if 32 <= len(password) <= 40 and len(password) % 2 == 0 and _HEX.issuperset(password):
        yield "the hex digits of what is stored", bytes.fromhex(password.decode())
    if 16 <= len(password) <= 20:
        text = password.hex()
        yield "the bytes of which the hex digits are stored", text.encode()
        yield "the bytes of which the hex digits are stored", text.upper().encode()


def certified(claim: Claim, options: AuthOptions, names: tuple[str, ...] = ()) -> bool:
    """Whether the certificate of a claim is that of its station: it carries the identity, or where there are `names`
    one of them.
    """
    if not claim.certificate or not claim.secure:
        return False
    if options.organisation is not None and options.organisation not in _subject(claim.certificate, "organizationName"):
        return False
    found = subject_names(claim.certificate, options.binding)
    return bool(found & set(names)) if names else any(claim.is_self(name) for name in found)


def subject_names(certificate: Mapping[str, Any], binding: Binding) -> set[str]:
    """The names of a certificate as `getpeercert` gives it. Of several common names the last, most specific one."""
    found: set[str] = set()
    if binding != "san":
        found.update(_subject(certificate, "commonName")[-1:])
    if binding != "cn":
        found.update(value for kind, value in certificate.get("subjectAltName", ()) if kind in ("DNS", "URI"))
    return found


def _subject(certificate: Mapping[str, Any], kind: str) -> list[str]:
    return [value for names in certificate.get("subject", ()) for name, value in names if name == kind]
