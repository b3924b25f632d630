"""The decision on an upgrade request: every status, in which order, and what it gives away."""

from __future__ import annotations

import base64
import itertools
import logging
import random
import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evcore.net.auth import AuthOptions, Claim, Credential, Credentials, Denial, Verdict
from evcore.net.engine import Refuse, Upgrade
from evcore.net.handshake import (
    MAX_IDENTITY,
    Admitted,
    Handshake,
    HandshakeOptions,
    TurnAway,
    basic,
    identity,
    identity_fault,
    is_identifier,
)
from evcore.net.limits import LimitOptions, Limits
from evcore.net.secret import Secret

KEY = bytes.fromhex("0001020304050607FFFFFFFFFFFFFFFFFFFFFFFF")
PASSWORD = b"correct horse battery"
#: J1.6 section 6.2.2: identity AL1000 with the key above.
GOLDEN = b"Basic QUwxMDAwOgABAgMEBQYH////////////////"
FAR = "203.0.113.7"


def header(user: str | bytes = "CP1", password: bytes = KEY) -> bytes:
    name = user.encode() if isinstance(user, str) else user
    return b"Basic " + base64.b64encode(name + b":" + password)


def certificate(cn: str = "CP1") -> dict:
    return {"subject": ((("commonName", cn),),)}


def upgrade(name: str = "CP1", authorization: bytes | None = None, version: str = "ocpp1.6", **more) -> Upgrade:
    return Upgrade(f"/{quote(name, safe='')}", (version,), authorization, more.pop("address", FAR), **more)


def stations() -> Credentials:
    return Credentials(
        [
            Credential("CP1", frozenset({1}), (Secret.of_key(KEY),)),
            Credential("CP2", frozenset({2}), (Secret.of_key(KEY),)),
            Credential("CP3", frozenset({3})),
            Credential("human", frozenset({1}), (Secret.of_password(PASSWORD, (10, 1, 1)),)),
            Credential("a:b", frozenset({1}), (Secret.of_key(KEY),)),
            Credential("AL1000", frozenset({1}), (Secret.of_key(KEY),)),
        ],
        AuthOptions(slow_rate=1e6, slow_burst=1000),
    )


def handshake(*, knows=lambda _: True, limits: Limits | None = None, credentials=None, **options) -> Handshake:
    authenticator = stations() if credentials is None else credentials
    return Handshake(HandshakeOptions(**options), knows, authenticator, limits)


def status(decision: Admitted | TurnAway | Refuse) -> int:
    return decision.status if isinstance(decision, Refuse) else 101


def told(decision) -> tuple:
    """All a peer sees of a refusal."""
    assert isinstance(decision, Refuse)
    return decision.status, decision.reason, decision.headers


# Identity

identities = st.text(
    st.characters(exclude_categories=["Cs"]).filter(str.isprintable), min_size=1, max_size=MAX_IDENTITY
)


@given(identities, st.sampled_from(["/", "//", "///", "/ocpp/", "/ws://host:9000/", "/ocpp1.6/a%2Fb/"]))
def test_what_was_encoded_is_found(name, prefix) -> None:
    assert identity_fault(name) is None
    assert identity(prefix + quote(name, safe="")) == name
    assert identity(prefix + quote(name, safe="") + "?token=a/b") == name


@given(st.text(max_size=300))
def test_no_path_raises(path) -> None:
    found = identity(path)
    if isinstance(found, Refuse):
        assert found.status in (400, 404)
    else:
        assert identity_fault(found) is None


@given(st.binary(max_size=100))
def test_no_bytes_raise(path) -> None:
    """As engines pass them: raw bytes that are no ASCII as surrogates."""
    identity("/" + path.decode("ascii", "surrogateescape"))


def test_identifiers_of_2x() -> None:
    allowed = set(string.ascii_letters + string.digits + "*-_=+|@.")
    assert {chr(code) for code in range(0x2FF) if is_identifier(chr(code))} == allowed
    assert not is_identifier("")
    assert not is_identifier("CP1\n")


@pytest.mark.parametrize(
    ("name", "version", "strict", "expected"),
    [
        ("a:b", "ocpp1.6", False, 101),
        ("a:b", "ocpp1.6", True, 101),
        ("a:b", "ocpp2.0.1", False, 400),
        ("a:b", "ocpp2.1", True, 400),
        ("RDAM 123", "ocpp2.1", False, 101),
        ("RDAM 123", "ocpp2.1", True, 400),
        ("RDAM 123", "ocpp1.6", True, 101),
        ("ä", "ocpp2.0.1", True, 400),
        ("RDAM|123", "ocpp2.0.1", True, 101),
    ],
)
def test_identities_by_version(name, version, strict, expected) -> None:
    subject = Handshake(HandshakeOptions(strict_identity=strict))
    assert status(subject.decide(upgrade(name, version=version), 1.0)) == expected


@pytest.mark.parametrize("path", ["/", "", "//", "/ocpp/"])
def test_identity_from_the_user_name(path) -> None:
    request = Upgrade(path, ("ocpp1.6",), header(), FAR)
    assert status(handshake().decide(request, 1.0)) == 404
    lenient = handshake(identity_from_user=True)
    assert lenient.decide(request, 1.0) == Admitted("CP1", "ocpp1.6", "ocpp1.6", 1)
    assert status(lenient.decide(Upgrade(path, ("ocpp1.6",), header(password=b"wrong"), FAR), 1.0)) == 401
    assert status(lenient.decide(Upgrade(path, ("ocpp1.6",), None, FAR), 1.0)) == 404
    assert status(lenient.decide(Upgrade(path, ("ocpp1.6",), header(""), FAR), 1.0)) == 404
    assert status(lenient.decide(Upgrade(path, ("ocpp1.6",), header(b"\xff"), FAR), 1.0)) == 400
    assert status(lenient.decide(Upgrade(path, ("ocpp1.6",), header("a\nb"), FAR), 1.0)) == 400


# Basic


def test_golden_vector() -> None:
    assert basic(GOLDEN) == (b"AL1000", KEY)
    assert handshake().decide(upgrade("AL1000", GOLDEN), 1.0) == Admitted("AL1000", "ocpp1.6", "ocpp1.6", 1)


@given(st.binary(max_size=100).filter(lambda user: b":" not in user), st.binary(max_size=100))
def test_bytes_stay_bytes(user, password) -> None:
    assert basic(header(user, password)) == (user, password)
    assert basic(header(user, password).rstrip(b"=")) == (user, password)


@given(st.binary(max_size=1200))
def test_no_header_raises(raw) -> None:
    for value in (raw, b"Basic " + raw, b"Basic " + base64.b64encode(raw)):
        found = basic(value)
        assert found is None or (type(found[0]), type(found[1])) == (bytes, bytes)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"Basic Q1AxOmE6Yg==", (b"CP1", b"a:b")),
        (b"basic Q1AxOmE6Yg==", (b"CP1", b"a:b")),
        (b"BASIC   Q1AxOmE6Yg== ", (b"CP1", b"a:b")),
        (b"Basic Q1AxOmE6Yg", (b"CP1", b"a:b")),
        (b"Basic Og==", (b"", b"")),
        (b"Basic Q1Ax", None),
        (b"Basic ", None),
        (b"Basic", None),
        (b"", None),
        (b"Bearer Q1AxOmE6Yg==", None),
        (b"Basic Q1AxO mE6Yg==", None),
        (b"Basic Q1AxOmE6Yg=\xff", None),
        (b"Basic Q1AxOmE6Y", None),
        (b"Basic " + base64.b64encode(b"CP1:" + b"x" * 2000), None),
    ],
)
def test_basic(value, expected) -> None:
    assert basic(value) == expected


def test_a_colon_in_the_identity() -> None:
    assert basic(header("a:b", b"c:d")) == (b"a", b"b:c:d")
    assert basic(header("a:b", b"c:d"), "a:b") == (b"a:b", b"c:d")
    assert status(handshake().decide(upgrade("a:b", header("a:b")), 1.0)) == 101


# Statuses


def test_credentials() -> None:
    subject = handshake()
    assert status(subject.decide(upgrade(authorization=header()), 1.0)) == 101
    for wrong in (None, header(password=b"wrong"), header("CP2"), b"Bearer x", b"Basic !"):
        refused = subject.decide(upgrade(authorization=wrong), 1.0)
        assert told(refused)[0] == 401
        assert refused.headers == (("WWW-Authenticate", 'Basic realm="ocpp"'),)
    assert (subject.admitted, dict(subject.refused)) == (1, {401: 5})


def test_user_names_of_2x_may_differ_in_case() -> None:
    request = upgrade("cp1", header("Cp1"), "ocpp2.1")
    assert handshake().decide(request, 1.0) == Admitted("CP1", "ocpp2.1", "ocpp2.1", 1)
    assert status(handshake().decide(upgrade("cp1", header("Cp1")), 1.0)) == 401


#: What a peer that proves nothing may bring for the station of a name.
WAYS = {
    "nothing": lambda name: {},
    "nothing over TLS": lambda name: {"secure": True},
    "wrong password": lambda name: {"authorization": header(name, b"wrong")},
    "password of another": lambda name: {"authorization": header("AL1000")},
    "wrong password over TLS": lambda name: {"authorization": header(name, b"wrong"), "secure": True},
    "no Basic": lambda name: {"authorization": b"Bearer x"},
    "certificate of another": lambda name: {"secure": True, "certificate": certificate("other")},
    "certificate without names": lambda name: {"secure": True, "certificate": {"subject": ()}},
    "certificate of another, wrong password": lambda name: {
        "authorization": header(name, b"wrong"),
        "secure": True,
        "certificate": certificate("other"),
    },
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("known", ["CP1", "CP2", "CP3", "human"])
@pytest.mark.parametrize("application_knows", [True, False])
def test_nobody_learns_which_stations_there_are(way, known, application_knows) -> None:
    """The same attempts, ten times over, on a station there is and on one there is not: the same answers."""
    answers = {}
    for name in (known, "nobody"):
        limits = Limits(LimitOptions(failures=3))
        subject = handshake(limits=limits, knows=lambda name: application_knows and name != "nobody")
        request = upgrade(name, **WAYS[way](name))
        answers[name] = [told(subject.decide(request, 1.0 + number)) for number in range(10)]
    assert answers[known] == answers["nobody"]


def test_unknown_stations_are_told_so_where_it_is_wanted() -> None:
    subject = handshake(unknown="tell", knows=lambda name: name != "human")
    assert status(subject.decide(upgrade("nobody"), 1.0)) == 404
    assert status(subject.decide(upgrade("nobody", header("nobody", b"wrong")), 1.0)) == 404
    assert status(subject.decide(upgrade("human", header("human", b"wrong")), 1.0)) == 404
    assert status(subject.decide(upgrade("CP1"), 1.0)) == 401
    assert status(subject.decide(upgrade("CP1", header(password=b"wrong")), 1.0)) == 401


def test_unknown_stations_that_proved_themselves_are_told_so() -> None:
    brought = {"secure": True, "certificate": certificate("nobody")}
    assert status(handshake().decide(upgrade("nobody", **brought), 1.0)) == 404
    assert status(handshake(knows=lambda _: False).decide(upgrade(authorization=header()), 1.0)) == 404


def test_without_credentials_unknown_is_404() -> None:
    assert status(Handshake(knows=lambda _: False).decide(upgrade(), 1.0)) == 404
    assert Handshake().decide(upgrade(), 1.0) == Admitted("CP1", "ocpp1.6", "ocpp1.6", 0)


def test_certificates() -> None:
    subject = handshake()
    good = {"secure": True, "certificate": certificate("CP3")}
    assert subject.decide(upgrade("CP3", **good), 1.0) == Admitted("CP3", "ocpp1.6", "ocpp1.6", 3)
    assert status(subject.decide(upgrade("CP1", **good), 1.0)) == 403
    assert status(subject.decide(upgrade("CP3", secure=True), 1.0)) == 401


def test_another_profile_is_refused() -> None:
    subject = handshake()
    assert subject.decide(upgrade("CP2", header("CP2"), secure=True), 1.0).profile == 2
    assert status(subject.decide(upgrade("CP2", header("CP2")), 1.0)) == 403
    assert status(subject.decide(upgrade("CP1", header(), secure=True), 1.0)) == 403


@pytest.mark.parametrize(
    ("minimum", "expected"),
    [(0, [101, 101, 101, 101]), (1, [403, 101, 101, 101]), (2, [403, 403, 101, 101]), (3, [403, 403, 403, 101])],
)
def test_minimum_profile(minimum, expected) -> None:
    credentials = Credentials([Credential("CP1", frozenset({0, 1, 2, 3}), (Secret.of_key(KEY),))])
    ways = [
        {},
        {"authorization": header()},
        {"authorization": header(), "secure": True},
        {"secure": True, "certificate": certificate()},
    ]
    subject = handshake(credentials=credentials, minimum_profile=minimum)
    assert [status(subject.decide(upgrade(**way), 1.0)) for way in ways] == expected


def test_no_password_is_asked_for_over_plain_where_it_would_not_do() -> None:
    refused = handshake(minimum_profile=2).decide(upgrade("CP2"), 1.0)
    assert (refused.status, refused.headers) == (403, ())


def test_no_common_version() -> None:
    request = Upgrade("/CP1", ("ocpp0.1",), None, FAR)
    assert status(handshake().decide(request, 1.0)) == 400
    turned = handshake(mismatch="close").decide(request, 1.0)
    assert isinstance(turned, TurnAway)
    assert "ocpp2.1" in turned.reason
    bare = Upgrade("/CP1", (), header(), FAR)
    assert status(handshake().decide(bare, 1.0)) == 400
    assert handshake(assume="ocpp1.6").decide(bare, 1.0) == Admitted("CP1", "ocpp1.6", None, 1)


def test_shutdown() -> None:
    subject = handshake(restart_seconds=7)
    subject.stop()
    refused = subject.decide(upgrade(authorization=header()), 1.0)
    assert (refused.status, refused.headers) == (503, (("Retry-After", "7"),))


def test_too_many_requests_of_an_address() -> None:
    subject = handshake(limits=Limits(LimitOptions(address_rate=0.1, address_burst=2)))
    decisions = [subject.decide(upgrade(authorization=header()), 1.0) for _ in range(3)]
    assert [status(decision) for decision in decisions] == [101, 101, 429]
    assert decisions[2].headers == (("Retry-After", "10"),)
    assert status(subject.decide(upgrade(authorization=header(), address="198.51.100.1"), 1.0)) == 101


def test_a_crowd_is_asked_to_come_again() -> None:
    limits = Limits(LimitOptions(accept_rate=1, accept_burst=5), rng=random.Random(1))
    subject = handshake(limits=limits)
    assert [status(subject.decide(upgrade(), 1.0)) for _ in range(50)] == [401] * 3 + [401] * 47
    decisions = [subject.decide(upgrade(authorization=header()), 1.0) for _ in range(50)]
    assert [status(decision) for decision in decisions] == [101] * 5 + [503] * 45
    waits = {int(decision.headers[0][1]) for decision in decisions[5:]}
    assert len(waits) > 10
    assert min(waits) >= 1


def test_guessing_is_slowed_and_guesses_under_the_delay_tell_nothing() -> None:
    subject = handshake(limits=Limits(LimitOptions(failures=3, delay_first=4)))
    wrong, right = upgrade("human", header("human", b"wrong")), upgrade("human", header("human", PASSWORD))
    assert [status(subject.decide(wrong, 1.0)) for _ in range(5)] == [401] * 4 + [429]
    blocked = subject.decide(right, 2.0)
    assert (blocked.status, blocked.headers) == (429, (("Retry-After", "3"),))
    assert told(blocked) == told(subject.decide(wrong, 2.0))
    assert status(subject.decide(right, 5.0)) == 101


def test_attempts_under_the_delay_do_not_prolong_it() -> None:
    subject = handshake(limits=Limits(LimitOptions(failures=0, delay_first=10)))
    wrong = upgrade("human", header("human", b"wrong"))
    assert [status(subject.decide(wrong, 1.0 + second)) for second in range(11)] == [401] + [429] * 9 + [401]


def test_a_random_key_is_never_locked_out() -> None:
    subject = handshake(limits=Limits(LimitOptions(failures=0, delay_first=100)))
    assert status(subject.decide(upgrade(authorization=header(password=b"wrong")), 1.0)) == 401
    assert status(subject.decide(upgrade(authorization=header(password=b"wrong")), 1.0)) == 429
    assert status(subject.decide(upgrade(authorization=header()), 1.0)) == 101


def test_neighbours_failures_lock_nobody_out() -> None:
    """Behind one NAT address somebody fails on many identities; a station there that was in before comes in again."""
    subject = handshake(limits=Limits(LimitOptions(failures=3, address_failures=5, address_rate=0)))
    human = upgrade("human", header("human", PASSWORD))
    assert status(subject.decide(human, 1.0)) == 101
    for number in range(30):
        subject.decide(upgrade(f"guess{number}", header(f"guess{number}", b"wrong")), 1.0)
    assert status(subject.decide(upgrade("guess99", header("guess99", b"wrong")), 1.0)) == 429
    assert status(subject.decide(human, 1.0)) == 101


def test_asking_without_credentials_is_no_failure() -> None:
    """Clients ask first and bring their credentials when told to."""
    subject = handshake(limits=Limits(LimitOptions(failures=0)))
    assert [status(subject.decide(upgrade("human"), 1.0)) for _ in range(5)] == [401] * 5
    assert status(subject.decide(upgrade("human", header("human", PASSWORD)), 1.0)) == 101


class Busy:
    def authenticate(self, claim: Claim) -> Verdict:
        return Verdict(Denial.BUSY)


def test_busy() -> None:
    refused = handshake(credentials=Busy()).decide(upgrade(authorization=header()), 1.0)
    assert (refused.status, refused.headers) == (503, (("Retry-After", "1"),))


def test_order_of_checks() -> None:
    """Each request has this fault and all those after it: the first one counts."""
    limits = Limits(LimitOptions(address_rate=0.001, address_burst=6))
    subject = handshake(limits=limits, minimum_profile=2)
    requests = [
        Upgrade("/%zz", ("ocpp0.1",), header(password=b"wrong"), FAR),
        Upgrade("/%zz", ("ocpp0.1",), header(password=b"wrong"), FAR, True),
        Upgrade("/CP:1", ("ocpp0.1",), header(password=b"wrong"), FAR, True),
        Upgrade("/CP:1", ("ocpp2.1",), header(password=b"wrong"), FAR, True),
        Upgrade("/CP1", ("ocpp2.1",), header(password=b"wrong"), FAR, True),
        Upgrade("/CP1", ("ocpp2.1",), header(), FAR, True),
        Upgrade("/CP1", ("ocpp2.1",), header(), FAR, True),
    ]
    decisions = [subject.decide(request, 1.0) for request in requests]
    assert [status(decision) for decision in decisions] == [403, 400, 400, 400, 401, 403, 429]
    words = ["TLS", "percent", "subprotocol", "2.x", "wrong", "profile", "too many"]
    assert all(word in decision.reason for word, decision in zip(words, decisions, strict=True))


@given(
    st.text(max_size=60),
    st.lists(st.sampled_from(["ocpp1.6", "ocpp2.1", "x"]), max_size=3).map(tuple),
    st.none() | st.binary(max_size=80) | st.binary(max_size=60).map(lambda raw: b"Basic " + base64.b64encode(raw)),
    st.text(max_size=20),
    st.booleans(),
    st.sampled_from([None, {}, certificate(), {"subject": ()}, {"subjectAltName": (("DNS", "x"),)}]),
)
def test_no_request_raises(path, subprotocols, authorization, address, secure, brought) -> None:
    subject = handshake(limits=Limits(), identity_from_user=True, credentials=CREDENTIALS)
    subject.decide(Upgrade(path, subprotocols, authorization, address, secure, brought), 1.0)


CREDENTIALS = stations()


def test_unsafe_connections_are_named_once_per_station(caplog) -> None:
    subject = handshake()
    for name, _ in itertools.product(("CP1", "AL1000"), range(3)):
        subject.decide(upgrade(name, header(name)), 1.0)
    subject.decide(upgrade("CP2", header("CP2"), secure=True), 1.0)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["CP1", "AL1000"]
    assert "unsafe" in caplog.text


def test_no_secret_is_logged_or_told(caplog) -> None:
    caplog.set_level(logging.DEBUG)
    subject = handshake(limits=Limits())
    seen = ""
    for password, secure in itertools.product((b"hush hush hush hush", KEY, PASSWORD), (False, True)):
        for name in ("CP1", "CP2", "human", "nobody"):
            request = upgrade(name, header(name, password), secure=secure)
            seen += repr(subject.decide(request, 1.0))
    seen += caplog.text
    assert len(caplog.records) > 10
    for password in (b"hush hush hush hush", KEY, PASSWORD):
        for hidden in (password.hex(), base64.b64encode(password).decode()[:16], repr(password)[2:-1]):
            assert hidden not in seen


@pytest.mark.parametrize(
    "options", [{"minimum_profile": 4}, {"realm": ""}, {"realm": 'a"b'}, {"realm": "a\r\nb"}, {"restart_seconds": 0}]
)
def test_options_out_of_range(options) -> None:
    with pytest.raises(ValueError):
        HandshakeOptions(**options)
