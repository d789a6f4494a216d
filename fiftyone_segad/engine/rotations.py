"""Find how to compare parts that lie at any angle: laid straight, or with copies of normal images at several angles.

Few normal images hold none that lies like a given one. Where all parts are laid straight, each lies like all others;
where their angle cannot be told, as of round ones, turned copies of normal images hold one that does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..embedders.aligned import align
from ..embedders.factory import get_embedder
from ..errors import ImageError
from ..scoring.levels import ALIGNED_ONLY, FIT_IMAGES, LevelFeatures, LevelScorer
from ..scoring.neighbors import NeighborIndex
from ..utils.images import read_image
from .bank import row_limits
from .job import Job, JobImage
from .passes import choose, fit_levels

_ENOUGH_COPIES = 400
"""Copies of all normal images together above which more of them are not worth the time."""

_MOST_ROTATIONS = 8

_CROWD = 4
"""Rows for each that the bank may hold, at the level with most room, above which copies harm more than they help."""

_FEWEST_IMAGES = 4

_PART_SHARE = 0.8
"""Share that a part must have of all that differs from the ground, to be laid straight unasked: what is beside it is no
longer inspected, and may be of the product."""

_JUDGE = "efficientnet"
"""Embedder that tells whether parts are laid straight before slower ones see them."""

_QUARTERS = (90, 180, 270)
"""Degrees by which images are turned to see whether copies help."""

_HIGHEST_SHARE = 0.02
"""Share of an image's segments whose distances count: those that a threshold would look at."""

HELPFUL = 0.92
"""Ratio of these distances with turned copies to those without, from which down copies help. Among four times as many
rows some are a little nearer anyhow: ``benchmarks/rotations.py`` tells by how much."""


def find_poses(job: Job) -> tuple[LevelScorer, int]:
    """Fit the levels of the parts as they lie or, if that helps, laid straight; also find the angles of each.

    Returns:
        the levels, and at how many angles each normal image is to be in the bank
    """
    levels = fit_levels(job, job.spec.normals)
    rotations = find_rotations(job, levels)
    if not needs_straightening(job, levels, rotations):
        return levels, rotations
    return fit_straight_levels(job, job.spec.normals), 1


def fit_straight_levels(job: Job, images: Sequence[JobImage]) -> LevelScorer:
    """Fit the levels of a job anew, to the parts of images laid straight."""
    job.store.save_levels(ALIGNED_ONLY)
    return fit_levels(job, images)


def needs_straightening(job: Job, levels: LevelScorer, rotations: int) -> bool:
    """Return whether parts are to be laid straight that are not yet, as nothing else is asked for.

    They are if turned copies of normal images help, but no longer do where the parts of all of a few normal images are
    laid straight. The default network tells, where the job has an embedder of another kind.

    Args:
        job: the job
        levels: its levels, fitted
        rotations: what ``find_rotations`` gives for them
    """
    spec = job.spec
    if levels.aligned or spec.segments is not None or spec.align is not None or spec.rotations is not None:
        return False
    if job.store.bank.paths():  # it was decided before the job was interrupted
        return False
    if len(spec.normals) < _FEWEST_IMAGES or (_is_network(levels) and rotations == 1) or not _show_parts(job):
        return False
    if _is_network(levels):
        return _is_straightened(job, levels)
    with get_embedder(_JUDGE) as network:
        judge = replace(job, context=replace(job.context, embedder=network))
        upright = _fitted(judge, LevelScorer(network.levels))
        return find_rotations(judge, upright) > 1 and _is_straightened(judge, upright)


def _show_parts(job: Job) -> bool:
    """Return whether some normal images all show a part on a plain ground, and hardly anything else."""
    job.stage("looking for parts on a plain ground")
    shares = []
    for image in choose(job.spec.normals, FIT_IMAGES, job.spec.seed):
        try:
            shares.append(align(read_image(image.path, job.spec.scale)).share)
        except ImageError:  # it is reported when the bank is read
            continue
        except ValueError:
            return False
    return len(shares) >= _FEWEST_IMAGES and min(shares) >= _PART_SHARE


def _is_straightened(job: Job, upright: LevelScorer) -> bool:
    """Return whether some normal images are so alike where their parts are laid straight that no copies help."""
    job.stage("trying whether parts can be laid straight")
    return nearness_of_copies(job, _fitted(job, LevelScorer(upright.levels, ALIGNED_ONLY))) > HELPFUL


def _fitted(job: Job, levels: LevelScorer) -> LevelScorer:
    """Fit levels to some normal images, for a trial."""
    images = choose(job.spec.normals, FIT_IMAGES, job.spec.seed)
    patches = [embedded.patches for embedded in job.embed(images, levels, report_skipped=False)]
    if patches and levels.needs_fit:
        levels.fit(patches, job.spec.seed)
    return levels


def find_rotations(job: Job, levels: LevelScorer) -> int:
    """Return at how many angles each normal image is to be in the bank: what was asked for, or what helps.

    Some normal images are compared with others, and with these turned by quarters. If that brings them nearer, each is
    taken at so many angles that all copies together are 400 or a few more, at most 8; at fewer where the bank has no
    room for them, as with fine patches alone.

    Args:
        job: the job
        levels: its levels, fitted
    """
    spec = job.spec
    if spec.rotations is not None:
        return spec.rotations
    complete = next((image for image in job.store.bank if image.complete), None)
    if complete is not None:  # it was found before the job was interrupted
        return complete.rotations
    rotations = min(-(-_ENOUGH_COPIES // len(spec.normals)), _MOST_ROTATIONS)
    if rotations == 1 or spec.segments is not None or not _is_network(levels) or len(spec.normals) < _FEWEST_IMAGES:
        return 1
    job.stage("trying whether turned copies of normal images help")
    rotations = min(rotations, _copies_with_room(job, levels))
    return rotations if rotations > 1 and nearness_of_copies(job, levels) <= HELPFUL else 1


def _is_network(levels: LevelScorer) -> bool:
    """Return whether the levels are those of a network, which turned copies cost little."""
    return all(level.components is not None for level in levels.levels)


def _copies_with_room(job: Job, levels: LevelScorer) -> int:
    first = next(job.embed(job.spec.normals, levels, report_skipped=False), None)
    if first is None:
        return 1
    segments = [level.segments for level in first.patches]
    limits = row_limits(job.spec.bank_size, levels, segments)
    images_held = max(limit / len(cut) for limit, cut in zip(limits, segments, strict=True))
    return math.ceil(_CROWD * images_held / len(job.spec.normals))


def nearness_of_copies(job: Job, levels: LevelScorer) -> float:
    """Compare half of a few normal images with the others: the ratio of distances with turned copies to those without.

    The ratio is the median over images, in the mean of the levels.
    """
    images = choose(job.spec.normals, FIT_IMAGES, job.spec.seed)
    queries, others = images[::2], images[1::2]

    def rows(angle: float) -> list[LevelFeatures]:
        return [levels.transform(read.patches) for read in job.embed(others, levels, report_skipped=False, angle=angle)]

    upright, turned = rows(0), [copy for angle in _QUARTERS for copy in rows(angle)]
    if not upright:
        return 1
    ratios = []
    indexes = [
        [NeighborIndex([image[level] for image in copies]) for copies in (upright, turned)]
        for level in range(len(levels.levels))
    ]
    for embedded in job.embed(queries, levels, report_skipped=False):
        features = levels.transform(embedded.patches)  # per level [n, k]
        ratios.append([_ratio(values, *pair) for values, pair in zip(features, indexes, strict=True)])
    return float(np.median(ratios, axis=0).mean()) if ratios else 1


def _ratio(values: NDArray[np.float32], upright: NeighborIndex, turned: NeighborIndex) -> float:
    distances = upright.distances(values)  # [n]
    with_copies = np.minimum(distances, turned.distances(values))
    highest = max(int(_HIGHEST_SHARE * len(values)), 1)
    before, after = (np.sort(found)[-highest:].mean() for found in (distances, with_copies))
    return float(after / before) if before > 0 else 1
