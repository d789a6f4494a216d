"""The method ``unlabeled``: each image against all others. Knows nothing of FiftyOne."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import SegadError
from ..scoring.levels import LevelFeatures, LevelScores
from ..scoring.mutual import FEWEST, POOL, coarsen, mutual_scores
from ..scoring.neighbors import NeighborIndex
from ..segments.boxes import Segments
from ..utils.timing import StageTimer
from .job import Job
from .passes import Score, choose, embed_bank, fitted_levels, flushed, level_rows, score_held_out, score_images
from .prediction import image_scores

UNLIKE = 0.7
"""Mean distance to counterparts in other images, relative to that of any two segments, above which mutual scoring is
doubtful."""


def score_unlabeled(job: Job) -> None:
    """Scores each image of a pool against the others, and the rest against the pool."""
    images = list({image.path: image for image in job.images}.values())
    chosen = choose(images, POOL, job.seed)
    levels = fitted_levels(job, chosen)
    embed_bank(job, levels, chosen, {image.path for image in chosen}, rotations=1)
    score, pool = against_pool(job)
    if len(images) > len(chosen):
        job.warnings.append(
            f"Each image was compared with the same {len(chosen)} of the {len(images)} images, chosen at random"
        )
    held_out = score_held_out(job, levels, lambda: job.store.bank, score)
    _warn_if_unlike(job, pool, held_out)
    done = job.store.scores.ids() | {entry["id"] for entry in job.skipped}
    missing = [image for image in job.images if image.id not in done]
    with flushed(job.store.scores):
        for image in missing:
            if image.path in held_out:
                job.store.scores.add(image_scores(image.id, levels.fuse(held_out[image.path]), job.clock))
        rest = [image for image in missing if image.path not in held_out]
        job.advance(len(job.images) - len(rest))
        score_images(job, levels, rest, score)


def against_pool(job: Job) -> tuple[Score, list[list[NDArray[np.float32]]]]:
    """Scores images against those in the store's bank; also gives what these hold, by level and image."""
    paths = job.store.bank.paths()
    if len(paths) < FEWEST + 1:
        raise SegadError(
            f"method='unlabeled' compares images with each other and needs at least {FEWEST + 1} that can be used, "
            f"got {len(paths)}. {job.first_reason()}"
        )
    coarse = [[coarsen(*level)[1] for level in level_rows(image)] for image in job.store.bank]
    pool = [list(level) for level in zip(*coarse, strict=True)]
    owners = {path: i for i, path in enumerate(paths)}
    with job.clock("index"):
        banks = [NeighborIndex(rows, job.seed) for rows in pool]

    return _PoolScore(banks, owners, job.clock), pool


@dataclass
class _PoolScore:
    """Scores an image against those of a pool, its own segments left out."""

    banks: list[NeighborIndex]
    owners: dict[str, int]
    clock: StageTimer

    def __call__(self, rows: LevelFeatures, segments: Sequence[Segments], path: str) -> list[LevelScores]:
        queries = [coarsen(*level) for level in zip(segments, rows, strict=True)]
        with self.clock("search"):
            return [
                (own, mutual_scores(bank, values, self.owners.get(path)))
                for (own, values), bank in zip(queries, self.banks, strict=True)
            ]


def _warn_if_unlike(job: Job, pool: list[list[NDArray[np.float32]]], held_out: dict[str, list[LevelScores]]) -> None:
    """Warns if segments are hardly nearer to their counterparts in other images than to any segment."""
    shares = []
    for level, images in enumerate(pool):
        rows = np.concatenate(images)
        apart = np.sqrt(2 * rows.var(axis=0, dtype=np.float64).sum())  # root mean square distance of two rows
        shares.append(np.median([scored[level][1].mean() for scored in held_out.values()]) / max(apart, 1e-12))
    if np.mean(shares) > UNLIKE:
        job.warnings.append(
            f"The images look unlike each other: segments are {np.mean(shares):.0%} as far from their counterparts as "
            "from any segment. method='unlabeled' assumes the same product in the same view, with rare defects; split "
            "the dataset by product, or use method='reference' with normal images"
        )
