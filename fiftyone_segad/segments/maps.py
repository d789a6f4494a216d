"""Anomaly maps: from segment scores to a map at any resolution, a mask, and connected regions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .boxes import Segments, intervals_overlap

MAP_SIDE = 256
"""Longest side of the heatmap files in pixels; the App takes seconds to draw larger ones."""

_EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)

_LEAST_WEIGHT = 1e-6
"""Weight of a box on its own border, so that a pixel there belongs to it."""


@dataclass(frozen=True)
class Region:
    """A connected region of a mask.

    Attributes:
        box: ``x0, y0, x1, y1`` in pixels, ends exclusive
        mask: bool array of the box's size, True on the region
        score: peak of the map within the region
        area: pixels
    """

    box: tuple[int, int, int, int]
    mask: NDArray[np.bool_]
    score: float
    area: int


def anomaly_map(
    segments: Segments, scores: NDArray[np.floating], size: tuple[int, int] | None = None
) -> NDArray[np.float32]:
    """Blends segment scores into a map.

    Scores of tiles that overlap are interpolated linearly between the tiles' centres, so that the map has no
    blocks and no seams where tiles begin and end. Segments of a grid that do not overlap give constant blocks,
    and the nearest one stands for the left-over pixels at the border. Of boxes in any other arrangement each
    pixel is the mean of those that cover it, weighted by a raised cosine (Hann) along each axis that nearly
    vanishes at a box's border; pixels that no box covers take the lowest score.

    Args:
        segments: the segments of one image
        scores: float array ``[n]``, one score a segment
        size (None): ``(width, height)`` of the map; by default the image's. A smaller map samples the same
            continuous surface at its own pixel centres

    Returns:
        a float32 array ``[height, width]`` within the range of ``scores``
    """
    width, height = size or segments.size
    x = (np.arange(width) + 0.5) * segments.size[0] / width
    y = (np.arange(height) + 0.5) * segments.size[1] / height
    return interpolate(segments, scores, x, y)


def heatmap_size(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the heatmap file of an image: its own, or with ``MAP_SIDE`` as the longest side."""
    width, height = size
    scale = min(1.0, MAP_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def interpolate(
    segments: Segments, scores: NDArray[np.floating], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Sample the surface of ``anomaly_map`` at given points of the image.

    Args:
        segments: the segments of one image
        scores: float array ``[n]``, one score a segment
        x: columns ``[w]`` in pixels
        y: rows ``[h]`` in pixels

    Returns:
        a float32 array ``[h, w]``
    """
    values = np.asarray(scores, dtype=np.float32)
    if len(values) == 0:
        return np.zeros((len(y), len(x)), np.float32)
    blended: NDArray[np.float32]
    if segments.shape is not None:
        across = _along(segments.columns, x, values.reshape(segments.shape).T)
        blended = _along(segments.rows, y, np.ascontiguousarray(across.T))
    else:
        blended = _blend_boxes(segments.boxes, values, x, y)
    return np.clip(blended, values.min(), values.max(), out=blended)  # rounding must not leave the scores' range


def anomaly_mask(anomaly: NDArray[np.floating], threshold: float, peak: float | None = None) -> NDArray[np.uint8]:
    """Thresholds a map, with hysteresis if two thresholds are given (Canny, 1986).

    Args:
        anomaly: anomaly map ``[height, width]``
        threshold: pixels above it are candidates
        peak (None): a connected region of candidates stays only if one of its pixels is above this

    Returns:
        a uint8 array ``[height, width]`` of 255 on predicted pixels, else 0
    """
    candidates = _above(anomaly, threshold)
    if peak is not None:
        seeds = _above(anomaly, peak)
        if not seeds.any():
            return np.zeros(anomaly.shape, np.uint8)
        labels, count = label_regions(candidates | seeds)
        kept = np.zeros(count + 1, bool)
        kept[labels[seeds]] = True
        candidates = kept[labels]
    return candidates.view(np.uint8) * np.uint8(255)


def _above(anomaly: NDArray[np.floating], threshold: float) -> NDArray[np.bool_]:
    """Where a map is above a threshold as in double precision, in which image scores are compared: an image is to be
    flagged if and only if it has a mask."""
    limit = anomaly.dtype.type(threshold)
    if float(limit) > threshold:  # the next lower number: none of the map's precision lies between it and the threshold
        limit = np.nextafter(limit, anomaly.dtype.type(-np.inf))
    return anomaly > limit


def segments_mask(segments: Segments, chosen: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return a mask ``[height, width]`` at image size of 255 inside the chosen segments, else 0."""
    mask = np.zeros(segments.size[::-1], np.uint8)
    for x0, y0, x1, y1 in segments.boxes[chosen]:
        mask[y0:y1, x0:x1] = 255
    return mask


def label_regions(mask: NDArray[np.generic]) -> tuple[NDArray[np.int32], int]:
    """Numbers the regions of a mask: pixels that touch at a corner belong together, as in MVTec's evaluation.

    Args:
        mask: array ``[height, width]``, nonzero on regions

    Returns:
        an int32 array of the same shape, 0 outside and 1 to n on the regions, and n
    """
    labels = np.zeros(mask.shape, np.int32)
    extent = _extent(mask)
    if extent is None:
        return labels, 0
    return labels, ndimage.label(mask[extent], structure=_EIGHT_CONNECTED, output=labels[extent])


def connected_regions(mask: NDArray[np.uint8], anomaly: NDArray[np.floating]) -> list[Region]:
    """Find the 8-connected regions of a mask, highest peak first.

    Args:
        mask: array ``[height, width]``, nonzero on predicted pixels
        anomaly: the anomaly map, of the same shape
    """
    return sorted(regions_of(*label_regions(mask), anomaly), key=lambda region: -region.score)


def regions_of(labels: NDArray[np.int32], count: int, anomaly: NDArray[np.floating]) -> list[Region]:
    """The regions that ``label_regions`` numbered, in their order, with the peaks of a map of the same shape."""
    extent = _extent(labels) if count else None
    if extent is None:
        return []
    top, left = extent[0].start, extent[1].start
    regions = []
    for index, found in enumerate(ndimage.find_objects(labels[extent], max_label=count), start=1):
        rows, columns = (slice(start + s.start, start + s.stop) for start, s in zip((top, left), found, strict=True))
        inside = labels[rows, columns] == index
        box = (columns.start, rows.start, columns.stop, rows.stop)
        regions.append(Region(box, inside, float(anomaly[rows, columns][inside].max()), int(inside.sum())))
    return regions


def _extent(array: NDArray[np.generic]) -> tuple[slice, slice] | None:
    """The rows and columns that hold all nonzero elements, None if there are none: the rest need not be searched."""
    rows = np.flatnonzero(array.any(axis=1))
    if len(rows) == 0:
        return None
    within = slice(int(rows[0]), int(rows[-1]) + 1)
    columns = np.flatnonzero(array[within].any(axis=0))
    return within, slice(int(columns[0]), int(columns[-1]) + 1)


def _along(
    intervals: NDArray[np.int64], points: NDArray[np.float64], values: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Values at points along one axis.

    Each point is computed by itself: a product of matrices would wait for other threads, and may round otherwise where
    there are other points.

    Args:
        intervals: array ``[n, 2]``, starts and ends along the axis
        points: array ``[p]``
        values: array ``[n, m]``, those of the intervals

    Returns:
        array ``[p, m]``
    """
    centres = intervals.mean(axis=1)
    if not intervals_overlap(intervals):
        return values[np.abs(points[:, None] - centres).argmin(axis=1)]
    left = np.clip(np.searchsorted(centres, points) - 1, 0, len(centres) - 2)
    share = np.clip((points - centres[left]) / (centres[left + 1] - centres[left]), 0, 1).astype(np.float32)[:, None]
    blended = values[left]
    blended *= 1 - share
    blended += values[left + 1] * share
    return blended


def _hann(intervals: NDArray[np.int64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    starts, lengths = intervals[:, 0], intervals[:, 1] - intervals[:, 0]
    phase = (points[:, None] - starts) / lengths
    inside = (phase >= 0) & (phase < 1)
    return np.where(inside, np.maximum(np.sin(np.pi * phase) ** 2, _LEAST_WEIGHT), 0)


def _blend_boxes(
    boxes: NDArray[np.int64], scores: NDArray[np.float32], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float32]:
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
