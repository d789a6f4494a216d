"""Coreset: the few rows that stand for many."""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray

WORK = 200_000_000
"""Distances that may be computed at once: some seconds. For more the rows are divided into blocks."""

BLOCK = 2048
"""Rows that a block has at least. With smaller ones less time is taken, and the rows are covered less closely."""


def greedy_coreset(rows: NDArray[np.floating], size: int, seed: int = 0) -> NDArray[np.int64]:
    """Chooses rows so that no row is far from the nearest chosen one (greedy k-centre).

    Each choice is the row that is farthest from those chosen before (Gonzalez, "Clustering to minimize the
    maximum intercluster distance", 1985; PatchCore, Roth et al., 2022). Where that takes more than ``WORK``
    distances it is done in random blocks, each of which gives its share: the time is then linear in the number of
    rows. Blocks that give a few rows each would choose the same outliers again and again, and no longer cover the rest.

    Args:
        rows: array ``[n, d]``
        size: how many to choose, at least 1
        seed: seed of the division into blocks

    Returns:
        indices ``[min(size, n)]`` in ascending order
    """
    chosen = [block[_greedy(rows[block], share)] for block, share in coreset_blocks(len(rows), size, seed)]
    return np.sort(np.concatenate(chosen))


def coreset_blocks(count: int, size: int, seed: int = 0) -> list[tuple[NDArray[np.int64], int]]:
    """The blocks in which a coreset is chosen, each by itself.

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
    if size >= len(rows):
        return np.arange(len(rows))
    values = np.asarray(rows, np.float32)
    squares = (values**2).sum(axis=1, keepdims=True)
    # One product gives |a|^2 - 2 a.b + |b|^2
    ones = np.ones_like(squares)
    left, right = np.hstack([values, squares, ones]), np.hstack([-2 * values, ones, squares])
    centre = int(((values - values.mean(axis=0)) ** 2).sum(axis=1).argmax())
    nearest = np.full(len(values), np.inf, np.float32)
    chosen = np.empty(size, np.int64)
    for i in range(size):
        chosen[i] = centre
        np.minimum(nearest, left @ right[centre], out=nearest)
        nearest[centre] = -np.inf
        centre = int(nearest.argmax())
    return chosen
