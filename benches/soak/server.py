"""`evcore serve` with a census: `python -m benches.soak.server serve …` is `evcore serve …`.

In: a line on stdin. Out: for each a line on stdout, JSON: how many objects there are of each type once the garbage is
collected, as `types`, and how many blocks of memory Python has allocated, as `blocks`. It ends with its stdin.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
from collections import Counter


def census() -> dict[str, object]:
    gc.collect()
    types = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())
    return {"types": dict(types), "blocks": sys.getallocatedblocks()}


def answer() -> None:
    for _ in sys.stdin:
        print(json.dumps(census()), flush=True)
    # Whoever asked is gone, and nobody else will end the server.
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    from evcore.cli import main

    threading.Thread(target=answer, daemon=True).start()
    main()
