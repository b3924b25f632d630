"""The command line `evcore`.

Exit status: 0 done, 1 it failed, 2 it was called wrongly or a part is not installed; a sentence on stderr says what,
where and what to do.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Runs the command line; needs the extra `cli`."""
    missing = [name for name in ("typer", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"evcore: {' and '.join(missing)} not installed, run: pip install 'evcore[cli]'", file=sys.stderr)
        sys.exit(2)
    from evcore.cli.app import app

    app(prog_name="evcore")
    sys.exit(0)
