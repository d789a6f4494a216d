"""The coreset of a bank, in two levels, so that no machine holds the rows of all images. Knows nothing of FiftyOne.

Groups of images are thinned to ``CANDIDATES`` times their share; from what is left of all groups the coreset is
chosen. What is farthest from the coreset is at most as far as the radius of the first choice and that of the second
one together (Malkomes et al., "Fast distributed k-center clustering with outliers on massive data", NeurIPS 2015).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from ..scoring.coreset import coreset_blocks, greedy_coreset
from ..utils.timing import StageTimer
from .executors import Executor, Task

CANDIDATES = 4
"""Rows that are kept for the coreset to choose from, for each that it may choose."""

GROUP_ROWS = 65_536
"""Rows of a group that is thinned by itself, at least."""

_Block = tuple[int, NDArray[np.floating], int]
"""Number, rows ``[n, d]``, and how many are to be chosen."""


def bank_coreset(
    images: Sequence[NDArray[np.floating]], size: int, seed: int, executor: Executor, clock: StageTimer
) -> list[NDArray[np.floating]]:
    """Chooses rows of many images so that no row is far from the nearest chosen one.

    Args:
        images: float arrays ``[n_i, d]``, which may lie on disk; with more than ``size`` rows in all
        size: rows to choose, at least 1
        seed: seed of the divisions
        executor: has the groups and blocks worked on
        clock: counts the seconds

    Returns:
        the chosen rows of each image, in their order
    """
    task = _Choose(seed, clock)
    counts = [len(rows) for rows in images]
    total, room = sum(counts), CANDIDATES * size
    kept = [np.arange(count) for count in counts]
    if total > room:
        groups = _groups(counts)
        ends = np.cumsum([sum(counts[image] for image in group) for group in groups])
        shares = np.diff(room * ends // total, prepend=0).tolist()
        blocks = ((i, _joined(images, group), shares[i]) for i, group in enumerate(groups) if shares[i])
        chosen = _by_number(executor, task, blocks)
        for i, group in enumerate(groups):
            found = _by_image(chosen.get(i, np.zeros(0, np.int64)), [counts[image] for image in group])
            for image, own in zip(group, found, strict=True):
                kept[image] = own
    candidates = np.concatenate([rows[own] for rows, own in zip(images, kept, strict=True)])
    parts = coreset_blocks(len(candidates), size, seed)
    chosen = _by_number(executor, task, ((i, candidates[rows], share) for i, (rows, share) in enumerate(parts)))
    final = np.sort(np.concatenate([rows[chosen[i]] for i, (rows, _) in enumerate(parts)]))
    finals = _by_image(final, [len(each) for each in kept])
    starts = np.cumsum([0, *(len(each) for each in kept[:-1])])
    return [candidates[start + each] for start, each in zip(starts, finals, strict=True)]


class _Choose(Task[_Block, NDArray[np.int64]]):
    def __init__(self, seed: int, clock: StageTimer) -> None:
        self._seed, self.clock = seed, clock

    def __call__(self, item: _Block, content: None) -> NDArray[np.int64]:
        _, rows, size = item
        return greedy_coreset(rows, size, self._seed)


def _by_number(executor: Executor, task: _Choose, blocks: Iterator[_Block]) -> dict[int, NDArray[np.int64]]:
    with closing(executor.map(task, blocks)) as results:
        return {block[0]: chosen for block, chosen in results}


def _groups(counts: Sequence[int]) -> list[list[int]]:
    """Consecutive images that have enough rows together; the last group may have fewer."""
    groups: list[list[int]] = [[]]
    held = 0
    for image, count in enumerate(counts):
        if held >= GROUP_ROWS:
            groups.append([])
            held = 0
        groups[-1].append(image)
        held += count
    return groups


def _joined(images: Sequence[NDArray[np.floating]], group: Sequence[int]) -> NDArray[np.floating]:
    return np.concatenate([images[image] for image in group])


def _by_image(chosen: NDArray[np.int64], counts: Sequence[int]) -> list[NDArray[np.int64]]:
    """Ascending indices of rows, image after image, as indices within each image."""
    ends = np.cumsum(counts)
    inside = np.split(chosen, np.searchsorted(chosen, ends[:-1]))
    return [own - start for own, start in zip(inside, ends - np.asarray(counts), strict=True)]
