"""Both codecs side by side: a test that asks for `backend`, `make_codec` or `make_program` runs once with each.

The compiled module may be missing while one works on the Python side: its tests are then skipped, with a reason. In CI,
and with --require-native, they fail instead.
"""

from __future__ import annotations

import os
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

with warnings.catch_warnings():
    # Without the compiled module the package says so; here it is the tests that do.
    warnings.simplefilter("ignore", RuntimeWarning)
    from evcore.codec import Codec, codec_class

if TYPE_CHECKING:
    from collections.abc import Callable


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-native", action="store_true", help="fail where the compiled module is missing")


@pytest.fixture(scope="session", params=["pure", "native"])
def backend(request: pytest.FixtureRequest) -> Any:
    """The module of one backend: `evcore._pure` or `evcore._native`."""
    try:
        return import_module(f"evcore._{request.param}")
    except ImportError as error:
        if os.environ.get("CI") or request.config.getoption("--require-native"):
            pytest.fail(f"evcore._{request.param} is missing: {error}")
        pytest.skip(f"evcore._{request.param} is missing: {error}")


@pytest.fixture(scope="session")
def make_codec(backend: Any) -> type[Codec]:
    """`evcore.Codec` over this backend."""
    return codec_class(backend)


@pytest.fixture(scope="session")
def make_program(backend: Any) -> Callable[..., Any]:
    """(schema as a dict, version, **options) -> program of this backend."""
    import json

    def make(schema: Any, version: str = "ocpp2.1", **options: Any) -> Any:
        return backend.Program(json.dumps(schema).encode(), version=version, **options)

    return make
