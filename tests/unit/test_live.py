"""The Python codec's walk over Python objects: it ends, whatever it is given."""

from __future__ import annotations

from typing import Any

from evcore._pure import Program


def test_structures_that_hold_themselves_more_than_once_end() -> None:
    """Every way down ends at the depth limit; there are 2^62 of them, and the report is full long before."""
    loop: list[Any] = []
    loop += [loop, loop]
    assert len(Program(b"{}", version="ocpp2.1").check(loop)) == 100
    assert len(Program(b'{"type":"string"}', version="ocpp2.1").check({"a": loop}, violations=3)) == 3
