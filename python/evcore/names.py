"""Names of properties: on the wire (``chargePointVendor``) and in Python (``charge_point_vendor``).

In: names out of the schemas. Out: snake names, by one rule. Within one object of a schema no two names share a snake
name, in any version, so that the way back is exact where the schema is known; without it there is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["aliases", "snake"]

# One word, though with capitals inside: state of charge, state of health, vehicle to anything, to grid, contract ids.
_WORDS: Final = re.compile(r"[Ss]o[CH](?![a-z])|V2X|V2G|EMAIDs")
# Between a small letter or digit and a capital, and before the last capital of a run that goes on in small letters.
_BOUNDARY: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def snake(wire: str) -> str:
    """The name in Python of the property `wire`.

    >>> snake("chargePointVendor"), snake("responderURL"), snake("evMinV2XEnergyRequest"), snake("limit_L2")
    ('charge_point_vendor', 'responder_url', 'ev_min_v2x_energy_request', 'limit_l2')
    """
    return _BOUNDARY.sub("_", _WORDS.sub(_as_one_word, wire)).lower()


def _as_one_word(found: re.Match[str]) -> str:
    return found[0][0] + found[0][1:].lower()


# Fields of the `ocpp` package's dataclasses that spell a name otherwise (ocpp 2.1.0: datatypes.IdTokenInfoType in v201;
# call.Authorize and call.Get15118EVCertificate in v21).
_ALIASES: Final[Mapping[str, Mapping[str, str]]] = {
    "ocpp1.6": MappingProxyType({}),
    "ocpp2.0.1": MappingProxyType({"language_1": "language1", "language_2": "language2"}),
    "ocpp2.1": MappingProxyType(
        {
            "iso_15118_certificate_hash_data": "iso15118CertificateHashData",
            "iso_15118_schema_version": "iso15118SchemaVersion",
        }
    ),
}


def aliases(version: str) -> Mapping[str, str]:
    """Fields of the `ocpp` package's dataclasses that are neither wire nor snake names -> wire name.

    Raises ValueError for a version that is not one of ``ocpp1.6``, ``ocpp2.0.1``, ``ocpp2.1``.
    """
    try:
        return _ALIASES[version]
    except KeyError:
        raise ValueError(f"version must be one of {', '.join(_ALIASES)}, not {version!r}") from None
