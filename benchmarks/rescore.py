"""What rescoring costs beside a full run, when ten regions were marked as normal.

    python benchmarks/rescore.py [FOLDER] [--regions 10]

FOLDER is a category in MVTec layout. Both are measured in one process, one after the other; the ratio is of their wall
times, the database included. That both give the same scores is checked as well.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import fiftyone as fo
from fiftyone import ViewField as F

import fiftyone_segad as segad

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "screw"


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=Path, nargs="?", default=FOLDER)
    parser.add_argument("--regions", type=int, default=10)
    options = parser.parse_args()
    dataset = segad.load_mvtec(options.folder)
    try:
        measure(dataset, options.regions)
    finally:
        segad.delete_run(dataset, "segad")
        dataset.delete()


def measure(dataset: fo.Dataset, regions: int) -> None:
    """Runs, marks, rescores and runs again."""
    normals = dataset.match(F("split") == "train")
    test = dataset.match(F("split") == "test")
    segad.compute_segment_anomalies(test, reference=normals, progress=False)
    segad.mark_normal(dataset.to_patches("segad_regions").limit(regions), "segad", why="benchmark")
    start = time.perf_counter()
    segad.rescore(dataset, progress=False)
    rescored = time.perf_counter() - start
    scores = test.values("segad_score")
    start = time.perf_counter()
    segad.compute_segment_anomalies(test, reference=normals, overwrite=True, progress=False)
    full = time.perf_counter() - start
    print(f"{len(test)} images, {len(normals)} normal ones, {regions} regions marked")
    print(f"full run {full:.1f} s, rescore {rescored:.1f} s: {full / rescored:.1f} times as fast")
    print(f"the same scores: {test.values('segad_score') == scores}")


if __name__ == "__main__":
    main()
