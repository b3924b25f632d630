"""`evcore credential`: the file of stations that may come in, and their keys.

In: a credentials file and the identity of a station. Out: the file, rewritten whole with mode 0600; a new key is
printed once and kept hashed only. Refused with exit status 1: files that cannot be used, changes that make no sense.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from evcore.cli.common import fail, usage

if TYPE_CHECKING:
    from evcore.net.auth import Credential, Credentials

__all__ = ["credential"]

#: Bytes of a password: 1.6 and 2.x both want 16 at least, 2.x allows 64 characters, of four bytes at most.
_LEAST: Final = 16
_MOST: Final = 256

credential = typer.Typer(help="Keep the stations that may come in, and their keys, in a file.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The credentials file.")]
Station = Annotated[str, typer.Argument(metavar="STATION", help="The identity.")]


@contextlib.contextmanager
def _editing(file: Path, *, create: bool = False) -> Iterator[Credentials]:
    from evcore.net.credentials import CredentialsError, edit

    try:
        with edit(file, create=create) as stations:
            yield stations
    except CredentialsError as error:
        fail(str(error))


@credential.command()
def add(
    file: File,
    station: Station,
    profile: Annotated[
        list[int] | None,
        typer.Option(
            min=0, max=3, help="Security profile it may come with; repeat to move it to another. [default: 2]"
        ),
    ] = None,
    cn: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Name in its certificate, where that is not the identity.")
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input (without its line end).")
    ] = False,
    random: Annotated[
        bool, typer.Option("--random", help="That password is a random key of 120 bits or more: check it fast.")
    ] = False,
    as_hex: Annotated[
        bool, typer.Option("--hex", help="That password is written in hex digits, as an AuthorizationKey of 1.6.")
    ] = False,
) -> None:
    """Add a station with a new key, or give a known one its next key.

    A known station keeps its old key until `retire` (it has taken the new one) or `withdraw` (it has not); options that
    are not given keep what the file says. Stations of profiles 0 and 3 alone get no key, unless one is read.
    """
    from evcore.net.auth import Credential
    from evcore.net.handshake import identity_fault
    from evcore.net.secret import Secret, random_key

    if (random or as_hex) and not password_stdin:
        usage("--random and --hex are about the password of --password-stdin")
    if (fault := identity_fault(station)) is not None:
        usage(fault)
    key = _password(as_hex) if password_stdin else None
    printed = None
    with _editing(file, create=True) as stations:
        known = stations.get(station)
        profiles = frozenset(profile) if profile else known.profiles if known else frozenset({2})
        names = tuple(cn) if cn else known.names if known else ()
        # A change of profiles or names alone is no reason for a new key.
        is_wanted = known is None or not (profile or cn) or not known.secrets
        if key is None and is_wanted and profiles & {1, 2}:
            key = printed = random_key()
        held = () if known is None else known.secrets
        try:
            if key is not None:
                secret = Secret.of_key(key) if random or printed else Secret.of_password(key)
                held = (secret,) if known is None else known.with_secret(secret).secrets
            stations.put(Credential(station, profiles, held, names))
        except ValueError as error:
            fail(f"{station}: {error}")
    if printed is not None:
        typer.echo(f"station  {station}")
        typer.echo(f"key      {printed.decode()}    as text: 2.x BasicAuthPassword")
        typer.echo(f"hex      {printed.hex().upper()}    1.6 AuthorizationKey")
        typer.echo("It is shown this once; the file holds a hash of it.", err=True)


def _password(as_hex: bool) -> bytes:
    # Bytes as they come: a password is not text (only the line end of an `echo` is not meant).
    raw = sys.stdin.buffer.read(4 * _MOST).removesuffix(b"\n").removesuffix(b"\r")
    if as_hex:
        try:
            raw = bytes.fromhex(raw.decode("ascii"))
        except ValueError:
            usage("the password is not written in hex digits")
    if not _LEAST <= len(raw) <= _MOST:
        usage(f"a password has {_LEAST} to {_MOST} bytes")
    return raw


@credential.command("list")
def list_(file: File) -> None:
    """List the stations: identity, profiles, kind of each key, names in the certificate."""
    from evcore.net.credentials import CredentialsError, read

    try:
        stations = read(file)
    except CredentialsError as error:
        fail(str(error))
    rows: list[tuple[Any, ...]] = [("STATION", "PROFILES", "KEYS", "NAMES")]
    for station in stations:
        kinds = ",".join(secret.scheme for secret in station.secrets) or "-"
        profiles = ",".join(str(profile) for profile in sorted(station.profiles))
        rows.append((station.identity, profiles, kinds, ",".join(station.names) or "-"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        typer.echo("  ".join((*(cell.ljust(width) for cell, width in zip(row, widths)), row[3])))


@credential.command()
def remove(file: File, station: Station) -> None:
    """Remove a station: it is not known any more."""
    with _editing(file) as stations:
        if not stations.remove(station):
            fail(f"{station} is not in {file}")


@credential.command()
def retire(file: File, station: Station) -> None:
    """End a key change: the station has taken its new key, the old one is wrong from now on."""
    _end(file, station, lambda known: known.retired())


@credential.command()
def withdraw(file: File, station: Station) -> None:
    """Undo a key change: the station has refused its new key, the old one stays."""
    _end(file, station, lambda known: known.withdrawn())


def _end(file: Path, station: str, change: Callable[[Credential], Credential]) -> None:
    with _editing(file) as stations:
        known = stations.get(station)
        if known is None:
            fail(f"{station} is not in {file}")
        if len(known.secrets) < 2:
            fail(f"{station} has one key or none: no key change is under way")
        stations.put(change(known))
