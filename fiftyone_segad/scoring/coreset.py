"""Coresets: a few feature rows that stand for many, and a few images that stand for many.

Both are chosen by greedy k-centre (Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985), as in
PatchCore (Roth et al., "Towards total recall in industrial anomaly detection", CVPR 2022, algorithm 1). To the coreset
``M_C`` of a memory bank ``M`` is added, again and again, the member that is farthest from its nearest chosen one::

    m* = argmax over m in M - M_C of (min over n in M_C of |m - n|)
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray

WORK = 200_000_000
"""Distances that may be computed for one choice: some seconds. For more the rows are divided into blocks."""

BLOCK = 2048
"""Rows that a block has at least. Smaller ones take less time, and cover the rows less closely."""

_ROWS_AT_ONCE = 65_536
"""Rows whose distances to those of an image are computed at once."""

_TINY = 1e-12
"""Smallest divisor, where all rows are equal."""


def greedy_coreset(rows: NDArray[np.floating], size: int, seed: int = 0) -> NDArray[np.int64]:
    """Choose rows so that no row is far from the nearest chosen one.

    Where that takes more than ``WORK`` distances it is done in random blocks, each of which gives its share: the time
    is then linear in the number of rows. Blocks that give a few rows each would choose the same outliers again and
    again, and no longer cover the rest.

    Args:
        rows: array ``[n, d]``
        size: how many to choose, at least 1
        seed: seed of the division into blocks

    Returns:
        indices ``[min(size, n)]`` in ascending order

    Examples:
        >>> rows = np.array([[0.0], [0.1], [5.0], [5.1], [9.0]])
        >>> greedy_coreset(rows, 3)  # one of each cluster
        array([0, 2, 4])
    """
    by_block = [block[_greedy(rows[block], share)] for block, share in coreset_blocks(len(rows), size, seed)]
    return np.sort(np.concatenate(by_block))


def coreset_blocks(count: int, size: int, seed: int = 0) -> list[tuple[NDArray[np.int64], int]]:
    """Divide rows into the blocks in which a coreset is chosen, each by itself.

    Args:
        count: rows there are
        size: rows to choose, at least 1
        seed: seed of the division

    Returns:
        indices of each block's rows, and how many of them are to be chosen
    """
    if size < 1:
        raise ValueError(f"A coreset needs at least 1 row, got {size}")
    divisions = max(min(ceil(count / BLOCK), ceil(count * size / WORK), size), 1)
    if size >= count or divisions == 1:
        return [(np.arange(count), min(size, count))]
    blocks = np.array_split(np.random.default_rng(seed).permutation(count), divisions)
    # By the blocks' sizes and rounded down, so that no block is asked for more rows than it has
    shares = np.diff(size * np.cumsum([len(block) for block in blocks]) // count, prepend=0)
    return list(zip(blocks, shares.tolist(), strict=True))


def _greedy(rows: NDArray[np.floating], size: int) -> NDArray[np.int64]:
    """Choose rows in the order of greedy k-centre, the first being the farthest from the mean."""
    if size >= len(rows):
        return np.arange(len(rows))
    bank = np.asarray(rows, np.float32)  # M: [n, d]
    squares = (bank**2).sum(axis=1, keepdims=True)  # |m|^2: [n, 1]
    # One product of rows [d + 2] gives |m|^2 - 2 m.n + |n|^2, the squared distance
    ones = np.ones_like(squares)
    left, right = np.hstack([bank, squares, ones]), np.hstack([-2 * bank, ones, squares])  # [n, d + 2]
    farthest = int(((bank - bank.mean(axis=0)) ** 2).sum(axis=1).argmax())  # m*
    nearest = np.full(len(bank), np.inf, np.float32)  # min over n in M_C of |m - n|^2: [n]
    coreset = np.empty(size, np.int64)  # M_C
    for i in range(size):
        coreset[i] = farthest
        np.minimum(nearest, left @ right[farthest], out=nearest)
        nearest[farthest] = -np.inf  # rounding must not let a row be chosen twice
        farthest = int(nearest.argmax())
    return coreset


def greedy_image_coreset(levels: Sequence[Sequence[NDArray[np.float32]]], count: int) -> tuple[list[int], list[float]]:
    """Choose images one by one, each time the one that is farthest from those chosen before.

    An image is a set of rows. Its distance from the chosen images is the mean distance of its rows from the nearest
    rows of these, averaged over the levels, each divided by its mean distance from the first image. Where greedy
    k-centre takes the farthest row, this mean keeps a single odd segment from deciding. The first image is the most
    usual one.

    Args:
        levels: for each level the rows of the images, float32 ``[n_i, d]`` with at least one row each
        count: images to choose, at most as many as there are

    Returns:
        their indices in the order chosen, and with each the greatest distance of an image that is then left, 1 being
        the mean of all from the first

    Examples:
        >>> images = [np.array([[position]], np.float32) for position in (0, 1, 2, 9)]
        >>> greedy_image_coreset([images], 2)[0]  # the nearest to the mean of 3, and the farthest from it
        [2, 3]
    """
    coverages = [_Coverage(images) for images in levels]
    squares = np.sum([coverage.squares_from_mean() for coverage in coverages], axis=0)  # [images]
    coreset = [int(squares.argmin())]
    units: list[float] = []
    radii: list[float] = []
    while True:
        by_level = [coverage.add(coreset[-1]) for coverage in coverages]  # [images] each
        units = units or [max(float(distances.mean()), _TINY) for distances in by_level]
        mean = np.mean([distances / unit for distances, unit in zip(by_level, units, strict=True)], axis=0)
        mean[coreset] = -1  # an image that was chosen is at no distance, whatever is rounded
        farthest = int(mean.argmax())
        radii.append(max(float(mean[farthest]), 0.0))
        if len(coreset) == count:
            return coreset, radii
        coreset.append(farthest)


class _Coverage:
    """Distances of the rows of one level from the nearest rows of the chosen images.

    Args:
        images: the rows of each image, ``[n_i, d]``
    """

    def __init__(self, images: Sequence[NDArray[np.float32]]) -> None:
        self._ends = np.cumsum([len(rows) for rows in images])
        self._rows = np.concatenate(list(images))  # [n, d]
        self._nearest = np.full(len(self._rows), np.inf, np.float32)  # [n]

    def squares_from_mean(self) -> NDArray[np.float64]:
        """Return how far each image ``[images]`` is from the mean of all rows, squared; 1 is the mean of all."""
        squares = ((self._rows - self._rows.mean(axis=0)) ** 2).sum(axis=1)
        return self._means(squares) / max(float(squares.mean()), _TINY)

    def add(self, image: int) -> NDArray[np.float64]:
        """Add an image to those chosen; return the distances ``[images]`` from all of these."""
        added = self._rows[self._ends[image - 1] if image else 0 : self._ends[image]]
        lengths = (added**2).sum(axis=1)
        for start in range(0, len(self._rows), _ROWS_AT_ONCE):
            rows = self._rows[start : start + _ROWS_AT_ONCE]
            # min over n of |n|^2 - 2 m.n, plus |m|^2
            squares = (lengths - 2 * rows @ added.T).min(axis=1) + (rows**2).sum(axis=1)
            nearest = self._nearest[start : start + _ROWS_AT_ONCE]
            np.minimum(nearest, np.sqrt(np.maximum(squares, 0)), out=nearest)
        return self._means(self._nearest)

    def _means(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Average values ``[n]`` over the rows of each image."""
        starts = np.concatenate([[0], self._ends[:-1]])
        return np.add.reduceat(values.astype(np.float64), starts) / (self._ends - starts)
