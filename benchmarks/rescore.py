"""What rescoring costs beside a full run, when ten regions, or many whole images, were marked as normal.

    python benchmarks/rescore.py [FOLDER] [--regions 10 | --whole 200] [--images 316]

FOLDER is a category in MVTec layout; turned, mirrored and darker copies of its test images make up the number of images
that is asked for. Both are measured in one process, one after the other, the database and all files included. Processor
time is given besides wall time, since other work on the machine changes it less. That both give the same scores,
thresholds and predictions is checked as well.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
from fiftyone import ViewField as F
from PIL import Image

import fiftyone_segad as segad
from fiftyone_segad.utils.images import read_image

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "screw"

TURNS = 8
"""Ways to turn and mirror an image."""

WAYS = 2 * TURNS
"""Ways to change an image: turned and mirrored, and the same a little darker."""


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=Path, nargs="?", default=FOLDER)
    parser.add_argument("--regions", type=int, default=10)
    parser.add_argument("--whole", type=int, help="whole images that are marked instead of regions")
    parser.add_argument("--images", type=int, help="by default those of the folder")
    options = parser.parse_args()
    dataset = segad.load_mvtec(options.folder)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            add_copies(dataset, options.images or 0, Path(scratch))
            measure(dataset, options.regions, options.whole)
        finally:
            if "segad" in segad.list_runs(dataset):
                segad.delete_run(dataset, "segad")
            dataset.delete()


def add_copies(dataset: fo.Dataset, images: int, folder: Path) -> None:
    """Add changed copies of the test images until there is a number of these."""
    originals = list(dataset.match(F("split") == "test"))
    if images > WAYS * len(originals):
        raise SystemExit(f"--images {images}: there are {WAYS * len(originals)} different ones at most")
    copies = []
    for number in range(len(originals), images):
        sample, way = originals[number % len(originals)], number // len(originals)
        pixels = read_image(sample.filepath)
        file = folder / f"{number:05d}.png"
        turned = np.rot90(pixels[:, ::-1] if way % TURNS >= TURNS // 2 else pixels, way)
        Image.fromarray((turned * (0.95 if way >= TURNS else 1)).astype(np.uint8)).save(file)
        copies.append(fo.Sample(filepath=str(file), split="test", defect=sample.defect.copy()))
    dataset.add_samples(copies)


def measure(dataset: fo.Dataset, regions: int, whole: int | None) -> None:
    """Run, mark, rescore and run again."""
    normals = dataset.match(F("split") == "train")
    test = dataset.match(F("split") == "test")
    compute = partial(segad.compute_segment_anomalies, test, reference=normals, rotations=1, progress=False)
    compute()
    chosen = test.limit(whole) if whole else dataset.to_patches("segad_regions").limit(regions)
    marks = segad.mark_normal(chosen, "segad", why="benchmark")
    rescored = timed(lambda: segad.rescore(dataset, progress=False))
    learnt = state(test)
    full = timed(lambda: compute(overwrite=True))
    print(f"{len(test)} images, {len(normals)} normal ones, {len(marks)} {'images' if whole else 'regions'} marked")
    for name, one, other in zip(("wall", "processor"), full, rescored, strict=True):
        print(f"{name} time: full run {one:.1f} s, rescore {other:.1f} s: {one / other:.1f} times as fast")
    print(f"the same scores, thresholds and predictions: {state(test) == learnt}")


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds that something takes: by the clock, and of the processors in this process."""
    wall, usage = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    processor = after.ru_utime - usage.ru_utime + after.ru_stime - usage.ru_stime
    return time.perf_counter() - wall, processor


def state(test: fo.DatasetView) -> Any:
    """Return what must be the same."""
    return segad.load_run(test, "segad").thresholds, test.values("segad_score"), test.values("segad_pred.label")


if __name__ == "__main__":
    main()
