"""Average the feature maps of networks over boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..segments.boxes import Segments
from .base import normalize

Maps = list[NDArray[np.float32]]
"""Feature maps ``[rows, columns, d]`` of one image, one per level."""


def pool_boxes(maps: Maps, segments: Segments) -> NDArray[np.float32]:
    """Average features over each box: over the patches whose centres lie within it, or take those of the nearest patch.

    Args:
        maps: feature maps that cover the image evenly
        segments: boxes of the image

    Returns:
        a float32 array ``[n, d]``: the means of all levels, each level normalised to length 1

    Examples:
        >>> from fiftyone_segad.segments.boxes import from_boxes
        >>> patches = np.array([[[1, 0], [1, 0]], [[0, 1], [0, 1]]], np.float32)  # 2 x 2, of 2 features
        >>> pool_boxes([patches], from_boxes((20, 20), [[0, 0, 20, 10], [0, 10, 20, 20]])).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    levels = []
    width, height = segments.size
    for features in maps:
        rows, columns, _ = features.shape
        means = np.empty((len(segments), features.shape[2]), np.float32)
        for mean, (x0, y0, x1, y1) in zip(means, segments.boxes, strict=True):
            across, down = _covered(x0, x1, width, columns), _covered(y0, y1, height, rows)
            mean[:] = features[down, across].mean(axis=(0, 1))
        levels.append(normalize(means))
    return np.concatenate(levels, axis=1)


def _covered(start: int, stop: int, length: int, count: int) -> slice:
    """Find the patches along an axis whose centres, at ``(i + 0.5) * length / count``, are in ``[start, stop)``."""
    first = int(np.ceil(start * count / length - 0.5))
    end = int(np.ceil(stop * count / length - 0.5))
    if end > first:
        return slice(first, end)
    nearest = min(int((start + stop) / 2 * count / length), count - 1)
    return slice(nearest, nearest + 1)
