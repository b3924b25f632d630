"""The message log: one JSON line per frame, without secrets, bounded on disk.

A line is `{"time": RFC 3339 UTC, "station": identity, "direction": "in" | "out", "frame": text}`, where in means from
the station. Tokens of drivers and passwords are replaced by `***` (section `mask`); a frame longer than `FRAME_CHARS`
is cut and its line has `"cut": true`. When the file reaches its limit it is renamed to FILE.1, replacing the one
before. A file that cannot be written ends the log with one sentence, never the server.
"""

from __future__ import annotations

import json
import logging
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

__all__ = ["MASK", "MessageLog", "mask"]

log = logging.getLogger("evcore.message_log")

MASK: Final = "***"
FRAME_CHARS: Final = 65_536

#: Members whose text identifies or authorizes a driver or a station, in lower case.
_SECRET_MEMBERS: Final = frozenset(
    {
        "idtag",
        "parentidtag",
        "idtoken",
        "additionalidtoken",
        "basicauthpassword",
        "authorizationkey",
        "apnpassword",
        "simpin",
        "password",
    }
)
#: Configuration keys (1.6) and variables (2.x) whose value is a secret, in lower case.
_SECRET_KEYS: Final = frozenset({"authorizationkey", "basicauthpassword"})
_VALUES: Final = ("value", "attributeValue")

#: A frame without any of these holds no secret; an escape may hide one of the names.
_NAMES: Final = re.compile(r"id_?tag|id_?token|password|authorizationkey|simpin|vpn", re.IGNORECASE)
_SUSPECT: Final = re.compile(_NAMES.pattern + r"|\\u", re.IGNORECASE)

#: Characters of a member's name with every one of its letters escaped.
_LONGEST_NAME: Final = 128

_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[^"]+', re.DOTALL)
_BARE: Final = re.compile(r":\s*[^\s,\]}\[{]+")


def mask(frame: str) -> str:
    """The frame's text with secrets replaced; untouched where there is nothing to replace.

    A frame that is not JSON is masked member by member as far as members can be made out.
    """
    if not _SUSPECT.search(frame):
        return frame
    try:
        document = json.loads(frame)
        found = _mask(document, depth=0)
    except (ValueError, RecursionError):
        return _mask_text(frame)
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")) if found else frame


def _mask(node: Any, depth: int) -> bool:
    """Masks in place; tells whether anything was."""
    if depth > 128:
        raise RecursionError
    found = False
    if isinstance(node, list):
        for index, item in enumerate(node):
            if isinstance(item, str) and (inner := _mask_nested(item)) is not None:
                node[index], found = inner, True
            found |= _mask(item, depth + 1)
    elif isinstance(node, dict):
        for name in _VALUES if _names_secret(node) else ():
            if name in node:
                node[name], found = MASK, True
        if _names_secret(node) and isinstance(attributes := node.get("variableAttribute"), list):
            for attribute in attributes:
                if isinstance(attribute, dict) and "value" in attribute:
                    attribute["value"], found = MASK, True
        for name, value in node.items():
            lower = name.lower().replace("_", "")
            if lower in _SECRET_MEMBERS and not isinstance(value, (dict, list)):
                node[name], found = MASK, True
            elif lower == "vpn" and isinstance(value, dict) and "key" in value:
                value["key"], found = MASK, True
            elif isinstance(value, str) and (inner := _mask_nested(value)) is not None:
                node[name], found = inner, True
            found |= _mask(value, depth + 1)
    return found


def _names_secret(node: dict[str, Any]) -> bool:
    variable = node.get("variable")
    names = (node.get("key"), variable.get("name") if isinstance(variable, dict) else None)
    return any(isinstance(name, str) and name.lower() in _SECRET_KEYS for name in names)


def _mask_nested(text: str) -> str | None:
    """JSON inside a string (DataTransfer.data in 1.6), masked; None where there is nothing to mask."""
    if text[:1] not in ("{", "[") or not _SUSPECT.search(text):
        return None
    masked = mask(text)
    return masked if masked != text else None


def _mask_text(frame: str) -> str:
    # Strings and what stands between them, each character looked at once: hostile text must not cost more.
    tokens = _TOKEN.findall(frame[: FRAME_CHARS + 1])
    names = {_plain(token) for token in tokens if len(token) <= _LONGEST_NAME}
    secrets = set(_SECRET_MEMBERS)
    if names & _SECRET_KEYS:
        secrets |= {"value", "attributevalue"}
    if "vpn" in names:
        secrets.add("key")
    for index, token in enumerate(tokens):
        between = tokens[index + 1] if index + 1 < len(tokens) else ""
        if not token.startswith('"'):
            if _NAMES.search(token):
                # Quotes are out of step: what stands outside of strings cannot be told from secrets any more.
                return "".join(tokens[:index]) + MASK
            continue
        name = _plain(token)
        if not (between.lstrip().startswith(":") and name.isalnum()):
            if _NAMES.search(name) and name not in _SECRET_KEYS:
                tokens[index] = f'"{MASK}"'
        elif name in secrets:
            bare = between.partition(":")[2]
            if bare.strip():
                tokens[index + 1] = _BARE.sub(f':"{MASK}"', between, count=1)
            elif index + 2 < len(tokens):
                tokens[index + 2] = f'"{MASK}"'
    return "".join(tokens)


def _plain(token: str) -> str:
    try:
        return str(json.loads(token)).lower().replace("_", "")
    except (ValueError, RecursionError):
        return token.strip('"').lower()


class MessageLog:
    """Appends to `path`; at most about twice `max_bytes` on disk. Raises OSError when the file cannot be opened."""

    def __init__(self, path: Path, *, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._file: IO[bytes] | None = self._open()
        self._size = path.stat().st_size

    def _open(self) -> IO[bytes]:
        # Readable by the owner alone: identities and vendor data are nobody else's business.
        return os.fdopen(os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab", buffering=0)

    def write(self, direction: str, station: str, frame: bytes) -> None:
        """Logs one frame. Does not raise."""
        if self._file is None:
            return
        text = mask(frame.decode("utf-8", "replace"))
        line: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "station": station,
            "direction": direction,
            "frame": text[:FRAME_CHARS],
        }
        if len(text) > FRAME_CHARS:
            line["cut"] = True
        data = json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        try:
            if self._size + len(data) > self._max_bytes and self._size:
                self._file.close()
                self._path.replace(self._path.with_name(self._path.name + ".1"))
                self._file = self._open()
                self._size = 0
            self._file.write(data)
            self._size += len(data)
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _give_up(self, error: OSError) -> None:
        log.error("the message log %s ends here: %s", self._path, error.strerror or error)
        try:
            self.close()
        except OSError:
            self._file = None
