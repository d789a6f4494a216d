"""Score by ``reference``: each segment against those of normal images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SegadError
from ..scoring.levels import LevelFeatures, LevelScorer, LevelScores
from ..scoring.neighbors import NeighborIndex
from ..segments.boxes import Segments
from ..storage.parts import ScoreParts
from ..storage.records import ImageFeatures
from ..utils.timing import StageTimer
from .bank import build_indexes
from .dirty_bank import warn_if_dirty
from .job import Job, JobImage
from .marked import normals_to_leave_out, read_normal_marks
from .passes import (
    MarkedIndexes,
    ScoreLevels,
    calibration_images,
    embed_bank,
    flushing,
    score_from_cache,
    score_held_out,
    score_images,
    search_again,
)
from .prediction import image_scores
from .rotations import find_poses
from .siblings import FEWEST_PARTS, find_groups, part_numbers
from .teaching import learn_defects, normal_scores


def score_by_reference(job: Job) -> None:
    """Build the bank, score the normal images without their own parts, and then the images."""
    spec, store = job.spec, job.store
    levels, rotations = find_poses(job)
    levels.defects = None  # those of other marks may have come with the store
    calibrating = calibration_images(job, levels)
    embed_bank(job, levels, spec.normals, {image.path for image in calibrating}, rotations)
    paths = store.bank.paths()
    if not paths:
        reason = job.report.first_reason()
        raise SegadError(f"None of the {len(spec.normals)} normal images could be used. {reason}")
    read_normal_marks(job, levels)
    indexes = bank_indexes(job, levels)
    if store.groups() is None:
        store.save_groups(find_groups(job, levels, indexes))
    if left_out := normals_to_leave_out(job.spec, store):
        store.save_left_out(left_out)
        indexes = bank_indexes(job, levels)  # without them
    _warn_if_few_parts(job)
    score_levels, marked = against_bank(job, levels, indexes)
    if len(paths) > 1:
        _score_normals(job, levels, score_levels, marked)
    elif levels.has_common_scale:
        _scale_by_halves(job, levels)
    known, in_bank = store.scores.ids() | set(store.features.paths()), set(paths)
    has_new = any(image.id not in known and spec.bank_path(image) not in in_bank for image in spec.images)
    _score_missing(job, levels, score_levels, marked)
    if has_new:  # else the bank need not be indexed
        warn_if_dirty(job, levels, indexes)


def _warn_if_few_parts(job: Job) -> None:
    """Warn where a clean bank is asked for that too few parts can give."""
    parts = len(np.unique(part_numbers(job.store.bank.paths(), job.store.groups() or [])))
    if job.spec.clean and parts < FEWEST_PARTS:
        job.report.warnings.append(
            f"clean=True needs normal images of at least {FEWEST_PARTS} parts, and these show {parts}: it was left "
            "out, and each segment is compared with the nearest one. Add normal images"
        )


def score_against_bank(job: Job) -> None:
    """Score the images that have no score yet against the bank of a finished run."""
    levels = job.levels()
    _score_missing(job, levels, *against_bank(job, levels, bank_indexes(job, levels)))


def bank_indexes(job: Job, levels: LevelScorer) -> Callable[[], list[NeighborIndex]]:
    """Return what indexes the store's bank when it is called first: if distances are known already, it need not be."""
    return cache(lambda: build_indexes(job, levels, job.store.bank))


def against_bank(
    job: Job, levels: LevelScorer, indexes: Callable[[], list[NeighborIndex]]
) -> tuple[ScoreLevels, MarkedIndexes]:
    """Return the function that scores images against the store's bank, and the indexes of what is marked as normal."""
    parts = part_numbers(job.store.bank.paths(), job.store.groups() or [])
    score_levels = bank_score(job.store.bank.paths(), parts, indexes, job.spec.clean, job.spec.bank_names, job.timer)
    return score_levels, build_indexes(job, levels, job.store.marked) if job.store.marked.paths() else ()


def bank_score(
    paths: Sequence[str],
    parts: NDArray[np.int64],
    indexes: Callable[[], list[NeighborIndex]],
    clean: bool,
    bank_names: Mapping[str, str],
    timer: StageTimer,
) -> ScoreLevels:
    """Return the function that scores images against a bank.

    Args:
        paths: paths of the bank's images
        parts: int array ``[images]``, the number of the part that each of them shows
        indexes: gives one index per level
        clean: as that of a ``JobSpec``; has no effect with too few parts
        bank_names: as those of a ``JobSpec``
        timer: counts the seconds
    """
    own_parts = dict(zip(paths, parts.tolist(), strict=True))
    clean = clean and len(np.unique(parts)) >= FEWEST_PARTS
    return _BankScore(indexes, parts, own_parts, clean, bank_names, timer)


class _BankScore:
    """Scores an image against the bank, leaving the rows of its own part out. Pickling it includes the bank.

    Args:
        indexes: gives one index per level
        parts: int array ``[images]``, the number of the part that each image of the bank shows
        own_parts: that number by the path of each
        clean: whether the second-nearest part counts, not the nearest row
        bank_names: as those of a ``JobSpec``
        timer: counts the seconds
    """

    def __init__(
        self,
        indexes: Callable[[], list[NeighborIndex]],
        parts: NDArray[np.int64],
        own_parts: dict[str, int],
        clean: bool,
        bank_names: Mapping[str, str],
        timer: StageTimer,
    ) -> None:
        self._indexes, self._parts, self._own_parts, self._clean = indexes, parts, own_parts, clean
        self._bank_names, self._timer = bank_names, timer

    def __call__(self, rows: LevelFeatures, segments: Sequence[Segments], path: str) -> list[LevelScores]:
        own_part = self._own_parts.get(self._bank_names.get(path, path))
        excluded = [] if own_part is None else np.flatnonzero(self._parts == own_part).tolist()
        indexes = self._indexes()
        with self._timer("search"):
            distances = [
                index.second_distances(values, self._parts, excluded)
                if self._clean
                else index.distances(values, excluded)
                for index, values in zip(indexes, rows, strict=True)
            ]
        return list(zip(segments, distances, strict=True))

    def __reduce__(self) -> tuple[Any, ...]:
        others = (self._parts, self._own_parts, self._clean, dict(self._bank_names), self._timer)
        return _restore, (self._indexes(), *others)


def _restore(indexes: list[NeighborIndex], *others: Any) -> _BankScore:
    return _BankScore(lambda: indexes, *others)


def _score_normals(job: Job, levels: LevelScorer, score_levels: ScoreLevels, marked: MarkedIndexes) -> None:
    """Score the normal images, each without its own part in the bank."""

    def complete_images() -> Iterator[ImageFeatures]:
        return (image for image in job.store.bank if image.complete and image.path not in left_out)

    left_out = set(job.store.left_out())
    held_out = score_held_out(job, levels, complete_images, score_levels, marked)
    models = learn_defects(job, levels, held_out, score_levels, marked)
    done = job.store.normals.ids()
    with flushing(job.store.normals):
        for path, scored in normal_scores(job, levels, held_out, models):
            if path not in done:
                job.store.normals.add(image_scores(path, scored, job.timer))


def _score_missing(job: Job, levels: LevelScorer, score_levels: ScoreLevels, marked: MarkedIndexes) -> None:
    """Score the images that have no score yet; normal images among them have one already."""
    spec, store = job.spec, job.store
    done, normal, paths = store.scores.ids(), store.normals.ids(), store.bank.paths()
    missing = [image for image in spec.images if image.id not in done]
    job.advance(len(spec.images) - len(missing))
    with flushing(store.scores):
        scored_normals = [image for image in missing if spec.bank_path(image) in normal]
        _copy_scores(job, scored_normals, store.normals)
        job.advance(len(scored_normals))
        missing = [image for image in missing if spec.bank_path(image) not in normal]
        if len(paths) == 1:
            missing = _skip_only_normal(job, missing, paths[0])
        search_again(job, missing, score_levels)
        missing = score_from_cache(job, levels, missing, marked)
        score_images(job, levels, missing, score_levels, marked, keep=True)


def _copy_scores(job: Job, images: Sequence[JobImage], source: ScoreParts) -> None:
    """Store scores of normal images, whose ids are paths, under the ids of these images."""
    by_path: dict[str, list[JobImage]] = {}
    for image in images:
        by_path.setdefault(job.spec.bank_path(image), []).append(image)
    for record in source if by_path else ():
        for image in by_path.get(record.id, ()):
            job.store.scores.add(replace(record, id=image.id))


def _skip_only_normal(job: Job, images: list[JobImage], path: str) -> list[JobImage]:
    """Skip the image that is the whole bank; return the others."""
    others = []
    for image in images:
        if job.spec.bank_path(image) == path:
            job.skip(image, "It is the only normal image and cannot be compared with itself; add normals")
        else:
            others.append(image)
    return others


def _scale_by_halves(job: Job, levels: LevelScorer) -> None:
    """Fit the scales of the levels to a single image: its left half compared with its right one, and the reverse."""
    (image,) = job.store.bank
    scored: list[LevelScores] = []
    for rows, segments in zip(image.features, image.segments, strict=True):
        upright = rows[: len(segments)].astype(np.float32)  # [n, k]
        grid = segments.straight
        left = grid.boxes[:, [0, 2]].sum(axis=1) < grid.size[0]  # [n], centres
        distances = np.empty(len(segments), np.float32)
        for half in (left, ~left):
            distances[half] = NeighborIndex([upright[~half]], job.spec.seed).distances(upright[half])
        scored.append((segments, distances))
    levels.fit_normalizers([scored])
    job.store.save_levels(levels.arrays())
