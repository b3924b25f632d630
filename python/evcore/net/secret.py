"""A station's password as it is kept: salted and hashed. No I/O.

Comes in: passwords as bytes, and the text a hash is stored as. Goes out: that text, and whether a password is the one.
Refused with ValueError: text that is no hash of ours, or one that would cost more than the bounds below. Neither
passwords nor hashes show up in `repr` or in exceptions.

Two schemes, because one event loop has to verify a hundred thousand reconnecting stations in a minute:

* `hmac-sha256` for random keys: nobody can try 2^120 keys, so a slow hash would protect nothing, and one check costs
  about a microsecond.
* `scrypt` for what people thought up: short or guessable, so each guess must cost memory and time (16 MiB and tens of
  milliseconds with the default cost).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Final

__all__ = ["KEY_BYTES", "Secret", "random_key"]

#: Entropy of the keys made here. 15 bytes are 20 characters of base64: the longest AuthorizationKey of 1.6 (20 bytes on
#: the wire), within the 16 to 40 characters of 2.x, so that one key serves a station through a change of version.
KEY_BYTES: Final = 15

_SALT_BYTES: Final = 16
_DIGEST_BYTES: Final = 32
#: scrypt's N = 2^14, r = 8, p = 1.
_COST: Final = (14, 8, 1)
#: A stored hash may ask for this much memory at most: a line of a file must not stop the server.
_MOST_MEMORY: Final = 64 * 1024 * 1024
_MOST_PARALLEL: Final = 4


def random_key() -> bytes:
    """A new key: 20 ASCII characters of A-Z a-z 0-9 - _, 120 random bits."""
    return secrets.token_urlsafe(KEY_BYTES).encode()


class Secret:
    """One hashed password. Equal passwords have different hashes."""

    __slots__ = ("_cost", "_digest", "_salt")

    def __init__(self, salt: bytes, digest: bytes, cost: tuple[int, int, int] | None) -> None:
        self._salt = salt
        self._digest = digest
        self._cost = cost

    @classmethod
    def of_key(cls, key: bytes) -> Secret:
        """Hashes a random key of 120 bits or more."""
        salt = secrets.token_bytes(_SALT_BYTES)
        return cls(salt, _derive(key, salt, None), None)

    @classmethod
    def of_password(cls, password: bytes, cost: tuple[int, int, int] = _COST) -> Secret:
        """Hashes a password that might be guessed. `cost`: log2 N, r and p of scrypt (RFC 7914)."""
        _check_cost(*cost)
        salt = secrets.token_bytes(_SALT_BYTES)
        return cls(salt, _derive(password, salt, cost), cost)

    @classmethod
    def parse(cls, text: str) -> Secret:
        """Reads what `text` wrote. Raises ValueError."""
        scheme, *fields = text.split("$")
        try:
            if scheme == "hmac-sha256" and len(fields) == 2:
                cost = None
            elif scheme == "scrypt" and len(fields) == 5:
                cost = (int(fields[0]), int(fields[1]), int(fields[2]))
                _check_cost(*cost)
            else:
                raise ValueError
            salt, digest = (base64.b64decode(field, validate=True) for field in fields[-2:])
            if not salt or len(digest) != _DIGEST_BYTES:
                raise ValueError
        except ValueError:
            raise ValueError("not a hash of a known scheme") from None
        return cls(salt, digest, cost)

    @property
    def text(self) -> str:
        """For storage: `hmac-sha256$SALT$DIGEST` or `scrypt$LOG2N$R$P$SALT$DIGEST`, both in base64."""
        cost = "" if self._cost is None else "".join(f"${number}" for number in self._cost)
        return "$".join((self.scheme + cost, *(base64.b64encode(part).decode() for part in (self._salt, self._digest))))

    @property
    def scheme(self) -> str:
        return "hmac-sha256" if self._cost is None else "scrypt"

    @property
    def guessable(self) -> bool:
        """Whether it was made of a password rather than a random key; such a check is slow."""
        return self._cost is not None

    def matches(self, password: bytes) -> bool:
        """Whether this is the password, in time that depends on its length alone."""
        return hmac.compare_digest(_derive(password, self._salt, self._cost), self._digest)

    def fingerprint(self, key: bytes, password: bytes) -> bytes:
        """16 bytes that stand for this secret and this password, for as long as `key` (64 bytes at most) is kept."""
        return hashlib.blake2b(self._salt + self._digest + password, digest_size=16, key=key).digest()

    def __repr__(self) -> str:
        return f"Secret({self.scheme})"


def _derive(password: bytes, salt: bytes, cost: tuple[int, int, int] | None) -> bytes:
    if cost is None:
        return hmac.digest(salt, password, "sha256")
    log2n, r, p = cost
    return hashlib.scrypt(
        password, salt=salt, n=1 << log2n, r=r, p=p, dklen=_DIGEST_BYTES, maxmem=_MOST_MEMORY + (1 << 20)
    )


def _check_cost(log2n: int, r: int, p: int) -> None:
    if not (10 <= log2n <= 20 and 1 <= r <= 32 and 1 <= p <= _MOST_PARALLEL) or (128 * r << log2n) > _MOST_MEMORY:
        raise ValueError("a cost of scrypt out of range")
