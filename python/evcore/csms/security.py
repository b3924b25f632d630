"""Security events and certificates: OCPP 1.6 security extension, 2.x use cases A02, A04, M01 to M06.

Events are acknowledged always (a station may repeat them without end otherwise). This CSMS has no certificate
authority: signing and status requests are declined in the words each message has for it.
"""

from __future__ import annotations

from typing import Any, Final

from evcore.csms.payload import group, items
from evcore.csms.reports import acknowledge
from evcore.csms.station import Station
from evcore.dispatch import Handler, Outcome

__all__ = ["V2", "V16", "V21"]


def sign_certificate(station: Station, payload: Any) -> Outcome:
    return {"status": "Rejected"}


def ev_certificate(station: Station, payload: Any) -> Outcome:
    return {"status": "Failed", "exiResponse": ""}


def certificate_status(station: Station, payload: Any) -> Outcome:
    return {"status": "Failed"}


def certificate_chain_status(station: Station, payload: Any) -> Outcome:
    names = ("hashAlgorithm", "issuerNameHash", "issuerKeyHash", "serialNumber")
    answers = []
    for request in items(payload, "certificateStatusRequests"):
        hashes = group(request, "certificateHashData")
        answers.append(
            {
                "certificateHashData": {name: hashes[name] for name in names if name in hashes},
                "source": request.get("source"),
                "status": "Failed",
                "nextUpdate": station.clock(),
            }
        )
    return {"certificateStatus": answers}


V16: Final[dict[str, Handler[Station]]] = {
    "SecurityEventNotification": acknowledge,
    "SignCertificate": sign_certificate,
}
V2: Final[dict[str, Handler[Station]]] = V16 | {
    "Get15118EVCertificate": ev_certificate,
    "GetCertificateStatus": certificate_status,
}
V21: Final[dict[str, Handler[Station]]] = {"GetCertificateChainStatus": certificate_chain_status}
