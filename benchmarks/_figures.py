"""What benchmarks share: where runs are kept, peak memory, and tables."""

from __future__ import annotations

import os
import resource
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

KEY = "bench"

Row = dict[str, Any]
Rounds = dict[str, list[Row]]
"""What was measured, by row and round."""


@contextmanager
def stores_in(folder: Path) -> Iterator[None]:
    """Let this package keep its files in a folder, also in the processes that are started."""
    before = os.environ.get("FIFTYONE_SEGAD_DIR")
    os.environ["FIFTYONE_SEGAD_DIR"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["FIFTYONE_SEGAD_DIR"]
        else:
            os.environ["FIFTYONE_SEGAD_DIR"] = before


def peak_mib() -> float:
    """Return the most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def spread(values: Sequence[float], digits: int) -> str:
    """Return the median, with the lowest and highest value if there are several."""
    shown = f"{statistics.median(values):.{digits}f}"
    return f"{shown} [{min(values):.{digits}f}, {max(values):.{digits}f}]" if len(values) > 1 else shown


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    return "\n".join([f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *(f"| {' | '.join(r)} |" for r in rows)])
