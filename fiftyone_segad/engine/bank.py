"""Build the bank of a run: its rows at each level, a coreset of them where there are too many, and their indexes.

The coreset is chosen in two stages, so that no machine holds the rows of all images. Groups of images are thinned out
to ``CANDIDATES`` times their share; among the rows that are left of all groups the coreset is chosen. The row that is
farthest from the coreset is at most as far as the radius of the first choice and that of the second one together
(Malkomes et al., "Fast distributed k-center clustering with outliers on massive data", NeurIPS 2015).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from ..scoring.coreset import coreset_blocks, greedy_coreset
from ..scoring.levels import LevelScorer
from ..scoring.neighbors import NeighborIndex
from ..segments.boxes import Segments
from ..storage.parts import FeatureParts
from ..utils.timing import StageTimer
from .executors import Executor, Task
from .job import Job

BANK_ROWS = 2**17
"""Rows of a bank at the finest level, if ``bank_size`` does not say otherwise. More are searched longer than the model
takes, and find no more (``benchmarks/accuracy.md``)."""

BANK_BYTES = 256 * 2**20
"""Size of a level's bank at most, if ``bank_size`` does not say otherwise."""

CANDIDATES = 4
"""Rows that are kept for the coreset to choose from, for each that it may choose."""

GROUP_ROWS = 65_536
"""Rows of a group that is thinned out by itself, at least."""

_USUAL_WIDTH = 576
"""Features of levels that are not reduced to components: those of fastdup."""

ImageRows = Sequence[NDArray[np.floating]]
"""Rows ``[n_i, d]`` of many images at one level, image after image; they may lie on disk."""

_Block = tuple[NDArray[np.floating], int]
"""Rows ``[n, d]``, and how many of them are to be chosen."""

_ChooseRows = Callable[[Iterable[_Block]], list[NDArray[np.int64]]]
"""Chooses rows of each block; returns their ascending indices in it, block after block."""


def row_limits(bank_size: int | None, levels: LevelScorer, segments: Sequence[Segments]) -> list[int]:
    """Return the number of rows that the bank of each level may have.

    Args:
        bank_size: the same for all; None for ``BANK_ROWS`` at the level that has most segments per image, and as
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
        min(BANK_ROWS * most // len(cut) if len(cut) else sys.maxsize, BANK_BYTES // (4 * width))
        for cut, width in zip(segments, widths, strict=True)
    ]


def bank_rows(job: Job, levels: LevelScorer, images: FeatureParts) -> Iterator[ImageRows]:
    """Yield the rows of each level's bank, image by image; a coreset of them if it has more than it may have.

    Images that are left out keep their places, and have no rows.
    """
    segments, left_out = next(iter(images)).segments, set(job.store.left_out())
    for level, limit in enumerate(row_limits(job.spec.bank_size, levels, segments)):
        rows = [image.features[level][: 0 if image.path in left_out else None] for image in images]
        if sum(map(len, rows)) > limit:
            rows = bank_coreset(rows, limit, job.spec.seed, job.executor, job.timer)
        yield rows


def build_indexes(job: Job, levels: LevelScorer, images: FeatureParts) -> list[NeighborIndex]:
    """Index the rows of each level's bank for the search."""
    job.stage("building the bank")
    with job.timer("index"):
        return [NeighborIndex(rows, job.spec.seed) for rows in bank_rows(job, levels, images)]


def bank_coreset(
    images: ImageRows, size: int, seed: int, executor: Executor, timer: StageTimer
) -> list[NDArray[np.floating]]:
    """Choose rows of many images so that no row is far from the nearest chosen one.

    >>> from fiftyone_segad.engine.executors import LocalExecutor
    >>> images = [np.array([[0.0], [0.1], [5.0]]), np.array([[9.0], [9.1]])]
    >>> [rows.ravel().tolist() for rows in bank_coreset(images, 3, 0, LocalExecutor(1), StageTimer())]
    [[0.0, 5.0], [9.1]]

    Args:
        images: rows of the images, more than ``size`` in all
        size: number of rows to choose, at least 1
        seed: seed of the divisions
        executor: has the groups and blocks worked on
        timer: counts the seconds

    Returns:
        the chosen rows of each image, in their order
    """
    task = _Choose(seed, timer)

    def choose(blocks: Iterable[_Block]) -> list[NDArray[np.int64]]:
        with closing(executor.map(task, blocks, ordered=True)) as results:
            return [indices for _, indices in results]

    images = _thin_out(images, CANDIDATES * size, choose)
    candidates = np.concatenate(images)  # [c, d]
    blocks = coreset_blocks(len(candidates), size, seed)  # each with indices of candidates
    in_coreset = np.zeros(len(candidates), bool)
    choices = choose((candidates[indices], share) for indices, share in blocks)
    for (indices, _), choice in zip(blocks, choices, strict=True):
        in_coreset[indices[choice]] = True
    return _take(images, in_coreset)


class _Choose(Task[_Block, NDArray[np.int64]]):
    """Chooses a coreset of each block of rows."""

    def __init__(self, seed: int, timer: StageTimer) -> None:
        self._seed, self.timer = seed, timer

    def __call__(self, item: _Block, content: None) -> NDArray[np.int64]:
        rows, size = item
        return greedy_coreset(rows, size, self._seed)


def _thin_out(images: ImageRows, limit: int, choose: _ChooseRows) -> ImageRows:
    """Thin each group of images out to its share of ``limit`` rows; all rows stay if there are no more than that."""
    counts = [len(rows) for rows in images]
    total = sum(counts)
    if total <= limit:
        return images
    groups = list(_groups(counts))
    ends = np.cumsum([sum(counts[group]) for group in groups])  # of each group, in rows
    shares = np.diff(limit * ends // total, prepend=0)  # rounded so that they add up to the limit
    starts = np.concatenate([[0], ends[:-1]])
    blocks = [block for block in zip(groups, starts, shares.tolist(), strict=True) if block[2]]
    choices = choose((np.concatenate(images[group]), share) for group, _, share in blocks)
    is_chosen = np.zeros(total, bool)
    for (_, start, _), choice in zip(blocks, choices, strict=True):
        is_chosen[start + choice] = True
    return _take(images, is_chosen)


def _groups(counts: Sequence[int]) -> Iterator[slice]:
    """Yield runs of consecutive images that have ``GROUP_ROWS`` rows together; the last one may have fewer."""
    first = rows = 0
    for image, count in enumerate(counts):
        if rows >= GROUP_ROWS:
            yield slice(first, image)
            first, rows = image, 0
        rows += count
    yield slice(first, len(counts))


def _take(images: ImageRows, is_chosen: NDArray[np.bool_]) -> list[NDArray[np.floating]]:
    """Take the chosen rows of each image, where ``is_chosen [n]`` runs over the rows of all images."""
    ends = np.cumsum([len(rows) for rows in images])
    return [rows[mask] for rows, mask in zip(images, np.split(is_chosen, ends[:-1]), strict=True)]
