"""The original method: each segment against the others of its own image, by fastdup's outlier rule.

fastdup pairs each segment with its nearest others and calls the least similar pairs outliers. Two segments that are
each other's neighbour have the same similarity, so that which of the two it names depends on how its (unstable) sort
moves equal values. To give fastdup's own answer, ``descending_order`` follows the introsort of the GNU C++ library:
median-of-three quicksort down to runs of 16, then insertion sort (Musser, "Introspective sorting and selection
algorithms", 1997).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import NDArray

from ..embedders.base import normalize

NEIGHBORS = 2
"""Nearest others that fastdup keeps for each segment."""

OUTLIER_SHARE = 0.05
"""Share of all nearest-neighbour pairs, least similar first, that fastdup calls outliers."""

SHORT_RUN = 16
"""Values in a run that C++'s sort leaves to its final insertion sort, at most."""


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
    """Return the cosine similarities ``[n, k]`` of each segment to its ``k = min(2, n - 1)`` nearest others.

    Args:
        features: array ``[n, d]``, one row per segment

    Returns:
        the most similar first
    """
    similarities, k = _similarities(features)
    return -np.sort(-similarities, axis=1)[:, :k]


def nearest_segments(features: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the numbers ``[n, k]`` of each segment's nearest others, and how similar they are.

    The similarities are those of ``nearest_similarities``, the most similar first.
    """
    similarities, k = _similarities(features)
    nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return nearest, np.take_along_axis(similarities, nearest, axis=1)


def find_outliers(features: NDArray[np.floating]) -> Outliers:
    """Apply fastdup's outlier rule (``fastdup.create(...).run(); outliers()`` with its defaults).

    All pairs of a segment and one of its two nearest others are sorted by cosine similarity, and the lowest
    ``max(1, floor(0.05 * pairs))`` are outlying; the segments from which they start are the outliers. Of equal
    similarities those are taken that fastdup takes, for segments that lie in files named by their number, as in the
    original method. A single segment has no outlier.

    Args:
        features: array ``[n, d]``, one row per segment

    Examples:
        >>> outliers = find_outliers(np.array([[1, 0], [1, 0.1], [1, 0.2], [0, 1]]))
        >>> outliers.indices, outliers.similarities.round(3)
        (array([3]), array([0.1], dtype=float32))
    """
    similarities = nearest_similarities(features)
    n, k = similarities.shape
    if k == 0:
        return Outliers(np.zeros(0, np.int64), np.zeros(0, np.float32))
    listed = np.array(sorted(range(n), key=str))  # fastdup lists files by name: 0, 1, 10, 11, ..., 2
    sources = np.repeat(listed, k)  # [n * k], the segment from which each pair starts
    pairs = similarities[listed].ravel()  # [n * k]
    count = max(1, floor(OUTLIER_SHARE * len(pairs)))
    lowest: dict[int, float] = {}  # by segment; the first entry of each is its lowest pair
    for pair in descending_order(pairs.tolist())[: -count - 1 : -1]:
        lowest.setdefault(int(sources[pair]), float(pairs[pair]))
    return Outliers(np.array(list(lowest), np.int64), np.array(list(lowest.values()), np.float32))


def segment_scores(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the anomaly score ``[n]`` of each segment: 1 minus the similarity by which fastdup ranks it, in [0, 2].

    The outliers of ``find_outliers`` are exactly the segments with the highest scores (but for ties).
    A single segment scores 0.

    Examples:
        >>> segment_scores(np.array([[1, 0], [1, 0], [1, 0], [0, 1]])).tolist()
        [0.0, 0.0, 0.0, 1.0]
    """
    similarities = nearest_similarities(features)
    if similarities.shape[1] == 0:
        return np.zeros(len(similarities), np.float32)
    return np.clip(1 - similarities[:, -1], 0, 2)


def _similarities(features: NDArray[np.floating]) -> tuple[NDArray[np.float32], int]:
    """Compute the similarities ``[n, n]`` of all segments, -inf to themselves, and how many neighbours each has."""
    rows = normalize(features)
    similarities = rows @ rows.T
    np.fill_diagonal(similarities, -np.inf)
    return similarities, max(min(NEIGHBORS, len(rows) - 1), 0)


def descending_order(values: Sequence[float]) -> list[int]:
    """Return the positions of the values from highest to lowest, equal ones as C++'s ``std::sort`` leaves them.

    The library turns to heapsort when its partitions are extremely uneven; this does not.

    Examples:
        >>> descending_order([1.0, 3.0, 2.0])
        [1, 2, 0]
    """
    order = list(range(len(values)))
    pending = [(0, len(order))]
    while pending:
        first, last = pending.pop()
        while last - first > SHORT_RUN:
            cut = _partition(order, values, first, last)
            pending.append((cut, last))
            last = cut
    order.sort(key=lambda position: -values[position])  # an insertion sort is stable, as is this one
    return order


def _partition(order: list[int], values: Sequence[float], first: int, last: int) -> int:
    """Move positions of higher values before those of lower ones; return where these begin."""

    def before(a: int, b: int) -> bool:
        return values[order[a]] > values[order[b]]

    median = _median(before, first + 1, first + (last - first) // 2, last - 1)
    order[first], order[median] = order[median], order[first]
    low, high = first + 1, last
    while True:
        while before(low, first):
            low += 1
        high -= 1
        while before(first, high):
            high -= 1
        if low >= high:
            return low
        order[low], order[high] = order[high], order[low]
        low += 1


def _median(before: Callable[[int, int], bool], a: int, b: int, c: int) -> int:
    if before(a, b):
        return b if before(b, c) else c if before(a, c) else a
    return a if before(a, c) else c if before(b, c) else b
