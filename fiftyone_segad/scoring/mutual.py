"""Unlabelled method: each segment against the segments of all other images, none of which is known to be normal.

Mutual scoring (Li et al., "MuSc: Zero-shot industrial anomaly classification and segmentation with mutual scoring of
the unlabeled images", ICLR 2024): what most images have no counterpart of is anomalous. It rests on defects being rare
and unlike each other, and on images that show the same product in the same way.
"""

from __future__ import annotations

from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from ..segments.boxes import Segments, patch_grid
from .neighbors import NeighborIndex

SHARE = 0.03
"""Share of the other images, nearest first, whose distances are averaged. MuSc's 0.3 fails where parts vary."""

FEWEST = 3
"""Images whose distances are averaged at least."""

POOL = 300
"""Images that each image is compared with at most."""

_THINNED = 1024
"""Segments of a level that take part in mutual scoring at most, for its time and memory."""


def mutual_scores(
    bank: NeighborIndex, features: NDArray[np.floating], excluded: int | None = None
) -> NDArray[np.float32]:
    """Scores the segments of one image against other images.

    Args:
        bank: segments of the images to compare with
        features: array ``[n, d]`` of the image
        excluded: index of the image itself in the bank, if it is there

    Returns:
        float32 array ``[n]``: mean of the Euclidean distances to the nearest segments in those ``max(3, 3 %)`` images
        of the bank that have the nearest ones. Approximate in a large bank, see ``image_distances``

    Raises:
        ValueError: if the bank holds no other image
    """
    others = bank.images - (excluded is not None)
    if others == 0:
        raise ValueError("Images without labels are compared with each other; there is only one")
    nearest = min(max(FEWEST, round(SHARE * others)), others)
    scores: NDArray[np.float32] = bank.image_distances(features, nearest, excluded).mean(axis=1)
    return scores


def thin(segments: Segments, rows: NDArray[np.floating]) -> tuple[Segments, NDArray[np.float32]]:
    """Means of 2 x 2, 3 x 3, ... segments of a level, so that at most ``_THINNED`` are left."""
    values = np.asarray(rows, np.float32)
    if segments.shape is None or len(segments) <= _THINNED:
        return segments, values
    step = ceil(sqrt(len(segments) / _THINNED))
    cells = values.reshape(*segments.shape, -1)
    cells = np.pad(cells, [(0, -side % step) for side in segments.shape] + [(0, 0)], mode="edge")
    down, across = cells.shape[0] // step, cells.shape[1] // step
    means = cells.reshape(down, step, across, step, -1).mean(axis=(1, 3))
    return patch_grid(segments.size, down, across), means.reshape(down * across, -1)
