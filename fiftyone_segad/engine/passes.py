"""What the methods that compare images with each other share: features of a bank, and scores put on one scale.

Knows nothing of FiftyOne.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from ..errors import SegadError
from ..scoring.coreset import greedy_coreset
from ..scoring.levels import FIT_IMAGES, LevelFeatures, LevelScorer, LevelScores
from ..scoring.neighbors import NeighborIndex, one_thread
from ..segments.boxes import Segments
from ..storage.records import ImageFeatures, ImageScores
from ..storage.store import PART_SIZE, ScoreParts
from ..utils.threads import prefetch_map
from .bank import CANDIDATES
from .job import Embedded, ImageTask, Job, JobImage, Reader
from .prediction import image_scores

CALIBRATION_IMAGES = 500
"""Normal images that are scored without themselves, for scales and thresholds, at most."""

BANK_ROWS = 2**17
"""Rows of a bank at the finest level, if ``bank_size`` does not say otherwise. More are searched longer than the model
takes, and find no more (``benchmarks/accuracy.md``)."""

BANK_BYTES = 256 * 2**20
"""Size of a level's bank at most, if ``bank_size`` does not say otherwise."""

_USUAL_WIDTH = 576
"""Features of levels that are not reduced to components: those of fastdup."""

Score = Callable[[LevelFeatures, Sequence[Segments], str], list[LevelScores]]
"""Scores each level of an image; what the bank has from the same file is left out."""

Marked = Sequence[NeighborIndex]
"""Banks of what people marked as normal, one a level; none if nothing is marked."""


def fitted_levels(job: Job, images: list[JobImage]) -> LevelScorer:
    """The levels, their components fitted to some of the images."""
    levels = job.levels()
    if levels.needs_fit:
        sample = choose(images, FIT_IMAGES, job.seed)
        job.stage("fitting the components of the features")
        fitted = [embedded.patches for embedded in job.embed(sample, advance=lambda count: None, report_skipped=False)]
        if not fitted:
            fitted = [embedded.patches for embedded in job.embed(images, advance=lambda count: None)]
        if not fitted:
            raise SegadError(f"None of the {len(images)} images to compare with could be used. {job.first_reason()}")
        levels.fit(fitted, job.seed)
        job.store.save_levels(levels.arrays())
    return levels


def calibration_images(job: Job, levels: LevelScorer) -> list[JobImage]:
    """The normal images that are scored without themselves.

    Those that the components were fitted to score too high, since the components keep what is theirs; they are left
    out where that costs a quarter of the images at most.
    """
    images = job.normals
    if any(level.components is not None for level in levels.levels) and len(images) >= 4 * FIT_IMAGES:
        fitted = {image.path for image in choose(images, FIT_IMAGES, job.seed)}
        images = [image for image in images if image.path not in fitted]
    return choose(images, CALIBRATION_IMAGES, job.seed)


def embed_bank(job: Job, levels: LevelScorer, images: list[JobImage], whole: set[str], rotations: int) -> None:
    """Put the features of the images that are not there yet into the store's bank."""
    job.stage("reading the images to compare with")
    known = set(job.store.bank.paths())
    pending: list[ImageFeatures] = []
    task = _BankTask(job, levels, rotations, whole, len(images))
    job.advance(len(known))
    try:
        # In order, since a coreset depends on it
        for features in job.map(task, [image for image in images if image.path not in known], ordered=True):
            pending.append(features)
            if len(pending) >= PART_SIZE:
                job.store.bank.append(pending)
                pending = []
    finally:
        job.store.bank.append(pending)


def row_limits(bank_size: int | None, levels: LevelScorer, segments: Sequence[Segments]) -> list[int]:
    """Rows that the bank of each level may have.

    Args:
        bank_size: the same for all; None for ``BANK_ROWS`` at the level that has most segments an image, and as
            many more at the others as they have fewer: the search then takes as long at each
        levels: the levels
        segments: of an image, by level
    """
    if bank_size is not None:
        return [bank_size] * len(segments)
    most = max(map(len, segments))
    widths = [level.components or _USUAL_WIDTH for level in levels.levels]
    return [
        # A bank from a file has no segments: it was bounded when it was saved
        min(BANK_ROWS * most // len(own) if len(own) else sys.maxsize, BANK_BYTES // (4 * width))
        for own, width in zip(segments, widths, strict=True)
    ]


class _BankTask(ImageTask[ImageFeatures]):
    """Takes what the bank holds of an image."""

    def __init__(self, job: Job, levels: LevelScorer, rotations: int, whole: set[str], images: int) -> None:
        super().__init__(job.reader, [360 * turn / rotations for turn in range(rotations)])
        self._levels, self._whole, self._images = levels, whole, images
        self._bank_size, self._seed = job.bank_size, job.seed

    def work(self, embedded: Embedded) -> ImageFeatures:
        path = embedded.image.path
        copies = [self._levels.transform(patches) for patches in embedded.copies]
        rows = [np.concatenate(level) for level in zip(*copies, strict=True)]
        segments = [level.segments for level in embedded.patches]
        if path not in self._whole:
            limits = row_limits(self._bank_size, self._levels, segments)
            shares = [max(CANDIDATES * limit // self._images, 1) for limit in limits]
            rows = [r[greedy_coreset(r, share, self._seed)] for r, share in zip(rows, shares, strict=True)]
        return ImageFeatures(path, segments, self._levels.to_stored(rows), path in self._whole)


def score_held_out(
    job: Job, levels: LevelScorer, images: Callable[[], Iterable[ImageFeatures]], score: Score, marked: Marked = ()
) -> dict[str, list[LevelScores]]:
    """Scores images of the bank without themselves, by path, and fits the scales of the levels to them.

    Args:
        job: the job
        levels: its levels
        images: gives the images of the bank that are to be scored
        score: scores them
        marked: what is normal besides and not in the bank
    """
    job.stage("scoring each of them without itself")
    parts = [job.store.held_out(level) for level in range(len(levels.levels))]
    done = set.intersection(*(part.ids() for part in parts))
    missing = set(job.store.bank.paths()) - done
    job.advance(len(done))
    with flushed(*parts):
        for image in images() if missing else ():
            if image.path in missing:
                scored = score(own_rows(image), image.segments, image.path)
                for part, each in zip(parts, scored, strict=True):
                    part.add(_record(image.path, each))
                job.advance(1)
    by_path: dict[str, list[LevelScores]] = {}
    for part in parts:
        for record in part:
            by_path.setdefault(record.id, []).append((record.segments, record.scores))
    if marked:
        for image, found in prefetch_map(
            lambda image: min_with_marks(by_path[image.path], own_rows(image), marked), images()
        ):
            by_path[image.path] = found
    levels.fit_normalizers(list(by_path.values()))
    job.store.save_levels(levels.arrays())
    return by_path


def own_rows(image: ImageFeatures) -> LevelFeatures:
    """The rows of an image's own segments, without those of turned copies."""
    return [rows[: len(s)].astype(np.float32) for rows, s in zip(image.rows, image.segments, strict=True)]


def min_with_marks(scored: list[LevelScores], rows: LevelFeatures, marked: Marked) -> list[LevelScores]:
    """Distances of an image's rows to a bank with marked rows added to it, from those to the bank alone."""
    if not marked:
        return scored
    with one_thread():
        return [
            (segments, np.minimum(scores, added.distances(own)))
            for (segments, scores), own, added in zip(scored, rows, marked, strict=True)
        ]


def score_images(
    job: Job, levels: LevelScorer, images: list[JobImage], score: Score, marked: Marked = (), keep: bool = False
) -> None:
    """Scores images.

    Args:
        job: the job
        levels: its levels, scaled
        images: the images
        score: scores them
        marked: what is normal besides and not in the bank
        keep: whether features and distances are kept, so that other marks cost no second pass of the model
    """
    if not images:
        return
    job.stage("scoring the images")
    left = job.feature_bytes - job.store.features.size() if keep else 0
    task = _ScoreTask(job.reader, levels, score, marked, _kept(job, images, left) if keep else set())
    pending: list[ImageFeatures] = []
    try:
        for record, features in job.map(task, images):
            left -= sum(each.nbytes for each in features.rows) if features else 0
            if features and left >= 0:
                pending.append(features)
            if len(pending) >= PART_SIZE:
                job.store.features.append(pending)
                pending = []
            job.store.scores.add(record)
    finally:
        job.store.features.append(pending)


def _kept(job: Job, images: list[JobImage], room: int) -> set[str]:
    """Ids of the images whose features are sent back: those of all others need not travel."""
    typical = next((sum(rows.nbytes for rows in image.rows) for image in job.store.bank if image.whole), 0)
    count = max(room, 0) * job.rotations // typical if typical else len(images)
    return {image.id for image in images[: count + 1]}


class _ScoreTask(ImageTask[tuple[ImageScores, ImageFeatures | None]]):
    """Scores an image."""

    def __init__(self, reader: Reader, levels: LevelScorer, score: Score, marked: Marked, kept: set[str]) -> None:
        super().__init__(reader)
        self._levels, self._score, self._marked, self._kept = levels, score, marked, kept

    def work(self, embedded: Embedded) -> tuple[ImageScores, ImageFeatures | None]:
        id, path = embedded.image.id, embedded.image.path
        rows = self._levels.transform(embedded.patches)
        segments = [level.segments for level in embedded.patches]
        scored = self._score(rows, segments, path)
        features = None
        if id in self._kept:
            features = ImageFeatures(id, segments, self._levels.to_stored(rows), True, [each for _, each in scored])
        return image_scores(id, self._levels.fuse(min_with_marks(scored, rows, self._marked)), self.clock), features


def score_from_cache(job: Job, levels: LevelScorer, images: list[JobImage], marked: Marked) -> list[JobImage]:
    """Scores the images whose features and distances are kept; returns the others."""
    wanted = {image.id for image in images}

    def scored(image: ImageFeatures) -> LevelScores:
        found = list(zip(image.segments, image.distances, strict=True))
        return levels.fuse(min_with_marks(found, own_rows(image), marked))

    kept = (image for image in job.store.features if image.path in wanted) if wanted else iter(())
    for image, fused in prefetch_map(scored, kept, job.workers):
        wanted.discard(image.path)
        job.store.scores.add(image_scores(image.path, fused, job.clock))
        job.advance(1)
    return [each for each in images if each.id in wanted]


def choose(images: list[JobImage], count: int, seed: int) -> list[JobImage]:
    """Images chosen at random, in their order."""
    if len(images) <= count:
        return images
    return [images[i] for i in np.sort(np.random.default_rng(seed).choice(len(images), count, replace=False))]


def level_rows(image: ImageFeatures) -> list[tuple[Segments, NDArray[np.floating]]]:
    """Segments and rows of each level of an image."""
    return list(zip(image.segments, image.rows, strict=True))


def _record(id: str, scored: LevelScores) -> ImageScores:
    segments, scores = scored
    return ImageScores(id, segments, scores, np.zeros(len(scores), bool), 0.0)


@contextmanager
def flushed(*targets: ScoreParts) -> Iterator[None]:
    """Write what is pending when the block is left, also by an error."""
    try:
        yield
    finally:
        for target in targets:
            target.flush()
