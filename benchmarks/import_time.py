"""What `import fiftyone_segad`, and the plugin with all of its operators and panels, add to `import fiftyone`.

Each in a process of its own, several times in turn; prints medians and ratios.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median

ROUNDS = 5

CASES = {
    "import fiftyone": "import fiftyone",
    "... and fiftyone_segad": "import fiftyone, fiftyone_segad",
    "... and all that is public": "import fiftyone; from fiftyone_segad import *",
    "... and the plugin's operators and panels": (
        "import fiftyone, fiftyone_segad.plugin.operators, fiftyone_segad.plugin.panels"
    ),
}

_TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def seconds(code: str) -> float:
    """Return how long a statement takes in a new process."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _TIMED.format(code)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parent.parent,
        env={**os.environ, "FIFTYONE_DO_NOT_TRACK": "true"},
    )
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(ROUNDS):
        for name, code in CASES.items():
            times[name].append(seconds(code))
    alone = median(times["import fiftyone"])
    for name, values in times.items():
        print(f"{name:45} {median(values):6.2f} s  {median(values) / alone:5.2f} x  {median(values) - alone:+.2f} s")
