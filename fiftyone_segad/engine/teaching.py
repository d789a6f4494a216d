"""Let a run learn what marked defects look like: fit a model, and scale it on normal images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from ..scoring.levels import LevelScorer, LevelScores
from ..scoring.teaching import DefectModel, fit_defects, peak, scaling, weight_of
from ..storage.records import ImageFeatures
from ..utils.arrays import spread_indices
from .job import Job
from .marked import read_marked_defects, rows_at
from .passes import MarkedIndexes, ScoreLevels, upright_rows
from .siblings import FEWEST_PARTS, part_numbers

_VALUES = 2_000_000
"""Numbers in the rows of normal images that are learnt at most."""

_FOLDS = 3
"""Models that normal images are scored by, each fitted to the others' parts only."""

HeldOut = Mapping[str, list[LevelScores]]
"""Scores of normal images by path, each without its own part in the bank; one entry per level."""


def learn_defects(
    job: Job, levels: LevelScorer, held_out: HeldOut, score_levels: ScoreLevels, marked: MarkedIndexes
) -> dict[str, DefectModel]:
    """Fit ``levels.defects`` to what is marked, and keep it in the store.

    A model has seen the normal images that it was fitted to, and finds them less like defects than new ones: their
    scores would promise too few false alarms. So each of them is scored by a model that has not seen its part.

    Args:
        job: the job, its bank complete
        levels: its levels, scaled
        held_out: scores of the normal images
        score_levels: scores other images
        marked: index features that are normal besides and not in the bank

    Returns:
        a model for each of them, by path; empty if nothing is learnt
    """
    if not job.spec.marked_defects:
        return {}
    paths = list(held_out)
    parts = part_numbers(paths, job.store.groups() or [])
    if len(np.unique(parts)) < FEWEST_PARTS:
        job.report.warnings.append(
            f"Marks as anomalous are learnt from normal images of {FEWEST_PARTS} parts on; add normal images"
        )
        return {}
    read_marked_defects(job, levels, score_levels, marked)
    job.stage("learning what marked defects look like")
    folds = dict(zip(paths, (np.unique(parts, return_inverse=True)[1] % _FOLDS).tolist(), strict=True))
    model, fold_models = _fit(job, folds)
    likeness, scores = [], []
    for image in _normal_images(job, folds):
        values = fold_models[folds[image.path]].likeness(upright_rows(image), image.segments)
        _, fused = levels.fuse(held_out[image.path])
        likeness.append((float(values.mean()), peak(values)))
        scores.append((float(fused.mean()), peak(fused)))
    numbers = (*scaling(likeness, scores), weight_of(len(job.spec.marked_defects)))
    levels.defects = model.scaled(*numbers)
    job.store.save_levels(levels.arrays())
    return {path: fold_models[fold].scaled(*numbers) for path, fold in folds.items()}


def normal_scores(
    job: Job, levels: LevelScorer, held_out: HeldOut, models: Mapping[str, DefectModel]
) -> Iterator[tuple[str, LevelScores]]:
    """Yield the path and the scores of each normal image.

    Args:
        job: the job
        levels: its levels, scaled
        held_out: scores of the normal images
        models: as ``learn_defects`` gave them
    """
    if not models:
        yield from ((path, levels.fuse(by_level)) for path, by_level in held_out.items())
    for image in _normal_images(job, models):
        finest, fused = levels.fuse(held_out[image.path])
        yield image.path, (finest, fused + models[image.path].taught(upright_rows(image), image.segments))


def _normal_images(job: Job, paths: Iterable[str]) -> Iterator[ImageFeatures]:
    chosen = set(paths)
    return (image for image in job.store.bank if image.complete and image.path in chosen)


def _fit(job: Job, folds: Mapping[str, int]) -> tuple[DefectModel, list[DefectModel]]:
    """Fit a model to all normal images, and one to those outside each fold."""
    defects = [np.concatenate(image.features, axis=1) for image in job.store.defects]  # [n_i, d]
    widths = [rows.shape[1] for rows in next(iter(job.store.defects)).features]
    count = max(1, _VALUES // sum(widths) // (len(folds) + len(job.spec.marks)))
    rows = {image.path: _spread_rows(image, count) for image in _normal_images(job, folds)}
    others = [_spread_rows(image, count) for image in job.store.marked]

    def fit(fold: int | None, start: DefectModel | None = None) -> DefectModel:
        # Sorted: sums of many numbers depend on their order in the last bit
        seen = [rows[path] for path in sorted(rows) if folds[path] != fold]
        return fit_defects(defects, np.concatenate([*seen, *others]), widths, start)

    model = fit(None)
    return model, [fit(fold, model) for fold in range(_FOLDS)]


def _spread_rows(image: ImageFeatures, count: int) -> NDArray[np.floating]:
    """Return the rows ``[count, d]`` of all levels, beside each other, at some of the finest segments."""
    finest = max(image.segments, key=len)
    rows, _ = rows_at(image.features, image.segments, spread_indices(len(finest), count))
    return np.concatenate(rows, axis=1)
