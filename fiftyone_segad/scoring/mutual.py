"""Mutual scoring: each segment against the segments of all other images, none of which is known to be normal.

What most images have nothing like is anomalous (Li et al., "MuSc: Zero-shot industrial anomaly classification and
segmentation with mutual scoring of the unlabeled images", ICLR 2024, section 3.2). It rests on defects being rare and
unlike each other, and on images that show the same product in the same way.
"""

from __future__ import annotations

from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from ..segments.boxes import Segments, patch_grid
from ..segments.turned import TurnedSegments, lay_back
from .neighbors import NeighborIndex

SHARE = 0.03
"""Share of the other images, nearest first, whose distances are averaged. MuSc's 0.3 fails where parts vary."""

FEWEST = 3
"""Images whose distances are averaged at least."""

POOL = 300
"""Images that each image is compared with at most."""

MAX_SEGMENTS = 1024
"""Segments per level that take part in mutual scoring at most, for its time and memory."""


def mutual_scores(
    index: NeighborIndex, features: NDArray[np.floating], excluded: int | None = None
) -> NDArray[np.float32]:
    """Score the segments of one image against other images.

    In MuSc's symbols: of a patch ``p`` of image ``I_i``, ``a(p; I_j)`` is the distance to the nearest patch of
    ``I_j``, for each ``j != i``. Its score is the mean of the lowest of these over ``j`` (interval average).

    Args:
        index: segments of the images to compare with
        features: array ``[n, d]`` of the image
        excluded: number of the image itself in the index, if it is there

    Returns:
        float32 array ``[n]``: mean of the Euclidean distances to the nearest segments in those ``max(3, 3 %)`` images
        that have the nearest ones. Approximate in a large index, see ``NeighborIndex.image_distances``

    Raises:
        ValueError: if the index holds no other image

    Examples:
        >>> index = NeighborIndex([np.array([[position]]) for position in (0.0, 1.0, 2.0, 9.0)])
        >>> mutual_scores(index, np.array([[9.0]]), excluded=3).tolist()  # mean of 9, 8 and 7
        [8.0]
    """
    others = index.images - (excluded is not None)
    if others == 0:
        raise ValueError("Images without labels are compared with each other; there is only one")
    nearest = min(max(FEWEST, round(SHARE * others)), others)
    left_out = [] if excluded is None else [excluded]
    distances = index.image_distances(features, nearest, left_out)  # a(p; I_j): [n, nearest]
    scores: NDArray[np.float32] = distances.mean(axis=1)
    return scores


def coarsen(segments: Segments, features: NDArray[np.floating]) -> tuple[Segments, NDArray[np.float32]]:
    """Average the features of 2 x 2, 3 x 3, ... segments, so that at most ``MAX_SEGMENTS`` are left.

    Args:
        segments: segments ``[n]`` of one level; those that form no grid stay as they are
        features: array ``[n, d]``

    Returns:
        the larger segments ``[m]`` and their features ``[m, d]``
    """
    values = np.asarray(features, np.float32)
    grid = segments.straight
    if grid.shape is None or len(segments) <= MAX_SEGMENTS:
        return segments, values
    step = ceil(sqrt(len(segments) / MAX_SEGMENTS))
    cells = values.reshape(*grid.shape, -1)  # [rows, columns, d]
    # The last row and column are repeated, up to a multiple of the step
    cells = np.pad(cells, [(0, -side % step) for side in grid.shape] + [(0, 0)], mode="edge")
    rows, columns = cells.shape[0] // step, cells.shape[1] // step
    means = cells.reshape(rows, step, columns, step, -1).mean(axis=(1, 3))  # [rows / step, columns / step, d]
    cells_of_means = patch_grid(grid.size, rows, columns)
    if isinstance(segments, TurnedSegments):
        cells_of_means = lay_back(segments.size, cells_of_means, segments.back)
    return cells_of_means, means.reshape(rows * columns, -1)
