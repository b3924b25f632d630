"""An application whose stations may move between workers: each new connection is claimed, each end is told."""

from __future__ import annotations

from typing import Generic, TypeVar

from evcore.net.connection import Connection
from evcore.net.server import Application, Link
from evcore.net.workers.claims import Claims

__all__ = ["Claimed"]

C = TypeVar("C")


class Claimed(Generic[C]):
    """Implements `evcore.net.server.Application` around another one."""

    def __init__(self, application: Application[C], claims: Claims) -> None:
        self._application = application
        self._claims = claims

    def knows(self, identity: str) -> bool:
        return self._application.knows(identity)

    def link(self, identity: str, version: str) -> Link[C]:
        return self._application.link(identity, version)

    def connected(self, connection: Connection[C]) -> None:
        self._application.connected(connection)
        self._claims.opened(connection.name, connection)

    def disconnected(self, connection: Connection[C]) -> None:
        self._application.disconnected(connection)
        self._claims.closed(connection.name, connection)
