"""The method ``reference``: each segment against those of normal images. Knows nothing of FiftyOne."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SegadError
from ..scoring.levels import LevelFeatures, LevelScorer, LevelScores
from ..scoring.neighbors import NeighborIndex
from ..segments.boxes import Segments
from ..storage.records import ImageFeatures
from ..storage.store import FeatureParts
from ..utils.timing import StageTimer
from .bank import bank_coreset
from .job import Job, JobImage
from .passes import (
    Marked,
    Score,
    calibration_images,
    choose,
    embed_bank,
    fitted_levels,
    flushed,
    row_limits,
    score_from_cache,
    score_held_out,
    score_images,
)
from .prediction import image_scores

_TURNED = 8
"""Images that are turned to see whether rotations would help."""


def score_by_reference(job: Job) -> None:
    """Build the bank, scores the normal images without themselves, and then the images."""
    levels = fitted_levels(job, job.normals)
    held_out = calibration_images(job, levels)
    embed_bank(job, levels, job.normals, {image.path for image in held_out}, job.rotations)
    paths = job.store.bank.paths()
    if not paths:
        raise SegadError(f"None of the {len(job.normals)} normal images could be used. {job.first_reason()}")
    _embed_marked(job, levels)
    score, marked = against_bank(job, levels)
    if len(paths) > 1:
        scored = score_held_out(job, levels, lambda: (image for image in job.store.bank if image.whole), score, marked)
        known = job.store.normals.ids()
        with flushed(job.store.normals):
            for path, by_level in scored.items():
                if path not in known:
                    job.store.normals.add(image_scores(path, levels.fuse(by_level), job.clock))
        _advise_rotations(job, levels, held_out, score)
    elif levels.has_common_scale:
        _scale_by_halves(job, levels)
    score_by_bank(job, levels, score, marked)


def against_bank(job: Job, levels: LevelScorer) -> tuple[Score, Marked]:
    """What scores images against the store's bank, and banks of what is marked as normal besides.

    The bank is built when it is used first: if distances are known already, it need not be.
    """
    owners = {path: i for i, path in enumerate(job.store.bank.paths())}
    score = _BankScore(cache(lambda: _build_banks(job, levels, job.store.bank)), owners, job.copies, job.clock)
    return score, _build_banks(job, levels, job.store.marked) if job.store.marked.paths() else ()


class _BankScore:
    """Scores an image against the bank, its own rows left out. Sent elsewhere, it takes the bank along."""

    def __init__(
        self,
        banks: Callable[[], list[NeighborIndex]],
        owners: dict[str, int],
        copies: Mapping[str, str],
        clock: StageTimer,
    ) -> None:
        self._banks, self._owners, self._copies, self._clock = banks, owners, copies, clock

    def __call__(self, rows: LevelFeatures, segments: Sequence[Segments], path: str) -> list[LevelScores]:
        excluded = self._owners.get(self._copies.get(path, path))
        banks = self._banks()
        with self._clock("search"):
            found = [bank.distances(values, excluded) for bank, values in zip(banks, rows, strict=True)]
        return list(zip(segments, found, strict=True))

    def __reduce__(self) -> tuple[Any, ...]:
        return _bank_score, (self._banks(), self._owners, dict(self._copies), self._clock)


def _bank_score(banks: list[NeighborIndex], *others: Any) -> _BankScore:
    return _BankScore(lambda: banks, *others)


def score_by_bank(job: Job, levels: LevelScorer, score: Score, marked: Marked) -> None:
    """Scores the images that have no score yet."""
    done = job.store.scores.ids()
    missing = [image for image in job.images if image.id not in done]
    job.advance(len(job.images) - len(missing))
    known = job.store.normals.ids()
    paths = job.store.bank.paths()
    with flushed(job.store.scores):
        again = [image for image in missing if job.original(image.path) in known]
        job.copy(again, job.store.normals)
        job.advance(len(again))
        missing = [image for image in missing if job.original(image.path) not in known]
        if len(paths) == 1:
            alone = [image for image in missing if job.original(image.path) == paths[0]]
            for image in alone:
                job.skip(image, "It is the only normal image and cannot be compared with itself; add normals")
            missing = [image for image in missing if image not in alone]
        missing = score_from_cache(job, levels, missing, marked)
        score_images(job, levels, missing, score, marked, keep=True)


def _embed_marked(job: Job, levels: LevelScorer) -> None:
    """Put the features of what is marked as normal into the store, where they are not there yet."""
    if not job.marks or job.store.marked.paths():
        return
    job.stage("reading what is marked as normal")
    boxes = {image.path: several for image, several in job.marks}
    found, skipped = [], len(job.skipped)
    for embedded in job.embed([image for image, _ in job.marks], advance=lambda count: None):
        segments, rows = [], []
        for level, own in zip(embedded.patches, levels.transform(embedded.patches), strict=True):
            inside = _inside(level.segments, boxes[embedded.image.path])
            segments.append(Segments(level.segments.size, level.segments.boxes[inside]))
            rows.append(own[inside])
        found.append(ImageFeatures(embedded.image.path, segments, levels.to_stored(rows), True))
    if lost := job.skipped[skipped:]:  # left out, they would count as learnt
        raise SegadError(
            f"{len(lost)} of the images with marks cannot be used. The first: {lost[0]['filepath']}: "
            f"{lost[0]['reason']}. "
            "Restore them, or take their marks back with unmark()"
        )
    job.store.marked.append(found)


def _inside(segments: Segments, boxes: list[tuple[float, ...]]) -> NDArray[np.int64]:
    """The segments whose centres lie in one of some boxes, or else are nearest to the centre of one."""
    centres = segments.boxes.reshape(-1, 2, 2).mean(axis=1) / segments.size
    chosen = np.zeros(len(segments), bool)
    for x, y, width, height in boxes:
        low, high = np.array([x, y]), np.array([x + width, y + height])
        inside = ((centres >= low) & (centres <= high)).all(axis=1)
        if not inside.any():
            inside[((centres - (low + high) / 2) ** 2).sum(axis=1).argmin()] = True
        chosen |= inside
    return np.flatnonzero(chosen)


def _build_banks(job: Job, levels: LevelScorer, images: FeatureParts) -> list[NeighborIndex]:
    job.stage("building the bank")
    with job.clock("index"):
        return [NeighborIndex(rows, job.seed) for rows in bank_rows(job, levels, images)]


def bank_rows(job: Job, levels: LevelScorer, images: FeatureParts) -> Iterator[list[NDArray[np.floating]]]:
    """Yield the rows of each level's bank, image by image; a coreset of them if it has more than it may have."""
    segments = next(iter(images)).segments
    for level, limit in enumerate(row_limits(job.bank_size, levels, segments)):
        rows = [image.rows[level] for image in images]
        if sum(map(len, rows)) > limit:
            rows = bank_coreset(rows, limit, job.seed, job.run_by, job.clock)
        yield rows


def _scale_by_halves(job: Job, levels: LevelScorer) -> None:
    """Scales of the levels from a single image: its left half compared with its right one, and the reverse."""
    (image,) = job.store.bank
    scored: list[LevelScores] = []
    for rows, segments in zip(image.rows, image.segments, strict=True):
        own = rows[: len(segments)].astype(np.float32)
        left = segments.boxes[:, [0, 2]].sum(axis=1) < segments.size[0]
        scores = np.empty(len(segments), np.float32)
        for half in (left, ~left):
            scores[half] = NeighborIndex([own[~half]], job.seed).distances(own[half])
        scored.append((segments, scores))
    levels.fit_normalizers([scored])
    job.store.save_levels(levels.arrays())


def _advise_rotations(job: Job, levels: LevelScorer, images: list[JobImage], score: Score) -> None:
    """Warns if turned normal images look normal, as they do where parts lie at any angle."""
    if job.rotations > 1 or not job.chosen or not job.advise:
        return
    upright = {record.id: record.image_score for record in job.store.normals}
    turned = []
    sample = choose(images, _TURNED, job.seed + 1)
    for embedded in job.embed(sample, advance=lambda count: None, report_skipped=False, angle=90):
        segments = [level.segments for level in embedded.patches]
        _, scores = levels.fuse(score(levels.transform(embedded.patches), segments, embedded.image.path))
        turned.append(float(scores.max()))
    if turned and np.median(turned) <= np.quantile(list(upright.values()), 0.75):
        job.warnings.append(
            "Normal images that were turned by 90 degrees look as normal as upright ones: if the parts lie at any "
            "angle, rotations=8 may find more (each normal image is then embedded 8 times)"
        )
