"""What are dicts from templates worth, and are they the dicts they should be?

In: the path of a native module built without them:

    RUSTFLAGS="--cfg evcore_plain_dicts" cargo build --release -p evcore-native --target-dir target/plain
    python -m benches.experiments.dict_template target/plain/release/lib_native.so

Out: for each frame, decoding with templates (rust/native/src/template.rs) over decoding with `PyDict_SetItem`, both
checked against stdlib json, in one run; and both over orjson.

Decided (2026-11, CPython 3.11) for templates, though they rest on CPython's own layout: MeterValues with nine samples
goes from 0.83 to 0.47 of orjson's time, TransactionEvent from 0.98 to 0.64, NotifyReport from 1.02 to 0.73, and without
them four of the eight frames take longer than orjson. Versions whose layout is not known fall back to the plain way.
"""

from __future__ import annotations

import sys
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import orjson

from benches import machine, measure
from benches.frames import frames
from evcore import _native
from evcore.codec import codec_class


def plain_module(path: str) -> Any:
    """The module at `path`, beside the one that is loaded already."""
    spec = spec_from_file_location(
        "evcore_plain._native", path, loader=ExtensionFileLoader("evcore_plain._native", path)
    )
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is not an extension module")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def race(plain: Any) -> None:
    """Times every frame on both modules and prints a line each."""
    effort = measure.Effort(200, 300_000)
    for frame in frames():
        codecs = [_class(frame.version) for _class in (codec_class(_native), codec_class(plain))]
        for codec in codecs:
            message = codec.decode(frame.data)
            assert list(message.payload.items()) == list(frame.payload.items()), frame.action
        contenders = [
            measure.Contender("template", codecs[0].decode),
            measure.Contender("plain", codecs[1].decode),
            measure.Contender("orjson", orjson.loads),
        ]
        template, other, peer = measure.race(contenders, frame.data, effort)
        print(
            f"{frame.action:20} template/plain {template.over(other):.2f}   "
            f"over orjson: template {template.over(peer):.2f}, plain {other.over(peer):.2f}"
        )


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    print(machine.pin())
    race(plain_module(sys.argv[1]))


if __name__ == "__main__":
    main()
