"""TLS for both sides: contexts from files, and certificates that are renewed while the server runs.

Comes in: paths of PEM files and the oldest version allowed. Goes out: `ssl.SSLContext` objects, or TlsError with one
sentence for a person. Refused: anything below TLS 1.2, keys that do not belong to their certificate, two certificates
of one kind (OpenSSL would silently forget the first).

The library is OpenSSL, through Python's `ssl`, on purpose: OCPP obliges a CSMS to offer two suites with static RSA key
exchange (security white paper and 2.x Part 2, A00.FR.318 and A00.FR.421), which rustls and other modern libraries
leave out. Forward-secret suites come first in the order of preference, so the static ones are chosen only by stations
that know no better. Both key kinds are needed to serve every station: give an RSA and an ECDSA certificate.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

__all__ = ["KeyPair", "ServerTls", "TlsError", "TlsVersion", "client_context"]

log = logging.getLogger("evcore.tls")

TlsVersion: TypeAlias = Literal["1.2", "1.3"]

_MINIMUM: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

#: For TLS 1.2, best first. The first two and the last two are those OCPP requires; the suites of TLS 1.3 are OpenSSL's.
SUITES: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
)

#: X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED.
_TIMES: Final = {9: "is not valid yet", 10: "has expired"}


class TlsError(ValueError):
    """Files that make no TLS; the text is a sentence that names the file."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """PEM files: a certificate with its intermediate certificates after it, and its private key.

    The key may stand in the certificate's file. `password` decrypts it; it shows in no representation.
    """

    certificate: Path
    key: Path | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"KeyPair({str(self.certificate)!r}, {str(self.key_file)!r})"

    @property
    def key_file(self) -> Path:
        return self.certificate if self.key is None else self.key


class ServerTls:
    """The TLS side of a listening socket. Raises TlsError when the files do not do.

    `pairs`: at most one RSA and one ECDSA certificate. `client_ca`: the bundle that signs stations' certificates; with
    it, a station's certificate is asked for (OCPP security profile 3) and, where `client` is `required`, insisted on.
    """

    def __init__(
        self,
        pairs: Sequence[KeyPair],
        *,
        client_ca: Path | None = None,
        client: Literal["required", "optional"] = "required",
        minimum: TlsVersion = "1.2",
    ) -> None:
        if not pairs:
            raise TlsError("TLS needs a certificate")
        self._pairs = tuple(pairs)
        self._client_ca = client_ca
        self._client = ssl.CERT_REQUIRED if client == "required" else ssl.CERT_OPTIONAL
        self._minimum = _MINIMUM[minimum]
        self._stamp = self._look()
        self._context = self._make()

    @property
    def context(self) -> ssl.SSLContext:
        """For the next connection; open ones keep the one they came with."""
        return self._context

    @property
    def asks_for_certificates(self) -> bool:
        """Whether stations are asked for a certificate."""
        return self._client_ca is not None

    def reload(self) -> bool:
        """Reads the files again; new connections get what they hold now. Bad files change nothing and are logged."""
        self._stamp = self._look()
        try:
            self._context = self._make()
        except TlsError as error:
            log.error("the certificates stay as they were: %s", error)
            return False
        log.info("certificates loaded: %s", ", ".join(str(pair.certificate) for pair in self._pairs))
        return True

    def refresh(self) -> bool:
        """Reloads if a file has changed since it was last read. Cheap enough to be called every few seconds."""
        return self._look() != self._stamp and self.reload()

    def _files(self) -> list[Path]:
        files = [file for pair in self._pairs for file in (pair.certificate, pair.key_file)]
        return files if self._client_ca is None else [*files, self._client_ca]

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(file) for file in self._files()]

    def _make(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = self._minimum
        context.set_ciphers(":".join(SUITES))
        # A peer that renegotiates makes the server compute keys for one small record each.
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        kinds: dict[str, Path] = {}
        for pair in self._pairs:
            kind = _check(pair)
            if kind in kinds:
                raise TlsError(
                    f"{kinds[kind]} and {pair.certificate} are both {kind} certificates, one of a kind is used"
                )
            kinds[kind] = pair.certificate
            _load(context, pair)
        if self._client_ca is not None:
            _trust(context, self._client_ca)
            context.verify_mode = self._client
        return context


def client_context(
    *, ca: Path | None = None, pair: KeyPair | None = None, minimum: TlsVersion = "1.2"
) -> ssl.SSLContext:
    """For a station: trusts `ca` (default: the system's CAs) and checks the host name; `pair` is its own certificate.

    Raises TlsError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _MINIMUM[minimum]
    context.set_ciphers(":".join(SUITES))
    if ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _trust(context, ca)
    if pair is not None:
        _check(pair)
        _load(context, pair)
    return context


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    # The inode tells of a file moved into place within one tick of the clock.
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(file: Path) -> str:
    try:
        return file.read_text("ascii", "replace")
    except OSError as error:
        raise TlsError(f"{file} cannot be read: {error.strerror}") from error


def _trust(context: ssl.SSLContext, bundle: Path) -> None:
    if "-----BEGIN CERTIFICATE-----" not in _read(bundle):
        raise TlsError(f"{bundle} holds no PEM certificate")
    try:
        context.load_verify_locations(bundle)
    except (OSError, ssl.SSLError) as error:
        raise TlsError(f"{bundle} is not a bundle of PEM certificates: {_reason(error)}") from error


def _load(context: ssl.SSLContext, pair: KeyPair) -> None:
    key = _read(pair.key_file)
    if "-----BEGIN CERTIFICATE-----" not in _read(pair.certificate):
        raise TlsError(f"{pair.certificate} holds no PEM certificate")
    if "PRIVATE KEY-----" not in key:
        raise TlsError(f"{pair.key_file} holds no PEM private key")
    encrypted = "ENCRYPTED" in key
    if encrypted and pair.password is None:
        raise TlsError(f"{pair.key_file} is encrypted, its password is missing")
    try:
        # A password of some kind always: without one OpenSSL would ask for it on the terminal.
        context.load_cert_chain(pair.certificate, pair.key_file, pair.password or "")
    except ssl.SSLError as error:
        if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
            raise TlsError(f"{pair.key_file} is not the key of the certificate {pair.certificate}") from error
        if encrypted:
            raise TlsError(f"{pair.key_file} cannot be decrypted, its password is wrong") from error
        raise TlsError(f"{pair.certificate} and {pair.key_file} cannot be used: {_reason(error)}") from error
    except OSError as error:
        raise TlsError(f"{pair.certificate} or {pair.key_file} cannot be read: {error.strerror}") from error


def _check(pair: KeyPair) -> str:
    """The kind of the certificate's key, RSA or ECDSA; warns of a certificate out of its time. Raises TlsError.

    A handshake with itself in memory tells both, and that the key signs, without a parser for certificates.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(server, pair)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    _trust(client, pair.certificate)
    try:
        cipher = _shake(client, server)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _TIMES:
            log.warning("the certificate %s %s", pair.certificate, _TIMES[error.verify_code])
        client.verify_mode = ssl.CERT_NONE
        cipher = _shake(client, server)
    return "ECDSA" if "ECDSA" in cipher else "RSA"


def _shake(client: ssl.SSLContext, server: ssl.SSLContext) -> str:
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    station = client.wrap_bio(back, there)
    backend = server.wrap_bio(there, back, server_side=True)
    steps: list[Callable[[], None]] = [station.do_handshake, backend.do_handshake]
    while steps:
        for step in tuple(steps):
            try:
                step()
                steps.remove(step)
            except ssl.SSLWantReadError:
                continue
    return (station.cipher() or ("",))[0]


def _reason(error: OSError) -> str:
    reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
    return str(reason).replace("_", " ").lower()
