"""The original method: each segment against the others of its own image, by fastdup's outlier rule."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import NDArray

from ..embedders.base import normalize
from .introsort import descending_order

NEIGHBORS = 2
"""Nearest others that fastdup keeps for each segment."""

OUTLIER_SHARE = 0.05
"""Share of all nearest-neighbour pairs, least similar first, that fastdup calls outliers."""


@dataclass(frozen=True)
class Outliers:
    """The outlier segments of one image, most outlying first.

    Attributes:
        indices: int array ``[k]``, segment numbers (row-major in a grid)
        similarities: float array ``[k]``, what fastdup prints as ``distance``: the cosine similarity to the
            less similar of the segment's two nearest others. **Lower is more anomalous**
    """

    indices: NDArray[np.int64]
    similarities: NDArray[np.float32]


def nearest_similarities(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Cosine similarities ``[n, k]`` of each segment to its ``k = min(2, n - 1)`` nearest others, best first."""
    similarities, k = _similarities(features)
    return -np.sort(-similarities, axis=1)[:, :k]


def nearest_segments(features: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The numbers ``[n, k]`` of each segment's ``k = min(2, n - 1)`` nearest others, and how similar they are.

    The similarities are those of ``nearest_similarities``, best first.
    """
    similarities, k = _similarities(features)
    nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return nearest, np.take_along_axis(similarities, nearest, axis=1)


def find_outliers(features: NDArray[np.floating]) -> Outliers:
    """Apply fastdup's outlier rule (``fastdup.create(...).run(); outliers()`` with its defaults).

    All pairs of a segment and one of its two nearest others are sorted by cosine similarity, and the lowest
    ``max(1, floor(0.05 * pairs))`` are kept; the segments from which they start are the outliers. Of equal
    similarities those are kept that fastdup keeps (see ``introsort``), for segments that lie in files
    named by their number, as in the original method. A single segment has no outlier.

    Args:
        features: array ``[n, d]``, one row a segment
    """
    similarities = nearest_similarities(features)
    n, k = similarities.shape
    if k == 0:
        return Outliers(np.zeros(0, np.int64), np.zeros(0, np.float32))
    listed = np.array(sorted(range(n), key=str))  # fastdup lists files by name: 0, 1, 10, 11, ..., 2
    source = np.repeat(listed, k)
    pairs = similarities[listed].ravel()
    kept = descending_order(pairs.tolist())[: -max(1, floor(OUTLIER_SHARE * len(pairs))) - 1 : -1]
    lowest: dict[int, float] = {}
    for pair in kept:  # lowest first
        lowest.setdefault(int(source[pair]), float(pairs[pair]))
    return Outliers(np.array(list(lowest), np.int64), np.array(list(lowest.values()), np.float32))


def segment_scores(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Anomaly score ``[n]`` of each segment: 1 minus the similarity by which fastdup ranks it, in [0, 2].

    The outliers of ``find_outliers`` are exactly the segments with the highest scores (but for ties).
    A single segment scores 0.
    """
    similarities = nearest_similarities(features)
    if similarities.shape[1] == 0:
        return np.zeros(len(similarities), np.float32)
    return np.clip(1 - similarities[:, -1], 0, 2)


def _similarities(features: NDArray[np.floating]) -> tuple[NDArray[np.float32], int]:
    """Cosine similarities ``[n, n]`` of all segments, -inf to themselves, and how many neighbours each has."""
    rows = normalize(features)
    similarities = rows @ rows.T
    np.fill_diagonal(similarities, -np.inf)
    return similarities, max(min(NEIGHBORS, len(rows) - 1), 0)
