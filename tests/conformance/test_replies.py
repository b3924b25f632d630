"""Never an answer to something that must not be answered, and nothing of the peer's in an answer, for any bytes at
all.
"""

from __future__ import annotations

import json
from random import Random

import pytest

from evcore import FrameError, PayloadError
from proof.backends import BACKENDS, make
from proof.contract import ERROR_CODES
from proof.document import write
from proof.frames import HEAD, HEAD_KIND
from proof.generate import Maker, Mode
from proof.inventory import FOLDERS, FRAME_KIND, entries
from proof.mutate import sampled
from proof.scramble import scrambled
from proof.sizes import SIZES

MARK = "mArKeR"


def marked(version: str, rng: Random) -> list[bytes]:
    """Frames, good and broken, whose every string of the peer's own holds the marker."""
    made = []
    for entry in entries():
        if entry.version != version or rng.random() < 0.6:
            continue
        maker = Maker(rng, whole_floats=version != "ocpp1.6")
        payload = maker.payload(entry.inlined, Mode.FULL)
        for document in (payload, *(m.document for m in sampled(entry.inlined, payload, rng, 3, whole_floats=True))):
            action = "" if entry.kind == "result" else f'"{entry.action}",'
            text = write(document).replace('"7"', f'"{MARK}"').replace("extra", MARK).replace('"a"', f'"{MARK}"')
            made.append(f'[{FRAME_KIND[entry.kind]},"id-1",{action}{text}]'.encode())
    names = ("Heartbeat", MARK, f"{MARK}-Signed")
    made += [f'[{kind},"id-1","{name}",{{"{MARK}":"{MARK}"}}]'.encode() for kind in range(10) for name in names]
    made += [f'[4,"id-1","{MARK}","{MARK}",["{MARK}"]]'.encode(), f'["{MARK}",{{"{MARK}":1}}]'.encode()]
    return made


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("version", FOLDERS)
def test_replies(backend: str, version: str) -> None:
    rng = Random(f"replies {version}")
    frames = marked(version, rng)
    codec = make(backend, version)
    answered = silent = 0
    for frame in (*frames, *scrambled(frames, rng, SIZES.scrambled)):
        action = rng.choice((None, "Heartbeat", "GetLog", "BootNotification"))
        try:
            codec.decode(frame, action)
            continue
        except (FrameError, PayloadError) as error:
            reply, code = error.reply, error.code
            assert code in ERROR_CODES[version], frame
        if reply is None:
            silent += 1
            continue
        answered += 1
        kind, message_id, sent_code, description, details = json.loads(reply)
        assert sent_code == code, frame
        assert isinstance(message_id, str) and 1 <= len(message_id) <= 255, frame
        assert isinstance(description, str) and 1 <= len(description) <= 255, frame
        assert details == {} and MARK not in description, frame
        assert (
            reply
            == json.dumps([kind, message_id, code, description, {}], ensure_ascii=False, separators=(",", ":")).encode()
        )
        asked = kind_of(frame)
        if asked is not None:
            assert asked not in (4, 5, 6) or (version != "ocpp2.1" and asked in (5, 6)), frame
            assert kind == (5 if asked == 3 and version == "ocpp2.1" else 4), frame
            assert asked != 3 or version == "ocpp2.1", frame
        else:
            assert kind == 4, frame
        if version == "ocpp1.6":
            assert asked == 2, frame
    assert answered > 100 and silent > 100


def kind_of(frame: bytes) -> int | None:
    """The kind a frame says it is, as far as it can be read."""
    try:
        value = json.loads(frame.decode())
    except (ValueError, RecursionError):
        head = HEAD.match(frame[:1024]) or HEAD_KIND.match(frame[:1024])
        return int(head[1]) if head else None
    return value[0] if isinstance(value, list) and value and type(value[0]) is int else None
