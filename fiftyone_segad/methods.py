"""The methods: how the images of a job are compared, and with what. Knows nothing of FiftyOne."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import ceil, sqrt

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import SegadError
from .job import Embedded, Job, JobImage
from .levels import FIT_IMAGES, Levels, Rows
from .scoring.bank import Bank
from .scoring.coreset import greedy_coreset
from .scoring.fusion import LevelScores
from .scoring.unlabeled import FEWEST, POOL, mutual_scores
from .scoring.within_image import find_outliers
from .scoring.within_image import segment_scores as within_image_scores
from .segments import Segments, patch_grid
from .store import PART_SIZE, ImageFeatures, ImageScores, ScoreParts

CALIBRATION_IMAGES = 500
"""Normal images that are scored without themselves, for scales and thresholds, at most."""

BANK_BYTES = 256 * 2**20
"""Size of a level's bank at most, if its rows are not limited otherwise."""

_USUAL_WIDTH = 576
"""Features of levels that are not reduced to components: those of fastdup."""

_CANDIDATES = 2
"""Rows that are kept for a coreset to choose from, for each that it may choose."""

_THINNED = 1024
"""Segments of a level that take part in mutual scoring at most: its cost grows with their square."""

UNLIKE = 0.7
"""Mean distance to counterparts in other images, relative to that of any two segments, above which mutual scoring is
doubtful."""

_TURNED = 8
"""Images that are turned to see whether rotations would help."""


def steps(job: Job) -> int:
    """What the numbers that a job's ``advance`` is called with add up to, if every image can be used."""
    if job.method == "within_image":
        return len(job.normals) + len(job.images)
    if job.method == "unlabeled":
        return 2 * min(len({image.path for image in job.images}), POOL) + len(job.images)
    held_out = len(_calibrating(job, job.levels())) if len(job.normals) > 1 else 0
    return len(job.normals) + held_out + len(job.images)


def run_job(job: Job) -> None:
    """Does all of a job that is left to do.

    Raises:
        SegadError: if none of the normal images, or none of the images, can be used
    """
    methods: dict[str, Callable[[Job], None]] = {
        "reference": _score_by_reference,
        "unlabeled": _score_unlabeled,
        "within_image": _score_within,
    }
    methods[job.method](job)
    if not job.store.scores.ids() & {image.id for image in job.images}:
        raise SegadError(f"None of the {len(job.images)} images could be scored. {job.first_reason()}")


def _score_within(job: Job) -> None:
    for images, target in ((job.normals, job.store.normals), (job.images, job.store.scores)):
        done = target.ids()
        missing = [image for image in images if image.id not in done]
        job.advance(len(images) - len(missing))
        with _flushed(target):
            for embedded in job.embed(missing):
                (level,) = embedded.patches
                with job.clock("search"):
                    scores = within_image_scores(level.features)
                    outliers = np.isin(np.arange(len(scores)), find_outliers(level.features).indices)
                job.add(target, embedded.image.id, level.segments, scores, outliers)


def _score_by_reference(job: Job) -> None:
    levels = _fitted(job, job.normals)
    calibrating = _calibrating(job, levels)
    _embed_bank(job, levels, job.normals, {image.path for image in calibrating}, job.rotations)
    paths = job.store.bank.paths()
    if not paths:
        raise SegadError(f"None of the {len(job.normals)} normal images could be used. {job.first_reason()}")
    owners = {path: i for i, path in enumerate(paths)}
    banks = _build_banks(job, levels)

    def score(rows: Rows, segments: Sequence[Segments], path: str) -> list[LevelScores]:
        excluded = owners.get(path)
        with job.clock("search"):
            found = [bank.distances(values, excluded) for bank, values in zip(banks, rows, strict=True)]
        return list(zip(segments, found, strict=True))

    if len(paths) > 1:
        held_out = _score_held_out(job, levels, (image for image in job.store.bank if image.whole), score)
        known = job.store.normals.ids()
        with _flushed(job.store.normals):
            for path, scored in held_out.items():
                if path not in known:
                    job.add(job.store.normals, path, *levels.fuse(scored))
        _advise_rotations(job, levels, calibrating, score)
    elif levels.scaled:
        _scale_by_halves(job, levels)
    done = job.store.scores.ids()
    missing = [image for image in job.images if image.id not in done]
    job.advance(len(job.images) - len(missing))
    known = job.store.normals.ids()
    with _flushed(job.store.scores):
        job.copy([image for image in missing if image.path in known], job.store.normals)
        job.advance(sum(image.path in known for image in missing))
        missing = [image for image in missing if image.path not in known]
        if len(paths) == 1:
            for image in missing:
                if image.path in owners:
                    job.skip(image, "It is the only normal image and cannot be compared with itself; add normals")
            missing = [image for image in missing if image.path not in owners]
        _score_images(job, levels, missing, score)


def _score_unlabeled(job: Job) -> None:
    images = list({image.path: image for image in job.images}.values())
    chosen = _choose(images, POOL, job.seed)
    levels = _fitted(job, chosen)
    _embed_bank(job, levels, chosen, {image.path for image in chosen}, rotations=1)
    pool = [(image.path, [_thin(*level) for level in _level_rows(image)]) for image in job.store.bank]
    if len(pool) < FEWEST + 1:
        raise SegadError(
            f"method='unlabeled' compares images with each other and needs at least {FEWEST + 1} that can be used, "
            f"got {len(pool)}. {job.first_reason()}"
        )
    if len(images) > len(chosen):
        job.warnings.append(
            f"Each image was compared with the same {len(chosen)} of the {len(images)} images, chosen at random"
        )
    owners = {path: i for i, (path, _) in enumerate(pool)}
    by_level = [[rows[level][1] for _, rows in pool] for level in range(len(levels.levels))]

    def score(rows: Rows, segments: Sequence[Segments], path: str) -> list[LevelScores]:
        thinned = [_thin(*level) for level in zip(segments, rows, strict=True)]
        with job.clock("search"):
            return [
                (own, mutual_scores(values, others, owners.get(path)))
                for (own, values), others in zip(thinned, by_level, strict=True)
            ]

    held_out = _score_held_out(job, levels, job.store.bank, score)
    _warn_if_unlike(job, by_level, held_out)
    done = job.store.scores.ids() | {entry["id"] for entry in job.skipped}
    missing = [image for image in job.images if image.id not in done]
    with _flushed(job.store.scores):
        for image in missing:
            if image.path in held_out:
                job.add(job.store.scores, image.id, *levels.fuse(held_out[image.path]))
        rest = [image for image in missing if image.path not in held_out]
        job.advance(len(job.images) - len(rest))
        _score_images(job, levels, rest, score)


Score = Callable[[Rows, Sequence[Segments], str], list[LevelScores]]
"""Scores each level of an image; what the bank has from the same file is left out."""


def _fitted(job: Job, images: list[JobImage]) -> Levels:
    """The levels, their components fitted to some of the images."""
    levels = job.levels()
    if levels.needs_fit:
        sample = _choose(images, FIT_IMAGES, job.seed)
        job.stage("fitting the components of the features")
        skipped = len(job.skipped)
        fitted = [embedded.patches for embedded in job.embed(sample, advance=lambda count: None)]
        del job.skipped[skipped:]  # they are met again, and noted then
        if not fitted:
            fitted = [embedded.patches for embedded in job.embed(images, advance=lambda count: None)]
        if not fitted:
            raise SegadError(f"None of the {len(images)} images to compare with could be used. {job.first_reason()}")
        levels.fit(fitted, job.seed)
        job.store.save_levels(levels.arrays())
    return levels


def _calibrating(job: Job, levels: Levels) -> list[JobImage]:
    """The normal images that are scored without themselves.

    Those that the components were fitted to score too high, since the components keep what is theirs; they are left
    out where that costs a quarter of the images at most.
    """
    images = job.normals
    if any(level.components is not None for level in levels.levels) and len(images) >= 4 * FIT_IMAGES:
        fitted = {image.path for image in _choose(images, FIT_IMAGES, job.seed)}
        images = [image for image in images if image.path not in fitted]
    return _choose(images, CALIBRATION_IMAGES, job.seed)


def _embed_bank(job: Job, levels: Levels, images: list[JobImage], whole: set[str], rotations: int) -> None:
    """Puts the features of the images that are not there yet into the store's bank."""
    job.stage("reading the images to compare with")
    known = set(job.store.bank.paths())
    limits = _row_limits(job, levels)
    pending: list[ImageFeatures] = []
    job.advance(len(known))
    try:
        for embedded in job.embed([image for image in images if image.path not in known]):
            rows = _rotated_rows(job, levels, embedded, rotations)
            segments = [level.segments for level in embedded.patches]
            if embedded.image.path not in whole:
                shares = [max(_CANDIDATES * limit // len(images), 1) for limit in limits]
                rows = [r[greedy_coreset(r, share, job.seed)] for r, share in zip(rows, shares, strict=True)]
            stored = [
                values.astype(np.float16) if level.components is not None else values
                for values, level in zip(rows, levels.levels, strict=True)
            ]
            pending.append(ImageFeatures(embedded.image.path, segments, stored, embedded.image.path in whole))
            if len(pending) >= PART_SIZE:
                job.store.bank.append(pending)
                pending = []
    finally:
        job.store.bank.append(pending)


def _row_limits(job: Job, levels: Levels) -> list[int]:
    widths = [level.components or _USUAL_WIDTH for level in levels.levels]
    return [job.bank_size or BANK_BYTES // (4 * width) for width in widths]


def _rotated_rows(job: Job, levels: Levels, embedded: Embedded, rotations: int) -> Rows:
    copies = [levels.rows(embedded.patches)]
    for turn in range(1, rotations):
        copies.append(levels.rows(job.patches(embedded.image, _turned(embedded.pixels, 360 * turn / rotations))))
    return [np.concatenate(level) for level in zip(*copies, strict=True)]


def _turned(pixels: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """The image turned about its centre, its size kept; what comes into sight at the corners is mirrored."""
    height, width = pixels.shape[:2]
    if degrees == 180:
        return np.ascontiguousarray(pixels[::-1, ::-1])
    if width == height and degrees in (90, 270):
        return np.ascontiguousarray(np.rot90(pixels, round(degrees / 90)))
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    return np.asarray(cv2.warpAffine(pixels, turn, (width, height), borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def _build_banks(job: Job, levels: Levels) -> list[Bank]:
    """One bank a level, reduced to a coreset if it has more rows than it may have."""
    job.stage("building the bank")
    banks = []
    with job.clock("index"):
        for level, limit in enumerate(_row_limits(job, levels)):
            rows = [image.rows[level] for image in job.store.bank]
            total = sum(map(len, rows))
            if total > limit:
                chosen = greedy_coreset(np.concatenate(rows), limit, job.seed)
                ends = np.cumsum([len(each) for each in rows])
                inside = np.split(chosen, np.searchsorted(chosen, ends[:-1]))
                starts = ends - [len(each) for each in rows]
                rows = [each[own - start] for each, own, start in zip(rows, inside, starts, strict=True)]
            banks.append(Bank(rows, job.seed))
    return banks


def _score_held_out(
    job: Job, levels: Levels, images: Iterable[ImageFeatures], score: Score
) -> dict[str, list[LevelScores]]:
    """Scores images of the bank without themselves, by path, and fits the scales of the levels to them."""
    job.stage("scoring each of them without itself")
    parts = [job.store.held_out(level) for level in range(len(levels.levels))]
    done = set.intersection(*(part.ids() for part in parts))
    with _flushed(*parts):
        for image in images:
            if image.path not in done:
                own = [rows[: len(s)].astype(np.float32) for rows, s in zip(image.rows, image.segments, strict=True)]
                for part, (segments, scores) in zip(parts, score(own, image.segments, image.path), strict=True):
                    part.add(ImageScores(image.path, segments, scores, np.zeros(len(scores), bool), 0.0))
            job.advance(1)
    by_path: dict[str, list[LevelScores]] = {}
    for part in parts:
        for record in part:
            by_path.setdefault(record.id, []).append((record.segments, record.scores))
    levels.fit_scales(list(by_path.values()))
    job.store.save_levels(levels.arrays())
    return by_path


def _scale_by_halves(job: Job, levels: Levels) -> None:
    """Scales of the levels from a single image: its left half compared with its right one, and the reverse."""
    (image,) = job.store.bank
    scored: list[LevelScores] = []
    for rows, segments in zip(image.rows, image.segments, strict=True):
        own = rows[: len(segments)].astype(np.float32)
        left = segments.boxes[:, [0, 2]].sum(axis=1) < segments.size[0]
        scores = np.empty(len(segments), np.float32)
        for half in (left, ~left):
            scores[half] = Bank([own[~half]], job.seed).distances(own[half])
        scored.append((segments, scores))
    levels.fit_scales([scored])
    job.store.save_levels(levels.arrays())


def _score_images(job: Job, levels: Levels, images: list[JobImage], score: Score) -> None:
    job.stage("scoring the images")
    for embedded in job.embed(images):
        rows = levels.rows(embedded.patches)
        scored = score(rows, [level.segments for level in embedded.patches], embedded.image.path)
        job.add(job.store.scores, embedded.image.id, *levels.fuse(scored))


def _advise_rotations(job: Job, levels: Levels, images: list[JobImage], score: Score) -> None:
    """Warns if turned normal images look normal, as they do where parts lie at any angle."""
    if job.rotations > 1 or not job.chosen:
        return
    upright = {record.id: record.image_score for record in job.store.normals}
    turned = []
    for embedded in job.embed(_choose(images, _TURNED, job.seed + 1), advance=lambda count: None):
        patches = job.patches(embedded.image, _turned(embedded.pixels, 90))
        segments = [level.segments for level in patches]
        _, scores = levels.fuse(score(levels.rows(patches), segments, embedded.image.path))
        turned.append(float(scores.max()))
    if turned and np.median(turned) <= np.quantile(list(upright.values()), 0.75):
        job.warnings.append(
            "Normal images that were turned by 90 degrees look as normal as upright ones: if the parts lie at any "
            "angle, rotations=8 may find more (each normal image is then embedded 8 times)"
        )


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


def _choose(images: list[JobImage], count: int, seed: int) -> list[JobImage]:
    """Images chosen at random, in their order."""
    if len(images) <= count:
        return images
    return [images[i] for i in np.sort(np.random.default_rng(seed).choice(len(images), count, replace=False))]


def _level_rows(image: ImageFeatures) -> list[tuple[Segments, NDArray[np.floating]]]:
    return list(zip(image.segments, image.rows, strict=True))


def _thin(segments: Segments, rows: NDArray[np.floating]) -> tuple[Segments, NDArray[np.float32]]:
    """Means of 2 x 2, 3 x 3, ... segments of a level, so that at most :data:`_THINNED` are left."""
    values = np.asarray(rows, np.float32)
    if segments.shape is None or len(segments) <= _THINNED:
        return segments, values
    step = ceil(sqrt(len(segments) / _THINNED))
    cells = values.reshape(*segments.shape, -1)
    cells = np.pad(cells, [(0, -side % step) for side in segments.shape] + [(0, 0)], mode="edge")
    down, across = cells.shape[0] // step, cells.shape[1] // step
    means = cells.reshape(down, step, across, step, -1).mean(axis=(1, 3))
    return patch_grid(segments.size, down, across), means.reshape(down * across, -1)


@contextmanager
def _flushed(*targets: ScoreParts) -> Iterator[None]:
    """Writes what is pending when the block is left, also by an error."""
    try:
        yield
    finally:
        for target in targets:
            target.flush()
