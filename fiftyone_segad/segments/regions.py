"""Connected regions of masks: labelled, described, and matched with those of the ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .boxes import PixelBox

MIN_OVERLAP = 0.1
"""Share of the smaller of two regions that must lie in the other one for them to match. Defects are marked more or less
closely, and maps are blurred: the customary intersection over union of 0.5 would fail what a person calls found."""

SIZES = {"small": 32**2, "medium": 96**2, "large": None}
"""Areas in pixels up to which regions are small, medium and large, as COCO (Lin et al., 2014) has them."""

_EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class Region:
    """A connected region of a mask.

    Attributes:
        box: ``x0, y0, x1, y1`` in pixels, ends exclusive
        mask: bool array of the box's size, True on the region
        score: peak of the map within the region
        area: pixels
        zone: name of the zone in which its peak lies; empty if zones have no names
    """

    box: PixelBox
    mask: NDArray[np.bool_]
    score: float
    area: int
    zone: str = ""

    @property
    def slices(self) -> tuple[slice, slice]:
        """The rows and columns of its box."""
        return slice(self.box[1], self.box[3]), slice(self.box[0], self.box[2])

    def peak(self, anomaly: NDArray[np.floating]) -> tuple[int, int]:
        """Return row and column of its highest pixel in the map ``[height, width]``."""
        inside = np.where(self.mask, anomaly[self.slices], -np.inf)
        row, column = np.unravel_index(int(inside.argmax()), inside.shape)
        return int(row) + self.box[1], int(column) + self.box[0]

    def extent(self) -> tuple[float, float]:
        """Return length and width of the smallest rectangle, at any angle, that holds its pixels.

        Examples:
            >>> Region((0, 0, 5, 2), np.ones((2, 5), bool), 1.0, 10).extent()
            (5.0, 2.0)
        """
        contours, _ = cv2.findContours(self.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        points = np.concatenate(contours).reshape(-1, 2)  # [k, 2], pixels of the border
        corners = np.concatenate([points + step for step in ((0, 0), (1, 0), (0, 1), (1, 1))])  # [4 k, 2]
        sides = cv2.minAreaRect(corners.astype(np.float32))[1]
        return round(max(sides), 3), round(min(sides), 3)


@dataclass(frozen=True)
class RegionCounts:
    """Regions by outcome.

    Attributes:
        found: ground-truth regions that match a predicted one
        missed: ground-truth regions that do not
        true: predicted regions that match a ground-truth one
        false: predicted regions that do not
    """

    found: int = 0
    missed: int = 0
    true: int = 0
    false: int = 0

    def __add__(self, other: RegionCounts) -> RegionCounts:
        return RegionCounts(
            self.found + other.found, self.missed + other.missed, self.true + other.true, self.false + other.false
        )

    @property
    def precision(self) -> float | None:
        """Share of the predicted regions that match, in [0, 1]; None if there are none."""
        return self.true / (self.true + self.false) if self.true + self.false else None

    @property
    def recall(self) -> float | None:
        """Share of the ground-truth regions that match, in [0, 1]; None if there are none."""
        return self.found / (self.found + self.missed) if self.found + self.missed else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall, in [0, 1]; 0 if nothing matches, None if there are no regions at all.

        Counts of one size may hold only one side of a match, a defect of this size that a larger region found: then
        one of the two does not exist while the other is above 0, and there is no mean (None).
        """
        if not (self.true or self.found):
            return 0.0 if self.false or self.missed else None
        if self.precision is None or self.recall is None:
            return None
        return 2 * self.precision * self.recall / (self.precision + self.recall)


def label_regions(mask: NDArray[np.generic]) -> tuple[NDArray[np.int32], int]:
    """Label the regions of a mask: pixels that touch at a corner belong together, as in MVTec's evaluation.

    Args:
        mask: array ``[height, width]``, nonzero on regions

    Returns:
        an int32 array of the same shape, 0 outside and 1 to n on the regions, and n

    Examples:
        >>> label_regions(np.array([[1, 0, 0, 1], [0, 1, 0, 1]]))
        (array([[1, 0, 0, 2],
               [0, 1, 0, 2]], dtype=int32), 2)
    """
    labels = np.zeros(mask.shape, np.int32)
    extent = _extent(mask)
    if extent is None:
        return labels, 0
    return labels, ndimage.label(mask[extent], structure=_EIGHT_CONNECTED, output=labels[extent])


def regions_of(labels: NDArray[np.int32], count: int, anomaly: NDArray[np.floating]) -> list[Region]:
    """Describe the regions that ``label_regions`` numbered, in their order.

    Args:
        labels: array ``[height, width]`` of 0 outside and 1 to ``count`` on the regions
        count: number of regions
        anomaly: the anomaly map, of the same shape
    """
    extent = _extent(labels) if count else None
    if extent is None:
        return []
    top, left = extent[0].start, extent[1].start
    regions = []
    for number, (within_rows, within_columns) in enumerate(ndimage.find_objects(labels[extent], max_label=count), 1):
        rows = slice(top + within_rows.start, top + within_rows.stop)
        columns = slice(left + within_columns.start, left + within_columns.stop)
        inside = labels[rows, columns] == number  # the box may hold parts of other regions
        box = (columns.start, rows.start, columns.stop, rows.stop)
        regions.append(Region(box, inside, float(anomaly[rows, columns][inside].max()), int(inside.sum())))
    return regions


def connected_regions(mask: NDArray[np.uint8], anomaly: NDArray[np.floating]) -> list[Region]:
    """Find the 8-connected regions of a mask, highest peak first.

    Args:
        mask: array ``[height, width]``, nonzero on predicted pixels
        anomaly: the anomaly map, of the same shape

    Examples:
        >>> anomaly = np.array([[0.7, 0.1, 0.9], [0.6, 0.1, 0.1]])
        >>> mask = (anomaly > 0.5).astype(np.uint8)
        >>> [(region.box, region.score, region.area) for region in connected_regions(mask, anomaly)]
        [((2, 0, 3, 1), 0.9, 1), ((0, 0, 1, 2), 0.7, 2)]
    """
    return sorted(regions_of(*label_regions(mask), anomaly), key=lambda region: -region.score)


def size_of(area: int) -> str:
    """Name the size of a region of ``area`` pixels: ``small``, ``medium`` or ``large``.

    Examples:
        >>> size_of(1000), size_of(2000), size_of(10000)
        ('small', 'medium', 'large')
    """
    return next(name for name, limit in SIZES.items() if limit is None or area <= limit)


@dataclass(frozen=True)
class RegionMatches:
    """Which regions match. One may match several: a broken prediction of a scratch is no false alarm.

    Attributes:
        true: bool array ``[p]``, True for predicted regions of which, or of a ground-truth region, at least
            ``MIN_OVERLAP`` is shared (of the smaller one)
        found: the same of ground-truth regions ``[g]``
        iou: highest intersection over union of each predicted region with one of the ground truth, ``[p]`` in [0, 1]
    """

    true: NDArray[np.bool_]
    found: NDArray[np.bool_]
    iou: NDArray[np.float64]


def match_regions(predicted: NDArray[np.int32], truth: NDArray[np.int32], counts: tuple[int, int]) -> RegionMatches:
    """Find which regions match.

    Args:
        predicted: labels ``[height, width]`` of predicted regions, 1 to p; 0 elsewhere
        truth: labels of ground-truth regions, 1 to g
        counts: ``(p, g)``

    Examples:
        >>> predicted = np.array([[1, 1, 0, 2]], np.int32)
        >>> truth = np.array([[0, 1, 1, 0]], np.int32)
        >>> matches = match_regions(predicted, truth, (2, 1))
        >>> matches.true.tolist(), matches.found.tolist(), matches.iou.round(2).tolist()
        ([True, False], [True], [0.33, 0.0])
    """
    p, g = counts
    in_predicted, in_truth = predicted > 0, truth > 0
    in_both = in_predicted & in_truth
    # One number per pair of labels, counted over the pixels: row i, column j holds the pixels that i and j share
    pairs = predicted[in_both].astype(np.int64) * (g + 1) + truth[in_both]
    shared = np.bincount(pairs, minlength=(p + 1) * (g + 1)).reshape(p + 1, g + 1)[1:, 1:]  # [p, g]
    predicted_areas = np.bincount(predicted[in_predicted], minlength=p + 1)[1:]  # [p]
    truth_areas = np.bincount(truth[in_truth], minlength=g + 1)[1:]  # [g]
    smaller = np.minimum.outer(predicted_areas, truth_areas)  # [p, g]
    union = np.add.outer(predicted_areas, truth_areas) - shared  # [p, g]
    matches = (shared > 0) & (shared >= MIN_OVERLAP * smaller)
    return RegionMatches(
        np.asarray(matches.any(axis=1)), np.asarray(matches.any(axis=0)), (shared / union).max(axis=1, initial=0.0)
    )


def _extent(array: NDArray[np.generic]) -> tuple[slice, slice] | None:
    """Find the rows and columns that hold all nonzero elements, None if there are none: the rest is not searched."""
    rows = np.flatnonzero(array.any(axis=1))
    if len(rows) == 0:
        return None
    within = slice(int(rows[0]), int(rows[-1]) + 1)
    columns = np.flatnonzero(array[within].any(axis=0))
    return within, slice(int(columns[0]), int(columns[-1]) + 1)
