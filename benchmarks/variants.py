"""Measure changes to the default that were tried and not taken, beside the default.

    python benchmarks/variants.py [FOLDER ...] [--rows NAME ...]

Each row is a run with one constant or step of the package replaced, in a process of its own, on a folder in MVTec
layout. The table goes to variants.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from accuracy import FOLDERS, measure_apart, number
from numpy.typing import NDArray

from fiftyone_segad.embedders import efficientnet
from fiftyone_segad.embedders.base import Patches
from fiftyone_segad.engine import job, passes
from fiftyone_segad.scoring.levels import LevelFeatures, LevelScorer
from fiftyone_segad.segments import maps

TABLE = Path(__file__).with_suffix(".md")

COLUMNS = {
    "image AUROC": "image_auroc",
    "image AP": "image_ap",
    "pixel AUROC": "pixel_auroc",
    "pixel F1 max": "pixel_f1max",
    "AUPRO 0.3": "aupro_30",
    "AUPRO 0.05": "aupro_05",
    "recall": "recall",
    "fpr": "fpr",
}
"""Figures of an evaluation by title; the last two are of images at the run's own threshold."""

LEGEND = """The default is taken with one copy of each normal image (`rotations=1`), as are the
others unless they say otherwise. "Time" is the processor time of the run, relative to that. "Cubic maps" are
enlarged by Catmull-Rom splines instead of linearly. "Components of 64" fits the principal components to 64 normal
images instead of 16. "Three brightnesses" has each normal image in the bank as it is, at .8 and at 1.2 of its
brightness. An "input of 768" or 1,024 is the side in pixels to which the network gets images: the most that tiles at
native scale could show it. "Whitened" scales the components of all strides to one variance, not those of stride 8
alone; "96 components" are kept instead of 64. "Same place" compares segments of about the same place: where they are in
the image counts as two more components. "Rotations" has each normal image in the bank at that many angles."""


def catmull_rom(
    intervals: NDArray[np.int64], points: NDArray[np.float64], values: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Interpolate values ``[n, m]`` of intervals ``[n, 2]`` at points ``[p]`` by cubic splines: ``[p, m]``."""
    centres, last = intervals.mean(axis=1), len(intervals) - 1
    left = np.clip(np.searchsorted(centres, points) - 1, 0, last - 1)  # [p]
    share = np.clip((points - centres[left]) / (centres[left + 1] - centres[left]), 0, 1).astype(np.float32)[:, None]
    before, start, end, after = (values[np.clip(left + step, 0, last)] for step in (-1, 0, 1, 2))  # [p, m] each
    linear = 2 * start + share * (end - before)
    square = 2 * before - 5 * start + 4 * end - after
    cube = 3 * (start - end) + after - before
    spline: NDArray[np.float32] = (linear + share**2 * square + share**3 * cube) / 2
    return spline


def with_cubic_maps() -> None:
    """Enlarge maps by cubic splines."""
    vars(maps)["_along"] = catmull_rom


def with_64_fit_images() -> None:
    """Fit the components to more images."""
    vars(passes)["FIT_IMAGES"] = 64


def with_brightnesses() -> None:
    """Let the copies of a normal image differ in brightness instead of angle."""
    factors = {120.0: 0.8, 240.0: 1.2}

    def brighten(image: NDArray[np.uint8], angle: float) -> NDArray[np.uint8]:
        return np.clip(np.rint(image * factors[angle]), 0, 255).astype(np.uint8)

    vars(job)["rotate"] = brighten


def with_whitening() -> None:
    """Scale the components of all strides to one variance."""
    vars(efficientnet)["WHITENED"] = tuple(efficientnet.LEVELS)


def with_96_components() -> None:
    """Keep more components."""
    vars(efficientnet)["COMPONENTS"] = 96


class PlacedLevels(LevelScorer):
    """Levels whose features have the places of the segments as two more components."""

    lengths: ClassVar[dict[int, float]] = {}  # of the features of the first image, by level

    def transform(self, patches: Sequence[Patches]) -> LevelFeatures:
        placed = []
        for i, (rows, level) in enumerate(zip(super().transform(patches), patches, strict=True)):
            length = self.lengths.setdefault(i, float(np.sqrt((rows**2).sum(axis=1).mean())))
            boxes = level.segments.boxes
            centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / level.segments.size  # [n, 2], 0 to 1
            placed.append(np.hstack([rows, 2 * length * centres]).astype(np.float16).astype(np.float32))
        return placed


def with_places() -> None:
    """Compare segments of about the same place: a tenth of the image counts a fifth of the length of a feature."""
    vars(job)["LevelScorer"] = PlacedLevels


def as_it_is() -> None:
    """Change nothing."""


VARIANTS: dict[str, tuple[Callable[[], None], dict[str, Any]]] = {
    "default": (as_it_is, {}),
    "cubic maps": (with_cubic_maps, {}),
    "components of 64 images": (with_64_fit_images, {}),
    "three brightnesses": (with_brightnesses, {"rotations": 3}),
    "input of 768": (as_it_is, {"embedder_kwargs": {"input_size": 768}}),
    "input of 1,024": (as_it_is, {"embedder_kwargs": {"input_size": 1024}}),
    "whitened": (with_whitening, {}),
    "96 components": (with_96_components, {}),
    "same place": (with_places, {}),
    "4 rotations": (as_it_is, {"rotations": 4}),
    "8 rotations": (as_it_is, {"rotations": 8}),
}
"""Per variant the function that replaces something, and arguments of compute_segment_anomalies."""


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="*", default=FOLDERS)
    parser.add_argument("--rows", metavar="NAME", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--measure", choices=list(VARIANTS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folders = [folder.resolve() for folder in arguments.folders]
    if arguments.measure is not None:
        print(json.dumps(measure(folders[0], arguments.measure)))
        return
    lines = [f"| folder | variant | {' | '.join(COLUMNS)} | time |", f"|{' --- |' * (len(COLUMNS) + 3)}"]
    print("\n".join(lines), flush=True)
    for folder in folders:
        default_seconds = None
        for name in dict.fromkeys(["default", *arguments.rows]):
            row = measure_apart(folder, name, __file__)
            default_seconds = default_seconds or row["seconds"]
            figures = " | ".join(number(row[column]) for column in COLUMNS.values())
            lines.append(f"| {folder.name} | {name} | {figures} | {row['seconds'] / default_seconds:.1f} |")
            print(lines[-1], flush=True)
    title = "# Variants of the default\n\nMade by `python benchmarks/variants.py`."
    TABLE.write_text("\n\n".join([title, LEGEND, "\n".join(lines)]) + "\n")


def measure(folder: Path, name: str) -> dict[str, float]:
    """Run and evaluate a variant."""
    import fiftyone as fo
    from fiftyone import ViewField as F

    import fiftyone_segad as segad

    fo.config.show_progress_bars = False
    replace, options = VARIANTS[name]
    replace()
    dataset = segad.load_mvtec(folder)
    try:
        test, normals = dataset.match(F("split") == "test"), dataset.match(F("split") == "train")
        start = time.process_time()
        arguments = {"embedder": "efficientnet", "rotations": 1, **options}
        segad.compute_segment_anomalies(test, key="bench", reference=normals, **arguments)
        seconds = time.process_time() - start
        figures = segad.evaluate_anomalies(test, key="bench").metrics()
        return {"seconds": seconds, **{column: float(figures[column] or 0) for column in COLUMNS.values()}}
    finally:
        dataset.delete()


if __name__ == "__main__":
    main()
