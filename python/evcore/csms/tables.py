"""One table per version: every action a station may send (OCPP 1.6, 2.0.1 and 2.1, station to CSMS).

Actions of the other direction have no handler and are answered NotSupported; unknown ones do not get this far.
"""

from __future__ import annotations

from typing import Final

from evcore.bus import Bus
from evcore.csms import (
    authorize,
    boot,
    charging,
    data_transfer,
    reports,
    security,
    status,
    tells_v2,
    tells_v16,
    transactions,
)
from evcore.csms.announce import announcing
from evcore.csms.station import Station
from evcore.dispatch import Table

__all__ = ["tables"]

_V16: Final = boot.V16 | authorize.V16 | transactions.V16 | status.V16 | data_transfer.ALL | reports.V16 | security.V16
_V201: Final = (
    boot.V2 | authorize.V2 | transactions.V2 | status.V2 | data_transfer.ALL | reports.V2 | security.V2 | charging.V2
)
_V21: Final = _V201 | reports.V21 | security.V21 | charging.V21

_ALL: Final = {"ocpp1.6": _V16, "ocpp2.0.1": _V201, "ocpp2.1": _V21}


_TELLS: Final = {"ocpp1.6": tells_v16.V16, "ocpp2.0.1": tells_v2.V2, "ocpp2.1": tells_v2.V2}


def tables(timeout: float = 60.0, bus: Bus | None = None) -> dict[str, Table[Station]]:
    """The tables by version. `timeout`: seconds a handler may take; `bus`: who is told what stations send."""
    return {
        version: Table(handlers if bus is None else announcing(handlers, _TELLS[version], bus), timeout=timeout)
        for version, handlers in _ALL.items()
    }
