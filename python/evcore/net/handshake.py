"""The decision before the upgrade: who is it, which OCPP version, and may it come in. No I/O.

Comes in: an upgrade request and the time (seconds of a monotonic clock). Goes out: `Admitted`, `TurnAway` (upgrade and
close, for stations without a common version), or an HTTP status with a sentence; nothing in a request raises.

The identity is the last path segment, percent-decoded after the split (OCPP-J 1.6 section 3.1, 2.x Part 4 section
3.1.1); a version in the path decides nothing (Part 4 section 3.1.2). The checks run in this order: shutdown, rate of
the address, transport, identity, version, credentials, known or not, profile, rate of the server. What comes before
credentials says nothing of any station; docs/security.md has the table of statuses.
"""

from __future__ import annotations

import base64
import binascii
import logging
import math
import re
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote_to_bytes

from evcore.net.auth import PROFILES, Authenticator, Claim, Denial, Open, Verdict
from evcore.net.engine import Refuse, Upgrade
from evcore.net.limits import Limits

__all__ = [
    "SUBPROTOCOLS",
    "Admitted",
    "Handshake",
    "HandshakeOptions",
    "TurnAway",
    "basic",
    "choose",
    "identity",
    "identity_fault",
    "is_identifier",
]

log = logging.getLogger("evcore.handshake")

SUBPROTOCOLS: Final = ("ocpp1.6", "ocpp2.0.1", "ocpp2.1")

#: OCPP 2.x limits the identity to identifierString[48]; 1.6 gives no limit, and longer ones were never reported.
MAX_IDENTITY: Final = 48
#: Bytes of an Authorization header that is looked at: 48 characters and 64, in UTF-8 and base64, are 600.
_MAX_AUTHORIZATION: Final = 1024
#: Stations whose unsafe connection was named in the log, and is not again.
_NAMED: Final = 131_072

_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9*\-_=+|@.]+")
_REALM: Final = re.compile(r"[ !#-\[\]-~]+")


def identity(path: str) -> str | Refuse:
    """The station's identity from the raw path of its upgrade request, or why there is none."""
    segment = _segment(path)
    if not segment:
        return Refuse(404, "the path must end with the identity of the station: ws://HOST:PORT/IDENTITY")
    if _BAD_ESCAPE.search(segment):
        return Refuse(400, "the identity is not percent-encoded correctly")
    try:
        # Engines pass bytes that are no ASCII as surrogates: stations that do not percent-encode them are understood.
        raw = segment.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return Refuse(400, "the identity is not UTF-8")
    return _decoded(unquote_to_bytes(raw))


def _segment(path: str) -> str:
    return path.partition("?")[0].partition("#")[0].rpartition("/")[2]


def _decoded(raw: bytes) -> str | Refuse:
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        return Refuse(400, "the identity is not UTF-8")
    fault = identity_fault(name)
    return name if fault is None else Refuse(400, fault)


def identity_fault(name: str) -> str | None:
    """Why this cannot be an identity of any version, or None."""
    if not name:
        return "the identity is empty"
    if len(name) > MAX_IDENTITY:
        return f"the identity is longer than {MAX_IDENTITY} characters"
    return None if name.isprintable() else "the identity holds control characters"


def is_identifier(name: str) -> bool:
    """Whether it is an identifierString of 2.x, and without `:`, which an identity may not have."""
    return _IDENTIFIER.fullmatch(name) is not None


def choose(offered: tuple[str, ...], assume: Literal["ocpp1.6"] | None = None) -> tuple[str, str | None] | None:
    """The version to speak and the subprotocol to echo: the station's first choice among ours, or None.

    `assume` is the version of a station that offers nothing at all (seen in the field); nothing is echoed to it.
    """
    for name in offered:
        if name in SUBPROTOCOLS:
            return name, name
    return (assume, None) if not offered and assume is not None else None


def basic(authorization: bytes | None, name: str | None = None) -> tuple[bytes, bytes] | None:
    """User and password of an `Authorization: Basic` header value, or None; nothing raises (RFC 7617).

    Both stay bytes: keys of 1.6 are binary. The user ends at the first `:`, or after `name` where that is an identity
    with a `:` in it.
    """
    if authorization is None or len(authorization) > _MAX_AUTHORIZATION:
        return None
    scheme, _, rest = authorization.strip().partition(b" ")
    if scheme.lower() != b"basic":
        return None
    encoded = rest.strip()
    try:
        # Padding is added where a station left it out: that can be read in one way only.
        decoded = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    if name is not None and ":" in name and decoded.startswith(own := name.encode() + b":"):
        return own[:-1], decoded[len(own) :]
    user, colon, password = decoded.partition(b":")
    return (user, password) if colon else None


class Admitted(NamedTuple):
    """Let in. `identity` as it is known here, `version` to speak, `subprotocol` to echo, `profile` it came with."""

    identity: str
    version: str
    subprotocol: str | None
    profile: int


class TurnAway(NamedTuple):
    """Upgrade without a subprotocol and close with 1002 and this reason (OCPP-J 1.6 section 3.2)."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeOptions:
    """How upgrade requests are judged.

    - `mismatch`: what a station gets that offers no subprotocol of ours: 400, or an upgrade that is closed
    - `assume`: the version of one that offers none at all
    - `strict_identity`: 2.x identities must be identifierStrings; otherwise anything printable without `:` will do
    - `identity_from_user`: a path without an identity takes that of the Basic user name (firmware that asks for `/`)
    - `unknown`: `hide` answers unknown stations as those with wrong credentials, `tell` with 404; where no credentials
      are asked for, and for those who proved who they are, it is always 404
    - `minimum_profile`: security profile below which nobody is let in
    - `realm`: of WWW-Authenticate
    - `restart_seconds`: Retry-After of the refusals during shutdown
    """

    mismatch: Literal["reject", "close"] = "reject"
    assume: Literal["ocpp1.6"] | None = None
    strict_identity: bool = False
    identity_from_user: bool = False
    unknown: Literal["hide", "tell"] = "hide"
    minimum_profile: int = 0
    realm: str = "ocpp"
    restart_seconds: int = 10

    def __post_init__(self) -> None:
        if self.minimum_profile not in PROFILES:
            raise ValueError(f"minimum_profile must be 0, 1, 2 or 3, not {self.minimum_profile!r}")
        if not _REALM.fullmatch(self.realm):
            raise ValueError("realm must be printable ASCII without quotes and backslashes")
        if self.restart_seconds < 1:
            raise ValueError("restart_seconds must be 1 or more")


class Handshake:
    """Judges upgrade requests.

    `knows` tells whether the application has such a station, `authenticator` whether it is who it says; without
    `limits` there are none. `refused` counts refusals by status, `admitted` those let in.
    """

    def __init__(
        self,
        options: HandshakeOptions | None = None,
        knows: Callable[[str], bool] = lambda _: True,
        authenticator: Authenticator | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.options = options or HandshakeOptions()
        self.refused: Counter[int] = Counter()
        self.admitted = 0
        self._knows = knows
        self._authenticator = authenticator or Open()
        self._limits = limits
        self._stopping = False
        self._named: OrderedDict[str, None] = OrderedDict()

    def stop(self) -> None:
        """From now on everybody gets 503."""
        self._stopping = True

    def decide(self, upgrade: Upgrade, now: float) -> Admitted | TurnAway | Refuse:
        """Judges one upgrade request."""
        decision = self._decide(upgrade, now)
        if isinstance(decision, Refuse):
            self.refused[decision.status] += 1
        elif isinstance(decision, Admitted):
            self.admitted += 1
        return decision

    def _decide(self, upgrade: Upgrade, now: float) -> Admitted | TurnAway | Refuse:
        options, limits = self.options, self._limits
        if self._stopping:
            return _later(503, "the server is shutting down", options.restart_seconds)
        if limits is not None and (wait := limits.arrive(upgrade.address, now)):
            log.info("%s: refused with HTTP 429, too many upgrade requests", upgrade.address)
            return _later(429, "too many requests from this address", wait)
        # Before anything is asked of the station: over plain it must not even be invited to send its password.
        if options.minimum_profile >= 2 and not upgrade.secure:
            return self._refuse(upgrade, 403, "this server is for TLS only")
        if options.minimum_profile >= 3 and not upgrade.certificate:
            return self._refuse(upgrade, 403, "this server is for stations with a client certificate only")
        name = self._name(upgrade)
        if isinstance(name, Refuse):
            return self._refuse(upgrade, name.status, name.reason)
        chosen = choose(upgrade.subprotocols, options.assume)
        if chosen is None:
            return self._mismatch(upgrade, name)
        version, echo = chosen
        if version != "ocpp1.6" and not is_identifier(name) and (":" in name or options.strict_identity):
            return self._refuse(upgrade, 400, "the identity holds characters that OCPP 2.x does not allow")
        return self._judge(upgrade, name, version, echo, now)

    def _name(self, upgrade: Upgrade) -> str | Refuse:
        if self.options.identity_from_user and not _segment(upgrade.path):
            credentials = basic(upgrade.authorization)
            if credentials is not None and credentials[0]:
                return _decoded(credentials[0])
        return identity(upgrade.path)

    def _mismatch(self, upgrade: Upgrade, name: str) -> TurnAway | Refuse:
        reason = f"no common subprotocol: this server speaks {', '.join(SUBPROTOCOLS)}"
        if not upgrade.subprotocols:
            reason = f"the header Sec-WebSocket-Protocol is missing: this server speaks {', '.join(SUBPROTOCOLS)}"
        if self.options.mismatch == "close":
            log.info("%s from %s: upgraded and closed, %s", name, upgrade.address, reason)
            return TurnAway(reason)
        return self._refuse(upgrade, 400, reason, name)

    def _judge(self, upgrade: Upgrade, name: str, version: str, echo: str | None, now: float) -> Admitted | Refuse:
        limits, address = self._limits, upgrade.address
        wait = 0.0 if limits is None else limits.blocked(address, name, now)
        user, password = basic(upgrade.authorization, name) or (None, None)
        claim = Claim(
            name, version, user, password, upgrade.certificate, address, upgrade.secure, now, blocked=wait > 0
        )
        verdict = self._authenticator.authenticate(claim)
        known = self._knows(verdict.identity or name)
        if verdict.denial is not None or not known:
            return self._deny(upgrade, claim, verdict, known, wait)
        if verdict.profile < self.options.minimum_profile:
            return self._refuse(upgrade, 403, f"security profile {verdict.profile} is not allowed here", name)
        if limits is not None:
            if verdict.profile:
                limits.succeeded(address, name, guessable=verdict.guessable)
            if wait := limits.accept(now):
                log.debug("%s from %s: refused with HTTP 503, too many stations at once", name, address)
                return _later(503, "too many stations at once", wait)
        if verdict.profile == 1:
            self._warn(verdict.identity)
        return Admitted(verdict.identity or name, version, echo, verdict.profile)

    def _deny(self, upgrade: Upgrade, claim: Claim, verdict: Verdict, known: bool, wait: float) -> Refuse:
        denial = Denial.UNKNOWN if verdict.denial is None else verdict.denial
        detail = (denial if known else Denial.UNKNOWN).value
        name, address, limits = claim.identity, upgrade.address, self._limits
        if not verdict.proven:
            if claim.password is None:
                # Decided by what was brought, not by what is known: the answer must not tell whether anything is.
                denial = Denial.CERTIFICATE if claim.certificate else Denial.MISSING
            if wait:
                log.info("%s from %s: refused with HTTP 429, too many failures", name, address)
                return _later(429, "too many failed attempts", wait)
            if limits is not None and denial not in (Denial.BUSY, Denial.MISSING):
                limits.failed(address, name, claim.now)
        if detail == Denial.UNKNOWN.value and (verdict.proven or self.options.unknown == "tell"):
            return self._refuse(upgrade, 404, "this station is not known here", name)
        if denial is Denial.BUSY:
            log.info("%s from %s: refused with HTTP 503, %s", name, address, detail)
            return _later(503, "the server is busy", 1.0)
        if denial in (Denial.CERTIFICATE, Denial.PROFILE):
            return self._refuse(upgrade, 403, denial.value, name, detail)
        log.warning("%s from %s: refused with HTTP 401, %s", name, address, detail)
        challenge = ("WWW-Authenticate", f'Basic realm="{self.options.realm}"')
        return Refuse(401, "credentials are missing or wrong", (challenge,))

    def _refuse(self, upgrade: Upgrade, status: int, reason: str, name: str = "", detail: str = "") -> Refuse:
        who = f"{name} from {upgrade.address}" if name else upgrade.address
        log.info("%s: refused with HTTP %d, %s", who, status, detail or reason)
        return Refuse(status, reason)

    def _warn(self, name: str) -> None:
        if name not in self._named:
            self._named[name] = None
            if len(self._named) > _NAMED:
                self._named.popitem(last=False)
            log.warning("%s: its password comes over a connection without TLS (security profile 1 is unsafe)", name)


def _later(status: int, reason: str, seconds: float) -> Refuse:
    return Refuse(status, reason, (("Retry-After", str(max(1, math.ceil(seconds)))),))
