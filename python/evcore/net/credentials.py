"""The credentials file: one station a line, as passwd has one user a line.

In and out: lines of JSON, `{"station": "CP1", "profiles": [2], "secrets": ["hmac-sha256$..."], "names": []}`; `secrets`
(hashed, oldest first) and `names` may be left out. Refused with CredentialsError: a file that cannot be read or
written, lines that are something else, the same station twice. An error names file and line, never what stands there.

Lines rather than TOML, because a hundred thousand stations must be read again in a second while others are served.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from evcore.net.auth import PROFILES, AuthOptions, Claim, Credential, Credentials, Verdict
from evcore.net.handshake import identity_fault
from evcore.net.secret import Secret

try:
    import fcntl
except ImportError:  # Windows: two commands that change one file at the same moment are not kept apart there
    fcntl = None  # type: ignore[assignment]

__all__ = ["CredentialsError", "CredentialsFile", "edit", "read", "write"]

log = logging.getLogger("evcore.auth")

_MEMBERS: Final = frozenset({"station", "profiles", "secrets", "names"})


class CredentialsError(Exception):
    """The credentials cannot be used; the text is a sentence for people."""


def read(path: Path) -> list[Credential]:
    """The stations of a file. Raises CredentialsError."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise CredentialsError(f"the credentials file {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise CredentialsError(f"the credentials file {path} is not UTF-8") from None
    stations: dict[str, Credential] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            station = _station(line)
            if station.identity in stations:
                raise ValueError("this station has a line already")
        except (ValueError, RecursionError) as error:
            # JSONDecodeError carries the line; its text does not, but a chained exception would be printed with it.
            reason = "not JSON" if isinstance(error, json.JSONDecodeError) else str(error)
            raise CredentialsError(f"the credentials file {path}, line {number}: {reason}") from None
        stations[station.identity] = station
    return list(stations.values())


def _station(line: str) -> Credential:
    entry: Any = json.loads(line)
    if not isinstance(entry, dict) or not {"station", "profiles"} <= entry.keys() <= _MEMBERS:
        raise ValueError("not an object of station, profiles, secrets and names")
    identity, profiles = entry["station"], entry["profiles"]
    hashes, names = entry.get("secrets", []), entry.get("names", [])
    if not isinstance(identity, str):
        raise ValueError("station is not a string")
    if (fault := identity_fault(identity)) is not None:
        raise ValueError(fault)
    if not isinstance(profiles, list) or not all(type(profile) is int for profile in profiles):
        raise ValueError("profiles is not a list of numbers")
    for name, value in (("secrets", hashes), ("names", names)):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ValueError(f"{name} is not a list of strings")
    return Credential(
        identity, _shared(frozenset(profiles)), tuple(Secret.parse(text) for text in hashes), tuple(names)
    )


@lru_cache(1 << len(PROFILES))
def _shared(profiles: frozenset[int]) -> frozenset[int]:
    """One object for all stations of the same profiles: it would be a fifth of what a station takes."""
    return profiles


def write(path: Path, stations: Iterable[Credential]) -> None:
    """Replaces the file, all or nothing, readable by its owner alone. Raises CredentialsError."""
    # The file itself where the path is a link to it: a link must go on pointing there.
    path = path.resolve()
    temporary = None
    try:
        # mkstemp makes the file with mode 0600 from the start.
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            for station in stations:
                entry: dict[str, Any] = {"station": station.identity, "profiles": sorted(station.profiles)}
                if station.secrets:
                    entry["secrets"] = [secret.text for secret in station.secrets]
                if station.names:
                    entry["names"] = list(station.names)
                file.write(json.dumps(entry, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise CredentialsError(f"the credentials file {path} cannot be written: {error.strerror or error}") from None


@contextlib.contextmanager
def edit(path: Path, *, create: bool = False) -> Iterator[Credentials]:
    """The stations of a file to be changed; written when the block ends well, while other editors wait.

    `create`: a missing file is an empty one. Raises CredentialsError.
    """
    with _locked(path):
        stations = Credentials([] if create and not path.exists() else read(path))
        yield stations
        write(path, stations)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    # The folder is locked, not the file: the file is replaced while the lock is held, and leaves nothing behind.
    try:
        handle = os.open(path.resolve().parent, os.O_RDONLY) if fcntl is not None else None
    except OSError as error:
        raise CredentialsError(f"the folder of {path} cannot be opened: {error.strerror or error}") from None
    try:
        if handle is not None:
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        if handle is not None:
            os.close(handle)


class CredentialsFile:
    """An `Authenticator` of the stations in a file. Raises CredentialsError when the file cannot be used."""

    def __init__(self, path: Path, options: AuthOptions | None = None) -> None:
        self._path = path
        self._credentials = Credentials(options=options)
        self._seen: tuple[int, int, int] | None = None
        self.reload()

    def __len__(self) -> int:
        return len(self._credentials)

    def __contains__(self, identity: object) -> bool:
        return identity in self._credentials

    def authenticate(self, claim: Claim) -> Verdict:
        return self._credentials.authenticate(claim)

    def reload(self) -> bool:
        """Reads the file again if it has changed and tells whether it had; may run in a thread.

        Raises CredentialsError; the stations known until then stay known.
        """
        try:
            status = self._path.stat()
        except OSError as error:
            reason = error.strerror or error
            raise CredentialsError(f"the credentials file {self._path} cannot be read: {reason}") from None
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen == self._seen:
            return False
        stations = read(self._path)
        self._credentials.replace(stations)
        self._seen = seen
        if os.name == "posix" and status.st_mode & 0o077:
            log.warning("the credentials file %s can be read by others, chmod it to 0600", self._path)
        log.info("%d stations in the credentials file %s", len(stations), self._path)
        return True
