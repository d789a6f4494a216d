"""Do thresholds keep what they promise? Normal images flagged on random halves.

    python benchmarks/calibration.py [FOLDER ...] [--splits 200] [--normals 100]

The normal images of a folder in MVTec layout are split at random into two halves, again and again. One half is the
bank, and calibrates the threshold by leaving each of its images out in turn, as a run does; the other half is unseen.
The table goes to calibration.md beside this file. Features are coarser than those of a run, for speed: the promise
must hold for any.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fiftyone_segad.embedders.base import Embedder, Level, Patches
from fiftyone_segad.embedders.efficientnet import EfficientNetEmbedder
from fiftyone_segad.scoring.levels import FIT_IMAGES, LevelScorer, LevelScores
from fiftyone_segad.scoring.neighbors import NeighborIndex
from fiftyone_segad.scoring.thresholds import conformal_threshold
from fiftyone_segad.utils.images import read_ahead
from fiftyone_segad.utils.threads import usable_cores

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FOLDERS = (DATA / "screw", DATA / "magnetic_tile")
TABLE = Path(__file__).with_suffix(".md")

ASKED = (0.01, 0.05, 0.1)
"""Shares of normal images that may be flagged."""

INPUT_SIZE = 128
STRIDES = (16, 32)
SEED = 0

COLUMNS = ("folder", "asked", "attainable", "mean", "standard error", "5th percentile", "95th percentile")
ON_TEST = "on test/good"

LEGEND = """Share of normal images flagged, over {splits} random splits of at most {normals} images of `train/good` into
two halves: one is the bank and calibrates the threshold by leave-one-out, the other is unseen. "Attainable" is the
share that the threshold stands for: `n` calibrating images support multiples of `1 / (n + 1)` only, the smallest of
them even if less is asked. The mean should not be above it by more than chance; the standard error is that of the
random splits. The percentiles say how far a single split is from the mean: the promise is one on average. "On
test/good" is the mean share of those images flagged by the same thresholds.

`magnetic_tile/train/good` holds about six pictures of each part, taken under different light. A random split leaves
pictures of one part on both sides, and so does leave-one-out: calibrating and unseen images are still exchangeable, and
the promise holds in this experiment, but it says nothing about new parts. `test/good` holds other parts; there it need
not hold.

Means below what is attainable: the components of the features are fitted to 16 of the bank's images, and the left-out
scores of these come out higher than those of images that the fit has not seen. The threshold is then cautious. A run
with 64 normal images or more leaves them out of the calibration; with fewer, as here, it cannot spare them.
"""

Images = list[list[Patches]]
"""Features of images by level."""


@dataclass(frozen=True)
class Split:
    """Scores of one split.

    Attributes:
        calibrating: scores of the bank's images, each without itself
        unseen: scores of the other half
        test: scores of test/good
    """

    calibration_images: NDArray[np.float64]
    unseen: NDArray[np.float64]
    test: NDArray[np.float64]


def main() -> None:
    """Print and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="*", default=FOLDERS)
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--normals", type=int, default=100)
    arguments = parser.parse_args()
    columns = (*COLUMNS, ON_TEST)
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    print("\n".join(lines), flush=True)
    with EfficientNetEmbedder(input_size=INPUT_SIZE, levels=STRIDES) as embedder:
        for folder in arguments.folders:
            normals = embed(embedder, folder / "train" / "good", arguments.normals)
            test = embed(embedder, folder / "test" / "good", arguments.normals)
            splits = all_splits(embedder.levels, normals, test, arguments.splits)
            for asked in ASKED:
                lines.append(table_row(folder.resolve().name, asked, splits))
                print(lines[-1], flush=True)
    legend = LEGEND.format(splits=arguments.splits, normals=arguments.normals)
    title = "# Do thresholds keep what they promise?\n\nMade by `python benchmarks/calibration.py`."
    TABLE.write_text("\n\n".join([title, legend, "\n".join(lines)]) + "\n")


def embed(embedder: Embedder, folder: Path, most: int) -> Images:
    """Compute the features of the images of a folder, of at most so many chosen at random."""
    paths = sorted(str(path) for path in folder.iterdir())
    chosen = np.sort(np.random.default_rng(SEED).permutation(len(paths))[:most])
    images: Images = []
    for pixels in read_ahead([paths[i] for i in chosen], usable_cores()):
        if isinstance(pixels, Exception):
            raise pixels
        images.append(embedder.patches(pixels))
    return images


def all_splits(levels: Sequence[Level], normals: Images, test: Images, count: int) -> list[Split]:
    """Score random splits, in one process per core: the arrays are too small for threads."""
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    workers = usable_cores()
    shares = [range(count)[i::workers] for i in range(workers)]
    work = partial(some_splits, levels, normals, test)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as processes:
        return [each for share in processes.map(work, shares) for each in share]


def some_splits(levels: Sequence[Level], normals: Images, test: Images, seeds: Sequence[int]) -> list[Split]:
    """Score the random splits of these seeds."""
    return [split(levels, normals, test, seed) for seed in seeds]


def split(levels: Sequence[Level], normals: Images, test: Images, seed: int) -> Split:
    """Score one random split, all that is fitted being fitted to the bank's half."""
    order = np.random.default_rng([SEED, seed]).permutation(len(normals))
    inside = [normals[i] for i in order[: len(order) // 2]]
    outside = [normals[i] for i in order[len(order) // 2 :]]
    fitted = LevelScorer(levels)
    fitted.fit(inside[:FIT_IMAGES], SEED)
    # A run keeps its bank in half precision
    kept = [[rows.astype(np.float16).astype(np.float32) for rows in fitted.transform(image)] for image in inside]
    banks = [NeighborIndex([rows[level] for rows in kept], SEED) for level in range(len(levels))]

    def score(image: list[Patches], rows: Sequence[NDArray[np.float32]], excluded: int | None) -> list[LevelScores]:
        return [
            (each.segments, bank.distances(values, excluded))
            for each, bank, values in zip(image, banks, rows, strict=True)
        ]

    held_out = [score(image, rows, i) for i, (image, rows) in enumerate(zip(inside, kept, strict=True))]
    fitted.fit_normalizers(held_out)

    def scores(images: Images) -> NDArray[np.float64]:
        return np.array([fitted.fuse(score(image, fitted.transform(image), None))[1].max() for image in images])

    calibration_images = np.array([fitted.fuse(each)[1].max() for each in held_out])
    return Split(calibration_images, scores(outside), scores(test))


def table_row(folder: str, asked: float, splits: Sequence[Split]) -> str:
    """Return a line of the table."""
    thresholds = [conformal_threshold(each.calibration_images, asked) for each in splits]
    pairs = list(zip(splits, thresholds, strict=True))
    shares = np.array([(each.unseen > threshold).mean() for each, threshold in pairs])
    on_test = float(np.mean([(each.test > threshold).mean() for each, threshold in pairs]))
    attainable = float(np.mean([supported(len(each.calibration_images), asked) for each in splits]))
    error = float(shares.std(ddof=1) / np.sqrt(len(shares)))
    low, high = np.percentile(shares, [5, 95])
    figures = (attainable, float(shares.mean()), error, float(low), float(high), on_test)
    return f"| {folder} | {asked:g} | {' | '.join(f'{figure:.4f}' for figure in figures)} |"


def supported(normals: int, asked: float) -> float:
    """Return the share that a conformal threshold from so many normal images stands for."""
    return max(int(asked * (normals + 1) + 1e-9), 1) / (normals + 1)


if __name__ == "__main__":
    main()
