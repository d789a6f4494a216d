"""Do thresholds keep what they promise on new parts? Normal images flagged over random splits by part.

    python benchmarks/calibration.py [FOLDER ...] [--straight NAME ...] [--splits 100] [--every 3] [--bank 0.6]

The normal images of a folder in MVTec layout (``train/good`` and ``test/good``) are divided by part, again and again:
one share is the bank and calibrates the threshold, each image without its own part as a run finds it; the rest is
unseen. Parts are told by file names where these tell them (magnetic tiles, see ``part_numbers``), else each image is
one. Levels, components, scales and image scores are those of the default, which lays the parts of some folders straight
(``--straight``); for speed only every third row and column of
each level's patches is used, and the rows of a bank that are too many are chosen at random. The table goes to
calibration.md beside this file.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fiftyone_segad.embedders.aligned import aligned_patches
from fiftyone_segad.embedders.base import Level, Patches
from fiftyone_segad.embedders.efficientnet import EfficientNetEmbedder
from fiftyone_segad.engine.prediction import image_scores
from fiftyone_segad.scoring.conformal import NormalScores
from fiftyone_segad.scoring.levels import FIT_IMAGES, LevelFeatures, LevelScorer, LevelScores
from fiftyone_segad.scoring.neighbors import NeighborIndex
from fiftyone_segad.scoring.siblings import sibling_groups, sibling_votes
from fiftyone_segad.segments.boxes import patch_grid
from fiftyone_segad.utils.images import read_ahead
from fiftyone_segad.utils.threads import usable_cores
from fiftyone_segad.utils.timing import StageTimer

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FOLDERS = (DATA / "screw", DATA / "magnetic_tile")
TABLE = Path(__file__).with_suffix(".md")

ASKED = (0.01, 0.05, 0.1)
"""Shares of new good images that may be flagged."""

BANK_ROWS = 2**15
"""Rows of a bank per level at most; more than by default, for so few patches an image."""

SEED = 0

LEGEND = """Share of good images of unseen parts that were flagged, over {splits} random splits by part: a share of
{bank:g} of the parts is the bank and calibrates the threshold, the rest is unseen. "Parts" are those that calibrate it,
in the mean; `n` of them support no smaller share than `1 / (n + 1)`, which is then the promise (in brackets). "Each by
itself" is what becomes of it where normal images are scored without themselves only (`groups=None`), "found" where they
are scored without their part as it is found from their features (`groups="auto"`), "named" where the parts are given
(`groups="part"`). After each mean the standard error over the splits. One patch in {every} x {every} is used."""


@dataclass(frozen=True)
class Normals:
    """The normal images of a folder.

    Attributes:
        patches: their features, per image one entry per level
        parts: int array ``[images]``, the same for images of one part
    """

    patches: list[list[Patches]]
    parts: NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Image scores of one split by one kind of groups.

    Attributes:
        calibrating: scores of the bank's images, each without its own part
        unseen: scores of the images of other parts
        unseen_parts: the part of each of these
    """

    calibrating: NormalScores
    unseen: NDArray[np.float64]
    unseen_parts: NDArray[np.int64]


def main() -> None:
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="*", default=FOLDERS)
    parser.add_argument(
        "--straight", metavar="NAME", nargs="*", default=["screw"], help="folders of parts at any angle"
    )
    parser.add_argument("--splits", type=int, default=100)
    parser.add_argument("--every", type=int, default=3)
    parser.add_argument("--bank", type=float, default=0.6)
    arguments = parser.parse_args()
    columns = ("folder", "asked", "parts", "each by itself", "found", "named")
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    print("\n".join(lines), flush=True)
    with EfficientNetEmbedder() as embedder:
        for folder in arguments.folders:
            name = folder.resolve().name
            is_straight = name in arguments.straight
            normals = read_normals(embedder, folder, arguments.every, is_straight)
            splits = all_splits(embedder.levels, normals, arguments.bank, arguments.splits)
            for asked in ASKED:
                lines.append(table_row(name + (", laid straight" if is_straight else ""), asked, splits))
                print(lines[-1], flush=True)
    legend = LEGEND.format(splits=arguments.splits, bank=arguments.bank, every=arguments.every)
    title = "# Do thresholds keep what they promise?\n\nMade by `python benchmarks/calibration.py`."
    TABLE.write_text("\n\n".join([title, legend, "\n".join(lines)]) + "\n")


def read_normals(embedder: EfficientNetEmbedder, folder: Path, every: int, is_straight: bool = False) -> Normals:
    """Compute the features of the good images of a folder, in the order of their numbers."""
    files = [file for split in ("train", "test") for file in (folder / split / "good").iterdir()]
    files.sort(key=lambda file: (int((re.findall(r"\d+", file.stem) or ["0"])[-1]), file.stem))
    patches = []
    for pixels in read_ahead(list(map(str, files)), usable_cores()):
        if isinstance(pixels, Exception):
            raise pixels
        levels = aligned_patches(embedder, pixels) if is_straight else embedder.patches(pixels)
        patches.append([thin_out(level, every) for level in levels])
    return Normals(patches, part_numbers(files))


def thin_out(patches: Patches, every: int) -> Patches:
    """Keep one of so many rows and columns of patches."""
    grid = patches.segments.straight
    assert grid.shape is not None
    cells = patches.features.reshape(*grid.shape, -1)[every // 2 :: every, every // 2 :: every]
    return Patches(patch_grid(grid.size, *cells.shape[:2]), cells.reshape(-1, cells.shape[-1]))


def part_numbers(files: Sequence[Path]) -> NDArray[np.int64]:
    """Tell the parts of files by their names, where these have the form ``exp1_num_123``.

    Pictures of one part have numbers that follow closely, rising exposures, and nearly the same size.
    """
    if not all(re.fullmatch(r"exp\d_num_\d+", file.stem) for file in files):
        return np.arange(len(files))
    sizes = []
    for file in files:
        with Image.open(file) as image:
            sizes.append(image.size)
    parts = [0]
    for i, (before, after) in enumerate(itertools.pairwise(files)):
        (exposure, number), (next_exposure, next_number) = (
            tuple(map(int, re.findall(r"\d+", file.stem))) for file in (before, after)
        )
        is_near = next_number - number <= 120 and exposure < next_exposure
        same_size = np.abs(np.divide(sizes[i], sizes[i + 1]) - 1).max() < 0.08
        parts.append(parts[-1] + (not (is_near and same_size)))
    return np.array(parts)


def all_splits(levels: Sequence[Level], normals: Normals, bank: float, count: int) -> list[dict[str, Split]]:
    """Score random splits, in one process per core: the arrays are too small for threads."""
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    workers = usable_cores()
    work = partial(some_splits, levels, normals, bank)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as processes:
        shares = processes.map(work, [range(count)[i::workers] for i in range(workers)])
        return [split for share in shares for split in share]


def some_splits(levels: Sequence[Level], normals: Normals, bank: float, seeds: Sequence[int]) -> list[dict[str, Split]]:
    """Score the random splits of these seeds."""
    return [split_by_part(levels, normals, bank, seed) for seed in seeds]


def split_by_part(levels: Sequence[Level], normals: Normals, bank: float, seed: int) -> dict[str, Split]:
    """Score one random split by part, all that is fitted being fitted to the bank, with each kind of groups."""
    random = np.random.default_rng([SEED, seed])
    parts = random.permutation(np.unique(normals.parts))
    inside = np.flatnonzero(np.isin(normals.parts, parts[: round(bank * len(parts))]))
    outside = np.setdiff1d(np.arange(len(normals.parts)), inside)
    scorer = LevelScorer(levels)
    fitted = random.permutation(inside)[:FIT_IMAGES]
    scorer.fit([normals.patches[i] for i in fitted], SEED)
    rows = [scorer.transform(normals.patches[i]) for i in inside]
    share = [min(BANK_ROWS / sum(len(image[level]) for image in rows), 1) for level in range(len(levels))]
    indexes = [
        NeighborIndex([image[level][random.random(len(image[level])) < share[level]] for image in rows], SEED)
        for level in range(len(levels))
    ]
    main = scorer.heaviest
    votes = ((i, sibling_votes(indexes[main], image[main], i)) for i, image in enumerate(rows))
    found = np.arange(len(inside))
    for group in sibling_groups(votes, len(inside)):
        found[group] = group[0]
    # As in a run: what the components were fitted to does not calibrate, where that leaves enough
    held_out = np.flatnonzero(~np.isin(inside, fitted)) if len(inside) >= 4 * FIT_IMAGES else np.arange(len(inside))

    def score(image: int, features: LevelFeatures, excluded: Sequence[int]) -> list[LevelScores]:
        return [
            (patches.segments, index.distances(level_rows, excluded))
            for patches, index, level_rows in zip(normals.patches[image], indexes, features, strict=True)
        ]

    unseen = [score(i, scorer.transform(normals.patches[i]), []) for i in outside]
    kinds = {"each by itself": np.arange(len(inside)), "found": found, "named": normals.parts[inside]}
    splits = {}
    for name, groups in kinds.items():
        by_image = [score(inside[i], rows[i], np.flatnonzero(groups == groups[i]).tolist()) for i in held_out]
        scorer.fit_normalizers(by_image)
        calibrating = NormalScores.of([peak(scorer, image) for image in by_image], groups[held_out])
        unseen_scores = np.array([peak(scorer, image) for image in unseen])
        splits[name] = Split(calibrating, unseen_scores, normals.parts[outside])
    return splits


def peak(scorer: LevelScorer, scored: list[LevelScores]) -> float:
    """Return the score of an image, as a run gives it."""
    return image_scores("", scorer.fuse(scored), StageTimer()).image_score


def table_row(folder: str, asked: float, splits: Sequence[dict[str, Split]]) -> str:
    """Return a line of the table."""
    promised = float(np.mean([max(asked, split["found"].calibrating.smallest_share) for split in splits]))
    parts = float(np.mean([split["found"].calibrating.parts for split in splits]))
    cells = [f"{asked:g}" + (f" ({promised:.3f})" if promised > asked + 1e-9 else ""), f"{parts:.0f}"]
    for name in ("each by itself", "found", "named"):
        shares = np.array([(split[name].unseen > split[name].calibrating.threshold(asked)).mean() for split in splits])
        cells.append(f"{shares.mean():.3f} ± {shares.std(ddof=1) / np.sqrt(len(shares)):.3f}")
    return f"| {folder} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
