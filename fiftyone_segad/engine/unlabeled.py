"""Score by ``unlabeled``: each image against all others, or against a pool of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import SegadError
from ..scoring.levels import LevelFeatures, LevelScores
from ..scoring.mutual import FEWEST, POOL, coarsen, mutual_scores
from ..scoring.neighbors import NeighborIndex
from ..segments.boxes import Segments
from ..utils.timing import StageTimer
from .job import Job
from .passes import ScoreLevels, choose, embed_bank, fit_levels, flushing, score_held_out, score_images
from .prediction import image_scores
from .rotations import find_rotations, fit_straight_levels, needs_straightening

UNLIKE = 0.7
"""Mean distance to the nearest segments of other images, relative to that of any two segments, above which mutual
scoring is doubtful."""

_LevelRows = list[NDArray[np.float32]]
"""Rows ``[n_i, k]`` of each image of the pool at one level."""


def score_unlabeled(job: Job) -> None:
    """Score each image of a pool against the others, and the rest against the pool."""
    by_path = {image.path: image for image in job.spec.images}
    images = [image for path, image in by_path.items() if job.spec.bank_path(image) == path]
    pool = choose(images, POOL, job.spec.seed)
    levels = fit_levels(job, pool)
    trial = replace(job, spec=replace(job.spec, normals=pool))
    if job.spec.align is None and needs_straightening(trial, levels, find_rotations(trial, levels)):
        levels = fit_straight_levels(job, pool)
    embed_bank(job, levels, pool, {image.path for image in pool})
    rows = _pool_rows(job)
    score_levels = _score_by_pool(job, rows)
    if len(images) > len(pool):
        job.report.warnings.append(
            f"Each image was compared with the same {len(pool)} of the {len(images)} images, chosen at random"
        )
    held_out = score_held_out(job, levels, lambda: job.store.bank, score_levels)
    _warn_if_unlike(job, rows, held_out)
    done = job.store.scores.ids() | {entry["id"] for entry in job.report.skipped}
    missing = [image for image in job.spec.images if image.id not in done]
    with flushing(job.store.scores):
        for image in missing:
            path = job.spec.bank_path(image)
            if path in held_out:
                job.store.scores.add(image_scores(image.id, levels.fuse(held_out[path]), job.timer))
        rest = [image for image in missing if job.spec.bank_path(image) not in held_out]
        job.advance(len(job.spec.images) - len(rest))
        score_images(job, levels, rest, score_levels)


def score_against_pool(job: Job) -> None:
    """Score the images that have no score yet against the pool of a finished run."""
    done = job.store.scores.ids()
    missing = [image for image in job.spec.images if image.id not in done]
    job.advance(len(job.spec.images) - len(missing))
    with flushing(job.store.scores):
        score_images(job, job.levels(), missing, _score_by_pool(job, _pool_rows(job)))


def _pool_rows(job: Job) -> list[_LevelRows]:
    """Read the rows of the images in the store's bank, by level and image, coarsened for mutual scoring."""
    images = [
        [coarsen(segments, rows)[1] for segments, rows in zip(image.segments, image.features, strict=True)]
        for image in job.store.bank
    ]
    return [list(level) for level in zip(*images, strict=True)]


def _score_by_pool(job: Job, rows: list[_LevelRows]) -> ScoreLevels:
    paths = job.store.bank.paths()
    if len(paths) < FEWEST + 1:
        raise SegadError(
            f"method='unlabeled' compares images with each other and needs at least {FEWEST + 1} that can be used, "
            f"got {len(paths)}. {job.report.first_reason()}"
        )
    with job.timer("index"):
        indexes = [NeighborIndex(level, job.spec.seed) for level in rows]
    owners = {path: i for i, path in enumerate(paths)}
    return _PoolScore(indexes, owners, dict(job.spec.bank_names), job.timer)


@dataclass(frozen=True)
class _PoolScore:
    """Scores an image against those of a pool, its own segments left out."""

    indexes: list[NeighborIndex]
    owners: dict[str, int]
    bank_names: dict[str, str]
    timer: StageTimer

    def __call__(self, rows: LevelFeatures, segments: Sequence[Segments], path: str) -> list[LevelScores]:
        coarse = [coarsen(*level) for level in zip(segments, rows, strict=True)]
        with self.timer("search"):
            return [
                (cells, mutual_scores(index, means, self.owners.get(self.bank_names.get(path, path))))
                for (cells, means), index in zip(coarse, self.indexes, strict=True)
            ]


def _warn_if_unlike(job: Job, rows: list[_LevelRows], held_out: dict[str, list[LevelScores]]) -> None:
    """Warn if segments are hardly nearer to the nearest ones of other images than to any segment."""
    ratios = []
    for level, images in enumerate(rows):
        # Root mean square distance of two rows x, y: sqrt(E|x - y|^2) = sqrt(2 sum of variances)
        apart = np.sqrt(2 * np.concatenate(images).var(axis=0, dtype=np.float64).sum())
        nearest = np.median([scored[level][1].mean() for scored in held_out.values()])
        ratios.append(nearest / max(apart, 1e-12))
    if np.mean(ratios) > UNLIKE:
        job.report.warnings.append(
            f"The images look unlike each other: segments are {np.mean(ratios):.0%} as far from their counterparts as "
            "from any segment. method='unlabeled' assumes the same product in the same view, with rare defects; split "
            "the dataset by product, or use method='reference' with normal images"
        )
