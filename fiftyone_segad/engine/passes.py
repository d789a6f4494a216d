"""Pass over the images of a job: read them into a bank, and score them against it.

``reference`` and ``unlabeled`` share these passes: what a segment is compared with is theirs, and comes as a function
``ScoreLevels``.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from ..errors import SegadError
from ..scoring.coreset import greedy_coreset
from ..scoring.levels import ALIGNED_ONLY, FIT_IMAGES, LevelFeatures, LevelScorer, LevelScores
from ..scoring.neighbors import NeighborIndex, search_threads
from ..segments.boxes import Segments
from ..segments.turned import TurnedSegments
from ..storage.parts import PART_SIZE, ScoreParts
from ..storage.records import ImageFeatures, ImageScores
from ..utils.text import pluralize
from ..utils.threads import prefetch_map
from .bank import CANDIDATES, row_limits
from .job import Embedded, ImageTask, Job, JobImage, Reader
from .prediction import image_scores

CALIBRATION_IMAGES = 500
"""Normal images that are scored without themselves, for scales and thresholds, at most."""

ScoreLevels = Callable[[LevelFeatures, Sequence[Segments], str], list[LevelScores]]
"""Scores the segments of an image at each level from its rows, segments and path; rows that the bank has of the same
file are left out."""

MarkedIndexes = Sequence[NeighborIndex]
"""One index per level over the features that people marked as normal; empty if none."""


def fit_levels(job: Job, images: Sequence[JobImage]) -> LevelScorer:
    """Load the levels of a job, and fit their components to some of the images if that was not done before.

    Raises:
        SegadError: if no image can be used
    """
    levels = job.levels()
    if job.spec.align and not levels.aligned:
        job.store.save_levels(ALIGNED_ONLY)  # before any image is read
        levels = job.levels()
    if levels.needs_fit:
        job.stage("fitting the components of the features")
        sample = choose(images, FIT_IMAGES, job.spec.seed)
        patches = [embedded.patches for embedded in job.embed(sample, levels, report_skipped=False)]
        patches = patches or [embedded.patches for embedded in job.embed(images, levels)]
        if not patches:
            reason = job.report.first_reason()
            raise SegadError(f"None of the {len(images)} images to compare with could be used. {reason}")
        levels.fit(patches, job.spec.seed)
        job.store.save_levels(levels.arrays())
    return levels


def calibration_images(job: Job, levels: LevelScorer) -> Sequence[JobImage]:
    """Choose the normal images that are scored without themselves.

    Those that the components were fitted to score too high, since the components keep what is theirs; they are left
    out where that costs a quarter of the images at most.
    """
    images = job.spec.normals
    if any(level.components is not None for level in levels.levels) and len(images) >= 4 * FIT_IMAGES:
        fitted = {image.path for image in choose(images, FIT_IMAGES, job.spec.seed)}
        images = [image for image in images if image.path not in fitted]
    return choose(images, CALIBRATION_IMAGES, job.spec.seed)


def embed_bank(
    job: Job, levels: LevelScorer, images: Sequence[JobImage], complete: set[str], rotations: int = 1
) -> None:
    """Put the features of the images that are not there yet into the store's bank.

    Args:
        job: the job
        levels: its levels, fitted
        images: the images
        complete: paths of those of which every row is kept; of the others a coreset is
        rotations: copies of each image, turned in equal steps
    """
    job.stage("reading the images to compare with" + _poses(levels, rotations))
    done = set(job.store.bank.paths())
    pending: list[ImageFeatures] = []
    task = _BankTask(job, levels, rotations, complete, len(images))
    job.advance(len(done))
    try:
        # In order, since a coreset depends on it
        for features in job.map(task, [image for image in images if image.path not in done], ordered=True):
            pending.append(features)
            if len(pending) >= PART_SIZE:
                job.store.bank.append(pending)
                pending = []
    finally:
        job.store.bank.append(pending)


def _poses(levels: LevelScorer, rotations: int) -> str:
    """Tell how the images of a bank are read."""
    return (", each laid straight" if levels.aligned else "") + (
        f", each at {rotations} angles" if rotations > 1 else ""
    )


class _BankTask(ImageTask[ImageFeatures]):
    """Makes the features that the bank holds of an image."""

    def __init__(self, job: Job, levels: LevelScorer, rotations: int, complete: set[str], images: int) -> None:
        super().__init__(job.reader(levels), [360 * turn / rotations for turn in range(rotations)])
        self._levels, self._complete, self._images = levels, complete, images
        self._bank_size, self._seed = job.spec.bank_size, job.spec.seed

    def work(self, embedded: Embedded) -> ImageFeatures:
        path = embedded.image.path
        copies = [self._levels.transform(patches) for patches in embedded.copies]  # by angle, then by level
        rows = [np.concatenate(level) for level in zip(*copies, strict=True)]  # per level [angles * n, k]
        segments = [level.segments for level in embedded.patches]
        if path not in self._complete:
            limits = row_limits(self._bank_size, self._levels, segments)
            shares = [max(CANDIDATES * limit // self._images, 1) for limit in limits]
            rows = [r[greedy_coreset(r, share, self._seed)] for r, share in zip(rows, shares, strict=True)]
        return ImageFeatures(path, segments, self._levels.to_stored(rows), path in self._complete)


def score_held_out(
    job: Job,
    levels: LevelScorer,
    images: Callable[[], Iterable[ImageFeatures]],
    score_levels: ScoreLevels,
    marked: MarkedIndexes = (),
) -> dict[str, list[LevelScores]]:
    """Score images of the bank without their own parts, and fit the scales of the levels to the scores.

    Args:
        job: the job
        levels: its levels
        images: gives the images of the bank that are to be scored
        score_levels: scores them
        marked: index features that are normal besides and not in the bank

    Returns:
        scores by path, one entry per level
    """
    job.stage("scoring each of them without its own part")
    parts = [job.store.held_out(level) for level in range(len(levels.levels))]
    done = set.intersection(*(part.ids() for part in parts))
    missing = set(job.store.bank.paths()) - done
    job.advance(len(done))
    with flushing(*parts):
        for image in images() if missing else ():
            if image.path in missing:
                scored = score_levels(upright_rows(image), image.segments, image.path)
                for part, level_scores in zip(parts, scored, strict=True):
                    part.add(_level_record(image.path, level_scores))
                job.advance(1)
    by_path: dict[str, list[LevelScores]] = {}
    for part in parts:
        for record in part:
            by_path.setdefault(record.id, []).append((record.segments, record.scores))
    if marked:
        nearer = prefetch_map(lambda image: min_with_marks(by_path[image.path], upright_rows(image), marked), images())
        by_path |= {image.path: scored for image, scored in nearer}
    levels.fit_normalizers(list(by_path.values()))
    job.store.save_levels(levels.arrays())
    return by_path


def _level_record(path: str, scored: LevelScores) -> ImageScores:
    segments, scores = scored
    return ImageScores(path, segments, scores, np.zeros(len(scores), bool), 0.0)


def upright_rows(image: ImageFeatures) -> LevelFeatures:
    """Return the rows of an image's segments, without those of turned copies."""
    return [rows[: len(cut)].astype(np.float32) for rows, cut in zip(image.features, image.segments, strict=True)]


def min_with_marks(scored: list[LevelScores], rows: LevelFeatures, marked: MarkedIndexes) -> list[LevelScores]:
    """Turn the distances of an image's rows to the bank into those to the bank with marked rows added to it."""
    if not marked:
        return scored
    with search_threads(1):
        return [
            (segments, np.minimum(distances, index.distances(level_rows)))  # [n] each
            for (segments, distances), level_rows, index in zip(scored, rows, marked, strict=True)
        ]


def score_images(
    job: Job,
    levels: LevelScorer,
    images: Sequence[JobImage],
    score_levels: ScoreLevels,
    marked: MarkedIndexes = (),
    keep: bool = False,
) -> None:
    """Score images into the store.

    Args:
        job: the job
        levels: its levels, scaled
        images: the images
        score_levels: scores them
        marked: index features that are normal besides and not in the bank
        keep (False): whether features and distances are kept, so that other marks cost no second pass of the model
    """
    if not images:
        return
    job.stage("scoring the images")
    bytes_left = job.spec.feature_bytes - job.store.features.size() if keep else 0
    ids_to_keep = _images_with_room(job, images, bytes_left) if keep else set()
    task = ScoreTask(job.reader(levels), levels, score_levels, marked, ids_to_keep)
    pending: list[ImageFeatures] = []
    without_part: set[str] = set()
    try:
        for record, features in job.map(task, images):
            if levels.aligned and not isinstance(record.segments, TurnedSegments):
                without_part.add(record.id)
            bytes_left -= sum(rows.nbytes for rows in features.features) if features else 0
            if features and bytes_left >= 0:
                pending.append(features)
            if len(pending) >= PART_SIZE:
                job.store.features.append(pending)
                pending = []
            job.store.scores.add(record)
    finally:
        job.store.features.append(pending)
    if without_part:
        first = next(image.path for image in images if image.id in without_part)
        job.report.warnings.append(
            f"On {pluralize(len(without_part), 'image')} no part on a plain ground was found; compared as they are, "
            f"they look odd. Look whether the part is missing or cut; the first is '{first}'"
        )


def _images_with_room(job: Job, images: Sequence[JobImage], bytes_left: int) -> set[str]:
    """Return the ids of the images whose features are sent back: those of all others need not travel."""
    complete = next((image for image in job.store.bank if image.complete), None)
    count = len(images)
    if complete is not None:
        upright = (rows[: len(cut)] for rows, cut in zip(complete.features, complete.segments, strict=True))
        count = max(bytes_left, 0) // sum(rows.nbytes for rows in upright)
    return {image.id for image in images[: count + 1]}


class ScoreTask(ImageTask[tuple[ImageScores, ImageFeatures | None]]):
    """Scores an image; also gives the features of those that are to be kept.

    Args:
        reader: turns images into features
        levels: their levels, scaled
        score_levels: scores the levels
        marked: index features that are normal besides and not in the bank
        ids_to_keep: ids of the images whose features are given
    """

    def __init__(
        self,
        reader: Reader,
        levels: LevelScorer,
        score_levels: ScoreLevels,
        marked: MarkedIndexes = (),
        ids_to_keep: Container[str] = (),
    ) -> None:
        super().__init__(reader)
        self._levels, self._score_levels = levels, score_levels
        self._marked, self._ids_to_keep = marked, ids_to_keep

    def work(self, embedded: Embedded) -> tuple[ImageScores, ImageFeatures | None]:
        id, path = embedded.image.id, embedded.image.path
        rows = self._levels.transform(embedded.patches)  # per level [n, k]
        segments = [level.segments for level in embedded.patches]
        scored = self._score_levels(rows, segments, path)  # per level [n]
        features = None
        if id in self._ids_to_keep:
            distances = [level_distances for _, level_distances in scored]
            features = ImageFeatures(id, segments, self._levels.to_stored(rows), True, distances)
        combined = self._levels.score(min_with_marks(scored, rows, self._marked), rows)
        return image_scores(id, combined, self.timer), features


def search_again(job: Job, images: Sequence[JobImage], score_levels: ScoreLevels) -> None:
    """Compare the features that an earlier store has of images with the bank again, and keep them here."""
    earlier = job.context.earlier
    if earlier is None:
        return
    known = set(job.store.features.paths())
    paths = {image.id: image.path for image in images if image.id not in known}
    pending: list[ImageFeatures] = []
    for image in earlier.features:
        if image.path in paths:
            scored = score_levels(upright_rows(image), image.segments, paths[image.path])
            pending.append(replace(image, distances=[distances for _, distances in scored]))
        if len(pending) >= PART_SIZE:
            job.store.features.append(pending)
            pending = []
    job.store.features.append(pending)


def score_from_cache(
    job: Job, levels: LevelScorer, images: Sequence[JobImage], marked: MarkedIndexes
) -> list[JobImage]:
    """Score the images whose features and distances are in the store; return the others."""
    missing = {image.id for image in images}

    def score(image: ImageFeatures) -> LevelScores:
        scored, rows = list(zip(image.segments, image.distances, strict=True)), upright_rows(image)
        return levels.score(min_with_marks(scored, rows, marked), rows)

    cached = (image for image in job.store.features if image.path in missing) if missing else iter(())
    for image, combined in prefetch_map(score, cached, job.context.workers):
        missing.discard(image.path)
        job.store.scores.add(image_scores(image.path, combined, job.timer))
        job.advance(1)
    return [image for image in images if image.id in missing]


def choose(images: Sequence[JobImage], count: int, seed: int) -> Sequence[JobImage]:
    """Choose images at random, in their order; all if there are no more.

    >>> [image.id for image in choose([JobImage(id, f"{id}.png") for id in "abcde"], 3, seed=0)]
    ['c', 'd', 'e']
    """
    if len(images) <= count:
        return images
    return [images[i] for i in np.sort(np.random.default_rng(seed).choice(len(images), count, replace=False))]


@contextmanager
def flushing(*targets: ScoreParts) -> Iterator[None]:
    """Write what is pending when the block is left, also by an error."""
    try:
        yield
    finally:
        for target in targets:
            target.flush()
