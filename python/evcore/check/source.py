"""Where a log comes from: a file, a gzip file, standard input.

In: a name as the command line gives it. Out: chunks of bytes. Refused, as `Unreadable`: what is not there, may not be
read, is a directory, is not text, or breaks off inside its compression.
"""

from __future__ import annotations

import gzip
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

__all__ = ["STDIN", "Source", "Unreadable"]

STDIN: Final = "-"
#: The first chunks are small, so that the version is guessed from few frames.
_FIRST_BYTES: Final = 64 * 1024
_FIRST_CHUNKS: Final = 16
_CHUNK_BYTES: Final = 1024 * 1024
_PROBE_BYTES: Final = 8192
#: Bytes that text does not have: controls but for tab, line feed, form feed, carriage return, escape (colours).
_STRANGE: Final = bytes(byte for byte in range(32) if byte not in b"\t\n\f\r\x1b")


class Unreadable(Exception):
    """A log that cannot be read. `str()` is a sentence that begins with its name."""


class Source:
    """A log, open. A context manager; iterates over its chunks once."""

    def __init__(self, name: str) -> None:
        """Raises Unreadable."""
        self.name = "standard input" if name == STDIN else name
        self.size: int | None = None
        """Bytes of the file as it lies on disk; None where that is not known."""
        self._own = name != STDIN
        try:
            if name == STDIN:
                self._raw: IO[bytes] = sys.stdin.buffer
            elif Path(name).is_dir():
                raise Unreadable(f"{name} is a directory: name the files in it")
            else:
                self._raw = Path(name).open("rb")  # noqa: SIM115 - closed by __exit__
                self.size = os.fstat(self._raw.fileno()).st_size or None
        except (OSError, ValueError) as error:
            raise Unreadable(f"{name} cannot be read: {_reason(error)}") from None
        zipped = self._own and name.endswith(".gz")
        self._file: IO[bytes] = gzip.GzipFile(fileobj=self._raw) if zipped else self._raw  # type: ignore[assignment]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._own:
            self._file.close()
            self._raw.close()

    def position(self) -> int:
        """How many of `size` bytes have been read."""
        try:
            return self._raw.tell()
        except (OSError, ValueError):
            return 0

    def __iter__(self) -> Iterator[bytes]:
        """The chunks. Raises Unreadable."""
        number = 0
        while chunk := self._read(_FIRST_BYTES if number < _FIRST_CHUNKS else _CHUNK_BYTES):
            if number == 0 and _is_binary(chunk[:_PROBE_BYTES]):
                raise Unreadable(f"{self.name} is not a text file")
            number += 1
            yield chunk

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise Unreadable(f"{self.name} cannot be read on: {_reason(error)}") from None


def _is_binary(head: bytes) -> bool:
    """More than one byte in ten is none that text has; a few NULs are what a crash leaves in a log."""
    return len(head) - len(head.translate(None, _STRANGE)) > len(head) / 10


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
