"""Feature maps of networks: joined, and averaged over boxes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..segments.boxes import Segments
from .base import normalize

Maps = list[NDArray[np.float32]]
"""Feature maps ``[rows, columns, d]`` of one image, one per level."""


def join_maps(maps: Maps) -> NDArray[np.float32]:
    """Join maps along their features, all resized (bilinearly) to the finest, which comes first.

    Examples:
        >>> join_maps([np.zeros((8, 8, 5), np.float32), np.zeros((4, 4, 3), np.float32)]).shape
        (8, 8, 8)
    """
    rows, columns = maps[0].shape[:2]
    return np.concatenate([maps[0], *(_resize(coarse, columns, rows) for coarse in maps[1:])], axis=2)


def _resize(features: NDArray[np.float32], columns: int, rows: int) -> NDArray[np.float32]:
    if features.shape[:2] == (rows, columns):
        return features
    # OpenCV resizes 4 channels at a time with speed, more than 512 not at all
    resized = [cv2.resize(part, (columns, rows)) for part in np.split(features, range(4, features.shape[2], 4), axis=2)]
    return np.concatenate([part.reshape(rows, columns, -1) for part in resized], axis=2)


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
