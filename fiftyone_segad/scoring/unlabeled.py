"""Unlabelled method: each segment against the segments of all other images, none of which is known to be normal.

Mutual scoring (Li et al., "MuSc: Zero-shot industrial anomaly classification and segmentation with mutual scoring of
the unlabeled images", ICLR 2024): what most images have no counterpart of is anomalous. It rests on defects being rare
and unlike each other, and on images that show the same product in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SHARE = 0.03
"""Share of the other images, nearest first, whose distances are averaged. MuSc's 0.3 fails where parts vary."""

FEWEST = 3
"""Images whose distances are averaged at least."""

POOL = 200
"""Images that each image is compared with at most."""


def mutual_scores(
    features: NDArray[np.float32], pool: Sequence[NDArray[np.floating]], excluded: int | None = None
) -> NDArray[np.float32]:
    """Scores the segments of one image against other images.

    Args:
        features: array ``[n, d]`` of the image
        pool: arrays ``[n_i, d]`` of the images to compare with
        excluded: index of the image itself in the pool, if it is there

    Returns:
        float32 array ``[n]``: mean of the Euclidean distances to the nearest segments in those
        ``max(3, 3 %)`` images of the pool that have the nearest ones

    Raises:
        ValueError: if the pool holds no other image
    """
    others = [rows for i, rows in enumerate(pool) if i != excluded]
    if not others:
        raise ValueError("Images without labels are compared with each other; there is only one")
    kept = min(max(FEWEST, round(SHARE * len(others))), len(others))
    queries = np.asarray(features, np.float32)
    # One product gives |b|^2 - 2 a.b; |a|^2 is added to what is left of it
    factors = np.hstack([-2 * queries, np.ones((len(queries), 1), np.float32)])
    nearest = np.full((kept + 1, len(queries)), np.inf, np.float32)
    for rows in others:
        # One image at a time: the block of distances stays in cache
        nearest[kept] = (factors @ _with_squares(rows).T).min(axis=1)
        nearest.partition(kept - 1, axis=0)
    squares = nearest[:kept] + (queries**2).sum(axis=1)
    distances: NDArray[np.float32] = np.sqrt(np.maximum(squares, 0)).mean(axis=0)
    return distances


def _with_squares(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    values = np.asarray(rows, np.float32)
    return np.hstack([values, (values**2).sum(axis=1, keepdims=True)])
