"""Accuracy and cost of the methods on a category in MVTec layout.

    python benchmarks/accuracy.py [FOLDER] [--segments tiles]

Every row is a run of its own on a new dataset in a process of its own (for its peak memory), through the public
functions and the database. "Glue" is the share of the wall time of compute_segment_anomalies outside decoding images
and the model.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "screw"

METHODS = ("within_image", "reference")
METRICS = ("image_auroc", "image_ap", "pixel_auroc", "aupro_30", "aupro_05", "pixel_f1max", "recall", "fpr")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    parser.add_argument("--segments", help="segments of the method reference")
    parser.add_argument("--method", choices=METHODS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.method is not None:
        print(json.dumps(measure(arguments.folder, arguments.method, arguments.segments)))
        return
    columns = ("method", "segments", "normals", "images", *METRICS, "seconds", "tiles/s", "glue", "peak MiB")
    print(f"{arguments.folder.name}\n\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for method in METHODS:
        command = [sys.executable, __file__, str(arguments.folder), "--method", method]
        if arguments.segments and method == "reference":
            command += ["--segments", arguments.segments]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        row = json.loads(done.stdout.splitlines()[-1])
        print(f"| {' | '.join(cell(row[name]) for name in columns)} |", flush=True)


def measure(folder: Path, method: str, segments: str | None) -> dict[str, Any]:
    """Runs and evaluates one method."""
    import fiftyone as fo
    from fiftyone import ViewField as F

    import fiftyone_segad as segad

    fo.config.show_progress_bars = False
    dataset = segad.load_mvtec(folder)
    test, normals = dataset.match(F("split") == "test"), dataset.match(F("split") == "train")
    start = time.perf_counter()
    run = segad.compute_segment_anomalies(
        test, key="bench", method=method, reference=normals if method == "reference" else None, segments=segments
    )
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    metrics = segad.evaluate_anomalies(test, key="bench").metrics()
    tiles = sum(len(record.scores) for store in (run.store.normals, run.store.scores) for record in store)
    used = run.seconds["decode"] + run.seconds["embed"]
    segad.delete_run(dataset, "bench")
    return {
        "method": method,
        "segments": run.settings["segments"],
        "normals": run.normals,
        "images": run.scored,
        **{name: metrics[name] for name in METRICS},
        "seconds": round(seconds),
        "tiles/s": round(tiles / seconds),
        "glue": f"{1 - used / seconds:.0%}",
        "peak MiB": round(peak),
    }


def cell(value: Any) -> str:
    """A value as the table shows it."""
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
