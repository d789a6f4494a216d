"""Exact nearest neighbours among normalised features, in blocks of bounded memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 1024
"""Rows of queries and of bank compared at once: one block of similarities is 4 MB and stays in cache."""


def normalize(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scales each row of ``[n, d]`` to length 1. A zero row stays zero.

    Raises:
        ValueError: if a value is not finite
    """
    with np.errstate(over="ignore"):
        rows = np.asarray(features, dtype=np.float32)
    if not np.isfinite(rows).all():
        raise ValueError("The features hold NaN or infinite values; the embedder failed on this image")
    # Squares of large and small features leave the range of single precision
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), np.float32)


def most_similar(
    queries: NDArray[np.float32], bank: NDArray[np.float32], block: int = BLOCK
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Finds each query's most similar row of the bank.

    Args:
        queries: normalised features ``[n, d]``
        bank: normalised features ``[m, d]``
        block: rows compared at once

    Returns:
        cosine similarities ``[n]`` in [-1, 1] (-inf for an empty bank) and bank indices ``[n]``
    """
    best = np.full(len(queries), -np.inf, np.float32)
    index = np.zeros(len(queries), np.int64)
    for start in range(0, len(queries), block):
        rows = slice(start, start + block)
        for offset in range(0, len(bank), block):
            similarities = queries[rows] @ bank[offset : offset + block].T
            nearest = similarities.argmax(axis=1)
            found = np.take_along_axis(similarities, nearest[:, None], axis=1)[:, 0]
            better = found > best[rows]
            best[rows][better] = found[better]
            index[rows][better] = nearest[better] + offset
    return best, index
