"""Anomaly maps: from segment scores to a map at any resolution, and from a map to a mask."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .boxes import Segments, Size, intervals_overlap
from .regions import label_regions
from .turned import TurnedSegments

MAP_SIDE = 256
"""Longest side of the heatmap files in pixels; the App takes seconds to draw larger ones."""

EXTENT = 0.65
"""Share of its peak to which a region reaches: the map of a small defect is a blur, the larger the higher its peak."""

WIDE_EXTENT = 0.4
"""Share of its peak to which a wide region reaches, which is no blur of something small."""

WIDE = 9 / 64
"""Radius of the circle that only wide regions have room for, in a map drawn as a square of side 1, as the default
embedder sees it: a little more than two segments of its coarsest level."""

_SIDE = 256
"""Pixels of the side of that square."""

_MIN_WEIGHT = 1e-6
"""Weight of a box on its own border, so that a pixel there belongs to it."""


def anomaly_map(segments: Segments, scores: NDArray[np.floating], size: Size | None = None) -> NDArray[np.float32]:
    """Blend segment scores into a map.

    Scores of tiles that overlap are interpolated linearly between the tiles' centres, so that the map has no
    blocks and no seams where tiles begin and end. Segments of a grid that do not overlap give constant blocks,
    and the nearest one stands for the left-over pixels at the border. Of boxes in any other arrangement each
    pixel is the mean of those that cover it, weighted by a raised cosine (Hann) along each axis that nearly
    vanishes at a box's border; pixels that no box covers take the lowest score. Scores of a part that was laid straight
    are interpolated on it, and the map is turned back.

    Args:
        segments: the segments of one image
        scores: float array ``[n]``, one score per segment
        size (None): ``(width, height)`` of the map; by default the image's. A smaller map samples the same
            continuous surface at its own pixel centres

    Returns:
        a float32 array ``[height, width]`` within the range of ``scores``

    Examples:
        >>> from fiftyone_segad.segments.boxes import grid
        >>> anomaly_map(grid((4, 2), 2), np.array([0.1, 0.2, 0.3, 0.4]))
        array([[0.1, 0.1, 0.2, 0.2],
               [0.3, 0.3, 0.4, 0.4]], dtype=float32)
    """
    width, height = size or segments.size
    if isinstance(segments, TurnedSegments):
        return _turned_map(segments, scores, (width, height))
    x = (np.arange(width) + 0.5) * segments.size[0] / width
    y = (np.arange(height) + 0.5) * segments.size[1] / height
    return interpolate(segments, scores, x, y)


def _turned_map(segments: TurnedSegments, scores: NDArray[np.floating], size: Size) -> NDArray[np.float32]:
    """Draw the map of a straight part, and lay it back into the image; what lies beside it has the lowest score."""
    scale = np.array(size) / segments.size
    grid = segments.grid
    straight_size = tuple(np.maximum(np.ceil(max(scale) * np.array(grid.size)), 1).astype(int).tolist())
    straight = anomaly_map(grid, scores, straight_size)
    # From points of the straight map to those of the map, by way of the straight part and the image: [2, 3]
    back = segments.back * scale[:, None]
    back[:, :2] *= np.array(grid.size) / straight_size
    back[:, 2] += back[:, :2].sum(axis=1) / 2 - 0.5  # OpenCV counts from the centres of pixels
    lowest = float(straight.min())
    turned = cv2.warpAffine(straight, back, size, flags=cv2.INTER_LINEAR, borderValue=lowest)
    return np.asarray(np.clip(turned, lowest, straight.max()), np.float32)


def heatmap_size(size: Size) -> Size:
    """Return width and height of the heatmap file of an image: its own, or with ``MAP_SIDE`` as the longest side.

    Examples:
        >>> heatmap_size((1024, 512)), heatmap_size((100, 50))
        ((256, 128), (100, 50))
    """
    width, height = size
    scale = min(1.0, MAP_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def interpolate(
    segments: Segments, scores: NDArray[np.floating], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Sample the surface of ``anomaly_map`` at given points of the image.

    Args:
        segments: the segments of one image
        scores: float array ``[n]``, one score per segment
        x: columns ``[w]`` in pixels
        y: rows ``[h]`` in pixels

    Returns:
        a float32 array ``[h, w]``

    Examples:
        >>> from fiftyone_segad.segments.boxes import tiles
        >>> segments = tiles((60, 30), tile=1.0, stride=0.5)  # three tiles, whose centres are at 15, 30 and 45 px
        >>> interpolate(segments, np.array([0.0, 1.0, 0.5]), np.array([15.0, 22.5, 30.0, 60.0]), np.array([15.0]))
        array([[0. , 0.5, 1. , 0.5]], dtype=float32)
    """
    values = np.asarray(scores, dtype=np.float32)
    if len(values) == 0:
        return np.zeros((len(y), len(x)), np.float32)
    blended: NDArray[np.float32]
    if segments.shape is not None:
        by_column = values.reshape(segments.shape).T  # [columns, rows]
        across = _along(segments.columns, x, by_column)  # [w, rows]
        blended = _along(segments.rows, y, np.ascontiguousarray(across.T))  # [h, w]
    else:
        blended = _blend_boxes(segments.boxes, values, x, y)
    return np.clip(blended, values.min(), values.max(), out=blended)  # rounding must not leave the scores' range


def onto_finest(levels: Sequence[tuple[Segments, NDArray[np.floating]]]) -> tuple[Segments, list[NDArray[np.float32]]]:
    """Sample the scores of several levels of an image at the centres of the segments of the finest level.

    Args:
        levels: segments and their scores ``[n]``, one entry per level; more than one level must be of grids

    Returns:
        the finest segments, and float32 arrays ``[n]`` of their scores, one entry per level

    Examples:
        >>> from fiftyone_segad.segments.boxes import patch_grid
        >>> fine, coarse = patch_grid((4, 4), 2, 2), patch_grid((4, 4), 1, 1)
        >>> onto_finest([(coarse, np.array([5.0])), (fine, np.array([1.0, 2.0, 3.0, 4.0]))])[1]
        [array([5., 5., 5., 5.], dtype=float32), array([1., 2., 3., 4.], dtype=float32)]
    """
    finest = max((segments for segments, _ in levels), key=len)
    if len(levels) == 1:
        return finest, [np.asarray(levels[0][1], np.float32)]
    cells = finest.straight
    assert cells.shape is not None
    x, y = cells.columns.mean(axis=1), cells.rows.mean(axis=1)  # centres [columns], [rows] of the finest grid
    return finest, [
        np.asarray(scores, np.float32) if segments is finest else interpolate(segments.straight, scores, x, y).ravel()
        for segments, scores in levels
    ]


def anomaly_mask(
    anomaly: NDArray[np.floating], threshold: float, peak: float | None = None, cut: bool = False
) -> NDArray[np.uint8]:
    """Threshold a map, with hysteresis if two thresholds are given (Canny, 1986).

    Args:
        anomaly: anomaly map ``[height, width]``
        threshold: pixels above it are candidates
        peak (None): a connected region of candidates stays only if one of its pixels is above this
        cut (False): whether of a region that stays only the pixels above a share of its highest one do, where they are
            connected with one above ``peak``; holes are filled. The share is ``EXTENT``, or ``WIDE_EXTENT`` in a region
            that is wider there than a map's blur

    Returns:
        a uint8 array ``[height, width]`` of 255 on predicted pixels, else 0

    Examples:
        >>> anomaly = np.array([[0.6, 0.9, 0.1, 0.6]])
        >>> anomaly_mask(anomaly, 0.5)
        array([[255, 255,   0, 255]], dtype=uint8)
        >>> anomaly_mask(anomaly, 0.5, peak=0.8)
        array([[255, 255,   0,   0]], dtype=uint8)
    """
    candidates = _above(anomaly, threshold)
    if peak is not None:
        seeds = _above(anomaly, peak)
        if not seeds.any():
            return np.zeros(anomaly.shape, np.uint8)
        candidates = _regions_with(candidates | seeds, seeds)
        if cut:
            candidates = _regions_with(_cut_to_extent(candidates, anomaly), seeds)
            candidates = np.asarray(ndimage.binary_fill_holes(candidates))
    return candidates.view(np.uint8) * np.uint8(255)


def _regions_with(mask: NDArray[np.bool_], seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keep the connected regions of a mask that hold a seed."""
    labels, count = label_regions(mask)
    has_seed = np.zeros(count + 1, bool)
    has_seed[labels[seeds & mask]] = True
    return has_seed[labels]


def _cut_to_extent(mask: NDArray[np.bool_], anomaly: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Keep the pixels of each connected region that are above a share of its peak."""
    labels, count = label_regions(mask)
    peaks = np.asarray(ndimage.maximum(anomaly, labels, np.arange(1, count + 1)))  # [regions]
    # A share of a negative peak would be above it
    peaks = np.concatenate([[np.inf], np.where(peaks > 0, peaks, -np.inf)])
    reached = mask & (anomaly > WIDE_EXTENT * peaks[labels])
    in_square = np.ix_(*(((np.arange(_SIDE) + 0.5) * side / _SIDE).astype(int) for side in mask.shape))
    padded = np.pad(reached[in_square], 1).astype(np.uint8)  # the border of the image bounds regions, too
    radii = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    is_wide = np.zeros(count + 1, bool)
    is_wide[labels[in_square][radii > WIDE * _SIDE]] = True
    return reached & (is_wide[labels] | (anomaly > EXTENT * peaks[labels]))


def segments_mask(segments: Segments, selected: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return a mask ``[height, width]`` at image size of 255 inside the selected segments, else 0.

    Examples:
        >>> from fiftyone_segad.segments.boxes import grid
        >>> segments_mask(grid((4, 2), 2), np.array([True, False, False, False]))
        array([[255, 255,   0,   0],
               [  0,   0,   0,   0]], dtype=uint8)
    """
    mask = np.zeros(segments.size[::-1], np.uint8)
    for x0, y0, x1, y1 in segments.boxes[selected]:
        mask[y0:y1, x0:x1] = 255
    return mask


def _above(anomaly: NDArray[np.floating], threshold: float) -> NDArray[np.bool_]:
    """Find where a map is above a threshold as in double precision.

    Image scores are compared in double precision, and an image is to be flagged if and only if it has a mask.
    """
    limit = anomaly.dtype.type(threshold)
    if float(limit) > threshold:  # the next lower number: none of the map's precision lies between it and the threshold
        limit = np.nextafter(limit, anomaly.dtype.type(-np.inf))
    return anomaly > limit


def _along(
    intervals: NDArray[np.int64], points: NDArray[np.float64], values: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Interpolate values at points along one axis.

    Each point is computed by itself: a product of matrices would wait for other threads, and may round otherwise where
    there are other points.

    Args:
        intervals: array ``[n, 2]``, starts and ends along the axis
        points: array ``[p]``
        values: array ``[n, m]``, those of the intervals

    Returns:
        array ``[p, m]``
    """
    centres = intervals.mean(axis=1)  # [n]
    if not intervals_overlap(intervals):
        return values[np.abs(points[:, None] - centres).argmin(axis=1)]
    # Neighbouring centres left and right of each point, and how far the point has come from the left one to the right
    left = np.clip(np.searchsorted(centres, points) - 1, 0, len(centres) - 2)  # [p]
    share = np.clip((points - centres[left]) / (centres[left + 1] - centres[left]), 0, 1).astype(np.float32)[:, None]
    blended = values[left]  # [p, m]
    blended *= 1 - share
    blended += values[left + 1] * share
    return blended


def _hann(intervals: NDArray[np.int64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight points ``[p]`` by Hann windows ``sin^2(pi t)`` over ``[n, 2]`` intervals; 0 outside: ``[p, n]``."""
    starts, lengths = intervals[:, 0], intervals[:, 1] - intervals[:, 0]
    t = (points[:, None] - starts) / lengths
    inside = (t >= 0) & (t < 1)
    return np.where(inside, np.maximum(np.sin(np.pi * t) ** 2, _MIN_WEIGHT), 0)


def _blend_boxes(
    boxes: NDArray[np.int64], scores: NDArray[np.float32], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Average the scores ``[n]`` of the boxes that cover each point, weighted by their windows: ``[h, w]``."""
    total = np.zeros((len(y), len(x)))
    weight = np.zeros_like(total)
    for box, score in zip(boxes, scores, strict=True):
        columns = slice(*np.searchsorted(x, box[[0, 2]]))
        rows = slice(*np.searchsorted(y, box[[1, 3]]))
        window = np.outer(_hann(box[None, [1, 3]], y[rows]), _hann(box[None, [0, 2]], x[columns]))
        total[rows, columns] += window * score
        weight[rows, columns] += window
    covered = weight > 0
    return np.where(covered, total / np.where(covered, weight, 1), scores.min()).astype(np.float32)
