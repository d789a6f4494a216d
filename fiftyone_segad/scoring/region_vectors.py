"""Describe anomalous regions by vectors, so that those of one kind are alike.

How a region looks says what part it is on as well as what is wrong there. How it differs from the nearest normal
segments says mainly what is wrong: a scratch is a scratch on any ground. A vector has both, and size and shape; each of
these blocks has length 1 before it is weighted, so that no level of the embedder outweighs another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..segments.boxes import PixelBox, Segments

MOST_SEGMENTS = 16
"""Segments of a region that are looked at per level, those of the highest scores."""

_EXTENT_SHARE = 0.05
"""Share of the similarity of two regions that their sizes have, and as much their shapes."""

_OCTAVES = 8
"""Doublings of the area, or of length over width squared, at which two regions have nothing in common in that."""


@dataclass(frozen=True)
class RegionSegments:
    """The segments of a region at each level.

    Attributes:
        image: path of its image
        area: share of the image that it covers, in (0, 1]
        elongation: length over width, at least 1
        rows: float32 arrays ``[n, d]`` of features, one per level
        weights: float32 arrays ``[n]`` of their weights, which add up to 1, one per level
    """

    image: str
    area: float
    elongation: float
    rows: list[NDArray[np.float32]]
    weights: list[NDArray[np.float32]]


@dataclass(frozen=True)
class NormalSegments:
    """Segments of normal images at one level.

    Attributes:
        rows: float32 array ``[m, d]`` of features
        images: array ``[m]``, the path of each one's image
    """

    rows: NDArray[np.float32]
    images: NDArray[np.object_]

    @cached_property
    def centre(self) -> NDArray[np.float32]:
        """The usual features ``[d]``."""
        return _mean(self.rows)


def weigh_segments(
    mask: NDArray[np.bool_], box: PixelBox, level: Segments, scored: Segments, scores: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Choose the segments of a level that lie in a region, and weigh them by their scores above half of the highest.

    Args:
        mask: bool array of the box's size, True on the region
        box: the region's box in pixels
        level: segments of the level
        scored: segments that have the scores
        scores: array ``[n]``

    Returns:
        int array of segments' numbers, highest weight first, and float32 array of their weights, which add up to 1.
        Where no segment has its centre in the region it is the segment nearest to the region's middle

    Examples:
        >>> from fiftyone_segad.segments.boxes import grid
        >>> segments = grid((4, 4), 2)
        >>> weigh_segments(np.ones((2, 4), bool), (0, 0, 4, 2), segments, segments, np.array([4, 3, 1, 1], np.float32))
        (array([0, 1]), array([0.6666667 , 0.33333334], dtype=float32))
    """
    x0, y0, x1, y1 = box
    centres = level.boxes.reshape(-1, 2, 2).mean(axis=1)  # [m, 2], x and y
    columns, rows = (np.floor(centres).astype(int) - (x0, y0)).T  # [m] each
    in_box = np.flatnonzero((columns >= 0) & (columns < x1 - x0) & (rows >= 0) & (rows < y1 - y0))
    inside = in_box[mask[rows[in_box], columns[in_box]]]
    if not len(inside):
        middle = np.argwhere(mask).mean(axis=0)[::-1] + np.array([x0, y0])  # x and y
        return ((centres - middle) ** 2).sum(axis=1).argmin(keepdims=True), np.ones(1, np.float32)
    scored_centres = scored.boxes.reshape(-1, 2, 2).mean(axis=1)  # [n, 2]
    nearest = [int(((scored_centres - centre) ** 2).sum(axis=1).argmin()) for centre in centres[inside]]
    values = scores[nearest]
    # A score of 0 is usual: excess over half of the peak, and of a peak below 0 over the lowest
    excess = values - (values.max() / 2 if values.max() > 0 else values.min())
    highest = np.argsort(-excess, kind="stable")[:MOST_SEGMENTS]
    weights = np.maximum(excess[highest], 1e-6)
    return inside[highest], (weights / weights.sum()).astype(np.float32)


def elongation_of(mask: NDArray[np.bool_]) -> float:
    """Return length over width of a region, by the axes of the ellipse with its moments.

    >>> round(elongation_of(np.ones((2, 20), bool)), 1)
    7.6
    """
    places = np.argwhere(mask).astype(float)  # [n, 2]
    deviations = places - places.mean(axis=0)
    moments = deviations.T @ deviations / len(places) + np.eye(2) / 3  # a pixel has a width, too
    shortest, longest = np.sqrt(np.linalg.eigvalsh(moments))
    return float(longest / shortest)


def describe_regions(regions: Sequence[RegionSegments], normals: Sequence[NormalSegments]) -> NDArray[np.float32]:
    """Describe regions by vectors of length 1.

    Args:
        regions: the regions, at least one, with as many levels each
        normals: normal segments of each level; empty if none are known: then only what regions look like counts

    Returns:
        float32 array ``[n, D]``
    """
    looks, differences = [], []
    for level in range(len(regions[0].rows)):
        centre = normals[level].centre if normals else _mean(np.concatenate([r.rows[level] for r in regions]))  # [d]
        means = [region.weights[level] @ region.rows[level] - centre for region in regions]
        looks.append(_unit(np.array(means)))  # [n, d]
        if normals:
            nearest = _nearest_normals(regions, level, normals[level])  # one array [s, d] per region
            means = [
                region.weights[level] @ (region.rows[level] - rows)
                for region, rows in zip(regions, nearest, strict=True)
            ]
            differences.append(_unit(np.array(means)))
    blocks = looks + differences
    share = (1 - 2 * _EXTENT_SHARE) / len(blocks)
    areas = np.log2([region.area for region in regions])
    elongations = 2 * np.log2([region.elongation for region in regions])
    extents = [np.sqrt(_EXTENT_SHARE) * _on_circle(values) for values in (areas, elongations)]
    return np.hstack([np.sqrt(share) * block for block in blocks] + extents).astype(np.float32)


def description_width(widths: Sequence[int]) -> int:
    """Return how many numbers describe a region where normal segments are known, by the widths of the levels.

    >>> description_width([64, 64])
    260
    """
    return 2 * sum(widths) + 4  # look and difference of each level, points of two circles


def _nearest_normals(
    regions: Sequence[RegionSegments], level: int, normal: NormalSegments
) -> list[NDArray[np.float32]]:
    """Find the normal segment of another image that is nearest to each segment of each region."""
    import faiss  # here, so that the package imports in no time

    ends = np.cumsum([len(region.rows[level]) for region in regions])
    queries = np.concatenate([region.rows[level] for region in regions])  # [q, d]
    _, numbers = faiss.knn(np.ascontiguousarray(queries), normal.rows, 1)
    nearest = np.split(normal.rows[numbers[:, 0]], ends[:-1])
    known = set(normal.images.tolist())
    for i, region in enumerate(regions):
        if region.image in known:
            others = normal.rows[normal.images != region.image]
            if len(others):
                _, numbers = faiss.knn(np.ascontiguousarray(region.rows[level]), np.ascontiguousarray(others), 1)
                nearest[i] = others[numbers[:, 0]]
    return nearest


def _mean(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of rows ``[n, d]``."""
    mean: NDArray[np.float32] = rows.mean(axis=0)
    return mean


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows ``[n, d]`` to length 1."""
    unit: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit


def _on_circle(octaves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map values ``[n]`` to points ``[n, 2]`` of a circle, a quarter of it per ``_OCTAVES``; at most half of it."""
    angles = np.clip(octaves / _OCTAVES, -2, 2) * np.pi / 2
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)
