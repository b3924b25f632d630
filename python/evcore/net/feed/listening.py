"""The socket a hub listens on: a file of one user, and one hub for it at a time.

Comes in: a path. Goes out: connections. The file of a process that died is replaced. Refused, with a sentence: a path
where somebody listens, where something else lies, that cannot be written, that is too long for a socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["Bound", "HubError", "Listening", "bind"]


class HubError(Exception):
    """The hub cannot listen; the text is a sentence for people."""


class Listening:
    """A socket that is listened on until `close`."""

    def __init__(self, server: asyncio.AbstractServer, path: Path) -> None:
        self._server = server
        self._path = path
        self._file = _identity(path)

    def close(self) -> None:
        """Listens no more; open connections stay. The file goes, if it is still this one."""
        self._server.close()
        if self._file is not None and _identity(self._path) == self._file:
            self._path.unlink(missing_ok=True)


class Bound:
    """A socket that is taken; who connects waits until it is listened on."""

    def __init__(self, path: Path, taken: socket.socket) -> None:
        self._path = path
        self._socket = taken

    async def listen(self, admit: Callable[[], asyncio.Protocol]) -> Listening:
        """Listens; `admit` makes the protocol of each connection."""
        server = await asyncio.get_running_loop().create_unix_server(admit, sock=self._socket)
        return Listening(server, self._path)

    def close(self) -> None:
        """Gives it up again."""
        self._socket.close()
        self._path.unlink(missing_ok=True)


def bind(path: Path) -> Bound:
    """Takes the socket. Raises HubError."""
    if sys.platform == "win32":
        raise HubError("this system has no Unix sockets, which a feed needs")
    try:
        return Bound(path, _bound(path))
    except OSError as error:
        raise HubError(f"cannot listen on the socket {path}: {_reason(error)}") from error


def _bound(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _alone(path.parent):
            _clear(path)
            # Nobody else may connect, not even between these two lines.
            before = os.umask(0o177)
            try:
                made.bind(str(path))
            finally:
                os.umask(before)
            made.listen(128)
    except BaseException:
        made.close()
        raise
    made.setblocking(False)
    return made


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds off other processes that look whether a socket in this folder is in use, and would replace it."""
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _clear(path: Path) -> None:
    """Removes the socket of a process that is gone. Raises HubError for anything else that is there."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise HubError(f"cannot listen on {path}: something that is no socket lies there; choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A process that does not accept any more still has its socket.
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass
    raise HubError(f"cannot listen on {path}: another bridge does already; stop it or choose another path")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _reason(error: OSError) -> str:
    if error.errno is None:
        # What Python itself says of a name that does not fit into a socket's address.
        return "the path is too long for a socket"
    if error.errno == errno.ENOENT:
        return "there is no such folder"
    return error.strerror or str(error)
