"""`python -m evcore.endpoint PAGE…`: draws the tables and diagrams between the marks of each page anew."""

import sys
from pathlib import Path

from evcore.endpoint.tables import renew

for name in sys.argv[1:]:
    Path(name).write_text(renew(Path(name).read_text("utf-8")), "utf-8")
