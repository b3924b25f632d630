"""`python -m evcore.bus PAGE…`: writes the schema files, and the table between the marks of each page anew."""

import sys
from pathlib import Path

from evcore.bus.schema import FOLDER, files, renew

for name, text in files().items():
    (FOLDER / name).write_text(text, "utf-8")
for stale in FOLDER.glob("*.json"):
    if stale.name not in files():
        stale.unlink()
for page in sys.argv[1:]:
    Path(page).write_text(renew(Path(page).read_text("utf-8")), "utf-8")
