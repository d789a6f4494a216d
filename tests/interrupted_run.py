"""A process that computes a run and is interrupted at a chosen moment. Started by test_interruptions.py.

    python interrupted_run.py DATASET KEY [SIGNAL MOMENT | pause MOMENT]

Moments are counted in commands to the database and files put in place, from the start of the run on; "part" is when the
first scores are put in place. At the chosen one the process gets the signal (by number), or prints "paused" and waits
for a line. Else it prints their number.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from pymongo import monitoring


class Moments(monitoring.CommandListener):
    """Counts moments, and does what is to be done at one."""

    def __init__(self, action: str, at: int | None) -> None:
        self.action, self.at = action, at
        self.count = -1  # not yet begun

    def happen(self) -> None:
        if self.count < 0:
            return
        self.count += 1
        if self.count == self.at:
            self.act()

    def act(self) -> None:
        if self.action == "pause":
            print("paused", flush=True)
            sys.stdin.readline()
        else:
            os.kill(os.getpid(), int(self.action))

    def started(self, event: Any) -> None:
        self.happen()

    def succeeded(self, event: Any) -> None:
        pass

    def failed(self, event: Any) -> None:
        pass


def main() -> None:
    name, key, action, at = [*sys.argv[1:], "", "-1"][:4]
    moments = Moments(action, None if at == "part" else int(at))
    monitoring.register(moments)

    import fiftyone as fo

    import fiftyone_segad as segad
    from conftest import ColourEmbedder
    from fiftyone_segad.embedders import factory
    from fiftyone_segad.storage import parts

    factory.EMBEDDERS["efficientnet"] = ColourEmbedder
    parts.PART_SIZE = 2
    replace = os.replace

    def counted(source: Any, target: Any) -> None:
        moments.happen()
        if at == "part" and Path(target).parent.name == "scores":
            moments.act()
        replace(source, target)

    os.replace = counted  # type: ignore[assignment]
    dataset = fo.load_dataset(name)
    moments.count = 0
    segad.compute_segment_anomalies(
        dataset.skip(4),
        key=key,
        reference=dataset.match_tags("good"),
        embedder="efficientnet",
        segments="tiles:0.4:0.2",
        threshold="quantile:0.7",
        overwrite=True,
        progress=False,
    )
    print(moments.count)


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
    main()
