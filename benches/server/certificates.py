"""Certificates for the benches, made afresh in a folder: an authority, a server's and a station's, ECDSA and RSA.

Comes in: a folder. Goes out: the arguments that make a peer listen with TLS, the client's context. OCPP asks for TLS
1.2 or later and for ECDSA P-256 or RSA of 2048 bits; these are what is measured, on TLS 1.3.
"""

from __future__ import annotations

import datetime
import ssl
from functools import cached_property
from pathlib import Path
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

KINDS: Final = ("plain", "TLS", "TLS RSA", "mTLS")
"""``TLS`` and ``mTLS`` are ECDSA P-256 throughout; ``TLS RSA`` has a server certificate of RSA 2048."""

_LIFE: Final = datetime.timedelta(days=2)


class Certificates:
    """Made when first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def arguments(self, kind: str) -> list[str]:
        """What a peer is to be started with."""
        if kind == "plain":
            return []
        name = "rsa" if kind == "TLS RSA" else "ecdsa"
        given = ["--certificate", str(self._made / f"{name}.pem"), "--key", str(self._made / f"{name}.key")]
        return [*given, "--authority", str(self._made / "authority.pem")] if kind == "mTLS" else given

    def client(self, kind: str) -> ssl.SSLContext | None:
        """A station's context; None for plain connections. It resumes nothing: every handshake is a full one."""
        if kind == "plain":
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(self._made / "authority.pem")
        if kind == "mTLS":
            context.load_cert_chain(self._made / "station.pem", self._made / "station.key")
        return context

    @cached_property
    def _made(self) -> Path:
        authority = ec.generate_private_key(ec.SECP256R1())
        root = _certificate("evcore benches", authority, "evcore benches", authority, authority=True)
        self._write("authority", root, authority)
        keys: dict[str, tuple[str, Key]] = {
            "ecdsa": ("localhost", ec.generate_private_key(ec.SECP256R1())),
            "rsa": ("localhost", rsa.generate_private_key(65537, 2048)),
            "station": ("CP000000", ec.generate_private_key(ec.SECP256R1())),
        }
        for name, (subject, key) in keys.items():
            self._write(name, _certificate(subject, key, "evcore benches", authority), key)
        return self._folder

    def _write(self, name: str, certificate: x509.Certificate, key: Key) -> None:
        (self._folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (self._folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


def _certificate(
    subject: str, key: Key, issuer: str, issuer_key: ec.EllipticCurvePrivateKey, *, authority: bool = False
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LIFE)
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(subject)]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
