"""A certificate authority of a test, and what it signed: a server, a server whose time is over, a client."""

from __future__ import annotations

import datetime
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Pair:
    certificate: Path
    key: Path


class Certificates:
    """PEM files in `folder`.

    ca, server (for 127.0.0.1 and localhost), expired (the same, over since yesterday), client (CN `evcore`),
    stranger (a client of another authority).
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        authority, other = trustme.CA(), trustme.CA()
        self.ca = folder / "ca.pem"
        self.other_ca = folder / "other-ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        other.cert_pem.write_to_path(self.other_ca)
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        self.server = self._pair("server", authority.issue_cert("127.0.0.1", "localhost"))
        self.expired = self._pair(
            "expired", authority.issue_cert("127.0.0.1", "localhost", not_before=now - 9 * day, not_after=now - day)
        )
        self.client = self._pair("client", authority.issue_cert("client@evcore.example", common_name="evcore"))
        self.stranger = self._pair("stranger", other.issue_cert("client@evcore.example", common_name="evcore"))

    def _pair(self, name: str, signed: trustme.LeafCert) -> Pair:
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        signed.private_key_pem.write_to_path(pair.key)
        for index, blob in enumerate(signed.cert_chain_pems):
            blob.write_to_path(pair.certificate, append=index > 0)
        return pair

    def context(self, *, client: bool = False) -> ssl.SSLContext:
        """What a client of a test uses: it trusts `ca`, and shows `client` if told to."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if client:
            context.load_cert_chain(self.client.certificate, self.client.key)
        return context
