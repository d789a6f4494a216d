"""Counts of the pixels of many maps in bounded memory: histograms of normal pixels, defective pixels and regions.

The regions are those of AUPRO (Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021). Its symbols:
``C_ik`` is connected region k of the ground truth of image i, ``P_i`` the pixels of image i that a threshold flags, N
the number of all regions, and

    PRO = 1 / N * sum over i and k of |P_i and C_ik| / |C_ik|

A pixel of ``C_ik`` therefore counts ``1 / |C_ik|``, and a cumulative histogram of such pixels, divided by N, is PRO at
every threshold at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..segments.regions import label_regions
from .curves import ScoreCounts

PIXEL_BINS = 1 << 18
"""Bins for pixel scores. Within a bin scores count as equal, which changes a metric by at most the share of
pixels that share a bin."""


@dataclass(frozen=True)
class Bins:
    """Equal bins between the lowest and the highest score of a run.

    Attributes:
        low: lowest score of the maps that will be counted
        high: highest score
        count: number of bins

    Examples:
        >>> bins = Bins(low=0.0, high=1.0, count=5)
        >>> bins(np.array([[0.1, 0.3], [0.9, 1.0]]))
        array([[0, 1],
               [4, 4]], dtype=int32)
        >>> bins.scores()
        array([1.  , 0.75, 0.5 , 0.25, 0.  ])
    """

    low: float
    high: float
    count: int = PIXEL_BINS

    @property
    def width(self) -> float:
        """Distance of two neighbouring scores that are told apart."""
        return (self.high - self.low) / (self.count - 1)

    def __call__(self, anomaly: NDArray[np.floating]) -> NDArray[np.int32]:
        """Return the bin of each pixel, in the shape of the map."""
        span = self.high - self.low
        scale = np.float32((self.count - 1) / span if span > 0 else 0.0)
        index = anomaly.astype(np.float32) - np.float32(self.low)
        index *= scale
        np.rint(index, out=index)
        np.clip(index, 0, self.count - 1, out=index)
        return index.astype(np.int32)

    def scores(self) -> NDArray[np.float64]:
        """Return the score of each bin ``[count]``, highest first."""
        return np.linspace(self.low, self.high, self.count)[::-1]


class PixelCounts:
    """Number of pixels, and share of regions, in each bin.

    Args:
        bins: the bins

    Attributes:
        normal: normal pixels per bin ``[count]``, lowest score first
        defective: defective pixels; None while there is none
        overlap: the same with every ground-truth region weighing 1, divided among its pixels
        regions: number of regions

    Examples:
        >>> anomaly = np.array([[0.0, 1.0, 1.0, 0.5]])
        >>> mask = np.array([[False, True, True, True]])
        >>> counts = PixelCounts.of(Bins(0.0, 1.0, count=3), anomaly, mask)
        >>> counts.normal, counts.defective, counts.overlap.round(2)
        (array([1., 0., 0.]), array([0., 1., 2.]), array([0.  , 0.33, 0.67]))
    """

    def __init__(self, bins: Bins) -> None:
        self.bins = bins
        self.normal = np.zeros(bins.count)
        self.defective: NDArray[np.float64] | None = None
        self.overlap: NDArray[np.float64] | None = None
        self.regions = 0

    @classmethod
    def of(
        cls,
        bins: Bins,
        anomaly: NDArray[np.floating],
        mask: NDArray[np.bool_] | None,
        void: NDArray[np.bool_] | None = None,
    ) -> PixelCounts:
        """Count one image.

        Args:
            bins: the bins
            anomaly: anomaly map ``[height, width]``
            mask: ground truth of the same shape, True on defects, or None if there are none
            void (None): pixels outside the mask that do not count, in the same shape

        Raises:
            ValueError: if the shapes differ
        """
        for name, pixels in (("mask", mask), ("void area", void)):
            if pixels is not None and pixels.shape != anomaly.shape:
                raise ValueError(f"The {name} is {pixels.shape}, the map {anomaly.shape} (height, width)")
        counts = cls(bins)
        index = bins(anomaly)
        counts.normal = np.bincount(index.ravel(), minlength=bins.count).astype(np.float64, copy=False)
        if void is not None:
            counts.normal -= np.bincount(index[void], minlength=bins.count)
        if mask is None or not mask.any():
            return counts
        inside = index[mask]  # bin of each defective pixel
        counts.defective = np.bincount(inside, minlength=bins.count).astype(np.float64)
        counts.normal -= counts.defective
        labels, counts.regions = label_regions(mask)
        region_of_pixel = labels[mask]  # k, [defective pixels]
        areas = np.bincount(region_of_pixel)  # |C_ik|, [1 + regions]
        weights = 1 / areas[region_of_pixel]  # 1 / |C_ik|, [defective pixels]
        counts.overlap = np.bincount(inside, weights=weights, minlength=bins.count).astype(np.float64)
        return counts

    def add(self, other: PixelCounts) -> None:
        """Add the counts of other images in the same bins."""
        self.normal += other.normal
        self.regions += other.regions
        if other.defective is not None and other.overlap is not None:
            if self.defective is None or self.overlap is None:
                self.defective, self.overlap = np.zeros((2, self.bins.count))
            self.defective += other.defective
            self.overlap += other.overlap

    @classmethod
    def merge(cls, bins: Bins, counts: Iterable[PixelCounts]) -> PixelCounts:
        """Add up the counts of several groups of images."""
        total = cls(bins)
        for group in counts:
            total.add(group)
        return total

    def pixels(self) -> ScoreCounts:
        """Return the pixels at each score, for pixel AUROC, AP and F1."""
        return self._counts(self.defective)

    def by_region(self) -> ScoreCounts:
        """Return the regions at each score, each weighing 1 that is divided among its pixels, for AUPRO."""
        return self._counts(self.overlap)

    def _counts(self, defective: NDArray[np.float64] | None) -> ScoreCounts:
        if defective is None:
            defective = np.zeros(self.bins.count)
        return ScoreCounts(self.bins.scores(), self.normal[::-1], defective[::-1])
