"""Who is let in with which proof, how passwords are kept, and that nothing of them gets out."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
import logging
import os
import stat
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evcore.net import auth, secret
from evcore.net.auth import AuthOptions, Certified, Claim, Credential, Credentials, Denial, Open, subject_names
from evcore.net.credentials import CredentialsError, CredentialsFile, edit, read, write
from evcore.net.secret import Secret, random_key

KEY = bytes.fromhex("0001020304050607FFFFFFFFFFFFFFFFFFFFFFFF")
NEXT = b"the next key, random"
#: scrypt's least cost: what is tested is not how slow it is.
CHEAP = (10, 1, 1)


def certificate(cn: str = "CP1", organisation: str = "Operator", san: tuple[tuple[str, str], ...] = ()) -> dict:
    """As `ssl.SSLSocket.getpeercert` gives it."""
    subject = ((("countryName", "DE"),), (("organizationName", organisation),), (("commonName", cn),))
    return {"subject": subject, "subjectAltName": san, "serialNumber": "01"}


def station(identity: str = "CP1", *profiles: int, keys: tuple[bytes, ...] = (KEY,), names=()) -> Credential:
    return Credential(identity, frozenset(profiles or {1}), tuple(Secret.of_key(key) for key in keys), names)


def claim(
    identity="CP1", password: bytes | None = KEY, *, user: bytes | None = None, version="ocpp1.6", **more
) -> Claim:
    name = None if password is None else identity.encode() if user is None else user
    return Claim(identity, version, name, password, **more)


def denial(credentials: Credentials, *args, **more) -> Denial | None:
    return credentials.authenticate(claim(*args, **more)).denial


# Secrets


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_a_key_matches_itself_alone(key, other) -> None:
    kept = Secret.parse(Secret.of_key(key).text)
    assert kept.matches(key)
    assert kept.matches(other) == (other == key)


def test_a_password_matches_itself_alone() -> None:
    kept = Secret.parse(Secret.of_password(b"correct horse", CHEAP).text)
    assert kept.guessable
    assert kept.matches(b"correct horse")
    assert not kept.matches(b"correct horse ")


def test_hashes_are_what_other_programs_compute() -> None:
    _, salt, digest = Secret.of_key(KEY).text.split("$")
    plain = [base64.b64decode(part) for part in (salt, digest)]
    assert hmac.new(plain[0], KEY, hashlib.sha256).digest() == plain[1]
    expected = hashlib.scrypt(b"password", salt=b"NaCl", n=1024, r=8, p=1, dklen=32)
    text = f"scrypt$10$8$1${base64.b64encode(b'NaCl').decode()}${base64.b64encode(expected).decode()}"
    assert Secret.parse(text).matches(b"password")


def test_salted() -> None:
    assert Secret.of_key(KEY).text != Secret.of_key(KEY).text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "hmac-sha256$$",
        "hmac-sha256$AAAA$AAAA",
        "hmac-sha256$AAAA$!!!!",
        "md5$AAAA$AAAA",
        f"scrypt$30$8$1$AAAA${'A' * 43}=",
        f"scrypt$17$8$1$AAAA${'A' * 43}=",
        f"scrypt$14$8$99$AAAA${'A' * 43}=",
        f"scrypt$x$8$1$AAAA${'A' * 43}=",
        f"scrypt$-1$8$1$AAAA${'A' * 43}=",
        f"scrypt$8$1$AAAA${'A' * 43}=",
    ],
)
def test_text_that_is_no_hash(text) -> None:
    with pytest.raises(ValueError, match="not a hash of a known scheme") as caught:
        Secret.parse(text)
    assert not text or text not in "".join(traceback.format_exception(caught.value))


@given(st.text(max_size=100))
def test_no_text_raises_anything_else(text) -> None:
    with pytest.raises(ValueError, match="not a hash"):
        Secret.parse(text)


def test_keys_fit_both_versions() -> None:
    """20 bytes at most on the wire for 1.6, 16 to 40 characters of identifierString without `:` for 2.x."""
    keys = {random_key() for _ in range(200)}
    assert len(keys) == 200
    allowed = set(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789*-_=+|@.")
    assert all(16 <= len(key) <= 20 and set(key) <= allowed for key in keys)


def test_comparison_takes_constant_time(monkeypatch) -> None:
    """Not a time but a call: `==` anywhere in its place ends at the first byte that differs."""
    compared = []
    original = hmac.compare_digest
    monkeypatch.setattr(secret.hmac, "compare_digest", lambda a, b: compared.append(1) or original(a, b))
    credentials = Credentials([station(keys=(KEY, NEXT))])
    for password in (KEY, NEXT, b"wrong"):
        credentials.authenticate(claim(password=password))
    assert len(compared) == 6


# Basic


def test_right_and_wrong_passwords() -> None:
    credentials = Credentials([station()])
    verdict = credentials.authenticate(claim())
    assert (verdict.denial, verdict.identity, verdict.profile, verdict.proven) == (None, "CP1", 1, True)
    assert denial(credentials, password=KEY + b"x") is Denial.WRONG
    assert denial(credentials, password=b"") is Denial.WRONG
    assert denial(credentials, password=None) is Denial.MISSING
    assert denial(credentials, user=b"CP2") is Denial.WRONG
    assert denial(credentials, user=b"\xff") is Denial.WRONG
    assert denial(credentials, user=b"") is Denial.WRONG
    assert denial(credentials, "CP2") is Denial.UNKNOWN


def test_nothing_is_proved_with_another_stations_password() -> None:
    """Also not by an unknown station whose password happens to be compared with that one."""
    credentials = Credentials([station("CP1", keys=(KEY,))])
    verdict = credentials.authenticate(claim("CP2"))
    assert (verdict.denial, verdict.proven) == (Denial.UNKNOWN, False)
    passive = Credentials([station("CP1", keys=(KEY,)), Credential("CP3", frozenset({3}))])
    verdict = passive.authenticate(claim("CP3", secure=True))
    assert (verdict.denial, verdict.proven) == (Denial.WRONG, False)


def test_case_of_2x_identities() -> None:
    credentials = Credentials([station("CP1"), station("Twin"), station("twin", keys=(NEXT,))])
    for version in ("ocpp2.0.1", "ocpp2.1"):
        assert credentials.authenticate(claim("cp1", user=b"Cp1", version=version)).identity == "CP1"
    assert denial(credentials, "cp1", version="ocpp1.6") is Denial.UNKNOWN
    assert denial(credentials, "CP1", user=b"cp1", version="ocpp1.6") is Denial.WRONG
    assert denial(credentials, "Twin", version="ocpp2.1") is None
    assert denial(credentials, "twin", password=NEXT, version="ocpp2.1") is None
    assert denial(credentials, "TWIN", version="ocpp2.1") is Denial.UNKNOWN


def test_open_lets_everybody_in() -> None:
    verdict = Open().authenticate(claim(password=None))
    assert (verdict.denial, verdict.profile) == (None, 0)


def work(monkeypatch, credentials: Credentials, *args, **more) -> list[str]:
    """The schemes of the secrets a claim is compared with."""
    seen: list[str] = []
    original = Secret.matches
    monkeypatch.setattr(Secret, "matches", lambda self, password: seen.append(self.scheme) or original(self, password))
    credentials.authenticate(claim(*args, **more))
    monkeypatch.undo()
    return seen


def test_unknown_stations_cost_what_known_ones_cost(monkeypatch) -> None:
    """A quarter of the stations has a slow hash, a quarter two keys: of unknown ones about as many, each always."""
    known = []
    for number in range(40):
        kept = [Secret.of_key(KEY)]
        if number % 4 == 0:
            kept = [Secret.of_password(b"guessable password", CHEAP)]
        if number % 4 == 1:
            kept.append(Secret.of_key(NEXT))
        known.append(Credential(f"CP{number}", frozenset({1}), tuple(kept)))
    credentials = Credentials(known, AuthOptions(slow_rate=1e6, slow_burst=1000))
    costs: dict[str, list[tuple[str, ...]]] = {}
    for kind in ("CP", "unknown"):
        count = 40 if kind == "CP" else 400
        costs[kind] = [tuple(work(monkeypatch, credentials, f"{kind}{number}", b"guess")) for number in range(count)]
    again = [tuple(work(monkeypatch, credentials, f"unknown{number}", b"guess")) for number in range(400)]
    assert again == costs["unknown"]
    for cost in set(costs["CP"]):
        share = costs["CP"].count(cost) / 40
        assert abs(costs["unknown"].count(cost) / 400 - share) < 0.12, cost
    assert set(costs["CP"]) == set(costs["unknown"])


def test_unknown_stations_cost_something_where_nobody_has_a_password(monkeypatch) -> None:
    credentials = Credentials([Credential("CP1", frozenset({3}))])
    assert work(monkeypatch, credentials, "CP1", b"guess") == work(monkeypatch, credentials, "CP2", b"guess") != []


def test_both_keys_are_right_during_a_change() -> None:
    credentials = Credentials([station()])
    credentials.add_secret("CP1", Secret.of_key(NEXT))
    assert denial(credentials) is denial(credentials, password=NEXT) is None
    with pytest.raises(ValueError, match="under way"):
        credentials.add_secret("CP1", Secret.of_key(b"third"))
    withdrawn = copy.deepcopy(credentials)
    credentials.retire("CP1")
    assert (denial(credentials), denial(credentials, password=NEXT)) == (Denial.WRONG, None)
    withdrawn.withdraw("CP1")
    assert (denial(withdrawn), denial(withdrawn, password=NEXT)) == (None, Denial.WRONG)
    with pytest.raises(KeyError):
        credentials.retire("CP2")


def test_stations_come_and_go() -> None:
    credentials = Credentials()
    assert denial(credentials) is Denial.UNKNOWN
    credentials.put(station())
    assert (denial(credentials), len(credentials), "CP1" in credentials) == (None, 1, True)
    assert denial(credentials, "cp1", version="ocpp2.1") is None
    assert credentials.remove("CP1")
    assert not credentials.remove("CP1")
    assert denial(credentials) is denial(credentials, "cp1", version="ocpp2.1") is Denial.UNKNOWN


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        (KEY, KEY.hex().encode()),
        (KEY, KEY.hex().upper().encode()),
        (KEY.hex().encode(), KEY),
        (KEY.hex().upper().encode(), KEY),
        (KEY[:16], KEY[:16].hex().encode()),
    ],
)
def test_either_form_of_a_key(stored, sent, caplog) -> None:
    assert denial(Credentials([station(keys=(stored,))]), password=sent) is Denial.WRONG
    lenient = Credentials([station(keys=(stored,))], AuthOptions(forms="either"))
    for _ in range(3):
        assert denial(lenient, password=sent) is None
    assert denial(lenient, password=stored) is None
    assert denial(lenient, password=sent[:-2]) is Denial.WRONG
    assert len(caplog.records) == 1
    assert "hex digits" in caplog.text


# Guessable passwords

PASSWORD = b"correct horse battery"


def human(identity: str = "CP1", password: bytes = PASSWORD) -> Credential:
    return Credential(identity, frozenset({1}), (Secret.of_password(password, CHEAP),))


def test_right_passwords_are_checked_once(monkeypatch) -> None:
    credentials = Credentials([human()], AuthOptions(slow_rate=1e-9, slow_burst=2))
    assert denial(credentials, password=PASSWORD) is None
    assert work(monkeypatch, credentials, "CP1", PASSWORD) == []
    assert denial(credentials, password=PASSWORD) is None
    assert denial(credentials, password=b"wrong") is Denial.WRONG
    assert denial(credentials, password=b"wrong") is Denial.BUSY
    assert denial(credentials, "CP2", password=b"wrong") is Denial.BUSY, "unknown stations show by it"
    assert denial(credentials, password=PASSWORD) is None


def test_what_is_remembered_shows_to_nobody_else(monkeypatch) -> None:
    """An unknown station's password is compared with this hash: it must take as long when it is right."""
    credentials = Credentials([human()], AuthOptions(slow_rate=1e6, slow_burst=100))
    for _ in range(2):
        assert work(monkeypatch, credentials, "nobody", PASSWORD) == ["scrypt"]
    assert work(monkeypatch, credentials, "CP1", PASSWORD) == ["scrypt"]
    assert work(monkeypatch, credentials, "nobody", PASSWORD) == ["scrypt"]
    assert work(monkeypatch, credentials, "CP1", PASSWORD, user=b"CP2") == ["scrypt"]


def test_a_remembered_password_goes_with_its_secret() -> None:
    credentials = Credentials([human()])
    assert denial(credentials, password=PASSWORD) is None
    credentials.add_secret("CP1", Secret.of_key(KEY))
    credentials.retire("CP1")
    assert denial(credentials, password=PASSWORD) is Denial.WRONG


def test_memory_of_right_passwords_is_bounded() -> None:
    options = AuthOptions(slow_rate=1e6, slow_burst=100, remembered=3)
    credentials = Credentials([human(f"CP{number}") for number in range(9)], options)
    for number in range(9):
        assert denial(credentials, f"CP{number}", PASSWORD) is None
    assert len(credentials._right) == 3


def test_blocked_claims_are_judged_by_unguessable_proofs_alone(monkeypatch) -> None:
    credentials = Credentials([human(), station("CP2"), station("CP3", 3)])
    assert denial(credentials, password=PASSWORD) is None
    assert denial(credentials, password=PASSWORD, blocked=True) is Denial.WRONG
    assert work(monkeypatch, credentials, "CP1", PASSWORD, blocked=True) == []
    assert denial(credentials, "CP2", blocked=True) is None
    assert denial(credentials, "CP3", None, secure=True, certificate=certificate("CP3"), blocked=True) is None


def test_guessable_is_said() -> None:
    credentials = Credentials([human(), station("CP2")])
    assert credentials.authenticate(claim(password=PASSWORD)).guessable
    assert not credentials.authenticate(claim("CP2")).guessable


# Security profiles: which of a station's are proved by what it brings

BASIC = {"password": KEY}
NOTHING = {"password": None}
TLS = {"secure": True}
CERTIFIED = {"secure": True, "certificate": certificate()}
OTHERS = {"secure": True, "certificate": certificate("CP2")}

PROFILES = [
    ({0}, NOTHING, 0),
    ({0}, BASIC, 0),
    ({0}, {**CERTIFIED, **NOTHING}, 0),
    ({1}, NOTHING, Denial.MISSING),
    ({1}, BASIC, 1),
    ({1}, {**BASIC, **TLS}, Denial.PROFILE),
    ({1}, {"password": b"wrong", **TLS}, Denial.WRONG),
    ({2}, BASIC, Denial.PROFILE),
    ({2}, {"password": b"wrong"}, Denial.WRONG),
    ({2}, {**BASIC, **TLS}, 2),
    ({2}, {**NOTHING, **TLS}, Denial.MISSING),
    ({2}, {**BASIC, **CERTIFIED}, 2),
    ({2}, {**NOTHING, **CERTIFIED}, Denial.PROFILE),
    ({3}, {**NOTHING, **CERTIFIED}, 3),
    ({3}, {"password": b"wrong", **CERTIFIED}, 3),
    ({3}, {**NOTHING, **OTHERS}, Denial.CERTIFICATE),
    ({3}, {**BASIC, **TLS}, Denial.PROFILE),
    ({3}, {**NOTHING, "certificate": certificate()}, Denial.CERTIFICATE),
    ({1, 2}, BASIC, 1),
    ({1, 2}, {**BASIC, **TLS}, 2),
    ({2, 3}, {**BASIC, **CERTIFIED}, 3),
    ({2, 3}, {**BASIC, **OTHERS}, 2),
    ({0, 2}, {**BASIC, **TLS}, 2),
    ({0, 2}, BASIC, 0),
]


@pytest.mark.parametrize(("profiles", "brought", "expected"), PROFILES)
def test_profiles(profiles, brought, expected) -> None:
    verdict = Credentials([station("CP1", *profiles)]).authenticate(claim(**brought))
    assert (verdict.profile if verdict.denial is None else verdict.denial) == expected


def test_a_password_sent_in_the_clear_is_named(caplog) -> None:
    credentials = Credentials([station("CP1", 2)])
    assert denial(credentials) is Denial.PROFILE
    assert "without TLS" in caplog.text


def test_an_unknown_station_may_prove_itself_by_certificate() -> None:
    verdict = Credentials([]).authenticate(claim(password=None, **CERTIFIED))
    assert (verdict.denial, verdict.proven) == (Denial.UNKNOWN, True)


SAN = (("DNS", "cp1.example"), ("URI", "urn:station:CP1"), ("IP Address", "10.0.0.1"))
BINDINGS = [
    ("cn", "CP1", (), True),
    ("cn", "other", (("DNS", "CP1"),), False),
    ("san", "CP1", (), False),
    ("san", "other", (("DNS", "CP1"),), True),
    ("san", "other", (("URI", "CP1"),), True),
    ("san", "other", (("IP Address", "CP1"), ("email", "CP1")), False),
    ("either", "CP1", (), True),
    ("either", "other", (("DNS", "CP1"),), True),
    ("either", "other", (("DNS", "CP2"),), False),
]


@pytest.mark.parametrize(("binding", "cn", "san", "fits"), BINDINGS)
def test_bindings(binding, cn, san, fits) -> None:
    credentials = Credentials([station("CP1", 3)], AuthOptions(binding=binding))
    found = denial(credentials, password=None, secure=True, certificate=certificate(cn, san=san))
    assert found is (None if fits else Denial.CERTIFICATE)


def test_a_table_of_names_takes_the_identitys_place() -> None:
    credentials = Credentials([station("CP1", 3, names=("SN-4711", "SN-4712"))])
    for cn, expected in (("SN-4711", None), ("SN-4712", None), ("CP1", Denial.CERTIFICATE), ("SN", Denial.CERTIFICATE)):
        assert denial(credentials, password=None, secure=True, certificate=certificate(cn)) is expected


def test_case_of_names() -> None:
    credentials = Credentials([station("CP1", 3)])
    lower = {"password": None, "secure": True, "certificate": certificate("cp1")}
    assert denial(credentials, **lower, version="ocpp2.1") is None
    assert denial(credentials, **lower, version="ocpp1.6") is Denial.CERTIFICATE


def test_organisation() -> None:
    credentials = Credentials([station("CP1", 3)], AuthOptions(organisation="Operator"))
    for organisation, expected in (("Operator", None), ("Rival", Denial.CERTIFICATE)):
        brought = {"secure": True, "certificate": certificate(organisation=organisation)}
        assert denial(credentials, password=None, **brought) is expected


def test_a_certificate_is_enough_without_a_list() -> None:
    open_to_all = Certified(AuthOptions(organisation="Operator"))
    verdict = open_to_all.authenticate(claim(password=None, **CERTIFIED))
    assert (verdict.denial, verdict.identity, verdict.profile, verdict.proven) == (None, "CP1", 3, True)
    assert open_to_all.authenticate(claim(password=None, **OTHERS)).denial is Denial.CERTIFICATE
    rival = {"secure": True, "certificate": certificate(organisation="Rival")}
    assert open_to_all.authenticate(claim(password=None, **rival)).denial is Denial.CERTIFICATE
    assert open_to_all.authenticate(claim(secure=True)).denial is Denial.MISSING
    assert open_to_all.authenticate(claim(certificate=certificate())).denial is Denial.CERTIFICATE


def test_the_last_common_name_counts() -> None:
    subject = ((("commonName", "first"),), (("commonName", "last"),))
    assert subject_names({"subject": subject}, "cn") == {"last"}


@given(
    st.text(max_size=10),
    st.none() | st.binary(max_size=20),
    st.none() | st.binary(max_size=50),
    st.sampled_from([None, {}, certificate(), {"subject": ()}]),
    st.booleans(),
)
def test_no_claim_raises(identity, user, password, brought, secure) -> None:
    credentials = Credentials([station("CP1", 1, 2, 3), human("CP2")], AuthOptions(forms="either", binding="either"))
    made = Claim(identity, "ocpp2.1", user, password, brought, "203.0.113.7", secure, 1.0)
    verdict = credentials.authenticate(made)
    assert (verdict.denial is None) == (identity == "CP1" and bool(brought and brought["subject"]) and secure)


@pytest.mark.parametrize(
    ("profiles", "keys"), [(set(), (KEY,)), ({4}, (KEY,)), ({1}, ()), ({2, 3}, ()), ({1}, (KEY, KEY, KEY))]
)
def test_stations_that_make_no_sense(profiles, keys) -> None:
    with pytest.raises(ValueError):
        Credential("CP1", frozenset(profiles), tuple(Secret.of_key(key) for key in keys))


# The file


def test_what_is_written_is_read(tmp_path) -> None:
    path = tmp_path / "stations"
    stations = [station("CP1", 1, 2, keys=(KEY, NEXT)), human("ä b:c"), Credential("CP3", frozenset({3}), (), ("SN1",))]
    write(path, stations)
    back = read(path)
    assert [(one.identity, one.profiles, one.names) for one in back] == [
        (one.identity, one.profiles, one.names) for one in stations
    ]
    assert [[kept.text for kept in one.secrets] for one in back] == [[s.text for s in one.secrets] for one in stations]
    assert KEY.hex() not in path.read_text("utf-8").lower()
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


GOOD = '{"station": "CP1", "profiles": [0]}'
BAD = {
    "{": "not JSON",
    "[]": "not an object",
    '"CP1"': "not an object",
    "{}": "not an object",
    '{"station": "CP1", "profiles": [0], "password": "hush"}': "not an object",
    '{"station": 1, "profiles": [0]}': "station is not a string",
    '{"station": "", "profiles": [0]}': "the identity is empty",
    '{"station": "a\\u0000", "profiles": [0]}': "control characters",
    '{"station": "CP2", "profiles": 1}': "profiles is not a list",
    '{"station": "CP2", "profiles": [true]}': "profiles is not a list",
    '{"station": "CP2", "profiles": [7]}': "profiles are one or more",
    '{"station": "CP2", "profiles": [2]}': "need a secret",
    '{"station": "CP2", "profiles": [2], "secrets": ["hush"]}': "not a hash",
    '{"station": "CP2", "profiles": [3], "names": "SN1"}': "names is not a list",
    GOOD: "has a line already",
    "[" * 100_000: "",
}


@pytest.mark.parametrize("line", BAD)
def test_lines_that_are_something_else(line, tmp_path) -> None:
    path = tmp_path / "stations"
    path.write_text(f"{GOOD}\n\n{line}\n", "utf-8")
    with pytest.raises(CredentialsError, match=f"line 3: .*{BAD[line]}") as caught:
        read(path)
    assert "hush" not in "".join(traceback.format_exception(caught.value))


def test_files_that_cannot_be_read(tmp_path) -> None:
    with pytest.raises(CredentialsError, match="cannot be read"):
        CredentialsFile(tmp_path / "missing")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(CredentialsError, match="not UTF-8"):
        read(tmp_path / "binary")
    with pytest.raises(CredentialsError, match="cannot be written"):
        write(tmp_path / "missing" / "stations", [])


def test_reload(tmp_path, caplog) -> None:
    path = tmp_path / "stations"
    write(path, [station()])
    file = CredentialsFile(path)
    assert (len(file), "CP1" in file, file.authenticate(claim()).denial) == (1, True, None)
    assert not file.reload()
    with edit(path) as stations:
        stations.put(station("CP2"))
        stations.remove("CP1")
    assert file.reload()
    assert file.authenticate(claim()).denial is Denial.UNKNOWN
    assert file.authenticate(claim("CP2")).denial is None
    path.write_text("nonsense\n")
    with pytest.raises(CredentialsError):
        file.reload()
    path.unlink()
    with pytest.raises(CredentialsError):
        file.reload()
    assert file.authenticate(claim("CP2")).denial is None, "the stations known until then are gone"
    assert "read by others" not in caplog.text
    write(path, [station()])
    path.chmod(0o644)
    assert file.reload()
    assert "read by others" in caplog.text


def test_a_failed_edit_changes_nothing(tmp_path) -> None:
    path = tmp_path / "stations"
    write(path, [station()])
    before = path.read_bytes()

    def change() -> None:
        with edit(path) as stations:
            stations.put(station("CP2"))
            stations.retire("CP9")

    with pytest.raises(KeyError):
        change()
    assert path.read_bytes() == before
    with pytest.raises(CredentialsError, match="cannot be read"), edit(tmp_path / "missing"):
        pass


def test_a_link_goes_on_pointing_there(tmp_path) -> None:
    path, link = tmp_path / "stations", tmp_path / "link"
    write(path, [station()])
    link.symlink_to(path)
    with edit(link) as stations:
        stations.put(station("CP2"))
    assert link.is_symlink()
    assert len(read(path)) == 2


def test_editors_wait_for_each_other(tmp_path) -> None:
    path = tmp_path / "stations"
    write(path, [])

    def add(number: int) -> None:
        for index in range(5):
            with edit(path) as stations:
                stations.put(station(f"CP{number}-{index}"))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read(path)) == 20


# Nothing gets out


def test_secrets_are_in_no_repr(caplog) -> None:
    caplog.set_level(logging.DEBUG)
    kept = Secret.of_key(b"hush hush hush hush")
    one = Credential("CP1", frozenset({1}), (kept,))
    credentials = Credentials([one], AuthOptions(forms="either"))
    made = claim(password=b"hush hush hush hush", certificate={"subject": ((("commonName", "hushed"),),)})
    credentials.authenticate(made)
    credentials.authenticate(claim(password=b"hush wrong"))
    told = " ".join(map(repr, (kept, one, credentials, made, credentials.authenticate(made)))) + caplog.text
    for hidden in ("hush", *kept.text.split("$")[1:]):
        assert hidden not in told


def test_secrets_are_in_no_traceback() -> None:
    """Frames of a traceback show source lines, not values; what an exception says is ours."""
    with pytest.raises(ValueError) as caught:
        Credential("CP1", frozenset({9}), (Secret.of_key(b"hush"),))
    assert "hmac" not in str(caught.value)


# The command


@pytest.fixture
def credential(tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str, send: bytes = b"") -> subprocess.CompletedProcess[str]:
        code = "from evcore.cli.credential import credential; credential()"
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            input=send,
            capture_output=True,
            cwd=tmp_path,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(Path(auth.__file__).parents[2]), "COLUMNS": "120"},
        )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


def printed(done: subprocess.CompletedProcess[str]) -> bytes:
    assert done.returncode == 0, done.stderr
    words = {line.split()[0]: line.split()[1] for line in done.stdout.splitlines()}
    assert bytes.fromhex(words["hex"]) == words["key"].encode()
    return words["key"].encode()


def test_a_key_is_made_changed_and_retired(credential, tmp_path) -> None:
    path = tmp_path / "stations"
    first = printed(credential("add", "stations", "CP1", "--profile", "1"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first not in path.read_bytes()
    assert denial(Credentials(read(path)), password=first) is None
    second = printed(credential("add", "stations", "CP1"))
    both = Credentials(read(path))
    assert denial(both, password=first) is denial(both, password=second) is None
    third = credential("add", "stations", "CP1")
    assert (third.returncode, "under way" in third.stderr) == (1, True)
    assert credential("retire", "stations", "CP1").returncode == 0
    after = Credentials(read(path))
    assert (denial(after, password=first), denial(after, password=second)) == (Denial.WRONG, None)
    assert credential("retire", "stations", "CP1").returncode == 1
    printed(credential("add", "stations", "CP1"))
    assert credential("withdraw", "stations", "CP1").returncode == 0
    assert denial(Credentials(read(path)), password=second) is None
    assert credential("remove", "stations", "CP1").returncode == 0
    assert read(path) == []
    assert credential("remove", "stations", "CP1").returncode == 1


def test_passwords_from_standard_input(credential, tmp_path) -> None:
    path = tmp_path / "stations"
    for station_, send, options in (
        ("human", b"correct horse battery\n", ()),
        ("machine", b"0123456789abcdefghij", ("--random",)),
        ("binary", KEY.hex().upper().encode() + b"\r\n", ("--random", "--hex")),
    ):
        done = credential("add", "stations", station_, "--profile", "1", "--password-stdin", *options, send=send)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
    credentials = Credentials(read(path))
    assert denial(credentials, "human", b"correct horse battery") is None
    assert denial(credentials, "machine", b"0123456789abcdefghij") is None
    assert denial(credentials, "binary", KEY) is None
    assert [kept.secrets[0].scheme for kept in credentials] == ["scrypt", "hmac-sha256", "hmac-sha256"]
    for send, options in ((b"short", ()), (b"x" * 300, ()), (b"no hex digits at all", ("--hex",))):
        done = credential("add", "stations", "CP9", "--password-stdin", *options, send=send)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_profiles_and_names_change_without_a_new_key(credential, tmp_path) -> None:
    path = tmp_path / "stations"
    key = printed(credential("add", "stations", "CP1"))
    done = credential("add", "stations", "CP1", "--profile", "2", "--profile", "3", "--cn", "SN1")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    one = read(path)[0]
    assert (one.profiles, one.names, one.secrets[0].matches(key)) == ({2, 3}, ("SN1",), True)
    done = credential("add", "stations", "CP2", "--profile", "3", "--cn", "SN2")
    assert (done.returncode, done.stdout) == (0, "")
    listed = credential("list", "stations").stdout.splitlines()
    assert [line.split() for line in listed] == [
        ["STATION", "PROFILES", "KEYS", "NAMES"],
        ["CP1", "2,3", "hmac-sha256", "SN1"],
        ["CP2", "3", "-", "SN2"],
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "missing"),
        ("remove", "missing", "CP1"),
        ("add", "stations", "x" * 49),
        ("add", "stations", "CP1", "--profile", "4"),
        ("add", "stations", "CP1", "--random"),
        ("add", "missing/stations", "CP1"),
    ],
)
def test_wrong_calls_end_with_a_sentence(credential, arguments, tmp_path) -> None:
    done = credential(*arguments)
    assert done.returncode in (1, 2)
    assert done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_json_lines(tmp_path) -> None:
    write(tmp_path / "stations", [station("CP1"), Credential("CP2", frozenset({0}))])
    entries = [json.loads(line) for line in (tmp_path / "stations").read_text("utf-8").splitlines()]
    assert [entry["station"] for entry in entries] == ["CP1", "CP2"]
    assert entries[1] == {"station": "CP2", "profiles": [0]}
