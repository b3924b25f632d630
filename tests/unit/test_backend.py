"""Choosing the backend: by EVCORE_BACKEND, never in silence. Each case is a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import evcore

PACKAGE = Path(evcore.__file__).parents[1]
WITHOUT_NATIVE = "import sys; sys.modules['evcore._native'] = None; "
ASK = "import evcore; print(evcore.backend(), evcore.Call.__module__, evcore.Codec.__mro__[-2].__module__)"

with_native = pytest.mark.skipif(find_spec("evcore._native") is None, reason="evcore._native is missing")


def run(code: str, asked: str | None) -> tuple[str, str]:
    environment = {"PYTHONPATH": str(PACKAGE)} | ({} if asked is None else {"EVCORE_BACKEND": asked})
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize("prefix", [WITHOUT_NATIVE, ""])
def test_pure(prefix: str) -> None:
    assert run(prefix + ASK, "pure") == ("pure evcore._pure.message evcore._pure.codec", "")


@with_native
@pytest.mark.parametrize("asked", ["native", None, ""])
def test_native(asked: str | None) -> None:
    said, errors = run(ASK, asked)
    assert said.startswith("native evcore._native")
    assert errors == ""


@with_native
def test_native_leaves_the_python_codec_alone() -> None:
    code = (
        "import sys, evcore; evcore.Codec('ocpp1.6').decode('[2,\"1\",\"Heartbeat\",{}]');"
        "print('evcore._pure' in sys.modules)"
    )
    assert run(code, "native") == ("False", "")


def test_native_asked_for_and_missing() -> None:
    said, errors = run(WITHOUT_NATIVE + ASK, "native")
    assert said == ""
    [sentence] = [line for line in errors.splitlines() if line.startswith("ImportError")]
    assert "EVCORE_BACKEND is 'native'" in sentence
    assert "maturin develop" in sentence


@pytest.mark.parametrize("asked", [None, ""])
def test_falling_back_is_said_aloud(asked: str | None) -> None:
    said, errors = run(WITHOUT_NATIVE + ASK, asked)
    assert said.startswith("pure")
    assert errors.count("RuntimeWarning") == 1
    assert "evcore falls back to its Python codec" in errors
    assert "EVCORE_BACKEND=pure" in errors


@pytest.mark.parametrize("asked", ["rust", "Native", "pure "])
def test_no_such_backend(asked: str) -> None:
    said, errors = run(ASK, asked)
    assert said == ""
    assert f"ImportError: EVCORE_BACKEND must be 'native' or 'pure', is {asked!r}" in errors
